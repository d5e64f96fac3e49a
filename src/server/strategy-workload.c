/* SPDX-License-Identifier: Apache-2.0 */

/* Deployment, DaemonSet, StatefulSet, ReplicaSet, ReplicationController and PodTemplate. */

#include "api/meta.h"
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
#include "server/workload.h"
#include "json/json.h"

/* ReplicaSet */
static void replicaset_defaults(struct api_request *rq, struct json *obj)
{
	struct json *tmpl = json_at(obj, "spec.template");
	const struct json *labels = json_at(tmpl, "metadata.labels");

	if (json_is(json_get(tmpl, "spec"), JSON_OBJECT))
		pod_spec_default(rq->arena, json_get(tmpl, "spec"));
	/* labels of the set itself default to its Pods' */
	if (json_len(labels) && !json_len(meta_labels(obj)))
		json_set(rq->arena, json_sub(rq->arena, obj, "metadata"), "labels",
			 json_copy(rq->arena, labels));
}

static struct err *replicaset_prepare_create(struct api_request *rq, struct json *obj)
{
	json_set_int(rq->arena, json_sub(rq->arena, obj, "status"), "replicas", 0);
	return NULL;
}

static void replicaset_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct json *tmpl = json_at(obj, "spec.template"),
			  *sel = json_at(obj, "spec.selector");
	const struct json *labels = json_at(tmpl, "metadata.labels");
	struct selector *s = NULL;
	struct err *bad;

	if (!json_len(json_get(sel, "matchLabels")) &&
	    !json_len(json_get(sel, "matchExpressions"))) {
		if (sel)
			cause_invalid(e, STR("spec.selector"), sel,
				      "empty selector is invalid for "
				      "deployment");
	} else {
		bad = label_selector_from_json(rq->arena, sel, &s);
		if (bad)
			cause_invalid(e, STR("spec.selector"), sel, "invalid label selector");
		else if (!selector_matches(s, labels))
			cause_invalid(e, STR("spec.template.metadata.labels"),
				      labels ? labels : json_object(rq->arena),
				      "`selector` does not match template `labels`");
		err_ignore(bad, "reported as a cause");
	}
	if (json_get(tmpl, "spec"))
		pod_spec_validate(rq->arena, json_get(tmpl, "spec"), STR("spec.template.spec"), e);
	if (!str_eqz(json_str_at(tmpl, "spec.restartPolicy"), "Always")) {
		static const char *const supported[] = { "Always", NULL };

		cause_not_supported(e, STR("spec.template.spec.restartPolicy"),
				    json_str_at(tmpl, "spec.restartPolicy"), supported);
	}
}

static void replicaset_validate_update(struct api_request *rq UNUSED, const struct json *obj,
				       const struct json *old, struct err **e)
{
	const struct json *sel = json_at(obj, "spec.selector");

	if (!json_equal(sel, json_at(old, "spec.selector")))
		cause_invalid(e, STR("spec.selector"), sel, "field is immutable");
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
	.prepare_create = replicaset_prepare_create,
	.validate = replicaset_validate,
	.validate_update = replicaset_validate_update,
	.cell = workload_cell,
};

const struct strategy deployment_strategy = {
	.generation = true,
	.cell = workload_cell,
};

const struct strategy daemonset_strategy = {
	.generation = true,
	.cell = workload_cell,
};

const struct strategy statefulset_strategy = {
	.generation = true,
	.cell = workload_cell,
};

const struct strategy replicationcontroller_strategy = {
	.generation = true,
	.orphan_by_default = true,
	.cell = rc_cell,
};

const struct strategy podtemplate_strategy = {
	.generation = true,
	.delete_returns_obj = true,
	.cell = podtemplate_cell,
};
