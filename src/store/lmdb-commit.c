/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit thread: the only one that writes. The loop thread hands it requests of plain bytes
 * (objects are counted without atomics, so none crosses over) and it commits all it finds
 * waiting with one fsync:
 *
 *     fiber: store_commit -> request -> queue ~~> thread: check, apply, ... commit, fsync
 *     fiber wakes <- events to watches <- loop: batch done <~~ post
 *
 * Writers come back once their commit is done, so with many of them half would wait in the queue
 * while the other half is being committed, and every fsync would serve half a crowd. After a batch
 * the thread therefore waits a moment for as many requests as it saw around it.
 *
 * Each request has its own revision and its own outcome; a batch that fails as a whole (disk
 * full) is tried again one by one, so that one large request does not fail its neighbours.
 */

#include <errno.h>
#include <time.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/lmdb-engine.h"

#define BATCH_MAX       256
#define BATCH_BYTES_MAX (8u << 20)
#define OPS_MAX         4096
#define GATHER_MIN_NS   (250 * 1000)
#define GATHER_MAX_NS   (2 * NS_PER_MS)
#define LAZY_RETRY_NS   NS_PER_SEC
#define IDLE_LOOK_NS    (30 * NS_PER_SEC)
#define IDLE_RECORDS    4096 /* of the history, dropped at once when nothing else is to be done */

struct batch {
	struct lmdb *m;
	struct list reqs;
	uint64_t compacted, on_disk;
};

/* ---- in the thread ---- */

struct commit_txn {
	struct lmdb *m;
	MDB_txn *txn;
	struct lmdb_state state; /* becomes m->state if all goes well */
	struct buf record;
	size_t applied;
	bool idle; /* for the sake of the history alone */
};

static MDB_val op_key(const struct commit_req *req, const struct commit_op *op)
{
	return lmdb_val(commit_op_key(req, op));
}

static void op_forget_prev(struct commit_op *op)
{
	free(op->prev);
	op->prev = NULL;
	op->prev_n = 0;
	op->prev_rev = 0;
}

void commit_req_forget(struct commit_req *req)
{
	for (size_t i = 0; i < req->n; i++)
		op_forget_prev(&req->ops[i]);
	req->conflict = false;
	req->rc = 0;
	req->rev = 0;
}

void commit_op_set_prev(struct commit_op *op, struct str bytes, uint64_t rev)
{
	op->prev = mem_alloc(bytes.n);
	memcpy(op->prev, bytes.p, bytes.n);
	op->prev_n = bytes.n;
	op->prev_rev = rev;
}

int commit_op_load(struct lmdb *m, MDB_txn *txn, struct commit_req *req, struct commit_op *op)
{
	MDB_val key = op_key(req, op), val;
	uint64_t rev;
	int rc = mdb_get(txn, m->objects, &key, &val);

	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (val.mv_size <= sizeof(rev))
		return MDB_CORRUPTED;
	memcpy(&rev, val.mv_data, sizeof(rev));
	commit_op_set_prev(op, str_skip(lmdb_str(val), sizeof(rev)), rev);
	return 0;
}

void commit_req_compare(struct commit_req *req)
{
	for (size_t i = 0; i < req->n && !req->conflict; i++) {
		const struct commit_op *op = &req->ops[i];

		if (op->expect == STORE_ANY.n || op->expect == op->prev_rev)
			continue;
		req->conflict = true;
		req->failed = i;
	}
}

/* Loads what is there now and compares it with what was expected. */
static int req_check(struct commit_txn *t, struct commit_req *req)
{
	for (size_t i = 0; i < req->n; i++) {
		int rc = commit_op_load(t->m, t->txn, req, &req->ops[i]);

		if (rc)
			return rc;
	}
	commit_req_compare(req);
	return 0;
}

static int op_write(struct commit_txn *t, struct commit_req *req, struct commit_op *op,
		    uint64_t rev)
{
	MDB_val key = op_key(req, op), val = { sizeof(rev) + op->val_n, NULL };
	int rc;

	if (!op->val_n)
		return mdb_del(t->txn, t->m->objects, &key, NULL);
	rc = mdb_put(t->txn, t->m->objects, &key, &val, MDB_RESERVE);
	if (rc)
		return rc;
	memcpy(val.mv_data, &rev, sizeof(rev));
	memcpy((char *)val.mv_data + sizeof(rev), req->bytes.p + op->val_at, op->val_n);
	return 0;
}

static int count_change(struct commit_txn *t, struct str key, int64_t delta)
{
	struct str resource = lmdb_key_resource(key);
	MDB_val k = lmdb_val(resource), v;
	uint64_t n = 0;
	int rc = mdb_get(t->txn, t->m->counts, &k, &v);

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!rc && v.mv_size == sizeof(n))
		memcpy(&n, v.mv_data, sizeof(n));
	n += (uint64_t)delta;
	v = (MDB_val){ sizeof(n), &n };
	return mdb_put(t->txn, t->m->counts, &k, &v, 0);
}

static void record_add(struct buf *record, const struct commit_req *req, const struct commit_op *op)
{
	struct log_op h = {
		.put = op->val_n != 0,
		.key_n = (uint16_t)op->key_n,
		.prev_n = (uint32_t)op->prev_n,
		.prev_rev = op->prev_rev,
	};

	buf_add(record, str_make((const char *)&h, sizeof(h)));
	buf_add(record, str_make(req->bytes.p + op->key_at, op->key_n));
	buf_add(record, str_make(op->prev, op->prev_n));
}

static int record_write(struct commit_txn *t, uint64_t rev)
{
	MDB_val key = { sizeof(rev), &rev }, val = { t->record.n, t->record.p };
	int rc = mdb_put(t->txn, t->m->log, &key, &val, MDB_APPEND);

	if (!rc)
		t->state.log_bytes += t->record.n;
	return rc;
}

static int req_write(struct commit_txn *t, struct commit_req *req)
{
	struct log_head head = { .wall_ms = wall_now().ns / NS_PER_MS };
	uint64_t rev = t->state.rev + 1;

	buf_clear(&t->record);
	buf_add(&t->record, str_make((const char *)&head, sizeof(head)));
	for (size_t i = 0; i < req->n; i++) {
		struct commit_op *op = &req->ops[i];
		int rc;

		if (!op->val_n && !op->prev)
			continue; /* deletes what is not there */
		rc = op_write(t, req, op, rev);
		if (rc)
			return rc;
		if (!op->val_n || !op->prev) {
			rc = count_change(t, str_make(req->bytes.p + op->key_at, op->key_n),
					  op->val_n ? 1 : -1);
			if (rc)
				return rc;
		}
		record_add(&t->record, req, op);
		head.n++;
	}
	if (!head.n) {
		req->rev = t->state.rev;
		return 0;
	}
	memcpy(t->record.p, &head, sizeof(head));
	req->rev = t->state.rev = rev;
	t->applied++;
	return record_write(t, rev);
}

static bool record_is_old(const struct commit_txn *t, MDB_val val, int64_t now_ms)
{
	struct log_head head;

	if (t->state.log_bytes > t->m->opts.history_bytes || val.mv_size < sizeof(head))
		return true;
	memcpy(&head, val.mv_data, sizeof(head));
	return head.wall_ms + t->m->opts.history_ms < now_ms;
}

/*
 * Drops what is too old or too much: a little more than what was added, so that the work of
 * one commit is bounded and the history shrinks all the same.
 */
static int compact(struct commit_txn *t)
{
	bool far_over = t->state.log_bytes > 2 * t->m->opts.history_bytes;
	size_t left = t->idle ? IDLE_RECORDS : far_over ? 1024 : 2 * t->applied + 2;
	int64_t now_ms = wall_now().ns / NS_PER_MS;
	MDB_cursor *c;
	MDB_val key, val;
	int rc = mdb_cursor_open(t->txn, t->m->log, &c);

	if (rc)
		return rc;
	for (rc = mdb_cursor_get(c, &key, &val, MDB_FIRST); !rc && left;
	     rc = mdb_cursor_get(c, &key, &val, MDB_FIRST), left--) {
		uint64_t rev;

		if (!record_is_old(t, val, now_ms) || key.mv_size != sizeof(rev))
			break;
		memcpy(&rev, key.mv_data, sizeof(rev));
		t->state.log_bytes -= MIN(t->state.log_bytes, val.mv_size);
		t->state.compacted = rev;
		rc = mdb_cursor_del(c, 0);
		if (rc)
			break;
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int txn_finish(struct commit_txn *t)
{
	MDB_val key = lmdb_val(STR("state")), val = { sizeof(t->state), &t->state };
	MDB_txn *txn;
	int rc = compact(t);

	if (!rc)
		rc = mdb_put(t->txn, t->m->main, &key, &val, 0);
	if (rc)
		return rc;
	txn = TAKE(t->txn);
	rc = mdb_txn_commit(txn);
	if (!rc)
		t->m->state = t->state;
	return rc;
}

/* What was done in memory, again, with the revisions it was given. */
static int lazy_write(struct commit_txn *t)
{
	struct commit_req *req;

	list_for_each(req, &t->m->lazy, link) {
		uint64_t rev = req->rev;
		int rc;

		commit_req_forget(req);
		rc = req_check(t, req);
		if (!rc)
			rc = req_write(t, req);
		if (rc) {
			req->rev = rev;
			return rc;
		}
		INVARIANT(req->rev == rev);
	}
	return 0;
}

/* What waits in memory and all requests of the list in one transaction. */
static int commit_list(struct lmdb *m, struct list *reqs, bool idle)
{
	struct commit_txn t = { .m = m, .state = m->state, .idle = idle };
	struct commit_req *req;
	int rc = mdb_txn_begin(m->env, NULL, 0, &t.txn);

	if (rc)
		return rc;
	rc = lazy_write(&t);
	list_for_each(req, reqs, link) {
		if (rc)
			break;
		rc = req_check(&t, req);
		if (!rc && !req->conflict)
			rc = req_write(&t, req);
		if (rc)
			break;
	}
	if (!rc && (t.applied || idle))
		rc = txn_finish(&t);
	if (!rc && t.applied)
		lazy_written(m);
	if (t.txn)
		mdb_txn_abort(t.txn);
	buf_fini(&t.record);
	return rc;
}

static void commit_batch(struct lmdb *m, struct list *reqs)
{
	struct commit_req *req;

	if (lazy_apply(m, reqs) || !commit_list(m, reqs, false))
		return;
	list_for_each(req, reqs, link) {
		struct list alone, *after = req->link.next, *before = req->link.prev;

		commit_req_forget(req);
		list_init(&alone);
		list_unlink(&req->link);
		list_push_back(&alone, &req->link);
		req->rc = commit_list(m, &alone, false);
		list_unlink(&req->link);
		ASSERT(before->next == after);
		list_insert_before(after, &req->link);
	}
}

static void commit_done(void *p);

/* What waits in the queue, up to a bound. Under the mutex. */
static struct batch *batch_take(struct lmdb *m, size_t *ret_n)
{
	struct batch *b = mem_new(struct batch);
	size_t n = 0, bytes = 0;

	b->m = m;
	list_init(&b->reqs);
	while (!list_empty(&m->queue) && n < BATCH_MAX && bytes < BATCH_BYTES_MAX) {
		struct commit_req *req = list_entry(m->queue.next, struct commit_req, link);

		list_unlink(&req->link);
		list_push_back(&b->reqs, &req->link);
		bytes += req->bytes.n;
		n++;
	}
	m->n_queued -= n;
	*ret_n = n;
	return b;
}

/*
 * Under the mutex: until n requests wait, or not for much longer. Half of what the last commit took
 * is well spent for twice the crowd, on a slow disk or a busy machine too.
 */
static void gather(struct lmdb *m, size_t n, int64_t last_ns)
{
	int64_t wait_ns = MIN(MAX(last_ns / 2, (int64_t)GATHER_MIN_NS), (int64_t)GATHER_MAX_NS);
	struct mono at = mono_now();
	struct timespec until;

	if (m->n_queued >= n || m->stop)
		return;
	at.ns += wait_ns;
	until = (struct timespec){ at.ns / NS_PER_SEC, at.ns % NS_PER_SEC };
	m->wake_at = n;
	while (m->n_queued < n && !m->stop)
		if (pthread_cond_timedwait(&m->cond, &m->mutex, &until) == ETIMEDOUT)
			break;
	m->wake_at = 1;
}

/* Whether the history begins with what is too old for it, though no commit came to drop it. */
static bool history_is_old(struct lmdb *m)
{
	struct commit_txn t = { .m = m, .state = m->state };
	MDB_cursor *c;
	MDB_val key, val;
	bool old = false;

	if (mdb_txn_begin(m->env, NULL, MDB_RDONLY, &t.txn))
		return false;
	if (!mdb_cursor_open(t.txn, m->log, &c)) {
		old = !mdb_cursor_get(c, &key, &val, MDB_FIRST) &&
		      record_is_old(&t, val, wall_now().ns / NS_PER_MS);
		mdb_cursor_close(c);
	}
	mdb_txn_abort(t.txn);
	return old;
}

static int64_t idle_look_ns(const struct lmdb *m)
{
	return MIN(IDLE_LOOK_NS, m->opts.history_ms * NS_PER_MS / 2);
}

/* Nobody asked for anything: what is due all the same. */
static void commit_idle(struct lmdb *m, struct list *none)
{
	int64_t now = mono_now().ns;
	bool old;

	m->idle_due.ns = now + idle_look_ns(m);
	/* One transaction for what waits and what is old: a small box is hardly ever without both.
	 */
	if (m->n_lazy && now < m->lazy_due.ns && !m->stop)
		return;
	old = history_is_old(m);
	if (!old && !m->n_lazy)
		return;
	if (commit_list(m, none, old))
		m->lazy_due.ns = now + LAZY_RETRY_NS;
	else if (old)
		m->idle_due.ns = now; /* there may be more */
}

/* Under the mutex: until there is something to do. */
static void wait_for_work(struct lmdb *m)
{
	while (list_empty(&m->queue) && !m->stop) {
		int64_t due = m->n_lazy ? MIN(m->idle_due.ns, m->lazy_due.ns) : m->idle_due.ns;
		struct timespec until = { due / NS_PER_SEC, due % NS_PER_SEC };

		if (pthread_cond_timedwait(&m->cond, &m->mutex, &until) == ETIMEDOUT)
			return;
	}
}

static void *commit_thread(void *p)
{
	struct lmdb *m = p;
	size_t crowd = 1;
	int64_t took = 0;

	pthread_setname_np(pthread_self(), "store-commit");
	m->idle_due.ns = mono_now().ns + idle_look_ns(m);
	pthread_mutex_lock(&m->mutex);
	for (;;) {
		struct batch *b;
		struct mono start;
		bool stop;
		size_t n;

		wait_for_work(m);
		if (list_empty(&m->queue) && !m->n_lazy && m->stop)
			break;
		if (!list_empty(&m->queue))
			gather(m, MIN(crowd, BATCH_MAX), took);
		b = batch_take(m, &n);
		m->posted++;
		stop = m->stop && !n;
		pthread_mutex_unlock(&m->mutex);
		start = mono_now();
		if (n)
			commit_batch(m, &b->reqs);
		else
			commit_idle(m, &b->reqs);
		b->compacted = m->state.compacted;
		b->on_disk = m->state.rev;
		took = mono_now().ns - start.ns;
		if (!stop)
			loop_post_from_thread(m->base.loop, commit_done, b);
		pthread_mutex_lock(&m->mutex);
		crowd = n + m->n_queued;
		if (stop) { /* nobody is to hear of it */
			m->posted--;
			free(b);
			break;
		}
	}
	pthread_mutex_unlock(&m->mutex);
	return NULL;
}

/* ---- in the loop ---- */

static struct err *op_prev_obj(const struct commit_op *op, const struct obj **ret)
{
	*ret = NULL;
	if (!op->prev)
		return NULL;
	return obj_decode(str_make(op->prev, op->prev_n), (struct rev){ op->prev_rev }, ret);
}

static void op_publish(struct store *s, const struct commit_req *req, size_t i,
		       const struct obj *prev)
{
	const struct commit_op *op = &req->ops[i];
	struct store_op *to = &req->caller_ops[i];
	struct rev rev = { req->rev };
	struct store_event ev = { .rev = rev, .resource = to->key.resource, .prev = prev };

	if (!to->put && !op->prev)
		return;
	if (!to->put != !op->prev)
		store_add_count(s, to->key.resource, to->put ? 1 : -1);
	ev.type = to->put ? STORE_PUT : STORE_DELETE;
	ev.obj = obj_with_rev(to->put ? to->put : prev, rev);
	store_deliver(s, &ev);
	if (req->deferred)
		recent_add(container_of(s, struct lmdb, base), commit_op_key(req, op), &ev);
	to->result = to->put ? ev.obj : obj_ref(prev);
	if (!to->put)
		obj_unref(ev.obj);
}

static void req_publish(struct store *s, struct commit_req *req)
{
	for (size_t i = 0; i < req->n && !req->err; i++) {
		const struct commit_op *op = &req->ops[i];
		struct store_op *to = &req->caller_ops[i];
		_cleanup_obj_ const struct obj *prev = NULL;

		if (req->conflict && i != req->failed)
			continue;
		req->err = op_prev_obj(op, &prev);
		if (req->err)
			break;
		if (req->conflict)
			to->result = TAKE(prev);
		else
			op_publish(s, req, i, prev);
	}
}

static void commit_done(void *p)
{
	struct batch *b = p;
	struct lmdb *m = b->m;
	struct commit_req *req, *tmp;
	uint64_t rev = m->base.delivered.n;

	pthread_mutex_lock(&m->mutex);
	m->posted--;
	pthread_mutex_unlock(&m->mutex);
	if (!m->closed) {
		m->compacted = b->compacted;
		if (b->on_disk > m->on_disk) {
			m->on_disk = b->on_disk;
			recent_drop(m, b->on_disk);
			store_count_sync(&m->base);
		}
	}
	list_for_each_safe(req, tmp, &b->reqs, link) {
		list_unlink(&req->link);
		if (req->rc)
			req->err = lmdb_err(m, req->rc, "commit");
		else if (!m->closed)
			req_publish(&m->base, req);
		rev = MAX(rev, req->rev);
		req->done = true;
		waitq_wake_all(&req->wait);
	}
	if (m->closed)
		lmdb_free(m);
	else if (rev > m->base.delivered.n)
		store_delivered(&m->base, (struct rev){ rev });
	free(b);
}

/* Keys and encoded objects, as bytes that the thread may read. */
static void req_fill(struct commit_req *req, struct store_op *ops, size_t n)
{
	req->ops = mem_zalloc(n, sizeof(*req->ops));
	req->caller_ops = ops;
	req->n = n;
	waitq_init(&req->wait);
	for (size_t i = 0; i < n; i++) {
		struct commit_op *op = &req->ops[i];
		struct lmdb_key key;

		lmdb_key_make(&key, ops[i].key.resource, ops[i].key.ns, ops[i].key.name);
		op->expect = ops[i].expect.n;
		op->key_at = req->bytes.n;
		op->key_n = key.n;
		buf_add(&req->bytes, str_make(key.p, key.n));
		op->val_at = req->bytes.n;
		if (ops[i].put)
			obj_encode(&req->bytes, ops[i].put);
		op->val_n = req->bytes.n - op->val_at;
	}
}

void commit_req_free(struct commit_req *req)
{
	for (size_t i = 0; i < req->n; i++)
		op_forget_prev(&req->ops[i]);
	free(req->ops);
	buf_fini(&req->bytes);
	free(req);
}

static struct err *req_wait(struct commit_req *req)
{
	struct err *e = NULL;

	/* The request is in the thread's hands; its outcome is near in any case. */
	fiber_mask_cancel();
	while (!req->done && !e)
		e = waitq_wait(&req->wait);
	fiber_unmask_cancel();
	ASSERT(!e);
	return NULL;
}

struct err *lmdb_commit(struct store *s, struct store_op *ops, size_t n, bool lazy,
			struct rev *ret_rev, size_t *ret_failed)
{
	struct lmdb *m = container_of(s, struct lmdb, base);
	struct commit_req *req;
	struct err *e;

	if (n == 0 || n > OPS_MAX)
		return err_new(ERR_BAD_REQUEST, "a transaction of %zu operations", n);
	req = mem_new(struct commit_req);
	req_fill(req, ops, n);
	req->lazy = lazy && m->opts.lazy;
	pthread_mutex_lock(&m->mutex);
	list_push_back(&m->queue, &req->link);
	if (++m->n_queued >= m->wake_at)
		pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->mutex);
	e = req_wait(req);
	if (!e)
		e = TAKE(req->err);
	if (!e && req->conflict) {
		e = err_new(ERR_CONFLICT, "revision of '" STR_FMT "' is %llu",
			    STR_ARG(ops[req->failed].key.name),
			    (unsigned long long)req->ops[req->failed].prev_rev);
		if (ret_failed)
			*ret_failed = req->failed;
	} else if (!e && ret_rev) {
		ret_rev->n = req->rev;
	}
	commit_req_free(req);
	return e;
}

struct err *lmdb_commit_start(struct lmdb *m)
{
	int rc = pthread_create(&m->thread, NULL, commit_thread, m);

	if (rc)
		return err_errno(rc, "store '%s': commit thread", m->path);
	m->thread_runs = true;
	return NULL;
}

void lmdb_commit_stop(struct lmdb *m)
{
	if (!m->thread_runs)
		return;
	pthread_mutex_lock(&m->mutex);
	m->stop = true;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->mutex);
	pthread_join(m->thread, NULL);
	m->thread_runs = false;
}
