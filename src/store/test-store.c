/* SPDX-License-Identifier: Apache-2.0 */
#include "store/test-store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/selector.h"
#include "base/mem.h"

/* ---- the basics ---- */

FIBER_TEST(put_get_delete)
{
	struct store *s = open_fresh();
	struct rev r1, r2;

	assert_int_equal(store_rev(s).n, 1);
	assert_int_equal(get(s, "a", "x"), -1);
	r1 = put(s, "a", "x", 1);
	assert_int_equal(r1.n, 2);
	assert_int_equal(get(s, "a", "x"), 1);
	r2 = put(s, "a", "x", 2);
	assert_true(r2.n > r1.n);
	assert_int_equal(get(s, "a", "x"), 2);
	assert_int_equal(store_count(s, STR("pods")), 1);
	assert_true(del(s, "a", "x").n > r2.n);
	assert_int_equal(get(s, "a", "x"), -1);
	assert_int_equal(store_count(s, STR("pods")), 0);
	/* Deleting nothing takes no revision. */
	r1 = store_rev(s);
	assert_int_equal(del(s, "a", "x").n, r1.n);
	done(s);
	return NULL;
}

FIBER_TEST(expectations)
{
	struct store *s = open_fresh();
	struct rev r, none;
	struct store_op op = { .key = key("pods", "a", "x"), .expect = { 77 } };
	size_t failed = 9;

	assert_no_err(put_expect(s, "a", "x", 1, (struct rev){ 0 }, &r));
	assert_err(put_expect(s, "a", "x", 2, (struct rev){ 0 }, &none), ERR_CONFLICT);
	assert_err(put_expect(s, "a", "x", 2, (struct rev){ r.n + 1 }, &none), ERR_CONFLICT);
	assert_err(put_expect(s, "a", "new", 2, r, &none), ERR_CONFLICT);
	assert_int_equal(get(s, "a", "x"), 1);
	assert_no_err(put_expect(s, "a", "x", 2, r, &none));
	/* The conflict shows what is there. */
	assert_err(store_commit(s, &op, 1, &none, &failed), ERR_CONFLICT);
	assert_int_equal(failed, 0);
	assert_int_equal(val_of(op.result), 2);
	obj_unref(op.result);
	done(s);
	return NULL;
}

FIBER_TEST(transactions_are_whole)
{
	struct store *s = open_fresh();
	_cleanup_obj_ const struct obj *x = make("a", "x", 1, NULL), *y = make("a", "y", 2, NULL);
	struct store_op ops[] = {
		{ .key = key("pods", "a", "x"), .put = x, .expect = { 0 } },
		{ .key = key("pods", "a", "y"), .put = y, .expect = { 5 } },
	};
	struct rev rev;
	size_t failed = 9;

	assert_err(store_commit(s, ops, 2, &rev, &failed), ERR_CONFLICT);
	assert_int_equal(failed, 1);
	assert_int_equal(get(s, "a", "x"), -1);
	ops[1].expect.n = 0;
	assert_no_err(store_commit(s, ops, 2, &rev, &failed));
	assert_int_equal(ops[0].result->rev.n, rev.n);
	assert_int_equal(ops[1].result->rev.n, rev.n);
	obj_unref(ops[0].result);
	obj_unref(ops[1].result);
	assert_int_equal(store_count(s, STR("pods")), 2);
	done(s);
	return NULL;
}

FIBER_TEST(bad_keys)
{
	struct store *s = open_fresh();
	_cleanup_free_ char *ns = mem_zalloc(1, 80);
	const struct obj *o;
	struct store_key k = key("pods", "a", "");

	memset(ns, 'n', 79);
	assert_err(store_get(s, &k, &o), ERR_BAD_REQUEST);
	k = key("pods", ns, "x");
	assert_err(store_get(s, &k, &o), ERR_BAD_REQUEST);
	k = (struct store_key){ STR("pods"), STR(""), STR("a\0b") };
	assert_err(store_get(s, &k, &o), ERR_BAD_REQUEST);
	done(s);
	return NULL;
}

FIBER_TEST(long_names)
{
	struct store *s = open_fresh();
	_cleanup_free_ char *a = mem_zalloc(1, 2001), *b = mem_zalloc(1, 2001);

	memset(a, 'n', 2000);
	memset(b, 'n', 2000);
	b[1999] = 'm';
	put(s, "", a, 1);
	put(s, "", b, 2);
	assert_int_equal(get(s, "", a), 1);
	assert_int_equal(get(s, "", b), 2);
	del(s, "", a);
	assert_int_equal(get(s, "", a), -1);
	assert_int_equal(get(s, "", b), 2);
	done(s);
	return NULL;
}

/* ---- lists ---- */

static bool keep_odd(const struct obj *o)
{
	return val_of(o) % 2;
}

FIBER_TEST(lists_and_pages)
{
	struct store *s = open_fresh();
	_cleanup_arena_ struct arena *a = arena_new();
	struct text t = { 0 };
	struct store_list_result r;
	struct selector *sel;

	put(s, "b", "x", 1);
	put(s, "a", "y", 2);
	put(s, "a", "x", 3);
	put(s, "a-b", "z", 4);
	list(s, (struct store_list_opts){ 0 }, &t);
	assert_str(buf_str(&t.b), "a/x=3 a/y=2 a-b/z=4 b/x=1 ");
	r = list(s, (struct store_list_opts){ .ns = STR("a") }, &t);
	assert_str(buf_str(&t.b), "a/x=3 a/y=2 ");
	assert_false(r.more);
	assert_int_equal(r.rev.n, store_rev(s).n);
	r = list(s, (struct store_list_opts){ .limit = 1 }, &t);
	assert_str(buf_str(&t.b), "a/x=3 ");
	assert_true(r.more);
	assert_int_equal(r.remaining, 3);
	r = list(s,
		 (struct store_list_opts){
			 .limit = 2, .after_ns = STR("a"), .after_name = STR("x") },
		 &t);
	assert_str(buf_str(&t.b), "a/y=2 a-b/z=4 ");
	assert_int_equal(r.remaining, 1);
	r = list(s,
		 (struct store_list_opts){
			 .limit = 2, .after_ns = STR("a-b"), .after_name = STR("z") },
		 &t);
	assert_str(buf_str(&t.b), "b/x=1 ");
	assert_false(r.more);
	r = list(s, (struct store_list_opts){ .bytes = 1 }, &t);
	assert_str(buf_str(&t.b), "a/x=3 ");
	assert_true(r.more);
	r = list(s, (struct store_list_opts){ .bytes = 1 << 20 }, &t);
	assert_str(buf_str(&t.b), "a/x=3 a/y=2 a-b/z=4 b/x=1 ");
	assert_false(r.more);
	t.keep = keep_odd;
	list(s, (struct store_list_opts){ .limit = 2 }, &t);
	assert_str(buf_str(&t.b), "a/x=3 b/x=1 ");
	t.keep = NULL;
	assert_no_err(label_selector_parse(a, STR("app=even"), &sel));
	list(s, (struct store_list_opts){ .labels = sel }, &t);
	assert_str(buf_str(&t.b), "a/y=2 a-b/z=4 ");
	assert_no_err(field_selector_parse(a, STR("spec.val=4"), &sel));
	list(s, (struct store_list_opts){ .fields = sel }, &t);
	assert_str(buf_str(&t.b), "a-b/z=4 ");
	buf_fini(&t.b);
	done(s);
	return NULL;
}

FIBER_TEST(lists_of_the_past)
{
	struct store *s = open_fresh();
	struct text t = { 0 };
	struct rev at;
	struct store_list_result r;
	struct store_list_opts future = { .resource = STR("pods"), .at = { 1000 } };

	put(s, "a", "b", 1);
	put(s, "a", "c", 2);
	at = put(s, "a", "d", 3);
	del(s, "a", "b");
	put(s, "a", "c", 20);
	put(s, "a", "a", 9);
	put(s, "a", "e", 9);
	del(s, "a", "e");
	r = list(s, (struct store_list_opts){ .at = at }, &t);
	assert_str(buf_str(&t.b), "a/b=1 a/c=2 a/d=3 ");
	assert_int_equal(r.rev.n, at.n);
	r = list(s, (struct store_list_opts){ .at = at, .limit = 1 }, &t);
	assert_str(buf_str(&t.b), "a/b=1 ");
	assert_int_equal(r.remaining, 2);
	list(s, (struct store_list_opts){ .at = at, .after_ns = STR("a"), .after_name = STR("b") },
	     &t);
	assert_str(buf_str(&t.b), "a/c=2 a/d=3 ");
	list(s, (struct store_list_opts){ .at = store_rev(s) }, &t);
	assert_str(buf_str(&t.b), "a/a=9 a/c=20 a/d=3 ");
	assert_err(store_list(s, &future, text_add, &t, &r), ERR_TIMEOUT);
	buf_fini(&t.b);
	done(s);
	return NULL;
}

/* ---- watches ---- */

struct watcher {
	struct store_watch w;
	struct buf b;
	struct rev last, progress;
	unsigned cancel_after;
};

static void watcher_event(struct store_watch *w, const struct store_event *ev)
{
	struct watcher *x = container_of(w, struct watcher, w);

	assert_true(ev->rev.n >= x->last.n);
	x->last = ev->rev;
	assert_int_equal(ev->obj->rev.n, ev->rev.n);
	buf_addf(&x->b, "%c" STR_FMT "=%d",
		 ev->type == STORE_DELETE ? '-'
		 : ev->prev               ? '*'
					  : '+',
		 STR_ARG(ev->obj->name), val_of(ev->obj));
	if (ev->type == STORE_PUT && ev->prev)
		buf_addf(&x->b, "<%d", val_of(ev->prev));
	buf_addc(&x->b, ' ');
	if (x->cancel_after && --x->cancel_after == 0)
		store_watch_cancel(w);
}

static void watcher_progress(struct store_watch *w, struct rev rev)
{
	container_of(w, struct watcher, w)->progress = rev;
}

static void watch(struct store *s, struct watcher *x, const char *ns, const char *name,
		  struct rev from)
{
	*x = (struct watcher){ .w = { .event = watcher_event, .progress = watcher_progress },
			       .cancel_after = x->cancel_after };
	assert_no_err(store_watch_start(s, &x->w, STR("pods"), str_from(ns), str_from(name), from));
}

static void check_watcher(struct watcher *x, const char *text)
{
	assert_str(buf_str(&x->b), text);
	store_watch_cancel(&x->w);
	buf_fini(&x->b);
}

FIBER_TEST(watch_live_and_past)
{
	struct store *s = open_fresh();
	struct watcher all = { 0 }, past = { 0 }, ns = { 0 }, one = { 0 }, quit = { 0 };
	struct rev r0 = store_rev(s), r1;

	watch(s, &all, "", "", r0);
	put(s, "a", "x", 1);
	r1 = put(s, "a", "x", 2);
	put(s, "b", "y", 3);
	del(s, "a", "x");
	watch(s, &past, "", "", r1);
	watch(s, &ns, "a", "", r0);
	watch(s, &one, "", "y", r0);
	quit.cancel_after = 2;
	watch(s, &quit, "", "", r0);
	put(s, "b", "y", 4);
	settle();
	assert_int_equal(past.progress.n, store_rev(s).n);
	check_watcher(&all, "+x=1 *x=2<1 +y=3 -x=2 *y=4<3 ");
	check_watcher(&past, "+y=3 -x=2 *y=4<3 ");
	check_watcher(&ns, "+x=1 *x=2<1 -x=2 ");
	check_watcher(&one, "+y=3 *y=4<3 ");
	check_watcher(&quit, "+x=1 *x=2<1 ");
	done(s);
	return NULL;
}

FIBER_TEST(watch_resumes_after_reopen)
{
	struct store *s = open_fresh();
	struct watcher w = { 0 };
	struct rev r;

	put(s, "a", "x", 1);
	r = put(s, "a", "x", 2);
	put(s, "a", "x", 3);
	del(s, "a", "x");
	store_close(s);
	s = open_with((struct store_opts){ 0 });
	assert_int_equal(store_rev(s).n, r.n + 2);
	watch(s, &w, "", "", r);
	put(s, "a", "z", 4);
	settle();
	check_watcher(&w, "*x=3<2 -x=3 +z=4 ");
	assert_int_equal(store_count(s, STR("pods")), 1);
	done(s);
	return NULL;
}

FIBER_TEST(history_is_bounded)
{
	struct store *s = open_fresh();
	struct watcher w = { .w = { .event = watcher_event } };
	struct store_list_opts opts = { .resource = STR("pods"), .at = { 2 } };
	struct store_list_result res;
	struct text t = { 0 };
	struct stat st;
	off_t size = 0;

	store_close(s);
	s = open_with((struct store_opts){ .history_bytes = 16384 });
	for (int i = 0; i < 1500; i++) {
		put(s, "a", "x", i);
		if (i == 500) {
			_cleanup_free_ char *file = mem_fmt("%s/data.mdb", dir);

			assert_int_equal(stat(file, &st), 0);
			size = st.st_size;
		}
	}
	assert_true(store_oldest_rev(s).n > 1000);
	assert_err(store_watch_start(s, &w.w, STR("pods"), STR(""), STR(""), (struct rev){ 2 }),
		   ERR_EXPIRED);
	assert_err(store_list(s, &opts, text_add, &t, &res), ERR_EXPIRED);
	{
		_cleanup_free_ char *file = mem_fmt("%s/data.mdb", dir);

		assert_int_equal(stat(file, &st), 0);
		assert_true(st.st_size <= size + 65536);
	}
	/* Just inside. */
	watch(s, &w, "", "", store_oldest_rev(s));
	store_watch_cancel(&w.w);
	done(s);
	return NULL;
}

/* ---- when things go wrong ---- */

/* Writes until it fails; what had been acknowledged stays readable. */
static struct err *fill(struct store *s)
{
	struct err *e = NULL;
	char name[16];
	struct rev r;

	for (int n = 0; n < 10000 && !e; n++) {
		snprintf(name, sizeof(name), "p%05d", n);
		e = put_expect(s, "a", name, n, (struct rev){ 0 }, &r);
	}
	assert_int_equal(get(s, "a", "p00000"), 0);
	assert_int_equal(get(s, "a", name), -1);
	return e;
}

FIBER_TEST(full_map)
{
	struct store *s = open_fresh();
	struct err *e;

	store_close(s);
	s = open_with((struct store_opts){ .map_size = 512 << 10, .history_bytes = 4096 });
	e = fill(s);
	assert_non_null(e);
	assert_true(err_is(e, ERR_UNAVAILABLE));
	assert_true(str_contains(err_msg(e), STR("is full")));
	err_free(e);
	store_close(s);
	s = open_with((struct store_opts){ .map_size = 1024 << 10 });
	assert_int_equal(get(s, "a", "p00000"), 0);
	put(s, "a", "again", 7);
	done(s);
	return NULL;
}

/* A file size limit stands for a full disk: the same failure of the same writes. */
FIBER_TEST(full_disk_then_service_resumes)
{
	struct store *s = open_fresh();
	struct rlimit old, tight;
	struct err *e;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight = (struct rlimit){ 256 << 10, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	e = fill(s);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_non_null(e);
	assert_true(err_is(e, ERR_UNAVAILABLE));
	assert_true(str_contains(err_msg(e), STR("no space left")));
	err_free(e);
	put(s, "a", "again", 7);
	assert_int_equal(get(s, "a", "again"), 7);
	done(s);
	return NULL;
}

FIBER_TEST(one_process_at_a_time)
{
	struct store *s = open_fresh(), *t;
	struct store_opts opts = { .path = dir };

	assert_err(store_open(fiber_loop(), &opts, &t), ERR_UNAVAILABLE);
	done(s);
	return NULL;
}

static void damage(off_t at, off_t truncate_to, const char *text)
{
	_cleanup_free_ char *file = mem_fmt("%s/data.mdb", dir);
	int fd = open(file, O_RDWR);

	assert_true(fd >= 0);
	if (text)
		assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	if (truncate_to)
		assert_int_equal(ftruncate(fd, truncate_to), 0);
	close(fd);
}

FIBER_TEST(damage_is_found)
{
	struct store *s = open_fresh();
	struct store_opts opts = { .path = dir, .map_size = 1u << 28 };
	struct err *e;
	char name[16];

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		put(s, "a", name, i);
	}
	store_close(s);
	damage(0, 16384, NULL);
	e = store_open(fiber_loop(), &opts, &s);
	assert_non_null(e);
	assert_true(err_is(e, ERR_CORRUPT));
	assert_true(str_contains(err_msg(e), STR("isoplane restore FILE")));
	err_free(e);
	damage(0, 0, "garbage garbage garbage garbage garbage");
	damage(4096, 0, "garbage garbage garbage garbage garbage");
	assert_err(store_open(fiber_loop(), &opts, &s), ERR_CORRUPT);
	assert_no_err(file_remove_tree(dir));
	return NULL;
}

FIBER_TEST(snapshot_and_restore)
{
	struct store *s = open_fresh();
	char file[] = "/tmp/test-snapshot-XXXXXX";
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	put(s, "a", "x", 1);
	assert_no_err(store_snapshot(s, fd));
	put(s, "a", "x", 2);
	lseek(fd, 0, SEEK_SET);
	assert_err(store_restore(dir, fd), ERR_UNAVAILABLE); /* still open */
	store_close(s);
	assert_no_err(store_restore(dir, fd));
	s = open_with((struct store_opts){ 0 });
	assert_int_equal(get(s, "a", "x"), 1);
	store_close(s);
	assert_int_equal(ftruncate(fd, 5000), 0);
	lseek(fd, 0, SEEK_SET);
	assert_err(store_restore(dir, fd), ERR_CORRUPT);
	s = open_with((struct store_opts){ 0 });
	assert_int_equal(get(s, "a", "x"), 1);
	close(fd);
	unlink(file);
	done(s);
	return NULL;
}

/* Many writers at once: every one gets a revision of its own, and the batch one fsync. */
struct writer {
	struct store *s;
	int id;
	struct rev revs[20];
};

static struct err *writer_run(void *arg)
{
	struct writer *w = arg;
	char name[16];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "w%d-%d", w->id, i);
		TRY(put_expect(w->s, "a", name, i, (struct rev){ 0 }, &w->revs[i]));
	}
	return NULL;
}

FIBER_TEST(concurrent_writers)
{
	struct store *s = open_fresh();
	struct writer *w = mem_zalloc(16, sizeof(*w));
	struct fiber_group *g = fiber_group_new();
	uint8_t seen[16 * 20 + 2] = { 0 };

	for (int i = 0; i < 16; i++) {
		w[i] = (struct writer){ .s = s, .id = i };
		fiber_group_add(g, "writer", writer_run, &w[i]);
	}
	assert_no_err(fiber_group_join(g));
	assert_int_equal(store_rev(s).n, 1 + 16 * 20);
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 20; j++)
			assert_int_equal(seen[w[i].revs[j].n]++, 0);
	free(w);
	done(s);
	return NULL;
}

TEST_MAIN(T(put_get_delete), T(expectations), T(transactions_are_whole), T(bad_keys), T(long_names),
	  T(lists_and_pages), T(lists_of_the_past), T(watch_live_and_past),
	  T(watch_resumes_after_reopen), T(history_is_bounded), T(full_map),
	  T(full_disk_then_service_resumes), T(one_process_at_a_time), T(damage_is_found),
	  T(snapshot_and_restore), T(concurrent_writers))
