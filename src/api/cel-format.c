/* SPDX-License-Identifier: Apache-2.0 */

/*
 * "%s and %d".format([...]). What each clause takes is one table, for the run and for the check of
 * literals when an expression is compiled.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/cel-value.h"
#include "base/arena.h"
#include "base/buf.h"

#define FORMAT_DEPTH     32
#define FORMAT_PRECISION 1000

#define K(k)     (1u << CEL_##k)
#define INTEGERS (K(INT) | K(UINT))

static const struct clause {
	const char *letters;
	unsigned kinds;
	const char *wrong;
} clauses[] = {
	{ "s",
	  K(LIST) | K(MAP) | INTEGERS | K(DOUBLE) | K(BOOL) | K(STRING) | K(TIMESTAMP) | K(BYTES) |
		  K(DURATION) | K(TYPE) | K(NULL),
	  "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, "
	  "types, durations, and timestamps" },
	{ "d", INTEGERS, "decimal clause can only be used on integers" },
	{ "f", K(DOUBLE) | K(STRING), "fixed-point clause can only be used on doubles" },
	{ "e", K(DOUBLE) | K(STRING), "scientific clause can only be used on doubles" },
	{ "b", INTEGERS | K(BOOL), "only integers and bools can be formatted as binary" },
	{ "xX", INTEGERS | K(STRING) | K(BYTES),
	  "only integers, byte buffers, and strings can be formatted as hex" },
	{ "o", INTEGERS, "octal clause can only be used on integers" },
};

/* ---- clauses of a format string */

struct spec {
	const struct clause *clause; /* NULL: the end */
	struct str before;           /* text up to it, "%%" not yet undone */
	char letter;
	int precision;
};

/* The next clause of *s; what is wrong with it, else NULL. */
static const char *cel_spec_next(struct arena *a, struct str *s, struct buf *out, struct spec *ret)
{
	size_t at;

	*ret = (struct spec){ .precision = 6 };
	for (;;) {
		at = str_find_char(*s, '%', 0);
		if (out)
			buf_add(out, str_sub(*s, 0, at));
		if (at == s->n)
			return NULL;
		*s = str_skip(*s, at + 1);
		if (!s->n || s->p[0] != '%')
			break;
		if (out)
			buf_addc(out, '%');
		*s = str_skip(*s, 1);
	}
	if (s->n && s->p[0] == '.') {
		ret->precision = 0;
		for (*s = str_skip(*s, 1); s->n && s->p[0] >= '0' && s->p[0] <= '9';
		     *s = str_skip(*s, 1)) {
			ret->precision = ret->precision * 10 + (s->p[0] - '0');
			if (ret->precision > FORMAT_PRECISION)
				return "error while parsing precision: too large";
		}
	}
	if (!s->n)
		return "unexpected end of format string";
	ret->letter = s->p[0];
	*s = str_skip(*s, 1);
	for (size_t i = 0; i < ARRAY_LEN(clauses); i++)
		if (ret->letter && strchr(clauses[i].letters, ret->letter))
			ret->clause = &clauses[i];
	if (ret->clause)
		return NULL;
	return arena_fmt(a,
			 "could not parse formatting clause: unrecognized formatting clause \"%c\"",
			 ret->letter)
		.p;
}

/* ---- values inside lists and maps: as CEL literals */

static const char *cel_format_string(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				     int depth);

/* strconv.Quote */
static void cel_format_quote(struct buf *b, struct str s)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";

	buf_addc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] ? strchr(from, s.p[i]) : NULL;

		if (at)
			buf_addf(b, "\\%c", to[at - from]);
		else if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			buf_addf(b, "\\x%02x", (unsigned char)s.p[i]);
		else
			buf_addc(b, s.p[i]);
	}
	buf_addc(b, '"');
}

static const char *cel_format_literal(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				      int depth)
{
	_cleanup_buf_ struct buf text = { 0 };
	const char *why = NULL;

	if (v->kind == CEL_DOUBLE) {
		if (isfinite(v->d))
			buf_addf(b, "%.6f", v->d);
		else
			buf_addz(b, isnan(v->d) ? "\"NaN\"" : v->d > 0 ? "\"+Inf\"" : "\"-Inf\"");
		return NULL;
	}
	if (v->kind == CEL_OPAQUE || v->kind == CEL_OPTIONAL)
		return arena_fmt(c->arena, "no formatting function for " STR_FMT,
				 STR_ARG(cel_kind_name(v)))
			.p;
	why = cel_format_string(c, &text, v, depth);
	if (why)
		return why;
	if (v->kind == CEL_STRING || v->kind == CEL_BYTES) {
		buf_addz(b, v->kind == CEL_BYTES ? "b" : "");
		cel_format_quote(b, buf_str(&text));
	} else if (v->kind == CEL_TIMESTAMP || v->kind == CEL_DURATION) {
		buf_addz(b, v->kind == CEL_TIMESTAMP ? "timestamp(" : "duration(");
		cel_format_quote(b, buf_str(&text));
		buf_addc(b, ')');
	} else if (v->kind == CEL_TYPE) {
		buf_addf(b, "type(" STR_FMT ")", STR_ARG(buf_str(&text)));
	} else {
		buf_add(b, buf_str(&text));
	}
	return NULL;
}

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
		why = cel_format_literal(c, b, &e, depth + 1);
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
	struct format_entry *e = arena_array(c->arena, cel_size(v), sizeof(*e));
	struct cel_val k, val;
	const char *why;
	size_t n = 0;

	while (cel_iter_next(c, &it, &k, &val)) {
		_cleanup_buf_ struct buf key = { 0 };

		why = cel_format_literal(c, &key, &k, depth + 1);
		if (why)
			return why;
		e[n].key = buf_to_arena(&key, c->arena);
		e[n++].val = val;
	}
	qsort(e, n, sizeof(*e), cel_format_order);
	buf_addc(b, '{');
	for (size_t i = 0; i < n; i++) {
		buf_addf(b, "%s" STR_FMT ":", i ? ", " : "", STR_ARG(e[i].key));
		why = cel_format_literal(c, b, &e[i].val, depth + 1);
		if (why)
			return why;
	}
	buf_addc(b, '}');
	return NULL;
}

/* %s */
static const char *cel_format_string(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				     int depth)
{
	struct cel_val s;

	if (depth > FORMAT_DEPTH || !cel_charge_bytes(c, 16))
		return "value is nested too deep";
	if (v->kind == CEL_LIST)
		return cel_format_list(c, b, v, depth);
	if (v->kind == CEL_MAP)
		return cel_format_map(c, b, v, depth);
	if (v->kind == CEL_NULL) {
		buf_addz(b, "null");
		return NULL;
	}
	if (v->kind == CEL_TYPE) {
		buf_add(b, cel_type_name(c->arena, v->p));
		return NULL;
	}
	s = cel_fn_find(STR("string"))->row->impl(c, v, 1);
	if (s.kind != CEL_STRING)
		return "could not convert argument to string";
	if (!cel_charge_bytes(c, s.s.n))
		return "result is too long";
	buf_add(b, s.s);
	return NULL;
}

/* ---- numbers */

static void cel_format_base(struct buf *b, const struct cel_val *v, unsigned base, bool upper)
{
	char out[66];
	size_t i = sizeof(out);
	bool minus = v->kind == CEL_INT && v->i < 0;
	uint64_t u = minus ? 0 - v->u : v->u;

	do {
		out[--i] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
		u /= base;
	} while (u);
	if (minus)
		out[--i] = '-';
	buf_add(b, str_make(out + i, sizeof(out) - i));
}

/* As the English locale has it: thousands in groups. */
static void cel_format_fixed(struct arena *a, struct buf *b, double d, int precision)
{
	struct str s = arena_fmt(a, "%.*f", precision, d);
	size_t start = s.p[0] == '-', dot = str_find_char(s, '.', 0);

	for (size_t i = 0; i < s.n; i++) {
		if (i > start && i < dot && (dot - i) % 3 == 0)
			buf_addc(b, ',');
		buf_addc(b, s.p[i]);
	}
}

/* "1.5×10⁰³" */
static void cel_format_scientific(struct arena *a, struct buf *b, double d, int precision)
{
	static const char *const digits[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
	struct str s = arena_fmt(a, "%.*e", precision, d), mantissa;

	str_cut(&s, 'e', &mantissa);
	buf_add(b, mantissa);
	buf_addz(b, "×10");
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '-')
			buf_addz(b, "⁻");
		else if (s.p[i] != '+')
			buf_addz(b, digits[s.p[i] - '0']);
}

static const char *cel_format_real(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				   const struct spec *sp)
{
	double d = v->d;

	if (v->kind == CEL_STRING) {
		if (str_eqz(v->s, "NaN"))
			d = NAN;
		else if (str_eqz(v->s, "Infinity"))
			d = INFINITY;
		else if (str_eqz(v->s, "-Infinity"))
			d = -INFINITY;
		else
			return arena_fmt(c->arena, "%s, was given string", sp->clause->wrong).p;
	}
	if (!isfinite(d))
		buf_addz(b, isnan(d) ? "NaN" : d > 0 ? "∞" : "-∞");
	else if (sp->letter == 'f')
		cel_format_fixed(c->arena, b, d, sp->precision);
	else
		cel_format_scientific(c->arena, b, d, sp->precision);
	return NULL;
}

static const char *cel_format_hex(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				  bool upper)
{
	if (!cel_charge_bytes(c, v->s.n * 2))
		return "result is too long";
	for (size_t i = 0; i < v->s.n; i++)
		buf_addf(b, upper ? "%02X" : "%02x", (unsigned char)v->s.p[i]);
	return NULL;
}

static const char *cel_format_value(struct cel_ctx *c, struct buf *b, const struct cel_val *v,
				    const struct spec *sp)
{
	if (v->kind > CEL_TYPE || !(sp->clause->kinds >> v->kind & 1))
		return arena_fmt(c->arena, "%s, was given " STR_FMT, sp->clause->wrong,
				 STR_ARG(cel_kind_name(v)))
			.p;
	switch (sp->letter) {
	case 's':
		return cel_format_string(c, b, v, 0);
	case 'f':
	case 'e':
		return cel_format_real(c, b, v, sp);
	case 'x':
	case 'X':
		if (v->kind == CEL_STRING || v->kind == CEL_BYTES)
			return cel_format_hex(c, b, v, sp->letter == 'X');
		cel_format_base(b, v, 16, sp->letter == 'X');
		return NULL;
	default:
		if (v->kind == CEL_BOOL)
			buf_addc(b, v->b ? '1' : '0');
		else
			cel_format_base(b, v,
					sp->letter == 'b'   ? 2
					: sp->letter == 'o' ? 8
							    : 10,
					false);
		return NULL;
	}
}

struct cel_val cel_string_format(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str s = a[0].s;
	struct spec sp;
	struct cel_val v;
	size_t next = 0;
	const char *why;

	(void)n;
	if (a[0].kind != CEL_STRING || a[1].kind != CEL_LIST)
		return cel_no_overload();
	for (;;) {
		why = cel_spec_next(c->arena, &s, &b, &sp);
		if (why)
			return cel_error_z(why);
		if (!sp.clause)
			break;
		if (next >= cel_size(&a[1]))
			return cel_error(c, "index %zu out of range", next);
		v = cel_list_get(c, &a[1], next++);
		if (v.kind == CEL_ERROR)
			return v;
		why = cel_format_value(c, &b, &v, &sp);
		if (why)
			return cel_error(c, "error during formatting: %s", why);
		if (!cel_charge_bytes(c, 1))
			return cel_no_overload();
	}
	if (!cel_charge_bytes(c, b.n))
		return cel_no_overload();
	return cel_val_str(buf_to_arena(&b, c->arena));
}

/* ---- literals, when compiled */

/* The part of an argument that the clause does not take; NULL: it takes all of it. */
static const struct cel_node *cel_format_misfit(const struct clause *clause,
						const struct cel_node *n)
{
	const struct cel_node *bad = NULL;

	if (n->type->kind != CEL_DYN &&
	    (n->type->kind > CEL_TYPE || !(clause->kinds >> n->type->kind & 1)))
		return n;
	if (clause != &clauses[0] || (n->kind != CEL_N_LIST && n->kind != CEL_N_MAP))
		return NULL;
	for (uint32_t i = 0; i < n->n_args && !bad; i++)
		bad = cel_format_misfit(clause, n->args[i]);
	return bad;
}

void cel_format_check(struct arena *a, const struct cel_node *n, struct cel_issues *is)
{
	const struct cel_node *list = n->n_args == 1 ? n->args[0] : NULL, *bad;
	struct str s;
	struct spec sp;
	uint32_t next = 0;
	const char *why;

	if (!n->member || !list || list->kind != CEL_N_LIST || n->target->kind != CEL_N_LITERAL ||
	    n->target->lit.kind != CEL_STRING)
		return;
	s = n->target->lit.s;
	for (;; next++) {
		why = cel_spec_next(a, &s, NULL, &sp);
		if (why) {
			cel_issue_add(is, n->pos, "%s", why);
			return;
		}
		if (!sp.clause)
			break;
		if (next >= list->n_args) {
			cel_issue_add(is, n->pos, "index %u out of range", next);
			return;
		}
		bad = cel_format_misfit(sp.clause, list->args[next]);
		if (bad) {
			cel_issue_add(is, bad->pos,
				      "error during formatting: %s, was given " STR_FMT,
				      sp.clause->wrong, STR_ARG(cel_type_name(a, bad->type)));
			return;
		}
	}
	if (list->n_args > next)
		cel_issue_add(is, n->pos,
			      "too many arguments supplied to string.format (expected %u, got %u)",
			      next, list->n_args);
}
