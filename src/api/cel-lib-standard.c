/* SPDX-License-Identifier: Apache-2.0 */

/* The standard functions: size, conversions, tests of strings. */

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "api/cel-value.h"
#include "api/regex.h"
#include "base/arena.h"

static struct cel_val cel_convert_error(struct cel_ctx *c, const struct cel_val *v, const char *to)
{
	return cel_error(c, "type conversion error from '" STR_FMT "' to '%s'",
			 STR_ARG(cel_kind_name(v)), to);
}

static struct cel_val cel_fn_size(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != CEL_STRING && a[0].kind != CEL_BYTES && a[0].kind != CEL_LIST &&
	    a[0].kind != CEL_MAP)
		return cel_no_overload();
	return cel_int((int64_t)cel_size(&a[0]));
}

static struct cel_val cel_fn_type(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_type_val(cel_type_of_val(&a[0]));
}

static struct cel_val cel_fn_dyn(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return a[0];
}

static bool cel_word_in(struct str s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(s, words[i]))
			return true;
	return false;
}

static struct cel_val cel_fn_bool(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	(void)n;
	if (a[0].kind == CEL_BOOL)
		return a[0];
	if (a[0].kind == CEL_STRING && cel_word_in(a[0].s, yes, ARRAY_LEN(yes)))
		return cel_val_bool(true);
	if (a[0].kind == CEL_STRING && cel_word_in(a[0].s, no, ARRAY_LEN(no)))
		return cel_val_bool(false);
	return a[0].kind == CEL_STRING ? cel_convert_error(c, &a[0], "bool") : cel_no_overload();
}

static struct cel_val cel_fn_bytes(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != CEL_BYTES && a[0].kind != CEL_STRING)
		return cel_no_overload();
	return cel_bytes(a[0].s);
}

static bool cel_parse_i64(struct arena *a, struct str s, int64_t *ret)
{
	const char *z = arena_strz(a, s);
	char *end;

	if (!s.n || strlen(z) != s.n ||
	    !(z[0] == '+' || z[0] == '-' || (z[0] >= '0' && z[0] <= '9')))
		return false;
	errno = 0;
	*ret = strtoll(z, &end, 10);
	return !errno && *end == 0 && end > z;
}

static bool cel_parse_double(struct arena *a, struct str s, double *ret)
{
	const char *z = arena_strz(a, s);
	char *end;

	if (!s.n || strlen(z) != s.n || z[0] == ' ' || z[0] == '\t' || z[0] == '\n')
		return false;
	*ret = strtod(z, &end);
	return *end == 0 && end > z && !(isinf(*ret) && !strchr("iI+-", z[0]));
}

static struct cel_val cel_fn_double(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	double d;

	(void)n;
	switch (a[0].kind) {
	case CEL_DOUBLE:
		return a[0];
	case CEL_INT:
		return cel_double((double)a[0].i);
	case CEL_UINT:
		return cel_double((double)a[0].u);
	case CEL_STRING:
		return cel_parse_double(c->arena, a[0].s, &d)
			       ? cel_double(d)
			       : cel_convert_error(c, &a[0], "double");
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_fn_int(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int64_t i;

	(void)n;
	switch (a[0].kind) {
	case CEL_INT:
		return a[0];
	case CEL_UINT:
		return a[0].u > INT64_MAX ? cel_error_z("integer overflow")
					  : cel_int((int64_t)a[0].u);
	case CEL_DOUBLE:
		if (!(a[0].d > -9223372036854775808.0 && a[0].d < 9223372036854775808.0))
			return cel_error_z("integer overflow");
		return cel_int((int64_t)a[0].d);
	case CEL_DURATION:
	case CEL_TIMESTAMP:
		return cel_int(a[0].i);
	case CEL_STRING:
		return cel_parse_i64(c->arena, a[0].s, &i) ? cel_int(i)
							   : cel_convert_error(c, &a[0], "int");
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_fn_uint(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	uint64_t u;

	(void)n;
	switch (a[0].kind) {
	case CEL_UINT:
		return a[0];
	case CEL_INT:
		return a[0].i < 0 ? cel_error_z("unsigned integer overflow")
				  : cel_uint((uint64_t)a[0].i);
	case CEL_DOUBLE:
		if (!(a[0].d >= 0 && a[0].d < 18446744073709551616.0))
			return cel_error_z("unsigned integer overflow");
		return cel_uint((uint64_t)a[0].d);
	case CEL_STRING:
		return str_to_u64(a[0].s, &u) ? cel_uint(u) : cel_convert_error(c, &a[0], "uint");
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_fn_string(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	switch (a[0].kind) {
	case CEL_STRING:
		return a[0];
	case CEL_BOOL:
		return cel_val_str(str_from(a[0].b ? "true" : "false"));
	case CEL_INT:
		return cel_val_str(arena_fmt(c->arena, "%lld", (long long)a[0].i));
	case CEL_UINT:
		return cel_val_str(arena_fmt(c->arena, "%llu", (unsigned long long)a[0].u));
	case CEL_DOUBLE:
		return cel_val_str(cel_double_text(c->arena, a[0].d));
	case CEL_BYTES:
		return str_is_utf8(a[0].s)
			       ? cel_val_str(a[0].s)
			       : cel_error_z("invalid UTF-8 in bytes, cannot convert to string");
	case CEL_DURATION:
		return cel_val_str(cel_duration_text(c->arena, a[0].i));
	case CEL_TIMESTAMP:
		return cel_val_str(cel_timestamp_text(c->arena, a[0].i, a[0].nanos));
	case CEL_OPAQUE:
		return cel_opaque_text(c, &a[0]);
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_fn_duration(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int64_t ns;

	(void)n;
	if (a[0].kind == CEL_DURATION)
		return a[0];
	if (a[0].kind == CEL_INT)
		return cel_duration(a[0].i);
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	return cel_duration_parse(a[0].s, &ns)
		       ? cel_duration(ns)
		       : cel_convert_error(c, &a[0], "google.protobuf.Duration");
}

static struct cel_val cel_fn_timestamp(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val v;

	(void)n;
	if (a[0].kind == CEL_TIMESTAMP)
		return a[0];
	if (a[0].kind == CEL_INT)
		return a[0].i < INT64_C(-62135596800) || a[0].i > INT64_C(253402300799)
			       ? cel_error_z("timestamp overflow")
			       : cel_timestamp(a[0].i, 0);
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	return cel_timestamp_parse(a[0].s, &v)
		       ? v
		       : cel_convert_error(c, &a[0], "google.protobuf.Timestamp");
}

static bool cel_two_strings(const struct cel_val *a)
{
	return a[0].kind == CEL_STRING && a[1].kind == CEL_STRING;
}

static struct cel_val cel_fn_contains(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_two_strings(a) ? cel_val_bool(str_contains(a[0].s, a[1].s)) : cel_no_overload();
}

static struct cel_val cel_fn_starts_with(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_two_strings(a) ? cel_val_bool(str_has_prefix(a[0].s, a[1].s))
				  : cel_no_overload();
}

static struct cel_val cel_fn_ends_with(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_two_strings(a) ? cel_val_bool(str_has_suffix(a[0].s, a[1].s))
				  : cel_no_overload();
}

static struct cel_val cel_fn_matches(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct str why = STR_EMPTY;
	struct regex *r;
	bool ok;

	(void)n;
	if (!cel_two_strings(a))
		return cel_no_overload();
	r = regex_new(a[1].s, c->arena, &why);
	if (!r)
		return cel_error(c, "error parsing regexp: " STR_FMT, STR_ARG(why));
	ok = regex_matches(r, a[0].s);
	regex_free(r);
	return cel_val_bool(ok);
}

const struct cel_fn_row cel_lib_standard[] = {
	{ "size", "s>i .s>i y>i .y>i [A]>i .[A]>i {AB}>i .{AB}>i", cel_fn_size, CEL_COST_ONE },
	{ "type", "A>TA", cel_fn_type, CEL_COST_ONE },
	{ "dyn", "A>*", cel_fn_dyn, CEL_COST_ONE },
	{ "bool", "b>b s>b", cel_fn_bool, CEL_COST_ONE },
	{ "bytes", "y>y s>y", cel_fn_bytes, CEL_COST_CONVERT },
	{ "double", "d>d i>d s>d u>d", cel_fn_double, CEL_COST_ONE },
	{ "int", "i>i d>i D>i s>i t>i u>i", cel_fn_int, CEL_COST_ONE },
	{ "uint", "u>u d>u i>u s>u", cel_fn_uint, CEL_COST_ONE },
	{ "string", "s>s b>s y>s d>s D>s i>s t>s u>s I>s C>s", cel_fn_string, CEL_COST_CONVERT },
	{ "duration", "D>D i>D s>D", cel_fn_duration, CEL_COST_ONE },
	{ "timestamp", "t>t i>t s>t", cel_fn_timestamp, CEL_COST_ONE },
	{ "contains", ".ss>b", cel_fn_contains, CEL_COST_CONTAINS },
	{ "startsWith", ".ss>b", cel_fn_starts_with, CEL_COST_AFFIX },
	{ "endsWith", ".ss>b", cel_fn_ends_with, CEL_COST_AFFIX },
	{ "matches", "ss>b .ss>b", cel_fn_matches, CEL_COST_MATCHES },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
