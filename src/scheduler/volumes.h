/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Claims of a Pod: where their volumes can be reached, and what to do once a node is chosen. */

#include "scheduler/plugins.h"

/* How to look things up; the informers in the process, plain maps in tests. */
struct volumes_view {
	const struct obj *(*find_claim)(struct str ns, struct str name, void *ctx);
	const struct obj *(*find_volume)(struct str name, void *ctx);
	const struct obj *(*find_class)(struct str name, void *ctx);
	void (*each_volume)(bool (*fn)(const struct obj *o, void *arg), void *arg, void *ctx);
	void *ctx;
};

/* What binding has to do for one claim: take this volume, or (volume empty) have one made. */
struct volume_step {
	struct str claim, volume;
};

/* In the arena; for a node that passed the filter. */
void volumes_plan(struct cycle *c, const struct node_info *n, struct volume_step **ret,
		  size_t *ret_n);
/* The claim a volume of a Pod refers to, or empty; in the arena. */
struct str volume_claim_name(struct arena *a, const struct json *volume, struct str pod_name);
bool claim_is_bound(const struct obj *claim);
