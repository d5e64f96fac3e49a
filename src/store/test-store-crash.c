/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child commits and tells its parent each acknowledged write through a pipe; it is killed at
 * a random moment. What was acknowledged must be there after reopening, whole and in order.
 */
#include "testkit/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"
#include "io/fiber.h"
#include "io/file.h"
#include "store/store.h"
#include "json/json.h"

#define ROUNDS  12
#define WRITERS 4

static char dir[] = "/tmp/test-store-crash-XXXXXX";
static int out_fd;

struct ack {
	uint64_t rev;
	int writer, val;
};

static struct store *open_store(void)
{
	struct store_opts opts = { .path = dir, .map_size = 1u << 28, .history_bytes = 65536 };
	struct store *s;

	assert_no_err(store_open(fiber_loop(), &opts, &s));
	return s;
}

static const struct obj *make(int writer, int val)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = json_object(a);

	json_set_at(a, o, "metadata.name", json_strf(a, "w%d", writer));
	json_set_at(a, o, "val", json_int(a, val));
	return obj_new(o, (struct rev){ 0 }, 0, NULL, 0);
}

struct writer {
	struct store *s;
	int id, val;
};

/* Two objects per transaction: a torn one would show as two values. */
static struct err *writer_run(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		_cleanup_obj_ const struct obj *o = make(w->id, ++w->val);
		_cleanup_arena_ struct arena *a = arena_new();
		struct str name = arena_fmt(a, "w%d", w->id);
		struct store_op ops[] = {
			{ .key = { STR("left"), STR(""), name }, .put = o, .expect = STORE_ANY },
			{ .key = { STR("right"), STR(""), name }, .put = o, .expect = STORE_ANY },
		};
		struct ack ack = { .writer = w->id, .val = w->val };
		struct rev rev;
		size_t failed;

		TRY(store_commit(w->s, ops, 2, &rev, &failed));
		obj_unref(ops[0].result);
		obj_unref(ops[1].result);
		ack.rev = rev.n;
		if (write(out_fd, &ack, sizeof(ack)) != sizeof(ack))
			_exit(1);
	}
}

static struct err *child_run(void *arg)
{
	const int *start = arg;
	struct store *s = open_store();
	struct writer w[WRITERS];
	struct fiber_group *g = fiber_group_new();

	for (int i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ .s = s, .id = i, .val = start[i] };
		fiber_group_add(g, "writer", writer_run, &w[i]);
	}
	return fiber_group_join(g);
}

static int value(struct store *s, const char *resource, int writer)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = NULL;
	struct store_key k = { str_from(resource), STR(""), arena_fmt(a, "w%d", writer) };

	assert_no_err(store_get(s, &k, &o));
	return o ? (int)json_int_at(obj_tree(o), "val", -1) : 0;
}

/* Kills a child after so many acknowledgements; acked is what it got through. */
static uint64_t crash(int *acked, unsigned n_acks)
{
	int fds[2], st;
	uint64_t rev = 0;
	struct ack ack;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		out_fd = fds[1];
		err_ignore(fiber_main(child_run, acked), "it ends by SIGKILL");
		_exit(1);
	}
	close(fds[1]);
	while (read(fds[0], &ack, sizeof(ack)) == sizeof(ack)) {
		acked[ack.writer] = ack.val;
		rev = ack.rev;
		if (n_acks && --n_acks == 0)
			kill(pid, SIGKILL);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st));
	close(fds[0]);
	return rev;
}

struct check {
	int acked[WRITERS];
	uint64_t rev;
};

static struct err *check_run(void *arg)
{
	struct check *c = arg;
	struct store *s = open_store();

	assert_true(store_rev(s).n >= c->rev);
	for (int i = 0; i < WRITERS; i++) {
		int l = value(s, "left", i);

		assert_int_equal(l, value(s, "right", i));
		/* At most the one that was under way is there beyond the acknowledged. */
		assert_true(l >= c->acked[i] && l <= c->acked[i] + 1);
		c->acked[i] = l;
	}
	store_close(s);
	return NULL;
}

TEST(acknowledged_survives_kill)
{
	struct check c = { .rev = 1 };

	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < ROUNDS; i++) {
		c.rev = crash(c.acked, 1 + (unsigned)rand_below(60));
		assert_no_err(fiber_main(check_run, &c));
	}
	assert_no_err(file_remove_tree(dir));
}

TEST_MAIN(T(acknowledged_survives_kill))
