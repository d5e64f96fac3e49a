/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Accept header, taken apart: what the client would rather have comes first. */

#include "base/base.h"
#include "base/str.h"

struct arena;

struct accept_clause {
	struct str type;               /* "application/json", "*" "/" "*" */
	struct str as, group, version; /* the form of an object: as=Table;g=meta.k8s.io;v=v1 */
	int quality;                   /* thousandths */
	bool pretty;
};

/* At most 64 of them, without those of quality 0. */
size_t accept_clauses(struct arena *a, struct str header, struct accept_clause **ret);
/* Whether c says nothing about a form. */
bool accept_is_plain(const struct accept_clause *c);
/* Whether one of the types is type, or any will do. */
bool accept_has(const struct accept_clause *v, size_t n, const char *type);
