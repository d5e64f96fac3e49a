/* SPDX-License-Identifier: Apache-2.0 */

/* ReplicaSet and PriorityClass. */

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

static struct str container_list(struct arena *a, const struct json *obj, const char *member)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_at(obj, "spec.template.spec.containers"))
		buf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(json_str_at(it.val, member)));
	return buf_to_arena(&b, a);
}

static void replicaset_cell(struct arena *a, const struct json *obj, struct str column,
			    struct json *cells)
{
	struct selector *s = NULL;
	struct err *e;

	if (str_eqz(column, "Containers")) {
		cell_str(a, cells, container_list(a, obj, "name"));
	} else if (str_eqz(column, "Images")) {
		cell_str(a, cells, container_list(a, obj, "image"));
	} else if (str_eqz(column, "Selector")) {
		e = label_selector_from_json(a, json_at(obj, "spec.selector"), &s);
		cell_str(a, cells, e ? STR("<error>") : selector_format(a, s));
		err_ignore(e, "shown in the cell");
	} else {
		/* numbers that are not there yet count as zero */
		cell_int(a, cells, 0);
	}
}

const struct strategy replicaset_strategy = {
	.generation = true,
	.set_defaults = replicaset_defaults,
	.prepare_create = replicaset_prepare_create,
	.validate = replicaset_validate,
	.validate_update = replicaset_validate_update,
	.cell = replicaset_cell,
};

/* PriorityClass */
#define USER_PRIORITY_MAX 1000000000

static void priorityclass_validate(struct api_request *rq UNUSED, const struct json *obj,
				   struct err **e)
{
	int64_t value = json_int_at(obj, "value", 0);
	bool system = str_has_prefix(meta_name(obj), STR("system-"));
	bool ours = str_eqz(meta_name(obj), "system-node-critical") ||
		    str_eqz(meta_name(obj), "system-cluster-critical");

	if (system && !ours)
		cause_forbidden(
			e, STR("metadata.name"),
			"priority class names with 'system-' prefix are reserved for system "
			"use only. error: the name of a system priority class is unknown");
	else if (!system && value > USER_PRIORITY_MAX)
		cause_forbidden(e, STR("value"),
				"maximum allowed value of a user defined priority is %d",
				USER_PRIORITY_MAX);
}

static void priorityclass_validate_update(struct api_request *rq UNUSED, const struct json *obj,
					  const struct json *old, struct err **e)
{
	const struct json *v = json_get(obj, "value");
	const struct json *p = json_get(obj, "preemptionPolicy");

	if (!json_equal(v, json_get(old, "value")))
		cause_forbidden(e, STR("value"), "may not be changed in an update.");
	if (p && !json_equal(p, json_get(old, "preemptionPolicy")))
		cause_invalid(e, STR("preemptionPolicy"), p, "field is immutable");
}

static void priorityclass_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	json_push(cells, json_bool(a, json_bool_at(obj, "globalDefault", false)));
}

const struct strategy priorityclass_strategy = {
	.generation = true,
	.validate = priorityclass_validate,
	.validate_update = priorityclass_validate_update,
	.cell = priorityclass_cell,
};
