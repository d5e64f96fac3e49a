/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/owned.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/deployment-plan.h"
#include "json/json.h"

/*
 * Deployments over ReplicaSets. Each sync plans from what the informers show (deployment-plan.h),
 * makes one step, and is called again by what the step changes. Writes carry the revision of what
 * was seen, so a stale plan fails instead of doing harm.
 */

struct deployments {
	struct control *control;
	struct controller *controller;
	struct informer *deployments, *sets, *pods;
	struct owned owned; /* its ReplicaSets */
	struct informer_index *pods_by_owner;
};

struct deployment_sync {
	struct deployments *ds;
	struct arena *a;
	struct str key;
	struct json *d;
	struct deployment_plan p;
};

#define API_VERSION STR("apps/v1")
#define KIND        STR("Deployment")

/* ---- writing */

static struct err *deployment_write_set(struct deployment_sync *s, struct json *rs)
{
	json_set_str(s->a, rs, "apiVersion", API_VERSION);
	json_set_str(s->a, rs, "kind", STR("ReplicaSet"));
	return client_update(s->ds->control->client, s->a, gvr_replicasets, NULL, rs, NULL);
}

/* *scaled is set when a set gets another size. */
static struct err *deployment_write_scale(struct deployment_sync *s, struct deployment_rs *r,
					  bool *scaled)
{
	struct json *rs = json_copy(s->a, r->obj);
	bool annotate = deployment_annotate_sizes(s->a, &s->p, rs);

	if (r->want == r->replicas && !annotate)
		return NULL;
	json_set_int(s->a, json_sub(s->a, rs, "spec"), "replicas", r->want);
	TRY(deployment_write_set(s, rs));
	if (r->want == r->replicas)
		return NULL;
	*scaled = true;
	event_record(s->ds->control->events, s->d, API_VERSION, KIND, "Normal", "ScalingReplicaSet",
		     "Scaled %s replica set " STR_FMT " from %lld to %lld",
		     r->want > r->replicas ? "up" : "down", STR_ARG(meta_name(rs)),
		     (long long)r->replicas, (long long)r->want);
	return NULL;
}

static struct err *deployment_write_scales(struct deployment_sync *s, bool *scaled)
{
	for (size_t i = 0; i < s->p.n; i++) {
		if (s->p.v[i].want != s->p.v[i].replicas)
			TRY(deployment_write_scale(s, &s->p.v[i], scaled));
	}
	return NULL;
}

static struct err *deployment_write_status(struct deployment_sync *s, const struct json *status)
{
	struct json *d;

	if (json_equal(json_get(s->d, "status"), status))
		return NULL;
	d = json_copy(s->a, s->d);
	json_set_str(s->a, d, "apiVersion", API_VERSION);
	json_set_str(s->a, d, "kind", KIND);
	json_set(s->a, d, "status", json_copy(s->a, status));
	return client_update(s->ds->control->client, s->a, gvr_deployments, "status", d, &s->d);
}

/* ---- the new ReplicaSet and the revision */

static struct err *deployment_write_revision(struct deployment_sync *s, struct str revision)
{
	struct json *d, *patch, *meta;

	if (str_eq(meta_annotation(s->d, DEPLOYMENT_REVISION), revision))
		return NULL;
	patch = json_object(s->a);
	meta = json_sub(s->a, patch, "metadata");
	json_set(s->a, meta, "resourceVersion", json_strcpy(s->a, meta_rv(s->d)));
	json_set(s->a, json_sub(s->a, meta, "annotations"), DEPLOYMENT_REVISION,
		 json_strcpy(s->a, revision));
	TRY(client_patch(s->ds->control->client, s->a, gvr_deployments, meta_namespace(s->d),
			 meta_name(s->d), NULL, CLIENT_PATCH_MERGE, patch, &d));
	s->d = d;
	s->p.deployment = d;
	return NULL;
}

/* A condition alone, for what the rest of the sync will not come to say. */
static struct err *deployment_say(struct deployment_sync *s, const char *value, const char *reason,
				  struct str message)
{
	const struct json *old = json_get(s->d, "status");
	struct json *status = old ? json_copy(s->a, old) : json_object(s->a);

	if (!deployment_has_deadline(s->d) ||
	    !deployment_set_condition(s->a, status, "Progressing", value, reason, message,
				      wall_now()))
		return NULL;
	TRY(deployment_write_status(s, status));
	s->p.deployment = s->d;
	return NULL;
}

static struct err *deployment_collided(struct deployment_sync *s, struct str name)
{
	struct json *found, *status = json_get(s->d, "status");

	TRY(client_get(s->ds->control->client, s->a, gvr_replicasets, meta_namespace(s->d), name,
		       &found));
	/* our own, which the informer has not shown yet */
	if (meta_controlled_by(found, meta_uid(s->d)))
		return err_new(ERR_CONFLICT, "ReplicaSet '" STR_FMT "' is there already",
			       STR_ARG(name));
	status = status ? json_copy(s->a, status) : json_object(s->a);
	json_set_int(s->a, status, "collisionCount", json_int_at(status, "collisionCount", 0) + 1);
	TRY(deployment_write_status(s, status));
	return err_new(ERR_CONFLICT, "the hash of the template is taken, trying another");
}

static struct err *deployment_create_set(struct deployment_sync *s)
{
	struct json *rs = deployment_make_rs(s->a, &s->p), *made;
	struct str name = arena_str(s->a, meta_name(rs));
	struct err *e = client_create(s->ds->control->client, s->a, gvr_replicasets,
				      meta_namespace(s->d), rs, &made);
	int64_t n = json_int_at(rs, "spec.replicas", 0);

	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "whose it is decides");
		return deployment_collided(s, name);
	}
	if (e && control_ns_terminating(e))
		return e;
	if (e) {
		struct str text = arena_fmt(
			s->a, "Failed to create new replica set \"" STR_FMT "\": " STR_FMT,
			STR_ARG(name), STR_ARG(err_msg(e)));

		event_record(s->ds->control->events, s->d, API_VERSION, KIND, "Warning",
			     "ReplicaSetCreateError", STR_FMT, STR_ARG(text));
		err_ignore(deployment_say(s, "False", "ReplicaSetCreateError", text),
			   "the creation's error is the one to report");
		return e;
	}
	if (n)
		event_record(s->ds->control->events, s->d, API_VERSION, KIND, "Normal",
			     "ScalingReplicaSet",
			     "Scaled up replica set " STR_FMT " from 0 to %lld", STR_ARG(name),
			     (long long)n);
	TRY(deployment_write_revision(s, meta_annotation(made, DEPLOYMENT_REVISION)));
	return deployment_say(
		s, "True", "NewReplicaSetCreated",
		arena_fmt(s->a, "Created new replica set \"" STR_FMT "\"", STR_ARG(name)));
}

/* *ret_wait: something was written whose event brings us back. */
static struct err *deployment_sync_fresh(struct deployment_sync *s, bool create, bool *ret_wait)
{
	struct deployment_rs *fresh = s->p.fresh;
	struct json *rs;

	*ret_wait = false;
	if (!fresh) {
		*ret_wait = create;
		return create ? deployment_create_set(s) : NULL;
	}
	rs = json_copy(s->a, fresh->obj);
	if (deployment_update_rs(s->a, &s->p, rs, true)) {
		*ret_wait = true;
		return deployment_write_set(s, rs);
	}
	TRY(deployment_write_revision(s, meta_annotation(rs, DEPLOYMENT_REVISION)));
	if (condition_find(json_get(s->d, "status"), "Progressing"))
		return NULL;
	return deployment_say(
		s, "True", "FoundNewReplicaSet",
		arena_fmt(s->a, "Found new replica set \"" STR_FMT "\"", STR_ARG(meta_name(rs))));
}

/* ---- old ones that nobody needs */

static int64_t deployment_revision_of(const struct json *rs)
{
	int64_t n = 0;

	str_to_i64(meta_annotation(rs, DEPLOYMENT_REVISION), &n);
	return n;
}

static bool deployment_can_go(const struct deployment_rs *r)
{
	return !r->replicas && !json_int_at(r->obj, "status.replicas", 0) &&
	       json_int_at(r->obj, "metadata.generation", 0) <=
		       json_int_at(r->obj, "status.observedGeneration", 0) &&
	       !meta_deleting(r->obj);
}

static struct err *deployment_clean_up(struct deployment_sync *s)
{
	int64_t limit = json_int_at(s->d, "spec.revisionHistoryLimit", INT32_MAX);
	int64_t surplus = (int64_t)s->p.n - (s->p.fresh ? 1 : 0) - limit;
	int64_t above = INT64_MIN;

	/* in the order of revisions, the oldest first; those that cannot go count, too */
	for (; surplus > 0; surplus--) {
		struct deployment_rs *next = NULL;
		struct err *e;

		for (size_t i = 0; i < s->p.n; i++) {
			struct deployment_rs *r = &s->p.v[i];
			int64_t n = deployment_revision_of(r->obj);

			if (r != s->p.fresh && n > above &&
			    (!next || n < deployment_revision_of(next->obj)))
				next = r;
		}
		if (!next)
			return NULL;
		above = deployment_revision_of(next->obj);
		if (!deployment_can_go(next))
			continue;
		e = client_delete(s->ds->control->client, s->a, gvr_replicasets,
				  meta_namespace(s->d), meta_name(next->obj), NULL);
		if (e && !err_is(e, ERR_NOT_FOUND))
			return e;
		err_ignore(e, "gone already");
	}
	return NULL;
}

/* ---- the ways to roll out */

static struct err *deployment_finish(struct deployment_sync *s)
{
	int64_t check_ms;
	struct json *status = deployment_rollout_status(s->a, &s->p, wall_now(), &check_ms);

	if (deployment_complete(&s->p, status))
		TRY(deployment_clean_up(s));
	if (check_ms >= 0)
		controller_enqueue_after(s->ds->controller, s->key, check_ms);
	return deployment_write_status(s, status);
}

static struct err *deployment_rolling(struct deployment_sync *s)
{
	bool wait, scaled = false;

	TRY(deployment_sync_fresh(s, true, &wait));
	if (wait)
		return NULL;
	s->p.fresh->want = deployment_fresh_replicas(&s->p);
	TRY(deployment_write_scales(s, &scaled));
	if (!scaled) {
		deployment_scale_down_old(&s->p);
		TRY(deployment_write_scales(s, &scaled));
	}
	return deployment_finish(s);
}

struct deployment_running {
	bool any;
};

static bool deployment_sees_running(const struct obj *pod, void *ctx)
{
	struct str phase = json_str_at(obj_tree(pod), "status.phase");

	if (!str_eqz(phase, "Failed") && !str_eqz(phase, "Succeeded"))
		((struct deployment_running *)ctx)->any = true;
	return true;
}

static bool deployment_old_pods_run(struct deployment_sync *s)
{
	struct deployment_running r = { false };

	for (size_t i = 0; i < s->p.n; i++) {
		if (&s->p.v[i] != s->p.fresh)
			informer_index_each(s->ds->pods_by_owner, meta_uid(s->p.v[i].obj),
					    deployment_sees_running, &r);
	}
	return r.any;
}

static struct err *deployment_recreate(struct deployment_sync *s)
{
	bool wait, scaled = false;

	for (size_t i = 0; i < s->p.n; i++) {
		if (&s->p.v[i] != s->p.fresh)
			s->p.v[i].want = 0;
	}
	TRY(deployment_write_scales(s, &scaled));
	if (scaled || deployment_old_pods_run(s))
		return deployment_finish(s);
	TRY(deployment_sync_fresh(s, true, &wait));
	if (wait)
		return NULL;
	s->p.fresh->want = s->p.replicas;
	TRY(deployment_write_scales(s, &scaled));
	return deployment_finish(s);
}

/* spec.replicas moved, or the rollout is paused: sizes follow, templates do not. */
static struct err *deployment_resize(struct deployment_sync *s, bool paused)
{
	bool wait, scaled = false;

	TRY(deployment_sync_fresh(s, false, &wait));
	if (wait)
		return NULL;
	deployment_scale(s->a, &s->p);
	for (size_t i = 0; i < s->p.n; i++) {
		if (s->p.v[i].replicas || s->p.v[i].want)
			TRY(deployment_write_scale(s, &s->p.v[i], &scaled));
	}
	if (paused)
		TRY(deployment_clean_up(s));
	return deployment_write_status(s, deployment_status(s->a, &s->p));
}

static struct err *deployment_note_pause(struct deployment_sync *s, bool paused)
{
	const struct json *c = condition_find(json_get(s->d, "status"), "Progressing");
	bool was = c && str_eqz(json_str_at(c, "reason"), "DeploymentPaused");

	if (!deployment_has_deadline(s->d) || was == paused ||
	    (c && str_eqz(json_str_at(c, "reason"), "ProgressDeadlineExceeded")))
		return NULL;
	return deployment_say(s, "Unknown", paused ? "DeploymentPaused" : "DeploymentResumed",
			      paused ? STR("Deployment is paused") : STR("Deployment is resumed"));
}

static struct err *deployment_sync_all(struct deployment_sync *s)
{
	bool paused = json_bool_at(s->d, "spec.paused", false);
	struct owned_list sets;

	TRY(owned_claim(&s->ds->owned, s->a, s->d, &sets));
	deployment_plan_init(s->a, &s->p, s->d, &sets);
	if (meta_deleting(s->d))
		return deployment_write_status(s, deployment_status(s->a, &s->p));
	TRY(deployment_note_pause(s, paused));
	if (paused || deployment_is_scaling(&s->p))
		return deployment_resize(s, paused);
	return s->p.rolling ? deployment_rolling(s) : deployment_recreate(s);
}

static struct err *deployment_sync(void *ctx, struct arena *a, struct str key)
{
	struct deployments *ds = ctx;
	const struct obj *o = informer_find_key(ds->deployments, key);
	struct deployment_sync s = { .ds = ds, .a = a, .key = key };
	struct err *e;

	if (!o)
		return NULL;
	s.d = json_copy(a, obj_tree(o));
	e = deployment_sync_all(&s);
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

/* ---- events */

static void deployment_route_pod(struct controller *c, const struct obj *pod, void *ctx)
{
	struct deployments *ds = ctx;
	const struct json *set_ref = meta_controller(obj_tree(pod)), *ref;
	_cleanup_arena_ struct arena *a = NULL;
	const struct obj *set;

	/* a Recreate rollout waits for the last old Pod to end */
	if (!set_ref || !str_eqz(json_str_at(set_ref, "kind"), "ReplicaSet"))
		return;
	set = informer_find(ds->sets, pod->ns, json_str_at(set_ref, "name"));
	ref = set ? meta_controller(obj_tree(set)) : NULL;
	if (!ref || !str_eqz(json_str_at(ref, "kind"), "Deployment"))
		return;
	a = arena_new();
	controller_enqueue(c, meta_key(a, pod->ns, json_str_at(ref, "name")));
}

void deployment_start(struct control *c)
{
	static struct deployments ds;
	const struct controller_opts opts = {
		.name = "deployment", .workers = 5, .sync = deployment_sync, .ctx = &ds
	};

	ds.control = c;
	ds.controller = controller_new(c->loop, &opts);
	ds.deployments = control_informer(c, gvr_deployments);
	ds.sets = control_informer(c, gvr_replicasets);
	ds.pods = control_informer(c, gvr_pods);
	ds.owned = (struct owned){ .client = c->client,
				   .owner = gvr_deployments,
				   .owner_api_version = API_VERSION,
				   .owner_kind = KIND,
				   .owners = ds.deployments,
				   .members = ds.sets };
	owned_init(&ds.owned);
	ds.pods_by_owner = informer_add_index(ds.pods, informer_index_by_owner);
	controller_watch(ds.controller, ds.deployments);
	controller_watch_fn(ds.controller, ds.sets, owned_route, &ds.owned);
	controller_watch_fn(ds.controller, ds.pods, deployment_route_pod, &ds);
	controller_start(ds.controller);
}
