/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

static void (*panic_hook)(void);

void assert_set_panic_hook(void (*fn)(void))
{
	panic_hook = fn;
}

void assert_fail(const char *kind, const char *cond, const char *file, int line)
{
	void (*hook)(void) = panic_hook;

	fprintf(stderr, "panic: %s failed: %s (%s:%d)\n", kind, cond, file, line);
	panic_hook = NULL;
	if (hook)
		hook();
	abort();
}
