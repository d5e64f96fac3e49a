/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The transaction a write is about to commit. Strategies add operations to it (an IPAddress beside
 * its Service), so that all of it happens or nothing. Operation 0 is the object itself.
 */

#include "store/store.h"

struct apiserver;
struct arena;
struct json;

#define WRITE_MAX_OPS 40 /* a Service's ports, and the quotas of its namespace */

struct write {
	struct store_op ops[WRITE_MAX_OPS];
	size_t n;
	int attempt; /* so far */
	int failed;  /* index of the operation that failed the last time, or -1 */
	bool lazy;   /* a crash may lose it (store_commit_lazy) when it is one operation alone */
	/* private */
	void (*on_fini)(void *ctx);
	void *on_fini_ctx;
};

/* Takes o. Keys are borrowed until the commit; expect as in struct store_op. */
void write_put(struct write *w, const struct store_key *key, const struct obj *o,
	       struct rev expect);
void write_del(struct write *w, const struct store_key *key, struct rev expect);
/* Calls fn(ctx) when this attempt ends; one per attempt. */
void write_on_fini(struct write *w, void (*fn)(void *ctx), void *ctx);
/*
 * Whether obj says nothing new but that somebody is alive: the same as old without what strip drops
 * from a copy of each. Such a write may be lazy.
 */
bool write_is_heartbeat(struct arena *a, const struct json *obj, const struct json *old,
			void (*strip)(struct json *copy, const struct json *from));
/* Drops all objects: for another attempt, or at the end. */
void write_fini(struct write *w);
#define _cleanup_write_ _cleanup_(write_fini)
/* A failed expectation is no error: *ret_conflict is set, failed and attempt are moved on. */
MUST_USE SUSPENDS struct err *write_commit(struct apiserver *s, struct write *w,
					   bool *ret_conflict);
