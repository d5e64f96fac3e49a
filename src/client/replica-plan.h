/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a replica set should do next, as pure functions of the set and its members: whom it may
 * claim, whom to delete first, how many to create in a batch, what the status counts.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;
struct selector;

enum replica_state {
	REPLICA_ACTIVE,
	REPLICA_GOING,    /* being deleted */
	REPLICA_FINISHED, /* will not run again */
};

struct replica_member {
	const struct json *obj;
	enum replica_state state;
	bool ready, available;
	unsigned crowd; /* active members on the same node */
};

struct replica_member_ops {
	enum replica_state (*state)(const struct json *member);
	bool (*ready)(const struct json *member);
	/* Since when it is ready; false when it is not. NULL: availability is readiness. */
	bool (*ready_since)(const struct json *member, struct wall *ret);
	/* Below 0 when x is to be deleted before y; NULL: in the cache's order. */
	int (*rank)(const struct replica_member *x, const struct replica_member *y);
};

struct replica_counts {
	int64_t replicas, fully_labeled, ready, available;
	int64_t next_available_ms; /* until another one becomes available; -1: none will */
};

enum replica_claim { CLAIM_NONE, CLAIM_KEEP, CLAIM_ADOPT, CLAIM_RELEASE };

/* What the set may do with a member that it owns or that nobody does. */
enum replica_claim replica_claim(const struct json *set, const struct selector *sel,
				 const struct json *member);
/* Fills in state, readiness, availability and crowd of members whose obj is set. */
void replica_judge(const struct replica_member_ops *ops, struct replica_member *v, size_t n,
		   int64_t min_ready_seconds, struct wall now);
struct replica_counts replica_count(const struct replica_member_ops *ops,
				    const struct replica_member *v, size_t n,
				    const struct json *set, struct wall now);
/* Moves active members to the front, those to delete first before the others; their number. */
size_t replica_order(const struct replica_member_ops *ops, struct replica_member *v, size_t n);
/* spec.replicas, 1 when absent. */
int64_t replica_desired(const struct json *set);
/* Merge patches of a member's ownerReferences, guarded by its uid and revision. */
struct json *replica_adopt_patch(struct arena *a, const struct json *member, const struct json *set,
				 struct str api_version, struct str kind);
struct json *replica_release_patch(struct arena *a, const struct json *member,
				   const struct json *set);
