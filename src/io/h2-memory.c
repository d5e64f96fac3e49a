/* SPDX-License-Identifier: Apache-2.0 */
#include "io/h2-memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"

#define MAPPED_FROM ((size_t)16 * 1024)

struct block {
	size_t size; /* with the head */
	size_t pad;  /* keeps what follows aligned to 16 */
};

static void *block_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* NULL when there is no memory: nghttp2 reports it. */
static void *h2_alloc(size_t size, bool zero)
{
	const size_t total = size + sizeof(struct block);
	struct block *b;

	if (total < size)
		return NULL;
	b = total >= MAPPED_FROM ? block_map(total) : zero ? calloc(1, total) : malloc(total);
	if (!b)
		return NULL;
	b->size = total;
	return b + 1;
}

static void *h2_malloc(size_t size, void *ctx UNUSED)
{
	return h2_alloc(size, false);
}

static void *h2_calloc(size_t n, size_t size, void *ctx UNUSED)
{
	size_t total;

	return __builtin_mul_overflow(n, size, &total) ? NULL : h2_alloc(total, true);
}

static void h2_mem_free(void *p, void *ctx UNUSED)
{
	struct block *b = p;

	if (!p)
		return;
	b--;
	if (b->size >= MAPPED_FROM)
		munmap(b, b->size);
	else
		free(b);
}

static void *h2_realloc(void *p, size_t size, void *ctx)
{
	const size_t old = p ? ((struct block *)p - 1)->size - sizeof(struct block) : 0;
	void *copy = h2_alloc(size, false);

	if (!copy)
		return NULL;
	if (p)
		memcpy(copy, p, MIN(old, size));
	h2_mem_free(p, ctx);
	return copy;
}

nghttp2_mem *h2_memory(void)
{
	static nghttp2_mem mem = { NULL, h2_malloc, h2_mem_free, h2_calloc, h2_realloc };

	return &mem;
}
