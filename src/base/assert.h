/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Assertions are always on and guard our own logic, never input. A failure prints the
 * condition and aborts; the supervisor restarts the component.
 */

#include "base/base.h"

NORETURN void assert_fail(const char *kind, const char *cond, const char *file, int line);

#define ASSERT_KIND_(kind, cond)                                      \
	do {                                                          \
		if (__builtin_expect(!(cond), 0))                     \
			assert_fail(kind, #cond, __FILE__, __LINE__); \
	} while (0)

#define ASSERT(cond)    ASSERT_KIND_("assertion", cond)
#define PRE(cond)       ASSERT_KIND_("precondition", cond)
#define POST(cond)      ASSERT_KIND_("postcondition", cond)
#define INVARIANT(cond) ASSERT_KIND_("invariant", cond)
#define UNREACHABLE()   assert_fail("unreachable", "reached", __FILE__, __LINE__)

/* Called by a panic before it aborts, to print what the process was doing (io registers it). */
void assert_set_panic_hook(void (*fn)(void));
