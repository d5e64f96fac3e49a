/* SPDX-License-Identifier: Apache-2.0 */

#include "api/local-volume.h"
#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/volumes.h"
#include "json/json.h"

/*
 * Claims in use by a Pod and volumes bound to a claim are not removed: their protection finalizers
 * (the server adds them) go when a deleted one is free. A `local` volume whose node is gone has
 * nobody left to clean it up, so that finalizer goes here too.
 */

struct volume_protection {
	struct control *control;
	struct controller *claims_ctl, *volumes_ctl;
	struct informer *claims, *volumes, *pods, *nodes;
	struct informer_index *pods_by_claim;
};

static struct err *protection_remove(struct volume_protection *vp, struct arena *a, struct gvr gvr,
				     const struct json *obj, const char *finalizer)
{
	struct json *left = json_array(a);
	struct json *patch = json_object(a);
	struct json *meta = json_sub(a, patch, "metadata");
	struct err *e;

	json_for_each(it, json_at(obj, "metadata.finalizers"))
	{
		if (!str_eqz(json_as_str(it.val), finalizer))
			json_push(left, json_copy(a, it.val));
	}
	json_set(a, meta, "finalizers", json_len(left) ? left : json_null(a));
	json_set_str(a, meta, "resourceVersion", meta_rv(obj));
	e = client_patch(vp->control->client, a, gvr, meta_namespace(obj), meta_name(obj), NULL,
			 CLIENT_PATCH_MERGE, patch, NULL);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

/* claims */

static bool protection_pod_uses(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return !str_empty(json_str_at(pod, "spec.nodeName")) && !str_eqz(phase, "Failed") &&
	       !str_eqz(phase, "Succeeded");
}

static bool protection_look(const struct obj *o, void *ctx)
{
	bool *used = ctx;

	*used = protection_pod_uses(obj_tree(o));
	return !*used;
}

static struct err *protection_sync_claim(void *ctx, struct arena *a, struct str key)
{
	struct volume_protection *vp = ctx;
	const struct obj *o = informer_find_key(vp->claims, key);
	bool used = false;

	if (!o || !o->deleting || !meta_has_finalizer(obj_tree(o), STR(VOLUME_PVC_PROTECTION)))
		return NULL;
	informer_index_each(vp->pods_by_claim, key, protection_look, &used);
	if (used)
		return NULL;
	return protection_remove(vp, a, gvr_persistentvolumeclaims, json_copy(a, obj_tree(o)),
				 VOLUME_PVC_PROTECTION);
}

/* volumes */

struct protection_host {
	struct str hostname;
	bool found;
};

static bool protection_find_host(const struct obj *o, void *ctx)
{
	struct protection_host *h = ctx;

	h->found = str_eq(obj_label(o, STR("kubernetes.io/hostname")), h->hostname) ||
		   str_eq(o->name, h->hostname);
	return !h->found;
}

static bool protection_node_gone(struct volume_protection *vp, const struct json *pv)
{
	const struct json *term =
		json_idx(json_at(pv, "spec.nodeAffinity.required.nodeSelectorTerms"), 0);
	const struct json *expr = json_idx(json_get(term, "matchExpressions"), 0);
	struct protection_host h = { .hostname =
					     json_as_str(json_idx(json_get(expr, "values"), 0)) };

	informer_each(vp->nodes, STR_EMPTY, protection_find_host, &h);
	return !h.found;
}

static struct err *protection_sync_volume(void *ctx, struct arena *a, struct str name)
{
	struct volume_protection *vp = ctx;
	const struct obj *o = informer_find(vp->volumes, STR_EMPTY, name);
	const struct json *pv;

	if (!o || !o->deleting)
		return NULL;
	pv = json_copy(a, obj_tree(o));
	if (meta_has_finalizer(pv, STR(VOLUME_PV_PROTECTION))) {
		if (str_eqz(json_str_at(pv, "status.phase"), "Bound"))
			return NULL;
		return protection_remove(vp, a, gvr_persistentvolumes, pv, VOLUME_PV_PROTECTION);
	}
	if (meta_has_finalizer(pv, STR(LOCAL_VOLUME_FINALIZER)) &&
	    (str_eqz(json_str_at(pv, "status.reason"), LOCAL_VOLUME_REMOVED) ||
	     protection_node_gone(vp, pv)))
		return protection_remove(vp, a, gvr_persistentvolumes, pv, LOCAL_VOLUME_FINALIZER);
	return NULL;
}

/* events */

static void protection_each_claim(const struct obj *pod, void (*fn)(struct str key, void *ctx),
				  void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();

	json_for_each(it, json_at(obj_tree(pod), "spec.volumes"))
	{
		struct str name = json_str_at(it.val, "persistentVolumeClaim.claimName");

		if (!str_empty(name))
			fn(meta_key(a, pod->ns, name), ctx);
		else if (json_get(it.val, "ephemeral"))
			fn(arena_fmt(a, STR_FMT "/" STR_FMT "-" STR_FMT, STR_ARG(pod->ns),
				     STR_ARG(pod->name),
				     STR_ARG(json_as_str(json_get(it.val, "name")))),
			   ctx);
	}
}

static void protection_enqueue(struct str key, void *ctx)
{
	controller_enqueue(ctx, key);
}

static void protection_route_pod(struct controller *c, const struct obj *o, void *ctx)
{
	protection_each_claim(o, protection_enqueue, c);
}

static bool protection_enqueue_deleting(const struct obj *o, void *ctx)
{
	if (o->deleting)
		controller_enqueue_obj(ctx, o);
	return true;
}

static void protection_route_node(struct controller *c, const struct obj *o, void *ctx)
{
	const struct volume_protection *vp = ctx;

	if (!informer_find(vp->nodes, STR_EMPTY, o->name))
		informer_each(vp->volumes, STR_EMPTY, protection_enqueue_deleting, c);
}

void volume_protection_start(struct control *c)
{
	static struct volume_protection vp;
	const struct controller_opts claims = { .name = "claim-protection",
						.sync = protection_sync_claim,
						.ctx = &vp };
	const struct controller_opts volumes = { .name = "volume-protection",
						 .sync = protection_sync_volume,
						 .ctx = &vp };

	vp.control = c;
	vp.claims = control_informer(c, gvr_persistentvolumeclaims);
	vp.volumes = control_informer(c, gvr_persistentvolumes);
	vp.pods = control_informer(c, gvr_pods);
	vp.nodes = control_informer(c, gvr_nodes);
	vp.pods_by_claim = informer_add_index(vp.pods, protection_each_claim);
	vp.claims_ctl = controller_new(c->loop, &claims);
	vp.volumes_ctl = controller_new(c->loop, &volumes);
	controller_watch(vp.claims_ctl, vp.claims);
	controller_watch_fn(vp.claims_ctl, vp.pods, protection_route_pod, &vp);
	controller_watch(vp.volumes_ctl, vp.volumes);
	controller_watch_fn(vp.volumes_ctl, vp.nodes, protection_route_node, &vp);
	controller_start(vp.claims_ctl);
	controller_start(vp.volumes_ctl);
}
