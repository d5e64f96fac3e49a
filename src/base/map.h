/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash map from string keys (copied in) to pointers (borrowed; never NULL). Insertion
 * order is kept by iteration. Zero-initialized is valid and empty. Deleting the current
 * entry while iterating is legal; adding is not.
 */

#include "base/str.h"

struct map_entry {
	struct str key;
	void *val;
	/* private */
	struct map_entry *next_hash, *next, *prev;
	uint64_t hash;
};

struct map {
	size_t n;
	/* private */
	struct map_entry **buckets, *first, *last;
	size_t n_buckets;
};

void map_fini(struct map *m);
#define _cleanup_map_ _cleanup_(map_fini)

/* The previous value, or NULL. */
void *map_put(struct map *m, struct str key, void *val);
void *map_find(const struct map *m, struct str key);
/* The value removed, or NULL. */
void *map_del(struct map *m, struct str key);
void map_clear(struct map *m);

#define map_for_each(e, m)                                                         \
	for (struct map_entry *e = (m)->first, *e##_next_ = e ? e->next : NULL; e; \
	     e = e##_next_, e##_next_ = e ? e->next : NULL)
