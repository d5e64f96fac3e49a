/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The tokens by which lists go on: which revision is read, and behind which object. Clients must
 * not look into them, but may send anything.
 */

#include "base/str.h"

struct arena;
struct err;

struct continue_token {
	int64_t rv;          /* -1: the latest */
	struct str ns, name; /* the last object seen; ns empty: not in a namespace */
};

struct str continue_format(struct arena *a, const struct continue_token *t);
/* BAD_REQUEST in upstream's words. */
MUST_USE struct err *continue_parse(struct arena *a, struct str text, struct continue_token *ret);
