/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/pods.h"
#include "json/json.h"

/*
 * Pods on nodes with NoExecute taints that they do not tolerate, or no longer: deleted when the
 * shortest tolerationSeconds since the taint was added is over. Keys are Pods.
 */

#define TOLERATED_FOREVER (-1)

struct taint_eviction {
	struct control *control;
	struct controller *controller;
	struct informer *pods, *nodes;
	struct informer_index *by_node;
};

/* Seconds that the pod stays with this taint; TOLERATED_FOREVER, or 0 when not at all. */
static int64_t taint_seconds(const struct json *pod, const struct json *taint)
{
	int64_t best = 0;

	json_for_each(it, json_at(pod, "spec.tolerations"))
	{
		const struct json *s = json_get(it.val, "tolerationSeconds");

		if (!pod_toleration_covers(it.val, taint))
			continue;
		if (!s)
			return TOLERATED_FOREVER;
		best = MAX(best, json_as_int(s, 0));
	}
	return best;
}

/* Milliseconds until the pod must go; 0: now; below 0: it may stay. */
static int64_t taint_eviction_due_ms(const struct json *pod, const struct json *taints)
{
	int64_t now = wall_now().ns / NS_PER_MS;
	int64_t due = -1;

	json_for_each(it, taints)
	{
		int64_t s;
		int64_t ms;
		struct wall added;

		if (!str_eqz(json_as_str(json_get(it.val, "effect")), "NoExecute"))
			continue;
		s = taint_seconds(pod, it.val);
		if (s == TOLERATED_FOREVER)
			continue;
		if (!wall_parse(json_as_str(json_get(it.val, "timeAdded")), &added))
			added = wall_now();
		ms = s <= 0 ? 0 : MAX(added.ns / NS_PER_MS + s * 1000 - now, 0);
		due = due < 0 ? ms : MIN(due, ms);
	}
	return due;
}

static struct err *taint_evict(struct taint_eviction *te, struct arena *a, const struct json *pod)
{
	struct client *c = te->control->client;
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;

	event_record(te->control->events, pod, STR("v1"), STR("Pod"), "Normal",
		     "TaintManagerEviction", "Marking for deletion Pod " STR_FMT "/" STR_FMT,
		     STR_ARG(meta_namespace(pod)), STR_ARG(meta_name(pod)));
	TRY(pod_mark_disrupted(c, a, pod, "DeletionByTaintManager",
			       STR("Taint manager: deleting due to NoExecute taint"), false));
	opts.uid = meta_uid(pod);
	return client_delete(c, a, gvr_pods, meta_namespace(pod), meta_name(pod), &opts);
}

static struct err *taint_eviction_sync(void *ctx, struct arena *a, struct str key)
{
	struct taint_eviction *te = ctx;
	const struct obj *o = informer_find_key(te->pods, key);
	const struct obj *node;
	struct json *pod;
	struct err *e;
	int64_t ms;

	if (!o || o->deleting)
		return NULL;
	node = informer_find(te->nodes, STR_EMPTY, json_str_at(obj_tree(o), "spec.nodeName"));
	if (!node)
		return NULL;
	ms = taint_eviction_due_ms(obj_tree(o), json_at(obj_tree(node), "spec.taints"));
	if (ms < 0)
		return NULL;
	if (ms > 0) {
		controller_enqueue_after(te->controller, key, ms + 1);
		return NULL;
	}
	TRY(obj_parse(a, o, STR("v1"), STR("Pod"), &pod));
	e = taint_evict(te, a, pod);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone, or another by that name");
		return NULL;
	}
	return e;
}

static bool taint_has_no_execute(const struct json *node)
{
	json_for_each(it, json_at(node, "spec.taints"))
	{
		if (str_eqz(json_as_str(json_get(it.val, "effect")), "NoExecute"))
			return true;
	}
	return false;
}

static bool taint_enqueue_pod(const struct obj *o, void *ctx)
{
	controller_enqueue_obj(ctx, o);
	return true;
}

static void taint_route_node(struct controller *c, const struct obj *o, void *ctx)
{
	const struct taint_eviction *te = ctx;

	if (taint_has_no_execute(obj_tree(o)))
		informer_index_each(te->by_node, o->name, taint_enqueue_pod, c);
}

static void taint_route_pod(struct controller *c, const struct obj *o, void *ctx)
{
	const struct taint_eviction *te = ctx;
	struct str name = json_str_at(obj_tree(o), "spec.nodeName");
	const struct obj *node = str_empty(name) ? NULL : informer_find(te->nodes, STR_EMPTY, name);

	if (node && !o->deleting && taint_has_no_execute(obj_tree(node)))
		controller_enqueue_obj(c, o);
}

void taint_eviction_start(struct control *c)
{
	static struct taint_eviction te;
	const struct controller_opts opts = {
		.name = "taint-eviction", .workers = 8, .sync = taint_eviction_sync, .ctx = &te
	};

	te.control = c;
	te.pods = control_informer(c, gvr_pods);
	te.nodes = control_informer(c, gvr_nodes);
	te.by_node = control_pods_by_node(c);
	te.controller = controller_new(c->loop, &opts);
	controller_watch_fn(te.controller, te.pods, taint_route_pod, &te);
	controller_watch_fn(te.controller, te.nodes, taint_route_node, &te);
	controller_start(te.controller);
}
