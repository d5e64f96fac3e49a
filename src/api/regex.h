/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* RE2 behind a C face: exactly Go's regular expressions, in linear time. */

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct arena;
struct regex;

/* NULL when the pattern is malformed; *ret_error (may be NULL) then says why, in the arena. */
struct regex *regex_new(struct str pattern, struct arena *a, struct str *ret_error);
struct regex *regex_free(struct regex *r);
/* Matches anywhere unless the pattern is anchored. */
bool regex_matches(const struct regex *r, struct str s);
/* The leftmost match that begins at or after `from`; what is before is context of ^ and \b. */
bool regex_find(const struct regex *r, struct str s, size_t from, size_t *ret_start,
		size_t *ret_end);

/*
 * Between these two, patterns may be only so large together: compiling them takes time in which
 * nobody else is served. No suspension in between.
 */
void regex_budget_start(void);
void regex_budget_end(void);

#ifdef __cplusplus
}
#endif
