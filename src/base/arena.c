/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

/*
 * Chunks double from 4 KB to 64 KB; what is larger than half a chunk gets one of its own.
 * The struct arena itself sits at the start of the first chunk.
 */
#define ARENA_LEAST 256u
#define ARENA_FIRST 4096u
#define ARENA_MAX   65536u

struct arena_chunk {
	struct arena_chunk *next;
	size_t pad; /* keeps data aligned to 16 */
	char data[];
};

struct arena_deferred {
	struct arena_deferred *next;
	void (*fn)(void *p);
	void *p;
};

struct arena {
	struct arena_chunk *chunks;
	struct arena_deferred *deferred;
	char *pos, *end;
	size_t chunk_size, used;
};

static struct arena_chunk *arena_chunk_new(size_t data_size)
{
	struct arena_chunk *c = mem_zalloc(1, sizeof(*c) + data_size);

	return c;
}

struct arena *arena_new_sized(size_t first)
{
	struct arena_chunk *c = arena_chunk_new(first - sizeof(*c));
	struct arena *a = (struct arena *)(void *)c->data;

	PRE(first >= ARENA_LEAST);
	a->chunks = c;
	a->chunk_size = first;
	a->pos = c->data + ((sizeof(*a) + 15) & ~(size_t)15);
	a->end = c->data + first - sizeof(*c);
	return a;
}

struct arena *arena_new(void)
{
	return arena_new_sized(ARENA_FIRST);
}

struct arena *arena_free(struct arena *a)
{
	struct arena_chunk *c, *next;

	if (!a)
		return NULL;
	for (struct arena_deferred *d = a->deferred; d; d = d->next)
		d->fn(d->p);
	/* The first chunk, last in the list, holds the arena. */
	for (c = a->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	return NULL;
}

void arena_freep(struct arena **a)
{
	*a = arena_free(*a);
}

static void *arena_alloc_large(struct arena *a, size_t size)
{
	struct arena_chunk *c = arena_chunk_new(size);

	/* Behind the current chunk, which stays in use; the first chunk stays last. */
	c->next = a->chunks;
	a->chunks = c;
	return c->data;
}

static void *arena_bump(struct arena *a, size_t size, size_t align)
{
	uintptr_t pos = ((uintptr_t)a->pos + align - 1) & ~(uintptr_t)(align - 1);
	void *p;

	a->used += size;
	if (pos + size > (uintptr_t)a->end) {
		struct arena_chunk *c;

		if (size > a->chunk_size / 2)
			return arena_alloc_large(a, size);
		a->chunk_size = MIN(a->chunk_size * 2, (size_t)ARENA_MAX);
		c = arena_chunk_new(a->chunk_size - sizeof(*c));
		c->next = a->chunks;
		a->chunks = c;
		a->end = c->data + a->chunk_size - sizeof(*c);
		pos = (uintptr_t)c->data;
	}
	p = (void *)pos;
	a->pos = (char *)p + size;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return arena_bump(a, size, 16);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;

	ASSERT(!__builtin_mul_overflow(n, size, &total));
	return arena_bump(a, total, 16);
}

char *arena_strz(struct arena *a, struct str s)
{
	char *p = arena_bump(a, s.n + 1, 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	return (struct str){ arena_strz(a, s), s.n };
}

struct str arena_vfmt(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	int n;
	char *p;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	ASSERT(n >= 0);
	if ((size_t)n < sizeof(small)) {
		va_end(again);
		return arena_str(a, str_make(small, (size_t)n));
	}
	p = arena_bump(a, (size_t)n + 1, 1);
	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return (struct str){ p, (size_t)n };
}

struct str arena_fmt(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	struct str s;

	va_start(ap, fmt);
	s = arena_vfmt(a, fmt, ap);
	va_end(ap);
	return s;
}

struct str arena_cat(struct arena *a, struct str x, struct str y)
{
	char *p = arena_bump(a, x.n + y.n + 1, 1);

	if (x.n)
		memcpy(p, x.p, x.n);
	if (y.n)
		memcpy(p + x.n, y.p, y.n);
	p[x.n + y.n] = '\0';
	return (struct str){ p, x.n + y.n };
}

void arena_defer(struct arena *a, void (*fn)(void *p), void *p)
{
	struct arena_deferred *d = arena_alloc(a, sizeof(*d));

	d->fn = fn;
	d->p = p;
	d->next = a->deferred;
	a->deferred = d;
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}
