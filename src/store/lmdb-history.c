/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of the past, oldest first. A record of the log has what each key held before it, so
 * what an event wrote is in the next record of its key, or in the table:
 *
 *     log       5: a was -    6: b was b4    7: a was a5    8: c was c2
 *     table     a = a7        b = b6         c = c8
 *     events    5: a5         6: b6          7: a7          8: c8
 *
 * A reader that takes a part at a time pays for that part, and for looking ahead until the objects
 * of all its events are known.
 */

#include "store/lmdb-engine.h"

#include "base/arena.h"
#include "base/err.h"

#define PART_EVENTS 500 /* of those whose sizes are not known yet, no more at a time either */

struct past_event {
	struct list link;
	struct rev rev, prev_rev;
	bool put;
	struct str key, prev; /* prev.p NULL: there was none */
	struct str bytes;     /* of a put: what it wrote, NULL while not known */
};

struct history {
	struct lmdb *m;
	MDB_txn *txn;
	struct arena *a;
	struct store_past *past;
	struct lmdb_key wanted;
	bool one;           /* wanted is a key, else what keys begin with */
	struct list events; /* struct past_event */
	size_t n, bytes;
	struct map unknown; /* key -> the struct past_event that wrote it last */
	struct rev read;    /* all records up to here are in events */
	bool full;
};

static bool history_wants(const struct history *h, struct str key)
{
	const struct str wanted = str_make(h->wanted.p, h->wanted.n);

	return h->one ? str_eq(key, wanted) : str_has_prefix(key, wanted);
}

static void history_learn(struct history *h, struct past_event *ev, struct str bytes)
{
	ev->bytes = bytes;
	h->bytes += bytes.n;
}

/* The object of ev, when the table still has it. */
static struct err *history_look_up(struct history *h, struct past_event *ev)
{
	MDB_val key = lmdb_val(ev->key), val;
	struct str bytes;
	struct rev rev;
	int rc = mdb_get(h->txn, h->m->objects, &key, &val);

	if (rc && rc != MDB_NOTFOUND)
		return lmdb_err(h->m, rc, "get");
	if (!rc && !lmdb_value_split(val, &rev, &bytes))
		return lmdb_bad_record(h->m);
	if (!rc && rev.n == ev->rev.n)
		history_learn(h, ev, bytes);
	else
		map_put(&h->unknown, ev->key, ev);
	return NULL;
}

static struct err *history_op(struct history *h, const struct log_iter *it, struct rev rev,
			      bool take)
{
	struct past_event *ev = map_find(&h->unknown, it->key);

	if (ev) {
		if (!it->prev.p)
			return lmdb_bad_record(h->m);
		history_learn(h, ev, it->prev);
		map_del(&h->unknown, it->key);
	}
	if (!take)
		return NULL;
	ev = arena_new_obj(h->a, struct past_event);
	*ev = (struct past_event){ .rev = rev,
				   .put = it->put,
				   .key = it->key,
				   .prev = it->prev,
				   .prev_rev = it->prev_rev };
	list_push_back(&h->events, &ev->link);
	h->n++;
	h->bytes += it->key.n + it->prev.n;
	return ev->put ? history_look_up(h, ev) : NULL;
}

static struct err *history_record(struct history *h, struct rev rev, struct str record)
{
	const size_t most = h->past->bytes;
	const bool take = !h->full && rev.n <= h->past->to.n;
	struct log_iter it;

	if (!log_iter_init(&it, record))
		return lmdb_bad_record(h->m);
	while (log_iter_next(&it))
		if (history_wants(h, it.key))
			TRY(history_op(h, &it, rev, take));
	if (it.left)
		return lmdb_bad_record(h->m);
	if (take) {
		h->read = rev;
		h->full = most && (h->n >= PART_EVENTS || h->bytes >= most);
	}
	return NULL;
}

static struct err *history_read(struct history *h)
{
	uint64_t first = h->past->from.n + 1;
	MDB_val key = { sizeof(first), &first }, val;
	struct err *e = NULL;
	MDB_cursor *c;
	int rc = mdb_cursor_open(h->txn, h->m->log, &c);

	if (rc)
		return lmdb_err(h->m, rc, "read the history");
	for (rc = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE); !rc && !e;
	     rc = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
		struct rev rev;

		if (key.mv_size != sizeof(rev.n)) {
			e = lmdb_bad_record(h->m);
			break;
		}
		memcpy(&rev.n, key.mv_data, sizeof(rev.n));
		if ((h->full || rev.n > h->past->to.n) && !h->unknown.n)
			break;
		e = history_record(h, rev, lmdb_str(val));
	}
	mdb_cursor_close(c);
	if (!e && rc && rc != MDB_NOTFOUND)
		e = lmdb_err(h->m, rc, "read the history");
	if (!e && h->unknown.n)
		e = lmdb_bad_record(h->m);
	return e;
}

static struct err *history_give(const struct past_event *ev,
				void (*fn)(const struct store_event *ev, void *ctx), void *ctx)
{
	_cleanup_obj_ const struct obj *obj = NULL, *prev = NULL;

	if (ev->prev.p)
		TRY(obj_decode(ev->prev, ev->prev_rev, &prev));
	if (ev->put)
		TRY(obj_decode(ev->bytes, ev->rev, &obj));
	else
		obj = obj_with_rev(prev, ev->rev);
	fn(&(struct store_event){ .type = ev->put ? STORE_PUT : STORE_DELETE,
				  .rev = ev->rev,
				  .resource = lmdb_key_resource(ev->key),
				  .obj = obj,
				  .prev = prev },
	   ctx);
	return NULL;
}

/* Sizes are known now: what is too much after all is left for the next part. */
static struct err *history_give_all(const struct history *h,
				    void (*fn)(const struct store_event *ev, void *ctx), void *ctx)
{
	struct store_past *past = h->past;
	const struct past_event *ev;
	size_t bytes = 0;

	past->upto = past->from;
	list_for_each(ev, &h->events, link) {
		if (past->bytes && bytes >= past->bytes && ev->rev.n != past->upto.n)
			return NULL;
		if (!ev->put && !ev->prev.p)
			return lmdb_bad_record(h->m);
		TRY(history_give(ev, fn, ctx));
		past->upto = ev->rev;
		bytes += ev->prev.n + ev->bytes.n;
	}
	past->upto = h->full ? h->read : past->to;
	return NULL;
}

/* What is in memory alone comes after anything on the disk. */
static void history_give_recent(const struct history *h, const struct lmdb_state *state,
				void (*fn)(const struct store_event *ev, void *ctx), void *ctx)
{
	const struct store_past *past = h->past;
	const struct recent *r;

	list_for_each(r, &h->m->recent, link) {
		if (r->rev.n > state->rev && r->rev.n > past->from.n && r->rev.n <= past->to.n &&
		    history_wants(h, r->key))
			fn(&(struct store_event){ .type = STORE_PUT,
						  .rev = r->rev,
						  .resource = r->resource,
						  .obj = r->obj,
						  .prev = r->prev },
			   ctx);
	}
}

struct err *lmdb_history(struct store *s, struct store_past *past,
			 void (*fn)(const struct store_event *ev, void *ctx), void *ctx)
{
	struct lmdb *m = container_of(s, struct lmdb, base);
	_cleanup_arena_ struct arena *a = arena_new();
	struct history h = { .m = m, .a = a, .past = past };
	struct lmdb_state state;
	struct err *e;

	h.one = past->ns.n && past->name.n;
	if (h.one)
		lmdb_key_make(&h.wanted, past->resource, past->ns, past->name);
	else
		lmdb_key_prefix(&h.wanted, past->resource, past->ns);
	list_init(&h.events);
	TRY(lmdb_read_begin(m, &h.txn, &state));
	e = past->from.n < state.compacted
		    ? store_expired(past->from, (struct rev){ state.compacted })
		    : history_read(&h);
	if (!e)
		e = history_give_all(&h, fn, ctx);
	if (!e && past->upto.n == past->to.n)
		history_give_recent(&h, &state, fn, ctx);
	map_fini(&h.unknown);
	lmdb_read_end(m, h.txn);
	return e;
}
