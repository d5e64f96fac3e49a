/* SPDX-License-Identifier: Apache-2.0 */

#include "server/body.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/mem.h"

#define PIECE ((size_t)64 * 1024)

static void body_grow(struct body *b)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 16;
		b->v = mem_realloc(b->v, b->cap, sizeof(struct blob *));
	}
	b->v[b->n++] = blob_new(PIECE);
	b->room = PIECE;
}

void body_add(struct body *b, struct str s)
{
	b->total += s.n;
	while (s.n) {
		struct blob *last;
		size_t n;

		if (!b->room)
			body_grow(b);
		last = b->v[b->n - 1];
		n = MIN(s.n, b->room);
		memcpy(last->p + PIECE - b->room, s.p, n);
		b->room -= n;
		s = str_skip(s, n);
	}
}

/* What does not fit behind the last piece begins a new one; the rest of that one stays unused. */
bool body_begin(struct body *b, size_t n, struct buf *ret)
{
	struct blob *last;

	if (n > PIECE / 4)
		return false;
	if (b->room < n) {
		if (b->n)
			b->v[b->n - 1]->n = PIECE - b->room;
		body_grow(b);
	}
	last = b->v[b->n - 1];
	*ret = (struct buf){ .p = last->p + PIECE - b->room, .cap = b->room };
	return true;
}

void body_commit(struct body *b, const struct buf *written)
{
	ASSERT(written->p == b->v[b->n - 1]->p + PIECE - b->room && written->n <= b->room);
	b->room -= written->n;
	b->total += written->n;
}

struct blob *const *body_pieces(struct body *b, size_t *ret_n)
{
	if (b->n)
		b->v[b->n - 1]->n = PIECE - b->room;
	*ret_n = b->n;
	return b->v;
}

void body_fini(struct body *b)
{
	for (size_t i = 0; i < b->n; i++)
		blob_unref(b->v[i]);
	free(b->v);
	*b = (struct body){ 0 };
}
