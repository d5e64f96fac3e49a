/* SPDX-License-Identifier: Apache-2.0 */

#include "client/replica-set.h"

#include <stdlib.h>

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/expectations.h"
#include "client/informer.h"
#include "client/owned.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "json/json.h"
#include "json/patch.h"

/*
 * A sync works on what the informers show, which lags behind our own writes. Creations not yet
 * seen are counted by expectations: until they are met nothing is created or deleted. Members
 * that we asked to delete are remembered by uid and counted as going.
 */

struct replica_sets {
	struct loop *loop;
	struct client *client;
	struct event_recorder *events;
	const struct replica_set_ops *ops;
	struct owned owned;
	struct informer_handler on_member;
	struct controller *controller;
	struct expectations expect;
	struct map doomed; /* uids of members we deleted and still see */
};

/* One sync. */
struct replica_sync {
	struct replica_sets *r;
	struct arena *arena;
	struct str key;
	const struct json *set;
	struct replica_member *v;
	size_t n;
	const char *failure; /* the condition's reason, "FailedCreate" or "FailedDelete" */
	struct err *error;   /* the first */
};

static char doomed_mark;

/* members come and go */

static void replica_sets_saw_add(struct replica_sets *r, const struct obj *o)
{
	const struct json *ref = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = NULL;

	if (!ref || !str_eq(json_as_str(json_get(ref, "kind")), r->ops->set_kind))
		return;
	a = arena_new();
	expectations_saw_add(&r->expect, meta_key(a, o->ns, json_as_str(json_get(ref, "name"))));
}

static void replica_sets_on_member(struct informer_handler *h, const struct obj *old_obj,
				   const struct obj *new_obj)
{
	struct replica_sets *r = container_of(h, struct replica_sets, on_member);

	if (!old_obj && new_obj)
		replica_sets_saw_add(r, new_obj);
	if (!new_obj || new_obj->deleting)
		map_del(&r->doomed, old_obj ? old_obj->uid : new_obj->uid);
}

/* claiming */

/* Leaves the members that are ours in s->v. */
static struct err *replica_claim_all(struct replica_sync *s)
{
	struct owned_list list;

	TRY(owned_claim(&s->r->owned, s->arena, s->set, &list));
	s->v = arena_array(s->arena, list.n + 1, sizeof(*s->v));
	for (size_t i = 0; i < list.n; i++)
		s->v[s->n++].obj = list.v[i];
	return NULL;
}

/* creating and deleting */

static void replica_fail(struct replica_sync *s, const char *reason, struct err *e)
{
	if (!e)
		return;
	if (s->error) {
		err_ignore(e, "the first one is reported");
		return;
	}
	s->failure = reason;
	s->error = e;
}

static bool replica_ns_terminating(const struct err *e)
{
	for (size_t i = 0; i < err_n_causes(e); i++)
		if (str_eqz(err_get_cause(e, i).reason, "NamespaceTerminating"))
			return true;
	return false;
}

static void replica_event(struct replica_sync *s, const char *type, const char *reason,
			  const char *text, struct str what)
{
	event_record(s->r->events, s->set, s->r->ops->set_api_version, s->r->ops->set_kind, type,
		     reason, "%s" STR_FMT, text, STR_ARG(what));
}

static struct err *replica_create_one(void *arg)
{
	struct replica_sync *s = arg;
	const struct replica_set_ops *ops = s->r->ops;
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *m = ops->make(a, s->set);
	struct json *made;
	struct err *e;

	json_set_str(a, json_sub(a, m, "metadata"), "namespace", meta_namespace(s->set));
	meta_set_controller(a, m, s->set, ops->set_api_version, ops->set_kind);
	e = client_create(s->r->client, a, ops->member, meta_namespace(s->set), m, &made);
	if (!e) {
		replica_event(s, "Normal", "SuccessfulCreate", ops->created_text, meta_name(made));
		return NULL;
	}
	expectations_saw_add(&s->r->expect, s->key);
	if (replica_ns_terminating(e)) {
		err_ignore(e, "nothing can be created there any more");
		return NULL;
	}
	replica_event(s, "Warning", "FailedCreate", "Error creating: ", err_msg(e));
	replica_fail(s, "FailedCreate", e);
	return NULL;
}

/* One, then twice as many as last time while all succeed: a broken template costs one request. */
static struct err *replica_create(struct replica_sync *s, int64_t n)
{
	int64_t batch = 1;

	expectations_set(&s->r->expect, s->key, (int)n, 0);
	while (n > 0 && !s->error) {
		struct fiber_group *g = fiber_group_new();

		batch = MIN(batch, n);
		for (int64_t i = 0; i < batch; i++)
			fiber_group_add(g, "create", replica_create_one, s);
		TRY(fiber_group_join(g));
		n -= batch;
		batch *= 2;
	}
	while (n-- > 0)
		expectations_saw_add(&s->r->expect, s->key);
	return NULL;
}

struct replica_delete {
	struct replica_sync *s;
	const struct json *member;
};

/* The event that clears the mark may have come before we made it. */
static void replica_forget_doomed(struct replica_sets *r, const struct json *m)
{
	const struct obj *o = informer_find(r->owned.members, meta_namespace(m), meta_name(m));

	if (!o || !str_eq(o->uid, meta_uid(m)))
		map_del(&r->doomed, meta_uid(m));
}

static struct err *replica_delete_one(void *arg)
{
	const struct replica_delete *d = arg;
	struct replica_sync *s = d->s;
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	_cleanup_arena_ struct arena *a = arena_new();
	struct str uid = meta_uid(d->member);
	struct err *e;

	opts.uid = uid;
	map_put(&s->r->doomed, uid, &doomed_mark);
	e = client_delete(s->r->client, a, s->r->ops->member, meta_namespace(d->member),
			  meta_name(d->member), &opts);
	if (!e) {
		replica_event(s, "Normal", "SuccessfulDelete", s->r->ops->deleted_text,
			      meta_name(d->member));
		return NULL;
	}
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT)) {
		replica_forget_doomed(s->r, d->member);
		err_ignore(e, "already gone");
		return NULL;
	}
	map_del(&s->r->doomed, uid);
	replica_event(s, "Warning", "FailedDelete", "Error deleting: ", err_msg(e));
	replica_fail(s, "FailedDelete", e);
	return NULL;
}

static struct err *replica_delete(struct replica_sync *s, const struct replica_member *v, size_t n)
{
	struct replica_delete *d = arena_array(s->arena, n, sizeof(*d));
	struct fiber_group *g = fiber_group_new();

	for (size_t i = 0; i < n; i++) {
		d[i] = (struct replica_delete){ s, v[i].obj };
		fiber_group_add(g, "delete", replica_delete_one, &d[i]);
	}
	return fiber_group_join(g);
}

static struct err *replica_clean_finished(struct replica_sync *s)
{
	struct replica_member *v = arena_array(s->arena, s->n + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].state == REPLICA_FINISHED)
			v[n++] = s->v[i];
	return n ? replica_delete(s, v, n) : NULL;
}

static struct err *replica_manage(struct replica_sync *s)
{
	const struct replica_set_ops *ops = s->r->ops;
	size_t active;
	int64_t surplus;

	if (ops->delete_finished)
		TRY(replica_clean_finished(s));
	active = replica_order(&ops->member_ops, s->v, s->n);
	surplus = (int64_t)active - replica_desired(s->set);
	if (surplus < 0)
		return replica_create(s, MIN(-surplus, ops->burst));
	if (surplus > 0)
		return replica_delete(s, s->v, (size_t)MIN(surplus, ops->burst));
	return NULL;
}

/* status */

static void replica_status_failure(struct replica_sync *s, struct json *status)
{
	if (!s->error) {
		condition_del(status, "ReplicaFailure");
		return;
	}
	condition_set(s->arena, status, "ReplicaFailure", "True", str_from(s->failure),
		      arena_str(s->arena, err_msg(s->error)), wall_now());
}

static void replica_status_paused(struct replica_sync *s, struct json *status, bool paused)
{
	bool was = condition_is_true(status, "ReplicaPaused");

	if (paused) {
		condition_set(s->arena, status, "ReplicaPaused", "True", STR("Paused"),
			      STR("Controller got paused"), wall_now());
		if (!was)
			replica_event(s, "Normal", "SuccessfulPaused", "Paused", STR_EMPTY);
	} else {
		condition_del(status, "ReplicaPaused");
		if (was)
			replica_event(s, "Normal", "SuccessfulResumed", "Resumed", STR_EMPTY);
	}
}

static struct err *replica_update_status(struct replica_sync *s, bool paused)
{
	struct replica_sets *r = s->r;
	struct arena *a = s->arena;
	const struct json *old_status = json_get(s->set, "status");
	struct json *status = old_status ? json_copy(a, old_status) : json_object(a);
	struct replica_counts n =
		replica_count(&r->ops->member_ops, s->v, s->n, s->set, wall_now());
	struct json *from = json_object(a);
	struct json *to = json_object(a);
	struct json *patch;

	r->ops->status(a, s->set, &n, status);
	replica_status_failure(s, status);
	if (r->ops->supports_pause)
		replica_status_paused(s, status, paused);
	if (json_is(json_get(status, "conditions"), JSON_ARRAY) &&
	    !json_len(json_get(status, "conditions")))
		json_delz(status, "conditions");
	json_set(a, from, "status", old_status ? json_copy(a, old_status) : json_object(a));
	json_set(a, to, "status", status);
	if (n.next_available_ms >= 0)
		controller_enqueue_after(r->controller, s->key, n.next_available_ms + 1);
	patch = json_merge_diff(a, from, to);
	if (!json_len(patch))
		return NULL;
	return client_patch(r->client, a, r->ops->set, meta_namespace(s->set), meta_name(s->set),
			    "status", CLIENT_PATCH_MERGE, patch, NULL);
}

/* sync */

static void replica_mark_doomed(struct replica_sync *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].state != REPLICA_GOING &&
		    map_find(&s->r->doomed, meta_uid(s->v[i].obj)))
			s->v[i] = (struct replica_member){ .obj = s->v[i].obj,
							   .state = REPLICA_GOING };
	}
}

static struct err *replica_sync_set(struct replica_sync *s)
{
	struct replica_sets *r = s->r;
	bool settled = expectations_met(&r->expect, s->key);
	bool paused = r->ops->supports_pause && json_bool_at(s->set, "spec.paused", false);

	TRY(replica_claim_all(s));
	replica_judge(&r->ops->member_ops, s->v, s->n,
		      json_int_at(s->set, "spec.minReadySeconds", 0), wall_now());
	replica_mark_doomed(s);
	if (settled && !paused && !meta_deleting(s->set)) {
		TRY(replica_manage(s));
		replica_mark_doomed(s);
	}
	return replica_update_status(s, paused);
}

static struct err *replica_sets_sync(void *ctx, struct arena *a, struct str key)
{
	struct replica_sync s = { .r = ctx, .arena = a, .key = key };
	const struct obj *set = informer_find_key(s.r->owned.owners, key);
	struct err *e;

	if (!set) {
		expectations_forget(&s.r->expect, key);
		return NULL;
	}
	s.set = obj_tree(obj_hold(a, set));
	e = replica_sync_set(&s);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "deleted meanwhile");
		e = NULL;
	}
	if (!s.error)
		return e;
	err_ignore(e, "the first failure is the one to report");
	return s.error;
}

/* lifecycle */

struct replica_sets *replica_sets_new(struct loop *l, struct client *c, struct event_recorder *ev,
				      const struct replica_set_ops *ops, struct informer *sets,
				      struct informer *members)
{
	struct replica_sets *r = mem_new(struct replica_sets);
	const struct controller_opts opts = { .name = ops->name,
					      .sync = replica_sets_sync,
					      .ctx = r };

	r->loop = l;
	r->client = c;
	r->events = ev;
	r->ops = ops;
	r->owned = (struct owned){ .client = c,
				   .owner = ops->set,
				   .owner_api_version = ops->set_api_version,
				   .owner_kind = ops->set_kind,
				   .owners = sets,
				   .members = members,
				   .map_selector = ops->map_selector };
	owned_init(&r->owned);
	r->on_member.event = replica_sets_on_member;
	informer_add_handler(members, &r->on_member);
	r->controller = controller_new(l, &opts);
	controller_watch(r->controller, sets);
	controller_watch_fn(r->controller, members, owned_route, &r->owned);
	controller_start(r->controller);
	return r;
}

struct replica_sets *replica_sets_free(struct replica_sets *r)
{
	if (!r)
		return NULL;
	controller_free(r->controller);
	list_unlink(&r->on_member.link);
	expectations_fini(&r->expect);
	map_fini(&r->doomed);
	free(r);
	return NULL;
}

struct controller *replica_sets_controller(struct replica_sets *r)
{
	return r->controller;
}
