/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"

static struct map_entry **map_slot(const struct map *m, struct str key, uint64_t hash)
{
	struct map_entry **e = &m->buckets[hash & (m->n_buckets - 1)];

	while (*e && ((*e)->hash != hash || !str_eq((*e)->key, key)))
		e = &(*e)->next_hash;
	return e;
}

static void map_grow(struct map *m)
{
	size_t n = m->n_buckets ? m->n_buckets * 2 : 8;

	free(m->buckets);
	m->buckets = mem_zalloc(n, sizeof(*m->buckets));
	m->n_buckets = n;
	for (struct map_entry *e = m->first; e; e = e->next) {
		struct map_entry **b = &m->buckets[e->hash & (n - 1)];

		e->next_hash = *b;
		*b = e;
	}
}

void map_clear(struct map *m)
{
	struct map_entry *next;

	for (struct map_entry *e = m->first; e; e = next) {
		next = e->next;
		free(e);
	}
	m->first = m->last = NULL;
	m->n = 0;
	if (m->buckets)
		memset(m->buckets, 0, m->n_buckets * sizeof(*m->buckets));
}

void map_fini(struct map *m)
{
	map_clear(m);
	free(m->buckets);
	*m = (struct map){ 0 };
}

/* The key's bytes sit behind the entry, NUL-terminated. */
static struct map_entry *map_entry_new(struct str key, uint64_t hash, void *val)
{
	struct map_entry *e = mem_zalloc(1, sizeof(*e) + key.n + 1);
	char *k = (char *)(e + 1);

	if (key.n)
		memcpy(k, key.p, key.n);
	e->key = str_make(k, key.n);
	e->hash = hash;
	e->val = val;
	return e;
}

void *map_put(struct map *m, struct str key, void *val)
{
	uint64_t hash = str_hash(key);
	struct map_entry *e, **slot;

	if (m->n >= m->n_buckets)
		map_grow(m);
	slot = map_slot(m, key, hash);
	if (*slot) {
		void *old = (*slot)->val;

		(*slot)->val = val;
		return old;
	}
	e = map_entry_new(key, hash, val);
	*slot = e;
	e->prev = m->last;
	if (m->last)
		m->last->next = e;
	else
		m->first = e;
	m->last = e;
	m->n++;
	return NULL;
}

void *map_find(const struct map *m, struct str key)
{
	struct map_entry *e;

	if (!m->n)
		return NULL;
	e = *map_slot(m, key, str_hash(key));
	return e ? e->val : NULL;
}

void *map_del(struct map *m, struct str key)
{
	struct map_entry **slot, *e;
	void *val;

	if (!m->n)
		return NULL;
	slot = map_slot(m, key, str_hash(key));
	e = *slot;
	if (!e)
		return NULL;
	*slot = e->next_hash;
	if (e->prev)
		e->prev->next = e->next;
	else
		m->first = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		m->last = e->prev;
	m->n--;
	val = e->val;
	free(e);
	return val;
}
