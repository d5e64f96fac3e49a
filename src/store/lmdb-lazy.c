/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy commits: done in memory by the commit thread, which gives them their revisions, and written
 * with the next transaction or when they have waited long enough.
 *
 *     disk      ... 41 42 43                     m->state.rev == 43
 *     m->lazy                44 45 46            thread: requests, written again in this order
 *     m->recent              44 45 46            loop: the objects, for reads and watches
 *
 * Whoever reads takes from m->recent what is above the revision of its own read transaction, so it
 * does not matter which of the two hears first of a write to the disk.
 *
 * After a crash the revisions that were in memory alone are gone, with what they held. They are not
 * given out again: each opening skips LAZY_MAX of them, and the first commit after it is never
 * lazy.
 */

#include "store/lmdb-engine.h"

#include "base/mem.h"

#define LAZY_BYTES_MAX (1u << 20)

/* ---- in the thread ---- */

static bool lazy_fits(const struct lmdb *m, const struct list *reqs)
{
	const struct commit_req *req;
	size_t n = m->n_lazy, bytes = m->lazy_bytes;

	list_for_each(req, reqs, link) {
		for (size_t i = 0; i < req->n; i++)
			if (!req->ops[i].val_n)
				return false; /* deletes are what watches must not lose */
		if (!req->lazy)
			return false;
		bytes += req->bytes.n;
		n++;
	}
	return m->may_lazy && n <= LAZY_MAX && bytes <= LAZY_BYTES_MAX;
}

/* The newest value in memory; false: none. */
static bool lazy_load(const struct lmdb *m, struct str key, struct commit_op *op)
{
	for (struct list *at = m->lazy.prev; at != &m->lazy; at = at->prev) {
		const struct commit_req *req = list_entry(at, struct commit_req, link);

		for (size_t i = req->n; i-- > 0;) {
			const struct commit_op *was = &req->ops[i];

			if (!str_eq(commit_op_key(req, was), key))
				continue;
			commit_op_set_prev(op, str_make(req->bytes.p + was->val_at, was->val_n),
					   req->rev);
			return true;
		}
	}
	return false;
}

static int lazy_check(struct lmdb *m, MDB_txn *txn, struct commit_req *req)
{
	for (size_t i = 0; i < req->n; i++) {
		struct commit_op *op = &req->ops[i];
		int rc;

		if (lazy_load(m, commit_op_key(req, op), op))
			continue;
		rc = commit_op_load(m, txn, req, op);
		if (rc)
			return rc;
	}
	commit_req_compare(req);
	return 0;
}

static void lazy_keep(struct lmdb *m, struct commit_req *req)
{
	struct commit_req *kept = mem_new(struct commit_req);

	if (!m->n_lazy)
		m->lazy_due.ns = mono_now().ns + (int64_t)STORE_LAZY_MS * NS_PER_MS;
	req->rev = m->state.rev + ++m->n_lazy;
	req->deferred = true;
	kept->rev = req->rev;
	kept->n = req->n;
	kept->ops = mem_zalloc(req->n, sizeof(*kept->ops));
	for (size_t i = 0; i < req->n; i++) {
		kept->ops[i] = req->ops[i];
		kept->ops[i].prev = NULL;
		kept->ops[i].expect = STORE_ANY.n;
	}
	buf_add(&kept->bytes, buf_str(&req->bytes));
	m->lazy_bytes += kept->bytes.n;
	list_push_back(&m->lazy, &kept->link);
}

bool lazy_apply(struct lmdb *m, struct list *reqs)
{
	struct commit_req *req;
	MDB_txn *txn;
	int rc;

	if (!lazy_fits(m, reqs) || mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn))
		return false;
	list_for_each(req, reqs, link) {
		rc = lazy_check(m, txn, req);
		if (rc)
			req->rc = rc;
		else if (!req->conflict)
			lazy_keep(m, req);
	}
	mdb_txn_abort(txn);
	return true;
}

void lazy_written(struct lmdb *m)
{
	struct commit_req *req, *tmp;

	list_for_each_safe(req, tmp, &m->lazy, link) {
		list_unlink(&req->link);
		commit_req_free(req);
	}
	m->n_lazy = m->lazy_bytes = 0;
	m->may_lazy = true;
}

/* ---- in the loop ---- */

static void recent_free(struct lmdb *m, struct recent *r)
{
	list_unlink(&r->link);
	if (map_find(&m->recent_by_key, r->key) == r)
		map_del(&m->recent_by_key, r->key);
	obj_unref(r->obj);
	obj_unref(r->prev);
	free((void *)(uintptr_t)r->key.p);
	free(r);
}

void recent_add(struct lmdb *m, struct str key, const struct store_event *ev)
{
	struct recent *r = mem_new(struct recent);

	r->key = (struct str){ mem_strdup(key), key.n };
	r->resource = lmdb_key_resource(r->key);
	r->rev = ev->rev;
	r->obj = obj_ref(ev->obj);
	r->prev = ev->prev ? obj_ref(ev->prev) : NULL;
	list_push_back(&m->recent, &r->link);
	map_put(&m->recent_by_key, r->key, r);
}

void recent_drop(struct lmdb *m, uint64_t rev)
{
	struct recent *r, *tmp;

	list_for_each_safe(r, tmp, &m->recent, link) {
		if (r->rev.n > rev)
			break;
		recent_free(m, r);
	}
}
