/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The embedded engine, shared by its own files only.
 *
 * Tables of the environment:
 *     objects  resource \0 ns \0 name          -> u64 revision, encoded object
 *     log      revision                        -> struct log_head, then struct log_op each
 *     counts   resource                        -> u64 objects
 *     (main)   "state"                         -> struct lmdb_state
 *
 * The log keeps what each change replaced, not what it wrote: that is in objects or in a later
 * record. So creating costs a few bytes of history, and the past is read by walking back.
 */

#include <lmdb.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "store/store-internal.h"

#define LMDB_KEY_MAX 511

struct lmdb_state {
	uint64_t magic;
	uint64_t rev;
	uint64_t compacted; /* the newest revision that is no longer in the log */
	uint64_t log_bytes;
};

#define LMDB_STATE_MAGIC UINT64_C(0x31304f5349454c42)

struct log_head {
	int64_t wall_ms;
	uint32_t n;
} __attribute__((packed));

struct log_op {
	uint8_t put; /* else a delete */
	uint16_t key_n;
	uint32_t prev_n; /* 0: there was none */
	uint64_t prev_rev;
	/* key, then the encoded object that was there */
} __attribute__((packed));

struct lmdb {
	struct store base;
	struct store_opts opts;
	char *path;
	int lock_fd;
	MDB_env *env;
	MDB_dbi objects, log, counts, main;
	/* loop thread */
	MDB_txn *idle_read; /* reset, ready for renewal */
	uint64_t compacted; /* as of the last completed commit */
	uint64_t on_disk;   /* the revision that it made durable */
	/* commit thread, between mutex and cond */
	pthread_t thread;
	bool thread_runs;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct list queue; /* struct commit_req */
	size_t n_queued;
	size_t wake_at; /* the queue length that is worth waking the thread for */
	bool stop;
	unsigned posted; /* batches on their way to the loop; loop and thread, under mutex */
	bool closed;
	/* commit thread alone */
	struct lmdb_state state; /* what is on the disk */
	struct list lazy;        /* struct commit_req: committed in memory, by revision */
	size_t n_lazy, lazy_bytes;
	struct mono lazy_due, idle_due;
	bool may_lazy;
	/* loop thread: the same, as objects (lmdb-lazy.c) */
	struct list recent;
	struct map recent_by_key; /* the last of each key */
};

/* A transaction as the commit thread sees it: plain bytes. */
struct commit_op {
	size_t key_at, key_n; /* in bytes */
	size_t val_at, val_n; /* val_n 0: delete */
	uint64_t expect;
	/* result */
	char *prev; /* stored bytes, on the heap; NULL: there was none */
	size_t prev_n;
	uint64_t prev_rev;
};

struct commit_req {
	struct list link;
	struct buf bytes;
	struct commit_op *ops;
	struct store_op *caller_ops; /* the loop's; not touched by the thread */
	size_t n;
	bool lazy; /* need not be durable at once */
	/* result */
	int rc;
	bool conflict, deferred;
	size_t failed;
	uint64_t rev;
	/* loop */
	bool done;
	struct err *err;
	struct waitq wait;
};

/* lmdb.c */
struct lmdb_key {
	char p[LMDB_KEY_MAX];
	size_t n;
};

void lmdb_key_make(struct lmdb_key *k, struct str resource, struct str ns, struct str name);
/* resource \0 or resource \0 ns \0 */
void lmdb_key_prefix(struct lmdb_key *k, struct str resource, struct str ns);
struct str lmdb_key_resource(struct str key);
MUST_USE struct err *lmdb_err(const struct lmdb *m, int rc, const char *what);
void lmdb_free(struct lmdb *m);

/* A short read transaction; never across a suspension. */
MUST_USE struct err *lmdb_read_begin(struct lmdb *m, MDB_txn **ret, struct lmdb_state *ret_state);
void lmdb_read_end(struct lmdb *m, MDB_txn *txn);

static inline struct str lmdb_str(MDB_val v)
{
	return (struct str){ v.mv_data, v.mv_size };
}

static inline MDB_val lmdb_val(struct str s)
{
	return (MDB_val){ s.n, (void *)(uintptr_t)s.p };
}

/* lmdb-read.c */
struct err *lmdb_get(struct store *s, const struct store_key *key, const struct obj **ret);
struct err *lmdb_list(struct store *s, const struct store_list_opts *opts,
		      bool (*fn)(const struct obj *o, void *ctx), void *ctx,
		      struct store_list_result *ret);
MUST_USE struct err *lmdb_bad_record(const struct lmdb *m);
/* A value of objects; false: it is none. */
bool lmdb_value_split(MDB_val val, struct rev *ret_rev, struct str *ret_bytes);

/* lmdb-history.c */
struct err *lmdb_history(struct store *s, struct store_past *past,
			 void (*fn)(const struct store_event *ev, void *ctx), void *ctx);

/* lmdb-log.c */
struct log_iter {
	struct str rest;
	uint32_t left;
	/* the op */
	bool put;
	struct str key, prev; /* prev.p NULL: none */
	struct rev prev_rev;
};

bool log_iter_init(struct log_iter *it, struct str record);
bool log_iter_next(struct log_iter *it);

/* lmdb-commit.c */
struct err *lmdb_commit(struct store *s, struct store_op *ops, size_t n, bool lazy,
			struct rev *ret_rev, size_t *ret_failed);
/* What a request found is forgotten, for another attempt. */
void commit_req_forget(struct commit_req *req);
void commit_req_free(struct commit_req *req);
void commit_op_set_prev(struct commit_op *op, struct str bytes, uint64_t rev);
static inline struct str commit_op_key(const struct commit_req *req, const struct commit_op *op)
{
	return str_make(req->bytes.p + op->key_at, op->key_n);
}
/* What is there now becomes the operation's prev. */
int commit_op_load(struct lmdb *m, MDB_txn *txn, struct commit_req *req, struct commit_op *op);
/* The first operation that does not find what it expects, if any. */
void commit_req_compare(struct commit_req *req);

/* lmdb-lazy.c */
#define LAZY_MAX 1024 /* revisions that are in memory alone, at most */
/* Thread: does the requests in memory, all of them; false: they have to be committed. */
bool lazy_apply(struct lmdb *m, struct list *reqs);
/* Thread: they are on the disk. */
void lazy_written(struct lmdb *m);
/* Loop: what a lazy commit did. */
void recent_add(struct lmdb *m, struct str key, const struct store_event *ev);
/* Loop: everything up to rev is on the disk. */
void recent_drop(struct lmdb *m, uint64_t rev);

struct recent {
	struct list link;
	struct str key, resource;
	struct rev rev;
	const struct obj *obj, *prev;
};
MUST_USE struct err *lmdb_commit_start(struct lmdb *m);
void lmdb_commit_stop(struct lmdb *m);
