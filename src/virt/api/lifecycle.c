/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "virt/api/virt-api.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * start, stop and restart of a VM: by its run strategy either the spec is changed or a request is
 * queued in the status, which virt-controller meets. Both are JSON patches guarded by tests of the
 * old value, so that two callers cannot both win.
 */

#define VM "virtualmachine"

struct vm_call {
	const struct subresource_call *call;
	struct json *vm, *vmi; /* vmi NULL: none */
	struct str strategy;
};

static struct err *load(const struct subresource_call *call, struct vm_call *v)
{
	v->call = call;
	TRY(subresource_get_vm(call, &v->vm));
	TRY(subresource_get_vmi(call, true, &v->vmi));
	v->strategy = vm_run_strategy(v->vm);
	return NULL;
}

static bool strategy_is(const struct vm_call *v, const char *s)
{
	return str_eqz(v->strategy, s);
}

static bool vmi_is_live(const struct vm_call *v)
{
	struct str phase = v->vmi ? vmi_phase(v->vmi) : STR_EMPTY;

	return v->vmi && !vmi_is_final(v->vmi) && !str_empty(phase) && !str_eqz(phase, "Unknown");
}

static bool needs_recovery(const struct vm_call *v)
{
	return condition_is_true(json_get(v->vm, "status"), "ManualRecoveryRequired");
}

static struct err *recovery_error(const struct vm_call *v)
{
	return subresource_conflict(
		VM, v->call->name,
		"VM recovery required: Volume migration failed, leaving some volumes pointing to "
		"non-consistent targets; manual intervention is needed to reassign them to their "
		"original volumes.");
}

/* patches */

static void add_op(struct arena *a, struct json *ops, const char *op, const char *path,
		   struct json *value)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "op", str_from(op));
	json_set_str(a, o, "path", str_from(path));
	if (value)
		json_set(a, o, "value", value);
	json_push(ops, o);
}

static struct json *request(struct arena *a, const char *action, struct str uid)
{
	struct json *r = json_object(a);

	json_set_str(a, r, "action", str_from(action));
	if (!str_empty(uid))
		json_set_str(a, r, "uid", uid);
	return r;
}

/* A patch that lost its race is a conflict, anything else an internal error. */
static struct err *patch(const struct vm_call *v, const char *sub, struct json *ops)
{
	const struct subresource_call *call = v->call;
	struct err *e;

	if (subresource_dry_run(call))
		return NULL;
	e = client_patch(call->api->client, call->a, GVR_VM, call->ns, call->name, sub,
			 CLIENT_PATCH_JSON, ops, NULL);
	if (!e)
		return NULL;
	if (err_is(e, ERR_INVALID) || err_is(e, ERR_CONFLICT)) {
		struct str why = arena_str(call->a, err_msg(e));

		err_ignore(e, "reworded");
		return subresource_conflict(VM, call->name, STR_FMT, STR_ARG(why));
	}
	return e;
}

/* Queues requests. A queue that is not empty gives way only to a lone Stop. */
static struct err *queue(const struct vm_call *v, struct json *requests)
{
	struct arena *a = v->call->a;
	const struct json *status = json_get(v->vm, "status");
	const struct json *old = json_get(status, "stateChangeRequests");
	bool stop = json_len(requests) == 1 &&
		    str_eqz(json_str_at(json_idx(requests, 0), "action"), "Stop");
	struct json *ops = json_array(a), *fresh;

	if (json_len(old) && !stop)
		return err_new(ERR_INTERNAL, "Internal error occurred: unable to complete request: "
					     "stop/start already underway");
	if (!status) {
		fresh = json_object(a);
		json_set(a, fresh, "stateChangeRequests", requests);
		add_op(a, ops, "add", "/status", fresh);
		return patch(v, "status", ops);
	}
	if (old) {
		add_op(a, ops, "test", "/status/stateChangeRequests", json_copy(a, old));
		add_op(a, ops, "replace", "/status/stateChangeRequests", requests);
	} else {
		add_op(a, ops, "add", "/status/stateChangeRequests", requests);
	}
	if (json_get(status, "startFailure"))
		add_op(a, ops, "remove", "/status/startFailure", NULL);
	return patch(v, "status", ops);
}

static struct err *queue_one(const struct vm_call *v, const char *action, struct str uid)
{
	struct json *list = json_array(v->call->a);

	json_push(list, request(v->call->a, action, uid));
	return queue(v, list);
}

static struct err *queue_restart(const struct vm_call *v)
{
	struct json *list = json_array(v->call->a);

	json_push(list, request(v->call->a, "Stop", meta_uid(v->vmi)));
	json_push(list, request(v->call->a, "Start", STR_EMPTY));
	return queue(v, list);
}

static struct err *set_running(const struct vm_call *v, bool running)
{
	struct arena *a = v->call->a;
	struct json *ops = json_array(a);
	const struct json *old = json_at(v->vm, "spec.running");

	if (!json_is_null(old)) {
		add_op(a, ops, "test", "/spec/running", json_copy(a, old));
		add_op(a, ops, "replace", "/spec/running", json_bool(a, running));
	} else {
		add_op(a, ops, "test", "/spec/runStrategy", json_str(a, v->strategy));
		add_op(a, ops, "replace", "/spec/runStrategy",
		       json_strz(a, running ? "Always" : "Halted"));
	}
	return patch(v, NULL, ops);
}

/* start */

static struct err *start_halted(const struct vm_call *v)
{
	struct arena *a = v->call->a;
	struct json *list, *start;

	if (!json_bool_at(v->call->body, "paused", false))
		return set_running(v, true);
	start = request(a, "Start", STR_EMPTY);
	json_set_at(a, start, "data.paused", json_strz(a, "true"));
	list = json_array(a);
	json_push(list, start);
	return queue(v, list);
}

static struct err *start_by_request(const struct vm_call *v)
{
	struct arena *a = v->call->a;
	struct json *list = json_array(a), *start = request(a, "Start", STR_EMPTY);

	if (v->vmi && strategy_is(v, "RerunOnFailure") && vmi_phase_is(v->vmi, "Failed"))
		return subresource_conflict(
			VM, v->call->name,
			"RerunOnFailure does not support starting VM from failed state");
	if (json_bool_at(v->call->body, "paused", false))
		json_set_at(a, start, "data.paused", json_strz(a, "true"));
	if (v->vmi && vmi_is_final(v->vmi))
		json_push(list, request(a, "Stop", meta_uid(v->vmi)));
	json_push(list, start);
	return queue(v, list);
}

static struct err *start(const struct vm_call *v)
{
	if (vmi_is_live(v))
		return subresource_conflict(VM, v->call->name, "VM is already running");
	if (needs_recovery(v))
		return recovery_error(v);
	if (strategy_is(v, "Halted"))
		return start_halted(v);
	if (strategy_is(v, "RerunOnFailure") || strategy_is(v, "Manual"))
		return start_by_request(v);
	if (strategy_is(v, "Always") || strategy_is(v, "Once"))
		return subresource_conflict(VM, v->call->name,
					    STR_FMT " does not support manual start requests",
					    STR_ARG(v->strategy));
	return NULL;
}

struct err *vm_start_request(const struct subresource_call *call)
{
	struct vm_call v = { 0 };

	TRY(load(call, &v));
	TRY(start(&v));
	subresource_done(call, 202);
	return NULL;
}

/* stop */

static struct err *set_grace(const struct vm_call *v, const struct json *old, int64_t seconds)
{
	const struct subresource_call *call = v->call;
	struct json *ops = json_array(call->a);
	const char *path = "/spec/terminationGracePeriodSeconds";

	if (subresource_dry_run(call))
		return NULL;
	if (old)
		add_op(call->a, ops, "test", path, json_copy(call->a, old));
	add_op(call->a, ops, old ? "replace" : "add", path, json_int(call->a, seconds));
	return client_patch(call->api->client, call->a, GVR_VMI, call->ns, call->name, NULL,
			    CLIENT_PATCH_JSON, ops, NULL);
}

static struct err *stop_halted(const struct vm_call *v, bool shorter)
{
	if (!v->vmi || vmi_is_final(v->vmi))
		return subresource_conflict(VM, v->call->name, "VM is not running");
	if (!shorter)
		return subresource_conflict(VM, v->call->name,
					    "Halted only supports manual stop requests with a "
					    "shorter graceperiod");
	return queue_one(v, "Stop", meta_uid(v->vmi));
}

static struct err *stop(const struct vm_call *v)
{
	const struct json *grace = json_get(v->call->body, "gracePeriod");
	const struct json *old = json_at(v->vmi, "spec.terminationGracePeriodSeconds");
	bool shorter =
		!json_is_null(grace) && (!old || json_as_int(grace, 0) < json_as_int(old, 0));

	if (shorter && v->vmi && !vmi_is_final(v->vmi))
		TRY(set_grace(v, old, json_as_int(grace, 0)));
	if (strategy_is(v, "Halted"))
		return stop_halted(v, shorter);
	if (strategy_is(v, "RerunOnFailure") || strategy_is(v, "Manual")) {
		if (!v->vmi || vmi_is_final(v->vmi))
			return subresource_conflict(VM, v->call->name, "VM is not running");
		return queue_one(v, "Stop", meta_uid(v->vmi));
	}
	if (strategy_is(v, "Always") || strategy_is(v, "Once"))
		return set_running(v, false);
	return NULL;
}

struct err *vm_stop_request(const struct subresource_call *call)
{
	struct vm_call v = { 0 };

	TRY(load(call, &v));
	TRY(stop(&v));
	subresource_done(call, 202);
	return NULL;
}

/* restart */

static struct err *restart_forced(const struct vm_call *v)
{
	const struct json *old = json_at(v->vmi, "spec.terminationGracePeriodSeconds");
	struct err *e, *undo;

	/* the guest gets one second, not none: upstream's way to have it end at once */
	TRY(set_grace(v, old, 1));
	e = queue_restart(v);
	if (!e || !old)
		return e;
	undo = set_grace(v, NULL, json_as_int(old, VMI_DEFAULT_GRACE));
	err_ignore(undo, "the first error is the one to tell");
	return e;
}

static struct err *restart(const struct vm_call *v)
{
	const struct json *grace = json_get(v->call->body, "gracePeriodSeconds");

	if (!json_is_null(grace) && json_as_int(grace, 0) > 0)
		return err_new(ERR_BAD_REQUEST,
			       "For force restart, only gracePeriod=0 is supported for now");
	if (!json_is_null(grace) && json_as_int(grace, 0) < 0)
		return err_new(ERR_BAD_REQUEST, "gracePeriod has to be greater or equal to 0");
	if (condition_is_true(json_get(v->vm, "status"), "VolumesChange"))
		return recovery_error(v);
	if (strategy_is(v, "Halted") || strategy_is(v, "Once"))
		return subresource_conflict(VM, v->call->name,
					    "RunStategy " STR_FMT
					    " does not support manual restart requests",
					    STR_ARG(v->strategy));
	if (!v->vmi)
		return subresource_conflict(VM, v->call->name, "VM is not running: Halted");
	return json_is_null(grace) ? queue_restart(v) : restart_forced(v);
}

struct err *vm_restart_request(const struct subresource_call *call)
{
	struct vm_call v = { 0 };

	TRY(load(call, &v));
	TRY(restart(&v));
	subresource_done(call, 202);
	return NULL;
}
