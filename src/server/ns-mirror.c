/* SPDX-License-Identifier: Apache-2.0 */
#include "server/ns-mirror.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"

struct ns_bucket {
	const struct obj **v; /* borrowed from the mirror */
	size_t n, cap;
};

static void bucket_del(struct ns_mirror *m, const struct obj *o)
{
	struct ns_bucket *b = map_find(&m->by_ns, o->ns);

	for (size_t i = 0; b && i < b->n; i++) {
		if (b->v[i] != o)
			continue;
		b->v[i] = b->v[--b->n];
		break;
	}
	if (!b || b->n)
		return;
	map_del(&m->by_ns, o->ns);
	free(b->v);
	free(b);
}

static void bucket_add(struct ns_mirror *m, const struct obj *o)
{
	struct ns_bucket *b = map_find(&m->by_ns, o->ns);

	if (!b) {
		b = mem_new(struct ns_bucket);
		map_put(&m->by_ns, o->ns, b);
	}
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->v = mem_realloc(b->v, b->cap, sizeof(const struct obj *));
	}
	b->v[b->n++] = o;
}

static void ns_mirror_changed(struct mirror *base, const struct obj *old, const struct obj *new)
{
	struct ns_mirror *m = container_of(base, struct ns_mirror, base);

	if (old)
		bucket_del(m, old);
	if (new)
		bucket_add(m, new);
}

struct err *ns_mirror_start(struct ns_mirror *m, struct apiserver *s, const char *gr)
{
	m->base.changed = ns_mirror_changed;
	return mirror_start(&m->base, s, gr);
}

bool ns_mirror_any(const struct ns_mirror *m, struct str ns)
{
	return m->by_ns.n && map_find(&m->by_ns, ns);
}

static int bucket_cmp(const void *x, const void *y)
{
	const struct obj *const *a = x, *const *b = y;

	return str_cmp((*a)->name, (*b)->name);
}

static void bucket_unref(void *p)
{
	obj_unref(p);
}

const struct obj *const *ns_mirror_list(const struct ns_mirror *m, struct arena *a, struct str ns,
					size_t *ret_n)
{
	const struct ns_bucket *b = map_find(&m->by_ns, ns);
	const struct obj **v;

	*ret_n = b ? b->n : 0;
	if (!b)
		return NULL;
	v = arena_array(a, b->n, sizeof(*v));
	for (size_t i = 0; i < b->n; i++) {
		v[i] = obj_ref(b->v[i]);
		arena_defer(a, bucket_unref, (void *)(uintptr_t)v[i]);
	}
	qsort(v, b->n, sizeof(*v), bucket_cmp);
	return v;
}
