/* SPDX-License-Identifier: Apache-2.0 */

#include "server/warn.h"

#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "server/cidr.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

void warn_at(struct api_request *rq, const struct place *p, const char *fmt, ...)
{
	va_list ap;
	struct str text;

	va_start(ap, fmt);
	text = arena_vfmt(rq->arena, fmt, ap);
	va_end(ap);
	request_warn(rq, STR_FMT ": " STR_FMT, STR_ARG(place_text(rq->arena, p)), STR_ARG(text));
}

/* ---- addresses */

void warn_ip(struct api_request *rq, const struct place *p, struct str ip)
{
	struct str text = ipv6_canonical(rq->arena, ip);

	if (!str_empty(text) && !str_eq(text, ip))
		warn_at(rq, p,
			"IPv6 address \"" STR_FMT "\" should be in RFC 5952 canonical format "
			"(\"" STR_FMT "\")",
			STR_ARG(ip), STR_ARG(text));
}

void warn_cidr(struct api_request *rq, const struct place *p, struct str cidr)
{
	size_t slash = str_find_char(cidr, '/', 0);
	struct str text = ipv6_canonical(rq->arena, str_sub(cidr, 0, slash));

	if (slash == cidr.n || str_empty(text))
		return;
	text = arena_fmt(rq->arena, STR_FMT STR_FMT, STR_ARG(text), STR_ARG(str_skip(cidr, slash)));
	if (!str_eq(text, cidr))
		warn_at(rq, p,
			"IPv6 CIDR value \"" STR_FMT "\" should be in RFC 5952 canonical format "
			"(\"" STR_FMT "\")",
			STR_ARG(cidr), STR_ARG(text));
}

/* ---- nodes */

static const struct {
	const char *key, *text;
} warn_node_labels[] = {
	{ "beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead" },
	{ "beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead" },
	{ "failure-domain.beta.kubernetes.io/region",
	  "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead" },
	{ "failure-domain.beta.kubernetes.io/zone",
	  "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead" },
	{ "beta.kubernetes.io/instance-type",
	  "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead" },
	{ "app.kubernetes.io/created-by", "deprecated since v1.9" },
	{ "scheduler.alpha.kubernetes.io/preferAvoidPods",
	  "deprecated since v1.22; use Taints and Tolerations instead" },
	{ "node-role.kubernetes.io/master",
	  "use \"node-role.kubernetes.io/control-plane\" instead" },
};

void warn_node_label(struct api_request *rq, const struct place *p, struct str key, bool named)
{
	for (size_t i = 0; i < ARRAY_LEN(warn_node_labels); i++) {
		if (!str_eqz(key, warn_node_labels[i].key))
			continue;
		if (named)
			warn_at(rq, p, STR_FMT " is %s", STR_ARG(key), warn_node_labels[i].text);
		else
			warn_at(rq, p, "%s", warn_node_labels[i].text);
	}
}

void warn_node_term(struct api_request *rq, const struct place *p, const struct json *term,
		    bool values)
{
	json_for_each(it, json_get(term, "matchExpressions"))
	{
		const struct place *x = AT_IDX(AT(p, "matchExpressions"), it.i);

		warn_node_label(rq, AT(x, "key"), json_str_at(it.val, "key"), true);
		if (!values)
			continue;
		json_for_each(jt, json_get(it.val, "values"))
		{
			const char *why = name_check_label_value(json_as_str(jt.val));

			if (why)
				warn_at(rq, AT_IDX(AT(x, "values"), jt.i),
					STR_FMT " is invalid, %s", STR_ARG(json_as_str(jt.val)),
					why);
		}
	}
}

/* ---- bytes */

void warn_fraction(struct api_request *rq, const struct place *p, const struct json *quantity)
{
	struct quantity q;

	if (json_is(quantity, JSON_STR) && quantity_parse(json_as_str(quantity), &q) &&
	    quantity_milli(q) % 1000)
		warn_at(rq, p,
			"fractional byte value \"" STR_FMT "\" is invalid, must be an integer",
			STR_ARG(quantity_text(rq->arena, q)));
}

void warn_claim_spec(struct api_request *rq, const struct place *p, const struct json *spec)
{
	const struct json *resources = json_get(spec, "resources");

	warn_fraction(rq, AT_KEY(AT(AT(p, "resources"), "requests"), STR("storage")),
		      json_at(resources, "requests.storage"));
	warn_fraction(rq, AT_KEY(AT(AT(p, "resources"), "limits"), STR("storage")),
		      json_at(resources, "limits.storage"));
}
