/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/cron-next.h"
#include "json/json.h"

/* CronJobs: a Job whenever the schedule says so. Jobs are named by their minute, so that one time
 * makes one Job however often it is tried. */

#define MANY_MISSED     100
#define MAX_SEARCH      1000
#define SETTLE_MS       100 /* wake up just after the minute, not just before */
#define SCHEDULED_AT    "batch.kubernetes.io/cronjob-scheduled-timestamp"
#define KEEP_SUCCESSFUL 3

struct cronjobs {
	struct control *control;
	struct controller *controller;
	struct informer *cronjobs, *jobs;
	struct informer_index *by_owner;
};

struct cronjob_sync {
	struct cronjobs *cj;
	struct arena *a;
	struct str key;
	struct json *obj; /* the CronJob; its status is changed as we go */
	struct json *status;
	struct json *jobs; /* that it controls */
	struct wall now;
};

static const struct gvr gvr_cronjobs = GVR("batch", "v1", "cronjobs");

static void cronjob_event(struct cronjob_sync *s, const char *type, const char *reason,
			  struct str text)
{
	event_record(s->cj->control->events, s->obj, STR("batch/v1"), STR("CronJob"), type, reason,
		     STR_FMT, STR_ARG(text));
}

/* "Complete", "Failed" or NULL. */
static const char *cronjob_job_end(const struct json *job)
{
	const struct json *status = json_get(job, "status");

	if (condition_is_true(status, "Complete"))
		return "Complete";
	return condition_is_true(status, "Failed") ? "Failed" : NULL;
}

/* ---- what became of earlier Jobs */

static const struct json *cronjob_job(const struct cronjob_sync *s, struct str uid)
{
	json_for_each(it, s->jobs)
	{
		if (str_eq(meta_uid(it.val), uid))
			return it.val;
	}
	return NULL;
}

static void cronjob_note_success(struct cronjob_sync *s, const struct json *job)
{
	struct str done = json_str_at(job, "status.completionTime");
	struct wall at, last;

	if (!wall_parse(done, &at))
		return;
	if (!wall_parse(json_str_at(s->status, "lastSuccessfulTime"), &last) || at.ns > last.ns)
		json_set(s->a, s->status, "lastSuccessfulTime", json_strcpy(s->a, done));
}

static void cronjob_refresh_active(struct cronjob_sync *s)
{
	struct json *left = json_array(s->a);

	json_for_each(it, json_get(s->status, "active"))
	{
		const struct json *job = cronjob_job(s, json_str_at(it.val, "uid"));
		const char *end = job ? cronjob_job_end(job) : NULL;

		if (!job)
			cronjob_event(s, "Normal", "MissingJob",
				      arena_fmt(s->a, "Active job went missing: " STR_FMT,
						STR_ARG(json_str_at(it.val, "name"))));
		else if (end)
			cronjob_event(s, "Normal", "SawCompletedJob",
				      arena_fmt(s->a,
						"Saw completed job: " STR_FMT ", condition: %s",
						STR_ARG(meta_name(job)), end));
		else
			json_push(left, json_copy(s->a, it.val));
	}
	json_for_each(it, s->jobs)
	{
		if (condition_is_true(json_get(it.val, "status"), "Complete"))
			cronjob_note_success(s, it.val);
	}
	json_delz(s->status, "active");
	if (json_len(left))
		json_set(s->a, s->status, "active", left);
}

static struct err *cronjob_delete_job(struct cronjob_sync *s, struct str name)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	opts.propagation = "Background";
	e = client_delete(s->cj->control->client, s->a, gvr_jobs, meta_namespace(s->obj), name,
			  &opts);
	if (e && !err_is(e, ERR_NOT_FOUND)) {
		cronjob_event(s, "Warning", "FailedDelete",
			      arena_fmt(s->a, "Deleted job: " STR_FMT, STR_ARG(err_msg(e))));
		return e;
	}
	err_ignore(e, "gone already");
	cronjob_event(s, "Normal", "SuccessfulDelete",
		      arena_fmt(s->a, "Deleted job " STR_FMT, STR_ARG(name)));
	return NULL;
}

static int cronjob_cmp_start(const void *x, const void *y)
{
	const struct json *const *a = x, *const *b = y;

	return str_cmp(json_str_at(*a, "status.startTime"), json_str_at(*b, "status.startTime"));
}

/* The oldest of those that ended so, above the limit. */
static struct err *cronjob_trim(struct cronjob_sync *s, const char *end, const char *limit,
				int64_t dflt)
{
	const struct json **v =
		arena_array(s->a, json_len(s->jobs) + 1, sizeof(const struct json *));
	int64_t keep = json_int_at(s->obj, limit, dflt);
	size_t n = 0;

	json_for_each(it, s->jobs)
	{
		const char *how = cronjob_job_end(it.val);

		if (how && !strcmp(how, end) && !meta_deleting(it.val))
			v[n++] = it.val;
	}
	qsort(v, n, sizeof(const struct json *), cronjob_cmp_start);
	for (size_t i = 0; (int64_t)(n - i) > keep; i++)
		TRY(cronjob_delete_job(s, meta_name(v[i])));
	return NULL;
}

/* ---- when */

/* The latest time that was due and not served. *ret_next: when to come again. */
static bool cronjob_due(struct cronjob_sync *s, const struct cron *c, struct wall *ret,
			struct wall *ret_next)
{
	struct str zone = json_str_at(s->obj, "spec.timeZone");
	int64_t deadline = json_int_at(s->obj, "spec.startingDeadlineSeconds", -1);
	struct wall t, last = { 0 };
	size_t n = 0;

	if (!wall_parse(json_str_at(s->status, "lastScheduleTime"), &t) &&
	    !wall_parse(json_str_at(s->obj, "metadata.creationTimestamp"), &t))
		t = s->now;
	if (deadline >= 0)
		t.ns = MAX(t.ns, s->now.ns - deadline * NS_PER_SEC);
	while (cron_next(c, zone, t, ret_next) && ret_next->ns <= s->now.ns) {
		int64_t step = ret_next->ns - last.ns;

		/* so many that only the last ones are worth looking for */
		if (++n == MANY_MISSED)
			ret_next->ns = MAX(ret_next->ns, s->now.ns - 2 * step);
		if (n > MAX_SEARCH)
			break;
		last = t = *ret_next;
	}
	if (n >= MANY_MISSED)
		cronjob_event(s, "Warning", "TooManyMissedTimes",
			      STR("too many missed start times. Set or decrease "
				  ".spec.startingDeadlineSeconds or check clock skew"));
	*ret = last;
	return n > 0;
}

static void cronjob_wake_at(struct cronjob_sync *s, struct wall next)
{
	if (next.ns > s->now.ns)
		controller_enqueue_after(s->cj->controller, s->key,
					 (next.ns - s->now.ns) / NS_PER_MS + SETTLE_MS);
}

/* ---- a new Job */

static struct json *cronjob_make_job(struct cronjob_sync *s, struct str name, struct wall at)
{
	const struct json *template = json_at(s->obj, "spec.jobTemplate");
	static const char *const kept[] = { "labels", "annotations" };
	struct json *job = json_object(s->a), *meta;

	json_set_str(s->a, job, "apiVersion", STR("batch/v1"));
	json_set_str(s->a, job, "kind", STR("Job"));
	meta = json_sub(s->a, job, "metadata");
	json_set_str(s->a, meta, "name", name);
	json_set(s->a, meta, "namespace", json_strcpy(s->a, meta_namespace(s->obj)));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(s->a, meta, kept[i], json_copy(s->a, v));
	}
	meta_set_annotation(s->a, job, SCHEDULED_AT, wall_format(s->a, at));
	meta_set_controller(s->a, job, s->obj, STR("batch/v1"), STR("CronJob"));
	json_set(s->a, job, "spec", json_copy(s->a, json_get(template, "spec")));
	return job;
}

static struct err *cronjob_create_job(struct cronjob_sync *s, struct wall at, struct json **ret)
{
	struct client *c = s->cj->control->client;
	struct str name = arena_fmt(s->a, STR_FMT "-%lld", STR_ARG(meta_name(s->obj)),
				    (long long)(at.ns / NS_PER_SEC / 60));
	struct err *e = client_create(c, s->a, gvr_jobs, meta_namespace(s->obj),
				      cronjob_make_job(s, name, at), ret);

	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "it may be ours");
		TRY(client_get(c, s->a, gvr_jobs, meta_namespace(s->obj), name, ret));
		if (meta_controlled_by(*ret, meta_uid(s->obj)))
			return NULL;
		return err_new(ERR_CONFLICT, "Job '" STR_FMT "' belongs to somebody else",
			       STR_ARG(name));
	}
	if (e && !control_ns_terminating(e))
		cronjob_event(s, "Warning", "FailedCreate",
			      arena_fmt(s->a, "Error creating job: " STR_FMT, STR_ARG(err_msg(e))));
	if (e)
		return e;
	cronjob_event(s, "Normal", "SuccessfulCreate",
		      arena_fmt(s->a, "Created job " STR_FMT, STR_ARG(name)));
	return NULL;
}

static void cronjob_add_active(struct cronjob_sync *s, const struct json *job)
{
	struct json *ref = json_object(s->a);
	static const char *const copied[] = { "namespace", "name", "uid", "resourceVersion" };

	json_set_str(s->a, ref, "kind", STR("Job"));
	json_set_str(s->a, ref, "apiVersion", STR("batch/v1"));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++)
		json_set(s->a, ref, copied[i],
			 json_strcpy(s->a, json_str_at(json_get(job, "metadata"), copied[i])));
	json_push(json_sub_array(s->a, s->status, "active"), ref);
}

/* Whether the time passed without its Job must be let go. */
static bool cronjob_passes(struct cronjob_sync *s, struct wall at)
{
	int64_t deadline = json_int_at(s->obj, "spec.startingDeadlineSeconds", -1);
	struct wall last;

	if (deadline >= 0 && at.ns + deadline * NS_PER_SEC < s->now.ns) {
		cronjob_event(s, "Warning", "MissSchedule",
			      arena_fmt(s->a, "Missed scheduled time to start a job: " STR_FMT,
					STR_ARG(wall_format(s->a, at))));
		return true;
	}
	if (wall_parse(json_str_at(s->status, "lastScheduleTime"), &last) && last.ns >= at.ns)
		return true;
	if (str_eqz(json_str_at(s->obj, "spec.concurrencyPolicy"), "Forbid") &&
	    json_len(json_get(s->status, "active"))) {
		cronjob_event(s, "Normal", "JobAlreadyActive",
			      STR("Not starting job because prior execution is running and "
				  "concurrency policy is Forbid"));
		return true;
	}
	return false;
}

static struct err *cronjob_start_job(struct cronjob_sync *s, struct wall at)
{
	struct json *job;

	if (str_eqz(json_str_at(s->obj, "spec.concurrencyPolicy"), "Replace")) {
		json_for_each(it, json_get(s->status, "active"))
			TRY(cronjob_delete_job(s, json_str_at(it.val, "name")));
		json_delz(s->status, "active");
	}
	TRY(cronjob_create_job(s, at, &job));
	cronjob_add_active(s, job);
	json_set(s->a, s->status, "lastScheduleTime", json_str(s->a, wall_format(s->a, at)));
	return NULL;
}

/* ---- sync */

static struct err *cronjob_write_status(struct cronjob_sync *s)
{
	if (json_equal(json_get(s->obj, "status"), s->status) ||
	    (!json_get(s->obj, "status") && !json_len(s->status)))
		return NULL;
	json_set_str(s->a, s->obj, "apiVersion", STR("batch/v1"));
	json_set_str(s->a, s->obj, "kind", STR("CronJob"));
	json_set(s->a, s->obj, "status", json_copy(s->a, s->status));
	return client_update(s->cj->control->client, s->a, gvr_cronjobs, "status", s->obj, NULL);
}

static struct err *cronjob_schedule(struct cronjob_sync *s)
{
	struct wall at, next = { 0 };
	struct cron c;
	const char *bad;

	if (meta_deleting(s->obj) || json_bool_at(s->obj, "spec.suspend", false))
		return NULL;
	bad = cron_parse(s->a, json_str_at(s->obj, "spec.schedule"), &c);
	if (bad) {
		cronjob_event(s, "Warning", "UnparseableSchedule",
			      arena_fmt(s->a, "unparseable schedule: " STR_FMT " : %s",
					STR_ARG(json_str_at(s->obj, "spec.schedule")), bad));
		return NULL;
	}
	if (cronjob_due(s, &c, &at, &next) && !cronjob_passes(s, at))
		TRY(cronjob_start_job(s, at));
	cronjob_wake_at(s, next);
	return NULL;
}

static struct err *cronjob_sync_all(struct cronjob_sync *s)
{
	struct err *e;

	cronjob_refresh_active(s);
	TRY(cronjob_trim(s, "Complete", "spec.successfulJobsHistoryLimit", KEEP_SUCCESSFUL));
	TRY(cronjob_trim(s, "Failed", "spec.failedJobsHistoryLimit", 1));
	e = cronjob_schedule(s);
	if (e) {
		/* what was seen is kept even so */
		err_ignore(cronjob_write_status(s), "the first error is the one to report");
		return e;
	}
	return cronjob_write_status(s);
}

static bool cronjob_collect(const struct obj *o, void *ctx)
{
	struct cronjob_sync *s = ctx;

	json_push(s->jobs, json_copy(s->a, obj_tree(o)));
	return true;
}

static struct err *cronjob_sync(void *ctx, struct arena *a, struct str key)
{
	struct cronjobs *cj = ctx;
	const struct obj *o = informer_find_key(cj->cronjobs, key);
	struct cronjob_sync s = { .cj = cj, .a = a, .key = key, .now = wall_now() };
	const struct json *status;
	struct err *e;

	if (!o)
		return NULL;
	s.obj = json_copy(a, obj_tree(o));
	status = json_get(s.obj, "status");
	s.status = status ? json_copy(a, status) : json_object(a);
	s.jobs = json_array(a);
	informer_index_each(cj->by_owner, o->uid, cronjob_collect, &s);
	e = cronjob_sync_all(&s);
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

void cronjob_start(struct control *c)
{
	static struct cronjobs cj;
	const struct controller_opts opts = { .name = "cronjob", .sync = cronjob_sync, .ctx = &cj };

	cj.control = c;
	cj.controller = controller_new(c->loop, &opts);
	cj.cronjobs = control_informer(c, gvr_cronjobs);
	cj.jobs = control_informer(c, gvr_jobs);
	cj.by_owner = informer_add_index(cj.jobs, informer_index_by_owner);
	controller_watch(cj.controller, cj.cronjobs);
	controller_watch_owned(cj.controller, cj.jobs, STR("CronJob"));
	controller_start(cj.controller);
}
