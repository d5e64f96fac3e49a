/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/expectations.h"
#include "client/informer.h"
#include "client/owned.h"
#include "client/replica-plan.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/job-plan.h"
#include "control/replicaset.h"
#include "io/fiber.h"
#include "json/json.h"

/*
 * Jobs. A Pod that ended is counted once, whatever dies in between: its uid first goes to the
 * status' list of uncounted Pods, then its finalizer goes, then the count takes the list's place.
 */

#define JOB_BURST 500

struct jobs {
	struct control *control;
	struct controller *controller;
	struct informer *jobs, *pods;
	struct owned owned; /* its Pods */
	struct informer_index *by_job;
	struct informer_handler on_pod;
	struct expectations expect; /* Pods made or deleted, and not yet seen */
};

struct job_sync {
	struct jobs *js;
	struct arena *a;
	struct str key;
	struct json *job, *status;
	struct job_plan p;
	struct err *error; /* of a creation or deletion: the first */
};

static void job_event(struct job_sync *s, const char *type, const char *reason, struct str text)
{
	event_record(s->js->control->events, s->job, STR("batch/v1"), STR("Job"), type, reason,
		     STR_FMT, STR_ARG(text));
}

/* ---- Pods and whose they are */

/* "ns/job" of Pods that carry our finalizer: those of a Job that is gone are to be freed. */
static void job_index_tracked(const struct obj *o, void (*emit)(struct str key, void *ctx),
			      void *ctx)
{
	const struct json *ref = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = NULL;
	struct str name;

	if (!meta_has_finalizer(obj_tree(o), STR(JOB_FINALIZER)))
		return;
	name = ref ? json_str_at(ref, "name") : obj_label(o, STR("batch.kubernetes.io/job-name"));
	a = arena_new();
	if (!str_empty(name))
		emit(meta_key(a, o->ns, name), ctx);
}

struct job_collect {
	struct arena *a;
	struct json *to;
};

static bool job_collect_pod(const struct obj *o, void *ctx)
{
	const struct job_collect *c = ctx;

	json_push(c->to, json_copy(c->a, obj_tree(o)));
	return true;
}

static struct err *job_settle(struct err *e)
{
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_INVALID))) {
		err_ignore(e, "gone, or another object by now");
		return NULL;
	}
	return e;
}

static struct err *job_patch_pod(struct job_sync *s, const struct json *pod,
				 const struct json *patch)
{
	return job_settle(client_patch(s->js->control->client, s->a, gvr_pods, meta_namespace(pod),
				       meta_name(pod), NULL, CLIENT_PATCH_MERGE, patch, NULL));
}

static struct err *job_free_pod(struct job_sync *s, const struct json *pod)
{
	struct json *patch = json_object(s->a), *meta = json_sub(s->a, patch, "metadata");
	struct json *left = json_array(s->a);

	json_for_each(it, json_at(pod, "metadata.finalizers"))
	{
		if (!str_eqz(json_as_str(it.val), JOB_FINALIZER))
			json_push(left, json_copy(s->a, it.val));
	}
	json_set_str(s->a, meta, "uid", meta_uid(pod));
	json_set(s->a, meta, "finalizers", json_len(left) ? left : json_null(s->a));
	return job_patch_pod(s, pod, patch);
}

/* ---- more Pods, or fewer */

struct job_work {
	struct job_sync *s;
	struct json *pod;
};

static void job_fail(struct job_sync *s, struct err *e)
{
	if (s->error)
		err_ignore(e, "the first one is reported");
	else
		s->error = e;
}

static struct err *job_create_one(void *arg)
{
	struct job_work *w = arg;
	struct job_sync *s = w->s;
	struct json *made;
	struct err *e = client_create(s->js->control->client, s->a, gvr_pods,
				      meta_namespace(s->job), w->pod, &made);

	if (!e) {
		job_event(s, "Normal", "SuccessfulCreate",
			  arena_fmt(s->a, "Created pod: " STR_FMT, STR_ARG(meta_name(made))));
		return NULL;
	}
	expectations_saw_add(&s->js->expect, s->key);
	if (control_ns_terminating(e)) {
		err_ignore(e, "nothing can be created there any more");
		return NULL;
	}
	job_event(s, "Warning", "FailedCreate",
		  arena_fmt(s->a, "Error creating: " STR_FMT, STR_ARG(err_msg(e))));
	job_fail(s, e);
	return NULL;
}

/* One, then twice as many as last time while all succeed. */
static struct err *job_create(struct job_sync *s, int64_t n)
{
	struct job_work *w = arena_array(s->a, (size_t)n + 1, sizeof(*w));
	int64_t index = -1, from = 0, batch = 1, made = 0;

	for (int64_t i = 0; i < n; i++, from++) {
		if (s->p.indexed && !job_next_index(&s->p, &from)) {
			n = i;
			break;
		}
		index = s->p.indexed ? from : -1;
		w[i] = (struct job_work){ s, job_make_pod(s->a, &s->p, index) };
	}
	expectations_set(&s->js->expect, s->key, (int)n, 0);
	while (made < n && !s->error) {
		struct fiber_group *g = fiber_group_new();

		batch = MIN(batch, n - made);
		for (int64_t i = 0; i < batch; i++)
			fiber_group_add(g, "create", job_create_one, &w[made + i]);
		TRY(fiber_group_join(g));
		made += batch;
		batch *= 2;
	}
	for (; made < n; made++)
		expectations_saw_add(&s->js->expect, s->key);
	return NULL;
}

static struct err *job_delete_one(void *arg)
{
	struct job_work *w = arg;
	struct job_sync *s = w->s;
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	opts.uid = meta_uid(w->pod);
	e = client_delete(s->js->control->client, s->a, gvr_pods, meta_namespace(w->pod),
			  meta_name(w->pod), &opts);
	if (!e) {
		job_event(s, "Normal", "SuccessfulDelete",
			  arena_fmt(s->a, "Deleted pod: " STR_FMT, STR_ARG(meta_name(w->pod))));
		return NULL;
	}
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	job_fail(s, e);
	return NULL;
}

/* Those furthest from success first. */
static struct err *job_delete(struct job_sync *s, int64_t n)
{
	struct job_work *w = arena_array(s->a, s->p.n + 1, sizeof(*w));
	struct fiber_group *g = fiber_group_new();
	size_t k = 0;

	for (size_t i = 0; i < s->p.n; i++) {
		size_t at = k;
		struct replica_member x = { .obj = s->p.v[i].obj };

		if (s->p.v[i].state != JOB_POD_ACTIVE)
			continue;
		x.ready = condition_is_true(json_get(x.obj, "status"), "Ready");
		for (; at; at--) {
			struct replica_member y = { .obj = w[at - 1].pod };

			y.ready = condition_is_true(json_get(y.obj, "status"), "Ready");
			if (replicaset_rank(&x, &y) >= 0)
				break;
			w[at] = w[at - 1];
		}
		w[at] = (struct job_work){ s, json_copy(s->a, x.obj) };
		k++;
	}
	for (size_t i = 0; i < k && (int64_t)i < n; i++)
		fiber_group_add(g, "delete", job_delete_one, &w[i]);
	return fiber_group_join(g);
}

/* Changes active to what will be seen. */
static struct err *job_manage(struct job_sync *s)
{
	int64_t want = job_wanted_active(&s->p), wait;

	if (s->p.active > want) {
		int64_t n = MIN(s->p.active - want, JOB_BURST);

		TRY(job_delete(s, n));
		if (!s->error) {
			s->p.active -= n;
			s->p.ready = MIN(s->p.ready, s->p.active);
			s->p.terminating += n;
		}
		return NULL;
	}
	if (s->p.active == want || s->p.end.condition)
		return NULL;
	wait = job_backoff_ms(&s->p, wall_now());
	if (wait) {
		controller_enqueue_after(s->js->controller, s->key, wait);
		return NULL;
	}
	want = MIN(want - s->p.active, JOB_BURST);
	TRY(job_create(s, want));
	if (!s->error)
		s->p.active += want;
	return NULL;
}

/* ---- status */

static struct err *job_write(struct job_sync *s)
{
	struct json *was = json_get(s->job, "status"), *made;

	if (was ? json_equal(was, s->status) : !json_len(s->status))
		return NULL;
	json_set_str(s->a, s->job, "apiVersion", STR("batch/v1"));
	json_set_str(s->a, s->job, "kind", STR("Job"));
	json_set(s->a, s->job, "status", json_copy(s->a, s->status));
	TRY(client_update(s->js->control->client, s->a, gvr_jobs, "status", s->job, &made));
	s->job = made;
	return NULL;
}

static void job_set_count(struct job_sync *s, const char *key, int64_t n)
{
	if (n)
		json_set_int(s->a, s->status, key, n);
	else
		json_delz(s->status, key);
}

static struct json *job_uncounted(struct job_sync *s, const char *list)
{
	return json_sub_array(s->a, json_sub(s->a, s->status, "uncountedTerminatedPods"), list);
}

static bool job_has_uid(const struct json *list, struct str uid)
{
	json_for_each(it, list)
	{
		if (str_eq(json_as_str(it.val), uid))
			return true;
	}
	return false;
}

/* Names those that ended in the status, before anything forgets them. */
static void job_list_ended(struct job_sync *s)
{
	for (size_t i = 0; i < s->p.n; i++) {
		const struct job_pod *v = &s->p.v[i];
		struct json *list;

		/* indexed successes are in completedIndexes, which cannot count twice */
		if (!v->tracked || (v->state != JOB_POD_FAILED && v->state != JOB_POD_SUCCEEDED) ||
		    (s->p.indexed && v->state == JOB_POD_SUCCEEDED))
			continue;
		list = job_uncounted(s, v->state == JOB_POD_FAILED ? "failed" : "succeeded");
		if (!job_has_uid(list, meta_uid(v->obj)))
			json_push(list, json_strcpy(s->a, meta_uid(v->obj)));
	}
}

static struct err *job_free_ended(struct job_sync *s)
{
	for (size_t i = 0; i < s->p.n; i++) {
		const struct job_pod *v = &s->p.v[i];

		if (v->tracked && v->state != JOB_POD_ACTIVE && v->state != JOB_POD_TERMINATING)
			TRY(job_free_pod(s, v->obj));
	}
	return NULL;
}

static void job_fill_counts(struct job_sync *s)
{
	const struct job_plan *p = &s->p;

	job_set_count(s, "active", p->active);
	json_set_int(s->a, s->status, "ready", p->ready);
	json_set_int(s->a, s->status, "terminating", p->terminating);
	job_set_count(s, "succeeded", p->succeeded);
	job_set_count(s, "failed", p->failed);
	/* all of them are counted and freed by now */
	json_set(s->a, s->status, "uncountedTerminatedPods", json_object(s->a));
	if (!p->indexed)
		return;
	json_set(s->a, s->status, "completedIndexes",
		 json_str(s->a, job_indexes_text(s->a, p->done, p->completions)));
	if (str_empty(json_str_at(s->status, "completedIndexes")))
		json_delz(s->status, "completedIndexes");
	if (p->limit_per_index >= 0)
		json_set(s->a, s->status, "failedIndexes",
			 json_str(s->a, job_indexes_text(s->a, p->given_up, p->completions)));
}

static bool job_condition(struct job_sync *s, const char *type, const char *value,
			  const char *reason, struct str message)
{
	struct wall now = wall_now();
	bool changed = condition_set(s->a, s->status, type, value, str_from(reason), message, now);
	struct json *c = json_find_by(json_get(s->status, "conditions"), "type", str_from(type));

	if (changed)
		json_set(s->a, c, "lastProbeTime", json_str(s->a, wall_format(s->a, now)));
	return changed;
}

/* First that it is decided, then, when nothing runs any more, that it is over. */
static void job_fill_end(struct job_sync *s)
{
	const struct job_end *end = &s->p.end;
	bool failed = end->condition && !strcmp(end->condition, "Failed");

	if (!end->condition)
		return;
	job_condition(s, failed ? "FailureTarget" : "SuccessCriteriaMet", "True", end->reason,
		      end->message);
	if (s->p.active || s->p.terminating)
		return;
	if (!job_condition(s, end->condition, "True", end->reason, end->message))
		return;
	if (failed)
		job_event(s, "Warning", end->reason, end->message);
	else
		job_event(s, "Normal", "Completed", STR("Job completed"));
	if (!failed)
		json_set(s->a, s->status, "completionTime",
			 json_str(s->a, wall_format(s->a, wall_now())));
}

/* The start is when it first may run, and again when it may run again. */
static void job_fill_suspension(struct job_sync *s)
{
	bool was = condition_is_true(s->status, "Suspended");

	if (s->p.suspended) {
		if (s->p.end.condition)
			return;
		if (!was)
			job_event(s, "Normal", "Suspended", STR("Job suspended"));
		job_condition(s, "Suspended", "True", "JobSuspended", STR("Job suspended"));
		json_delz(s->status, "startTime");
		return;
	}
	if (was) {
		job_event(s, "Normal", "Resumed", STR("Job resumed"));
		job_condition(s, "Suspended", "False", "JobResumed", STR("Job resumed"));
	}
	if (was || !json_get(s->status, "startTime"))
		json_set(s->a, s->status, "startTime",
			 json_str(s->a, wall_format(s->a, wall_now())));
}

/* ---- sync */

static struct err *job_count_ended(struct job_sync *s)
{
	job_list_ended(s);
	if (s->p.indexed)
		json_set(s->a, s->status, "completedIndexes",
			 json_str(s->a, job_indexes_text(s->a, s->p.done, s->p.completions)));
	if (str_empty(json_str_at(s->status, "completedIndexes")))
		json_delz(s->status, "completedIndexes");
	TRY(job_write(s));
	return job_free_ended(s);
}

static bool job_finished(const struct json *job)
{
	const struct json *status = json_get(job, "status");

	return condition_is_true(status, "Complete") || condition_is_true(status, "Failed");
}

static bool job_any_ended(const struct job_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].tracked && p->v[i].state != JOB_POD_ACTIVE &&
		    p->v[i].state != JOB_POD_TERMINATING)
			return true;
	}
	return json_len(json_at(p->job, "status.uncountedTerminatedPods.failed")) ||
	       json_len(json_at(p->job, "status.uncountedTerminatedPods.succeeded"));
}

static struct err *job_sync_live(struct job_sync *s)
{
	bool settled = expectations_met(&s->js->expect, s->key);
	int64_t deadline;

	job_fill_suspension(s);
	if (job_any_ended(&s->p))
		TRY(job_count_ended(s));
	if (settled && !meta_deleting(s->job))
		TRY(job_manage(s));
	job_fill_counts(s);
	job_fill_end(s);
	deadline = job_deadline_ms(s->job, wall_now());
	if (deadline > 0)
		controller_enqueue_after(s->js->controller, s->key, deadline + 1);
	return job_write(s);
}

/* Pods of a Job that ended or is gone are nobody's to count. */
static struct err *job_free_all(struct job_sync *s)
{
	struct job_collect all = { s->a, json_array(s->a) };

	informer_index_each(s->js->by_job, s->key, job_collect_pod, &all);
	json_for_each(it, all.to)
	{
		const struct json *ref = meta_controller(it.val);

		if (!ref || str_eqz(json_str_at(ref, "kind"), "Job"))
			TRY(job_free_pod(s, it.val));
	}
	return NULL;
}

static struct err *job_sync_all(struct job_sync *s)
{
	const struct json *status = json_get(s->job, "status");
	struct owned_list pods;

	if (job_finished(s->job))
		return job_free_all(s);
	/* another controller's */
	if (!str_empty(json_str_at(s->job, "spec.managedBy")) &&
	    !str_eqz(json_str_at(s->job, "spec.managedBy"), "kubernetes.io/job-controller"))
		return NULL;
	s->status = status ? json_copy(s->a, status) : json_object(s->a);
	TRY(owned_claim(&s->js->owned, s->a, s->job, &pods));
	job_plan_init(s->a, &s->p, s->job, &pods, wall_now());
	return job_sync_live(s);
}

static struct err *job_sync(void *ctx, struct arena *a, struct str key)
{
	struct jobs *js = ctx;
	const struct obj *o = informer_find_key(js->jobs, key);
	struct job_sync s = { .js = js, .a = a, .key = key };
	struct err *e;

	if (!o) {
		expectations_forget(&js->expect, key);
		return job_free_all(&s);
	}
	s.job = json_copy(a, obj_tree(o));
	e = job_sync_all(&s);
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		e = NULL;
	}
	if (!s.error)
		return e;
	err_ignore(e, "the first failure is the one to report");
	return s.error;
}

/* ---- events */

static void job_route_pod(struct controller *c, const struct obj *o, void *ctx)
{
	const struct json *ref = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = arena_new();
	struct str name = obj_label(o, STR("batch.kubernetes.io/job-name"));

	if (ref && str_eqz(json_str_at(ref, "kind"), "Job"))
		controller_enqueue(c, meta_key(a, o->ns, json_str_at(ref, "name")));
	else if (!ref && !str_empty(name))
		controller_enqueue(c, meta_key(a, o->ns, name));
}

static void job_on_pod(struct informer_handler *h, const struct obj *old_obj,
		       const struct obj *new_obj)
{
	struct jobs *js = container_of(h, struct jobs, on_pod);
	const struct json *ref = old_obj ? NULL : meta_controller(obj_tree(new_obj));
	_cleanup_arena_ struct arena *a = NULL;

	if (!ref || !str_eqz(json_str_at(ref, "kind"), "Job"))
		return;
	a = arena_new();
	expectations_saw_add(&js->expect, meta_key(a, new_obj->ns, json_str_at(ref, "name")));
}

void job_start(struct control *c)
{
	static struct jobs js;
	const struct controller_opts opts = {
		.name = "job", .workers = 5, .sync = job_sync, .ctx = &js
	};

	js.control = c;
	js.controller = controller_new(c->loop, &opts);
	js.jobs = control_informer(c, gvr_jobs);
	js.pods = control_informer(c, gvr_pods);
	js.owned = (struct owned){ .client = c->client,
				   .owner = gvr_jobs,
				   .owner_api_version = STR("batch/v1"),
				   .owner_kind = STR("Job"),
				   .owners = js.jobs,
				   .members = js.pods };
	owned_init(&js.owned);
	js.by_job = informer_add_index(js.pods, job_index_tracked);
	js.on_pod.event = job_on_pod;
	informer_add_handler(js.pods, &js.on_pod);
	controller_watch(js.controller, js.jobs);
	controller_watch_fn(js.controller, js.pods, job_route_pod, &js);
	controller_start(js.controller);
}
