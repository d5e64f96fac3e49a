/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/expectations.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/daemonset-plan.h"
#include "control/revisions.h"
#include "io/fiber.h"
#include "json/json.h"

/*
 * DaemonSets over Pods and nodes. Each sync plans from what the informers show (daemonset-plan.h);
 * Pods have random names, so after acting it waits until the informer has shown what it did.
 */

#define API_VERSION    STR("apps/v1")
#define KIND           STR("DaemonSet")
#define BURST          250
#define MIN_BACKOFF_MS 1000
#define MAX_BACKOFF_MS (15 * 60 * 1000)

struct daemonsets {
	struct control *control;
	struct controller *controller;
	struct informer *sets, *nodes;
	struct owned pods;
	struct revisions revisions;
	struct expectations expect;
	struct map backoff; /* "ns/name/node" -> struct daemon_backoff */
	struct informer_handler on_pod, on_node;
};

struct daemon_backoff {
	struct mono since;
	int64_t ms;
};

struct daemon_sync {
	struct daemonsets *ds;
	struct arena *a;
	struct str key;
	struct json *set;
	struct owned_list pods, revisions, nodes;
	size_t nodes_cap;
	int64_t collisions;
	const struct json *revision;
	struct daemon_plan p;
	struct err *error; /* the first of several at once */
};

static void daemon_event(struct daemon_sync *s, const char *type, const char *reason,
			 const char *text, struct str what)
{
	event_record(s->ds->control->events, s->set, API_VERSION, KIND, type, reason, "%s" STR_FMT,
		     text, STR_ARG(what));
}

/* ---- Pods that ended */

/* Whether it may be replaced now; one that ends again and again waits longer each time. */
static bool daemon_backed_off(struct daemon_sync *s, struct str node)
{
	struct str key = arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(s->key), STR_ARG(node));
	struct daemon_backoff *b = map_find(&s->ds->backoff, key);
	int64_t passed = b ? mono_ms_since(b->since) : 0;

	if (!b) {
		b = mem_new(struct daemon_backoff);
		map_put(&s->ds->backoff, key, b);
	} else if (passed < b->ms) {
		controller_enqueue_after(s->ds->controller, s->key, b->ms - passed + 1);
		return false;
	}
	if (!b->ms || passed > 2 * MAX_BACKOFF_MS)
		b->ms = MIN_BACKOFF_MS;
	else
		b->ms = MIN(2 * b->ms, MAX_BACKOFF_MS);
	b->since = mono_now();
	return true;
}

static bool daemon_ended(const struct daemon_node *n, const struct json *pod, void *ctx)
{
	struct daemon_sync *s = ctx;
	bool failed = str_eqz(json_str_at(pod, "status.phase"), "Failed");

	if (failed && !daemon_backed_off(s, n->name))
		return false;
	daemon_event(s, failed ? "Warning" : "Normal",
		     failed ? "FailedDaemonPod" : "SucceededDaemonPod", "",
		     arena_fmt(s->a,
			       "Found %s daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT
			       ", will try to %s it",
			       failed ? "failed" : "succeeded", STR_ARG(meta_namespace(pod)),
			       STR_ARG(meta_name(pod)), STR_ARG(n->name),
			       failed ? "kill" : "delete"));
	return true;
}

static void daemon_forget(struct daemonsets *ds, struct str key)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str prefix = arena_fmt(a, STR_FMT "/", STR_ARG(key));

	expectations_forget(&ds->expect, key);
	map_for_each(e, &ds->backoff) {
		if (str_has_prefix(e->key, prefix))
			free(map_del(&ds->backoff, e->key));
	}
}

/* ---- carrying out */

struct daemon_job {
	struct daemon_sync *s;
	struct str node;
	const struct json *pod;
};

static void daemon_fail(struct daemon_sync *s, struct err *e)
{
	if (s->error)
		err_ignore(e, "the first one is reported");
	else
		s->error = e;
}

static struct err *daemon_create_one(void *arg)
{
	const struct daemon_job *j = arg;
	struct daemon_sync *s = j->s;
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pod = daemon_make_pod(a, s->set, s->p.hash, j->node), *made;
	struct err *e = client_create(s->ds->control->client, a, gvr_pods, meta_namespace(s->set),
				      pod, &made);

	if (!e) {
		daemon_event(s, "Normal", "SuccessfulCreate", "Created pod: ", meta_name(made));
		return NULL;
	}
	expectations_saw_add(&s->ds->expect, s->key);
	if (control_ns_terminating(e)) {
		err_ignore(e, "nothing can be created there any more");
		return NULL;
	}
	daemon_event(s, "Warning", "FailedCreate", "Error creating: ", err_msg(e));
	daemon_fail(s, e);
	return NULL;
}

static struct err *daemon_remove_one(void *arg)
{
	const struct daemon_job *j = arg;
	struct daemon_sync *s = j->s;
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e;

	opts.uid = meta_uid(j->pod);
	e = client_delete(s->ds->control->client, a, gvr_pods, meta_namespace(j->pod),
			  meta_name(j->pod), &opts);
	if (!e) {
		daemon_event(s, "Normal", "SuccessfulDelete", "Deleted pod: ", meta_name(j->pod));
		return NULL;
	}
	expectations_saw_del(&s->ds->expect, s->key);
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	daemon_event(s, "Warning", "FailedDelete", "Error deleting: ", err_msg(e));
	daemon_fail(s, e);
	return NULL;
}

/* One, then twice as many as last time while all succeed: a broken template costs one request. */
static struct err *daemon_create_all(struct daemon_sync *s, const struct str *nodes, size_t n)
{
	struct daemon_job *jobs = arena_array(s->a, n + 1, sizeof(*jobs));
	size_t batch = 1, i = 0;

	while (i < n && !s->error) {
		struct fiber_group *g = fiber_group_new();

		for (size_t end = MIN(i + batch, n); i < end; i++) {
			jobs[i] = (struct daemon_job){ .s = s, .node = nodes[i] };
			fiber_group_add(g, "create", daemon_create_one, &jobs[i]);
		}
		TRY(fiber_group_join(g));
		batch *= 2;
	}
	for (; i < n; i++)
		expectations_saw_add(&s->ds->expect, s->key);
	return NULL;
}

static struct err *daemon_remove_all(struct daemon_sync *s, const struct json **pods, size_t n)
{
	struct daemon_job *jobs = arena_array(s->a, n + 1, sizeof(*jobs));
	struct fiber_group *g = fiber_group_new();

	for (size_t i = 0; i < n; i++) {
		jobs[i] = (struct daemon_job){ .s = s, .pod = pods[i] };
		fiber_group_add(g, "delete", daemon_remove_one, &jobs[i]);
	}
	return fiber_group_join(g);
}

static struct err *daemon_carry_out(struct daemon_sync *s, const struct daemon_steps *steps)
{
	size_t n_create = MIN(steps->n_create, (size_t)BURST);
	size_t n_remove = MIN(steps->n_remove, (size_t)BURST);

	if (!n_create && !n_remove)
		return NULL;
	expectations_set(&s->ds->expect, s->key, (int)n_create, (int)n_remove);
	TRY(daemon_create_all(s, steps->create, n_create));
	TRY(daemon_remove_all(s, steps->remove, n_remove));
	return TAKE(s->error);
}

/* ---- sync */

static bool daemon_collect_node(const struct obj *o, void *ctx)
{
	struct daemon_sync *s = ctx;

	s->nodes.v[s->nodes.n++] = obj_tree(obj_hold(s->a, o));
	return true;
}

static void daemon_collect_nodes(struct daemon_sync *s)
{
	s->nodes.v = arena_array(s->a, informer_count(s->ds->nodes) + 1, sizeof(*s->nodes.v));
	informer_each(s->ds->nodes, STR_EMPTY, daemon_collect_node, s);
}

static struct err *daemon_write_status(struct daemon_sync *s, bool observed)
{
	struct json *status = daemon_status(s->a, &s->p, s->collisions, observed);

	if (s->p.check_ms >= 0)
		controller_enqueue_after(s->ds->controller, s->key, s->p.check_ms + 1);
	if (!status)
		return NULL;
	json_set_str(s->a, s->set, "apiVersion", API_VERSION);
	json_set_str(s->a, s->set, "kind", KIND);
	json_set(s->a, s->set, "status", status);
	return client_update(s->ds->control->client, s->a, gvr_daemonsets, "status", s->set, NULL);
}

static struct str daemon_hash_of(const struct json *revision)
{
	struct str hash = meta_label(revision, DAEMON_HASH);

	return str_empty(hash) ? meta_name(revision) : hash;
}

static bool daemon_revision_in_use(const struct json *revision, void *ctx)
{
	const struct daemon_sync *s = ctx;
	struct str hash = daemon_hash_of(revision);

	if (str_eq(meta_name(revision), meta_name(s->revision)))
		return true;
	for (size_t i = 0; i < s->pods.n; i++) {
		if (str_eq(meta_label(s->pods.v[i], DAEMON_HASH), hash))
			return true;
	}
	return false;
}

static struct err *daemon_act(struct daemon_sync *s)
{
	struct daemon_steps steps;

	daemon_plan_manage(s->a, &s->p, daemon_ended, s, &steps);
	TRY(daemon_carry_out(s, &steps));
	if (expectations_met(&s->ds->expect, s->key) && !steps.n_create && !steps.n_remove) {
		daemon_plan_rollout(s->a, &s->p, &steps);
		TRY(daemon_carry_out(s, &steps));
	}
	return revisions_trim(&s->ds->revisions, s->a, s->set, &s->revisions,
			      daemon_revision_in_use, s);
}

static struct err *daemon_sync_set(struct daemon_sync *s)
{
	/* asked before the lists are made: what is seen later comes with another sync */
	bool settled = expectations_met(&s->ds->expect, s->key);
	struct err *e = NULL, *status_e;

	TRY(revisions_claim(&s->ds->revisions, s->a, s->set, &s->revisions));
	TRY(revisions_current(&s->ds->revisions, s->a, s->set, &s->revisions, &s->collisions,
			      &s->revision));
	TRY(owned_claim(&s->ds->pods, s->a, s->set, &s->pods));
	daemon_collect_nodes(s);
	daemon_plan_init(s->a, &s->p, s->set, daemon_hash_of(s->revision), s->nodes.v, s->nodes.n,
			 s->pods.v, s->pods.n, wall_now());
	if (settled)
		e = daemon_act(s);
	status_e = daemon_write_status(s, settled);
	if (!e)
		return status_e;
	err_ignore(status_e, "the first error is the one to report");
	return e;
}

static struct err *daemon_sync(void *ctx, struct arena *a, struct str key)
{
	struct daemon_sync s = { .ds = ctx, .a = a, .key = key };
	const struct obj *o = informer_find_key(s.ds->sets, key);
	struct err *e;

	if (!o) {
		daemon_forget(s.ds, key);
		return NULL;
	}
	if (o->deleting)
		return NULL;
	s.set = json_copy(a, obj_tree(o));
	s.collisions = json_int_at(s.set, "status.collisionCount", 0);
	e = daemon_sync_set(&s);
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

/* ---- events */

static void daemon_on_pod(struct informer_handler *h, const struct obj *old_obj,
			  const struct obj *new_obj)
{
	struct daemonsets *ds = container_of(h, struct daemonsets, on_pod);
	const struct obj *o = new_obj ? new_obj : old_obj;
	const struct json *ref = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = NULL;
	struct str key;

	if (!ref || !str_eq(json_str_at(ref, "kind"), KIND))
		return;
	a = arena_new();
	key = meta_key(a, o->ns, json_str_at(ref, "name"));
	if (!old_obj)
		expectations_saw_add(&ds->expect, key);
	if (old_obj && !old_obj->deleting && (!new_obj || new_obj->deleting))
		expectations_saw_del(&ds->expect, key);
}

static bool daemon_enqueue(const struct obj *o, void *ctx)
{
	controller_enqueue_obj(ctx, o);
	return true;
}

static void daemon_on_node(struct informer_handler *h, const struct obj *old_obj,
			   const struct obj *new_obj)
{
	struct daemonsets *ds = container_of(h, struct daemonsets, on_node);

	if (!informer_count(ds->sets))
		return;
	/* heartbeats and conditions change nothing */
	if (old_obj && new_obj &&
	    json_equal(meta_labels(obj_tree(old_obj)), meta_labels(obj_tree(new_obj))) &&
	    json_equal(json_at(obj_tree(old_obj), "spec.taints"),
		       json_at(obj_tree(new_obj), "spec.taints")))
		return;
	informer_each(ds->sets, STR_EMPTY, daemon_enqueue, ds->controller);
}

/* Nodes have a handler of their own, which sees both states. */
static void daemon_pass_over(struct controller *c UNUSED, const struct obj *o UNUSED,
			     void *ctx UNUSED)
{
}

void daemonset_start(struct control *c)
{
	static struct daemonsets ds;
	const struct controller_opts opts = {
		.name = "daemonset", .workers = 2, .sync = daemon_sync, .ctx = &ds
	};

	ds.control = c;
	ds.controller = controller_new(c->loop, &opts);
	ds.sets = control_informer(c, gvr_daemonsets);
	ds.nodes = control_informer(c, gvr_nodes);
	ds.pods = (struct owned){ .client = c->client,
				  .owner = gvr_daemonsets,
				  .owner_api_version = API_VERSION,
				  .owner_kind = KIND,
				  .owners = ds.sets,
				  .members = control_informer(c, gvr_pods) };
	ds.revisions = (struct revisions){ .owned = ds.pods, .hash_label = DAEMON_HASH };
	ds.revisions.owned.members = control_informer(c, gvr_controllerrevisions);
	owned_init(&ds.pods);
	owned_init(&ds.revisions.owned);
	ds.on_pod.event = daemon_on_pod;
	informer_add_handler(ds.pods.members, &ds.on_pod);
	ds.on_node.event = daemon_on_node;
	informer_add_handler(ds.nodes, &ds.on_node);
	controller_watch(ds.controller, ds.sets);
	controller_watch_fn(ds.controller, ds.pods.members, owned_route, &ds.pods);
	controller_watch_fn(ds.controller, ds.revisions.owned.members, owned_route,
			    &ds.revisions.owned);
	controller_watch_fn(ds.controller, ds.nodes, daemon_pass_over, NULL);
	controller_start(ds.controller);
}
