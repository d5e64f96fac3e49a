/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One scheduling cycle and its plugins: a table of filters (can this Pod run there?) and one of
 * scores (how well?). Plugins are functions of the cycle and a node; what they compute once per
 * cycle is prepared by their prepare function, into the arena.
 */

#include "scheduler/cache.h"

struct informer;
struct volumes_view;

enum verdict {
	FITS,
	FITS_NOT, /* Pods leaving the node could help */
	FITS_NEVER,
};

/* Reasons why nodes were refused, by text (static or interned strings: compared by pointer). */
#define DIAGNOSIS_MAX 64

struct diagnosis {
	struct {
		const char *text;
		int n;
	} reasons[DIAGNOSIS_MAX];
	size_t n_reasons;
	int n_not, n_never;
	struct str message; /* of a prepare function that refused every node */
};

void diagnosis_add(struct diagnosis *d, const char *text);

struct affinity_state;
struct spread_state;
struct volumes_state;

struct cycle {
	struct arena *a;
	const struct cache *cache;
	const struct sched_pod *pod;
	const struct volumes_view *volumes; /* NULL: no claims known (tests) */
	struct diagnosis diag;
	/* prepared */
	struct affinity_state *affinity;
	struct spread_state *spread;
	struct volumes_state *volume_state;
};

struct filter_plugin {
	const char *name;
	/* Optional. True: this plugin has nothing to say about the Pod. FITS_NEVER for all by
	 * diag.message. */
	bool (*skip)(struct cycle *c);
	enum verdict (*filter)(struct cycle *c, const struct node_info *n);
};

struct score_plugin {
	const char *name;
	int weight;
	bool (*skip)(const struct cycle *c);
	int64_t (*score)(const struct cycle *c, const struct node_info *n);
	/* Raw scores are brought to 0..100 by their maximum. */
	bool normalize, reverse;
};

extern const struct filter_plugin filter_plugins[];
extern const size_t n_filter_plugins;
extern const struct score_plugin score_plugins[];
extern const size_t n_score_plugins;

/* Runs the prepare functions; false when every node is refused (diag.message says why). */
bool cycle_prepare(struct cycle *c, bool *skip);
enum verdict cycle_filter(struct cycle *c, const bool *skip, const struct node_info *n);
/* The node, or NULL with the diagnosis filled. start rotates through the nodes from call to call.
 */
struct node_info *cycle_run(struct cycle *c, size_t *start);
/* Upstream's words for why it fits nowhere. */
struct str cycle_message(const struct cycle *c);

/* Shared pieces. */
bool pod_matches_node_affinity(const struct sched_pod *p, const struct node_info *n);
bool pod_tolerates_node(const struct sched_pod *p, const struct node_info *n);

/* affinity.c, spread.c, volumes.c */
bool interpod_skip(struct cycle *c);
enum verdict interpod_filter(struct cycle *c, const struct node_info *n);
bool spread_skip(struct cycle *c);
enum verdict spread_filter(struct cycle *c, const struct node_info *n);
bool volumes_skip(struct cycle *c);
enum verdict volumes_filter(struct cycle *c, const struct node_info *n);
