/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Required affinity and anti-affinity between Pods. Per cycle, the Pods that matter are counted by
 * topology domain ("zone=a"), so that each node costs a few look-ups.
 */

#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "scheduler/plugins.h"
#include "json/json.h"

struct affinity_state {
	struct map existing;         /* domains that existing Pods keep this one out of */
	struct map *affinity, *anti; /* per term: domains with matching Pods */
	bool any_match;              /* for affinity: some Pod matches all terms */
	bool self_match;
};

static struct str domain_key(struct arena *a, struct str key, const struct node_info *n)
{
	struct str val = n->obj ? obj_label(n->obj, key) : (struct str){ 0 };

	if (!val.p)
		return (struct str){ 0 };
	return arena_fmt(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(val));
}

static bool term_wants_ns(const struct cache *cache, const struct pod_term *t, struct str ns)
{
	const struct obj *o;

	json_for_each(it, t->namespaces)
	{
		if (str_eq(json_as_str(it.val), ns))
			return true;
	}
	if (!t->ns_labels)
		return !json_len(t->namespaces) && str_eq(ns, t->own_ns);
	if (selector_empty(t->ns_labels))
		return true;
	o = cache->find_namespace ? cache->find_namespace(ns, cache->ctx) : NULL;
	return o && selector_matches_obj_labels(t->ns_labels, o);
}

static bool term_matches(const struct cache *cache, const struct pod_term *t, const struct obj *pod)
{
	return term_wants_ns(cache, t, pod->ns) && selector_matches_obj_labels(t->labels, pod);
}

static void map_mark(struct map *m, struct str key)
{
	static char mark;

	if (key.p)
		map_put(m, key, &mark);
}

/* Existing Pods' anti-affinity against this one. */
static void collect_existing(struct cycle *c, struct affinity_state *s)
{
	struct cached_pod *p;

	list_for_each(p, &c->cache->anti, anti_link) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct pod_term *terms = NULL;
		size_t n = 0;

		if (!p->node->obj)
			continue;
		err_ignore(pod_anti_affinity(a, p->obj, &terms, &n),
			   "a Pod whose terms say nothing keeps nobody out");
		for (size_t i = 0; i < n; i++)
			if (term_matches(c->cache, &terms[i], c->pod->obj))
				map_mark(&s->existing,
					 domain_key(a, terms[i].topology_key, p->node));
	}
}

static void collect_pod(struct cycle *c, struct affinity_state *s, const struct cached_pod *p)
{
	const struct sched_pod *pod = c->pod;
	bool all = pod->n_affinity > 0;

	for (size_t i = 0; i < pod->n_affinity; i++)
		all = all && term_matches(c->cache, &pod->affinity[i], p->obj);
	for (size_t i = 0; all && i < pod->n_affinity; i++) {
		struct str key = domain_key(c->a, pod->affinity[i].topology_key, p->node);

		map_mark(&s->affinity[i], key);
		s->any_match |= key.p != NULL;
	}
	for (size_t i = 0; i < pod->n_anti_affinity; i++)
		if (term_matches(c->cache, &pod->anti_affinity[i], p->obj))
			map_mark(&s->anti[i],
				 domain_key(c->a, pod->anti_affinity[i].topology_key, p->node));
}

static void state_fini(void *p)
{
	map_fini(p);
}

static struct map *maps_new(struct cycle *c, size_t n)
{
	struct map *m = arena_array(c->a, n + 1, sizeof(*m));

	for (size_t i = 0; i < n; i++)
		arena_defer(c->a, state_fini, &m[i]);
	return m;
}

bool interpod_skip(struct cycle *c)
{
	const struct sched_pod *pod = c->pod;
	struct affinity_state *s;

	if (!pod->n_affinity && !pod->n_anti_affinity && list_empty(&c->cache->anti))
		return true;
	s = arena_new_obj(c->a, struct affinity_state);
	arena_defer(c->a, state_fini, &s->existing);
	s->affinity = maps_new(c, pod->n_affinity);
	s->anti = maps_new(c, pod->n_anti_affinity);
	collect_existing(c, s);
	for (size_t i = 0; (pod->n_affinity || pod->n_anti_affinity) && i < c->cache->n_nodes;
	     i++) {
		struct cached_pod *p;

		list_for_each(p, &c->cache->nodes[i]->pods, link)
			collect_pod(c, s, p);
	}
	s->self_match = true;
	for (size_t i = 0; i < pod->n_affinity; i++)
		s->self_match &= term_matches(c->cache, &pod->affinity[i], pod->obj);
	c->affinity = s;
	return false;
}

static bool affinity_ok(struct cycle *c, const struct node_info *n, struct arena *a)
{
	const struct affinity_state *s = c->affinity;
	bool all = true;

	for (size_t i = 0; i < c->pod->n_affinity; i++) {
		struct str key = domain_key(a, c->pod->affinity[i].topology_key, n);

		if (!key.p)
			return false;
		all &= map_find(&s->affinity[i], key) != NULL;
	}
	/* The first of a group that wants to be together has nobody to join yet. */
	return all || (!s->any_match && s->self_match);
}

static bool existing_ok(const struct affinity_state *s, const struct node_info *n)
{
	map_for_each(e, &s->existing) {
		struct str val = e->key, key;

		str_cut(&val, '=', &key);
		if (str_eq(obj_label(n->obj, key), val) && obj_label(n->obj, key).p)
			return false;
	}
	return true;
}

enum verdict interpod_filter(struct cycle *c, const struct node_info *n)
{
	if (!affinity_ok(c, n, c->a)) {
		diagnosis_add(&c->diag, "node(s) didn't match pod affinity rules");
		return FITS_NEVER;
	}
	for (size_t i = 0; i < c->pod->n_anti_affinity; i++) {
		struct str key = domain_key(c->a, c->pod->anti_affinity[i].topology_key, n);

		if (key.p && map_find(&c->affinity->anti[i], key)) {
			diagnosis_add(&c->diag, "node(s) didn't match pod anti-affinity rules");
			return FITS_NOT;
		}
	}
	if (!existing_ok(c->affinity, n)) {
		diagnosis_add(&c->diag, "node(s) didn't satisfy existing pods anti-affinity rules");
		return FITS_NOT;
	}
	return FITS;
}
