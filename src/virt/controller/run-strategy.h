/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a VM's run strategy asks for, given its VMI and the requests queued in its status: a pure
 * function, one table row per strategy and state of the VMI (upstream's syncRunStrategy).
 */

#include "base/clock.h"
#include "base/str.h"

struct json;

enum vm_act {
	VM_ACT_NONE,
	VM_ACT_START,       /* create the VMI */
	VM_ACT_STOP,        /* delete the VMI */
	VM_ACT_STOP_RERUN,  /* delete it and queue a Start request */
	VM_ACT_SET_RUNNING, /* a queued start of a halted VM: switch the spec to running */
	VM_ACT_WAIT,        /* start after back-off: look again in wait_ms */
	VM_ACTS_N_,
};

struct vm_decision {
	enum vm_act act;
	int64_t wait_ms;
};

/* vmi is NULL when there is none. */
struct vm_decision vm_decide(const struct json *vm, const struct json *vmi, struct wall now);

/* The first queued request. */
bool vm_has_start_request(const struct json *vm);
bool vm_has_stop_request(const struct json *vm, const struct json *vmi);
/* The first request has been met (or can never be): drop it. */
bool vm_request_is_done(const struct json *vm, const struct json *vmi);
/* Strategies whose failed starts are retried with back-off. */
bool vm_strategy_retries(struct str strategy);
/* Milliseconds until the next start may be tried; 0: now. */
int64_t vm_backoff_left_ms(const struct json *vm, struct wall now);
/* Back-off after the n-th failure in a row, without the random part. */
int64_t vm_backoff_seconds(int64_t n);
