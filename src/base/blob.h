/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Immutable reference-counted bytes, shared between watchers. Not thread-safe. */

#include "base/str.h"

struct blob {
	uint32_t refs;
	size_t n;
	char p[];
};

/* One reference; bytes to be filled in by the maker before it is shared. */
struct blob *blob_new(size_t n);
struct blob *blob_from(struct str s);
struct blob *blob_ref(struct blob *b);
struct blob *blob_unref(struct blob *b);
void blob_unrefp(struct blob **b);

static inline struct str blob_str(const struct blob *b)
{
	return (struct str){ b->p, b->n };
}
