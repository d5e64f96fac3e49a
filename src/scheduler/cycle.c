/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Pod against the nodes. In large clusters not every node is looked at: as upstream, the
 * search ends when enough nodes fit (at least 100, and 50% minus 1% per 125 nodes, at least 5%),
 * and the next Pod's search begins where this one ended.
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/rand.h"
#include "scheduler/plugins.h"

#define FEASIBLE_MIN 100
#define PLUGINS_MAX  16

void diagnosis_add(struct diagnosis *d, const char *text)
{
	for (size_t i = 0; i < d->n_reasons; i++) {
		if (d->reasons[i].text == text) {
			d->reasons[i].n++;
			return;
		}
	}
	if (d->n_reasons == DIAGNOSIS_MAX)
		return;
	d->reasons[d->n_reasons].text = text;
	d->reasons[d->n_reasons++].n = 1;
}

bool cycle_prepare(struct cycle *c, bool *skip)
{
	for (size_t i = 0; i < n_filter_plugins; i++) {
		skip[i] = filter_plugins[i].skip && filter_plugins[i].skip(c);
		if (!str_empty(c->diag.message))
			return false;
	}
	return true;
}

enum verdict cycle_filter(struct cycle *c, const bool *skip, const struct node_info *n)
{
	for (size_t i = 0; i < n_filter_plugins; i++) {
		enum verdict v = skip[i] ? FITS : filter_plugins[i].filter(c, n);

		if (v != FITS)
			return v;
	}
	return FITS;
}

static size_t feasible_wanted(size_t n_nodes)
{
	size_t percent = n_nodes / 125 < 45 ? 50 - n_nodes / 125 : 5;

	if (n_nodes < FEASIBLE_MIN)
		return n_nodes;
	return MAX(n_nodes * percent / 100, FEASIBLE_MIN);
}

static void add_scores(const struct cycle *c, const struct score_plugin *p,
		       struct node_info *const *nodes, size_t n, int64_t *raw, int64_t *sum)
{
	int64_t max = 0;

	for (size_t i = 0; i < n; i++) {
		raw[i] = p->score(c, nodes[i]);
		max = MAX(max, raw[i]);
	}
	for (size_t i = 0; i < n; i++) {
		int64_t s = raw[i];

		if (p->normalize)
			s = max ? s * 100 / max : 0;
		sum[i] += p->weight * (p->reverse ? 100 - s : s);
	}
}

/* One of the best, by chance. */
static struct node_info *pick(const struct cycle *c, struct node_info *const *nodes, size_t n)
{
	int64_t *raw = arena_array(c->a, n, sizeof(*raw));
	int64_t *sum = arena_array(c->a, n, sizeof(*sum));
	size_t best = 0, ties = 1;

	if (n == 1)
		return nodes[0];
	for (size_t i = 0; i < n_score_plugins; i++)
		if (!score_plugins[i].skip || !score_plugins[i].skip(c))
			add_scores(c, &score_plugins[i], nodes, n, raw, sum);
	for (size_t i = 1; i < n; i++) {
		if (sum[i] > sum[best]) {
			best = i;
			ties = 1;
		} else if (sum[i] == sum[best] && rand_below(++ties) == 0) {
			best = i;
		}
	}
	return nodes[best];
}

struct node_info *cycle_run(struct cycle *c, size_t *start)
{
	size_t total = c->cache->n_nodes, want = feasible_wanted(total), n = 0, i = 0;
	struct node_info **fit;
	bool skip[PLUGINS_MAX];

	PRE(n_filter_plugins <= PLUGINS_MAX);
	if (!total || !cycle_prepare(c, skip))
		return NULL;
	fit = arena_array(c->a, want, sizeof(struct node_info *));
	for (; i < total && n < want; i++) {
		struct node_info *node = c->cache->nodes[(*start + i) % total];

		switch (cycle_filter(c, skip, node)) {
		case FITS:
			fit[n++] = node;
			break;
		case FITS_NOT:
			c->diag.n_not++;
			break;
		case FITS_NEVER:
			c->diag.n_never++;
			break;
		}
	}
	*start = (*start + i) % total;
	return n ? pick(c, fit, n) : NULL;
}

/* ---- the message ---- */

static int text_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str join_sorted(struct arena *a, struct str *parts, size_t n)
{
	struct str out = STR_EMPTY;

	qsort(parts, n, sizeof(*parts), text_cmp);
	for (size_t i = 0; i < n; i++)
		out = arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(out), i ? ", " : "",
				STR_ARG(parts[i]));
	return out;
}

static struct str reasons_text(const struct cycle *c)
{
	const struct diagnosis *d = &c->diag;
	struct str *parts = arena_array(c->a, d->n_reasons + 1, sizeof(*parts));

	for (size_t i = 0; i < d->n_reasons; i++)
		parts[i] = arena_fmt(c->a, "%d %s", d->reasons[i].n, d->reasons[i].text);
	return join_sorted(c->a, parts, d->n_reasons);
}

static struct str preemption_text(const struct cycle *c)
{
	size_t total = c->cache->n_nodes, n = 0;
	struct str parts[2];
	bool all_never = !str_empty(c->diag.message);

	if (c->pod->never_preempts)
		return STR("preemption: not eligible due to preemptionPolicy=Never.");
	if (c->diag.n_not && !all_never)
		parts[n++] = arena_fmt(c->a, "%d No preemption victims found for incoming pod",
				       c->diag.n_not);
	if (c->diag.n_never || all_never)
		parts[n++] = arena_fmt(c->a, "%zu Preemption is not helpful for scheduling",
				       all_never ? total : (size_t)c->diag.n_never);
	return arena_fmt(c->a, "preemption: 0/%zu nodes are available: " STR_FMT ".", total,
			 STR_ARG(join_sorted(c->a, parts, n)));
}

struct str cycle_message(const struct cycle *c)
{
	struct str why = str_empty(c->diag.message) ? reasons_text(c) : c->diag.message;

	if (!c->cache->n_nodes)
		return STR("no nodes available to schedule pods");
	return arena_fmt(c->a,
			 "0/%zu nodes are available: " STR_FMT
			 ". no new claims to deallocate, " STR_FMT,
			 c->cache->n_nodes, STR_ARG(why), STR_ARG(preemption_text(c)));
}
