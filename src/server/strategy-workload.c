/* SPDX-License-Identifier: Apache-2.0 */

/* Deployment, DaemonSet, StatefulSet, ReplicaSet, ReplicationController and PodTemplate. */

#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/pod-spec.h"
#include "server/request.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/workload.h"
#include "json/json.h"

/* ---- defaults and status */

static void workload_default_template(struct api_request *rq, struct json *tmpl)
{
	if (json_is(json_get(tmpl, "spec"), JSON_OBJECT))
		pod_spec_default(rq->arena, json_get(tmpl, "spec"));
}

/* Labels of the set itself default to its Pods'. */
static void workload_default_labels(struct api_request *rq, struct json *obj)
{
	const struct json *labels = json_at(obj, "spec.template.metadata.labels");

	if (json_len(labels) && !json_len(meta_labels(obj)))
		json_set(rq->arena, json_sub(rq->arena, obj, "metadata"), "labels",
			 json_copy(rq->arena, labels));
}

static void replicaset_defaults(struct api_request *rq, struct json *obj)
{
	workload_default_template(rq, json_at(obj, "spec.template"));
}

static void rc_defaults(struct api_request *rq, struct json *obj)
{
	const struct json *labels = json_at(obj, "spec.template.metadata.labels");
	struct json *spec = json_get(obj, "spec");

	workload_default_template(rq, json_at(obj, "spec.template"));
	if (json_len(labels) && !json_len(json_get(spec, "selector")))
		json_set(rq->arena, spec, "selector", json_copy(rq->arena, labels));
	workload_default_labels(rq, obj);
}

static void default_member(struct arena *a, struct json *obj, const char *key, struct json *v)
{
	if (!json_get(obj, key))
		json_set(a, obj, key, v);
}

static void deployment_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *strategy, *rolling;

	workload_default_template(rq, json_get(spec, "template"));
	if (!json_is(spec, JSON_OBJECT))
		return;
	strategy = json_sub(a, spec, "strategy");
	if (str_empty(json_str_at(strategy, "type")))
		json_set_str(a, strategy, "type", STR("RollingUpdate"));
	if (!str_eqz(json_str_at(strategy, "type"), "RollingUpdate"))
		return;
	rolling = json_sub(a, strategy, "rollingUpdate");
	default_member(a, rolling, "maxUnavailable", json_strz(a, "25%"));
	default_member(a, rolling, "maxSurge", json_strz(a, "25%"));
}

static void daemonset_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *strategy, *rolling;

	workload_default_template(rq, json_get(spec, "template"));
	if (!json_is(spec, JSON_OBJECT))
		return;
	strategy = json_sub(a, spec, "updateStrategy");
	if (str_empty(json_str_at(strategy, "type")))
		json_set_str(a, strategy, "type", STR("RollingUpdate"));
	if (!str_eqz(json_str_at(strategy, "type"), "RollingUpdate"))
		return;
	rolling = json_sub(a, strategy, "rollingUpdate");
	default_member(a, rolling, "maxUnavailable", json_int(a, 1));
	default_member(a, rolling, "maxSurge", json_int(a, 0));
}

static void statefulset_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *strategy, *keep;

	workload_default_template(rq, json_get(spec, "template"));
	if (!json_is(spec, JSON_OBJECT))
		return;
	strategy = json_sub(a, spec, "updateStrategy");
	if (str_empty(json_str_at(strategy, "type"))) {
		json_set_str(a, strategy, "type", STR("RollingUpdate"));
		json_sub(a, strategy, "rollingUpdate");
	}
	if (str_eqz(json_str_at(strategy, "type"), "RollingUpdate") &&
	    json_is(json_get(strategy, "rollingUpdate"), JSON_OBJECT))
		default_member(a, json_get(strategy, "rollingUpdate"), "partition", json_int(a, 0));
	keep = json_sub(a, spec, "persistentVolumeClaimRetentionPolicy");
	default_member(a, keep, "whenDeleted", json_strz(a, "Retain"));
	default_member(a, keep, "whenScaled", json_strz(a, "Retain"));
	json_for_each(it, json_get(spec, "volumeClaimTemplates"))
	{
		if (!json_is(it.val, JSON_OBJECT))
			continue;
		default_member(a, it.val, "kind", json_strz(a, "PersistentVolumeClaim"));
		default_member(a, it.val, "apiVersion", json_strz(a, "v1"));
	}
}

static void podtemplate_defaults(struct api_request *rq, struct json *obj)
{
	workload_default_template(rq, json_get(obj, "template"));
}

/* What Go writes of an empty status. */
static struct err *status_zero(struct api_request *rq, struct json *obj, const char *const *members)
{
	struct json *status = json_sub(rq->arena, obj, "status");

	for (; *members; members++)
		json_set_int(rq->arena, status, *members, 0);
	return NULL;
}

static struct err *replicas_prepare_create(struct api_request *rq, struct json *obj)
{
	static const char *const members[] = { "replicas", NULL };

	return status_zero(rq, obj, members);
}

static struct err *statefulset_prepare_create(struct api_request *rq, struct json *obj)
{
	static const char *const members[] = { "replicas", "availableReplicas", NULL };

	json_for_each(it, json_at(obj, "spec.volumeClaimTemplates")) json_set_str(
		rq->arena, json_sub(rq->arena, it.val, "status"), "phase", STR("Pending"));
	return status_zero(rq, obj, members);
}

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

/* The API counts the changes of a DaemonSet's template in an annotation, for clients of old. */
static void daemonset_generation(struct arena *a, struct json *obj, int64_t n)
{
	struct json *ann = json_sub(a, json_sub(a, obj, "metadata"), "annotations");

	json_set_str(a, ann, TEMPLATE_GENERATION, arena_fmt(a, "%lld", (long long)n));
}

static struct err *daemonset_prepare_create(struct api_request *rq, struct json *obj)
{
	static const char *const members[] = { "currentNumberScheduled", "numberMisscheduled",
					       "desiredNumberScheduled", "numberReady", NULL };

	daemonset_generation(rq->arena, obj, 1);
	return status_zero(rq, obj, members);
}

static struct err *daemonset_prepare_update(struct api_request *rq, struct json *obj,
					    const struct json *old)
{
	const struct json *was = json_get(meta_annotations(old), TEMPLATE_GENERATION);
	int64_t n = 0;

	if (rq->subres || !str_to_i64(json_as_str(was), &n))
		return NULL;
	if (!valid_same(json_at(obj, "spec.template"), json_at(old, "spec.template")))
		n++;
	daemonset_generation(rq->arena, obj, n);
	return NULL;
}

/* Tables */
static struct str container_list(struct arena *a, const struct json *pod_spec, const char *member)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_get(pod_spec, "containers"))
		buf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(json_str_at(it.val, member)));
	return buf_to_arena(&b, a);
}

static void cell_selector(struct arena *a, struct json *cells, const struct json *selector,
			  const char *bad)
{
	struct selector *s = NULL;
	struct err *e = label_selector_from_json(a, selector, &s);
	struct str text = e ? str_from(bad) : selector_format(a, s);

	err_ignore(e, "shown in the cell");
	cell_or_none(a, cells, text);
}

bool template_cell(struct arena *a, const struct json *tmpl, const struct json *selector,
		   struct str column, struct json *cells)
{
	if (str_eqz(column, "Containers"))
		cell_str(a, cells, container_list(a, json_get(tmpl, "spec"), "name"));
	else if (str_eqz(column, "Images"))
		cell_str(a, cells, container_list(a, json_get(tmpl, "spec"), "image"));
	else if (str_eqz(column, "Selector"))
		cell_selector(a, cells, selector, "<error>");
	else
		return false;
	return true;
}

static void cell_ratio(struct arena *a, struct json *cells, const struct json *obj)
{
	cell_str(a, cells,
		 arena_fmt(a, "%lld/%lld", (long long)json_int_at(obj, "status.readyReplicas", 0),
			   (long long)json_int_at(obj, "spec.replicas", 0)));
}

static void workload_cell(struct arena *a, const struct json *obj, struct str column,
			  struct json *cells)
{
	if (template_cell(a, json_at(obj, "spec.template"), json_at(obj, "spec.selector"), column,
			  cells))
		return;
	if (str_eqz(column, "Ready"))
		cell_ratio(a, cells, obj);
	else if (str_eqz(column, "Up-to-date"))
		cell_int(a, cells, json_int_at(obj, "status.updatedReplicas", 0));
	else if (str_eqz(column, "Available"))
		cell_int(a, cells, json_int_at(obj, "status.availableReplicas", 0));
	else if (str_eqz(column, "Node Selector"))
		cell_str(a, cells, cell_labels(a, json_at(obj, "spec.template.spec.nodeSelector")));
}

static void rc_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	if (str_eqz(column, "Selector"))
		cell_str(a, cells, cell_labels(a, json_at(obj, "spec.selector")));
	else
		workload_cell(a, obj, column, cells);
}

static void podtemplate_cell(struct arena *a, const struct json *obj, struct str column,
			     struct json *cells)
{
	if (!template_cell(a, json_get(obj, "template"), NULL, column, cells))
		cell_str(a, cells, cell_labels(a, json_at(obj, "template.metadata.labels")));
}

const struct strategy replicaset_strategy = {
	.generation = true,
	.set_defaults = replicaset_defaults,
	.prepare_create = replicas_prepare_create,
	.validate = replicaset_validate,
	.validate_update = replicaset_validate_update,
	.warn = workload_warn,
	.cell = workload_cell,
};

const struct strategy deployment_strategy = {
	.generation = true,
	.set_defaults = deployment_defaults,
	.validate = deployment_validate,
	.validate_update = deployment_validate_update,
	.warn = workload_warn,
	.cell = workload_cell,
};

const struct strategy daemonset_strategy = {
	.generation = true,
	.set_defaults = daemonset_defaults,
	.prepare_create = daemonset_prepare_create,
	.prepare_update = daemonset_prepare_update,
	.validate = daemonset_validate,
	.validate_update = daemonset_validate_update,
	.warn = workload_warn,
	.cell = workload_cell,
};

const struct strategy statefulset_strategy = {
	.check_name = name_check_dns_label,
	.generation = true,
	.set_defaults = statefulset_defaults,
	.prepare_create = statefulset_prepare_create,
	.validate = statefulset_validate,
	.validate_update = statefulset_validate_update,
	.warn = statefulset_warn,
	.cell = workload_cell,
};

const struct strategy replicationcontroller_strategy = {
	.generation = true,
	.orphan_by_default = true,
	.set_defaults = rc_defaults,
	.prepare_create = replicas_prepare_create,
	.validate = rc_validate,
	.validate_update = rc_validate_update,
	.warn = rc_warn,
	.cell = rc_cell,
};

const struct strategy podtemplate_strategy = {
	.generation = true,
	.delete_returns_obj = true,
	.set_defaults = podtemplate_defaults,
	.validate = podtemplate_validate,
	.warn = podtemplate_warn,
	.cell = podtemplate_cell,
};
