/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/controller/run-strategy.h"

#include "api/meta.h"
#include "virt/mapping/vmi.h"
#include "json/json.h"

#define BACKOFF_MAX_SECONDS  300
#define BACKOFF_STEP_SECONDS (BACKOFF_MAX_SECONDS / 30)

/* What the VMI looks like to a strategy. */
enum vmi_state {
	VMI_ABSENT,
	VMI_DELETING,
	VMI_ALIVE,
	VMI_STOP_ASKED,
	VMI_SUCCEEDED,
	VMI_FAILED,
	VMI_STATES_N_
};

/* START_IF: only on a queued request (or, for RerunOnFailure, on the strategy's first sync). */
enum rule { NONE, START, START_IF, START_NOW_IF, STOP, STOP_RERUN, RUN_IF };

static const struct {
	const char *strategy;
	enum rule rules[VMI_STATES_N_];
} strategies[] = {
	{ "Always",
	  { [VMI_ABSENT] = START,
	    [VMI_STOP_ASKED] = STOP,
	    [VMI_SUCCEEDED] = STOP,
	    [VMI_FAILED] = STOP } },
	{ "RerunOnFailure",
	  { [VMI_ABSENT] = START_IF,
	    [VMI_STOP_ASKED] = STOP,
	    [VMI_SUCCEEDED] = STOP,
	    [VMI_FAILED] = STOP_RERUN } },
	{ "Manual", { [VMI_ABSENT] = START_NOW_IF, [VMI_STOP_ASKED] = STOP } },
	{ "Halted",
	  { [VMI_ABSENT] = RUN_IF,
	    [VMI_ALIVE] = STOP,
	    [VMI_STOP_ASKED] = STOP,
	    [VMI_SUCCEEDED] = STOP,
	    [VMI_FAILED] = STOP } },
	{ "Once", { [VMI_ABSENT] = START } },
};

static const struct json *first_request(const struct json *vm)
{
	return json_idx(json_at(vm, "status.stateChangeRequests"), 0);
}

bool vm_has_start_request(const struct json *vm)
{
	return str_eqz(json_str_at(first_request(vm), "action"), "Start");
}

bool vm_has_stop_request(const struct json *vm, const struct json *vmi)
{
	const struct json *r = first_request(vm);

	return vmi && str_eqz(json_str_at(r, "action"), "Stop") &&
	       str_eq(json_str_at(r, "uid"), meta_uid(vmi));
}

bool vm_request_is_done(const struct json *vm, const struct json *vmi)
{
	const struct json *r = first_request(vm);
	struct str action = json_str_at(r, "action"), uid = json_str_at(r, "uid");

	if (str_eqz(action, "Stop"))
		return !vmi || str_empty(uid) || !str_eq(uid, meta_uid(vmi));
	if (str_eqz(action, "Start"))
		return vmi && !meta_deleting(vmi) && !vmi_is_final(vmi);
	return false;
}

bool vm_strategy_retries(struct str strategy)
{
	return str_eqz(strategy, "Always") || str_eqz(strategy, "RerunOnFailure") ||
	       str_eqz(strategy, "Once");
}

int64_t vm_backoff_seconds(int64_t n)
{
	if (n * n > BACKOFF_MAX_SECONDS / BACKOFF_STEP_SECONDS)
		return BACKOFF_MAX_SECONDS;
	return BACKOFF_STEP_SECONDS * n * n;
}

int64_t vm_backoff_left_ms(const struct json *vm, struct wall now)
{
	struct wall at;

	if (!wall_parse(json_str_at(vm, "status.startFailure.retryAfterTimestamp"), &at) ||
	    at.ns <= now.ns)
		return 0;
	return (at.ns - now.ns + NS_PER_MS - 1) / NS_PER_MS;
}

static enum vmi_state vmi_state(const struct json *vm, const struct json *vmi)
{
	if (!vmi)
		return VMI_ABSENT;
	if (meta_deleting(vmi))
		return VMI_DELETING;
	if (vm_has_stop_request(vm, vmi))
		return VMI_STOP_ASKED;
	if (vmi_phase_is(vmi, "Succeeded"))
		return VMI_SUCCEEDED;
	return vmi_phase_is(vmi, "Failed") ? VMI_FAILED : VMI_ALIVE;
}

static struct vm_decision start(const struct json *vm, bool wanted, bool backoff, struct wall now)
{
	struct vm_decision d = { VM_ACT_NONE, 0 };

	if (!wanted)
		return d;
	d.wait_ms = backoff ? vm_backoff_left_ms(vm, now) : 0;
	d.act = d.wait_ms ? VM_ACT_WAIT : VM_ACT_START;
	return d;
}

static struct vm_decision apply(enum rule rule, const struct json *vm, struct str strategy,
				struct wall now)
{
	bool asked = vm_has_start_request(vm);

	switch (rule) {
	case START:
		return start(vm, true, true, now);
	case START_IF:
		return start(vm, asked || !str_eq(json_str_at(vm, "status.runStrategy"), strategy),
			     true, now);
	case START_NOW_IF:
		return start(vm, asked, false, now);
	case STOP:
		return (struct vm_decision){ VM_ACT_STOP, 0 };
	case STOP_RERUN:
		return (struct vm_decision){ VM_ACT_STOP_RERUN, 0 };
	case RUN_IF:
		return (struct vm_decision){ asked ? VM_ACT_SET_RUNNING : VM_ACT_NONE, 0 };
	case NONE:
		break;
	}
	return (struct vm_decision){ VM_ACT_NONE, 0 };
}

struct vm_decision vm_decide(const struct json *vm, const struct json *vmi, struct wall now)
{
	struct str strategy = vm_run_strategy(vm);

	for (size_t i = 0; i < ARRAY_LEN(strategies); i++) {
		if (str_eqz(strategy, strategies[i].strategy))
			return apply(strategies[i].rules[vmi_state(vm, vmi)], vm, strategy, now);
	}
	return (struct vm_decision){ VM_ACT_NONE, 0 };
}
