/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a DaemonSet does next, as pure functions of the set, the nodes and its Pods: one Pod on each
 * node that fits, replaced when the template changes. Rules are upstream's (pkg/controller/daemon).
 */

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

struct arena;
struct json;
struct selector;

#define DAEMON_HASH       "controller-revision-hash"
#define DAEMON_GENERATION "pod-template-generation"

struct daemon_pod {
	const struct json *obj;
	bool updated, ready, available;
	struct daemon_pod *next; /* on the same node, the oldest first */
};

struct daemon_node {
	struct str name;
	const struct json *obj; /* NULL: Pods are there, the node is not */
	bool run;               /* a Pod shall be started */
	bool keep;              /* one that runs may stay */
	struct daemon_pod *pods;
	size_t n_pods;
};

struct daemon_plan {
	const struct json *set;
	struct str hash; /* of today's template */
	struct daemon_node *v;
	size_t n;
	int64_t desired, max_unavailable, max_surge;
	bool surges;
	int64_t check_ms; /* until another Pod becomes available, or -1 */
};

/* What shall be done. */
struct daemon_steps {
	struct str *create; /* names of nodes */
	size_t n_create;
	const struct json **remove; /* Pods */
	size_t n_remove;
};

/* Which nodes fit; parsed once for all of them. */
struct daemon_fit;
struct daemon_fit *daemon_fit_new(struct arena *a, const struct json *set);
void daemon_fits(struct arena *a, const struct daemon_fit *f, const struct json *node, bool *run,
		 bool *keep);

/* The node that a Pod is on or meant for; empty when there is none. */
struct str daemon_pod_node(const struct json *pod);
struct json *daemon_make_pod(struct arena *a, const struct json *set, struct str hash,
			     struct str node);

/* pods: those that the set owns. */
void daemon_plan_init(struct arena *a, struct daemon_plan *p, const struct json *set,
		      struct str hash, const struct json *const *nodes, size_t n_nodes,
		      const struct json *const *pods, size_t n_pods, struct wall now);
/* Pods that are missing, or should not be there. ended is told of each Pod that ended, and says
 * whether it may be replaced now. */
void daemon_plan_manage(struct arena *a, struct daemon_plan *p,
			bool (*ended)(const struct daemon_node *n, const struct json *pod,
				      void *ctx),
			void *ctx, struct daemon_steps *ret);
/* Pods of old templates. */
void daemon_plan_rollout(struct arena *a, struct daemon_plan *p, struct daemon_steps *ret);
/* NULL when the old one is right. observed: this generation has been acted on. */
struct json *daemon_status(struct arena *a, const struct daemon_plan *p, int64_t collisions,
			   bool observed);
void daemon_steps_init(struct arena *a, const struct daemon_plan *p, struct daemon_steps *s);
