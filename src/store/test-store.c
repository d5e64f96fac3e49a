/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/selector.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/file.h"
#include "store/store.h"
#include "json/json.h"

/* ---- helpers ---- */

static char dir[64];

static struct store *open_with(struct store_opts opts)
{
	struct store *s = NULL;

	opts.path = dir;
	if (!opts.map_size)
		opts.map_size = 1u << 28;
	assert_no_err(store_open(fiber_loop(), &opts, &s));
	return s;
}

static struct store *open_fresh(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open_with((struct store_opts){ 0 });
}

static void done(struct store *s)
{
	store_close(s);
	assert_no_err(file_remove_tree(dir));
}

static const struct obj *make(const char *ns, const char *name, int val, const char *app)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = json_object(a);
	struct obj_pair fields[] = { { STR("spec.val"), arena_fmt(a, "%d", val) } };

	json_set_at(a, o, "metadata.name", json_strz(a, name));
	json_set_at(a, o, "metadata.namespace", json_strz(a, ns));
	if (app)
		json_set_at(a, o, "metadata.labels.app", json_strz(a, app));
	json_set_at(a, o, "spec.val", json_int(a, val));
	return obj_new(o, (struct rev){ 0 }, 0, fields, 1);
}

static int val_of(const struct obj *o)
{
	return o ? (int)json_int_at(obj_tree(o), "spec.val", -1) : -1;
}

static struct store_key key(const char *res, const char *ns, const char *name)
{
	return (struct store_key){ str_from(res), str_from(ns), str_from(name) };
}

static struct err *put_expect(struct store *s, const char *ns, const char *name, int val,
			      struct rev expect, struct rev *ret)
{
	_cleanup_obj_ const struct obj *o = make(ns, name, val, val % 2 ? "odd" : "even");
	struct store_op op = { .key = key("pods", ns, name), .put = o, .expect = expect };
	size_t failed;
	struct err *e = store_commit(s, &op, 1, ret, &failed);

	obj_unref(op.result);
	return e;
}

static struct rev put(struct store *s, const char *ns, const char *name, int val)
{
	struct rev rev = { 0 };

	assert_no_err(put_expect(s, ns, name, val, STORE_ANY, &rev));
	return rev;
}

static struct rev del(struct store *s, const char *ns, const char *name)
{
	struct store_op op = { .key = key("pods", ns, name), .expect = STORE_ANY };
	struct rev rev = { 0 };
	size_t failed;

	assert_no_err(store_commit(s, &op, 1, &rev, &failed));
	obj_unref(op.result);
	return rev;
}

static int get(struct store *s, const char *ns, const char *name)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct store_key k = key("pods", ns, name);

	assert_no_err(store_get(s, &k, &o));
	return val_of(o);
}

/* "ns/name=val@rev " per object. */
struct text {
	struct buf b;
	bool (*keep)(const struct obj *o);
};

static bool text_add(const struct obj *o, void *ctx)
{
	struct text *t = ctx;

	if (t->keep && !t->keep(o))
		return false;
	buf_addf(&t->b, STR_FMT "/" STR_FMT "=%d ", STR_ARG(o->ns), STR_ARG(o->name), val_of(o));
	return true;
}

static struct store_list_result list(struct store *s, struct store_list_opts opts, struct text *t)
{
	struct store_list_result res = { { 0 } };

	opts.resource = STR("pods");
	buf_clear(&t->b);
	assert_no_err(store_list(s, &opts, text_add, t, &res));
	return res;
}

static void settle(void)
{
	for (int i = 0; i < 5; i++)
		assert_no_err(fiber_yield());
}

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

/* ---- against a model ---- */

#define MODEL_KEYS 24
#define SNAPS      6

struct model {
	int val[MODEL_KEYS]; /* -1: absent */
	struct rev rev;
};

static void model_name(int k, char *ns, char *name)
{
	snprintf(ns, 16, "n%d", k % 3);
	snprintf(name, 16, "p%02d", k / 3);
}

static void model_text(const struct model *m, struct buf *b)
{
	buf_clear(b);
	for (int n = 0; n < 3; n++)
		for (int k = n; k < MODEL_KEYS; k += 3)
			if (m->val[k] >= 0)
				buf_addf(b, "n%d/p%02d=%d ", n, k / 3, m->val[k]);
}

struct replica {
	struct store_watch w;
	struct model m;
};

static void replica_event(struct store_watch *w, const struct store_event *ev)
{
	struct replica *r = container_of(w, struct replica, w);
	int k = (ev->obj->name.p[1] - '0') * 30 + (ev->obj->name.p[2] - '0') * 3 +
		(ev->obj->ns.p[1] - '0');

	assert_true(ev->rev.n > r->m.rev.n);
	assert_int_equal(ev->prev ? val_of(ev->prev) : -1, r->m.val[k]);
	r->m.val[k] = ev->type == STORE_PUT ? val_of(ev->obj) : -1;
	r->m.rev = ev->rev;
}

static void check_list(struct store *s, const struct model *m, bool past)
{
	struct text t = { 0 };
	_cleanup_buf_ struct buf want = { 0 };
	_cleanup_buf_ struct buf paged = { 0 };
	struct store_list_opts opts = { .at = { past ? m->rev.n : 0 } };
	struct store_list_result r;
	char ns[16], name[16];

	model_text(m, &want);
	list(s, opts, &t);
	assert_true(str_eq(buf_str(&t.b), buf_str(&want)));
	/* The same by pages of 5, each continuing after the last object. */
	opts.limit = 5;
	do {
		r = list(s, opts, &t);
		buf_add(&paged, buf_str(&t.b));
		if (r.more) {
			sscanf(t.b.p + t.b.n - strlen(strrchr(t.b.p, 'n')), "%2s/%3s", ns, name);
			opts.after_ns = str_from(ns);
			opts.after_name = str_from(name);
		}
	} while (r.more);
	assert_true(str_eq(buf_str(&paged), buf_str(&want)));
	buf_fini(&t.b);
}

static void random_change(struct store *s, struct model *m, int i)
{
	int k = (int)rand_below(MODEL_KEYS);
	char ns[16], name[16];

	model_name(k, ns, name);
	if (rand_below(3) == 0) {
		struct rev r = del(s, ns, name);

		m->val[k] = -1;
		m->rev = r;
	} else {
		m->rev = put(s, ns, name, i);
		m->val[k] = i;
	}
}

static void replica_failed(struct store_watch *w, struct err *e)
{
	fail_msg("%s", err_msg(e).p);
}

/* The past in parts of one record each, while there is more and more of it. */
static void check_parts(struct store *s, struct model *m, const struct model *snaps)
{
	struct replica r[SNAPS], ns = { .w = { .event = replica_event, .failed = replica_failed } };
	struct replica one = ns;
	struct mono began = mono_now();

	for (int n = 0; n < SNAPS; n++) {
		r[n] = (struct replica){ .w = ns.w, .m = snaps[n] };
		assert_no_err(
			store_watch_start(s, &r[n].w, STR("pods"), STR(""), STR(""), r[n].m.rev));
	}
	ns.m = one.m = snaps[0];
	assert_no_err(store_watch_start(s, &ns.w, STR("pods"), STR("n1"), STR(""), ns.m.rev));
	assert_no_err(store_watch_start(s, &one.w, STR("pods"), STR("n2"), STR("p03"), one.m.rev));
	assert_true(r[0].w.behind && ns.w.behind);
	for (int i = 1000; r[0].w.behind || ns.w.behind || i < 1100; i++) {
		random_change(s, m, i);
		assert_true(mono_ms_since(began) < 20000);
	}
	settle();
	for (int n = 0; n < SNAPS; n++) {
		store_watch_cancel(&r[n].w);
		assert_memory_equal(r[n].m.val, m->val, sizeof(m->val));
	}
	store_watch_cancel(&ns.w);
	store_watch_cancel(&one.w);
	for (int k = 0; k < MODEL_KEYS; k++) {
		assert_int_equal(ns.m.val[k], k % 3 == 1 ? m->val[k] : snaps[0].val[k]);
		assert_int_equal(one.m.val[k], k == 3 * 3 + 2 ? m->val[k] : snaps[0].val[k]);
	}
}

FIBER_TEST(property_against_model)
{
	struct store *s = open_fresh();
	struct model m = { .rev = { 1 } }, snaps[SNAPS];
	struct replica live = { .w = { .event = replica_event } };

	rand_seed(42);
	memset(m.val, -1, sizeof(m.val));
	live.m = m;
	assert_no_err(store_watch_start(s, &live.w, STR("pods"), STR(""), STR(""), m.rev));
	for (int i = 0; i < 300; i++) {
		random_change(s, &m, i);
		if (i % (300 / SNAPS) == 0)
			snaps[i / (300 / SNAPS)] = m;
		if (i == 170) {
			store_watch_cancel(&live.w);
			store_close(s);
			s = open_with((struct store_opts){ 0 });
			assert_no_err(store_watch_start(s, &live.w, STR("pods"), STR(""), STR(""),
							live.m.rev));
		}
	}
	settle();
	check_list(s, &m, false);
	assert_memory_equal(live.m.val, m.val, sizeof(m.val));
	store_watch_cancel(&live.w);
	for (int i = 0; i < SNAPS; i++) {
		struct replica r = { .w = { .event = replica_event }, .m = snaps[i] };

		check_list(s, &snaps[i], true);
		assert_no_err(store_watch_start(s, &r.w, STR("pods"), STR(""), STR(""), r.m.rev));
		settle();
		store_watch_cancel(&r.w);
		assert_memory_equal(r.m.val, m.val, sizeof(m.val));
	}
	store_close(s);
	s = open_with((struct store_opts){ .backlog_bytes = 1 });
	check_parts(s, &m, snaps);
	rand_seed(0);
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
	  T(watch_resumes_after_reopen), T(history_is_bounded), T(property_against_model),
	  T(full_map), T(full_disk_then_service_resumes), T(one_process_at_a_time),
	  T(damage_is_found), T(snapshot_and_restore), T(concurrent_writers))
