/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text straight into a buffer: what the server does most, so without a copy in between. */
#include <stdlib.h>

#include <yyjson.h>

#include "base/assert.h"
#include "base/buf.h"
#include "json/json-internal.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Whether one of eight bytes is zero: the lowest that is has its high bit set here. */
static uint64_t zero_bytes(uint64_t w)
{
	return (w - ONES) & ~w & HIGHS;
}

/* Whether one of eight bytes must be escaped: a quote, a backslash or a control character. */
static bool word_has_special(uint64_t w)
{
	return zero_bytes(w ^ (ONES * '"')) | zero_bytes(w ^ (ONES * '\\')) |
	       ((w - ONES * 0x20) & ~w & HIGHS);
}

static bool is_special(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* How much of s may be written as it is. */
static size_t plain_prefix(struct str s)
{
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof(w) <= s.n; i += sizeof(w)) {
		memcpy(&w, s.p + i, sizeof(w));
		if (word_has_special(w))
			break;
	}
	while (i < s.n && !is_special((unsigned char)s.p[i]))
		i++;
	return i;
}

static void write_escaped(struct buf *b, unsigned char c)
{
	static const char *const names[0x20] = {
		['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
	};

	if (c >= 0x20) {
		buf_addc(b, '\\');
		buf_addc(b, (char)c);
	} else if (names[c]) {
		buf_addz(b, names[c]);
	} else {
		buf_addf(b, "\\u%04x", (unsigned)c);
	}
}

static void write_string(struct buf *b, struct str s)
{
	buf_reserve(b, s.n + 2);
	buf_addc(b, '"');
	for (;;) {
		size_t n = plain_prefix(s);

		buf_add(b, str_sub(s, 0, n));
		if (n == s.n)
			break;
		write_escaped(b, (unsigned char)s.p[n]);
		s = str_skip(s, n + 1);
	}
	buf_addc(b, '"');
}

/* The library knows the shortest digits. */
static void write_real(struct buf *b, const struct json *v)
{
	size_t n;
	char *p =
		yyjson_mut_val_write_opts(&v->v, YYJSON_WRITE_INF_AND_NAN_AS_NULL, NULL, &n, NULL);

	ASSERT(p);
	buf_add(b, str_make(p, n));
	free(p);
}

static void write_int(struct buf *b, const struct json *v)
{
	bool minus = (v->v.tag & YYJSON_SUBTYPE_MASK) == YYJSON_SUBTYPE_SINT && v->v.uni.i64 < 0;

	if (minus)
		buf_addc(b, '-');
	buf_addu(b, minus ? -v->v.uni.u64 : v->v.uni.u64);
}

static void write_container(struct buf *b, const struct json *v, bool keyed)
{
	buf_addc(b, keyed ? '{' : '[');
	json_for_each(it, v)
	{
		if (it.i)
			buf_addc(b, ',');
		if (keyed)
			json_write_member(b, it.key, it.val);
		else
			json_write(b, it.val);
	}
	buf_addc(b, keyed ? '}' : ']');
}

void json_write_member(struct buf *b, struct str key, const struct json *v)
{
	write_string(b, key);
	buf_addc(b, ':');
	json_write(b, v);
}

void json_write(struct buf *b, const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		buf_add(b, STR("null"));
		break;
	case JSON_BOOL:
		buf_add(b, json_as_bool(v, false) ? STR("true") : STR("false"));
		break;
	case JSON_INT:
		write_int(b, v);
		break;
	case JSON_REAL:
		write_real(b, v);
		break;
	case JSON_STR:
		write_string(b, json_as_str(v));
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		write_container(b, v, json_is(v, JSON_OBJECT));
		break;
	}
}
