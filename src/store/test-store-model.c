/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, past lists and watches, against a model that random changes are made to as well. */
#include "store/test-store.h"

#include <string.h>

#include "base/clock.h"
#include "base/rand.h"

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

TEST_MAIN(T(property_against_model))
