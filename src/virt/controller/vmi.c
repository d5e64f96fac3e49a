/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/vmi.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "virt/controller/virt-controller.h"
#include "virt/controller/vmi-status.h"
#include "virt/mapping/launcher-pod.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * VirtualMachineInstance -> launcher Pod. The phases are vmi-status.c's; this file gathers the
 * world, creates and deletes Pods, and writes the VMI when something changed.
 */

struct vmi_sync {
	struct virt_controller *vc;
	struct arena *a;
	struct str key;
	struct json *vmi, *pod, *binder;
	struct json *pods;   /* every Pod of the VMI */
	struct json *claims; /* claim name -> PersistentVolumeClaim */
	struct vmi_world world;
	bool waits; /* volumes are not ready: no Pod yet */
};

#define vmi_event(s, type, reason, ...)                                \
	event_record((s)->vc->events, (s)->vmi, STR(VIRT_API_VERSION), \
		     STR("VirtualMachineInstance"), type, reason, __VA_ARGS__)

static void vmi_failed(struct vmi_sync *s, const char *reason, struct str message)
{
	s->world.sync_reason = reason;
	s->world.sync_message = message;
}

/* the world */

static bool collect_pod(const struct obj *o, void *ctx)
{
	struct vmi_sync *s = ctx;
	struct json *pod = json_copy(s->a, obj_tree(o));

	json_push(s->pods, pod);
	if (str_eqz(meta_annotation(pod, ANNO_EPHEMERAL), "true"))
		s->binder = pod;
	else if (!s->pod || launcher_pod_is_down(s->pod))
		s->pod = pod;
	return true;
}

static void find_pods(struct vmi_sync *s)
{
	s->pods = json_array(s->a);
	informer_index_each(s->vc->pods_by_owner, meta_uid(s->vmi), collect_pod, s);
	s->world.pod = s->pod;
	s->world.pods_left = json_len(s->pods) > 0;
}

static void look_at_datavolume(struct vmi_sync *s, struct str name)
{
	const struct obj *o = informer_find(s->vc->datavolumes, meta_namespace(s->vmi), name);
	struct str phase;

	if (!o)
		return;
	phase = json_str_at(obj_tree(o), "status.phase");
	if (str_eqz(phase, "Failed"))
		s->world.datavolume_failed = true;
	else if (str_eqz(phase, "WaitForFirstConsumer") || str_eqz(phase, "PendingPopulation"))
		s->world.provisioning = true;
	if (!str_eqz(phase, "Succeeded"))
		s->waits = true;
}

static void find_volumes(struct vmi_sync *s)
{
	s->claims = json_object(s->a);
	json_for_each(it, json_at(s->vmi, "spec.volumes"))
	{
		struct str claim = vmi_volume_claim(it.val);
		struct str dv = json_str_at(it.val, "dataVolume.name");
		const struct obj *o;

		if (str_empty(claim))
			continue;
		o = informer_find(s->vc->claims, meta_namespace(s->vmi), claim);
		if (o)
			json_set_s(s->a, s->claims, claim, json_copy(s->a, obj_tree(o)));
		if (!str_empty(dv))
			look_at_datavolume(s, dv);
	}
	s->world.claims = s->claims;
}

static void find_owner(struct vmi_sync *s)
{
	const struct json *owner = meta_controller(s->vmi);
	const struct obj *vm;

	if (!str_eqz(json_str_at(owner, "kind"), "VirtualMachine")) {
		s->world.owner_gone = true;
		return;
	}
	vm = informer_find(s->vc->vms, meta_namespace(s->vmi), json_str_at(owner, "name"));
	s->world.owner_gone = !vm || !str_eq(vm->uid, json_str_at(owner, "uid"));
}

/* acts */

/* Every claim the VMI names exists. */
static bool claims_exist(struct vmi_sync *s)
{
	json_for_each(it, json_at(s->vmi, "spec.volumes"))
	{
		struct str claim = vmi_volume_claim(it.val);

		if (str_empty(claim) || json_get_s(s->claims, claim))
			continue;
		vmi_failed(s, "FailedPvcNotFound",
			   arena_fmt(s->a,
				     "PVC " STR_FMT "/" STR_FMT
				     " does not exist, waiting for it to appear",
				     STR_ARG(meta_namespace(s->vmi)), STR_ARG(claim)));
		vmi_event(s, "Warning", "FailedPvcNotFound", STR_FMT,
			  STR_ARG(s->world.sync_message));
		return false;
	}
	return true;
}

static struct json *block_claims(struct vmi_sync *s)
{
	struct json *out = json_object(s->a);

	json_for_each(it, s->claims)
	{
		if (str_eqz(json_str_at(it.val, "spec.volumeMode"), "Block"))
			json_set_s(s->a, out, it.key, json_bool(s->a, true));
	}
	return out;
}

static struct err *create_pod(struct vmi_sync *s, bool binder)
{
	struct virt_config cfg;
	struct launcher_pod_opts opts;
	struct json *pod, *made = NULL;
	struct err *e;

	virt_controller_config(s->vc, s->a, &cfg);
	opts = (struct launcher_pod_opts){
		.image = cfg.launcher_image,
		.pull_policy = cfg.image_pull_policy,
		.runtime_class = cfg.runtime_class,
		.costs = cfg.costs,
		.block_claims = block_claims(s),
	};
	pod = binder ? launcher_pod_render_binder(s->a, s->vmi, &opts)
		     : launcher_pod_render(s->a, s->vmi, &opts);
	expectations_set(&s->vc->vmi_expect, s->key, 1, 0);
	e = client_create(s->vc->client, s->a, GVR_POD, meta_namespace(s->vmi), pod, &made);
	if (e) {
		expectations_forget(&s->vc->vmi_expect, s->key);
		vmi_failed(s, "FailedCreate",
			   arena_fmt(s->a, "failed to create virtual machine pod: " STR_FMT,
				     STR_ARG(err_msg(e))));
		vmi_event(s, "Warning", "FailedCreate", "Error creating pod: " STR_FMT,
			  STR_ARG(err_msg(e)));
		return e;
	}
	vmi_event(s, "Normal", "SuccessfulCreate", "Created virtual machine pod " STR_FMT,
		  STR_ARG(meta_name(made)));
	/* it is there: Scheduling goes into the same write, the informer need not be waited for */
	if (!binder) {
		s->pod = made;
		s->world.pod = made;
		s->world.pods_left = true;
	}
	return NULL;
}

static struct err *delete_pod(struct vmi_sync *s, const struct json *pod)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	if (!pod || meta_deleting(pod))
		return NULL;
	opts.uid = meta_uid(pod);
	e = client_delete(s->vc->client, s->a, GVR_POD, meta_namespace(pod), meta_name(pod), &opts);
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	if (e) {
		vmi_failed(s, "FailedDelete", arena_str(s->a, err_msg(e)));
		vmi_event(s, "Warning", "FailedDelete", "Error deleting pod " STR_FMT ": " STR_FMT,
			  STR_ARG(meta_name(pod)), STR_ARG(err_msg(e)));
		return e;
	}
	vmi_event(s, "Normal", "SuccessfulDelete", "Deleted virtual machine pod " STR_FMT,
		  STR_ARG(meta_name(pod)));
	return NULL;
}

static struct err *delete_pods(struct vmi_sync *s)
{
	json_for_each(it, s->pods) TRY(delete_pod(s, it.val));
	return NULL;
}

/* A VMI that waits for its Pod: first its volumes, by a Pod that only binds them if need be. */
static struct err *want_pod(struct vmi_sync *s)
{
	if (s->world.datavolume_failed || !expectations_met(&s->vc->vmi_expect, s->key))
		return NULL;
	if (!claims_exist(s))
		return NULL;
	if (s->world.provisioning)
		return s->binder ? NULL : create_pod(s, true);
	if (s->waits)
		return NULL;
	if (s->binder)
		return delete_pod(s, s->binder);
	return create_pod(s, false);
}

static struct err *act(struct vmi_sync *s)
{
	if (meta_deleting(s->vmi))
		return delete_pods(s);
	if (vmi_is_final(s->vmi))
		return delete_pod(s, s->binder);
	if (!s->pod && (str_empty(vmi_phase(s->vmi)) || vmi_phase_is(s->vmi, "Pending")))
		return want_pod(s);
	return NULL;
}

/* The Pod's readiness gate follows the guest's pauses. */
static struct err *sync_gate(struct vmi_sync *s)
{
	const struct json *have = condition_find(json_get(s->pod, "status"), LAUNCHER_GATE);
	bool paused = condition_is_true(json_get(s->vmi, "status"), "Paused");
	struct json *patch = json_object(s->a), *status, *c;
	struct err *e;

	if (!s->pod || launcher_pod_is_down(s->pod) ||
	    str_eqz(json_str_at(have, "status"), paused ? "False" : "True"))
		return NULL;
	status = json_sub(s->a, patch, "status");
	c = json_object(s->a);
	json_set_str(s->a, c, "type", STR(LAUNCHER_GATE));
	json_set_str(s->a, c, "status", paused ? STR("False") : STR("True"));
	json_set_str(s->a, c, "reason", paused ? STR("Paused") : STR("NotPaused"));
	json_set_str(s->a, c, "message",
		     paused ? STR("the virtual machine is paused")
			    : STR("the virtual machine is not paused"));
	json_set_str(s->a, c, "lastTransitionTime", wall_format(s->a, wall_now()));
	json_push(json_sub_array(s->a, status, "conditions"), c);
	e = client_patch(s->vc->client, s->a, GVR_POD, meta_namespace(s->vmi), meta_name(s->pod),
			 "status", CLIENT_PATCH_STRATEGIC, patch, NULL);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

static struct err *reconcile(struct vmi_sync *s)
{
	struct json *before;
	struct err *e, *written = NULL;
	int64_t left;

	if (virt_mark_api_version(s->a, s->vmi))
		return client_update(s->vc->client, s->a, GVR_VMI, NULL, s->vmi, NULL);
	before = json_copy(s->a, s->vmi);
	e = act(s);
	s->world.now = wall_now();
	vmi_status_update(s->a, &s->world, s->vmi);
	left = vmi_handler_grace_left_ms(s->vmi, s->pod, s->world.now);
	if (left > 0)
		controller_enqueue_after(s->vc->vmi, s->key, left + 100);
	if (!json_equal(before, s->vmi))
		written = client_update(s->vc->client, s->a, GVR_VMI, NULL, s->vmi, NULL);
	if (!e)
		e = written;
	else
		err_ignore(written, "the first error says more, and both are retried");
	return e ? e : sync_gate(s);
}

static struct err *vmi_controller_sync(void *ctx, struct arena *a, struct str key)
{
	struct vmi_sync s = { .vc = ctx, .a = a, .key = key };
	const struct obj *o = informer_find_key(s.vc->vmis, key);
	struct err *e;

	if (!o) {
		expectations_forget(&s.vc->vmi_expect, key);
		return NULL;
	}
	TRY(virt_obj_parse(a, o, VIRT_API_VERSION, "VirtualMachineInstance", &s.vmi));
	find_pods(&s);
	/* a Pod of ours is on its way into the informer: without it the VMI would look lost */
	if (!s.pod && !expectations_met(&s.vc->vmi_expect, key))
		return NULL;
	find_volumes(&s);
	find_owner(&s);
	e = reconcile(&s);
	if (err_is(e, ERR_CONFLICT) || err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "somebody wrote first: look again");
		controller_enqueue_after(s.vc->vmi, key, 50);
		return NULL;
	}
	return e;
}

static void saw_pod(struct informer_handler *h, const struct obj *old_obj,
		    const struct obj *new_obj)
{
	struct virt_controller *vc = container_of(h, struct virt_controller, vmi_handler);
	const struct obj *o = new_obj ? new_obj : old_obj;
	const struct json *owner = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = arena_new();

	if (!old_obj && owner)
		expectations_saw_add(&vc->vmi_expect,
				     meta_key(a, o->ns, json_str_at(owner, "name")));
}

struct users {
	struct controller *c;
	struct str claim;
};

static bool enqueue_if_uses(const struct obj *o, void *ctx)
{
	struct users *u = ctx;

	json_for_each(it, json_at(obj_tree(o), "spec.volumes"))
	{
		if (str_eq(vmi_volume_claim(it.val), u->claim))
			controller_enqueue_obj(u->c, o);
	}
	return true;
}

/* A claim or DataVolume (they share a name) concerns the VMIs of its namespace that use it. */
static void enqueue_users(struct controller *c, const struct obj *o, void *ctx)
{
	struct virt_controller *vc = ctx;
	struct users u = { c, o->name };

	informer_each(vc->vmis, o->ns, enqueue_if_uses, &u);
}

void vmi_controller_init(struct virt_controller *vc)
{
	struct controller_opts opts = { .name = "vmi", .sync = vmi_controller_sync, .ctx = vc };

	vc->vmi = controller_new(vc->loop, &opts);
	vc->vmi_handler.event = saw_pod;
	informer_add_handler(vc->pods, &vc->vmi_handler);
	controller_watch(vc->vmi, vc->vmis);
	controller_watch_owned(vc->vmi, vc->pods, STR("VirtualMachineInstance"));
	controller_watch_fn(vc->vmi, vc->datavolumes, enqueue_users, vc);
	controller_watch_fn(vc->vmi, vc->claims, enqueue_users, vc);
}
