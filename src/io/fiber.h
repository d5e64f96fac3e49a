/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fibers: stackful coroutines on the loop, so that waiting code reads top to bottom.
 *
 * The contract:
 * 1. A function that may suspend is marked SUSPENDS in its header. After any suspension
 *    the world may have changed: re-read shared state, hold references.
 * 2. Every fiber has a deadline, inherited from its parent unless shortened, and can be
 *    cancelled: the wait it is in returns CANCELED or TIMEOUT, and so do all later waits.
 * 3. A parent ends only after its children ended: fiber groups run things side by side.
 *    Detached fibers (fiber_spawn) belong to the loop or to an explicit owner who cancels
 *    and joins them.
 * 4. Long-lived streams hold no fiber.
 * 5. Stacks are FIBER_STACK_SIZE bytes, guarded and pooled; nothing with large locals,
 *    and nothing that blocks the process, runs on one.
 */

#include "base/clock.h"
#include "base/list.h"

struct err;
struct fiber;
struct loop;

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_STACK_SIZE (256 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_STACK_SIZE (256 * 1024)
#endif
#endif
#ifndef FIBER_STACK_SIZE
#define FIBER_STACK_SIZE (64 * 1024)
#endif

typedef struct err *(*fiber_fn)(void *arg);

/* spawning */
/*
 * Starts fn(arg) in the next loop turn. The handle is reference counted: the caller owns
 * one reference (fiber_unref when not interested). name is borrowed for the fiber's life.
 * Outside any fiber the new one has no deadline; a detached fiber does not inherit one.
 */
struct fiber *fiber_spawn(struct loop *l, const char *name, fiber_fn fn, void *arg);
struct fiber *fiber_unref(struct fiber *f);
void fiber_cancel(struct fiber *f);
bool fiber_done(const struct fiber *f);
/* SUSPENDS until f ended; returns its error (once; later calls return NULL). */
MUST_USE SUSPENDS struct err *fiber_join(struct fiber *f);

/* the calling fiber */
struct fiber *fiber_self(void); /* NULL outside */
struct loop *fiber_loop(void);  /* asserted: inside a fiber */
/* Lowers the deadline of the calling fiber; returns the old one for fiber_restore_deadline. */
struct mono fiber_limit_ms(int64_t ms);
void fiber_restore_deadline(struct mono old);
/* ns is INT64_MAX without one. */
struct mono fiber_deadline(void);
/* CANCELED or TIMEOUT when the fiber should stop, without suspending. */
MUST_USE struct err *fiber_check(void);
MUST_USE SUSPENDS struct err *fiber_sleep_ms(int64_t ms);
MUST_USE SUSPENDS struct err *fiber_yield(void);
/* While masked, cancel and deadline do not end waits (for clean-up that must run). Nests. */
void fiber_mask_cancel(void);
void fiber_unmask_cancel(void);

/* waiting: the primitive below everything else. Zero is not valid, use waitq_init. */
struct waitq {
	/* private */
	struct list waiters;
};

void waitq_init(struct waitq *q);
/* SUSPENDS until woken. Spurious wake-ups do not happen, but re-check what you wait for. */
MUST_USE SUSPENDS struct err *waitq_wait(struct waitq *q);
/* The same with a limit of its own: *ret_woken is false when ms ran out (no error then). */
MUST_USE SUSPENDS struct err *waitq_wait_ms(struct waitq *q, int64_t ms, bool *ret_woken);
/* From a fiber or from any loop callback. */
void waitq_wake_one(struct waitq *q);
void waitq_wake_all(struct waitq *q);

/* SUSPENDS until fd is ready for any of events (IO_READABLE, IO_WRITABLE). */
MUST_USE SUSPENDS struct err *fiber_wait_fd(int fd, unsigned events);

/* groups: children that end before their parent goes on */
struct fiber_group;

struct fiber_group *fiber_group_new(void);
void fiber_group_add(struct fiber_group *g, const char *name, fiber_fn fn, void *arg);
/* SUSPENDS until all ended; the first error cancels the rest and is returned. Frees g. */
MUST_USE SUSPENDS struct err *fiber_group_join(struct fiber_group *g);

/*
 * SUSPENDS: cancels all other fibers and gives them a second to end. For the end of a process,
 * before what they share is freed; fiber_main() does it last of all.
 */
SUSPENDS void fiber_stop_others(void);
/* Runs fn as the main fiber of a new loop until it ends (tests, CLI tools, component mains). */
MUST_USE struct err *fiber_main(fiber_fn fn, void *arg);
/* Prints the fiber tree (name, wait, age, deadline) to standard error; installed on SIGUSR1. */
void fiber_dump(void);
