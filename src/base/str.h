/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * String views: a pointer and a length, never owning, not NUL-terminated. A NULL pointer
 * with length 0 is the empty string. Parsing helpers consume from the front of a view.
 */

#include <string.h>

#include "base/base.h"

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_INIT(lit)                   \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}
#define STR_EMPTY ((struct str){ "", 0 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""
#define STR_FMT    "%.*s"

static inline struct str str_from(const char *z)
{
	return (struct str){ z, z ? strlen(z) : 0 };
}

static inline struct str str_make(const char *p, size_t n)
{
	return (struct str){ p, n };
}

static inline bool str_empty(struct str s)
{
	return s.n == 0;
}

/* Most comparisons end at the first byte, before they cost a call. */
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || (a.p[0] == b.p[0] && memcmp(a.p, b.p, a.n) == 0));
}

static inline bool str_eqz(struct str a, const char *z)
{
	return str_eq(a, str_from(z));
}

/* queries */
bool str_eq_nocase(struct str a, struct str b);
/* Byte order, shorter first when one is a prefix of the other: <0, 0, >0. */
int str_cmp_long(struct str a, struct str b);
static inline int str_cmp(struct str a, struct str b)
{
	if (a.n && b.n && a.p[0] != b.p[0])
		return (unsigned char)a.p[0] < (unsigned char)b.p[0] ? -1 : 1;
	return str_cmp_long(a, b);
}
bool str_has_prefix(struct str s, struct str prefix);
bool str_has_suffix(struct str s, struct str suffix);
/* Index of the first byte c at or after from, or s.n. */
size_t str_find_char(struct str s, char c, size_t from);
/* Index of the first occurrence of sub, or s.n. */
size_t str_find(struct str s, struct str sub);
bool str_contains(struct str s, struct str sub);

/* slices */
struct str str_sub(struct str s, size_t from, size_t to);
struct str str_skip(struct str s, size_t n);
struct str str_trim(struct str s);
bool str_strip_prefix(struct str *s, struct str prefix);
bool str_strip_suffix(struct str *s, struct str suffix);
/* Cuts at the first sep: *ret_head before it, *s after it. False, with *s emptied, when sep is
 * absent (head is all). */
bool str_cut(struct str *s, char sep, struct str *ret_head);
/*
 * Next token up to sep; false when the input is used up, which a NULL pointer in *rest marks.
 * "a,,b" yields "a", "", "b"; "" yields one empty token; str_make(NULL, 0) yields nothing.
 */
bool str_split_next(struct str *rest, char sep, struct str *ret_token);

/* numbers: whole string must match, no sign tricks, range checked; false otherwise */
bool str_to_i64(struct str s, int64_t *ret);
bool str_to_u64(struct str s, uint64_t *ret);
bool str_to_double(struct str s, double *ret);

/* The same all through this process. */
uint64_t str_hash(struct str s);
/* Valid UTF-8 without surrogates. */
bool str_is_utf8(struct str s);
