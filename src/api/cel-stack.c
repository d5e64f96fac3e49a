/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One large stack for compilers and deep expressions, beside the small ones of fibers. What runs
 * on it does not suspend, so one is enough; it is reserved on first use, and its pages are given
 * back after each.
 */

#include <sys/mman.h>
#include <ucontext.h>

#include "api/cel-value.h"
#include "base/assert.h"
#include "io/fiber-stack.h"

#define CEL_STACK_SIZE ((size_t)64 << 20)
#define CEL_STACK_KEEP ((size_t)64 << 10)

static struct {
	char *base;
	bool busy;
	void (*fn)(void *arg);
	void *arg;
	ucontext_t caller, callee;
} stack;

static void cel_stack_entry(void)
{
#ifdef HAVE_ASAN
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(NULL, &bottom, &size);
#endif
	stack.fn(stack.arg);
#ifdef HAVE_ASAN
	__sanitizer_start_switch_fiber(NULL, bottom, size);
#endif
}

void cel_stack_call(void (*fn)(void *arg), void *arg)
{
#ifdef HAVE_ASAN
	void *fake;
#endif

	if (stack.busy) {
		fn(arg);
		return;
	}
	if (!stack.base) {
		stack.base = mmap(NULL, CEL_STACK_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
		ASSERT(stack.base != MAP_FAILED);
		ASSERT(mprotect(stack.base, 4096, PROT_NONE) == 0);
	}
	stack.busy = true;
	stack.fn = fn;
	stack.arg = arg;
	ASSERT(getcontext(&stack.callee) == 0);
	stack.callee.uc_stack.ss_sp = stack.base;
	stack.callee.uc_stack.ss_size = CEL_STACK_SIZE;
	stack.callee.uc_link = &stack.caller;
	makecontext(&stack.callee, cel_stack_entry, 0);
#ifdef HAVE_ASAN
	__sanitizer_start_switch_fiber(&fake, stack.base, CEL_STACK_SIZE);
#endif
	ASSERT(swapcontext(&stack.caller, &stack.callee) == 0);
#ifdef HAVE_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	stack.busy = false;
	(void)madvise(stack.base + 4096, CEL_STACK_SIZE - CEL_STACK_KEEP - 4096, MADV_DONTNEED);
}
