/* SPDX-License-Identifier: Apache-2.0 */

#include "api/local-volume.h"
#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/volumes.h"
#include "json/json.h"
#include "json/patch.h"

/*
 * Binds claims to volumes and keeps the phases of both. A binding is four writes, each repeated
 * until it holds: the volume names the claim, its phase is Bound, the claim names the volume, its
 * phase is Bound. Two controllers over the same state: keys of the one are claims, of the other
 * volumes.
 */

struct volume_binder {
	struct control *control;
	struct controller *claims_ctl, *volumes_ctl;
	struct informer *claims, *volumes, *classes;
	struct informer_index *volumes_by_claim; /* spec.claimRef, "ns/name" */
};

/* patches */

static struct err *binder_patch(struct volume_binder *b, struct arena *a, struct gvr gvr,
				const struct json *obj, struct json *patch)
{
	json_set_str(a, json_sub(a, patch, "metadata"), "resourceVersion", meta_rv(obj));
	return client_patch(b->control->client, a, gvr, meta_namespace(obj), meta_name(obj), NULL,
			    CLIENT_PATCH_MERGE, patch, NULL);
}

static struct err *binder_patch_status(struct volume_binder *b, struct arena *a, struct gvr gvr,
				       const struct json *obj, struct json *status)
{
	const struct json *old = json_get(obj, "status");
	struct json *from = json_object(a);
	struct json *to = json_object(a);
	struct json *patch;

	json_set(a, from, "status", old ? json_copy(a, old) : json_object(a));
	json_set(a, to, "status", status);
	patch = json_merge_diff(a, from, to);
	if (!json_len(patch))
		return NULL;
	return client_patch(b->control->client, a, gvr, meta_namespace(obj), meta_name(obj),
			    "status", CLIENT_PATCH_MERGE, patch, NULL);
}

static struct err *binder_volume_phase(struct volume_binder *b, struct arena *a,
				       const struct json *pv, const char *phase)
{
	struct json *status = json_object(a);

	if (str_eqz(json_str_at(pv, "status.phase"), phase))
		return NULL; /* with the reason that it has */
	json_for_each(it, json_get(pv, "status"))
	{
		if (!str_eqz(it.key, "phase") && !str_eqz(it.key, "message") &&
		    !str_eqz(it.key, "reason"))
			json_set_s(a, status, it.key, json_copy(a, it.val));
	}
	json_set_str(a, status, "phase", str_from(phase));
	return binder_patch_status(b, a, gvr_persistentvolumes, pv, status);
}

static struct err *binder_claim_phase(struct volume_binder *b, struct arena *a,
				      const struct json *claim, const char *phase,
				      const struct json *pv)
{
	const struct json *old = json_get(claim, "status");
	struct json *status = old ? json_copy(a, old) : json_object(a);

	json_set_str(a, status, "phase", str_from(phase));
	if (pv) {
		json_set(a, status, "accessModes", json_copy(a, json_at(pv, "spec.accessModes")));
		if (!json_get(status, "capacity"))
			json_set(a, status, "capacity", json_copy(a, json_at(pv, "spec.capacity")));
	} else {
		json_delz(status, "accessModes");
		json_delz(status, "capacity");
	}
	return binder_patch_status(b, a, gvr_persistentvolumeclaims, claim, status);
}

/* binding */

static struct err *binder_name_claim(struct volume_binder *b, struct arena *a,
				     const struct json *pv, const struct json *claim)
{
	const struct json *ref = json_at(pv, "spec.claimRef");
	struct json *patch = json_object(a), *to;

	if (ref && str_eq(json_as_str(json_get(ref, "uid")), meta_uid(claim)))
		return NULL;
	to = volume_claim_ref(a, claim);
	json_set(a, to, "resourceVersion", json_strcpy(a, meta_rv(claim)));
	json_set(a, json_sub(a, patch, "spec"), "claimRef", to);
	if (!ref)
		meta_set_annotation(a, patch, VOLUME_BOUND_BY, STR("yes"));
	return binder_patch(b, a, gvr_persistentvolumes, pv, patch);
}

static struct err *binder_name_volume(struct volume_binder *b, struct arena *a,
				      const struct json *pv, const struct json *claim)
{
	struct json *patch = json_object(a);

	if (claim_bind_completed(claim))
		return NULL;
	if (str_empty(json_str_at(claim, "spec.volumeName"))) {
		json_set_str(a, json_sub(a, patch, "spec"), "volumeName", meta_name(pv));
		meta_set_annotation(a, patch, VOLUME_BOUND_BY, STR("yes"));
	}
	meta_set_annotation(a, patch, VOLUME_BIND_COMPLETED, STR("yes"));
	return binder_patch(b, a, gvr_persistentvolumeclaims, claim, patch);
}

static struct err *binder_bind(struct volume_binder *b, struct arena *a, const struct json *pv,
			       const struct json *claim)
{
	TRY(binder_name_claim(b, a, pv, claim));
	TRY(binder_volume_phase(b, a, pv, "Bound"));
	TRY(binder_name_volume(b, a, pv, claim));
	return binder_claim_phase(b, a, claim, "Bound", pv);
}

/* looking for a volume */

struct binder_search {
	struct arena *arena;
	const struct json *claim;
	const struct obj *best;
	bool taken; /* best already names the claim */
};

static bool binder_consider(const struct obj *o, void *ctx)
{
	struct binder_search *s = ctx;
	const struct json *pv = obj_tree(o);

	if (o->deleting)
		return true;
	if (volume_claimed_by(pv, s->claim)) {
		s->best = o;
		s->taken = true;
		return false;
	}
	if (json_at(pv, "spec.claimRef") ||
	    !str_eqz(json_str_at(pv, "status.phase"), "Available") ||
	    !volume_fits(s->arena, pv, s->claim))
		return true;
	if (!s->best || volume_cmp_size(pv, obj_tree(s->best)) < 0)
		s->best = o;
	return true;
}

static const struct json *binder_parse(struct arena *a, const struct obj *o, const char *kind)
{
	struct json *tree = json_copy(a, obj_tree(o));

	json_set_str(a, tree, "apiVersion", STR("v1"));
	json_set_str(a, tree, "kind", str_from(kind));
	return tree;
}

/* Whether the claim's class says to wait for a Pod, and none has come. */
static bool binder_waits(struct volume_binder *b, const struct json *claim,
			 const struct json **ret_class)
{
	const struct obj *c = informer_find(b->classes, STR_EMPTY, volume_class(claim));

	*ret_class = c ? obj_tree(c) : NULL;
	return c && volume_class_waits(obj_tree(c)) &&
	       str_empty(meta_annotation(claim, VOLUME_SELECTED_NODE));
}

static void binder_event(struct volume_binder *b, const struct json *claim, const char *type,
			 const char *reason, struct str msg)
{
	event_record(b->control->events, claim, STR("v1"), STR("PersistentVolumeClaim"), type,
		     reason, STR_FMT, STR_ARG(msg));
}

/* Nothing fits: somebody else provisions, or nobody does. */
static struct err *binder_ask_provisioner(struct volume_binder *b, struct arena *a,
					  const struct json *claim, const struct json *class)
{
	struct str provisioner = json_as_str(json_get(class, "provisioner"));
	struct json *patch = json_object(a);

	if (!class || str_eqz(provisioner, "kubernetes.io/no-provisioner")) {
		binder_event(b, claim, "Normal", "FailedBinding",
			     STR("no persistent volumes available for this claim and no storage "
				 "class is set"));
		return NULL;
	}
	if (!str_eqz(provisioner, LOCAL_VOLUME_PROVISIONER))
		binder_event(b, claim, "Normal", "ExternalProvisioning",
			     arena_fmt(a,
				       "Waiting for a volume to be created either by the external "
				       "provisioner '" STR_FMT
				       "' or manually by the system administrator. If volume "
				       "creation is delayed, please verify that the provisioner is "
				       "running and correctly registered.",
				       STR_ARG(provisioner)));
	if (str_eq(meta_annotation(claim, VOLUME_PROVISIONER), provisioner))
		return NULL;
	meta_set_annotation(a, patch, VOLUME_PROVISIONER, provisioner);
	meta_set_annotation(a, patch, "volume.beta.kubernetes.io/storage-provisioner", provisioner);
	return binder_patch(b, a, gvr_persistentvolumeclaims, claim, patch);
}

static struct err *binder_find(struct volume_binder *b, struct arena *a, const struct json *claim)
{
	struct binder_search s = { .arena = a, .claim = claim };
	const struct json *class;
	bool waits = binder_waits(b, claim, &class);

	informer_each(b->volumes, STR_EMPTY, binder_consider, &s);
	if (s.best && (s.taken || !waits))
		return binder_bind(b, a, binder_parse(a, s.best, "PersistentVolume"), claim);
	TRY(binder_claim_phase(b, a, claim, "Pending", NULL));
	if (waits) {
		binder_event(b, claim, "Normal", "WaitForFirstConsumer",
			     STR("waiting for first consumer to be created before binding"));
		return NULL;
	}
	return binder_ask_provisioner(b, a, claim, class ? json_copy(a, class) : NULL);
}

/* The claim names a volume: bind if that one is free or ours. */
static struct err *binder_named(struct volume_binder *b, struct arena *a, const struct json *claim)
{
	struct str name = json_str_at(claim, "spec.volumeName");
	const struct obj *o = informer_find(b->volumes, STR_EMPTY, name);
	const struct json *pv;

	if (!o && claim_bind_completed(claim)) {
		binder_event(b, claim, "Warning", "ClaimLost",
			     STR("Bound claim has lost its PersistentVolume. Data on the volume is "
				 "lost!"));
		return binder_claim_phase(b, a, claim, "Lost", NULL);
	}
	if (!o)
		return binder_claim_phase(b, a, claim, "Pending", NULL);
	pv = binder_parse(a, o, "PersistentVolume");
	if (!json_at(pv, "spec.claimRef") || volume_claimed_by(pv, claim))
		return binder_bind(b, a, pv, claim);
	if (claim_bind_completed(claim)) {
		binder_event(b, claim, "Warning", "ClaimMisbound",
			     STR("Two claims are bound to the same volume, this one is bound "
				 "incorrectly"));
		return binder_claim_phase(b, a, claim, "Lost", NULL);
	}
	return binder_claim_phase(b, a, claim, "Pending", NULL);
}

static struct err *binder_settle(struct err *e)
{
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone meanwhile");
		return NULL;
	}
	return e;
}

static struct err *binder_sync_claim(void *ctx, struct arena *a, struct str key)
{
	struct volume_binder *b = ctx;
	const struct obj *o = informer_find_key(b->claims, key);
	const struct json *claim;

	if (!o)
		return NULL;
	claim = binder_parse(a, o, "PersistentVolumeClaim");
	if (!str_empty(json_str_at(claim, "spec.volumeName")))
		return binder_settle(binder_named(b, a, claim));
	if (o->deleting)
		return NULL;
	return binder_settle(binder_find(b, a, claim));
}

/* volumes */

static struct err *binder_reclaim(struct volume_binder *b, struct arena *a, const struct json *pv)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;

	TRY(binder_volume_phase(b, a, pv, "Released"));
	/* others' volumes are theirs to delete (external provisioners watch for Released) */
	if (meta_deleting(pv) ||
	    !str_eqz(json_str_at(pv, "spec.persistentVolumeReclaimPolicy"), "Delete") ||
	    !str_eqz(meta_annotation(pv, LOCAL_VOLUME_ANNOTATION), LOCAL_VOLUME_PROVISIONER))
		return NULL;
	opts.uid = meta_uid(pv);
	return client_delete(b->control->client, a, gvr_persistentvolumes, STR_EMPTY, meta_name(pv),
			     &opts);
}

/* The informer of claims may lag: a volume is released only if the server knows no claim. */
static struct err *binder_claim_gone(struct volume_binder *b, struct arena *a,
				     const struct json *pv, bool *ret_gone)
{
	const struct json *ref = json_at(pv, "spec.claimRef");
	struct json *live;
	struct err *e = client_get(b->control->client, a, gvr_persistentvolumeclaims,
				   json_as_str(json_get(ref, "namespace")),
				   json_as_str(json_get(ref, "name")), &live);

	*ret_gone = true;
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "that is the answer");
		return NULL;
	}
	TRY(e);
	*ret_gone = !str_eq(meta_uid(live), json_as_str(json_get(ref, "uid")));
	return NULL;
}

static struct err *binder_sync_claimed(struct volume_binder *b, struct arena *a,
				       const struct json *pv)
{
	const struct json *ref = json_at(pv, "spec.claimRef");
	struct str key = meta_key(a, json_as_str(json_get(ref, "namespace")),
				  json_as_str(json_get(ref, "name")));
	struct str uid = json_as_str(json_get(ref, "uid"));
	const struct obj *claim = informer_find_key(b->claims, key);
	bool gone;

	if (str_empty(uid)) {
		controller_enqueue(b->claims_ctl, key);
		return binder_volume_phase(b, a, pv, "Available");
	}
	if (!claim || !str_eq(claim->uid, uid)) {
		TRY(binder_claim_gone(b, a, pv, &gone));
		return gone ? binder_reclaim(b, a, pv) : NULL;
	}
	if (str_eq(json_str_at(obj_tree(claim), "spec.volumeName"), meta_name(pv)))
		return binder_volume_phase(b, a, pv, "Bound");
	controller_enqueue(b->claims_ctl, key);
	return NULL;
}

static struct err *binder_sync_volume(void *ctx, struct arena *a, struct str name)
{
	struct volume_binder *b = ctx;
	const struct obj *o = informer_find(b->volumes, STR_EMPTY, name);
	const struct json *pv;

	if (!o)
		return NULL;
	pv = binder_parse(a, o, "PersistentVolume");
	if (json_at(pv, "spec.claimRef"))
		return binder_settle(binder_sync_claimed(b, a, pv));
	return binder_settle(binder_volume_phase(b, a, pv, "Available"));
}

/* events */

static void binder_index_claim(const struct obj *o, void (*emit)(struct str key, void *ctx),
			       void *ctx)
{
	const struct json *ref = json_at(obj_tree(o), "spec.claimRef");
	_cleanup_arena_ struct arena *a = arena_new();

	if (ref)
		emit(meta_key(a, json_as_str(json_get(ref, "namespace")),
			      json_as_str(json_get(ref, "name"))),
		     ctx);
}

static bool binder_enqueue_volume(const struct obj *o, void *ctx)
{
	controller_enqueue(ctx, o->name);
	return true;
}

/* A claim's change concerns the volumes that name it. */
static void binder_route_claim(struct controller *c, const struct obj *o, void *ctx)
{
	struct volume_binder *b = ctx;
	_cleanup_arena_ struct arena *a = arena_new();

	informer_index_each(b->volumes_by_claim, meta_key(a, o->ns, o->name), binder_enqueue_volume,
			    c);
}

static bool binder_enqueue_unbound(const struct obj *o, void *ctx)
{
	if (!o->deleting && str_empty(json_str_at(obj_tree(o), "spec.volumeName")))
		controller_enqueue_obj(ctx, o);
	return true;
}

/* A volume's change concerns the claim it names, or every claim that still looks for one. */
static void binder_route_volume(struct controller *c, const struct obj *o, void *ctx)
{
	struct volume_binder *b = ctx;
	const struct json *ref = json_at(obj_tree(o), "spec.claimRef");
	_cleanup_arena_ struct arena *a = arena_new();

	if (ref)
		controller_enqueue(c, meta_key(a, json_as_str(json_get(ref, "namespace")),
					       json_as_str(json_get(ref, "name"))));
	else if (str_eqz(json_str_at(obj_tree(o), "status.phase"), "Available"))
		informer_each(b->claims, STR_EMPTY, binder_enqueue_unbound, c);
}

static void binder_route_class(struct controller *c, const struct obj *o, void *ctx)
{
	struct volume_binder *b = ctx;

	informer_each(b->claims, STR_EMPTY, binder_enqueue_unbound, c);
}

void volume_binder_start(struct control *c)
{
	static struct volume_binder b;
	const struct controller_opts claims = { .name = "volume-binder",
						.sync = binder_sync_claim,
						.ctx = &b };
	const struct controller_opts volumes = { .name = "volume-phase",
						 .sync = binder_sync_volume,
						 .ctx = &b };

	b.control = c;
	b.claims = control_informer(c, gvr_persistentvolumeclaims);
	b.volumes = control_informer(c, gvr_persistentvolumes);
	b.classes = control_informer(c, gvr_storageclasses);
	b.volumes_by_claim = informer_add_index(b.volumes, binder_index_claim);
	b.claims_ctl = controller_new(c->loop, &claims);
	b.volumes_ctl = controller_new(c->loop, &volumes);
	controller_watch(b.claims_ctl, b.claims);
	controller_watch_fn(b.claims_ctl, b.volumes, binder_route_volume, &b);
	controller_watch_fn(b.claims_ctl, b.classes, binder_route_class, &b);
	controller_watch(b.volumes_ctl, b.volumes);
	controller_watch_fn(b.volumes_ctl, b.claims, binder_route_claim, &b);
	controller_start(b.claims_ctl);
	controller_start(b.volumes_ctl);
}
