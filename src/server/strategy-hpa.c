/* SPDX-License-Identifier: Apache-2.0 */

/* HorizontalPodAutoscaler; v1 is a view on v2 (hpa-convert.c). */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/hpa-validate.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define METRICS_SHOWN 2

/* The form of v2, whatever the request's. */
static const struct json *hpa_v2(struct arena *a, const struct json *obj)
{
	struct json *copy;

	if (!str_eqz(json_str_at(obj, "apiVersion"), "autoscaling/v1"))
		return obj;
	copy = json_copy(a, obj);
	err_ignore(hpa_v1_to_stored(NULL, NULL, a, &copy), "it does not fail");
	return copy;
}

static struct str scalar_text(struct arena *a, const struct json *v, const char *missing)
{
	if (!v)
		return str_from(missing);
	return json_is(v, JSON_STR) ? json_as_str(v) : json_text(a, v);
}

static const struct {
	const char *type, *member;
} sources[] = {
	{ "External", "external" },
	{ "Pods", "pods" },
	{ "Object", "object" },
	{ "Resource", "resource" },
	{ "ContainerResource", "containerResource" },
};

static const char *metric_member(const struct json *m)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		if (str_eqz(json_str_at(m, "type"), sources[i].type))
			return sources[i].member;
	}
	return NULL;
}

/* "cpu: 12%/80%", "3/10 (avg)" */
static struct str metric_text(struct arena *a, const struct json *m, const struct json *status)
{
	const char *member = metric_member(m);
	const struct json *src = member ? json_get(m, member) : NULL;
	const struct json *target = json_get(src, "target");
	const struct json *current = json_get(member ? json_get(status, member) : NULL, "current");
	struct str type = json_str_at(m, "type");
	bool resource = str_eqz(type, "Resource") || str_eqz(type, "ContainerResource");
	bool average = json_get(target, "averageValue");
	const char *key = average ? "averageValue" : resource ? "averageUtilization" : "value";
	const char *unit = !average && resource ? "%" : "";
	const struct json *now = json_get(current, key), *goal = json_get(target, key);

	if (!member)
		return STR("<unknown type>");
	return arena_fmt(a, STR_FMT "%s" STR_FMT "%s/" STR_FMT "%s%s",
			 STR_ARG(resource ? json_str_at(src, "name") : STR_EMPTY),
			 resource ? ": " : "", STR_ARG(scalar_text(a, now, "<unknown>")),
			 now ? unit : "", STR_ARG(scalar_text(a, goal, "<auto>")), goal ? unit : "",
			 average && !resource && !str_eqz(type, "Pods") ? " (avg)" : "");
}

static struct str hpa_targets(struct arena *a, const struct json *obj)
{
	const struct json *metrics = json_at(obj, "spec.metrics");
	const struct json *statuses = json_at(obj, "status.currentMetrics");
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, metrics)
	{
		struct str one = metric_text(a, it.val, json_idx(statuses, it.i));

		if (it.i < METRICS_SHOWN)
			buf_addf(&b, "%s" STR_FMT, it.i ? ", " : "", STR_ARG(one));
	}
	if (json_len(metrics) > METRICS_SHOWN)
		buf_addf(&b, " + %zu more...", json_len(metrics) - METRICS_SHOWN);
	return b.n ? buf_to_arena(&b, a) : STR("<none>");
}

static void hpa_cell(struct arena *a, const struct json *o, struct str column, struct json *cells)
{
	const struct json *obj = hpa_v2(a, o), *ref = json_at(obj, "spec.scaleTargetRef");

	if (str_eqz(column, "Reference"))
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(ref, "kind")),
				   STR_ARG(json_str_at(ref, "name"))));
	else if (str_eqz(column, "Targets"))
		cell_str(a, cells, hpa_targets(a, obj));
	else if (str_eqz(column, "MinPods"))
		cell_str(a, cells, scalar_text(a, json_at(obj, "spec.minReplicas"), "<unset>"));
	else if (str_eqz(column, "MaxPods"))
		cell_int(a, cells, json_int_at(obj, "spec.maxReplicas", 0));
	else
		cell_int(a, cells, json_int_at(obj, "status.currentReplicas", 0));
}

/* ---- defaults: those of v1 have fewer members to fill */

static void default_int(struct arena *a, struct json *obj, const char *key, int64_t n)
{
	if (!json_get(obj, key))
		json_set_int(a, obj, key, n);
}

static void default_policy(struct arena *a, struct json *list, const char *type, int64_t value)
{
	struct json *one = json_object(a);

	json_set_str(a, one, "type", str_from(type));
	json_set_int(a, one, "value", value);
	json_set_int(a, one, "periodSeconds", 15);
	json_push(list, one);
}

static void default_rules(struct arena *a, struct json *behavior, const char *which, bool up)
{
	struct json *r = json_sub(a, behavior, which), *list;

	if (up)
		default_int(a, r, "stabilizationWindowSeconds", 0);
	if (!json_get(r, "selectPolicy"))
		json_set_str(a, r, "selectPolicy", STR("Max"));
	if (json_get(r, "policies"))
		return;
	list = json_sub_array(a, r, "policies");
	if (up)
		default_policy(a, list, "Pods", 4);
	default_policy(a, list, "Percent", 100);
}

static void hpa_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *m, *res;

	if (!json_is(spec, JSON_OBJECT))
		return;
	default_int(a, spec, "minReplicas", 1);
	if (!str_eqz(rq->v->version, "v2"))
		return;
	if (json_is(json_get(obj, "status"), JSON_OBJECT) && !json_at(obj, "status.currentMetrics"))
		json_set(a, json_get(obj, "status"), "currentMetrics", json_null(a));
	if (!json_len(json_get(spec, "metrics"))) {
		m = json_object(a);
		json_set_str(a, m, "type", STR("Resource"));
		res = json_sub(a, m, "resource");
		json_set_str(a, res, "name", STR("cpu"));
		json_set_str(a, json_sub(a, res, "target"), "type", STR("Utilization"));
		json_set_int(a, json_get(res, "target"), "averageUtilization", 80);
		json_delz(spec, "metrics");
		json_push(json_sub_array(a, spec, "metrics"), m);
	}
	if (json_is(json_get(spec, "behavior"), JSON_OBJECT)) {
		default_rules(a, json_get(spec, "behavior"), "scaleUp", true);
		default_rules(a, json_get(spec, "behavior"), "scaleDown", false);
	}
}

static struct err *hpa_prepare_create(struct api_request *rq, struct json *obj)
{
	struct json *status = json_sub(rq->arena, obj, "status");

	json_set_int(rq->arena, status, "desiredReplicas", 0);
	if (str_eqz(rq->v->version, "v2"))
		json_set(rq->arena, status, "currentMetrics", json_null(rq->arena));
	else
		json_set_int(rq->arena, status, "currentReplicas", 0);
	return NULL;
}

/* What is scaled is of a group; the core group has one kind that can be. */
static void hpa_validate_group(const struct valid *v, const struct json *obj)
{
	const struct json *ref = json_at(obj, "spec.scaleTargetRef");
	struct str version = json_str_at(ref, "apiVersion");

	if (str_contains(version, STR("/")) ||
	    str_eqz(json_str_at(ref, "kind"), "ReplicationController"))
		return;
	valid_invalid_str(v, AT(AT(AT(NULL, "spec"), "scaleTargetRef"), "apiVersion"), version,
			  "apiVersion must specify API group");
}

static void hpa_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *o = hpa_v2(rq->arena, obj);

	hpa_spec_validate(&v, json_get(o, "spec"), AT(NULL, "spec"));
	/* it is new */
	if (str_empty(meta_rv(obj)))
		hpa_validate_group(&v, o);
}

static void hpa_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	static const char *const counts[] = { "currentReplicas", "desiredReplicas", NULL };
	static const char *const target[] = { "spec.scaleTargetRef.apiVersion",
					      "spec.scaleTargetRef.kind" };
	const struct valid v = { rq->arena, e };

	if (request_is_status(rq)) {
		valid_members_nonnegative(&v, AT(NULL, "status"), json_get(obj, "status"), counts);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(target); i++) {
		if (str_eq(json_str_at(obj, target[i]), json_str_at(old, target[i])))
			continue;
		hpa_validate_group(&v, obj);
		return;
	}
}

const struct strategy hpa_strategy = {
	.set_defaults = hpa_defaults,
	.prepare_create = hpa_prepare_create,
	.validate = hpa_validate,
	.validate_update = hpa_validate_update,
	.cell = hpa_cell,
};
