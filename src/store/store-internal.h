/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between store.c (the public face, watches, counts) and its engine. */

#include "base/map.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "store/store.h"

/* Events of the past. */
struct store_past {
	struct str resource;
	struct str ns, name; /* both: of one object; ns alone: of a namespace; as far as it helps */
	struct rev from, to; /* those with a revision in (from, to] */
	size_t bytes;        /* enough when they have so many; 0: all */
	struct rev upto;     /* ret: they are all that there were up to here */
};

struct store_engine_ops {
	struct err *(*get)(struct store *s, const struct store_key *key, const struct obj **ret);
	struct err *(*list)(struct store *s, const struct store_list_opts *opts,
			    bool (*fn)(const struct obj *o, void *ctx), void *ctx,
			    struct store_list_result *ret);
	struct err *(*commit)(struct store *s, struct store_op *ops, size_t n, bool lazy,
			      struct rev *ret_rev, size_t *ret_failed); /* SUSPENDS */
	/* Calls fn for each, oldest first. EXPIRED when from is older than the history. */
	struct err *(*history)(struct store *s, struct store_past *past,
			       void (*fn)(const struct store_event *ev, void *ctx), void *ctx);
	struct rev (*oldest)(const struct store *s);
	struct err *(*snapshot)(struct store *s, int fd); /* SUSPENDS */
	uint64_t (*file_bytes)(const struct store *s);
	void (*close)(struct store *s);
};

/* Embedded first in the engine's own struct. */
struct store {
	struct loop *loop;
	const struct store_engine_ops *ops;
	struct rev delivered; /* watches have seen everything up to here */
	struct rev seen;      /* at least that, and what reads have shown */
	struct map buckets;   /* resource -> struct watch_bucket */
	struct map counts;    /* resource -> struct store_counter */
	struct list lagging;  /* watches with a backlog: struct lagging */
	struct task catch_up;
	size_t backlog_bytes;
	struct store_stats stats;
};

/* For engines. */
void store_init(struct store *s, struct loop *l, const struct store_engine_ops *ops,
		struct rev rev);
void store_fini(struct store *s);
void store_add_count(struct store *s, struct str resource, int64_t delta);
/* In revision order. */
void store_deliver(struct store *s, const struct store_event *ev);
/* After the events of some commits: rev is the last of them. */
void store_delivered(struct store *s, struct rev rev);
void store_saw(struct store *s, struct rev rev);
void store_count_sync(struct store *s);
MUST_USE struct err *store_expired(struct rev from, struct rev oldest);
