/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A growable byte buffer on the heap. Zero-initialized is valid and empty. The bytes
 * always are followed by a NUL that does not count.
 */

#include "base/str.h"

struct arena;

struct buf {
	char *p;
	size_t n;
	/* private */
	size_t cap;
};

void buf_fini(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_fini)

void buf_add(struct buf *b, struct str s);
void buf_addz(struct buf *b, const char *z);
void buf_addu(struct buf *b, uint64_t n); /* decimal */
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_reserve(struct buf *b, size_t extra);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);

static inline void buf_addc(struct buf *b, char c)
{
	if (b->n + 2 > b->cap)
		buf_reserve(b, 1);
	b->p[b->n++] = c;
	b->p[b->n] = '\0';
}

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->n };
}

/* Heap bytes move to the caller, NUL-terminated; the buffer is empty again. */
char *buf_take(struct buf *b);
/* A copy in the arena; the buffer keeps its bytes. */
struct str buf_to_arena(const struct buf *b, struct arena *a);
