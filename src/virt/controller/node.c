/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "virt/controller/virt-controller.h"
#include "virt/controller/vmi-status.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * Nodes by virt-handler's heartbeat: silent for 5 minutes means unschedulable for VMs, and VMIs
 * there that have no live Pod have failed.
 */

#define HEARTBEAT_LIMIT_MS (5 * 60 * 1000)
#define RECHECK_MS         (60 * 1000)

/* The annotation's value is a JSON time: quoted. */
static bool heartbeat_is_old(const struct json *node, struct wall now)
{
	struct str text = meta_annotation(node, ANNO_HEARTBEAT);
	struct wall at;

	str_strip_prefix(&text, STR("\""));
	str_strip_suffix(&text, STR("\""));
	if (!wall_parse(text, &at))
		return false;
	return (now.ns - at.ns) / NS_PER_MS > HEARTBEAT_LIMIT_MS;
}

struct lost {
	struct virt_controller *vc;
	struct str node;
	struct arena *a;
	struct json *vmis;
};

static bool live_pod(const struct obj *o, void *ctx)
{
	bool *live = ctx;

	*live |= !launcher_pod_is_down(obj_tree(o));
	return true;
}

static bool collect_lost(const struct obj *o, void *ctx)
{
	struct lost *l = ctx;
	const struct json *vmi = obj_tree(o);
	bool live = false;

	if (!str_eq(json_str_at(vmi, "status.nodeName"), l->node) || vmi_is_final(vmi))
		return true;
	informer_index_each(l->vc->pods_by_owner, o->uid, live_pod, &live);
	if (!live)
		json_push(l->vmis, json_copy(l->a, vmi));
	return true;
}

static struct err *fail_vmis(struct virt_controller *vc, struct arena *a, struct str node)
{
	struct lost l = { vc, node, a, json_array(a) };

	informer_each(vc->vmis, STR_EMPTY, collect_lost, &l);
	json_for_each(it, l.vmis)
	{
		struct json *patch = json_object(a);

		json_set_at(a, patch, "status.phase", json_strz(a, "Failed"));
		json_set_at(a, patch, "status.reason", json_strz(a, "NodeUnresponsive"));
		TRY(client_patch(vc->client, a, GVR_VMI, meta_namespace(it.val), meta_name(it.val),
				 NULL, CLIENT_PATCH_MERGE, patch, NULL));
		event_record(vc->events, it.val, STR(VIRT_API_VERSION),
			     STR("VirtualMachineInstance"), "Normal", "NodeUnresponsive",
			     "virt-handler on node " STR_FMT
			     " is not responsive, marking VMI as failed",
			     STR_ARG(node));
	}
	return NULL;
}

static struct err *node_sync(void *ctx, struct arena *a, struct str key)
{
	struct virt_controller *vc = ctx;
	const struct obj *o = informer_find_key(vc->nodes, key);
	struct json *patch;

	if (!o || str_empty(meta_annotation(obj_tree(o), ANNO_HEARTBEAT)))
		return NULL;
	controller_enqueue_after(vc->node, key, RECHECK_MS);
	if (!heartbeat_is_old(obj_tree(o), wall_now()))
		return NULL;
	if (str_eqz(meta_label(obj_tree(o), LABEL_SCHEDULABLE), "true")) {
		patch = json_object(a);
		json_set_str(a, json_sub(a, json_sub(a, patch, "metadata"), "labels"),
			     LABEL_SCHEDULABLE, STR("false"));
		TRY(client_patch(vc->client, a, GVR_NODE, STR_EMPTY, key, NULL, CLIENT_PATCH_MERGE,
				 patch, NULL));
	}
	return fail_vmis(vc, a, key);
}

void node_controller_init(struct virt_controller *vc)
{
	struct controller_opts opts = {
		.name = "node", .workers = 1, .sync = node_sync, .ctx = vc
	};

	vc->node = controller_new(vc->loop, &opts);
	controller_watch(vc->node, vc->nodes);
}
