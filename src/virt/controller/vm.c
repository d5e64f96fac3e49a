/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "virt/controller/run-strategy.h"
#include "virt/controller/virt-controller.h"
#include "virt/controller/vm-instance.h"
#include "virt/controller/vm-status.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * VirtualMachine -> VirtualMachineInstance. What to do comes from run-strategy.c, what to report
 * from vm-status.c; this file reads the world, acts and writes.
 */

#define FINALIZER_ORPHAN "orphan"

struct vm_sync {
	struct virt_controller *vc;
	struct arena *a;
	struct str key;
	struct json *vm, *vmi;
	struct vm_failure failure;
	bool create_expected, delete_expected;
};

#define vm_event(s, type, reason, ...)                                                             \
	event_record((s)->vc->events, (s)->vm, STR(VIRT_API_VERSION), STR("VirtualMachine"), type, \
		     reason, __VA_ARGS__)

/* Remembers a failure for the condition, tells it as an event, and hands it on for a retry. */
static struct err *vm_failed(struct vm_sync *s, const char *reason, struct err *e)
{
	if (!e)
		return NULL;
	s->failure.reason = reason;
	s->failure.message = arena_str(s->a, err_msg(e));
	vm_event(s, "Warning", reason, "Error: " STR_FMT, STR_ARG(err_msg(e)));
	return e;
}

/* DataVolumes */

static const struct obj *find_datavolume(const struct vm_sync *s, struct str name)
{
	return informer_find(s->vc->datavolumes, meta_namespace(s->vm), name);
}

static struct err *create_datavolumes(struct vm_sync *s)
{
	bool later = str_eqz(meta_annotation(s->vm, ANNO_DV_IMMEDIATE_CREATION), "false") &&
		     str_eqz(vm_run_strategy(s->vm), "Halted");

	json_for_each(it, later ? NULL : json_at(s->vm, "spec.dataVolumeTemplates"))
	{
		struct str name = json_str_at(it.val, "metadata.name");
		struct json *dv;
		struct err *e;

		if (find_datavolume(s, name))
			continue;
		dv = vm_make_datavolume(s->a, s->vm, it.val);
		e = client_create(s->vc->client, s->a, GVR_DATAVOLUME, meta_namespace(s->vm), dv,
				  NULL);
		if (err_is(e, ERR_ALREADY_EXISTS)) {
			err_ignore(e, "our informer lags behind");
			continue;
		}
		TRY(vm_failed(s, "FailedDataVolumeCreate", e));
		vm_event(s, "Normal", "SuccessfulDataVolumeCreate", "Created DataVolume " STR_FMT,
			 STR_ARG(name));
	}
	return NULL;
}

static bool datavolume_is_ready(const struct json *dv)
{
	struct str phase = json_str_at(dv, "status.phase");

	return str_eqz(phase, "Succeeded") || str_eqz(phase, "WaitForFirstConsumer") ||
	       str_eqz(phase, "PendingPopulation");
}

static bool datavolumes_are_ready(const struct vm_sync *s)
{
	json_for_each(it, json_at(s->vm, "spec.dataVolumeTemplates"))
	{
		const struct obj *o = find_datavolume(s, json_str_at(it.val, "metadata.name"));

		if (!o || !datavolume_is_ready(obj_tree(o)))
			return false;
	}
	return true;
}

/* acts */

static struct err *ensure_revision(struct vm_sync *s)
{
	struct err *e = client_create(s->vc->client, s->a, GVR_REVISION, meta_namespace(s->vm),
				      vm_make_revision(s->a, s->vm), NULL);

	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "one per generation");
		return NULL;
	}
	return e;
}

/* The revision of the VMI before: nothing will be compared with it any more. */
static struct err *drop_old_revision(struct vm_sync *s)
{
	int64_t old = json_int_at(s->vm, "status.observedGeneration", 0);
	struct err *e;

	if (!old || old == json_int_at(s->vm, "metadata.generation", 0))
		return NULL;
	e = client_delete(s->vc->client, s->a, GVR_REVISION, meta_namespace(s->vm),
			  vm_revision_name(s->a, s->vm, old), &CLIENT_DELETE_DEFAULT);
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "dropped already");
	return NULL;
}

static struct err *start_vm(struct vm_sync *s)
{
	struct json *vmi;
	struct err *e;

	if (!datavolumes_are_ready(s))
		return NULL;
	TRY(vm_failed(s, "FailedCreate", ensure_revision(s)));
	TRY(drop_old_revision(s));
	vmi = vm_make_instance(s->a, s->vm);
	expectations_set(&s->vc->vm_expect, s->key, 1, 0);
	e = client_create(s->vc->client, s->a, GVR_VMI, meta_namespace(s->vm), vmi, NULL);
	if (e) {
		expectations_forget(&s->vc->vm_expect, s->key);
		return vm_failed(s, "FailedCreate", e);
	}
	s->create_expected = true;
	json_set_str(s->a, json_sub(s->a, s->vm, "status"), "runStrategy", vm_run_strategy(s->vm));
	vm_event(
		s, "Normal", "SuccessfulCreate",
		"Started the virtual machine by creating the new virtual machine instance " STR_FMT,
		STR_ARG(meta_name(s->vm)));
	return NULL;
}

static struct err *stop_vm(struct vm_sync *s)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	opts.uid = meta_uid(s->vmi);
	expectations_set(&s->vc->vm_expect, s->key, 0, 1);
	e = client_delete(s->vc->client, s->a, GVR_VMI, meta_namespace(s->vm), meta_name(s->vm),
			  &opts);
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT)) {
		expectations_forget(&s->vc->vm_expect, s->key);
		err_ignore(e, "gone already");
		return NULL;
	}
	if (e) {
		expectations_forget(&s->vc->vm_expect, s->key);
		return vm_failed(s, "FailedDelete", e);
	}
	s->delete_expected = true;
	vm_event(s, "Normal", "SuccessfulDelete",
		 "Stopped the virtual machine by deleting the virtual machine instance " STR_FMT,
		 STR_ARG(meta_uid(s->vmi)));
	return NULL;
}

static void queue_start(struct vm_sync *s)
{
	struct json *r = json_object(s->a);

	json_set_str(s->a, r, "action", STR("Start"));
	json_push(json_sub_array(s->a, json_sub(s->a, s->vm, "status"), "stateChangeRequests"), r);
}

static struct err *set_running(struct vm_sync *s)
{
	if (json_at(s->vm, "spec.running"))
		json_set_at(s->a, s->vm, "spec.running", json_bool(s->a, true));
	else
		json_set_at(s->a, s->vm, "spec.runStrategy", json_strz(s->a, "Always"));
	return client_update(s->vc->client, s->a, GVR_VM, NULL, s->vm, &s->vm);
}

static struct err *act(struct vm_sync *s)
{
	struct vm_decision d = vm_decide(s->vm, s->vmi, wall_now());

	switch (d.act) {
	case VM_ACT_START:
		return start_vm(s);
	case VM_ACT_STOP_RERUN:
		TRY(stop_vm(s));
		queue_start(s);
		return NULL;
	case VM_ACT_STOP:
		return stop_vm(s);
	case VM_ACT_SET_RUNNING:
		return set_running(s);
	case VM_ACT_WAIT:
		controller_enqueue_after(s->vc->vm, s->key, d.wait_ms);
		return NULL;
	case VM_ACT_NONE:
	case VM_ACTS_N_:
		break;
	}
	return NULL;
}

/* RestartRequired: the template changed since the VMI was made from it. */

static struct err *compare_revision(struct vm_sync *s)
{
	int64_t observed, now = json_int_at(s->vm, "metadata.generation", 0);
	struct json *status = json_sub(s->a, s->vm, "status"), *rev = NULL;
	struct err *e;

	if (!s->vmi || vmi_is_final(s->vmi)) {
		condition_del(status, "RestartRequired");
		return NULL;
	}
	if (!str_to_i64(meta_annotation(s->vmi, ANNO_VM_GENERATION), &observed) || observed == now)
		return NULL;
	e = client_get(s->vc->client, s->a, GVR_REVISION, meta_namespace(s->vm),
		       vm_revision_name(s->a, s->vm, observed), &rev);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "nothing to compare with");
		return NULL;
	}
	TRY(e);
	if (json_equal(json_at(rev, "data.spec.template.spec"),
		       json_at(s->vm, "spec.template.spec")))
		condition_del(status, "RestartRequired");
	else
		condition_set(s->a, status, "RestartRequired", "True", STR_EMPTY,
			      STR("a non-live-updatable field was changed in the template spec"),
			      wall_now());
	return NULL;
}

/* deletion */

static struct err *finish_vm(struct vm_sync *s)
{
	if (s->vmi && !meta_has_finalizer(s->vm, STR(FINALIZER_ORPHAN)))
		return meta_deleting(s->vmi) ? NULL : stop_vm(s);
	if (!meta_del_finalizer(s->a, s->vm, STR(FINALIZER_VM)))
		return NULL;
	return client_update(s->vc->client, s->a, GVR_VM, NULL, s->vm, NULL);
}

/* status */

static void add_claim(struct vm_sync *s, struct str name, struct json *claims)
{
	const struct obj *o = informer_find(s->vc->claims, meta_namespace(s->vm), name);

	if (o)
		json_push(claims, json_copy(s->a, obj_tree(o)));
}

static struct err *write_status(struct vm_sync *s, const struct json *before)
{
	struct vm_world w = {
		.vm = s->vm,
		.vmi = s->vmi,
		.create_expected = s->create_expected,
		.delete_expected = s->delete_expected,
		.now = wall_now(),
	};
	struct json *dvs = json_array(s->a), *claims = json_array(s->a);

	json_for_each(it, json_at(s->vm, "spec.template.spec.volumes"))
	{
		struct str dv = json_str_at(it.val, "dataVolume.name");
		struct str claim = vmi_volume_claim(it.val);
		const struct obj *o = str_empty(dv) ? NULL : find_datavolume(s, dv);

		if (o)
			json_push(dvs, json_copy(s->a, obj_tree(o)));
		if (!str_empty(claim))
			add_claim(s, claim, claims);
	}
	w.datavolumes = dvs;
	w.claims = claims;
	vm_status_update(s->a, &w, &s->failure, s->vm);
	if (json_equal(before, json_get(s->vm, "status")))
		return NULL;
	return client_update(s->vc->client, s->a, GVR_VM, "status", s->vm, NULL);
}

/* The VMI of the VM's name, when the VM controls it. */
static struct err *find_vmi(struct vm_sync *s)
{
	const struct obj *o = informer_find_key(s->vc->vmis, s->key);

	if (!o || !meta_controlled_by(obj_tree(o), meta_uid(s->vm)))
		return NULL;
	return virt_obj_parse(s->a, o, VIRT_API_VERSION, "VirtualMachineInstance", &s->vmi);
}

static struct err *prepare(struct vm_sync *s, bool *ret_written)
{
	bool changed = virt_mark_api_version(s->a, s->vm);

	if (!meta_deleting(s->vm))
		changed |= meta_add_finalizer(s->a, s->vm, STR(FINALIZER_VM));
	*ret_written = changed;
	if (!changed)
		return NULL;
	return client_update(s->vc->client, s->a, GVR_VM, NULL, s->vm, NULL);
}

/* Its end is on record in our status: let it go. */
static struct err *release_vmi(struct vm_sync *s)
{
	if (!s->vmi || !meta_deleting(s->vmi) || !vmi_is_final(s->vmi) ||
	    !meta_del_finalizer(s->a, s->vmi, STR(FINALIZER_VM)))
		return NULL;
	return client_update(s->vc->client, s->a, GVR_VMI, NULL, s->vmi, NULL);
}

static struct err *reconcile(struct vm_sync *s)
{
	struct json *before = json_copy(s->a, json_get(s->vm, "status"));
	struct err *e = NULL, *status_err;

	s->create_expected = !s->vmi && !expectations_met(&s->vc->vm_expect, s->key);
	s->delete_expected = s->vmi && !expectations_met(&s->vc->vm_expect, s->key);
	if (meta_deleting(s->vm)) {
		e = finish_vm(s);
		if (e || !meta_has_finalizer(s->vm, STR(FINALIZER_VM)))
			return e;
	} else if (!s->create_expected && !s->delete_expected) {
		e = create_datavolumes(s);
		if (!e)
			e = act(s);
		if (!e)
			e = compare_revision(s);
	}
	status_err = write_status(s, before);
	if (!e)
		return status_err ? status_err : release_vmi(s);
	err_ignore(status_err, "the first error says more, and both are retried");
	return e;
}

static struct err *vm_controller_sync(void *ctx, struct arena *a, struct str key)
{
	struct vm_sync s = { .vc = ctx, .a = a, .key = key };
	const struct obj *o = informer_find_key(s.vc->vms, key);
	struct err *e;
	bool written;

	if (!o) {
		expectations_forget(&s.vc->vm_expect, key);
		return NULL;
	}
	TRY(virt_obj_parse(a, o, VIRT_API_VERSION, "VirtualMachine", &s.vm));
	TRY(find_vmi(&s));
	e = prepare(&s, &written);
	if (!e && !written)
		e = reconcile(&s);
	if (err_is(e, ERR_CONFLICT)) {
		err_ignore(e, "somebody wrote first: look again");
		controller_enqueue_after(s.vc->vm, key, 50);
		return NULL;
	}
	return e;
}

/* A VM is looked at when one of its claims or DataVolumes changes. */
static void enqueue_users(struct controller *c, const struct obj *o, void *ctx)
{
	struct virt_controller *vc = ctx;
	const struct json *owner = meta_controller(obj_tree(o));
	_cleanup_arena_ struct arena *a = arena_new();

	if (str_eqz(json_str_at(owner, "kind"), "VirtualMachine"))
		controller_enqueue(c, meta_key(a, o->ns, json_str_at(owner, "name")));
	else if (str_eqz(json_str_at(owner, "kind"), "DataVolume")) {
		const struct obj *dv =
			informer_find(vc->datavolumes, o->ns, json_str_at(owner, "name"));

		if (dv)
			enqueue_users(c, dv, ctx);
	}
}

static void saw_vmi(struct informer_handler *h, const struct obj *old_obj,
		    const struct obj *new_obj)
{
	struct virt_controller *vc = container_of(h, struct virt_controller, vm_handler);
	const struct obj *o = new_obj ? new_obj : old_obj;
	_cleanup_arena_ struct arena *a = arena_new();
	struct str key = meta_key(a, o->ns, o->name);

	if (!old_obj)
		expectations_saw_add(&vc->vm_expect, key);
	else if (!new_obj || (new_obj->deleting && !old_obj->deleting))
		expectations_saw_del(&vc->vm_expect, key);
}

void vm_controller_init(struct virt_controller *vc)
{
	struct controller_opts opts = { .name = "vm", .sync = vm_controller_sync, .ctx = vc };

	vc->vm = controller_new(vc->loop, &opts);
	vc->vm_handler.event = saw_vmi;
	informer_add_handler(vc->vmis, &vc->vm_handler);
	controller_watch(vc->vm, vc->vms);
	controller_watch_owned(vc->vm, vc->vmis, STR("VirtualMachine"));
	controller_watch_fn(vc->vm, vc->datavolumes, enqueue_users, vc);
	controller_watch_fn(vc->vm, vc->claims, enqueue_users, vc);
}
