/* SPDX-License-Identifier: Apache-2.0 */

/* Strings by code points, as cel-go's extension has them (version 2). */

#include "api/cel-value.h"
#include "base/arena.h"
#include "base/buf.h"

static bool cel_str_int(const struct cel_val *a, size_t i, size_t n, int64_t *ret)
{
	if (i >= n)
		return true;
	*ret = a[i].i;
	return a[i].kind == CEL_INT;
}

static struct cel_val cel_out_of_range(struct cel_ctx *c, int64_t i)
{
	return cel_error(c, "index out of range: %lld", (long long)i);
}

static struct cel_val cel_string_char_at(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	size_t at, end;

	(void)n;
	if (a[0].kind != CEL_STRING || a[1].kind != CEL_INT)
		return cel_no_overload();
	if (a[1].i < 0 || (uint64_t)a[1].i > cel_utf8_len(a[0].s))
		return cel_out_of_range(c, a[1].i);
	at = cel_utf8_offset(a[0].s, (size_t)a[1].i);
	end = at + cel_utf8_offset(str_skip(a[0].s, at), 1);
	return cel_val_str(str_sub(a[0].s, at, end));
}

static int64_t cel_find_last(struct str s, struct str sub, size_t upto)
{
	for (size_t i = MIN(upto, s.n - sub.n) + 1; i-- > 0;)
		if (memcmp(s.p + i, sub.p, sub.n) == 0)
			return (int64_t)i;
	return -1;
}

struct cel_val cel_string_find(struct cel_ctx *c, const struct cel_val *a, size_t n, bool last)
{
	struct str s = a[0].s, sub = a[1].s;
	int64_t off = last ? INT64_MAX : 0, len, i;
	size_t from;

	if (a[0].kind != CEL_STRING || a[1].kind != CEL_STRING || !cel_str_int(a, 2, n, &off))
		return cel_no_overload();
	len = (int64_t)cel_utf8_len(s);
	if (!sub.n)
		return cel_int(last ? MIN(off, len) : off);
	if (off < 0 || (n > 2 && off >= len && !(off == len && !last)))
		return cel_out_of_range(c, off);
	if (sub.n > s.n)
		return cel_int(-1);
	from = cel_utf8_offset(s, (size_t)MIN(off, len));
	if (last) {
		i = cel_find_last(s, sub, from);
	} else {
		size_t at = str_find(str_skip(s, from), sub);

		i = at < s.n - from ? (int64_t)(at + from) : -1;
	}
	return cel_int(i < 0 ? -1 : (int64_t)cel_utf8_len(str_sub(s, 0, (size_t)i)));
}

static struct cel_val cel_string_map(struct cel_ctx *c, const struct cel_val *a, char from, char to)
{
	char *p;

	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	if (!cel_charge_bytes(c, a[0].s.n))
		return cel_no_overload();
	p = arena_alloc(c->arena, a[0].s.n);
	for (size_t i = 0; i < a[0].s.n; i++) {
		char ch = a[0].s.p[i];

		p[i] = ch >= from && ch < from + 26 ? (char)(ch - from + to) : ch;
	}
	return cel_val_str(str_make(p, a[0].s.n));
}

static struct cel_val cel_string_lower(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_string_map(c, a, 'A', 'a');
}

static struct cel_val cel_string_upper(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_string_map(c, a, 'a', 'A');
}

static struct cel_val cel_string_replace(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str s = a[0].s, old = a[1].s, new = a[2].s;
	int64_t limit = -1;

	if (a[0].kind != CEL_STRING || a[1].kind != CEL_STRING || a[2].kind != CEL_STRING ||
	    !cel_str_int(a, 3, n, &limit))
		return cel_no_overload();
	for (int64_t i = 0; limit < 0 || i < limit; i++) {
		size_t at = old.n ? str_find(s, old) : (i ? cel_utf8_offset(s, 1) : 0);

		if (old.n ? at >= s.n : (i && !s.n))
			break;
		if (!cel_charge_bytes(c, at + new.n))
			return cel_no_overload();
		buf_add(&b, str_sub(s, 0, at));
		s = str_skip(s, at + old.n);
		buf_add(&b, new);
	}
	buf_add(&b, s);
	if (!cel_charge_bytes(c, s.n))
		return cel_no_overload();
	return cel_val_str(buf_to_arena(&b, c->arena));
}

static struct cel_val cel_string_split(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l = cel_list_new(c->arena, 4);
	struct str s = a[0].s, sep = a[1].s;
	int64_t limit = -1;

	if (a[0].kind != CEL_STRING || a[1].kind != CEL_STRING || !cel_str_int(a, 2, n, &limit))
		return cel_no_overload();
	if (!limit)
		return cel_list_val(l);
	while (limit < 0 || (int64_t)l->n + 1 < limit) {
		size_t at = sep.n ? str_find(s, sep) : cel_utf8_offset(s, 1);

		if (sep.n ? at >= s.n : at >= s.n)
			break;
		if (!cel_charge_bytes(c, sizeof(struct cel_val)))
			return cel_no_overload();
		cel_list_add(c->arena, l, cel_val_str(str_sub(s, 0, at)));
		s = str_skip(s, at + sep.n);
	}
	if (sep.n || s.n)
		cel_list_add(c->arena, l, cel_val_str(s));
	return cel_list_val(l);
}

static struct cel_val cel_string_substring(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int64_t from, to, len;
	size_t i, j;

	if (a[0].kind != CEL_STRING || a[1].kind != CEL_INT)
		return cel_no_overload();
	len = to = (int64_t)cel_utf8_len(a[0].s);
	from = a[1].i;
	if (!cel_str_int(a, 2, n, &to))
		return cel_no_overload();
	if (n > 2 && from > to)
		return cel_error(c, "invalid substring range. start: %lld, end: %lld",
				 (long long)from, (long long)to);
	if (from < 0 || from > len)
		return cel_out_of_range(c, from);
	if (to < 0 || to > len)
		return cel_out_of_range(c, to);
	i = cel_utf8_offset(a[0].s, (size_t)from);
	j = i + cel_utf8_offset(str_skip(a[0].s, i), (size_t)(to - from));
	return cel_val_str(str_sub(a[0].s, i, j));
}

/* The length of a white space character at p, as unicode.IsSpace says; 0: none. */
static size_t cel_space_at(struct str s, size_t i)
{
	unsigned char c = (unsigned char)s.p[i];

	if (c == ' ' || (c >= '\t' && c <= '\r'))
		return 1;
	if (c == 0xc2 && i + 1 < s.n &&
	    ((unsigned char)s.p[i + 1] == 0x85 || (unsigned char)s.p[i + 1] == 0xa0))
		return 2;
	if (i + 2 < s.n) {
		uint32_t p = (uint32_t)(c & 0xf) << 12 | (uint32_t)(s.p[i + 1] & 0x3f) << 6 |
			     (uint32_t)(s.p[i + 2] & 0x3f);

		if ((c & 0xf0) == 0xe0 &&
		    (p == 0x1680 || (p >= 0x2000 && p <= 0x200a) || p == 0x2028 || p == 0x2029 ||
		     p == 0x202f || p == 0x205f || p == 0x3000))
			return 3;
	}
	return 0;
}

static struct cel_val cel_string_trim(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct str s = a[0].s;
	size_t k;

	(void)c;
	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	while (s.n && (k = cel_space_at(s, 0)))
		s = str_skip(s, k);
	for (;;) {
		size_t i = s.n;

		while (i && ((unsigned char)s.p[i - 1] & 0xc0) == 0x80)
			i--;
		if (!i || !cel_space_at(s, i - 1))
			break;
		s.n = i - 1;
	}
	return cel_val_str(s);
}

static struct cel_val cel_string_quote(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
	_cleanup_buf_ struct buf b = { 0 };

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	if (!cel_charge_bytes(c, a[0].s.n * 2))
		return cel_no_overload();
	buf_addc(&b, '"');
	for (size_t i = 0; i < a[0].s.n; i++) {
		const char *at = a[0].s.p[i] ? strchr(from, a[0].s.p[i]) : NULL;

		if (at)
			buf_addc(&b, '\\');
		buf_addc(&b, at ? to[at - from] : a[0].s.p[i]);
	}
	buf_addc(&b, '"');
	return cel_val_str(buf_to_arena(&b, c->arena));
}

static struct cel_val cel_string_join(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct cel_iter it;
	struct cel_val k, v;
	bool first = true;

	if (a[0].kind != CEL_LIST || (n > 1 && a[1].kind != CEL_STRING))
		return cel_no_overload();
	it = cel_iter(&a[0]);
	while (cel_iter_next(c, &it, &k, &v)) {
		if (v.kind != CEL_STRING)
			return cel_error(c, "join: invalid input: " STR_FMT,
					 STR_ARG(cel_kind_name(&v)));
		if (!cel_charge_bytes(c, v.s.n + (n > 1 ? a[1].s.n : 0)))
			return cel_no_overload();
		if (!first && n > 1)
			buf_add(&b, a[1].s);
		buf_add(&b, v.s);
		first = false;
	}
	return cel_val_str(buf_to_arena(&b, c->arena));
}

const struct cel_fn_row cel_lib_strings[] = {
	{ "charAt", ".si>s", cel_string_char_at, CEL_COST_ONE },
	{ "lowerAscii", ".s>s", cel_string_lower, CEL_COST_TRAVERSE },
	{ "upperAscii", ".s>s", cel_string_upper, CEL_COST_TRAVERSE },
	{ "replace", ".sss>s .sssi>s", cel_string_replace, CEL_COST_REPLACE },
	{ "split", ".ss>[s] .ssi>[s]", cel_string_split, CEL_COST_SPLIT },
	{ "substring", ".si>s .sii>s", cel_string_substring, CEL_COST_TRAVERSE },
	{ "trim", ".s>s", cel_string_trim, CEL_COST_TRAVERSE },
	{ "format", ".s[*]>s", cel_string_format, CEL_COST_FORMAT },
	{ "strings.quote", "s>s", cel_string_quote, CEL_COST_QUOTE },
	{ "join", ".[s]>s .[s]s>s", cel_string_join, CEL_COST_JOIN },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
