/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One QEMU process, from start to end: spawns it, speaks QMP with it, and tells in which state the
 * domain is and why.
 *
 *   NoState -> Starting -> Running <-> Paused -> Shutoff | Crashed
 *
 * A start that fails goes back to NoState and may be tried again; Shutoff and Crashed are final.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct loop;
struct machine;
struct vm;

enum machine_state {
	MACHINE_NOSTATE,
	MACHINE_STARTING,
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_SHUTOFF,
	MACHINE_CRASHED,
	MACHINE_STATE_N_
};

struct machine_opts {
	const char *qemu;
	/* Called from the loop after every change; must not suspend. */
	void (*changed)(void *ctx);
	void *ctx;
};

/* lifecycle */
struct machine *machine_new(struct loop *l, const struct machine_opts *opts);
/* A running QEMU is killed. */
SUSPENDS struct machine *machine_free(struct machine *m);

/* operations; CONFLICT in the wrong state */
/* vm is borrowed for the call. Returns when the guest runs (or is paused, when it shall start so).
 */
MUST_USE SUSPENDS struct err *machine_start(struct machine *m, const struct vm *vm);
MUST_USE SUSPENDS struct err *machine_pause(struct machine *m);
MUST_USE SUSPENDS struct err *machine_unpause(struct machine *m);
/* Presses the power button until the guest is off; kills it after grace seconds. Does not wait. */
MUST_USE struct err *machine_shutdown(struct machine *m, int64_t grace);
MUST_USE SUSPENDS struct err *machine_reset(struct machine *m);
/* Presses the power button, and resets the guest when it is off. Does not wait. */
MUST_USE SUSPENDS struct err *machine_soft_reboot(struct machine *m);

/* queries */
enum machine_state machine_state(const struct machine *m);
bool machine_is_final(const struct machine *m);
/* The "domain" of the handler's protocol (launcher-api.h). */
struct json *machine_describe(const struct machine *m, struct arena *a);
