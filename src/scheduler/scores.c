/* SPDX-License-Identifier: Apache-2.0 */
/* Scores, 0..100 each after normalizing, and their weights: upstream's defaults. */

#include "api/selector.h"
#include "scheduler/plugins.h"

#define SCORE_MAX 100

static int64_t share_left(int64_t used, int64_t all)
{
	return all <= 0 || used > all ? 0 : (all - used) * SCORE_MAX / all;
}

static int64_t least_allocated_score(const struct cycle *c, const struct node_info *n)
{
	int64_t cpu = share_left(n->nonzero_cpu + c->pod->nonzero_cpu, n->allocatable[RES_CPU]);
	int64_t memory =
		share_left(n->nonzero_memory + c->pod->nonzero_memory, n->allocatable[RES_MEMORY]);

	return (cpu + memory) / 2;
}

/* How even cpu and memory are used: 100 minus half the distance of the two shares. */
static int64_t balanced_score(const struct cycle *c, const struct node_info *n)
{
	int64_t share[2] = { 0 };
	static const int ids[] = { RES_CPU, RES_MEMORY };

	for (size_t i = 0; i < 2; i++) {
		int64_t used = n->used[ids[i]];

		for (size_t j = 0; j < c->pod->n_requests; j++)
			if (c->pod->requests[j].id == ids[i])
				used += c->pod->requests[j].val;
		if (n->allocatable[ids[i]] > 0)
			share[i] = MIN(used * 1000 / n->allocatable[ids[i]], 1000);
	}
	return (1000 - (share[0] > share[1] ? share[0] - share[1] : share[1] - share[0]) / 2) / 10;
}

static bool preferred_skip(const struct cycle *c)
{
	return c->pod->n_preferred == 0;
}

static int64_t preferred_score(const struct cycle *c, const struct node_info *n)
{
	int64_t sum = 0;

	for (size_t i = 0; i < c->pod->n_preferred; i++) {
		const struct node_term *t = &c->pod->preferred[i];

		if (selector_matches_obj_labels(t->labels, n->obj) &&
		    selector_matches_obj_fields(t->fields, n->obj))
			sum += t->weight;
	}
	return sum;
}

static int64_t taint_score(const struct cycle *c, const struct node_info *n)
{
	int64_t bad = 0;

	for (size_t i = 0; i < n->n_taints; i++) {
		bool ok = !str_eqz(n->taints[i].effect, "PreferNoSchedule");

		for (size_t j = 0; j < c->pod->n_tolerations && !ok; j++)
			ok = toleration_tolerates(&c->pod->tolerations[j], &n->taints[i]);
		bad += !ok;
	}
	return bad;
}

const struct score_plugin score_plugins[] = {
	{ .name = "TaintToleration",
	  .weight = 3,
	  .score = taint_score,
	  .normalize = true,
	  .reverse = true },
	{ .name = "NodeAffinity",
	  .weight = 2,
	  .skip = preferred_skip,
	  .score = preferred_score,
	  .normalize = true },
	{ .name = "NodeResourcesFit", .weight = 1, .score = least_allocated_score },
	{ .name = "NodeResourcesBalancedAllocation", .weight = 1, .score = balanced_score },
};
const size_t n_score_plugins = ARRAY_LEN(score_plugins);
