/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of HorizontalPodAutoscalers, in the form of v2. */

#include "server/hpa-validate.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/resource-names.h"
#include "server/valid.h"
#include "json/json.h"

#define PERIOD_MAX 1800
#define WINDOW_MAX 3600

static void reference_validate(const struct valid *v, const struct json *ref, const struct place *p)
{
	static const char *const members[] = { "kind", "name" };
	struct str version = json_str_at(ref, "apiVersion");
	size_t slashes = 0;

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct str s = json_str_at(ref, members[i]);

		if (str_empty(s))
			valid_required(v, AT(p, members[i]), NULL);
		else
			valid_name(v, AT(p, members[i]), s, name_check_path_segment);
	}
	for (size_t i = 0; i < version.n; i++)
		slashes += version.p[i] == '/';
	if (slashes > 1)
		valid_invalid_str(v, AT(p, "apiVersion"), version,
				  "unexpected GroupVersion string: " STR_FMT, STR_ARG(version));
}

static void positive_quantity(const struct valid *v, const struct json *target, const char *member,
			      const struct place *p)
{
	const struct json *x = json_get(target, member);
	struct quantity q;

	if (x && valid_quantity(v, x, &q) && q.nano <= 0)
		valid_invalid(v, AT(p, member), valid_quantity_json(v, q), "must be positive");
}

static void target_validate(const struct valid *v, const struct json *t, const struct place *p)
{
	struct str type = json_str_at(t, "type");
	const struct json *percent = json_get(t, "averageUtilization");

	if (str_empty(type))
		valid_required(v, AT(p, "type"), "must specify a metric target type");
	if (!str_eqz(type, "Utilization") && !str_eqz(type, "Value") &&
	    !str_eqz(type, "AverageValue"))
		valid_invalid_str(v, AT(p, "type"), type,
				  "must be either Utilization, Value, or AverageValue");
	positive_quantity(v, t, "value", p);
	positive_quantity(v, t, "averageValue", p);
	if (percent && json_as_int(percent, 0) < 1)
		valid_invalid(v, AT(p, "averageUtilization"), percent, "must be greater than 0");
}

static void metric_name(const struct valid *v, const struct json *src, const struct place *p)
{
	struct str name = json_str_at(src, "metric.name");
	const struct place *at = AT(AT(p, "metric"), "name");

	if (str_empty(name))
		valid_required(v, at, "must specify a metric name");
	else
		valid_name(v, at, name, name_check_path_segment);
}

static void source_object(const struct valid *v, const struct json *src, const struct place *p)
{
	const struct json *t = json_get(src, "target");
	const struct place *tp = AT(p, "target");

	reference_validate(v, json_get(src, "describedObject"), AT(p, "describedObject"));
	metric_name(v, src, p);
	target_validate(v, t, tp);
	if (!json_get(t, "value") && !json_get(t, "averageValue"))
		valid_required(v, AT(tp, "averageValue"),
			       "must set either a target value or averageValue");
}

static void source_external(const struct valid *v, const struct json *src, const struct place *p)
{
	const struct json *t = json_get(src, "target");
	const struct place *tp = AT(p, "target");
	bool value = json_get(t, "value"), average = json_get(t, "averageValue");

	metric_name(v, src, p);
	target_validate(v, t, tp);
	if (!value && !average)
		valid_required(v, AT(tp, "averageValue"),
			       "must set either a target value for metric or a per-pod target");
	if (value && average)
		valid_forbidden(v, AT(tp, "value"),
				"may not set both a target value for metric and a per-pod target");
}

static void source_pods(const struct valid *v, const struct json *src, const struct place *p)
{
	metric_name(v, src, p);
	target_validate(v, json_get(src, "target"), AT(p, "target"));
	if (!json_at(src, "target.averageValue"))
		valid_required(v, AT(AT(p, "target"), "averageValue"),
			       "must specify a positive target averageValue");
}

static void source_resource(const struct valid *v, const struct json *src, const struct place *p)
{
	const struct json *t = json_get(src, "target");
	const struct place *tp = AT(p, "target");
	bool percent = json_get(t, "averageUtilization"), value = json_get(t, "averageValue");

	if (str_empty(json_str_at(src, "name")))
		valid_required(v, AT(p, "name"), "must specify a resource name");
	target_validate(v, t, tp);
	if (!percent && !value)
		valid_required(v, AT(tp, "averageUtilization"),
			       "must set either a target raw value or a target utilization");
	if (percent && value)
		valid_forbidden(v, AT(tp, "averageValue"),
				"may not set both a target raw value and a target utilization");
}

static void source_container(const struct valid *v, const struct json *src, const struct place *p)
{
	struct str name = json_str_at(src, "container"), res = json_str_at(src, "name");

	if (!str_empty(res))
		container_resource_name_validate(v, res, AT(p, "name"));
	if (str_empty(name))
		valid_required(v, AT(p, "container"), "must specify a container");
	else
		valid_name(v, AT(p, "container"), name, name_check_dns_label);
	source_resource(v, src, p);
}

static const struct {
	const char *type, *member;
	void (*check)(const struct valid *v, const struct json *src, const struct place *p);
} sources[] = {
	{ "Object", "object", source_object },
	{ "External", "external", source_external },
	{ "Pods", "pods", source_pods },
	{ "Resource", "resource", source_resource },
	{ "ContainerResource", "containerResource", source_container },
};

static void metric_validate(const struct valid *v, const struct json *m, const struct place *p)
{
	static const char *const types[] = { "ContainerResource", "External", "Object", "Pods",
					     "Resource",          NULL };
	struct str type = json_str_at(m, "type");
	const char *expected = NULL;
	size_t n = 0;

	if (str_empty(type))
		valid_required(v, AT(p, "type"), "must specify a metric source type");
	if (!text_in(type, types))
		valid_unsupported(v, AT(p, "type"), type, types);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct json *src = json_get(m, sources[i].member);

		if (src && !n++)
			sources[i].check(v, src, AT(p, sources[i].member));
		if (!str_eqz(type, sources[i].type))
			continue;
		expected = sources[i].member;
	}
	if (!expected)
		return;
	if (!json_get(m, expected))
		valid_required(v, AT(p, expected),
			       "must populate information for the given metric source");
	if (n < 2)
		return;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		if (json_get(m, sources[i].member) && !str_eqz(type, sources[i].type))
			valid_forbidden(v, AT(p, sources[i].member),
					"must populate the given metric source only");
	}
}

static void policy_validate(const struct valid *v, const struct json *x, const struct place *p)
{
	static const char *const types[] = { "Percent", "Pods", NULL };
	const struct json *period = json_get(x, "periodSeconds");
	int64_t seconds = json_as_int(period, 0), value = json_int_at(x, "value", 0);

	if (!text_in(json_str_at(x, "type"), types))
		valid_unsupported(v, AT(p, "type"), json_str_at(x, "type"), types);
	if (value <= 0)
		valid_invalid(v, AT(p, "value"), json_int(v->a, value),
			      "must be greater than zero");
	if (seconds <= 0)
		valid_invalid(v, AT(p, "periodSeconds"), json_int(v->a, seconds),
			      "must be greater than zero");
	if (seconds > PERIOD_MAX)
		valid_invalid(v, AT(p, "periodSeconds"), period, "must be less than or equal to %d",
			      PERIOD_MAX);
}

static void rules_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	static const char *const selects[] = { "Disabled", "Max", "Min", NULL };
	const struct json *window = json_get(r, "stabilizationWindowSeconds");
	const struct place *wp = AT(p, "stabilizationWindowSeconds");
	struct quantity q;

	if (!r)
		return;
	if (window && json_as_int(window, 0) < 0)
		valid_invalid(v, wp, window, "must be greater than or equal to zero");
	if (window && json_as_int(window, 0) > WINDOW_MAX)
		valid_invalid(v, wp, window, "must be less than or equal to %d", WINDOW_MAX);
	valid_enum(v, AT(p, "selectPolicy"), json_get(r, "selectPolicy"), selects);
	if (!json_len(json_get(r, "policies")))
		valid_required(v, AT(p, "policies"), "must specify at least one Policy");
	json_for_each(it, json_get(r, "policies"))
		policy_validate(v, it.val, AT_IDX(AT(p, "policies"), it.i));
	if (json_get(r, "tolerance") && valid_quantity(v, json_get(r, "tolerance"), &q) &&
	    q.nano < 0)
		valid_invalid(v, AT(p, "tolerance"), valid_quantity_json(v, q),
			      "must be greater than or equal to 0");
}

static bool metrics_have(const struct json *metrics, const char *type)
{
	json_for_each(it, metrics)
	{
		if (str_eqz(json_str_at(it.val, "type"), type))
			return true;
	}
	return false;
}

void hpa_spec_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *min = json_get(spec, "minReplicas"),
			  *metrics = json_get(spec, "metrics");
	int64_t max = json_int_at(spec, "maxReplicas", 0);
	const struct place *mp = AT(p, "maxReplicas"), *bp = AT(p, "behavior");

	if (min && json_as_int(min, 0) < 1)
		valid_invalid(v, AT(p, "minReplicas"), min, "must be greater than or equal to 1");
	if (!max)
		valid_required(v, mp, "must be set and greater than 0");
	else if (max < 0)
		valid_invalid(v, mp, json_int(v->a, max), "must be greater than or equal to 1");
	if (min && max < json_as_int(min, 0))
		valid_invalid(v, mp, json_int(v->a, max),
			      "must be greater than or equal to `minReplicas`");
	reference_validate(v, json_get(spec, "scaleTargetRef"), AT(p, "scaleTargetRef"));
	json_for_each(it, metrics) metric_validate(v, it.val, AT_IDX(AT(p, "metrics"), it.i));
	if (min && !json_as_int(min, 1) && !metrics_have(metrics, "Object") &&
	    !metrics_have(metrics, "External"))
		valid_forbidden(v, AT(p, "metrics"),
				"must specify at least one Object or External metric to support "
				"scaling to zero replicas");
	rules_validate(v, json_at(spec, "behavior.scaleUp"), AT(bp, "scaleUp"));
	rules_validate(v, json_at(spec, "behavior.scaleDown"), AT(bp, "scaleDown"));
}
