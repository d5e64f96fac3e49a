/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/assert.h"

static unsigned char str_lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (str_lower(a.p[i]) != str_lower(b.p[i]))
			return false;
	return true;
}

int str_cmp_long(struct str a, struct str b)
{
	size_t n = MIN(a.n, b.n);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	if (c)
		return c;
	return a.n < b.n ? -1 : a.n > b.n;
}

bool str_has_prefix(struct str s, struct str prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_has_suffix(struct str s, struct str suffix)
{
	return s.n >= suffix.n &&
	       (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

size_t str_find_char(struct str s, char c, size_t from)
{
	const char *q;

	if (from >= s.n)
		return s.n;
	q = memchr(s.p + from, c, s.n - from);
	return q ? (size_t)(q - s.p) : s.n;
}

size_t str_find(struct str s, struct str sub)
{
	const char *q;

	if (sub.n == 0)
		return 0;
	if (s.n < sub.n)
		return s.n;
	q = memmem(s.p, s.n, sub.p, sub.n);
	return q ? (size_t)(q - s.p) : s.n;
}

bool str_contains(struct str s, struct str sub)
{
	return sub.n == 0 || str_find(s, sub) < s.n;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
	to = MIN(to, s.n);
	from = MIN(from, to);
	return (struct str){ s.p ? s.p + from : NULL, to - from };
}

struct str str_skip(struct str s, size_t n)
{
	return str_sub(s, n, s.n);
}

static bool str_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.n && str_is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && str_is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_strip_prefix(struct str *s, struct str prefix)
{
	if (!str_has_prefix(*s, prefix))
		return false;
	*s = str_skip(*s, prefix.n);
	return true;
}

bool str_strip_suffix(struct str *s, struct str suffix)
{
	if (!str_has_suffix(*s, suffix))
		return false;
	s->n -= suffix.n;
	return true;
}

bool str_cut(struct str *s, char sep, struct str *ret_head)
{
	size_t i = str_find_char(*s, sep, 0);
	bool found = i < s->n;

	*ret_head = str_sub(*s, 0, i);
	*s = str_skip(*s, found ? i + 1 : i);
	return found;
}

bool str_split_next(struct str *rest, char sep, struct str *ret_token)
{
	/* p is NULL once all is used; an empty rest behind a separator is one more token. */
	if (!rest->p)
		return false;
	if (!str_cut(rest, sep, ret_token))
		rest->p = NULL;
	return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
	bool neg = s.n && s.p[0] == '-';
	uint64_t v;

	if (neg)
		s = str_skip(s, 1);
	if (!str_to_u64(s, &v))
		return false;
	if (v > (uint64_t)INT64_MAX + neg)
		return false;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - '0';

		if (d > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
	}
	*ret = v;
	return true;
}

bool str_to_double(struct str s, double *ret)
{
	char z[64];
	char *end;
	double v;

	if (s.n == 0 || s.n >= sizeof(z) || str_is_space(s.p[0]))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	v = strtod(z, &end);
	if (end != z + s.n || !isfinite(v))
		return false;
	*ret = v;
	return true;
}

/* Of this process only, so that outsiders cannot choose names that collide. */
static uint64_t str_hash_start(void)
{
	static _Atomic uint64_t start;
	uint64_t h = start, none = 0;

	if (h)
		return h;
	ASSERT(getrandom(&h, sizeof(h), 0) == sizeof(h));
	h |= 1;
	return atomic_compare_exchange_strong(&start, &none, h) ? h : none;
}

/* FNV-1a, 64 bits, with a final mix. */
uint64_t str_hash(struct str s)
{
	uint64_t h = str_hash_start();

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

/* Length of the sequence at p, 0 when it is not valid. */
static size_t str_utf8_len(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((p[0] & 0xf0) == 0xe0) {
		if (n < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (n < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 ||
		    (p[3] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
			return 0;
		return 4;
	}
	return 0;
}

bool str_is_utf8(struct str s)
{
	for (size_t i = 0; i < s.n;) {
		size_t k = str_utf8_len((const unsigned char *)s.p + i, s.n - i);

		if (!k)
			return false;
		i += k;
	}
	return true;
}
