/* SPDX-License-Identifier: Apache-2.0 */

/* Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR and Endpoints. */

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/network-validate.h"
#include "server/request.h"
#include "server/service-validate.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/warn.h"
#include "json/json.h"

#define SHOWN_MAX 3

/* Ingress */
static struct str ingress_hosts(struct arena *a, const struct json *obj)
{
	const struct json *rules = json_at(obj, "spec.rules");
	_cleanup_buf_ struct buf b = { 0 };
	size_t n = 0;
	bool more = false;

	json_for_each(it, rules)
	{
		struct str host = json_str_at(it.val, "host");

		more |= n == SHOWN_MAX;
		if (!more && !str_empty(host))
			buf_addf(&b, "%s" STR_FMT, n++ ? "," : "", STR_ARG(host));
	}
	if (!n)
		return STR("*");
	if (more)
		buf_addf(&b, " + %zu more...", json_len(rules) - SHOWN_MAX);
	return buf_to_arena(&b, a);
}

static struct str ingress_address(struct arena *a, const struct json *obj)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_at(obj, "status.loadBalancer.ingress"))
	{
		struct str ip = json_str_at(it.val, "ip");

		buf_addf(&b, "%s" STR_FMT, b.n ? "," : "",
			 STR_ARG(str_empty(ip) ? json_str_at(it.val, "hostname") : ip));
	}
	return buf_to_arena(&b, a);
}

static void ingress_cell(struct arena *a, const struct json *obj, struct str column,
			 struct json *cells)
{
	if (str_eqz(column, "Class"))
		cell_or_none(a, cells, json_str_at(obj, "spec.ingressClassName"));
	else if (str_eqz(column, "Hosts"))
		cell_str(a, cells, ingress_hosts(a, obj));
	else if (str_eqz(column, "Address"))
		cell_str(a, cells, ingress_address(a, obj));
	else
		cell_str(a, cells, json_len(json_at(obj, "spec.tls")) ? STR("80, 443") : STR("80"));
}

static struct err *load_balancer_status(struct api_request *rq, struct json *obj)
{
	json_sub(rq->arena, json_sub(rq->arena, obj, "status"), "loadBalancer");
	return NULL;
}

const struct strategy ingress_strategy = {
	.generation = true,
	.prepare_create = load_balancer_status,
	.validate = ingress_validate,
	.warn = ingress_warn,
	.cell = ingress_cell,
};

/* IngressClass */
static void ingressclass_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			      struct json *cells)
{
	const struct json *p = json_at(obj, "spec.parameters");
	struct str group = json_str_at(p, "apiGroup");

	if (!p) {
		cell_or_none(a, cells, STR_EMPTY);
		return;
	}
	cell_str(a, cells,
		 arena_fmt(a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(json_str_at(p, "kind")),
			   json_get(p, "apiGroup") ? "." : "", STR_ARG(group),
			   STR_ARG(json_str_at(p, "name"))));
}

static void ingressclass_defaults(struct api_request *rq, struct json *obj)
{
	struct json *params = json_at(obj, "spec.parameters");

	if (json_is(params, JSON_OBJECT) && !json_get(params, "scope"))
		json_set_str(rq->arena, params, "scope", STR("Cluster"));
}

const struct strategy ingressclass_strategy = {
	.generation = true,
	.set_defaults = ingressclass_defaults,
	.validate = ingressclass_validate,
	.validate_update = ingressclass_validate_update,
	.cell = ingressclass_cell,
};

/* NetworkPolicy */
static void networkpolicy_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	struct selector *s = NULL;
	struct err *e = label_selector_from_json(a, json_at(obj, "spec.podSelector"), &s);

	cell_or_none(a, cells, e ? STR("<error>") : selector_format(a, s));
	err_ignore(e, "shown in the cell");
}

static void policy_default_ports(struct arena *a, const struct json *rules)
{
	json_for_each(it, rules)
	{
		json_for_each(port, json_get(it.val, "ports"))
		{
			if (json_is(port.val, JSON_OBJECT) && !json_get(port.val, "protocol"))
				json_set_str(a, port.val, "protocol", STR("TCP"));
		}
	}
}

static void networkpolicy_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *types;

	if (!json_is(spec, JSON_OBJECT))
		return;
	policy_default_ports(a, json_get(spec, "ingress"));
	policy_default_ports(a, json_get(spec, "egress"));
	if (json_len(json_get(spec, "policyTypes")))
		return;
	json_delz(spec, "policyTypes");
	types = json_sub_array(a, spec, "policyTypes");
	json_push(types, json_strz(a, "Ingress"));
	if (json_len(json_get(spec, "egress")))
		json_push(types, json_strz(a, "Egress"));
}

const struct strategy networkpolicy_strategy = {
	.generation = true,
	.set_defaults = networkpolicy_defaults,
	.validate = networkpolicy_validate,
	.warn = networkpolicy_warn,
	.cell = networkpolicy_cell,
};

/* IPAddress */
static void ipaddress_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			   struct json *cells)
{
	const struct json *p = json_at(obj, "spec.parentRef");
	struct str group = json_str_at(p, "group"), ns = json_str_at(p, "namespace");

	if (!p) {
		cell_or_none(a, cells, STR_EMPTY);
		return;
	}
	cell_str(a, cells,
		 arena_fmt(a, STR_FMT "%s" STR_FMT "%s" STR_FMT "/" STR_FMT,
			   STR_ARG(json_str_at(p, "resource")), str_empty(group) ? "" : ".",
			   STR_ARG(group), str_empty(ns) ? "" : "/", STR_ARG(ns),
			   STR_ARG(json_str_at(p, "name"))));
}

const struct strategy ipaddress_strategy = {
	.check_name = ipaddress_check_name,
	.validate = ipaddress_validate,
	.validate_update = ipaddress_validate_update,
	.cell = ipaddress_cell,
};

/* ServiceCIDR */
static void servicecidr_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			     struct json *cells)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_at(obj, "spec.cidrs"))
		buf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(json_as_str(it.val)));
	cell_str(a, cells, buf_to_arena(&b, a));
}

static struct err *servicecidr_prepare_create(struct api_request *rq, struct json *obj)
{
	json_sub(rq->arena, obj, "status");
	return NULL;
}

const struct strategy servicecidr_strategy = {
	.status_alone = true,
	.prepare_create = servicecidr_prepare_create,
	.validate = servicecidr_validate,
	.validate_update = servicecidr_validate_update,
	.cell = servicecidr_cell,
};

/* Endpoints */
struct endpoints_text {
	struct buf b;
	size_t shown, count;
};

static void endpoints_add(struct endpoints_text *t, const struct json *addresses,
			  const struct json *port)
{
	t->count += json_len(addresses);
	json_for_each(it, addresses)
	{
		struct str ip = json_str_at(it.val, "ip");
		bool six = str_find_char(ip, ':', 0) < ip.n;

		if (t->shown == SHOWN_MAX)
			return;
		buf_addz(&t->b, t->shown++ ? "," : "");
		if (!port)
			buf_add(&t->b, ip);
		else
			buf_addf(&t->b, "%s" STR_FMT "%s:%lld", six ? "[" : "", STR_ARG(ip),
				 six ? "]" : "", (long long)json_int_at(port, "port", 0));
	}
}

static void endpoints_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			   struct json *cells)
{
	struct endpoints_text t = { .shown = 0 };

	json_for_each(it, json_get(obj, "subsets"))
	{
		const struct json *addresses = json_get(it.val, "addresses");
		const struct json *ports = json_get(it.val, "ports");

		if (!json_len(ports))
			endpoints_add(&t, addresses, NULL);
		json_for_each(p, ports) endpoints_add(&t, addresses, p.val);
	}
	if (t.count > t.shown)
		buf_addf(&t.b, " + %zu more...", t.count - SHOWN_MAX);
	if (json_len(json_get(obj, "subsets")))
		cell_str(a, cells, buf_to_arena(&t.b, a));
	else
		cell_or_none(a, cells, STR_EMPTY);
	buf_fini(&t.b);
}

static void endpoints_defaults(struct api_request *rq, struct json *obj)
{
	json_for_each(it, json_get(obj, "subsets"))
	{
		json_for_each(port, json_get(it.val, "ports"))
		{
			if (json_is(port.val, JSON_OBJECT) &&
			    str_empty(json_str_at(port.val, "protocol")))
				json_set_str(rq->arena, port.val, "protocol", STR("TCP"));
		}
	}
}

const struct strategy endpoints_strategy = {
	.create_on_update = true,
	.set_defaults = endpoints_defaults,
	.validate = endpoints_validate,
	.warn = endpoints_warn,
	.cell = endpoints_cell,
};
