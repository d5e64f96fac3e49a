/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines share: watches and counts.
 *
 * Watches of one resource hang in one bucket. An event goes to those whose namespace and
 * name match and whose position is before it. A watch that starts in the past gets what it missed
 * in parts, from the loop, before anything live:
 *
 *     history (from, delivered]  ->  backlog  ->  task catch_up  ->  event()
 *         ^----------------------------------------------' until nothing is left
 *     commits after that                      ->  store_deliver  ->  event()
 */

#include "store/store-internal.h"

#include "api/selector.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

struct watch_bucket {
	struct list watches;
	struct list *next; /* of the delivery under way; cancelling moves it on */
	char *resource;
};

struct store_counter {
	int64_t n;
};

struct backlog_event {
	struct list link;
	enum store_event_type type;
	struct rev rev;
	const struct obj *obj, *prev;
};

#define PAGE_BYTES            (128 * 1024)
#define PAGE_BYTES_FAR        (2 * 1024 * 1024)
#define PAGE_LAG              2000 /* revisions */
#define BACKLOG_BYTES_DEFAULT (256 * 1024)
#define CATCH_UP_NS           (2 * NS_PER_MS) /* of one turn of the loop */

/* A watch that is behind; it may be cancelled, even freed, by its own callback: w NULL. */
struct lagging {
	struct list link;
	struct store_watch *w;
};

const double store_time_bounds[STORE_TIMES_N] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8,
						  1,     1.25,  1.5,  2,   3,   4,   5,   6,
						  8,     10,    15,   20,  30,  45,  60 };

/* ---- for engines ---- */

static void catch_up_run(struct task *t);

void store_init(struct store *s, struct loop *l, const struct store_engine_ops *ops, struct rev rev)
{
	s->loop = l;
	s->ops = ops;
	s->delivered = s->seen = rev;
	s->backlog_bytes = BACKLOG_BYTES_DEFAULT;
	list_init(&s->lagging);
	s->catch_up.fn = catch_up_run;
}

static void bucket_free(struct watch_bucket *b)
{
	free(b->resource);
	free(b);
}

void store_fini(struct store *s)
{
	struct lagging *l, *tmp;

	task_cancel(&s->catch_up);
	list_for_each_safe(l, tmp, &s->lagging, link) {
		list_unlink(&l->link);
		free(l);
	}
	map_for_each(e, &s->buckets) {
		struct watch_bucket *b = e->val;

		/* Owners cancel their watches before they close the store. */
		INVARIANT(list_empty(&b->watches));
		bucket_free(b);
	}
	map_for_each(e, &s->counts) {
		free(e->val);
	}
	map_fini(&s->buckets);
	map_fini(&s->counts);
}

void store_add_count(struct store *s, struct str resource, int64_t delta)
{
	struct store_counter *c = map_find(&s->counts, resource);

	if (!c) {
		c = mem_new(struct store_counter);
		map_put(&s->counts, resource, c);
	}
	c->n += delta;
	INVARIANT(c->n >= 0);
}

static struct watch_bucket *bucket_find(const struct store *s, struct str resource)
{
	struct watch_bucket *b = map_find(&s->buckets, resource);

	return b;
}

static bool watch_selects(const struct store_watch *w, const struct obj *o)
{
	return (str_empty(w->ns) || str_eq(w->ns, o->ns)) &&
	       (str_empty(w->name) || str_eq(w->name, o->name));
}

/* A live event, or what is as new. */
static bool watch_is_for(const struct store_watch *w, struct rev rev)
{
	return !w->behind && rev.n > w->from.n;
}

static void backlog_drop(struct store_watch *w)
{
	struct backlog_event *ev, *tmp;

	list_for_each_safe(ev, tmp, &w->backlog, link) {
		list_unlink(&ev->link);
		obj_unref(ev->obj);
		obj_unref(ev->prev);
		free(ev);
	}
}

static struct lagging *lagging_find(struct store *s, const struct store_watch *w)
{
	struct lagging *l;

	list_for_each(l, &s->lagging, link)
		if (l->w == w)
			return l;
	return NULL;
}

static void backlog_deliver(struct lagging *l)
{
	while (l->w && !list_empty(&l->w->backlog)) {
		struct store_watch *w = l->w;
		struct backlog_event *ev = list_entry(w->backlog.next, struct backlog_event, link);
		struct store_event out = {
			.type = ev->type,
			.rev = ev->rev,
			.resource = str_from(w->bucket->resource),
			.obj = ev->obj,
			.prev = ev->prev,
		};

		list_unlink(&ev->link);
		w->event(w, &out);
		obj_unref(ev->obj);
		obj_unref(ev->prev);
		free(ev);
	}
}

static void backlog_add(const struct store_event *ev, void *ctx)
{
	struct store_watch *w = ctx;
	struct backlog_event *b;

	if (!watch_selects(w, ev->obj))
		return;
	b = mem_new(struct backlog_event);
	b->type = ev->type;
	b->rev = ev->rev;
	b->obj = obj_ref(ev->obj);
	b->prev = ev->prev ? obj_ref(ev->prev) : NULL;
	list_push_back(&w->backlog, &b->link);
}

/* The next part of what it missed. */
static struct err *backlog_load(struct store *s, struct store_watch *w)
{
	struct store_past past = { .resource = str_from(w->bucket->resource),
				   .ns = w->ns,
				   .name = w->name,
				   .from = w->from,
				   .to = s->delivered,
				   .bytes = w->failed ? s->backlog_bytes : 0 };

	TRY(s->ops->history(s, &past, backlog_add, w));
	w->behind = past.upto.n < s->delivered.n;
	w->from = past.upto;
	return NULL;
}

static void lagging_run(struct store *s, struct lagging *l)
{
	struct err *e = NULL;

	backlog_deliver(l);
	if (l->w && l->w->behind)
		e = backlog_load(s, l->w);
	list_unlink(&l->link);
	if (l->w && !e && (l->w->behind || !list_empty(&l->w->backlog))) {
		list_push_back(&s->lagging, &l->link);
		return;
	}
	if (e) {
		struct store_watch *w = l->w;

		store_watch_cancel(w);
		w->failed(w, e);
	}
	free(l);
}

static void catch_up_run(struct task *t)
{
	struct store *s = container_of(t, struct store, catch_up);
	const struct mono start = mono_now();

	while (!list_empty(&s->lagging)) {
		if (mono_now().ns - start.ns > CATCH_UP_NS) {
			task_post_late(s->loop, &s->catch_up);
			return;
		}
		lagging_run(s, list_entry(s->lagging.next, struct lagging, link));
	}
}

/* What a watch missed comes before what is new. False when it ended meanwhile. */
static bool watch_catch_up(struct store *s, const struct store_watch *w)
{
	struct lagging *l = list_empty(&w->backlog) ? NULL : lagging_find(s, w);

	if (!l)
		return true;
	backlog_deliver(l);
	return l->w;
}

void store_deliver(struct store *s, const struct store_event *ev)
{
	struct watch_bucket *b = bucket_find(s, ev->resource);

	if (!b)
		return;
	for (struct list *at = b->watches.next; at != &b->watches; at = b->next) {
		struct store_watch *w = list_entry(at, struct store_watch, link);

		b->next = at->next;
		if (watch_is_for(w, ev->rev) && watch_selects(w, ev->obj) && watch_catch_up(s, w))
			w->event(w, ev);
	}
	b->next = NULL;
}

void store_delivered(struct store *s, struct rev rev)
{
	s->delivered = rev;
	store_saw(s, rev);
	map_for_each(e, &s->buckets) {
		struct watch_bucket *b = e->val;

		for (struct list *at = b->watches.next; at != &b->watches; at = b->next) {
			struct store_watch *w = list_entry(at, struct store_watch, link);

			b->next = at->next;
			if (w->progress && watch_is_for(w, rev) && list_empty(&w->backlog))
				w->progress(w, rev);
		}
		b->next = NULL;
	}
}

void store_saw(struct store *s, struct rev rev)
{
	if (rev.n > s->seen.n)
		s->seen = rev;
}

void store_count_sync(struct store *s)
{
	s->stats.syncs++;
}

struct err *store_expired(struct rev from, struct rev oldest)
{
	return err_new(ERR_EXPIRED, "too old resource version: %llu (%llu)",
		       (unsigned long long)from.n, (unsigned long long)oldest.n);
}

/* ---- the public face ---- */

static struct err *key_check(const struct store_key *k)
{
	if (k->resource.n == 0 || k->resource.n > STORE_RESOURCE_MAX || k->ns.n > STORE_NS_MAX ||
	    k->name.n == 0 || str_find_char(k->name, '\0', 0) < k->name.n ||
	    str_find_char(k->ns, '\0', 0) < k->ns.n)
		return err_new(ERR_BAD_REQUEST,
			       "'" STR_FMT "/" STR_FMT "/" STR_FMT "' cannot be a key of the store",
			       STR_ARG(k->resource), STR_ARG(k->ns), STR_ARG(k->name));
	return NULL;
}

struct store *store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
	return NULL;
}

struct err *store_get(struct store *s, const struct store_key *key, const struct obj **ret)
{
	TRY(key_check(key));
	return s->ops->get(s, key, ret);
}

struct err *store_list(struct store *s, const struct store_list_opts *opts,
		       bool (*fn)(const struct obj *o, void *ctx), void *ctx,
		       struct store_list_result *ret)
{
	return s->ops->list(s, opts, fn, ctx, ret);
}

size_t store_page_bytes(const struct store *s, struct rev at)
{
	return s->seen.n > at.n + PAGE_LAG ? PAGE_BYTES_FAR : PAGE_BYTES;
}

uint64_t store_count(struct store *s, struct str resource)
{
	const struct store_counter *c = map_find(&s->counts, resource);

	return c ? (uint64_t)c->n : 0;
}

static void count_commit(struct store *s, struct mono start, const struct err *e)
{
	int64_t ns = mono_now().ns - start.ns;
	size_t i = 0;

	if (e) {
		s->stats.failed += !err_is(e, ERR_CONFLICT);
		return;
	}
	while (i < STORE_TIMES_N && (double)ns > store_time_bounds[i] * 1e9)
		i++;
	if (i < STORE_TIMES_N)
		s->stats.times[i]++;
	s->stats.commits++;
	s->stats.commit_ns += (uint64_t)ns;
}

static struct err *commit(struct store *s, struct store_op *ops, size_t n, bool lazy,
			  struct rev *ret_rev, size_t *ret_failed)
{
	struct mono start = mono_now();
	struct err *e;

	for (size_t i = 0; i < n; i++) {
		TRY(key_check(&ops[i].key));
		ops[i].result = NULL;
	}
	e = s->ops->commit(s, ops, n, lazy, ret_rev, ret_failed);
	count_commit(s, start, e);
	return e;
}

struct err *store_commit(struct store *s, struct store_op *ops, size_t n, struct rev *ret_rev,
			 size_t *ret_failed)
{
	return commit(s, ops, n, false, ret_rev, ret_failed);
}

struct err *store_commit_lazy(struct store *s, struct store_op *ops, size_t n, struct rev *ret_rev,
			      size_t *ret_failed)
{
	return commit(s, ops, n, true, ret_rev, ret_failed);
}

void store_get_stats(const struct store *s, struct store_stats *ret)
{
	*ret = s->stats;
	ret->file_bytes = s->ops->file_bytes(s);
}

struct rev store_rev(const struct store *s)
{
	return s->seen;
}

struct rev store_oldest_rev(const struct store *s)
{
	return s->ops->oldest(s);
}

struct err *store_snapshot(struct store *s, int fd)
{
	return s->ops->snapshot(s, fd);
}

static struct watch_bucket *bucket_get(struct store *s, struct str resource)
{
	struct watch_bucket *b = bucket_find(s, resource);

	if (!b) {
		b = mem_new(struct watch_bucket);
		list_init(&b->watches);
		b->resource = mem_strdup(resource);
		map_put(&s->buckets, resource, b);
	}
	return b;
}

static void watch_fini(struct store_watch *w)
{
	free((void *)(uintptr_t)w->ns.p);
	free((void *)(uintptr_t)w->name.p);
	w->ns = w->name = (struct str){ 0 };
	w->store = NULL;
	w->bucket = NULL;
}

struct err *store_watch_start(struct store *s, struct store_watch *w, struct str resource,
			      struct str ns, struct str name, struct rev from)
{
	PRE(w->event && !w->store);
	list_init(&w->backlog);
	list_init(&w->link);
	w->from = from;
	w->behind = false;
	w->ns = (struct str){ mem_strdup(ns), ns.n };
	w->name = (struct str){ mem_strdup(name), name.n };
	w->bucket = bucket_get(s, resource);
	if (from.n < s->delivered.n) {
		struct err *e = backlog_load(s, w);

		if (e) {
			backlog_drop(w);
			watch_fini(w);
			return e;
		}
	}
	w->store = s;
	list_push_back(&w->bucket->watches, &w->link);
	if (w->behind || !list_empty(&w->backlog)) {
		struct lagging *l = mem_new(struct lagging);

		l->w = w;
		list_push_back(&s->lagging, &l->link);
		task_post(s->loop, &s->catch_up);
	}
	return NULL;
}

void store_watch_cancel(struct store_watch *w)
{
	struct lagging *l;

	if (!w->store)
		return;
	l = lagging_find(w->store, w);
	if (l)
		l->w = NULL;
	backlog_drop(w);
	if (w->bucket->next == &w->link)
		w->bucket->next = w->link.next;
	list_unlink(&w->link);
	watch_fini(w);
}
