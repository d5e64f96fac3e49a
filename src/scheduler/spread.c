/* SPDX-License-Identifier: Apache-2.0 */
/* Topology spread constraints with whenUnsatisfiable DoNotSchedule. */

#include <stdlib.h>

#include "api/selector.h"
#include "base/arena.h"
#include "base/map.h"
#include "scheduler/plugins.h"

struct domain {
	int64_t n;
};

struct spread_state {
	struct map *domains; /* per constraint: value -> struct domain */
	int64_t *min;
	bool *self;
};

static bool node_counts(const struct cycle *c, const struct spread *s, const struct node_info *n)
{
	for (size_t i = 0; i < c->pod->n_spread; i++)
		if (!obj_label(n->obj, c->pod->spread[i].topology_key).p)
			return false;
	return (s->ignore_affinity || pod_matches_node_affinity(c->pod, n)) &&
	       (!s->honor_taints || pod_tolerates_node(c->pod, n));
}

static int64_t count_pods(const struct cycle *c, const struct spread *s, const struct node_info *n)
{
	struct cached_pod *p;
	int64_t sum = 0;

	list_for_each(p, &n->pods, link)
		sum += !p->obj->deleting && str_eq(p->obj->ns, c->pod->ns) &&
		       selector_matches_obj_labels(s->labels, p->obj);
	return sum;
}

static void map_free(void *p)
{
	map_fini(p);
}

static void prepare_one(struct cycle *c, struct spread_state *st, size_t i)
{
	const struct spread *s = &c->pod->spread[i];
	struct map *m = &st->domains[i];

	arena_defer(c->a, map_free, m);
	for (size_t j = 0; j < c->cache->n_nodes; j++) {
		const struct node_info *n = c->cache->nodes[j];
		struct str val;
		struct domain *d;

		if (!node_counts(c, s, n))
			continue;
		val = obj_label(n->obj, s->topology_key);
		d = map_find(m, val);
		if (!d) {
			d = arena_new_obj(c->a, struct domain);
			map_put(m, val, d);
		}
		d->n += count_pods(c, s, n);
	}
	/* With fewer domains than wanted, an empty one is imagined. */
	st->min[i] = (int64_t)m->n < s->min_domains ? 0 : INT64_MAX;
	map_for_each(e, m) {
		st->min[i] = MIN(st->min[i], ((struct domain *)e->val)->n);
	}
	st->self[i] = selector_matches_obj_labels(s->labels, c->pod->obj);
}

bool spread_skip(struct cycle *c)
{
	struct spread_state *st;

	if (!c->pod->n_spread)
		return true;
	st = arena_new_obj(c->a, struct spread_state);
	st->domains = arena_array(c->a, c->pod->n_spread, sizeof(*st->domains));
	st->min = arena_array(c->a, c->pod->n_spread, sizeof(*st->min));
	st->self = arena_array(c->a, c->pod->n_spread, sizeof(*st->self));
	for (size_t i = 0; i < c->pod->n_spread; i++)
		prepare_one(c, st, i);
	c->spread = st;
	return false;
}

enum verdict spread_filter(struct cycle *c, const struct node_info *n)
{
	for (size_t i = 0; i < c->pod->n_spread; i++) {
		const struct spread *s = &c->pod->spread[i];
		struct str val = obj_label(n->obj, s->topology_key);
		const struct domain *d;

		if (!val.p) {
			diagnosis_add(&c->diag,
				      "node(s) didn't match pod topology spread constraints "
				      "(missing required label)");
			return FITS_NEVER;
		}
		d = map_find(&c->spread->domains[i], val);
		if ((d ? d->n : 0) + c->spread->self[i] - c->spread->min[i] > s->max_skew) {
			diagnosis_add(&c->diag,
				      "node(s) didn't match pod topology spread constraints");
			return FITS_NOT;
		}
	}
	return FITS;
}
