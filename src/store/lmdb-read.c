/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: one object, lists now and in the past.
 *
 * The past is today with the log undone. For a list at revision R, the first change of a key after
 * R tells what was there at R; those keys form an overlay that is merged with the table:
 *
 *     objects   a     c d   f          (today)
 *     overlay     b   c(-)    g        (b was deleted since, c made since, ...)
 *     list      a b     d   f g
 */

#include "store/lmdb-engine.h"

#include <stdlib.h>

#include "api/selector.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"

struct err *lmdb_bad_record(const struct lmdb *m)
{
	return lmdb_err(m, MDB_CORRUPTED, "read a record");
}

bool lmdb_value_split(MDB_val val, struct rev *ret_rev, struct str *ret_bytes)
{
	if (val.mv_size <= sizeof(ret_rev->n))
		return false;
	memcpy(&ret_rev->n, val.mv_data, sizeof(ret_rev->n));
	*ret_bytes = str_skip(lmdb_str(val), sizeof(ret_rev->n));
	return true;
}

/* The object of a lazy commit that is not on the disk yet: a new reference, or NULL. */
static const struct obj *recent_find(struct lmdb *m, struct str key, const struct lmdb_state *state)
{
	const struct recent *r = map_find(&m->recent_by_key, key);

	return r && r->rev.n > state->rev ? obj_ref(r->obj) : NULL;
}

struct err *lmdb_get(struct store *s, const struct store_key *key, const struct obj **ret)
{
	struct lmdb *m = container_of(s, struct lmdb, base);
	struct lmdb_state state;
	struct lmdb_key k;
	struct err *e = NULL;
	MDB_txn *txn;
	MDB_val mk, val;
	int rc;

	lmdb_key_make(&k, key->resource, key->ns, key->name);
	TRY(lmdb_read_begin(m, &txn, &state));
	mk = (MDB_val){ k.n, k.p };
	*ret = recent_find(m, str_make(k.p, k.n), &state);
	if (*ret) {
		lmdb_read_end(m, txn);
		return NULL;
	}
	rc = mdb_get(txn, m->objects, &mk, &val);
	if (rc && rc != MDB_NOTFOUND) {
		e = lmdb_err(m, rc, "get");
	} else if (!rc) {
		struct rev rev;
		struct str bytes;

		e = lmdb_value_split(val, &rev, &bytes) ? obj_decode(bytes, rev, ret)
							: lmdb_bad_record(m);
	}
	lmdb_read_end(m, txn);
	return e;
}

/* ---- the overlay ---- */

struct overlay_entry {
	struct str key, bytes; /* bytes.p NULL: absent */
	struct rev rev;
};

struct overlay {
	struct arena *a;
	struct map by_key; /* struct overlay_entry */
	struct overlay_entry *sorted;
	size_t n, at;
};

static int entry_cmp(const void *a, const void *b)
{
	const struct overlay_entry *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

static void overlay_sort(struct overlay *o)
{
	if (!o->by_key.n)
		return;
	o->sorted = arena_array(o->a, o->by_key.n, sizeof(*o->sorted));
	map_for_each(e, &o->by_key) {
		o->sorted[o->n++] = *(struct overlay_entry *)e->val;
	}
	qsort(o->sorted, o->n, sizeof(*o->sorted), entry_cmp);
}

/* The first change of a key after the revision wins, so older records come first. */
static bool overlay_add_record(struct overlay *o, struct str record, struct str prefix)
{
	struct log_iter it;

	if (!log_iter_init(&it, record))
		return false;
	while (log_iter_next(&it)) {
		struct overlay_entry *e;

		if (!str_has_prefix(it.key, prefix) || map_find(&o->by_key, it.key))
			continue;
		e = arena_new_obj(o->a, struct overlay_entry);
		*e = (struct overlay_entry){ it.key, it.prev, it.prev_rev };
		map_put(&o->by_key, it.key, e);
	}
	return it.left == 0;
}

static struct err *overlay_build(struct lmdb *m, MDB_txn *txn, struct rev at, struct str prefix,
				 struct overlay *o)
{
	uint64_t first = at.n + 1;
	MDB_val key = { sizeof(first), &first }, val;
	struct err *e = NULL;
	MDB_cursor *c;
	int rc = mdb_cursor_open(txn, m->log, &c);

	if (rc)
		return lmdb_err(m, rc, "read the history");
	for (rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE); !rc && !e;
	     rc = mdb_cursor_get(c, &key, &val, MDB_NEXT))
		if (!overlay_add_record(o, lmdb_str(val), prefix))
			e = lmdb_bad_record(m);
	mdb_cursor_close(c);
	if (!e && rc != MDB_NOTFOUND)
		e = lmdb_err(m, rc, "read the history");
	return e;
}

/* ---- lists ---- */

#define PREFETCH 256

struct lister {
	struct lmdb *m;
	MDB_cursor *c;
	struct str prefix, after;
	struct overlay overlay;
	int rc; /* of the cursor's last step */
	MDB_val key, val;
	/* the current entry */
	struct rev rev;
	struct str bytes;
};

/* The next value is not in the cache: its head and labels come in while this one is looked at. */
static void lister_prefetch(MDB_val val)
{
	for (size_t i = 0; i < PREFETCH && i < val.mv_size; i += 64)
		__builtin_prefetch((const char *)val.mv_data + i);
}

static void lister_step(struct lister *l)
{
	l->rc = mdb_cursor_get(l->c, &l->key, &l->val, MDB_NEXT);
	if (l->rc)
		return;
	if (str_has_prefix(lmdb_str(l->key), l->prefix))
		lister_prefetch(l->val);
	else
		l->rc = MDB_NOTFOUND;
}

static void lister_start(struct lister *l)
{
	struct str from = str_empty(l->after) ? l->prefix : l->after;

	l->key = lmdb_val(from);
	l->rc = mdb_cursor_get(l->c, &l->key, &l->val, MDB_SET_RANGE);
	if (!l->rc && !str_has_prefix(lmdb_str(l->key), l->prefix))
		l->rc = MDB_NOTFOUND;
	else if (!l->rc && str_eq(lmdb_str(l->key), l->after))
		lister_step(l);
	while (l->overlay.at < l->overlay.n &&
	       str_cmp(l->overlay.sorted[l->overlay.at].key, l->after) <= 0)
		l->overlay.at++;
}

/* False at the end or on an error (l->rc tells). */
static bool lister_next(struct lister *l)
{
	struct overlay *o = &l->overlay;

	for (;;) {
		const struct overlay_entry *e = o->at < o->n ? &o->sorted[o->at] : NULL;
		int cmp = l->rc ? 1 : e ? str_cmp(lmdb_str(l->key), e->key) : -1;

		if (l->rc && (l->rc != MDB_NOTFOUND || !e))
			return false;
		if (cmp >= 0) {
			o->at++;
			if (cmp == 0)
				lister_step(l);
			if (!e->bytes.p)
				continue;
			l->rev = e->rev;
			l->bytes = e->bytes;
			return true;
		}
		if (!lmdb_value_split(l->val, &l->rev, &l->bytes)) {
			l->rc = MDB_CORRUPTED;
			return false;
		}
		/* Values stay where they are for as long as the transaction lives. */
		lister_step(l);
		return true;
	}
}

static struct err *list_one(const struct lister *l, const struct store_list_opts *opts,
			    bool (*fn)(const struct obj *o, void *ctx), void *ctx, bool *ret_taken)
{
	const struct obj *o;
	struct obj_view v;

	*ret_taken = false;
	TRY(obj_view_init(&v, l->bytes, l->rev));
	if ((!opts->labels || selector_matches_obj_labels(opts->labels, &v.obj)) &&
	    (!opts->fields || selector_matches_obj_fields(opts->fields, &v.obj))) {
		o = opts->borrowed ? &v.obj : obj_copy(&v.obj);
		*ret_taken = fn(o, ctx);
		if (opts->borrowed)
			obj_forget_tree(o);
		else
			obj_unref(o);
	}
	obj_view_fini(&v);
	return NULL;
}

/*
 * What the cut left out. For a first page of a whole resource the table of counts knows; else
 * the rest is walked, keys only.
 */
static uint64_t list_remaining(struct lister *l, const struct store_list_opts *opts,
			       uint64_t passed)
{
	MDB_val key = lmdb_val(opts->resource), val;
	uint64_t n = 1;

	if (str_empty(opts->ns) && str_empty(l->after) && !l->overlay.n &&
	    !mdb_get(mdb_cursor_txn(l->c), l->m->counts, &key, &val) && val.mv_size == sizeof(n)) {
		memcpy(&n, val.mv_data, sizeof(n));
		return n - MIN(n, passed);
	}
	while (lister_next(l))
		n++;
	return n;
}

static struct err *list_run(struct lister *l, const struct store_list_opts *opts,
			    bool (*fn)(const struct obj *o, void *ctx), void *ctx,
			    struct store_list_result *ret)
{
	size_t taken = 0, bytes = 0;
	uint64_t passed = 0;

	lister_start(l);
	while (lister_next(l)) {
		bool ok;

		if (opts->bytes && bytes >= opts->bytes) {
			ret->more = true;
			break;
		}
		if (opts->limit && taken == opts->limit) {
			ret->more = true;
			ret->remaining = list_remaining(l, opts, passed);
			break;
		}
		TRY(list_one(l, opts, fn, ctx, &ok));
		taken += ok;
		bytes += ok ? l->bytes.n : 0;
		passed++;
	}
	return !l->rc || l->rc == MDB_NOTFOUND ? NULL : lmdb_err(l->m, l->rc, "list");
}

/* What is in memory alone, as of a revision. */
static void overlay_add_recent(struct lmdb *m, struct overlay *o, struct str prefix,
			       const struct lmdb_state *state, struct rev at)
{
	struct recent *r;

	list_for_each(r, &m->recent, link) {
		_cleanup_buf_ struct buf b = { 0 };
		struct overlay_entry *e;

		if (r->rev.n <= state->rev || r->rev.n > at.n || !str_has_prefix(r->key, prefix))
			continue;
		obj_encode(&b, r->obj);
		e = arena_new_obj(o->a, struct overlay_entry);
		*e = (struct overlay_entry){ r->key, buf_to_arena(&b, o->a), r->rev };
		map_put(&o->by_key, r->key, e);
	}
}

static struct err *list_in(struct lmdb *m, MDB_txn *txn, struct lister *l,
			   const struct store_list_opts *opts,
			   bool (*fn)(const struct obj *o, void *ctx), void *ctx,
			   const struct lmdb_state *state, struct store_list_result *ret)
{
	int rc;
	struct err *e;

	if (opts->at.n)
		ret->rev = opts->at;
	if (ret->rev.n < state->rev)
		TRY(overlay_build(m, txn, ret->rev, l->prefix, &l->overlay));
	overlay_add_recent(m, &l->overlay, l->prefix, state, ret->rev);
	overlay_sort(&l->overlay);
	rc = mdb_cursor_open(txn, m->objects, &l->c);
	if (rc)
		return lmdb_err(m, rc, "list");
	e = list_run(l, opts, fn, ctx, ret);
	mdb_cursor_close(l->c);
	return e;
}

static struct err *list_check_at(struct rev at, struct rev now, const struct lmdb_state *state)
{
	struct err *e;

	if (at.n && at.n < state->compacted)
		return store_expired(at, (struct rev){ state->compacted });
	if (at.n <= now.n)
		return NULL;
	e = err_new(ERR_TIMEOUT, "Too large resource version: %llu, current: %llu",
		    (unsigned long long)at.n, (unsigned long long)now.n);
	err_add_cause(e, STR_EMPTY, STR("ResourceVersionTooLarge"),
		      STR("Too large resource version"));
	return err_retry_after(e, 1);
}

struct err *lmdb_list(struct store *s, const struct store_list_opts *opts,
		      bool (*fn)(const struct obj *o, void *ctx), void *ctx,
		      struct store_list_result *ret)
{
	struct lmdb *m = container_of(s, struct lmdb, base);
	_cleanup_arena_ struct arena *a = arena_new();
	struct lmdb_key prefix, after = { .n = 0 };
	struct lister l = { .m = m, .overlay.a = a };
	struct store_list_result res = { 0 };
	struct lmdb_state state;
	struct err *e;
	MDB_txn *txn;

	lmdb_key_prefix(&prefix, opts->resource, opts->ns);
	if (!str_empty(opts->after_name))
		lmdb_key_make(&after, opts->resource,
			      str_empty(opts->after_ns) ? opts->ns : opts->after_ns,
			      opts->after_name);
	l.prefix = str_make(prefix.p, prefix.n);
	l.after = str_make(after.p, after.n);
	TRY(lmdb_read_begin(m, &txn, &state));
	res.rev.n = MAX(state.rev, m->base.delivered.n);
	e = list_check_at(opts->at, res.rev, &state);
	if (!e)
		e = list_in(m, txn, &l, opts, fn, ctx, &state, &res);
	map_fini(&l.overlay.by_key);
	lmdb_read_end(m, txn);
	if (!e)
		*ret = res;
	return e;
}
