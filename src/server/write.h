/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The transaction a write is about to commit. Strategies add operations to it (an IPAddress beside
 * its Service), so that all of it happens or nothing.
 */

#include "store/store.h"

#define WRITE_MAX_OPS 16

struct write {
	struct store_op ops[WRITE_MAX_OPS];
	size_t n;
	/* attempts so far; failed: index of the strategy's op that failed the last time, or -1 */
	int attempt;
	int failed;
};

/* Takes o. expect as in struct store_op. Keys are borrowed until the commit. */
void write_put(struct write *w, const struct store_key *key, const struct obj *o,
	       struct rev expect);
void write_del(struct write *w, const struct store_key *key, struct rev expect);
