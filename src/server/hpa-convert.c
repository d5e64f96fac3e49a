/* SPDX-License-Identifier: Apache-2.0 */

/*
 * autoscaling/v1 HorizontalPodAutoscalers, as views on the stored v2 ones. What v1 has no fields
 * for travels in annotations, in upstream's form, so that a client of v1 loses nothing.
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/resource.h"
#include "server/strategies.h"
#include "json/json.h"

#define ANNOTATION(name) "autoscaling.alpha.kubernetes.io/" name
#define CPU_DEFAULT      80

static const char *const round_trip[] = {
	ANNOTATION("metrics"),
	ANNOTATION("behavior"),
	ANNOTATION("conditions"),
	ANNOTATION("current-metrics"),
	ANNOTATION("scale-up-tolerance"),
	ANNOTATION("scale-down-tolerance"),
};

/* Where the members of one source of metrics are, in either version; TARGET: target or current. */
static const struct metric_row {
	const char *source, *v1_spec, *v1_status, *v2, *part;
} metric_rows[] = {
	{ "resource", "name", "name", "name", NULL },
	{ "resource", "targetAverageUtilization", "currentAverageUtilization", "averageUtilization",
	  "target" },
	{ "resource", "targetAverageValue", "currentAverageValue", "averageValue", "target" },
	{ "containerResource", "name", "name", "name", NULL },
	{ "containerResource", "container", "container", "container", NULL },
	{ "containerResource", "targetAverageUtilization", "currentAverageUtilization",
	  "averageUtilization", "target" },
	{ "containerResource", "targetAverageValue", "currentAverageValue", "averageValue",
	  "target" },
	{ "pods", "metricName", "metricName", "name", "metric" },
	{ "pods", "targetAverageValue", "currentAverageValue", "averageValue", "target" },
	{ "pods", "selector", "selector", "selector", "metric" },
	{ "object", "target", "target", "describedObject", NULL },
	{ "object", "metricName", "metricName", "name", "metric" },
	{ "object", "targetValue", "currentValue", "value", "target" },
	{ "object", "selector", "selector", "selector", "metric" },
	{ "object", "averageValue", "averageValue", "averageValue", "target" },
	{ "external", "metricName", "metricName", "name", "metric" },
	{ "external", "metricSelector", "metricSelector", "selector", "metric" },
	{ "external", "targetValue", "currentValue", "value", "target" },
	{ "external", "targetAverageValue", "currentAverageValue", "averageValue", "target" },
};

static const char *row_part(const struct metric_row *r, bool status)
{
	return status && r->part && str_eqz(str_from(r->part), "target") ? "current" : r->part;
}

static struct json *metric_to_v1(struct arena *a, const struct json *m, bool status)
{
	struct json *out = json_object(a);

	json_set_str(a, out, "type", json_str_at(m, "type"));
	for (size_t i = 0; i < ARRAY_LEN(metric_rows); i++) {
		const struct metric_row *r = &metric_rows[i];
		const struct json *src = json_get(m, r->source), *v;
		const char *part = row_part(r, status);

		if (!src)
			continue;
		v = json_get(part ? json_get(src, part) : src, r->v2);
		if (v)
			json_set(a, json_sub(a, out, r->source), status ? r->v1_status : r->v1_spec,
				 json_copy(a, v));
	}
	return out;
}

/* What kind of target it is follows from the member that is there. */
static void metric_target_type(struct arena *a, struct json *src)
{
	struct json *target = json_sub(a, src, "target");

	if (json_get(target, "averageUtilization"))
		json_set_first(a, target, "type", json_strz(a, "Utilization"));
	else if (json_get(target, "averageValue") || !json_get(target, "value"))
		json_set_first(a, target, "type", json_strz(a, "AverageValue"));
	else
		json_set_first(a, target, "type", json_strz(a, "Value"));
}

static struct json *metric_to_v2(struct arena *a, const struct json *m, bool status)
{
	struct json *out = json_object(a);

	json_set_str(a, out, "type", json_str_at(m, "type"));
	for (size_t i = 0; i < ARRAY_LEN(metric_rows); i++) {
		const struct metric_row *r = &metric_rows[i];
		const struct json *src = json_get(m, r->source), *v;
		const char *part = row_part(r, status);
		struct json *to;

		if (!src)
			continue;
		v = json_get(src, status ? r->v1_status : r->v1_spec);
		to = json_sub(a, out, r->source);
		if (part)
			to = json_sub(a, to, part);
		if (v)
			json_set(a, to, r->v2, json_copy(a, v));
	}
	json_for_each(it, out)
	{
		if (!status && json_is(it.val, JSON_OBJECT))
			metric_target_type(a, it.val);
	}
	return out;
}

static struct json *metrics_map(struct arena *a, const struct json *arr, bool status,
				struct json *(*fn)(struct arena *a, const struct json *m,
						   bool status))
{
	struct json *out = json_array(a);

	json_for_each(it, arr) json_push(out, fn(a, it.val, status));
	return out;
}

/* Whether v1 has a field of its own for it: the CPU's average utilization. */
static const struct json *metric_cpu(const struct json *m, const char *part)
{
	const struct json *r = json_get(m, "resource");

	if (!str_eqz(json_str_at(m, "type"), "Resource") || !str_eqz(json_str_at(r, "name"), "cpu"))
		return NULL;
	return json_get(json_get(r, part), "averageUtilization");
}

static struct json *metric_from_cpu(struct arena *a, int64_t percent, bool status)
{
	struct json *m = json_object(a), *r, *t;

	json_set_str(a, m, "type", STR("Resource"));
	r = json_sub(a, m, "resource");
	json_set_str(a, r, "name", STR("cpu"));
	t = json_sub(a, r, status ? "current" : "target");
	if (!status)
		json_set_str(a, t, "type", STR("Utilization"));
	json_set_int(a, t, "averageUtilization", percent);
	return m;
}

/* ---- behavior: in the annotation its members are called as in Go */

static struct json *behavior_rekey(struct arena *a, const struct json *v, bool up)
{
	struct json *out;

	if (json_is(v, JSON_ARRAY)) {
		out = json_array(a);
		json_for_each(it, v) json_push(out, behavior_rekey(a, it.val, up));
		return out;
	}
	if (!json_is(v, JSON_OBJECT))
		return json_copy(a, v);
	out = json_object(a);
	json_for_each(it, v)
	{
		char *key = arena_strz(a, it.key);

		if (json_is_null(it.val) || !it.key.n)
			continue;
		if (up && key[0] >= 'a' && key[0] <= 'z')
			key[0] = (char)(key[0] - 32);
		else if (!up && key[0] >= 'A' && key[0] <= 'Z')
			key[0] = (char)(key[0] + 32);
		json_set(a, out, key, behavior_rekey(a, it.val, up));
	}
	return out;
}

/* ---- annotations */

static void hpa_drop_annotations(struct json *obj)
{
	struct json *ann = meta_annotations(obj);

	for (size_t i = 0; i < ARRAY_LEN(round_trip); i++)
		json_delz(ann, round_trip[i]);
	if (ann && !json_len(ann))
		json_delz(json_get(obj, "metadata"), "annotations");
}

static void hpa_annotate(struct arena *a, struct json *obj, const char *key, const struct json *val)
{
	meta_set_annotation(a, obj, key, json_text(a, val));
}

/* NULL when there is none, or nothing readable. */
static struct json *hpa_annotated(struct arena *a, const struct json *obj, const char *key)
{
	struct str text = meta_annotation(obj, key);
	struct json *v = NULL;
	struct err *e;

	if (str_empty(text))
		return NULL;
	e = json_parse(a, text, &v);
	if (e) {
		err_ignore(e, "as upstream: what cannot be read is not there");
		return NULL;
	}
	return v;
}

/* ---- from v2 */

static void hpa_spec_to_v1(struct arena *a, struct json *obj)
{
	struct json *spec = json_get(obj, "spec"), *others = json_array(a);
	const struct json *cpu = NULL, *behavior = json_get(spec, "behavior");

	json_for_each(it, json_get(spec, "metrics"))
	{
		const struct json *one = metric_cpu(it.val, "target");

		if (!one)
			json_push(others, metric_to_v1(a, it.val, false));
		else if (!cpu)
			cpu = one;
	}
	if (cpu)
		json_set(a, spec, "targetCPUUtilizationPercentage", json_copy(a, cpu));
	if (json_len(others))
		hpa_annotate(a, obj, ANNOTATION("metrics"), others);
	if (behavior)
		hpa_annotate(a, obj, ANNOTATION("behavior"), behavior_rekey(a, behavior, true));
	json_delz(spec, "metrics");
	json_delz(spec, "behavior");
}

static void hpa_status_to_v1(struct arena *a, struct json *obj)
{
	struct json *status = json_get(obj, "status");
	const struct json *metrics = json_get(status, "currentMetrics");
	const struct json *conditions = json_get(status, "conditions");

	json_for_each(it, metrics)
	{
		const struct json *cpu = metric_cpu(it.val, "current");

		if (!cpu)
			continue;
		json_set(a, status, "currentCPUUtilizationPercentage", json_copy(a, cpu));
		break;
	}
	if (json_len(metrics))
		hpa_annotate(a, obj, ANNOTATION("current-metrics"),
			     metrics_map(a, metrics, true, metric_to_v1));
	if (json_len(conditions))
		hpa_annotate(a, obj, ANNOTATION("conditions"), conditions);
	json_delz(status, "currentMetrics");
	json_delz(status, "conditions");
}

struct err *hpa_v1_from_stored(const struct resource *res UNUSED,
			       const struct resource_version *v UNUSED, struct arena *a,
			       struct json **obj)
{
	hpa_drop_annotations(*obj);
	hpa_spec_to_v1(a, *obj);
	hpa_status_to_v1(a, *obj);
	return NULL;
}

/* ---- to v2 */

static void hpa_spec_to_v2(struct arena *a, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");
	const struct json *cpu = json_get(spec, "targetCPUUtilizationPercentage");
	struct json *others = hpa_annotated(a, obj, ANNOTATION("metrics"));
	struct json *behavior = hpa_annotated(a, obj, ANNOTATION("behavior"));
	struct json *metrics = json_is(others, JSON_ARRAY)
				       ? metrics_map(a, others, false, metric_to_v2)
				       : json_array(a);

	if (!json_is(spec, JSON_OBJECT))
		return;
	if (cpu)
		json_push(metrics, metric_from_cpu(a, json_as_int(cpu, 0), false));
	if (!json_len(metrics))
		json_push(metrics, metric_from_cpu(a, CPU_DEFAULT, false));
	json_delz(spec, "targetCPUUtilizationPercentage");
	json_set(a, spec, "metrics", metrics);
	if (json_is(behavior, JSON_OBJECT) && json_len(behavior))
		json_set(a, spec, "behavior", behavior_rekey(a, behavior, false));
}

static void hpa_status_to_v2(struct arena *a, struct json *obj)
{
	struct json *status = json_get(obj, "status"), *one;
	const struct json *cpu = json_get(status, "currentCPUUtilizationPercentage");
	struct json *metrics = hpa_annotated(a, obj, ANNOTATION("current-metrics"));
	struct json *conditions = hpa_annotated(a, obj, ANNOTATION("conditions"));

	if (!json_is(status, JSON_OBJECT))
		return;
	if (json_is(metrics, JSON_ARRAY)) {
		json_set(a, status, "currentMetrics", metrics_map(a, metrics, true, metric_to_v2));
	} else if (cpu) {
		one = metric_from_cpu(a, json_as_int(cpu, 0), true);
		json_push(json_sub_array(a, status, "currentMetrics"), one);
	}
	json_delz(status, "currentCPUUtilizationPercentage");
	if (json_is(conditions, JSON_ARRAY))
		json_set(a, status, "conditions", conditions);
}

struct err *hpa_v1_to_stored(const struct resource *res UNUSED,
			     const struct resource_version *v UNUSED, struct arena *a,
			     struct json **obj)
{
	hpa_spec_to_v2(a, *obj);
	hpa_status_to_v2(a, *obj);
	hpa_drop_annotations(*obj);
	json_set_str(a, *obj, "apiVersion", STR("autoscaling/v2"));
	return NULL;
}
