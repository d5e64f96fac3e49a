/* SPDX-License-Identifier: Apache-2.0 */
#include "io/fiber.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/loop.h"
#include "testkit/test.h"

static struct waitq gate;
static int counter;

static struct err *count_up(void *arg)
{
	counter++;
	return NULL;
}

FIBER_TEST(spawned_runs_later)
{
	struct fiber *f;

	counter = 0;
	f = fiber_spawn(fiber_loop(), "count", count_up, NULL);
	assert_int_equal(counter, 0);
	assert_false(fiber_done(f));
	TRY(fiber_join(f));
	assert_int_equal(counter, 1);
	assert_true(fiber_done(f));
	TRY(fiber_join(f));
	fiber_unref(f);
	return NULL;
}

static struct err *fails(void *arg)
{
	return err_new(ERR_NOT_FOUND, "no such thing");
}

FIBER_TEST(join_returns_the_error_once)
{
	struct fiber *f = fiber_spawn(fiber_loop(), "fails", fails, NULL);

	assert_err(fiber_join(f), ERR_NOT_FOUND);
	assert_no_err(fiber_join(f));
	fiber_unref(f);
	/* unjoined errors are dropped */
	f = fiber_spawn(fiber_loop(), "fails", fails, NULL);
	fiber_unref(f);
	return fiber_yield();
}

static struct err *waits_at_gate(void *arg)
{
	struct err *e = waitq_wait(&gate);

	counter++;
	return e;
}

FIBER_TEST(waitq_wakes_in_order)
{
	struct fiber *f[3];

	counter = 0;
	waitq_init(&gate);
	for (int i = 0; i < 3; i++)
		f[i] = fiber_spawn(fiber_loop(), "gate", waits_at_gate, NULL);
	TRY(fiber_yield());
	TRY(fiber_yield());
	waitq_wake_one(&gate);
	TRY(fiber_join(f[0]));
	assert_int_equal(counter, 1);
	assert_false(fiber_done(f[1]));
	waitq_wake_all(&gate);
	TRY(fiber_join(f[1]));
	TRY(fiber_join(f[2]));
	for (int i = 0; i < 3; i++)
		fiber_unref(f[i]);
	return NULL;
}

FIBER_TEST(cancel_ends_a_wait_and_all_later_ones)
{
	struct fiber *f;

	waitq_init(&gate);
	f = fiber_spawn(fiber_loop(), "gate", waits_at_gate, NULL);
	TRY(fiber_yield());
	fiber_cancel(f);
	fiber_cancel(f);
	assert_err(fiber_join(f), ERR_CANCELED);
	assert_true(list_empty(&gate.waiters));
	fiber_unref(f);
	/* before it ran at all */
	f = fiber_spawn(fiber_loop(), "gate", waits_at_gate, NULL);
	fiber_cancel(f);
	assert_err(fiber_join(f), ERR_CANCELED);
	fiber_unref(f);
	return NULL;
}

FIBER_TEST(a_wake_up_is_not_lost_to_a_cancel)
{
	struct fiber *f;

	waitq_init(&gate);
	f = fiber_spawn(fiber_loop(), "gate", waits_at_gate, NULL);
	TRY(fiber_yield());
	waitq_wake_one(&gate);
	fiber_cancel(f);
	assert_no_err(fiber_join(f));
	fiber_unref(f);
	return NULL;
}

FIBER_TEST(deadlines)
{
	struct mono start = mono_now(), old = fiber_limit_ms(20), older;

	waitq_init(&gate);
	older = fiber_limit_ms(100000);
	assert_true(older.ns == fiber_deadline().ns);
	assert_err(waitq_wait(&gate), ERR_TIMEOUT);
	assert_true(mono_ms_since(start) >= 19 && mono_ms_since(start) < 5000);
	assert_err(waitq_wait(&gate), ERR_TIMEOUT);
	assert_err(fiber_check(), ERR_TIMEOUT);
	assert_err(fiber_yield(), ERR_TIMEOUT);
	fiber_restore_deadline(old);
	assert_no_err(fiber_check());
	return fiber_yield();
}

FIBER_TEST(limited_wait)
{
	bool woken = true;

	waitq_init(&gate);
	TRY(waitq_wait_ms(&gate, 5, &woken));
	assert_false(woken);
	assert_true(list_empty(&gate.waiters));
	TRY(waitq_wait_ms(&gate, 0, &woken));
	assert_false(woken);
	return NULL;
}

static struct err *masked(void *arg)
{
	struct mono start = mono_now();

	fiber_mask_cancel();
	fiber_limit_ms(1);
	assert_no_err(fiber_sleep_ms(10));
	assert_true(mono_ms_since(start) >= 9);
	assert_no_err(fiber_check());
	fiber_unmask_cancel();
	assert_err(fiber_sleep_ms(0), ERR_CANCELED);
	return NULL;
}

FIBER_TEST(masked_waits_run_on)
{
	struct fiber *f = fiber_spawn(fiber_loop(), "masked", masked, NULL);

	TRY(fiber_yield());
	fiber_cancel(f);
	TRY(fiber_join(f));
	fiber_unref(f);
	return NULL;
}

static struct err *sleeps_long(void *arg)
{
	struct err *e = fiber_sleep_ms(60000);

	counter++;
	return e;
}

FIBER_TEST(group_joins_all)
{
	struct fiber_group *g = fiber_group_new();

	counter = 0;
	for (int i = 0; i < 5; i++)
		fiber_group_add(g, "count", count_up, NULL);
	TRY(fiber_group_join(g));
	assert_int_equal(counter, 5);
	return fiber_group_join(fiber_group_new());
}

FIBER_TEST(group_error_cancels_the_rest)
{
	struct fiber_group *g = fiber_group_new();

	counter = 0;
	fiber_group_add(g, "long", sleeps_long, NULL);
	fiber_group_add(g, "fails", fails, NULL);
	fiber_group_add(g, "long", sleeps_long, NULL);
	assert_err(fiber_group_join(g), ERR_NOT_FOUND);
	assert_int_equal(counter, 2);
	return NULL;
}

static struct err *parent(void *arg)
{
	struct fiber_group *g = fiber_group_new();

	fiber_group_add(g, "long", sleeps_long, NULL);
	fiber_group_add(g, "long", sleeps_long, NULL);
	return fiber_group_join(g);
}

FIBER_TEST(canceled_parent_waits_for_its_children)
{
	struct fiber *f = fiber_spawn(fiber_loop(), "parent", parent, NULL);

	counter = 0;
	for (int i = 0; i < 4; i++)
		TRY(fiber_yield());
	fiber_cancel(f);
	assert_err(fiber_join(f), ERR_CANCELED);
	assert_int_equal(counter, 2);
	fiber_unref(f);
	return NULL;
}

FIBER_TEST(children_inherit_the_deadline)
{
	struct mono old = fiber_limit_ms(10);

	counter = 0;
	assert_err(parent(NULL), ERR_TIMEOUT);
	assert_int_equal(counter, 2);
	fiber_restore_deadline(old);
	return NULL;
}

static struct err *writes_later(void *arg)
{
	TRY(fiber_sleep_ms(5));
	assert_int_equal(write(*(int *)arg, "x", 1), 1);
	return NULL;
}

FIBER_TEST(waits_for_descriptors)
{
	int fds[2];
	struct fiber *f;
	struct mono old;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	TRY(fiber_wait_fd(fds[0], IO_WRITABLE));
	old = fiber_limit_ms(5);
	assert_err(fiber_wait_fd(fds[0], IO_READABLE), ERR_TIMEOUT);
	fiber_restore_deadline(old);
	f = fiber_spawn(fiber_loop(), "writer", writes_later, &fds[1]);
	TRY(fiber_wait_fd(fds[0], IO_READABLE));
	fiber_unref(f);
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static struct err *switcher(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		counter++;
		TRY(fiber_yield());
	}
	return NULL;
}

FIBER_TEST(many_fibers)
{
	struct fiber_group *g = fiber_group_new();

	counter = 0;
	for (int i = 0; i < 50; i++)
		fiber_group_add(g, "switcher", switcher, NULL);
	TRY(fiber_group_join(g));
	assert_int_equal(counter, 50000);
	return NULL;
}

/* Each stack has one. */
static int guard_pages(void)
{
	const unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512], perms[5];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += sscanf(line, "%lx-%lx %4s", &from, &to, perms) == 3 && to - from == page &&
		     strcmp(perms, "---p") == 0;
	fclose(f);
	return n;
}

static struct err *passes(void *arg)
{
	return fiber_yield();
}

static struct err *crowd(int n)
{
	struct fiber_group *g = fiber_group_new();

	for (int i = 0; i < n; i++)
		fiber_group_add(g, "one of many", passes, NULL);
	return fiber_group_join(g);
}

FIBER_TEST(stacks_are_kept_while_a_crowd_takes_them)
{
	int before = guard_pages(), many;

	for (int i = 0; i < 4; i++)
		TRY(crowd(200));
	many = guard_pages() - before;
	assert_true(many > 150);
	TRY(crowd(200));
	assert_int_equal(guard_pages() - before, many);
	for (int i = 0; i < 300; i++)
		TRY(crowd(2));
	assert_true(guard_pages() - before < 20);
	return NULL;
}

static struct err *leaves_others(void *arg)
{
	fiber_unref(fiber_spawn(fiber_loop(), "left", sleeps_long, NULL));
	return fiber_yield();
}

TEST(main_stops_what_is_left)
{
	counter = 0;
	assert_no_err(fiber_main(leaves_others, NULL));
	assert_int_equal(counter, 1);
	assert_err(fiber_main(fails, NULL), ERR_NOT_FOUND);
	assert_null(fiber_self());
}

TEST_MAIN(T(spawned_runs_later), T(join_returns_the_error_once), T(waitq_wakes_in_order),
	  T(cancel_ends_a_wait_and_all_later_ones), T(a_wake_up_is_not_lost_to_a_cancel),
	  T(deadlines), T(limited_wait), T(masked_waits_run_on), T(group_joins_all),
	  T(group_error_cancels_the_rest), T(canceled_parent_waits_for_its_children),
	  T(children_inherit_the_deadline), T(waits_for_descriptors), T(many_fibers),
	  T(stacks_are_kept_while_a_crowd_takes_them), T(main_stops_what_is_left))
