/* SPDX-License-Identifier: Apache-2.0 */
#include "io/fiber-stack.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "io/fiber.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(lo, hi) 0
#define VALGRIND_STACK_DEREGISTER(id)   (void)(id)
#endif

/*
 * A crowd of requests takes its stacks from the spare ones, for mapping and faulting in a stack
 * costs as much as a small request. What was not taken while SPARE_PERIOD came back goes.
 */
#define MAX_SPARE_STACKS 256
#define SPARE_PERIOD     256

/* | guard page | FIBER_STACK_SIZE, whose last bytes are this | */
struct fiber_stack {
	struct fiber_stack *next; /* spare ones */
	char *base;               /* of the mapping */
	unsigned valgrind_id;
};

static _Thread_local struct fiber_stack *spare_stacks;
static _Thread_local unsigned n_spare_stacks;
static _Thread_local unsigned n_untouched_stacks; /* the fewest spare ones in this period */
static _Thread_local unsigned n_puts;

/* the switch */

static char *fiber_stack_top(struct fiber_stack *s)
{
	return (char *)((uintptr_t)s & ~(uintptr_t)15);
}

#if defined(__x86_64__) && !defined(FIBER_UCONTEXT)
__asm__(".text\n"
	".align 16\n"
	".globl fiber_switch\n"
	".hidden fiber_switch\n"
	".type fiber_switch, @function\n"
	"fiber_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_switch, .-fiber_switch\n");

void *fiber_stack_prepare(struct fiber_stack *s, void (*entry)(void))
{
	void **sp = (void **)(void *)fiber_stack_top(s); /* 16-byte aligned */

	*--sp = NULL; /* where entry would return to: ends backtraces */
	*--sp = (void *)(uintptr_t)entry;
	for (int i = 0; i < 6; i++)
		*--sp = NULL;
	return sp;
}
#elif defined(__aarch64__) && !defined(FIBER_UCONTEXT)
__asm__(".text\n"
	".align 4\n"
	".globl fiber_switch\n"
	".hidden fiber_switch\n"
	".type fiber_switch, %function\n"
	"fiber_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size fiber_switch, .-fiber_switch\n");

void *fiber_stack_prepare(struct fiber_stack *s, void (*entry)(void))
{
	void **sp = (void **)(void *)(fiber_stack_top(s) - 160);

	memset(sp, 0, 160);
	sp[11] = (void *)(uintptr_t)entry; /* x30 */
	return sp;
}
#else
#include <ucontext.h>

struct fiber_context {
	ucontext_t uc;
};

void fiber_switch(void **save, void *load)
{
	struct fiber_context here, *to = load;

	*save = &here;
	ASSERT(swapcontext(&here.uc, &to->uc) == 0);
}

void *fiber_stack_prepare(struct fiber_stack *s, void (*entry)(void))
{
	char *top = fiber_stack_top(s);
	struct fiber_context *c = (struct fiber_context *)(void *)(top - sizeof(*c));

	ASSERT(getcontext(&c->uc) == 0);
	c->uc.uc_stack.ss_sp = top - FIBER_STACK_SIZE + sizeof(struct fiber_stack);
	c->uc.uc_stack.ss_size = FIBER_STACK_SIZE - 2 * sizeof(struct fiber_stack) - sizeof(*c);
	c->uc.uc_link = NULL;
	makecontext(&c->uc, entry, 0);
	return c;
}
#endif

/* stacks */

static size_t page_size(void)
{
	static size_t size;

	if (!size)
		size = (size_t)sysconf(_SC_PAGESIZE);
	return size;
}

static void stack_unmap(struct fiber_stack *s)
{
	VALGRIND_STACK_DEREGISTER(s->valgrind_id);
	munmap(s->base, page_size() + FIBER_STACK_SIZE);
}

static struct fiber_stack *spare_pop(void)
{
	struct fiber_stack *s = spare_stacks;

	if (s) {
		spare_stacks = s->next;
		n_spare_stacks--;
	}
	return s;
}

struct fiber_stack *fiber_stack_get(void)
{
	struct fiber_stack *s = spare_pop();
	size_t guard = page_size();
	char *base;

	n_untouched_stacks = MIN(n_untouched_stacks, n_spare_stacks);
	if (s)
		return s;
	base = mmap(NULL, guard + FIBER_STACK_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	ASSERT(base != MAP_FAILED);
	ASSERT(mprotect(base, guard, PROT_NONE) == 0);
	s = (struct fiber_stack *)(void *)(base + guard + FIBER_STACK_SIZE - sizeof(*s));
	s->base = base;
	s->valgrind_id = VALGRIND_STACK_REGISTER(base + guard, (char *)s);
	return s;
}

void fiber_stack_put(struct fiber_stack *s)
{
	if (n_spare_stacks >= MAX_SPARE_STACKS) {
		stack_unmap(s);
	} else {
		s->next = spare_stacks;
		spare_stacks = s;
		n_spare_stacks++;
	}
	if (++n_puts < SPARE_PERIOD)
		return;
	while (n_untouched_stacks) {
		stack_unmap(spare_pop());
		n_untouched_stacks--;
	}
	n_untouched_stacks = n_spare_stacks;
	n_puts = 0;
}

void fiber_stack_trim(void)
{
	while (spare_stacks)
		stack_unmap(spare_pop());
	n_untouched_stacks = 0;
}

const char *fiber_stack_bottom(const struct fiber_stack *s)
{
	return s->base + page_size();
}

bool fiber_stack_overflowed(const struct fiber_stack *s, const char *p)
{
	return p >= s->base && p < fiber_stack_bottom(s);
}
