/* SPDX-License-Identifier: Apache-2.0 */
/* Lazy commits: seen at once, written later, never half, and no revision given twice. */
#include "testkit/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fiber.h"
#include "io/file.h"
#include "store/store.h"
#include "json/json.h"

static char dir[64];

static struct store *open_store(void)
{
	struct store_opts opts = { .path = dir, .map_size = 1u << 28, .lazy = true };
	struct store *s = NULL;

	assert_no_err(store_open(fiber_loop(), &opts, &s));
	return s;
}

static struct store *open_fresh(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-store-lazy-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open_store();
}

static void done(struct store *s)
{
	store_close(s);
	assert_no_err(file_remove_tree(dir));
}

static struct err *put_expect(struct store *s, const char *resource, const char *name, int val,
			      bool lazy, struct rev expect, struct rev *ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = NULL;
	struct json *tree = json_object(a);
	struct store_op op = { .key = { str_from(resource), STR("ns"), str_from(name) },
			       .expect = expect };
	size_t failed;
	struct err *e;

	json_set_at(a, tree, "metadata.name", json_strz(a, name));
	json_set_at(a, tree, "metadata.namespace", json_strz(a, "ns"));
	json_set_at(a, tree, "val", json_int(a, val));
	op.put = o = obj_new(tree, (struct rev){ 0 }, 0, NULL, 0);
	e = lazy ? store_commit_lazy(s, &op, 1, ret, &failed)
		 : store_commit(s, &op, 1, ret, &failed);
	obj_unref(op.result);
	return e;
}

static struct rev put(struct store *s, const char *resource, const char *name, int val, bool lazy)
{
	struct rev rev = { 0 };

	assert_no_err(put_expect(s, resource, name, val, lazy, STORE_ANY, &rev));
	return rev;
}

static int get(struct store *s, const char *name)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct store_key k = { STR("leases"), STR("ns"), str_from(name) };

	assert_no_err(store_get(s, &k, &o));
	return o ? (int)json_int_at(obj_tree(o), "val", -1) : -1;
}

static bool list_add(const struct obj *o, void *ctx)
{
	buf_addf(ctx, STR_FMT "=%d ", STR_ARG(o->name), (int)json_int_at(obj_tree(o), "val", -1));
	return true;
}

static void assert_list(struct store *s, struct rev at, const char *want)
{
	struct store_list_opts o = { .resource = STR("leases"), .ns = STR("ns"), .at = at };
	_cleanup_buf_ struct buf b = { 0 };
	struct store_list_result res;

	assert_no_err(store_list(s, &o, list_add, &b, &res));
	assert_str(buf_str(&b), want);
	if (at.n)
		assert_int_equal(res.rev.n, at.n);
}

static uint64_t syncs(struct store *s)
{
	struct store_stats st;

	store_get_stats(s, &st);
	return st.syncs;
}

struct seen {
	struct store_watch w;
	struct buf b;
	uint64_t last;
};

static void seen_event(struct store_watch *w, const struct store_event *ev)
{
	struct seen *seen = container_of(w, struct seen, w);

	assert_true(ev->rev.n > seen->last);
	seen->last = ev->rev.n;
	buf_addf(&seen->b, "%s%d<%d ", ev->type == STORE_PUT ? "" : "-",
		 (int)json_int_at(obj_tree(ev->obj), "val", -1),
		 ev->prev ? (int)json_int_at(obj_tree(ev->prev), "val", -1) : 0);
}

FIBER_TEST(reads_see_it_and_nothing_is_written)
{
	struct store *s = open_fresh();
	struct rev first = put(s, "leases", "a", 1, false), second, third;
	uint64_t before = syncs(s);
	struct err *e;

	second = put(s, "leases", "a", 2, true);
	assert_int_equal(second.n, first.n + 1);
	third = put(s, "leases", "b", 3, true);
	assert_int_equal(get(s, "a"), 2);
	assert_int_equal(get(s, "b"), 3);
	assert_list(s, (struct rev){ 0 }, "a=2 b=3 ");
	assert_list(s, third, "a=2 b=3 ");
	assert_list(s, second, "a=2 ");
	assert_list(s, first, "a=1 ");
	assert_int_equal(store_count(s, STR("leases")), 2);
	e = put_expect(s, "leases", "a", 9, true, first, &third);
	assert_true(e && err_is(e, ERR_CONFLICT));
	err_free(e);
	e = put_expect(s, "leases", "b", 9, true, (struct rev){ 0 }, &third);
	assert_true(e && err_is(e, ERR_CONFLICT));
	err_free(e);
	assert_no_err(put_expect(s, "leases", "a", 4, true, second, &third));
	assert_int_equal(get(s, "a"), 4);
	assert_int_equal(syncs(s), before);
	done(s);
	return NULL;
}

FIBER_TEST(any_other_commit_writes_it)
{
	struct store *s = open_fresh();
	struct rev from = put(s, "leases", "a", 1, false), at;
	uint64_t before = syncs(s);

	put(s, "leases", "a", 2, true);
	at = put(s, "leases", "a", 3, true);
	put(s, "pods", "p", 1, false);
	assert_int_equal(syncs(s), before + 1);
	put(s, "leases", "a", 4, true);
	assert_list(s, at, "a=3 ");
	assert_list(s, (struct rev){ 0 }, "a=4 ");
	store_close(s);
	s = open_store();
	assert_int_equal(get(s, "a"), 4); /* closing writes it, too */
	assert_list(s, from, "a=1 ");
	done(s);
	return NULL;
}

FIBER_TEST(watches_see_each_once)
{
	struct store *s = open_fresh();
	struct rev from = put(s, "leases", "a", 1, false);
	struct seen live = { .w.event = seen_event }, late = { .w.event = seen_event };
	struct store_key k = { STR("leases"), STR("ns"), STR("a") };
	struct store_op del = { .key = k, .expect = STORE_ANY };
	struct rev rev;
	size_t failed;

	assert_no_err(store_watch_start(s, &live.w, STR("leases"), STR_EMPTY, STR_EMPTY, from));
	put(s, "leases", "a", 2, true);
	put(s, "pods", "p", 1, false); /* writes 2 */
	put(s, "leases", "a", 3, true);
	put(s, "leases", "a", 4, true);
	assert_no_err(store_watch_start(s, &late.w, STR("leases"), STR_EMPTY, STR_EMPTY, from));
	put(s, "leases", "a", 5, true);
	assert_no_err(store_commit(s, &del, 1, &rev, &failed));
	obj_unref(del.result);
	assert_str(buf_str(&live.b), "2<1 3<2 4<3 5<4 -5<5 ");
	assert_str(buf_str(&late.b), "2<1 3<2 4<3 5<4 -5<5 ");
	assert_int_equal(get(s, "a"), -1);
	store_watch_cancel(&live.w);
	store_watch_cancel(&late.w);
	buf_fini(&live.b);
	buf_fini(&late.b);
	done(s);
	return NULL;
}

/* No commit comes by to drop what is too old. */
FIBER_TEST(history_goes_while_nothing_happens)
{
	struct store *s = open_fresh();
	struct rev last;
	struct mono began = mono_now();

	store_close(s);
	assert_no_err(store_open(
		fiber_loop(),
		&(struct store_opts){ .path = dir, .map_size = 1u << 28, .history_ms = 100 }, &s));
	for (int i = 1; i < 50; i++)
		last = put(s, "pods", "p", i, false);
	while (store_oldest_rev(s).n < last.n) {
		assert_true(mono_ms_since(began) < 10000);
		TRY(fiber_sleep_ms(10));
	}
	done(s);
	return NULL;
}

/* What is too old goes with what waits, not in a transaction of its own. */
FIBER_TEST(history_goes_with_lazy_commits)
{
	struct store *s = open_fresh();
	struct mono began;
	uint64_t before, oldest;

	store_close(s);
	assert_no_err(store_open(
		fiber_loop(),
		&(struct store_opts){
			.path = dir, .map_size = 1u << 28, .history_ms = 500, .lazy = true },
		&s));
	for (int i = 1; i < 10; i++)
		put(s, "pods", "p", i, false);
	put(s, "leases", "a", 1, true);
	oldest = store_oldest_rev(s).n;
	before = syncs(s);
	began = mono_now();
	while (mono_ms_since(began) < 1500) {
		assert_int_equal(syncs(s), before);
		TRY(fiber_sleep_ms(50));
	}
	put(s, "pods", "p", 10, false);
	assert_true(store_oldest_rev(s).n > oldest);
	done(s);
	return NULL;
}

FIBER_TEST(too_many_are_written)
{
	struct store *s = open_fresh();
	uint64_t before, writes;

	put(s, "leases", "a", 0, false);
	before = syncs(s);
	for (int i = 1; i <= 2500; i++)
		put(s, "leases", "a", i, true);
	writes = syncs(s) - before;
	assert_true(writes >= 2 && writes <= 3);
	assert_int_equal(get(s, "a"), 2500);
	done(s);
	return NULL;
}

/* ---- a crash ---- */

static struct err *child_run(void *arg)
{
	const int *fd = arg;
	struct store *s = open_store();
	uint64_t rev;

	put(s, "leases", "a", 1, false);
	for (int i = 2; i <= 10; i++)
		rev = put(s, "leases", "a", i, true).n;
	if (write(*fd, &rev, sizeof(rev)) != sizeof(rev))
		_exit(1);
	kill(getpid(), SIGKILL);
	return NULL;
}

static struct err *after_crash(void *arg)
{
	const uint64_t *rev = arg;
	struct store *s = open_store();

	assert_int_equal(get(s, "a"), 1);
	assert_true(store_rev(s).n > *rev);
	/* the first commit is never lazy: what it gives out is known to the next opening */
	assert_true(put(s, "leases", "a", 20, true).n > *rev);
	assert_int_equal(syncs(s), 1);
	store_close(s);
	return NULL;
}

TEST(no_revision_is_given_twice)
{
	uint64_t last = 0;

	snprintf(dir, sizeof(dir), "/tmp/test-store-lazy-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (int round = 0; round < 3; round++) {
		int fds[2], st;
		uint64_t rev = 0;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			err_ignore(fiber_main(child_run, &fds[1]), "it ends by SIGKILL");
			_exit(1);
		}
		assert_int_equal(read(fds[0], &rev, sizeof(rev)), sizeof(rev));
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(WIFSIGNALED(st));
		close(fds[0]);
		close(fds[1]);
		assert_true(rev > last);
		last = rev;
		assert_no_err(fiber_main(after_crash, &rev));
	}
	assert_no_err(file_remove_tree(dir));
}

TEST_MAIN(T(reads_see_it_and_nothing_is_written), T(any_other_commit_writes_it),
	  T(watches_see_each_once), T(history_goes_while_nothing_happens),
	  T(history_goes_with_lazy_commits), T(too_many_are_written), T(no_revision_is_given_twice))
