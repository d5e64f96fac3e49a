/* SPDX-License-Identifier: Apache-2.0 */

/* "%s and %d".format([...]) */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/cel-value.h"
#include "base/arena.h"
#include "base/buf.h"

#define FORMAT_DEPTH     32
#define FORMAT_PRECISION 1000

static const char *cel_format_any(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				  int depth);

static const char *cel_format_list(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				   int depth)
{
	struct cel_iter it = cel_iter(v);
	struct cel_val k, e;
	const char *why;
	bool first = true;

	buf_addc(b, '[');
	while (cel_iter_next(c, &it, &k, &e)) {
		if (!first)
			buf_addz(b, ", ");
		first = false;
		why = cel_format_any(c, b, &e, depth + 1);
		if (why)
			return why;
	}
	buf_addc(b, ']');
	return NULL;
}

struct format_entry {
	struct str key;
	struct cel_val val;
};

static int cel_format_order(const void *x, const void *y)
{
	return str_cmp(((const struct format_entry *)x)->key,
		       ((const struct format_entry *)y)->key);
}

static const char *cel_format_map(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				  int depth)
{
	struct cel_iter it = cel_iter(v);
	size_t n = 0;
	struct format_entry *e = arena_array(c->arena, cel_size(v), sizeof(*e));
	struct cel_val k, val;
	const char *why;

	while (cel_iter_next(c, &it, &k, &val)) {
		_cleanup_buf_ struct buf key = { 0 };

		why = cel_format_any(c, &key, &k, depth + 1);
		if (why)
			return why;
		e[n].key = buf_to_arena(&key, c->arena);
		e[n++].val = val;
	}
	qsort(e, n, sizeof(*e), cel_format_order);
	buf_addc(b, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addz(b, ", ");
		buf_add(b, e[i].key);
		buf_addz(b, ": ");
		why = cel_format_any(c, b, &e[i].val, depth + 1);
		if (why)
			return why;
	}
	buf_addc(b, '}');
	return NULL;
}

/* %s */
static const char *cel_format_any(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				  int depth)
{
	if (depth > FORMAT_DEPTH || !cel_charge_bytes(c, 16))
		return "value is nested too deep";
	switch (v->kind) {
	case CEL_NULL:
		buf_addz(b, "null");
		return NULL;
	case CEL_DOUBLE:
		if (isnan(v->d) || isinf(v->d))
			buf_addz(b, isnan(v->d) ? "NaN" : v->d > 0 ? "Infinity" : "-Infinity");
		else
			buf_add(b, cel_double_text(c->arena, v->d));
		return NULL;
	case CEL_TYPE:
		buf_add(b, cel_type_text(c->arena, v->p));
		return NULL;
	case CEL_LIST:
		return cel_format_list(c, b, v, depth);
	case CEL_MAP:
		return cel_format_map(c, b, v, depth);
	case CEL_STRING:
	case CEL_BYTES:
		if (!cel_charge_bytes(c, v->s.n))
			return "result is too long";
		buf_add(b, v->s);
		return NULL;
	default: {
		struct cel_val s = cel_fn_find(STR("string"))->row->impl(c, v, 1);

		if (s.kind != CEL_STRING)
			return arena_fmt(c->arena, "no formatting function for " STR_FMT,
					 STR_ARG(cel_kind_name(v)))
				.p;
		buf_add(b, s.s);
		return NULL;
	}
	}
}

static const char *cel_format_bad(struct cel_ctx *c, const struct cel_val *v, const char *clause)
{
	return arena_fmt(c->arena, "%s clause can only be used on %s, was given " STR_FMT, clause,
			 clause[0] == 'd'          ? "integers"
			 : strchr("fe", clause[0]) ? "doubles"
						   : "integers, byte buffers, and strings",
			 STR_ARG(cel_kind_name(v)))
		.p;
}

static void cel_format_base(struct buf *b, uint64_t u, unsigned base, bool upper)
{
	char out[65];
	size_t i = sizeof(out);

	do {
		out[--i] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
		u /= base;
	} while (u);
	buf_add(b, str_make(out + i, sizeof(out) - i));
}

static const char *cel_format_integer(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				      char clause)
{
	unsigned base = clause == 'b' ? 2 : clause == 'o' ? 8 : clause == 'd' ? 10 : 16;
	const char name[] = { clause, 0 };
	uint64_t u = v->u;

	if (v->kind == CEL_BOOL && clause == 'b') {
		buf_addc(b, v->b ? '1' : '0');
		return NULL;
	}
	if (v->kind == CEL_DOUBLE && clause == 'd' && (isnan(v->d) || isinf(v->d))) {
		buf_addz(b, isnan(v->d) ? "NaN" : v->d > 0 ? "Infinity" : "-Infinity");
		return NULL;
	}
	if (v->kind != CEL_INT && v->kind != CEL_UINT)
		return cel_format_bad(c, v, name);
	if (v->kind == CEL_INT && v->i < 0) {
		buf_addc(b, '-');
		u = 0 - u;
	}
	cel_format_base(b, u, base, clause == 'X');
	return NULL;
}

static const char *cel_format_hex(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				  char clause)
{
	if (v->kind != CEL_STRING && v->kind != CEL_BYTES)
		return cel_format_integer(c, b, v, clause);
	if (!cel_charge_bytes(c, v->s.n * 2))
		return "result is too long";
	for (size_t i = 0; i < v->s.n; i++)
		buf_addf(b, clause == 'X' ? "%02X" : "%02x", (unsigned char)v->s.p[i]);
	return NULL;
}

static const char *cel_format_real(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				   char clause, int precision)
{
	const char name[] = { clause, 0 };
	double d = v->kind == CEL_DOUBLE ? v->d
		   : v->kind == CEL_INT  ? (double)v->i
		   : v->kind == CEL_UINT ? (double)v->u
					 : 0;

	if (v->kind != CEL_DOUBLE && v->kind != CEL_INT && v->kind != CEL_UINT)
		return cel_format_bad(c, v, name);
	if (isnan(d) || isinf(d))
		buf_addz(b, isnan(d) ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
	else if (clause == 'f')
		buf_addf(b, "%.*f", precision, d);
	else
		buf_addf(b, "%.*e", precision, d);
	return NULL;
}

/* ".3": its digits are taken from *s; false when too many. */
static bool cel_format_precision(struct str *s, int *ret)
{
	*ret = 6;
	if (!s->n || s->p[0] != '.')
		return true;
	*ret = 0;
	*s = str_skip(*s, 1);
	while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
		*ret = *ret * 10 + (s->p[0] - '0');
		if (*ret > FORMAT_PRECISION)
			return false;
		*s = str_skip(*s, 1);
	}
	return true;
}

static const char *cel_format_clause(struct cel_ctx *c, struct buf *b, struct str *s,
				     const struct cel_val *args, size_t *next)
{
	struct cel_val v;
	int precision;
	char clause;

	if (!cel_format_precision(s, &precision))
		return "error while parsing precision: too large";
	if (!s->n)
		return "unexpected end of format string";
	clause = s->p[0];
	*s = str_skip(*s, 1);
	if (!strchr("sdfebxXo", clause) || !clause)
		return arena_fmt(c->arena,
				 "could not parse formatting clause: unrecognized formatting "
				 "clause \"%c\"",
				 clause)
			.p;
	if (*next >= cel_size(args))
		return arena_fmt(c->arena, "index %zu out of range", *next).p;
	v = cel_list_get(c, args, (*next)++);
	switch (clause) {
	case 's':
		return cel_format_any(c, b, &v, 0);
	case 'f':
	case 'e':
		return cel_format_real(c, b, &v, clause, precision);
	case 'x':
	case 'X':
		return cel_format_hex(c, b, &v, clause);
	default:
		return cel_format_integer(c, b, &v, clause);
	}
}

struct cel_val cel_string_format(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str s = a[0].s;
	size_t next = 0;
	const char *why;

	(void)n;
	if (a[0].kind != CEL_STRING || a[1].kind != CEL_LIST)
		return cel_no_overload();
	for (;;) {
		size_t at = str_find_char(s, '%', 0);

		buf_add(&b, str_sub(s, 0, at));
		if (at == s.n)
			break;
		s = str_skip(s, at + 1);
		if (s.n && s.p[0] == '%') {
			buf_addc(&b, '%');
			s = str_skip(s, 1);
			continue;
		}
		why = cel_format_clause(c, &b, &s, &a[1], &next);
		if (why)
			return cel_error(c, "%s", why);
	}
	if (!cel_charge_bytes(c, b.n))
		return cel_no_overload();
	return cel_val_str(buf_to_arena(&b, c->arena));
}
