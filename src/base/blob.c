/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blob.h"

#include "base/assert.h"
#include "base/mem.h"

struct blob *blob_new(size_t n)
{
	struct blob *b = mem_alloc(sizeof(*b) + n);

	b->refs = 1;
	b->n = n;
	return b;
}

struct blob *blob_from(struct str s)
{
	struct blob *b = blob_new(s.n);

	if (s.n)
		memcpy(b->p, s.p, s.n);
	return b;
}

struct blob *blob_ref(struct blob *b)
{
	ASSERT(b->refs > 0);
	b->refs++;
	return b;
}

struct blob *blob_unref(struct blob *b)
{
	if (!b)
		return NULL;
	ASSERT(b->refs > 0);
	if (--b->refs == 0)
		free(b);
	return NULL;
}

void blob_unrefp(struct blob **b)
{
	*b = blob_unref(*b);
}
