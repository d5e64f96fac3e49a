/* SPDX-License-Identifier: Apache-2.0 */

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
#include "client/rest.h"
#include "control/control.h"
#include "control/pods.h"
#include "json/json.h"

/*
 * Pods that no node will ever finish: bound to a node that is gone (after a quarantine),
 * terminating without ever having had a node, and the oldest of too many ended ones. One key,
 * synced every 20 s.
 */

#define POD_GC_PERIOD_MS     20000
#define POD_GC_QUARANTINE_MS 40000
#define POD_GC_MAX_ENDED     12500
#define POD_GC_KEY           "pods"

struct pod_gc {
	struct control *control;
	struct controller *controller;
	struct informer *pods, *nodes;
	struct map missing; /* node -> when we first missed it, on the heap */
};

struct pod_gc_pass {
	struct pod_gc *gc;
	struct arena *arena;
	struct obj_list found;
	size_t excess; /* of ended Pods; the cache has the oldest first */
};

static bool pod_gc_ended(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded");
}

static bool pod_gc_count_ended(const struct obj *o, void *ctx)
{
	size_t *n = ctx;

	*n += pod_gc_ended(obj_tree(o));
	return true;
}

static bool pod_gc_node_lost(struct pod_gc *gc, struct str node)
{
	struct mono *since = map_find(&gc->missing, node);

	if (informer_find(gc->nodes, STR_EMPTY, node)) {
		free(map_del(&gc->missing, node));
		return false;
	}
	if (!since) {
		since = mem_new(struct mono);
		*since = mono_now();
		map_put(&gc->missing, node, since);
	}
	return mono_ms_since(*since) >= POD_GC_QUARANTINE_MS;
}

static bool pod_gc_look(const struct obj *o, void *ctx)
{
	struct pod_gc_pass *p = ctx;
	const struct json *pod = obj_tree(o);
	struct str node = json_str_at(pod, "spec.nodeName");
	bool lost = str_empty(node) ? o->deleting : pod_gc_node_lost(p->gc, node);
	bool surplus = !lost && p->excess && pod_gc_ended(pod);

	p->excess -= surplus;
	if (lost || surplus)
		obj_list_add(&p->found, o);
	return true;
}

/* The informer may not know a node yet that the server has. */
static struct err *pod_gc_confirm(struct pod_gc_pass *p, struct str node, bool *ret_gone)
{
	struct json *live;
	struct err *e;

	*ret_gone = true;
	if (str_empty(node))
		return NULL;
	e = client_get(p->gc->control->client, p->arena, gvr_nodes, STR_EMPTY, node, &live);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "as we thought");
		return NULL;
	}
	*ret_gone = false;
	return e;
}

static struct err *pod_gc_remove(struct pod_gc_pass *p, const struct obj *o)
{
	struct client *c = p->gc->control->client;
	const struct json *pod = obj_tree(o);
	struct str node = json_str_at(pod, "spec.nodeName");
	struct client_delete_opts opts = { .grace_seconds = 0, .uid = o->uid };
	bool gone;

	if (!pod_gc_ended(pod)) {
		TRY(pod_gc_confirm(p, node, &gone));
		if (!gone)
			return NULL;
		if (!str_empty(node))
			TRY(pod_mark_disrupted(c, p->arena, pod, "DeletionByPodGC",
					       STR("PodGC: node no longer exists"), true));
	}
	return client_delete(c, p->arena, gvr_pods, o->ns, o->name, &opts);
}

static struct err *pod_gc_sync(void *ctx, struct arena *a, struct str key)
{
	struct pod_gc *gc = ctx;
	struct pod_gc_pass p = { .gc = gc, .arena = a, .found = { .arena = a } };
	size_t ended = 0;

	controller_enqueue_after(gc->controller, STR(POD_GC_KEY), POD_GC_PERIOD_MS);
	informer_each(gc->pods, STR_EMPTY, pod_gc_count_ended, &ended);
	p.excess = ended > POD_GC_MAX_ENDED ? ended - POD_GC_MAX_ENDED : 0;
	informer_each(gc->pods, STR_EMPTY, pod_gc_look, &p);
	for (size_t i = 0; i < p.found.n; i++) {
		struct err *e = pod_gc_remove(&p, p.found.v[i]);

		if (e && !err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_CONFLICT))
			return e;
		err_ignore(e, "gone or replaced meanwhile");
	}
	return NULL;
}

static void pod_gc_ignore(struct controller *c, const struct obj *o, void *ctx)
{
}

void pod_gc_start(struct control *c)
{
	static struct pod_gc gc;
	const struct controller_opts opts = { .name = "pod-gc", .sync = pod_gc_sync, .ctx = &gc };

	gc.control = c;
	gc.pods = control_informer(c, gvr_pods);
	gc.nodes = control_informer(c, gvr_nodes);
	gc.controller = controller_new(c->loop, &opts);
	/* waited for, not listened to */
	controller_watch_fn(gc.controller, gc.pods, pod_gc_ignore, NULL);
	controller_watch_fn(gc.controller, gc.nodes, pod_gc_ignore, NULL);
	controller_start(gc.controller);
	controller_enqueue(gc.controller, STR(POD_GC_KEY));
}
