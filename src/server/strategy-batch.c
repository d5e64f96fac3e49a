/* SPDX-License-Identifier: Apache-2.0 */

/* Job and CronJob. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "server/batch-validate.h"
#include "server/pod-spec.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/warn.h"
#include "server/workload.h"
#include "json/json.h"

/* Tables */
static struct str job_completions(struct arena *a, const struct json *obj)
{
	long long done = json_int_at(obj, "status.succeeded", 0);
	long long parallel = json_int_at(obj, "spec.parallelism", 0);

	if (json_at(obj, "spec.completions"))
		return arena_fmt(a, "%lld/%lld", done,
				 (long long)json_int_at(obj, "spec.completions", 0));
	if (parallel > 1)
		return arena_fmt(a, "%lld/1 of %lld", done, parallel);
	return arena_fmt(a, "%lld/1", done);
}

static struct str job_duration(struct arena *a, const struct json *obj)
{
	struct wall start, end;

	if (!wall_parse(json_str_at(obj, "status.startTime"), &start))
		return STR_EMPTY;
	if (!wall_parse(json_str_at(obj, "status.completionTime"), &end))
		end = wall_now();
	return duration_human(a, end.ns - start.ns);
}

static struct str job_status(const struct json *obj)
{
	static const char *const first[] = { "Complete", "Failed" };
	static const char *const later[] = { "Suspended", "FailureTarget", "SuccessCriteriaMet" };
	const struct json *status = json_get(obj, "status");

	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		if (condition_is_true(status, first[i]))
			return str_from(first[i]);
	}
	if (meta_deleting(obj))
		return STR("Terminating");
	for (size_t i = 0; i < ARRAY_LEN(later); i++) {
		if (condition_is_true(status, later[i]))
			return str_from(later[i]);
	}
	return STR("Running");
}

static void job_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	if (template_cell(a, json_at(obj, "spec.template"), json_at(obj, "spec.selector"), column,
			  cells))
		return;
	if (str_eqz(column, "Status"))
		cell_str(a, cells, job_status(obj));
	else if (str_eqz(column, "Completions"))
		cell_str(a, cells, job_completions(a, obj));
	else if (str_eqz(column, "Duration"))
		cell_str(a, cells, job_duration(a, obj));
}

static void cronjob_cell(struct arena *a, const struct json *obj, struct str column,
			 struct json *cells)
{
	const struct json *spec = json_get(obj, "spec");
	const struct json *last = json_at(obj, "status.lastScheduleTime");

	if (template_cell(a, json_at(spec, "jobTemplate.spec.template"),
			  json_at(spec, "jobTemplate.spec.selector"), column, cells))
		return;
	if (str_eqz(column, "Timezone"))
		cell_or_none(a, cells, json_str_at(spec, "timeZone"));
	else if (str_eqz(column, "Suspend"))
		cell_str(a, cells,
			 json_bool_at(spec, "suspend", false) ? STR("True") : STR("False"));
	else if (str_eqz(column, "Active"))
		cell_int(a, cells, (int64_t)json_len(json_at(obj, "status.active")));
	else if (str_eqz(column, "Last Schedule") && last)
		cell_age(a, cells, last);
	else
		cell_or_none(a, cells, STR_EMPTY);
}

/* ---- defaults and selectors */

static void default_int(struct arena *a, struct json *obj, const char *key, int64_t n)
{
	if (!json_get(obj, key))
		json_set_int(a, obj, key, n);
}

static void default_str(struct arena *a, struct json *obj, const char *key, const char *val)
{
	if (str_empty(json_as_str(json_get(obj, key))))
		json_set_str(a, obj, key, str_from(val));
}

static void default_template(struct arena *a, struct json *spec)
{
	struct json *pod = json_at(spec, "template.spec");
	struct json *policy = json_get(spec, "podFailurePolicy");

	if (json_is(pod, JSON_OBJECT))
		pod_spec_default(a, pod);
	if (json_is(policy, JSON_OBJECT) && !json_len(json_get(policy, "rules")))
		json_set(a, policy, "rules", json_null(a)); /* as Go writes it */
	json_for_each(rule, json_get(policy, "rules"))
	{
		json_for_each(c, json_get(rule.val, "onPodConditions"))
		{
			if (json_is(c.val, JSON_OBJECT))
				default_str(a, c.val, "status", "True");
		}
	}
}

static void job_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec");
	const struct json *labels = json_at(spec, "template.metadata.labels");

	if (!json_is(spec, JSON_OBJECT))
		return;
	default_template(a, spec);
	if (!json_get(spec, "completions") && !json_get(spec, "parallelism"))
		json_set_int(a, spec, "completions", 1);
	default_int(a, spec, "parallelism", 1);
	default_int(a, spec, "backoffLimit",
		    json_get(spec, "backoffLimitPerIndex") ? INT32_MAX : 6);
	if (labels && !json_len(meta_labels(obj)))
		json_set(a, json_sub(a, obj, "metadata"), "labels", json_copy(a, labels));
	default_str(a, spec, "completionMode", "NonIndexed");
	if (!json_get(spec, "suspend"))
		json_set_bool(a, spec, "suspend", false);
	if (!json_get(spec, "podReplacementPolicy"))
		json_set_str(a, spec, "podReplacementPolicy",
			     json_get(spec, "podFailurePolicy") ? STR("Failed")
								: STR("TerminatingOrFailed"));
	if (!json_get(spec, "manualSelector"))
		json_set_bool(a, spec, "manualSelector", false);
}

/* Unless asked not to, the server makes up the selector: by the Job's uid. */
/* A Job without labels has those of its Pods. */
static void job_default_labels(struct arena *a, struct json *obj)
{
	const struct json *labels = json_at(obj, "spec.template.metadata.labels");

	if (json_len(labels) && !json_len(meta_labels(obj)))
		json_set(a, json_sub(a, obj, "metadata"), "labels", json_copy(a, labels));
}

static struct err *job_prepare_create(struct api_request *rq, struct json *obj)
{
	static const struct {
		const char *label;
		bool uid;
	} rows[] = { { "batch.kubernetes.io/controller-uid", true },
		     { "batch.kubernetes.io/job-name", false },
		     { "controller-uid", true },
		     { "job-name", false } };
	struct arena *a = rq->arena;
	struct json *spec = json_sub(a, obj, "spec"), *labels, *match;

	json_sub(a, obj, "status");
	if (json_bool_at(spec, "manualSelector", false)) {
		job_default_labels(a, obj);
		return NULL;
	}
	labels = json_sub(a, json_sub(a, json_sub(a, spec, "template"), "metadata"), "labels");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!json_get(labels, rows[i].label))
			json_set_str(a, labels, rows[i].label,
				     rows[i].uid ? meta_uid(obj) : meta_name(obj));
	}
	match = json_sub(a, json_sub(a, spec, "selector"), "matchLabels");
	if (!json_get(match, rows[0].label))
		json_set_str(a, match, rows[0].label, meta_uid(obj));
	job_default_labels(a, obj);
	return NULL;
}

static void cronjob_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_get(obj, "spec"), *job = json_at(spec, "jobTemplate.spec");

	if (!json_is(spec, JSON_OBJECT))
		return;
	default_template(a, job);
	default_str(a, spec, "concurrencyPolicy", "Allow");
	if (!json_get(spec, "suspend"))
		json_set_bool(a, spec, "suspend", false);
	default_int(a, spec, "successfulJobsHistoryLimit", 3);
	default_int(a, spec, "failedJobsHistoryLimit", 1);
}

const struct strategy job_strategy = {
	.generation = true,
	.orphan_by_default = true,
	.set_defaults = job_defaults,
	.prepare_create = job_prepare_create,
	.validate = job_validate,
	.validate_update = job_validate_update,
	.warn = job_warn,
	.cell = job_cell,
};

const struct strategy cronjob_strategy = {
	.generation = true,
	.set_defaults = cronjob_defaults,
	.validate = cronjob_validate,
	.warn = cronjob_warn,
	.cell = cronjob_cell,
};
