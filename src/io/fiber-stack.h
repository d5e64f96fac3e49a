/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Stacks of fibers and the switch between them; for fiber.c only. A stack that is not running
 * is known by one pointer, which the switch stores and takes.
 */

#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

struct fiber_stack;

/* FIBER_STACK_SIZE bytes above a guard page; from a small pool. */
struct fiber_stack *fiber_stack_get(void);
void fiber_stack_put(struct fiber_stack *s);
/* Empties the pool. */
void fiber_stack_trim(void);
/* The lowest usable byte. */
const char *fiber_stack_bottom(const struct fiber_stack *s);
/* Whether an access at p was one below the stack. */
bool fiber_stack_overflowed(const struct fiber_stack *s, const char *p);
/* What to switch to so that entry, which must not return, begins on s. */
void *fiber_stack_prepare(struct fiber_stack *s, void (*entry)(void));
/*
 * Saves the callee-saved registers on the current stack, stores its pointer in *save and goes
 * on where the stack `load` was left.
 */
void fiber_switch(void **save, void *load);
