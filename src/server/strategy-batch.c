/* SPDX-License-Identifier: Apache-2.0 */

/* Job and CronJob. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "server/strategies.h"
#include "server/table.h"
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

const struct strategy job_strategy = {
	.generation = true,
	.orphan_by_default = true,
	.cell = job_cell,
};

const struct strategy cronjob_strategy = {
	.generation = true,
	.cell = cronjob_cell,
};
