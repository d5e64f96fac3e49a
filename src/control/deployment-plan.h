/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The arithmetic of Deployments, as pure functions: which ReplicaSet is the new one, how many
 * replicas each shall have now, what the status says. Rules and names are upstream's
 * (pkg/controller/deployment).
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;
struct owned_list;

#define DEPLOYMENT_HASH     "pod-template-hash"
#define DEPLOYMENT_REVISION "deployment.kubernetes.io/revision"
#define DEPLOYMENT_HISTORY  "deployment.kubernetes.io/revision-history"
#define DEPLOYMENT_DESIRED  "deployment.kubernetes.io/desired-replicas"
#define DEPLOYMENT_MAX      "deployment.kubernetes.io/max-replicas"

/* One ReplicaSet of the Deployment; counts are of its status but for replicas, its spec's. */
struct deployment_rs {
	struct json *obj;
	int64_t replicas; /* wanted */
	int64_t want;     /* what it shall be scaled to */
};

struct deployment_plan {
	const struct json *deployment;
	int64_t replicas, max_surge, max_unavailable, min_available;
	bool rolling;
	/* by age, oldest first */
	struct deployment_rs *v;
	size_t n;
	struct deployment_rs *fresh; /* the one of today's template, or NULL */
};

/* sets: of the Deployment; copied. */
void deployment_plan_init(struct arena *a, struct deployment_plan *p, const struct json *deployment,
			  const struct owned_list *sets);

/* The hash of a template and of how often it collided: part of the name. */
struct str deployment_hash(struct arena *a, const struct json *deployment);
/* The ReplicaSet of today's template. */
struct json *deployment_make_rs(struct arena *a, const struct deployment_plan *p);
/* Brings what is copied from the Deployment up to date; true when something changed. */
bool deployment_update_rs(struct arena *a, const struct deployment_plan *p, struct json *rs,
			  bool exists);
/* One above the highest of the old ones. */
int64_t deployment_next_revision(const struct deployment_plan *p);

/* scaling: these fill in want */
/* Whether spec.replicas changed since the sets were scaled. */
bool deployment_is_scaling(const struct deployment_plan *p);
/* In proportion, for a change of spec.replicas or while paused. */
void deployment_scale(struct arena *a, struct deployment_plan *p);
/* How many the new one may have; v[i].want is untouched. */
int64_t deployment_fresh_replicas(const struct deployment_plan *p);
/* The old ones, as far as what is available allows. */
void deployment_scale_down_old(struct deployment_plan *p);
bool deployment_has_old_replicas(const struct deployment_plan *p);
/* Whether the sizes it was annotated with are still true. */
bool deployment_annotate_sizes(struct arena *a, const struct deployment_plan *p, struct json *rs);

/* status */
struct json *deployment_status(struct arena *a, const struct deployment_plan *p);
/* With the conditions Progressing and ReplicaFailure. *ret_check_ms: when to look again, or -1. */
struct json *deployment_rollout_status(struct arena *a, const struct deployment_plan *p,
				       struct wall now, int64_t *ret_check_ms);
bool deployment_complete(const struct deployment_plan *p, const struct json *status);
/* The condition, with upstream's rules of when its times move. True when it changed. */
bool deployment_set_condition(struct arena *a, struct json *status, const char *type,
			      const char *value, const char *reason, struct str message,
			      struct wall now);
bool deployment_has_deadline(const struct json *deployment);
