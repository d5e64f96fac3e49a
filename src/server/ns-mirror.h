/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A mirror of a namespaced resource with an index by namespace: whether a namespace has any
 * (LimitRanges, ResourceQuotas), and which, without looking at the store.
 */

#include "server/mirror.h"

struct arena;

struct ns_mirror {
	struct mirror base;
	/* private */
	struct map by_ns;
};

MUST_USE SUSPENDS struct err *ns_mirror_start(struct ns_mirror *m, struct apiserver *s,
					      const char *gr);
bool ns_mirror_any(const struct ns_mirror *m, struct str ns);
/* By name; held by the arena, since they may change while the caller waits. */
const struct obj *const *ns_mirror_list(const struct ns_mirror *m, struct arena *a, struct str ns,
					size_t *ret_n);
