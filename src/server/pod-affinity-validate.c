/* SPDX-License-Identifier: Apache-2.0 */

/* Where a Pod wants to run: affinity, tolerations, spread. */

#include "api/names.h"
#include "base/arena.h"
#include "server/pod-validate.h"
#include "server/valid.h"
#include "json/json.h"

#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

static void weight_validate(const struct valid *v, const struct json *term, const struct place *p)
{
	int64_t w = json_int_at(term, "weight", 0);

	if (w < 1 || w > 100)
		valid_invalid(v, AT(p, "weight"), json_int(v->a, w), "must be in the range 1-100");
}

/* ---- nodes */

static void node_requirement(const struct valid *v, const struct json *x, const struct place *p,
			     bool values)
{
	struct str op = json_str_at(x, "operator");
	const struct json *vals = json_get(x, "values");

	if (str_eqz(op, "In") || str_eqz(op, "NotIn")) {
		if (!json_len(vals))
			valid_required(v, AT(p, "values"),
				       "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (str_eqz(op, "Exists") || str_eqz(op, "DoesNotExist")) {
		if (json_len(vals))
			valid_forbidden(v, AT(p, "values"),
					"may not be specified when `operator` is 'Exists' or "
					"'DoesNotExist'");
	} else if (str_eqz(op, "Gt") || str_eqz(op, "Lt")) {
		if (json_len(vals) != 1)
			valid_required(v, AT(p, "values"),
				       "must be specified single value when `operator` is 'Lt' or "
				       "'Gt'");
	} else {
		valid_invalid_str(v, AT(p, "operator"), op, "not a valid selector operator");
	}
	valid_name(v, AT(p, "key"), json_str_at(x, "key"), name_check_qualified);
	if (!values)
		return;
	json_for_each(it, vals) valid_name(v, AT_IDX(AT(p, "values"), it.i), json_as_str(it.val),
					   name_check_label_value);
}

static void node_field(const struct valid *v, const struct json *x, const struct place *p)
{
	struct str op = json_str_at(x, "operator"), key = json_str_at(x, "key");
	const struct json *vals = json_get(x, "values");

	if (!str_eqz(op, "In") && !str_eqz(op, "NotIn"))
		valid_invalid_str(v, AT(p, "operator"), op, "not a valid selector operator");
	else if (json_len(vals) != 1)
		valid_required(v, AT(p, "values"),
			       "must be only one value when `operator` is 'In' or 'NotIn' for node "
			       "field selector");
	if (!str_eqz(key, "metadata.name")) {
		valid_invalid_str(v, AT(p, "key"), key, "not a valid field selector key");
		return;
	}
	json_for_each(it, vals) valid_name(v, AT_IDX(AT(p, "values"), it.i), json_as_str(it.val),
					   name_check_dns_subdomain);
}

static void node_term(const struct valid *v, const struct json *term, const struct place *p,
		      bool values)
{
	json_for_each(it, json_get(term, "matchExpressions"))
		node_requirement(v, it.val, AT_IDX(AT(p, "matchExpressions"), it.i), values);
	json_for_each(it, json_get(term, "matchFields"))
		node_field(v, it.val, AT_IDX(AT(p, "matchFields"), it.i));
}

void node_selector_validate(const struct valid *v, const struct json *sel, const struct place *p)
{
	const struct json *terms = json_get(sel, "nodeSelectorTerms");

	if (!json_len(terms))
		valid_required(v, AT(p, "nodeSelectorTerms"),
			       "must have at least one node selector term");
	json_for_each(it, terms)
		node_term(v, it.val, AT_IDX(AT(p, "nodeSelectorTerms"), it.i), true);
}

static void node_affinity(const struct valid *v, const struct json *a, const struct place *p)
{
	const struct json *req = json_get(a, REQUIRED);

	if (req)
		node_selector_validate(v, req, AT(p, REQUIRED));
	json_for_each(it, json_get(a, PREFERRED))
	{
		const struct place *at = AT_IDX(AT(p, PREFERRED), it.i);

		weight_validate(v, it.val, at);
		node_term(v, json_get(it.val, "preference"), AT(at, "preference"), false);
	}
}

/* ---- Pods */

static void pod_term(const struct valid *v, const struct json *term, const struct place *p)
{
	struct str key = json_str_at(term, "topologyKey");

	valid_selector(v, AT(p, "labelSelector"), json_get(term, "labelSelector"));
	valid_selector(v, AT(p, "namespaceSelector"), json_get(term, "namespaceSelector"));
	json_for_each(it, json_get(term, "namespaces"))
		valid_name(v, AT(p, "namespace"), json_as_str(it.val), name_check_dns_label);
	if (str_empty(key)) {
		valid_required(v, AT(p, "topologyKey"), "can not be empty");
		valid_invalid_str(v, AT(p, "topologyKey"), key, "name part must be non-empty");
	}
	valid_name(v, AT(p, "topologyKey"), key, name_check_qualified_part);
}

static void pod_affinity(const struct valid *v, const struct json *a, const struct place *p)
{
	json_for_each(it, json_get(a, REQUIRED)) pod_term(v, it.val, AT_IDX(AT(p, REQUIRED), it.i));
	json_for_each(it, json_get(a, PREFERRED))
	{
		const struct place *at = AT_IDX(AT(p, PREFERRED), it.i);

		weight_validate(v, it.val, at);
		pod_term(v, json_get(it.val, "podAffinityTerm"), AT(at, "podAffinityTerm"));
	}
}

/* ---- tolerations */

static void toleration_value(const struct valid *v, const struct json *t, const struct place *p)
{
	static const char *const known[] = { "Equal", "Exists", NULL };
	static const char *const compared[] = { "Equal", "Exists", "Lt", "Gt", NULL };
	struct str op = json_str_at(t, "operator"), value = json_str_at(t, "value");
	const struct place *at = AT(p, "operator");

	if (str_empty(op) || str_eqz(op, "Equal"))
		valid_name(v, at, value, name_check_label_value);
	else if (str_eqz(op, "Exists") && !str_empty(value))
		valid_invalid_str(v, at, value, "value must be empty when `operator` is 'Exists'");
	else if (str_eqz(op, "Lt") || str_eqz(op, "Gt"))
		valid_unsupported(v, at, op, compared);
	else if (!str_eqz(op, "Exists"))
		valid_unsupported(v, at, op, known);
}

void tolerations_validate(const struct valid *v, const struct json *list, const struct place *p)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute",
					       NULL };

	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);
		struct str key = json_str_at(it.val, "key"), op = json_str_at(it.val, "operator"),
			   effect = json_str_at(it.val, "effect");

		if (!str_empty(key))
			valid_name(v, AT(at, "key"), key, name_check_qualified);
		else if (!str_eqz(op, "Exists"))
			valid_invalid_str(
				v, AT(at, "operator"), op,
				"operator must be Exists when `key` is empty, which means "
				"\"match all values and all keys\"");
		if (json_get(it.val, "tolerationSeconds") && !str_eqz(effect, "NoExecute"))
			valid_invalid_str(
				v, AT(at, "effect"), effect,
				"effect must be 'NoExecute' when `tolerationSeconds` is set");
		toleration_value(v, it.val, at);
		valid_enum(v, AT(at, "effect"), json_get(it.val, "effect"), effects);
	}
}

/* ---- spread */

static void spread_validate(const struct valid *v, const struct json *list, const struct place *p)
{
	static const char *const actions[] = { "DoNotSchedule", "ScheduleAnyway", NULL };
	static const char *const policies[] = { "Honor", "Ignore", NULL };

	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);
		struct str key = json_str_at(it.val, "topologyKey"),
			   action = json_str_at(it.val, "whenUnsatisfiable");
		const struct json *domains = json_get(it.val, "minDomains");

		if (json_int_at(it.val, "maxSkew", 0) <= 0)
			valid_invalid(v, AT(at, "maxSkew"),
				      json_int(v->a, json_int_at(it.val, "maxSkew", 0)),
				      "must be greater than zero");
		if (str_empty(key))
			valid_required(v, AT(at, "topologyKey"), "can not be empty");
		if (!str_eqz(action, actions[0]) && !str_eqz(action, actions[1]))
			valid_unsupported(v, AT(at, "whenUnsatisfiable"), action, actions);
		for (size_t k = it.i + 1; k < json_len(list); k++) {
			if (!str_eq(json_str_at(json_idx(list, k), "topologyKey"), key) ||
			    !str_eq(json_str_at(json_idx(list, k), "whenUnsatisfiable"), action))
				continue;
			valid_duplicate(v, AT(at, "{topologyKey, whenUnsatisfiable}"),
					json_strf(v->a, "{" STR_FMT ", " STR_FMT "}", STR_ARG(key),
						  STR_ARG(action)));
			break;
		}
		if (domains && json_as_int(domains, 0) <= 0)
			valid_invalid(v, AT(at, "minDomains"), domains,
				      "must be greater than zero");
		if (domains && !str_eqz(action, "DoNotSchedule"))
			valid_invalid(v, AT(at, "minDomains"), domains,
				      "can only use minDomains if whenUnsatisfiable=DoNotSchedule, "
				      "not " STR_FMT,
				      STR_ARG(action));
		valid_enum(v, AT(at, "nodeAffinityPolicy"), json_get(it.val, "nodeAffinityPolicy"),
			   policies);
		valid_enum(v, AT(at, "nodeTaintsPolicy"), json_get(it.val, "nodeTaintsPolicy"),
			   policies);
		valid_selector(v, AT(at, "labelSelector"), json_get(it.val, "labelSelector"));
	}
}

void pod_affinity_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *a = json_get(spec, "affinity");
	const struct place *at = AT(p, "affinity");

	if (a) {
		node_affinity(v, json_get(a, "nodeAffinity"), AT(at, "nodeAffinity"));
		pod_affinity(v, json_get(a, "podAffinity"), AT(at, "podAffinity"));
		pod_affinity(v, json_get(a, "podAntiAffinity"), AT(at, "podAntiAffinity"));
	}
	spread_validate(v, json_get(spec, "topologySpreadConstraints"),
			AT(p, "topologySpreadConstraints"));
	tolerations_validate(v, json_get(spec, "tolerations"), AT(p, "tolerations"));
}
