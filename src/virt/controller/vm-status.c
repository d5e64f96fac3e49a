/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/controller/vm-status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/rand.h"
#include "virt/controller/run-strategy.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/* facts of the VMI */

static const struct json *vmi_condition(const struct vm_world *w, const char *type)
{
	return w->vmi ? condition_find(json_get(w->vmi, "status"), type) : NULL;
}

static bool vmi_condition_is(const struct vm_world *w, const char *type, const char *status,
			     const char *reason)
{
	const struct json *c = vmi_condition(w, type);

	return str_eqz(json_str_at(c, "status"), status) &&
	       (!reason || str_eqz(json_str_at(c, "reason"), reason));
}

static bool phase_is(const struct vm_world *w, const char *phase)
{
	return w->vmi && vmi_phase_is(w->vmi, phase);
}

/* Whether the VM is meant to run: by strategy, or because its VMI was asked for. */
static bool set_to_start(const struct vm_world *w)
{
	struct str strategy = vm_run_strategy(w->vm);

	return w->vmi || w->create_expected || str_eqz(strategy, "Always") ||
	       str_eqz(strategy, "Once") || vm_has_start_request(w->vm);
}

/* the table's conditions */

static bool is_terminating(const struct vm_world *w)
{
	return meta_deleting(w->vm);
}

static bool is_stopping(const struct vm_world *w)
{
	return w->vmi && !vmi_is_final(w->vmi) && (meta_deleting(w->vmi) || w->delete_expected);
}

static bool is_migrating(const struct vm_world *w)
{
	const struct json *m = json_at(w->vmi, "status.migrationState");

	return json_get(m, "startTimestamp") && !json_get(m, "endTimestamp") &&
	       !json_bool_at(m, "failed", false);
}

static bool is_paused(const struct vm_world *w)
{
	return phase_is(w, "Running") && vmi_condition_is(w, "Paused", "True", NULL);
}

static bool is_running(const struct vm_world *w)
{
	return phase_is(w, "Running");
}

static bool pvc_not_found(const struct vm_world *w)
{
	return vmi_condition_is(w, "Synchronized", "False", "FailedPvcNotFound");
}

static bool dv_failed(const struct vm_world *w)
{
	json_for_each(it, w->datavolumes)
	{
		const struct json *running = condition_find(json_get(it.val, "status"), "Running");

		if (str_eqz(json_str_at(it.val, "status.phase"), "Failed") ||
		    (str_eqz(json_str_at(running, "status"), "False") &&
		     str_eqz(json_str_at(running, "reason"), "CrashLoopBackOff")))
			return true;
	}
	return false;
}

static bool is_unschedulable(const struct vm_world *w)
{
	return vmi_condition_is(w, "PodScheduled", "False", "Unschedulable");
}

static bool dv_populating(const struct vm_world *w)
{
	json_for_each(it, w->datavolumes)
	{
		struct str phase = json_str_at(it.val, "status.phase");

		if (!str_eqz(phase, "Succeeded") && !str_eqz(phase, "WaitForFirstConsumer") &&
		    !str_eqz(phase, "PendingPopulation") && !str_eqz(phase, "Failed"))
			return true;
	}
	return false;
}

static bool waits_for_binding(const struct vm_world *w)
{
	if (!set_to_start(w))
		return false;
	json_for_each(it, w->claims)
	{
		if (!str_eqz(json_str_at(it.val, "status.phase"), "Bound"))
			return true;
	}
	return false;
}

static bool image_pull_error(const struct vm_world *w)
{
	return vmi_condition_is(w, "Synchronized", "False", "ErrImagePull");
}

static bool image_pull_backoff(const struct vm_world *w)
{
	return vmi_condition_is(w, "Synchronized", "False", "ImagePullBackOff");
}

static bool is_starting(const struct vm_world *w)
{
	if (!w->vmi)
		return w->create_expected;
	return str_empty(vmi_phase(w->vmi)) || phase_is(w, "Pending") ||
	       phase_is(w, "Scheduling") || phase_is(w, "Scheduled");
}

static bool is_crash_looping(const struct vm_world *w)
{
	return (!w->vmi || vmi_is_final(w->vmi)) &&
	       json_int_at(w->vm, "status.startFailure.consecutiveFailCount", 0) > 0 &&
	       vm_strategy_retries(vm_run_strategy(w->vm));
}

static bool is_stopped(const struct vm_world *w)
{
	return w->vmi ? vmi_is_final(w->vmi) : !w->create_expected;
}

static bool is_waiting_for_receiver(const struct vm_world *w)
{
	return str_eqz(vm_run_strategy(w->vm), "WaitAsReceiver") &&
	       (!w->vmi || phase_is(w, "WaitingForSync"));
}

/* First match wins (upstream's order: Stopped before WaitingForReceiver too). */
static const struct {
	const char *status;
	bool (*holds)(const struct vm_world *w);
} printable[] = {
	{ "Terminating", is_terminating },
	{ "Stopping", is_stopping },
	{ "Migrating", is_migrating },
	{ "Paused", is_paused },
	{ "Running", is_running },
	{ "ErrorPvcNotFound", pvc_not_found },
	{ "DataVolumeError", dv_failed },
	{ "ErrorUnschedulable", is_unschedulable },
	{ "Provisioning", dv_populating },
	{ "WaitingForVolumeBinding", waits_for_binding },
	{ "ErrImagePull", image_pull_error },
	{ "ImagePullBackOff", image_pull_backoff },
	{ "Starting", is_starting },
	{ "CrashLoopBackOff", is_crash_looping },
	{ "Stopped", is_stopped },
	{ "WaitingForReceiver", is_waiting_for_receiver },
};

const char *vm_printable_status(const struct vm_world *w)
{
	for (size_t i = 0; i < ARRAY_LEN(printable); i++) {
		if (printable[i].holds(w))
			return printable[i].status;
	}
	return "Unknown";
}

/* start failures */

static void count_failure(struct arena *a, const struct vm_world *w, struct json *status)
{
	struct json *f = json_sub(a, status, "startFailure");
	int64_t n = json_int_at(f, "consecutiveFailCount", 0) + 1;
	int64_t delay = vm_backoff_seconds(n);
	struct wall at = { w->now.ns };

	if (str_eq(json_str_at(f, "lastFailedVMIUID"), meta_uid(w->vmi)))
		return;
	delay += (int64_t)rand_below((uint64_t)delay / 2 + 1);
	if (delay > 300)
		delay = 300;
	at.ns += delay * NS_PER_SEC;
	json_set_int(a, f, "consecutiveFailCount", n);
	json_set_str(a, f, "lastFailedVMIUID", arena_str(a, meta_uid(w->vmi)));
	json_set_str(a, f, "retryAfterTimestamp", wall_format(a, at));
}

static void update_start_failure(struct arena *a, const struct vm_world *w, struct json *status)
{
	if (!vm_strategy_retries(vm_run_strategy(w->vm)) || (w->vmi && vmi_was_running(w->vmi))) {
		json_delz(status, "startFailure");
		return;
	}
	if (w->vmi && vmi_is_final(w->vmi))
		count_failure(a, w, status);
}

/* conditions */

static bool is_own_condition(struct str type)
{
	static const char *const own[] = { "Ready", "Failure", "RestartRequired",
					   "ManualRecoveryRequired", "Initialized" };

	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		if (str_eqz(type, own[i]))
			return true;
	}
	return false;
}

/* Puts the VMI's condition in place of ours of the same type. */
static void put_condition(struct arena *a, struct json *list, const struct json *cond)
{
	struct str type = json_str_at(cond, "type");

	json_for_each(it, list)
	{
		if (!str_eq(json_str_at(it.val, "type"), type))
			continue;
		if (!json_equal(it.val, cond))
			json_replace_idx(list, it.i, json_copy(a, cond));
		return;
	}
	json_push(list, json_copy(a, cond));
}

static void mirror_conditions(struct arena *a, const struct vm_world *w, struct json *status)
{
	struct json *list = json_sub_array(a, status, "conditions");
	const struct json *theirs = json_at(w->vmi, "status.conditions");

	for (size_t i = json_len(list); i-- > 0;) {
		struct str type = json_str_at(json_idx(list, i), "type");

		if (!is_own_condition(type) && !json_find_by(theirs, "type", type))
			json_remove_idx(list, i);
	}
	json_for_each(it, theirs)
	{
		if (!is_own_condition(json_str_at(it.val, "type")))
			put_condition(a, list, it.val);
	}
}

static void update_ready(struct arena *a, const struct vm_world *w, struct json *status)
{
	const struct json *ready = vmi_condition(w, "Ready");

	if (ready)
		put_condition(a, json_sub_array(a, status, "conditions"), ready);
	else if (w->vmi)
		condition_set(a, status, "Ready", "False", STR("VMIConditionMissing"),
			      STR("VMI is missing the Ready condition"), w->now);
	else
		condition_set(a, status, "Ready", "False", STR("VMINotExists"),
			      STR("VMI does not exist"), w->now);
}

static void update_failure(struct arena *a, const struct vm_world *w,
			   const struct vm_failure *failure, struct json *status)
{
	if (failure && failure->reason)
		condition_set(a, status, "Failure", "True", str_from(failure->reason),
			      failure->message, w->now);
	else
		condition_del(status, "Failure");
}

static void update_generations(struct arena *a, const struct vm_world *w, struct json *status)
{
	int64_t observed;

	json_set_int(a, status, "desiredGeneration", json_int_at(w->vm, "metadata.generation", 0));
	if (w->vmi && str_to_i64(meta_annotation(w->vmi, ANNO_VM_GENERATION), &observed))
		json_set_int(a, status, "observedGeneration", observed);
}

/* The last strategy under which a VMI ran: RerunOnFailure starts when it is another. */
static void update_last_strategy(struct arena *a, const struct vm_world *w, struct json *status)
{
	struct str strategy = vm_run_strategy(w->vm);

	if (w->vmi || json_get(status, "runStrategy"))
		json_set_str(a, status, "runStrategy", strategy);
}

bool vm_status_update(struct arena *a, const struct vm_world *w, const struct vm_failure *failure,
		      struct json *vm)
{
	struct json *before = json_copy(a, json_get(w->vm, "status"));
	struct json *status = json_sub(a, vm, "status");

	if (w->vmi)
		json_set_bool(a, status, "created", true);
	else
		json_delz(status, "created");
	if (vmi_condition_is(w, "Ready", "True", NULL))
		json_set_bool(a, status, "ready", true);
	else
		json_delz(status, "ready");
	if (vm_request_is_done(vm, w->vmi)) {
		struct json *requests = json_get(status, "stateChangeRequests");

		json_remove_idx(requests, 0);
		if (!json_len(requests))
			json_delz(status, "stateChangeRequests");
	}
	update_last_strategy(a, w, status);
	update_start_failure(a, w, status);
	update_ready(a, w, status);
	mirror_conditions(a, w, status);
	update_failure(a, w, failure, status);
	update_generations(a, w, status);
	json_set_str(a, status, "printableStatus", str_from(vm_printable_status(w)));
	return !json_equal(before, status);
}
