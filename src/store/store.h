/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The store: revisioned objects, transactions, watch. One contract, two engines (lmdb.c; etcd.c
 * is to come). A committed transaction is durable when store_commit returns. All its puts
 * carry one new revision. The store belongs to one loop; the engine may use a thread inside.
 */

#include "api/obj.h"
#include "base/list.h"

struct err;
struct loop;
struct selector;
struct store;
struct watch_bucket;

#define STORE_RESOURCE_MAX 200
#define STORE_NS_MAX       63

struct store_key {
	struct str resource; /* "pods", "replicasets.apps": [a-z0-9.-], STORE_RESOURCE_MAX */
	struct str ns;       /* empty: cluster-scoped; STORE_NS_MAX */
	struct str name;     /* any length; no NUL bytes */
};

struct store_opts {
	const char *path;       /* directory, created when absent */
	uint64_t map_size;      /* 0: 1 TiB */
	int64_t history_ms;     /* 0: 5 minutes */
	uint64_t history_bytes; /* 0: 256 MiB */
	size_t backlog_bytes;   /* of events a watch that is behind gets at a time; 0: 256 KiB */
	/* store_commit_lazy may wait. Costs a gap in the revisions at each opening. */
	bool lazy;
};

/* lifecycle */
/* CORRUPT with the way out in its message; UNAVAILABLE when another process holds it. */
MUST_USE struct err *store_open(struct loop *l, const struct store_opts *opts, struct store **ret);
struct store *store_close(struct store *s);
/* The same as store_snapshot for a store that any process may have open. Blocks. */
MUST_USE struct err *store_copy(const char *path, int fd);
/*
 * Puts a snapshot in place of the data of a store that no process has open. The old data is
 * kept beside it as data.mdb.old.
 */
MUST_USE struct err *store_restore(const char *path, int fd);

/* reading */
/* NULL when absent. A new reference. */
MUST_USE SUSPENDS struct err *store_get(struct store *s, const struct store_key *key,
					const struct obj **ret);

struct store_list_opts {
	struct str resource;
	struct str ns;                   /* empty: all namespaces (or cluster-scoped) */
	struct str after_ns, after_name; /* continue after this key (both empty: from the start) */
	struct rev at;                   /* 0: now; EXPIRED when out of history */
	size_t limit;                    /* objects accepted by fn at most; 0: no limit */
	size_t bytes; /* stop after accepted objects of so many bytes; 0: no limit */
	/* fn gets objects that it must not reference, only copy: a list that writes them out is
	 * spared a copy of each. */
	bool borrowed;
	/* Optional: what they reject is skipped before it costs a copy, and never shown to fn. */
	const struct selector *labels, *fields;
};

/*
 * For lists that are read a page at a time: bytes for what is left of the one at this revision.
 * 128 KB stay in the cache; far in the past, where each page costs looking back, more.
 */
size_t store_page_bytes(const struct store *s, struct rev at);

struct store_list_result {
	struct rev rev;     /* of the snapshot */
	bool more;          /* the limit cut it, or bytes */
	uint64_t remaining; /* objects after the limit, all of them (selectors do not count) */
};

/*
 * fn is called in key order (namespace, name); it keeps the object by reference and must not
 * suspend. False skips the object (it does not count to the limit).
 */
MUST_USE SUSPENDS struct err *store_list(struct store *s, const struct store_list_opts *opts,
					 bool (*fn)(const struct obj *o, void *ctx), void *ctx,
					 struct store_list_result *ret);
uint64_t store_count(struct store *s, struct str resource);

/* writing */
struct store_op {
	struct store_key key;
	const struct obj *put; /* NULL: delete */
	/* expect: revision the key must have now; 0: must not exist; STORE_ANY: no check */
	struct rev expect;
	/*
	 * ret: the committed object (put) or the one deleted, as a new reference; NULL if a
	 * delete found none
	 */
	const struct obj *result;
};

#define STORE_ANY ((struct rev){ UINT64_MAX })

/*
 * All or nothing. CONFLICT when an expectation fails (ret_failed: index of the op; the
 * key's present object in its result, or NULL), UNAVAILABLE on a full disk.
 */
MUST_USE SUSPENDS struct err *store_commit(struct store *s, struct store_op *ops, size_t n,
					   struct rev *ret_rev, size_t *ret_failed);
/*
 * For renewals and the like, whose loss in a crash nobody minds: seen by all at once, durable with
 * the next store_commit, or STORE_LAZY_MS later. Everything else is as with store_commit; no
 * revision is ever given twice. So a machine on which nothing happens writes next to nothing.
 */
MUST_USE SUSPENDS struct err *store_commit_lazy(struct store *s, struct store_op *ops, size_t n,
						struct rev *ret_rev, size_t *ret_failed);
#define STORE_LAZY_MS (90 * 1000)
/* The latest committed revision that anything here has shown. Begins at 1. */
struct rev store_rev(const struct store *s);
/* Watches and lists may ask for this one and any later. */
struct rev store_oldest_rev(const struct store *s);

/* watching */
enum store_event_type { STORE_PUT, STORE_DELETE };

struct store_event {
	enum store_event_type type;
	struct rev rev;
	struct str resource;
	/* put: the new object; delete: the last one, at the deletion's revision */
	const struct obj *obj;
	const struct obj *prev; /* NULL: created */
};

/*
 * Embed it. Events with a revision above from are delivered in order from the loop, first those
 * of the history, then live ones. The objects are borrowed during the call. Any watch may be
 * started or cancelled in a callback. Zero it before it is started the first time.
 */
struct store_watch {
	void (*event)(struct store_watch *w, const struct store_event *ev);
	/*
	 * Optional: everything up to rev was delivered (called when a turn delivered
	 * something elsewhere too).
	 */
	void (*progress)(struct store_watch *w, struct rev rev);
	/*
	 * Optional: with it the history is read in parts, while the loop has time. It may go before
	 * it was delivered: e (EXPIRED) is the callee's, and the watch is over.
	 */
	void (*failed)(struct store_watch *w, struct err *e);
	/* private */
	struct list link;
	struct store *store;
	struct watch_bucket *bucket;
	struct str ns, name;
	struct rev from; /* the live events above it */
	bool behind;     /* or the next part of the history, and nothing live yet */
	struct list backlog;
};

/*
 * EXPIRED when from is older than the history. ns and name narrow it; both may be empty.
 * The strings are copied.
 */
MUST_USE struct err *store_watch_start(struct store *s, struct store_watch *w, struct str resource,
				       struct str ns, struct str name, struct rev from);
/* Safe on a zeroed or already cancelled one. */
void store_watch_cancel(struct store_watch *w);

/* counting */
#define STORE_TIMES_N 23
extern const double store_time_bounds[STORE_TIMES_N]; /* seconds */

struct store_stats {
	uint64_t commits;              /* transactions that became durable */
	uint64_t failed;               /* that could not; unmet expectations are none of these */
	uint64_t syncs;                /* of the disk */
	uint64_t times[STORE_TIMES_N]; /* commits by how long they took, not cumulative */
	uint64_t commit_ns;            /* all of them */
	uint64_t file_bytes;
};
void store_get_stats(const struct store *s, struct store_stats *ret);

/* keeping */
/* Consistent copy while running, written from the present position of fd. */
MUST_USE SUSPENDS struct err *store_snapshot(struct store *s, int fd);
