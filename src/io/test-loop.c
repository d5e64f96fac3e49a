/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "testkit/test.h"

static struct loop *loop;
static char trace[64];

static void note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof(trace));
	trace[n] = c;
	trace[n + 1] = 0;
}

static void begin(void)
{
	loop = loop_new();
	trace[0] = 0;
}

static void end(const char *expect)
{
	loop_run(loop);
	assert_string_equal(trace, expect);
	loop_free(loop);
}

static void on_a(struct timer *t)
{
	note('a');
}

static void on_b(struct timer *t)
{
	note('b');
}

static void on_stop(struct timer *t)
{
	note('.');
	loop_stop(loop);
}

TEST(timers_fire_in_order)
{
	struct timer a = { .fn = on_a }, b = { .fn = on_b }, c = { .fn = on_a },
		     stop = { .fn = on_stop };

	begin();
	timer_start(loop, &stop, 20);
	timer_start(loop, &a, 10);
	timer_start(loop, &b, 1);
	timer_start(loop, &c, 5);
	assert_true(timer_running(&c));
	timer_cancel(&c);
	timer_cancel(&c);
	assert_false(timer_running(&c));
	end("ba.");
}

TEST(timer_restart_moves_it)
{
	struct timer a = { .fn = on_a }, b = { .fn = on_b }, stop = { .fn = on_stop };

	begin();
	timer_start(loop, &a, 1);
	timer_start(loop, &a, 8);
	timer_start(loop, &b, 4);
	timer_start(loop, &stop, 1000);
	timer_start(loop, &stop, 12);
	end("ba.");
}

static struct timer many[500];
static int64_t last_at;

static void on_many(struct timer *t)
{
	assert_true(t->at.ns >= last_at);
	last_at = t->at.ns;
}

TEST(timer_heap_keeps_order)
{
	struct timer stop = { .fn = on_stop };
	unsigned seed = 1;

	begin();
	last_at = 0;
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = (struct timer){ .fn = on_many };
		timer_start(loop, &many[i], rand_r(&seed) % 10);
	}
	for (size_t i = 0; i < ARRAY_LEN(many); i += 3)
		timer_cancel(&many[i]);
	for (size_t i = 1; i < ARRAY_LEN(many); i += 3)
		timer_start(loop, &many[i], rand_r(&seed) % 10);
	timer_start(loop, &stop, 15);
	end(".");
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		assert_false(timer_running(&many[i]));
}

static struct task task_1, task_2, task_late;

static void on_task_2(struct task *t)
{
	note('2');
	loop_stop(loop);
}

static void on_task_1(struct task *t)
{
	note('1');
	task_post_late(loop, &task_late);
	task_post(loop, &task_2);
	task_post(loop, &task_2);
}

static void on_task_late(struct task *t)
{
	note('L');
}

TEST(tasks_run_before_late_ones)
{
	struct task gone = { .fn = on_task_late };

	begin();
	task_1 = (struct task){ .fn = on_task_1 };
	task_2 = (struct task){ .fn = on_task_2 };
	task_late = (struct task){ .fn = on_task_late };
	task_post(loop, &task_1);
	task_post(loop, &gone);
	task_cancel(&gone);
	end("12L");
}

struct pair {
	struct io_source src;
	int fds[2];
};

static void on_pair(struct io_source *src, unsigned events)
{
	struct pair *p = container_of(src, struct pair, src);
	char c;

	if (events & IO_WRITABLE) {
		note('w');
		assert_int_equal(write(p->fds[1], "x", 1), 1);
		io_source_set(src, IO_READABLE);
		return;
	}
	assert_int_equal(read(p->fds[0], &c, 1), 1);
	note(c);
	io_source_del(src);
	io_source_del(src);
	loop_stop(loop);
}

TEST(descriptors)
{
	struct pair p = { .src.fn = on_pair };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p.fds), 0);
	begin();
	io_source_add(loop, &p.src, p.fds[0], IO_READABLE | IO_WRITABLE);
	end("wx");
	close(p.fds[0]);
	close(p.fds[1]);
}

static void on_posted(void *p)
{
	note(*(char *)p);
	if (*(char *)p == 'z')
		loop_stop(loop);
}

static void *other_thread(void *arg)
{
	static char x = 'x', y = 'y', z = 'z';

	loop_post_from_thread(loop, on_posted, &x);
	loop_post_from_thread(loop, on_posted, &y);
	loop_post_from_thread(loop, on_posted, &z);
	return NULL;
}

TEST(posts_from_threads)
{
	pthread_t thread;

	begin();
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	end("xyz");
	pthread_join(thread, NULL);
}

static void on_signal(struct signal_source *s, int signo)
{
	assert_int_equal(signo, SIGUSR2);
	note('s');
	signal_source_del(s);
	loop_stop(loop);
}

TEST(signals)
{
	struct signal_source s = { .fn = on_signal };

	begin();
	signal_source_add(loop, &s, SIGUSR2);
	raise(SIGUSR2);
	end("s");
}

TEST_MAIN(T(timers_fire_in_order), T(timer_restart_moves_it), T(timer_heap_keeps_order),
	  T(tasks_run_before_late_ones), T(descriptors), T(posts_from_threads), T(signals))
