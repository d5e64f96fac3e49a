/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/gc-graph.h"
#include "io/fiber.h"
#include "json/json.h"

/*
 * Garbage collection by owner references. Keys are uids. An object is looked at when one of its
 * owners is not known to exist; an owner that is being deleted in the foreground or as an orphaner,
 * when its dependents change. That an owner is absent is never concluded from the informers: the
 * server is asked.
 */

#define GC_REFRESH_MS    30000
#define GC_SETTLE_MS     500
#define GC_FIRST_SYNC_MS 10000
#define GC_FOREGROUND    "foregroundDeletion"
#define GC_ORPHAN        "orphan"
#define GC_ACCEPT        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

struct gc {
	struct control *control;
	struct controller *controller;
	struct gc_graph graph;
	struct waitq refresh;
	bool refresh_soon;
};

/* How an owner reference stands. */
enum gc_owner { GC_SOLID, GC_ABSENT, GC_WAITING };

/* One sync; objects are held by its arena. */
struct gc_sync {
	struct gc *gc;
	struct arena *arena;
	const struct json *obj;
	const struct gc_monitor *monitor;
	struct obj_list deps;
};

/* events */

static bool gc_has_finalizer(const struct json *obj, const char *f)
{
	return meta_has_finalizer(obj, str_from(f));
}

static bool gc_enqueue_dependent(const struct obj *o, void *ctx)
{
	controller_enqueue(((struct gc *)ctx)->controller, o->uid);
	return true;
}

/* Owners that wait for their dependents learn of each change of one. */
static void gc_tell_owners(struct gc *gc, const struct obj *o)
{
	json_for_each(it, json_at(obj_tree(o), "metadata.ownerReferences"))
	{
		struct str uid = json_as_str(json_get(it.val, "uid"));
		const struct obj *owner = gc_graph_find(&gc->graph, uid, NULL);

		if (owner && owner->deleting && gc_has_finalizer(obj_tree(owner), GC_FOREGROUND))
			controller_enqueue(gc->controller, uid);
	}
}

static bool gc_owners_known(const struct gc *gc, const struct obj *o)
{
	json_for_each(it, json_at(obj_tree(o), "metadata.ownerReferences"))
	{
		const struct obj *owner =
			gc_graph_find(&gc->graph, json_as_str(json_get(it.val, "uid")), NULL);

		if (!owner || owner->deleting ||
		    (!str_empty(owner->ns) && !str_eq(owner->ns, o->ns)))
			return false;
	}
	return true;
}

static void gc_changed(struct gc_graph *g, const struct obj *old_obj, const struct obj *new_obj,
		       void *ctx)
{
	struct gc *gc = ctx;

	if (old_obj)
		gc_tell_owners(gc, old_obj);
	if (!new_obj) {
		gc_graph_each_dependent(g, old_obj->uid, gc_enqueue_dependent, gc);
		return;
	}
	if (!gc_owners_known(gc, new_obj))
		controller_enqueue(gc->controller, new_obj->uid);
	if (!new_obj->deleting)
		return;
	gc_tell_owners(gc, new_obj);
	if (gc_has_finalizer(obj_tree(new_obj), GC_FOREGROUND) ||
	    gc_has_finalizer(obj_tree(new_obj), GC_ORPHAN)) {
		controller_enqueue(gc->controller, new_obj->uid);
		gc_graph_each_dependent(g, new_obj->uid, gc_enqueue_dependent, gc);
	}
}

static void gc_resources_changed(struct gc_graph *g, void *ctx)
{
	struct gc *gc = ctx;

	gc->refresh_soon = true;
	waitq_wake_all(&gc->refresh);
}

/* dependents */

static bool gc_collect(const struct obj *o, void *ctx)
{
	obj_list_add(ctx, o);
	return true;
}

static const struct json *gc_ref_to(const struct json *dep, struct str uid)
{
	return json_find_by(json_at(dep, "metadata.ownerReferences"), "uid", uid);
}

/* patches */

static struct json *gc_guarded_patch(struct arena *a, const struct json *obj, const char *list,
				     struct json *value)
{
	struct json *patch = json_object(a);
	struct json *meta = json_sub(a, patch, "metadata");

	json_set_str(a, meta, "uid", meta_uid(obj));
	json_set_str(a, meta, "resourceVersion", meta_rv(obj));
	json_set(a, meta, list, json_len(value) ? value : json_null(a));
	return patch;
}

static struct err *gc_settle(struct err *e)
{
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone meanwhile");
		return NULL;
	}
	return e;
}

static struct err *gc_patch(struct gc_sync *s, const struct gc_monitor *m, const struct json *obj,
			    const struct json *patch)
{
	return gc_settle(client_patch(s->gc->control->client, s->arena, m->gvr, meta_namespace(obj),
				      meta_name(obj), NULL, CLIENT_PATCH_MERGE, patch, NULL));
}

static struct err *gc_remove_finalizer(struct gc_sync *s, const char *finalizer)
{
	struct json *left = json_array(s->arena);

	json_for_each(it, json_at(s->obj, "metadata.finalizers"))
	{
		if (!str_eqz(json_as_str(it.val), finalizer))
			json_push(left, json_copy(s->arena, it.val));
	}
	return gc_patch(s, s->monitor, s->obj,
			gc_guarded_patch(s->arena, s->obj, "finalizers", left));
}

/* owners that are being deleted */

static struct err *gc_orphan(struct gc_sync *s)
{
	struct str uid = meta_uid(s->obj);

	gc_graph_each_dependent(&s->gc->graph, uid, gc_collect, &s->deps);
	for (size_t i = 0; i < s->deps.n; i++) {
		const struct json *dep = obj_tree(s->deps.v[i]);
		struct json *left = json_array(s->arena);
		const struct gc_monitor *m;

		if (!gc_graph_find(&s->gc->graph, s->deps.v[i]->uid, &m))
			continue;
		json_for_each(it, json_at(dep, "metadata.ownerReferences"))
		{
			if (!str_eq(json_as_str(json_get(it.val, "uid")), uid))
				json_push(left, json_copy(s->arena, it.val));
		}
		TRY(gc_patch(s, m, dep, gc_guarded_patch(s->arena, dep, "ownerReferences", left)));
	}
	return gc_remove_finalizer(s, GC_ORPHAN);
}

static struct err *gc_foreground(struct gc_sync *s)
{
	struct str uid = meta_uid(s->obj);
	bool blocked = false;

	gc_graph_each_dependent(&s->gc->graph, uid, gc_collect, &s->deps);
	for (size_t i = 0; i < s->deps.n; i++) {
		const struct json *ref = gc_ref_to(obj_tree(s->deps.v[i]), uid);

		if (!json_bool_at(ref, "blockOwnerDeletion", false))
			continue;
		blocked = true;
		if (!s->deps.v[i]->deleting)
			controller_enqueue(s->gc->controller, s->deps.v[i]->uid);
	}
	return blocked ? NULL : gc_remove_finalizer(s, GC_FOREGROUND);
}

/* owners of an object */

static bool gc_ref_is(const struct json *ref, const struct gc_monitor *m, const struct obj *owner)
{
	struct str group;
	struct str version;

	return gv_parse(json_as_str(json_get(ref, "apiVersion")), &group, &version) &&
	       str_eq(group, m->gvr.group) &&
	       str_eqz(json_as_str(json_get(ref, "kind")), m->kind) &&
	       str_eq(json_as_str(json_get(ref, "name")), owner->name);
}

static enum gc_owner gc_owner_state(const struct json *owner)
{
	return meta_deleting(owner) && gc_has_finalizer(owner, GC_FOREGROUND) ? GC_WAITING
									      : GC_SOLID;
}

static void gc_bad_namespace(struct gc_sync *s, const struct json *ref)
{
	event_record(s->gc->control->events, s->obj,
		     gv_format(s->arena, s->monitor->gvr.group, s->monitor->gvr.version),
		     str_from(s->monitor->kind), "Warning", "OwnerRefInvalidNamespace",
		     "ownerRef [" STR_FMT "/" STR_FMT ", namespace: " STR_FMT ", name: " STR_FMT
		     ", uid: " STR_FMT "] does not exist in namespace \"" STR_FMT "\"",
		     STR_ARG(json_as_str(json_get(ref, "apiVersion"))),
		     STR_ARG(json_as_str(json_get(ref, "kind"))), STR_ARG(meta_namespace(s->obj)),
		     STR_ARG(json_as_str(json_get(ref, "name"))),
		     STR_ARG(json_as_str(json_get(ref, "uid"))), STR_ARG(meta_namespace(s->obj)));
}

/* Asks the server for what the reference names. */
static struct err *gc_owner_live(struct gc_sync *s, const struct json *ref, enum gc_owner *ret)
{
	struct gc_graph *g = &s->gc->graph;
	struct str uid = json_as_str(json_get(ref, "uid"));
	struct str kind = json_as_str(json_get(ref, "kind"));
	const struct discovered *r;
	struct json *owner;
	struct str group;
	struct str version;
	struct str path;
	struct err *e;

	*ret = GC_SOLID;
	if (!gv_parse(json_as_str(json_get(ref, "apiVersion")), &group, &version))
		return NULL;
	r = discovery_find_kind(&g->found, group, kind);
	if (!r) {
		gc_resources_changed(g, s->gc);
		return err_retry_after(
			err_new(ERR_UNAVAILABLE,
				"unable to get REST mapping for " STR_FMT "/" STR_FMT,
				STR_ARG(json_as_str(json_get(ref, "apiVersion"))), STR_ARG(kind)),
			1);
	}
	if (r->namespaced && str_empty(meta_namespace(s->obj)))
		return NULL; /* such a reference cannot be resolved, so nothing follows from it */
	path = client_path(s->arena, r->gvr, r->namespaced ? meta_namespace(s->obj) : STR_EMPTY,
			   json_as_str(json_get(ref, "name")), NULL);
	e = client_get_as(s->gc->control->client, s->arena, path, GC_ACCEPT, &owner);
	if (e && !err_is(e, ERR_NOT_FOUND))
		return e;
	if (!e && str_eq(meta_uid(owner), uid)) {
		*ret = gc_owner_state(owner);
		return NULL;
	}
	err_ignore(e, "that is the answer");
	*ret = GC_ABSENT;
	if (gc_graph_find(g, uid, NULL))
		gc_bad_namespace(s, ref);
	else
		gc_graph_set_gone(g, uid);
	return NULL;
}

static struct err *gc_owner(struct gc_sync *s, const struct json *ref, enum gc_owner *ret)
{
	struct gc_graph *g = &s->gc->graph;
	struct str uid = json_as_str(json_get(ref, "uid"));
	const struct gc_monitor *m;
	const struct obj *owner = gc_graph_find(g, uid, &m);

	if (owner && gc_ref_is(ref, m, owner) &&
	    (!m->namespaced || str_eq(owner->ns, meta_namespace(s->obj)))) {
		*ret = gc_owner_state(obj_tree(owner));
		return NULL;
	}
	if (!owner && gc_graph_is_gone(g, uid)) {
		*ret = GC_ABSENT;
		return NULL;
	}
	return gc_owner_live(s, ref, ret);
}

/* In a circle of foreground deletions each would wait for the next: this one blocks nobody. */
static struct err *gc_unblock(struct gc_sync *s)
{
	struct json *refs = json_array(s->arena);

	json_for_each(it, json_at(s->obj, "metadata.ownerReferences"))
	{
		struct json *ref = json_copy(s->arena, it.val);

		if (json_bool_at(ref, "blockOwnerDeletion", false))
			json_set_bool(s->arena, ref, "blockOwnerDeletion", false);
		json_push(refs, ref);
	}
	return gc_patch(s, s->monitor, s->obj,
			gc_guarded_patch(s->arena, s->obj, "ownerReferences", refs));
}

static bool gc_in_circle(const struct gc_sync *s)
{
	for (size_t i = 0; i < s->deps.n; i++) {
		if (s->deps.v[i]->deleting &&
		    gc_has_finalizer(obj_tree(s->deps.v[i]), GC_FOREGROUND))
			return true;
	}
	return false;
}

static bool gc_blocks(const struct gc_sync *s)
{
	json_for_each(it, json_at(s->obj, "metadata.ownerReferences"))
	{
		if (json_bool_at(it.val, "blockOwnerDeletion", false))
			return true;
	}
	return false;
}

static const char *gc_policy(const struct gc_sync *s)
{
	if (s->deps.n)
		return "Foreground";
	if (gc_has_finalizer(s->obj, GC_ORPHAN))
		return "Orphan";
	return gc_has_finalizer(s->obj, GC_FOREGROUND) ? "Foreground" : "Background";
}

static struct err *gc_delete(struct gc_sync *s, bool waiting)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;

	if (waiting)
		gc_graph_each_dependent(&s->gc->graph, meta_uid(s->obj), gc_collect, &s->deps);
	if (gc_in_circle(s) && gc_blocks(s))
		return gc_unblock(s); /* the change brings us back */
	opts.uid = meta_uid(s->obj);
	opts.rv = meta_rv(s->obj);
	opts.propagation = gc_policy(s);
	log_info(controller_log(s->gc->controller), "deleting an object without owners",
		 KV_STR("resource", s->monitor->gvr.resource),
		 KV_STR("namespace", meta_namespace(s->obj)), KV_STR("name", meta_name(s->obj)));
	return gc_settle(client_delete(s->gc->control->client, s->arena, s->monitor->gvr,
				       meta_namespace(s->obj), meta_name(s->obj), &opts));
}

static struct err *gc_check_owners(struct gc_sync *s)
{
	const struct json *refs = json_at(s->obj, "metadata.ownerReferences");
	struct json *solid = json_array(s->arena);
	bool waiting = false;

	if (!json_len(refs))
		return NULL;
	json_for_each(it, refs)
	{
		enum gc_owner state = GC_SOLID;

		TRY(gc_owner(s, it.val, &state));
		if (state == GC_SOLID)
			json_push(solid, json_copy(s->arena, it.val));
		waiting = waiting || state == GC_WAITING;
	}
	if (json_len(solid) == json_len(refs))
		return NULL;
	if (json_len(solid))
		return gc_patch(s, s->monitor, s->obj,
				gc_guarded_patch(s->arena, s->obj, "ownerReferences", solid));
	return gc_delete(s, waiting);
}

/* The monitor itself may go while we wait. */
static const struct gc_monitor *gc_monitor_copy(struct arena *a, const struct gc_monitor *m)
{
	struct gc_monitor *copy = arena_new_obj(a, struct gc_monitor);

	copy->gvr = (struct gvr){ arena_str(a, m->gvr.group), arena_str(a, m->gvr.version),
				  arena_str(a, m->gvr.resource) };
	copy->kind = arena_strz(a, str_from(m->kind));
	copy->namespaced = m->namespaced;
	return copy;
}

static struct err *gc_sync(void *ctx, struct arena *a, struct str uid)
{
	struct gc_sync s = { .gc = ctx, .arena = a, .deps = { .arena = a } };
	const struct gc_monitor *m;
	const struct obj *o = gc_graph_find(&s.gc->graph, uid, &m);

	if (!o)
		return NULL;
	s.monitor = gc_monitor_copy(a, m);
	s.obj = obj_tree(obj_hold(a, o));
	if (!o->deleting)
		return gc_check_owners(&s);
	if (gc_has_finalizer(s.obj, GC_ORPHAN))
		return gc_orphan(&s);
	if (gc_has_finalizer(s.obj, GC_FOREGROUND))
		return gc_foreground(&s);
	return NULL;
}

/* the refreshing fiber */

static struct err *gc_wait_first(struct gc *gc)
{
	struct mono start = mono_now();

	while (!gc_graph_synced(&gc->graph) && mono_ms_since(start) < GC_FIRST_SYNC_MS)
		TRY(fiber_sleep_ms(20));
	return NULL;
}

static struct err *gc_run(void *arg)
{
	struct gc *gc = arg;
	bool started = false;

	for (;;) {
		struct err *e = gc_graph_refresh(&gc->graph);
		bool woken;

		if (e && err_is(e, ERR_CANCELED))
			return e;
		if (e)
			err_log(controller_log(gc->controller), LOG_WARN,
				"discovery failed, will be tried again", e);
		else if (!started) {
			TRY(gc_wait_first(gc));
			controller_start(gc->controller);
			started = true;
		}
		if (!gc->refresh_soon)
			TRY(waitq_wait_ms(&gc->refresh, e ? GC_SETTLE_MS : GC_REFRESH_MS, &woken));
		gc->refresh_soon = false;
		TRY(fiber_sleep_ms(GC_SETTLE_MS));
	}
}

void gc_start(struct control *c)
{
	static struct gc gc;
	const struct controller_opts opts = {
		.name = "gc", .workers = 20, .sync = gc_sync, .ctx = &gc
	};

	gc.control = c;
	gc.controller = controller_new(c->loop, &opts);
	waitq_init(&gc.refresh);
	gc_graph_init(&gc.graph, c->loop, c->client);
	gc.graph.changed = gc_changed;
	gc.graph.resources_changed = gc_resources_changed;
	gc.graph.ctx = &gc;
	fiber_unref(fiber_spawn(c->loop, "gc-refresh", gc_run, &gc));
}
