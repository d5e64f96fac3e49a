/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a StatefulSet does next, as pure functions of the set, its Pods and its claims. Rules are
 * upstream's (pkg/controller/statefulset): Pods come in the order of their ordinals and go in the
 * reverse, one at a time, each waiting for the one before; podManagementPolicy Parallel lifts that
 * for scaling but not for updates.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

#define STATEFUL_REVISION "controller-revision-hash"
#define STATEFUL_POD_NAME "statefulset.kubernetes.io/pod-name"
#define STATEFUL_INDEX    "apps.kubernetes.io/pod-index"

struct stateful_pod {
	const struct json *obj; /* NULL: to be made */
	int64_t ordinal;
	struct str revision; /* the name of its ControllerRevision */
	bool available, going;
};

enum stateful_act {
	STATEFUL_CREATE, /* with its claims */
	STATEFUL_CLAIMS, /* missing claims only */
	STATEFUL_REPAIR, /* identity, volumes and owners of claims */
	STATEFUL_OWNERS, /* owners of claims only */
	STATEFUL_DELETE,
};

struct stateful_step {
	enum stateful_act act;
	const struct stateful_pod *pod;
	bool updates; /* the deletion makes room for the new revision */
};

struct stateful_plan {
	const struct json *set;
	struct str current, update; /* names of ControllerRevisions */
	int64_t start, replicas;
	/* those that shall be, by ordinal; more is set when not all that are missing are among them
	 */
	struct stateful_pod *v;
	size_t n;
	bool more;
	struct stateful_pod *condemned; /* highest ordinal first */
	size_t n_condemned;
	struct stateful_step *steps;
	size_t n_steps;
	int64_t check_ms; /* until another one becomes available, or -1 */
};

/* The Pod's number in the set; -1 when its name is none of the set's. */
int64_t stateful_ordinal(const struct json *set, const struct json *pod);
/* pods: those that the set owns. */
void stateful_plan_init(struct arena *a, struct stateful_plan *p, const struct json *set,
			struct str current, struct str update, const struct json *const *pods,
			size_t n, struct wall now);
/* Fills in the steps. stale tells of a Pod to be made whether a claim still belongs to its
 * predecessor. */
void stateful_plan_steps(struct arena *a, struct stateful_plan *p,
			 bool (*stale)(const struct stateful_pod *pod, void *ctx), void *ctx);
/* The status after deletions for the update, of which there were so many. */
struct json *stateful_status(struct arena *a, const struct stateful_plan *p, int64_t collisions,
			     int64_t updating);
bool stateful_status_differs(const struct json *old, const struct json *status);

/* pods */
struct json *stateful_make_pod(struct arena *a, const struct json *set, struct json *template,
			       struct str revision, int64_t ordinal);
/* Brings labels and volumes in order; true when something was not. */
bool stateful_fix_pod(struct arena *a, const struct json *set, struct json *pod);

/* claims */
struct str stateful_claim_name(struct arena *a, const struct json *set, const struct json *template,
			       int64_t ordinal);
struct json *stateful_make_claim(struct arena *a, const struct json *set,
				 const struct json *template, int64_t ordinal);
/* Whether the claim is owned by a Pod of that name that is gone. */
bool stateful_claim_stale(const struct json *claim, struct str pod_name, struct str pod_uid);
/* The ownerReferences that the retention policy wants; NULL when they are right. */
struct json *stateful_claim_owners(struct arena *a, const struct json *set, const struct json *pod,
				   const struct json *claim, bool *conflict);
