/* SPDX-License-Identifier: Apache-2.0 */
#include "io/fiber.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/fiber-stack.h"
#include "io/loop.h"

/*
 *   loop ──task──▶ fiber_resume ──switch──▶ fiber ──suspend──▶ loop
 *
 * Only the loop resumes fibers, always from a task, and a fiber always switches back to the
 * loop: wakers never run the woken. A fiber is NEW, READY (its task is posted), RUNNING,
 * WAITING, or DONE. What ended a wait is kept in `woken`; an explicit wake-up wins over a
 * cancel that comes in the same turn, so that it is never lost.
 *
 * The deadline's timer is started by the first wait and stays; it is not touched by waits.
 */

enum fiber_state { FIBER_NEW, FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_DONE };
enum fiber_wake { WAKE_NONE, WAKE_WOKEN, WAKE_LIMIT, WAKE_DEADLINE, WAKE_CANCEL };

struct fiber {
	struct list all;
	unsigned refs;
	enum fiber_state state;
	const char *name, *wait;
	fiber_fn fn;
	void *arg;
	struct loop *loop;
	struct fiber *parent; /* for the dump; only while it lives (groups) */
	struct fiber_group *group;
	struct list in_group;
	struct mono started, wait_since;
	struct mono deadline;
	struct timer deadline_timer, limit_timer;
	bool canceled;
	unsigned masked;
	struct task run;
	enum fiber_wake woken;
	struct list in_waitq;
	struct waitq joiners;
	struct err *result;
	struct fiber_stack *stack;
	void *sp;
#ifdef HAVE_ASAN
	void *fake_stack;
#endif
};

struct fiber_group {
	struct list fibers;
	struct waitq ended;
	struct err *error;
	bool stopped;
};

static _Thread_local struct fiber *current;
static _Thread_local void *loop_sp;
static _Thread_local struct list all_fibers;
#ifdef HAVE_ASAN
static _Thread_local const void *loop_stack_bottom;
static _Thread_local size_t loop_stack_size;
#endif

/* into a fiber and out of it */

static void fiber_leave(struct fiber *f)
{
#ifdef HAVE_ASAN
	/* No place to keep the fake stack: it is destroyed with the fiber. */
	__sanitizer_start_switch_fiber(f->state == FIBER_DONE ? NULL : &f->fake_stack,
				       loop_stack_bottom, loop_stack_size);
#endif
	fiber_switch(&f->sp, loop_sp);
#ifdef HAVE_ASAN
	__sanitizer_finish_switch_fiber(f->fake_stack, &loop_stack_bottom, &loop_stack_size);
#endif
}

static void fiber_group_ended(struct fiber *f);

static void fiber_entry(void)
{
	struct fiber *f = current;

#ifdef HAVE_ASAN
	__sanitizer_finish_switch_fiber(NULL, &loop_stack_bottom, &loop_stack_size);
#endif
	f->result = f->fn(f->arg);
	f->state = FIBER_DONE;
	fiber_leave(f);
	UNREACHABLE();
}

static void fiber_end(struct fiber *f)
{
	timer_cancel(&f->deadline_timer);
	timer_cancel(&f->limit_timer);
	fiber_stack_put(TAKE(f->stack));
	list_unlink(&f->all);
	if (f->group)
		fiber_group_ended(f);
	waitq_wake_all(&f->joiners);
	fiber_unref(f);
}

static void fiber_resume(struct task *t)
{
	struct fiber *f = container_of(t, struct fiber, run);
#ifdef HAVE_ASAN
	void *fake;
#endif

	ASSERT(!current && (f->state == FIBER_NEW || f->state == FIBER_READY));
	if (f->state == FIBER_NEW) {
		f->stack = fiber_stack_get();
		f->sp = fiber_stack_prepare(f->stack, fiber_entry);
	}
	f->state = FIBER_RUNNING;
	current = f;
#ifdef HAVE_ASAN
	__sanitizer_start_switch_fiber(&fake, fiber_stack_bottom(f->stack), FIBER_STACK_SIZE);
#endif
	fiber_switch(&loop_sp, f->sp);
#ifdef HAVE_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	current = NULL;
	if (f->state == FIBER_DONE)
		fiber_end(f);
}

/* waking */

static void fiber_wake(struct fiber *f, enum fiber_wake why)
{
	if (f->state != FIBER_WAITING)
		return;
	f->woken = why;
	f->state = FIBER_READY;
	list_unlink(&f->in_waitq);
	timer_cancel(&f->limit_timer);
	task_post(f->loop, &f->run);
}

static void fiber_on_deadline(struct timer *t)
{
	struct fiber *f = container_of(t, struct fiber, deadline_timer);

	if (!f->masked)
		fiber_wake(f, WAKE_DEADLINE);
}

static void fiber_on_limit(struct timer *t)
{
	fiber_wake(container_of(t, struct fiber, limit_timer), WAKE_LIMIT);
}

struct err *fiber_check(void)
{
	struct fiber *f = current;

	PRE(f);
	if (f->masked)
		return NULL;
	if (f->canceled)
		return err_new(ERR_CANCELED, "canceled");
	if (f->deadline.ns != INT64_MAX && mono_now().ns >= f->deadline.ns)
		return err_new(ERR_TIMEOUT, "deadline exceeded");
	return NULL;
}

/*
 * SUSPENDS. The caller checked fiber_check() and arranged for a wake-up. ms < 0 is no limit.
 * Only a deadline and a cancel give an error.
 */
static enum fiber_wake fiber_suspend(const char *wait, int64_t limit_ms, struct err **ret)
{
	struct fiber *f = current;

	ASSERT(f->state == FIBER_RUNNING);
	f->wait = wait;
	f->wait_since = mono_now();
	f->woken = WAKE_NONE;
	f->state = FIBER_WAITING;
	if (f->deadline.ns != INT64_MAX && !f->masked && !timer_running(&f->deadline_timer))
		timer_start_at(f->loop, &f->deadline_timer, f->deadline);
	if (limit_ms >= 0)
		timer_start_at(f->loop, &f->limit_timer, mono_add_ms(f->wait_since, limit_ms));
	fiber_leave(f);
	f->wait = NULL;
	*ret = NULL;
	if (f->woken == WAKE_DEADLINE)
		*ret = err_new(ERR_TIMEOUT, "deadline exceeded");
	else if (f->woken == WAKE_CANCEL)
		*ret = err_new(ERR_CANCELED, "canceled");
	return f->woken;
}

/* spawning */

static struct fiber *fiber_new(struct loop *l, const char *name, fiber_fn fn, void *arg)
{
	struct fiber *f = mem_new(struct fiber);

	f->refs = 2; /* the caller's and the running fiber's own */
	f->name = name;
	f->fn = fn;
	f->arg = arg;
	f->loop = l;
	f->started = mono_now();
	f->deadline.ns = INT64_MAX;
	f->deadline_timer.fn = fiber_on_deadline;
	f->limit_timer.fn = fiber_on_limit;
	f->run.fn = fiber_resume;
	waitq_init(&f->joiners);
	if (!all_fibers.next)
		list_init(&all_fibers);
	list_push_back(&all_fibers, &f->all);
	task_post(l, &f->run);
	return f;
}

struct fiber *fiber_spawn(struct loop *l, const char *name, fiber_fn fn, void *arg)
{
	return fiber_new(l, name, fn, arg);
}

struct fiber *fiber_unref(struct fiber *f)
{
	if (f && --f->refs == 0) {
		err_ignore(f->result, "nobody joined");
		free(f);
	}
	return NULL;
}

void fiber_cancel(struct fiber *f)
{
	if (!f || f->state == FIBER_DONE)
		return;
	f->canceled = true;
	if (!f->masked)
		fiber_wake(f, WAKE_CANCEL);
}

bool fiber_done(const struct fiber *f)
{
	return f->state == FIBER_DONE;
}

struct err *fiber_join(struct fiber *f)
{
	PRE(current && f != current);
	while (f->state != FIBER_DONE)
		TRY(waitq_wait(&f->joiners));
	return TAKE(f->result);
}

/* the calling fiber */

struct fiber *fiber_self(void)
{
	return current;
}

struct loop *fiber_loop(void)
{
	PRE(current);
	return current->loop;
}

struct mono fiber_limit_ms(int64_t ms)
{
	struct fiber *f = current;
	struct mono old, wanted = mono_add_ms(mono_now(), ms);

	PRE(f);
	old = f->deadline;
	if (wanted.ns < f->deadline.ns) {
		f->deadline = wanted;
		timer_cancel(&f->deadline_timer);
	}
	return old;
}

void fiber_restore_deadline(struct mono old)
{
	PRE(current);
	current->deadline = old;
	timer_cancel(&current->deadline_timer);
}

struct mono fiber_deadline(void)
{
	PRE(current);
	return current->deadline;
}

void fiber_mask_cancel(void)
{
	PRE(current);
	current->masked++;
}

void fiber_unmask_cancel(void)
{
	PRE(current && current->masked);
	current->masked--;
	/* A deadline that passed meanwhile is found by fiber_check. */
}

struct err *fiber_sleep_ms(int64_t ms)
{
	struct err *e;

	TRY(fiber_check());
	fiber_suspend("sleep", MAX(ms, 0), &e);
	return e;
}

struct err *fiber_yield(void)
{
	struct err *e;

	TRY(fiber_check());
	current->state = FIBER_READY;
	current->woken = WAKE_WOKEN;
	task_post(current->loop, &current->run);
	fiber_leave(current);
	e = fiber_check();
	return e;
}

/* wait queues */

void waitq_init(struct waitq *q)
{
	list_init(&q->waiters);
}

static enum fiber_wake waitq_suspend(struct waitq *q, const char *wait, int64_t ms,
				     struct err **ret)
{
	PRE(current && q->waiters.next);
	*ret = fiber_check();
	if (*ret)
		return WAKE_NONE;
	list_push_back(&q->waiters, &current->in_waitq);
	return fiber_suspend(wait, ms, ret);
}

struct err *waitq_wait(struct waitq *q)
{
	struct err *e;

	waitq_suspend(q, "waitq", -1, &e);
	return e;
}

struct err *waitq_wait_ms(struct waitq *q, int64_t ms, bool *ret_woken)
{
	struct err *e;

	*ret_woken = waitq_suspend(q, "waitq", MAX(ms, 0), &e) == WAKE_WOKEN;
	return e;
}

void waitq_wake_one(struct waitq *q)
{
	if (!list_empty(&q->waiters))
		fiber_wake(list_first(&q->waiters, struct fiber, in_waitq), WAKE_WOKEN);
}

void waitq_wake_all(struct waitq *q)
{
	while (!list_empty(&q->waiters))
		waitq_wake_one(q);
}

/* descriptors */

struct fd_wait {
	struct io_source src;
	struct fiber *fiber;
};

static void fiber_on_fd(struct io_source *src, unsigned events UNUSED)
{
	struct fd_wait *w = container_of(src, struct fd_wait, src);

	io_source_set(src, 0);
	fiber_wake(w->fiber, WAKE_WOKEN);
}

struct err *fiber_wait_fd(int fd, unsigned events)
{
	struct fd_wait w = { .src.fn = fiber_on_fd, .fiber = current };
	struct err *e;

	TRY(fiber_check());
	io_source_add(current->loop, &w.src, fd, events);
	fiber_suspend("fd", -1, &e);
	io_source_del(&w.src);
	return e;
}

/* groups */

struct fiber_group *fiber_group_new(void)
{
	struct fiber_group *g = mem_new(struct fiber_group);

	PRE(current);
	list_init(&g->fibers);
	waitq_init(&g->ended);
	return g;
}

static void fiber_group_cancel(struct fiber_group *g)
{
	struct fiber *f, *tmp;

	g->stopped = true;
	list_for_each_safe(f, tmp, &g->fibers, in_group)
		fiber_cancel(f);
}

static void fiber_group_ended(struct fiber *f)
{
	struct fiber_group *g = f->group;

	list_unlink(&f->in_group);
	if (f->result && !g->error) {
		g->error = TAKE(f->result);
		fiber_group_cancel(g);
	}
	waitq_wake_all(&g->ended);
}

void fiber_group_add(struct fiber_group *g, const char *name, fiber_fn fn, void *arg)
{
	struct fiber *f;

	PRE(current);
	f = fiber_new(current->loop, name, fn, arg);
	f->parent = current;
	f->deadline = current->deadline;
	f->canceled = g->stopped;
	f->group = g;
	list_push_back(&g->fibers, &f->in_group);
	fiber_unref(f);
}

struct err *fiber_group_join(struct fiber_group *g)
{
	struct err *e = NULL;

	while (!e && !list_empty(&g->fibers))
		waitq_suspend(&g->ended, "group", -1, &e);
	if (e) {
		/* The parent must stop: so must the children, and it still waits for them. */
		bool child_first = g->error;

		fiber_group_cancel(g);
		fiber_mask_cancel();
		while (!list_empty(&g->fibers))
			err_ignore(waitq_wait(&g->ended), "masked");
		fiber_unmask_cancel();
		if (child_first)
			e = err_free(e);
		else
			g->error = err_free(g->error);
	}
	if (g->error)
		e = TAKE(g->error);
	free(g);
	return e;
}

/* debugging */

static void fiber_dump_one(const struct fiber *f, int depth)
{
	static const char *const states[] = { "new", "ready", "running", "waiting", "done" };
	const struct fiber *child;
	char left[32] = "none";

	if (f->deadline.ns != INT64_MAX)
		snprintf(left, sizeof(left), "%lld ms",
			 (long long)((f->deadline.ns - mono_now().ns) / NS_PER_MS));
	dprintf(STDERR_FILENO, "%*s%s: %s%s%s, age %lld ms, deadline %s%s%s\n", 2 * depth + 2, "",
		f->name, states[f->state], f->wait ? " " : "", f->wait ? f->wait : "",
		(long long)mono_ms_since(f->started), left, f->canceled ? ", canceled" : "",
		f->masked ? ", masked" : "");
	list_for_each(child, &all_fibers, all)
		if (child->parent == f)
			fiber_dump_one(child, depth + 1);
}

void fiber_dump(void)
{
	const struct fiber *f;

	if (current)
		dprintf(STDERR_FILENO, "running fiber: %s\n", current->name);
	dprintf(STDERR_FILENO, "fibers:\n");
	if (!all_fibers.next)
		return;
	list_for_each(f, &all_fibers, all)
		if (!f->parent)
			fiber_dump_one(f, 0);
}

#ifndef HAVE_ASAN
/* Tells an overflow of a fiber's stack from other crashes. Runs on a stack of its own. */
static void fiber_on_segv(int signo, siginfo_t *info, void *uc UNUSED)
{
	const struct fiber *f = current;
	const char *at = info->si_addr;

	if (f && f->stack && fiber_stack_overflowed(f->stack, at))
		dprintf(STDERR_FILENO, "fiber %s: stack overflow\n", f->name);
	else if (f)
		dprintf(STDERR_FILENO, "crash in fiber %s\n", f->name);
	signal(signo, SIG_DFL);
	raise(signo);
}

static void fiber_watch_overflow(void)
{
	static char alt[16384];
	const stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) };
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };

	sa.sa_sigaction = fiber_on_segv;
	if (sigaltstack(&ss, NULL) == 0)
		sigaction(SIGSEGV, &sa, NULL);
}
#else
static void fiber_watch_overflow(void)
{
}
#endif

/* main */

struct fiber_main {
	struct loop *loop;
	fiber_fn fn;
	void *arg;
};

void fiber_stop_others(void)
{
	struct mono start = mono_now();
	struct fiber *f, *tmp;

	fiber_mask_cancel();
	while (current->all.next != current->all.prev && mono_ms_since(start) < 1000) {
		list_for_each_safe(f, tmp, &all_fibers, all)
			if (f != current)
				fiber_cancel(f);
		err_ignore(fiber_sleep_ms(1), "masked");
	}
	fiber_unmask_cancel();
}

static struct err *fiber_main_run(void *arg)
{
	struct fiber_main *m = arg;
	struct err *e = m->fn(m->arg);

	fiber_stop_others();
	loop_stop(m->loop);
	return e;
}

static void fiber_on_dump_signal(struct signal_source *s UNUSED, int signo UNUSED)
{
	fiber_dump();
}

struct err *fiber_main(fiber_fn fn, void *arg)
{
	struct fiber_main m = { .loop = loop_new(), .fn = fn, .arg = arg };
	struct signal_source dump = { .fn = fiber_on_dump_signal };
	struct fiber *f;
	struct err *e;

	/* A test that failed in a fiber jumped out of it. */
	current = NULL;
	list_init(&all_fibers);
	assert_set_panic_hook(fiber_dump);
	fiber_watch_overflow();
	signal_source_add(m.loop, &dump, SIGUSR1);
	f = fiber_spawn(m.loop, "main", fiber_main_run, &m);
	loop_run(m.loop);
	ASSERT(fiber_done(f));
	e = TAKE(f->result);
	fiber_unref(f);
	signal_source_del(&dump);
	fiber_stack_trim();
	loop_free(m.loop);
	return e;
}
