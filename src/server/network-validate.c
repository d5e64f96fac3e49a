/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of Ingress, IngressClass, NetworkPolicy, IPAddress and ServiceCIDR. */

#include "server/network-validate.h"

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "server/cidr.h"
#include "server/request.h"
#include "server/service-validate.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

/* ---- Ingress */

static void ingress_host(const struct valid *v, struct str host, const struct place *p)
{
	struct str rest = host;
	bool star = str_find_char(host, '*', 0) < host.n;

	if (ip_is_valid(host)) {
		valid_invalid_str(v, p, host, "must be a DNS name, not an IP address");
		return;
	}
	if (!star) {
		valid_name(v, p, host, name_check_dns_subdomain);
		return;
	}
	if (!str_strip_prefix(&rest, STR("*.")) || name_check_dns_subdomain(rest))
		valid_invalid_str(
			v, p, host,
			"a wildcard DNS-1123 subdomain must start with '*.', followed by a valid "
			"DNS subdomain, which must consist of lower case alphanumeric characters, "
			"'-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
			"regex used for validation is "
			"'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'"
			")");
}

static void ingress_service(const struct valid *v, const struct json *svc, const struct place *p)
{
	const struct place *sp = AT(p, "service"), *port = AT(sp, "port");
	struct str name = json_str_at(svc, "name"), pname = json_str_at(svc, "port.name");
	int64_t n = json_int_at(svc, "port.number", 0);

	if (str_empty(name))
		valid_required(v, AT(sp, "name"), NULL);
	else
		valid_name(v, AT(sp, "name"), name, name_check_dns_label);
	if (!str_empty(pname) && n)
		valid_invalid_str(v, p, STR_EMPTY, "cannot set both port name & port number");
	else if (!str_empty(pname))
		valid_port_name(v, AT(port, "name"), pname);
	else if (!n)
		valid_required(v, p, "port name or number is required");
	else
		valid_port(v, AT(port, "number"), n);
}

static void ingress_resource(const struct valid *v, const struct json *ref, const struct place *p)
{
	static const char *const members[] = { "kind", "name" };

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct str s = json_str_at(ref, members[i]);

		if (str_empty(s))
			valid_required(v, AT(p, members[i]), NULL);
		else
			valid_name(v, AT(p, members[i]), s, name_check_path_segment);
	}
}

static void ingress_backend(const struct valid *v, const struct json *b, const struct place *p)
{
	const struct json *svc = json_get(b, "service"), *res = json_get(b, "resource");

	if (svc && res)
		valid_invalid_str(v, p, STR_EMPTY, "cannot set both resource and service backends");
	else if (res)
		ingress_resource(v, res, AT(p, "resource"));
	else if (svc)
		ingress_service(v, svc, p);
	else
		valid_invalid_str(v, p, STR_EMPTY, "resource or service backend is required");
}

static void ingress_path_text(const struct valid *v, struct str path, const struct place *p)
{
	static const char *const anywhere[] = { "//", "/./", "/../", "%2f", "%2F" };
	static const char *const suffixes[] = { "/..", "/." };

	if (!str_has_prefix(path, STR("/"))) {
		valid_invalid_str(v, p, path, "must be an absolute path");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(anywhere); i++) {
		if (str_contains(path, str_from(anywhere[i])))
			valid_invalid_str(v, p, path, "must not contain '%s'", anywhere[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (str_has_suffix(path, str_from(suffixes[i])))
			valid_invalid_str(v, p, path, "cannot end with '%s'", suffixes[i]);
	}
}

static void ingress_path(const struct valid *v, const struct json *path, const struct place *p)
{
	static const char *const types[] = { "Exact", "ImplementationSpecific", "Prefix", NULL };
	struct str type = json_str_at(path, "pathType"), text = json_str_at(path, "path");

	if (str_empty(type))
		valid_required(v, AT(p, "pathType"), "pathType must be specified");
	else if (str_eqz(type, "Exact") || str_eqz(type, "Prefix"))
		ingress_path_text(v, text, AT(p, "path"));
	else if (!str_eqz(type, "ImplementationSpecific"))
		valid_unsupported(v, AT(p, "pathType"), type, types);
	else if (!str_empty(text) && !str_has_prefix(text, STR("/")))
		valid_invalid_str(v, AT(p, "path"), text, "must be an absolute path");
	ingress_backend(v, json_get(path, "backend"), AT(p, "backend"));
}

static void ingress_rules(const struct valid *v, const struct json *rules, const struct place *p)
{
	json_for_each(it, rules)
	{
		const struct place *at = AT_IDX(p, it.i), *http = AT(at, "http");
		struct str host = json_str_at(it.val, "host");
		const struct json *paths = json_at(it.val, "http.paths");

		if (!str_empty(host))
			ingress_host(v, host, AT(at, "host"));
		if (json_get(it.val, "http") && !json_len(paths))
			valid_required(v, AT(http, "paths"), NULL);
		json_for_each(path, paths)
			ingress_path(v, path.val, AT_IDX(AT(http, "paths"), path.i));
	}
}

static void ingress_tls(const struct valid *v, const struct json *list, const struct place *p)
{
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);
		struct str secret = json_str_at(it.val, "secretName");

		json_for_each(h, json_get(it.val, "hosts"))
		{
			struct str host = json_as_str(h.val);
			const struct place *hp = AT_IDX(AT(at, "hosts"), h.i);

			if (str_find_char(host, '*', 0) < host.n)
				ingress_host(v, host, hp);
			else
				valid_name(v, hp, host, name_check_dns_subdomain);
		}
		if (!str_empty(secret))
			valid_name(v, AT(at, "secretName"), secret, name_check_dns_subdomain);
	}
}

void ingress_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *cls = json_get(spec, "ingressClassName");
	const struct place *p = AT(NULL, "spec");
	struct str old = meta_annotation(obj, "kubernetes.io/ingress.class");

	if (rq->verb == VERB_CREATE && !str_empty(old) && cls && !str_eq(old, json_as_str(cls)))
		valid_invalid_str(&v, AT(AT(NULL, "annotations"), "kubernetes.io/ingress.class"),
				  old, "must match `ingressClassName` when both are specified");
	if (!json_len(json_get(spec, "rules")) && !json_get(spec, "defaultBackend"))
		valid_invalid(&v, p,
			      json_get(spec, "rules") ? json_get(spec, "rules")
						      : json_array(rq->arena),
			      "either `defaultBackend` or `rules` must be specified");
	if (json_get(spec, "defaultBackend"))
		ingress_backend(&v, json_get(spec, "defaultBackend"), AT(p, "defaultBackend"));
	ingress_rules(&v, json_get(spec, "rules"), AT(p, "rules"));
	ingress_tls(&v, json_get(spec, "tls"), AT(p, "tls"));
	if (cls)
		valid_name(&v, AT(p, "ingressClassName"), json_as_str(cls),
			   name_check_dns_subdomain);
	load_balancer_status_validate(&v, obj);
}

/* ---- IngressClass */

static void domain_path(const struct valid *v, struct str s, const struct place *p)
{
	size_t slash = str_find_char(s, '/', 0);

	if (slash == s.n || slash + 1 == s.n || !slash) {
		valid_invalid_str(v, p, s,
				  "must be a domain-prefixed path (such as \"acme.io/foo\")");
		return;
	}
	valid_name(v, p, str_sub(s, 0, slash), name_check_dns_subdomain);
}

void ingressclass_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const scopes[] = { "Cluster", "Namespace", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *params = json_get(spec, "parameters");
	const struct place *p = AT(NULL, "spec"), *pp = AT(p, "parameters");
	struct str controller = json_str_at(spec, "controller"),
		   scope = json_str_at(params, "scope"), ns = json_str_at(params, "namespace");

	if (controller.n > 250)
		valid_too_long(&v, AT(p, "controller"), 250);
	if (str_empty(controller))
		valid_required(&v, AT(p, "controller"), NULL);
	else
		domain_path(&v, controller, AT(p, "controller"));
	if (!params)
		return;
	ingress_resource(&v, params, pp);
	if (!str_empty(scope) && !str_eqz(scope, scopes[0]) && !str_eqz(scope, scopes[1]))
		valid_unsupported(&v, AT(pp, "scope"), scope, scopes);
	if (str_eqz(scope, "Namespace") && str_empty(ns))
		valid_required(&v, AT(pp, "namespace"), "`parameters.scope` is set to 'Namespace'");
	if (str_eqz(scope, "Cluster") && json_get(params, "namespace"))
		valid_forbidden(&v, AT(pp, "namespace"), "`parameters.scope` is set to 'Cluster'");
}

void ingressclass_validate_update(struct api_request *rq, const struct json *obj,
				  const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec");

	valid_immutable(&v, AT(p, "controller"), json_at(obj, "spec.controller"),
			json_at(old, "spec.controller"));
}

/* ---- NetworkPolicy */

static void policy_port(const struct valid *v, const struct json *port, const struct place *p)
{
	static const char *const protocols[] = { "TCP", "UDP", "SCTP", NULL };
	const struct json *n = json_get(port, "port"), *end = json_get(port, "endPort");

	valid_enum(v, AT(p, "protocol"), json_get(port, "protocol"), protocols);
	if (!n) {
		if (end)
			valid_invalid(v, AT(p, "endPort"), end,
				      "may not be specified when `port` is not specified");
		return;
	}
	if (json_is(n, JSON_STR)) {
		if (end)
			valid_invalid(v, AT(p, "endPort"), end,
				      "may not be specified when `port` is non-numeric");
		valid_port_name(v, AT(p, "port"), json_as_str(n));
		return;
	}
	valid_port(v, AT(p, "port"), json_as_int(n, 0));
	if (!end)
		return;
	if (json_as_int(end, 0) < json_as_int(n, 0))
		valid_invalid(v, AT(p, "endPort"), n, "must be greater than or equal to `port`");
	valid_port(v, AT(p, "endPort"), json_as_int(end, 0));
}

static void policy_block(const struct valid *v, const struct json *block, const struct place *p)
{
	struct str text = json_str_at(block, "cidr");
	struct cidr outer, inner;

	if (str_empty(text)) {
		valid_required(v, AT(p, "cidr"), NULL);
		return;
	}
	if (!cidr_validate(v, text, AT(p, "cidr"), &outer))
		return;
	json_for_each(it, json_get(block, "except"))
	{
		const struct place *at = AT_IDX(AT(p, "except"), it.i);

		if (cidr_validate(v, json_as_str(it.val), at, &inner) &&
		    !cidr_has(&outer, &inner, true))
			valid_invalid(v, at, it.val, "must be a strict subset of `cidr`");
	}
}

static void policy_peer(const struct valid *v, const struct json *peer, const struct place *p)
{
	const struct json *pods = json_get(peer, "podSelector"),
			  *ns = json_get(peer, "namespaceSelector"),
			  *block = json_get(peer, "ipBlock");

	valid_selector(v, AT(p, "podSelector"), pods);
	valid_selector(v, AT(p, "namespaceSelector"), ns);
	if (block)
		policy_block(v, block, AT(p, "ipBlock"));
	if (!pods && !ns && !block)
		valid_required(v, p, "must specify a peer");
	else if (block && (pods || ns))
		valid_forbidden(v, p, "may not specify both ipBlock and another peer");
}

static void policy_rules(const struct valid *v, const struct json *rules, const char *peers,
			 const struct place *p)
{
	json_for_each(it, rules)
	{
		const struct place *at = AT_IDX(p, it.i);

		json_for_each(port, json_get(it.val, "ports"))
			policy_port(v, port.val, AT_IDX(AT(at, "ports"), port.i));
		json_for_each(peer, json_get(it.val, peers))
			policy_peer(v, peer.val, AT_IDX(AT(at, peers), peer.i));
	}
}

void networkpolicy_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const types[] = { "Ingress", "Egress", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *list = json_get(spec, "policyTypes");
	const struct place *p = AT(NULL, "spec");

	valid_selector(&v, AT(p, "podSelector"), json_get(spec, "podSelector"));
	policy_rules(&v, json_get(spec, "ingress"), "from", AT(p, "ingress"));
	policy_rules(&v, json_get(spec, "egress"), "to", AT(p, "egress"));
	if (json_len(list) > 2) {
		valid_invalid(&v, AT(p, "policyTypes"), list,
			      "may not specify more than two policyTypes");
		return;
	}
	json_for_each(it, list)
	{
		struct str s = json_as_str(it.val);

		if (!str_eqz(s, types[0]) && !str_eqz(s, types[1]))
			valid_unsupported(&v, AT_IDX(AT(p, "policyTypes"), it.i), s, types);
	}
}

/* ---- IPAddress */

const char *ipaddress_check_name(struct str name)
{
	if (ip_has_leading_zeros(name))
		return "must not have leading 0s";
	return ip_is_valid(name) ? NULL
				 : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

void ipaddress_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const members[] = { "resource", "name" };
	const struct valid v = { rq->arena, e };
	const struct json *ref = json_at(obj, "spec.parentRef");
	const struct place *spec = AT(NULL, "spec"), *p = AT(spec, "parentRef");

	if (!ref) {
		valid_required(&v, p, NULL);
		return;
	}
	if (!str_empty(json_str_at(ref, "group")))
		valid_name(&v, AT(p, "group"), json_str_at(ref, "group"), name_check_dns_subdomain);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct str s = json_str_at(ref, members[i]);

		if (str_empty(s))
			valid_required(&v, AT(p, members[i]), NULL);
		else
			valid_name(&v, AT(p, members[i]), s, name_check_path_segment);
	}
	valid_name(&v, AT(p, "namespace"), json_str_at(ref, "namespace"), name_check_path_segment);
}

/* As Go prints the struct. */
static struct json *parent_shown(struct arena *a, const struct json *ref)
{
	static const struct {
		const char *member, *shown;
	} names[] = { { "group", "Group" },
		      { "resource", "Resource" },
		      { "namespace", "Namespace" },
		      { "name", "Name" } };
	struct json *out = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		json_set_str(a, out, names[i].shown, json_str_at(ref, names[i].member));
	return out;
}

void ipaddress_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *is = json_at(obj, "spec.parentRef");
	const struct place *p = AT(NULL, "spec");

	if (!valid_same(is, json_at(old, "spec.parentRef")))
		valid_invalid(&v, AT(p, "parentRef"), parent_shown(rq->arena, is),
			      "field is immutable");
}

/* ---- ServiceCIDR */

void servicecidr_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *list = json_at(obj, "spec.cidrs");
	const struct place *spec = AT(NULL, "spec"), *p = AT(spec, "cidrs");
	struct cidr c[2] = { { .len = 0 }, { .len = 0 } };
	struct json *shown;

	if (!json_len(list)) {
		valid_required(&v, p, "at least one CIDR required");
		return;
	}
	if (json_len(list) > 2) {
		shown = json_object(rq->arena);
		json_set(rq->arena, shown, "CIDRs", json_copy(rq->arena, list));
		valid_invalid(&v, p, shown, "may only hold up to 2 values");
		return;
	}
	json_for_each(it, list)
	{
		if (!cidr_validate(&v, json_as_str(it.val), AT_IDX(p, it.i), &c[it.i]))
			c[it.i].len = -(int)it.i - 1;
	}
	if (c[0].len == c[1].len)
		valid_invalid(&v, p, list,
			      "may specify no more than one IP for each IP family, i.e "
			      "192.168.0.0/24 and 2001:db8::/64");
}

void servicecidr_validate_update(struct api_request *rq, const struct json *obj,
				 const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *is = json_at(obj, "spec.cidrs"), *was = json_at(old, "spec.cidrs");
	const struct place *spec = AT(NULL, "spec"), *p = AT(spec, "cidrs");

	if (request_is_status(rq))
		return;
	if (json_len(is) != json_len(was) && !(json_len(was) == 1 && json_len(is) == 2)) {
		valid_invalid(&v, p, is, "field is immutable");
		return;
	}
	json_for_each(it, was)
	{
		if (!json_equal(it.val, json_idx(is, it.i)))
			valid_invalid(&v, AT_IDX(p, it.i), json_idx(is, it.i),
				      "field is immutable");
	}
}
