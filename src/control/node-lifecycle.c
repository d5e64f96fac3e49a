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
#include "client/events.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/pods.h"
#include "json/json.h"
#include "json/patch.h"

/*
 * A node that has not renewed its lease nor its status for 40 s (by our clock, from when we saw it
 * do so last) is Unknown. What the conditions say becomes taints, by one table; the taint-eviction
 * controller acts on those. Keys are node names; a healthy node is looked at again when its
 * grace would end.
 */

#define NODE_GRACE_MS 40000
#define NODE_LEASE_NS "kube-node-lease"

struct node_health {
	struct mono seen; /* when it renewed last */
};

struct node_lifecycle {
	struct control *control;
	struct controller *controller;
	struct informer *nodes, *leases;
	struct informer_handler on_node, on_lease;
	struct informer_index *pods_by_node;
	struct map health;
};

/* Which condition value puts which taint on a node. */
static const struct {
	const char *condition, *value, *key, *effect;
} node_taints[] = {
	{ "Ready", "False", "node.kubernetes.io/not-ready", "NoSchedule" },
	{ "Ready", "False", "node.kubernetes.io/not-ready", "NoExecute" },
	{ "Ready", "Unknown", "node.kubernetes.io/unreachable", "NoSchedule" },
	{ "Ready", "Unknown", "node.kubernetes.io/unreachable", "NoExecute" },
	{ "MemoryPressure", "True", "node.kubernetes.io/memory-pressure", "NoSchedule" },
	{ "DiskPressure", "True", "node.kubernetes.io/disk-pressure", "NoSchedule" },
	{ "PIDPressure", "True", "node.kubernetes.io/pid-pressure", "NoSchedule" },
	{ "NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", "NoSchedule" },
};

static const char *const node_heartbeat_conditions[] = { "Ready", "MemoryPressure", "DiskPressure",
							 "PIDPressure" };

/* health */

static struct node_health *node_health_get(struct node_lifecycle *nl, struct str name)
{
	struct node_health *h = map_find(&nl->health, name);

	if (!h) {
		h = mem_new(struct node_health);
		h->seen = mono_now();
		map_put(&nl->health, name, h);
	}
	return h;
}

static struct str node_heartbeat(const struct obj *o)
{
	const struct json *ready = condition_find(json_get(obj_tree(o), "status"), "Ready");

	return json_as_str(json_get(ready, "lastHeartbeatTime"));
}

static void node_on_node(struct informer_handler *h, const struct obj *old_obj,
			 const struct obj *new_obj)
{
	struct node_lifecycle *nl = container_of(h, struct node_lifecycle, on_node);

	if (!new_obj)
		free(map_del(&nl->health, old_obj->name));
	else if (!old_obj || !str_eq(node_heartbeat(old_obj), node_heartbeat(new_obj)))
		node_health_get(nl, new_obj->name)->seen = mono_now();
}

static void node_on_lease(struct informer_handler *h, const struct obj *old_obj,
			  const struct obj *new_obj)
{
	struct node_lifecycle *nl = container_of(h, struct node_lifecycle, on_lease);
	struct str renewed = new_obj ? json_str_at(obj_tree(new_obj), "spec.renewTime") : STR_EMPTY;

	/* a lease without its Node is remembered once there is one */
	if (!new_obj || !informer_find(nl->nodes, STR_EMPTY, new_obj->name))
		return;
	if (!old_obj || !str_eq(renewed, json_str_at(obj_tree(old_obj), "spec.renewTime")))
		node_health_get(nl, new_obj->name)->seen = mono_now();
}

/* conditions */

static bool node_condition_unknown(const struct json *status, const char *type)
{
	return str_eqz(json_as_str(json_get(condition_find(status, type), "status")), "Unknown");
}

static void node_set_unknown(struct arena *a, struct json *status)
{
	for (size_t i = 0; i < ARRAY_LEN(node_heartbeat_conditions); i++) {
		const char *type = node_heartbeat_conditions[i];
		bool known = condition_find(status, type);

		if (node_condition_unknown(status, type))
			continue;
		condition_set(a, status, type, "Unknown",
			      known ? STR("NodeStatusUnknown") : STR("NodeStatusNeverUpdated"),
			      known ? STR("Kubelet stopped posting node status.")
				    : STR("Kubelet never posted node status."),
			      wall_now());
	}
}

static struct err *node_mark_unknown(struct node_lifecycle *nl, struct arena *a, struct json *node)
{
	struct json *from = json_object(a);
	struct json *to = json_object(a);
	struct json *status = json_sub(a, node, "status");
	struct json *patch;

	json_set(a, from, "status", json_copy(a, status));
	node_set_unknown(a, status);
	json_set(a, to, "status", json_copy(a, status));
	patch = json_merge_diff(a, from, to);
	if (!json_len(patch))
		return NULL;
	/* the lists in it are whole, so nobody else may have written meanwhile */
	json_set_str(a, json_sub(a, patch, "metadata"), "resourceVersion", meta_rv(node));
	log_warn(controller_log(nl->controller), "node is silent", KV_STR("node", meta_name(node)));
	event_record(nl->control->events, node, STR("v1"), STR("Node"), "Normal", "NodeNotReady",
		     "Node " STR_FMT " status is now: NodeNotReady", STR_ARG(meta_name(node)));
	return client_patch(nl->control->client, a, gvr_nodes, STR_EMPTY, meta_name(node), "status",
			    CLIENT_PATCH_MERGE, patch, NULL);
}

/* taints */

static bool node_taint_ours(struct str key, struct str effect)
{
	if (str_eqz(key, "node.kubernetes.io/unschedulable") && str_eqz(effect, "NoSchedule"))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(node_taints); i++)
		if (str_eqz(key, node_taints[i].key) && str_eqz(effect, node_taints[i].effect))
			return true;
	return false;
}

static const struct json *node_find_taint(const struct json *taints, const char *key,
					  const char *effect)
{
	json_for_each(it, taints)
	{
		if (str_eqz(json_as_str(json_get(it.val, "key")), key) &&
		    str_eqz(json_as_str(json_get(it.val, "effect")), effect))
			return it.val;
	}
	return NULL;
}

static void node_want_taint(struct arena *a, struct json *to, const struct json *old,
			    const char *key, const char *effect)
{
	const struct json *have = node_find_taint(old, key, effect);
	struct json *t;

	if (have) {
		json_push(to, json_copy(a, have));
		return;
	}
	t = json_object(a);
	json_set_str(a, t, "key", str_from(key));
	json_set_str(a, t, "effect", str_from(effect));
	if (strcmp(effect, "NoExecute") == 0 || strstr(key, "unreachable") ||
	    strstr(key, "not-ready") || strstr(key, "unschedulable"))
		json_set_str(a, t, "timeAdded", wall_format(a, wall_now()));
	json_push(to, t);
}

static struct json *node_taints_wanted(struct arena *a, const struct json *node)
{
	const struct json *old = json_at(node, "spec.taints");
	const struct json *status = json_get(node, "status");
	struct json *to = json_array(a);

	json_for_each(it, old)
	{
		if (!node_taint_ours(json_as_str(json_get(it.val, "key")),
				     json_as_str(json_get(it.val, "effect"))))
			json_push(to, json_copy(a, it.val));
	}
	if (json_bool_at(node, "spec.unschedulable", false))
		node_want_taint(a, to, old, "node.kubernetes.io/unschedulable", "NoSchedule");
	for (size_t i = 0; i < ARRAY_LEN(node_taints); i++) {
		const struct json *c = condition_find(status, node_taints[i].condition);

		if (str_eqz(json_as_str(json_get(c, "status")), node_taints[i].value))
			node_want_taint(a, to, old, node_taints[i].key, node_taints[i].effect);
	}
	return to;
}

/* By key and effect, in any order. */
static bool node_taints_same(const struct json *x, const struct json *y)
{
	if (json_len(x) != json_len(y))
		return false;
	json_for_each(it, x)
	{
		bool found = false;

		json_for_each(jt, y) found = found || json_equal(it.val, jt.val);
		if (!found)
			return false;
	}
	return true;
}

static struct err *node_update_taints(struct node_lifecycle *nl, struct arena *a,
				      const struct json *node)
{
	struct json *taints = node_taints_wanted(a, node);
	struct json *patch = json_object(a);

	if (node_taints_same(json_at(node, "spec.taints"), taints))
		return NULL;
	json_set_str(a, json_sub(a, patch, "metadata"), "resourceVersion", meta_rv(node));
	json_set(a, json_sub(a, patch, "spec"), "taints", json_len(taints) ? taints : json_null(a));
	return client_patch(nl->control->client, a, gvr_nodes, STR_EMPTY, meta_name(node), NULL,
			    CLIENT_PATCH_MERGE, patch, NULL);
}

/* Pods of a node that is not ready */

static bool node_collect_ready(const struct obj *o, void *ctx)
{
	if (condition_is_true(json_get(obj_tree(o), "status"), "Ready"))
		obj_list_add(ctx, o);
	return true;
}

static struct err *node_mark_pods(struct node_lifecycle *nl, struct arena *a,
				  const struct json *node)
{
	struct obj_list p = { .arena = a };

	informer_index_each(nl->pods_by_node, meta_name(node), node_collect_ready, &p);
	for (size_t i = 0; i < p.n; i++) {
		struct err *e = pod_mark_not_ready(nl->control->client, a, obj_tree(p.v[i]));

		if (e && !err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_CONFLICT))
			return e;
		err_ignore(e, "gone or changed meanwhile");
	}
	return NULL;
}

/* sync */

static struct err *node_sync(void *ctx, struct arena *a, struct str name)
{
	struct node_lifecycle *nl = ctx;
	const struct obj *o = informer_find(nl->nodes, STR_EMPTY, name);
	struct json *node;
	int64_t silent;

	if (!o)
		return NULL;
	TRY(obj_parse(a, o, STR("v1"), STR("Node"), &node));
	silent = mono_ms_since(node_health_get(nl, name)->seen);
	if (silent >= NODE_GRACE_MS) {
		TRY(node_mark_unknown(nl, a, node));
		controller_enqueue_after(nl->controller, name, NODE_GRACE_MS / 4);
	} else {
		controller_enqueue_after(nl->controller, name, NODE_GRACE_MS - silent + 100);
	}
	if (node_condition_unknown(json_get(node, "status"), "Ready"))
		TRY(node_mark_pods(nl, a, node));
	return node_update_taints(nl, a, node);
}

void node_lifecycle_start(struct control *c)
{
	static struct node_lifecycle nl;
	const struct controller_opts opts = { .name = "node-lifecycle",
					      .sync = node_sync,
					      .ctx = &nl };

	nl.control = c;
	nl.nodes = control_informer(c, gvr_nodes);
	nl.leases = informer_new(
		c->loop, c->client,
		&(struct informer_opts){ .gvr = gvr_leases, .ns = STR(NODE_LEASE_NS) });
	nl.pods_by_node = control_pods_by_node(c);
	nl.on_node.event = node_on_node;
	nl.on_lease.event = node_on_lease;
	informer_add_handler(nl.nodes, &nl.on_node);
	informer_add_handler(nl.leases, &nl.on_lease);
	nl.controller = controller_new(c->loop, &opts);
	controller_watch(nl.controller, nl.nodes);
	controller_start(nl.controller);
}
