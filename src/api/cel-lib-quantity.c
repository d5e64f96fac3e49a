/* SPDX-License-Identifier: Apache-2.0 */

/* Quantities and semantic versions. */

#include <ctype.h>

#include "api/cel-value.h"
#include "api/quantity.h"
#include "base/arena.h"

/* ---- quantities */

static const struct quantity *cel_quantity_of(const struct cel_val *v)
{
	return v->kind == CEL_OPAQUE && v->aux == CEL_O_QUANTITY ? v->p : NULL;
}

static struct cel_val cel_quantity_val(struct cel_ctx *c, struct quantity q)
{
	struct quantity *copy = arena_new_obj(c->arena, struct quantity);

	*copy = q;
	return cel_opaque(CEL_O_QUANTITY, copy);
}

static const char quantity_wrong[] = "quantities must match the regular expression "
				     "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

static struct cel_val cel_fn_quantity(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct quantity q;

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	return quantity_parse(a[0].s, &q) ? cel_quantity_val(c, q) : cel_error_z(quantity_wrong);
}

static struct cel_val cel_fn_is_quantity(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct quantity q;

	(void)c;
	(void)n;
	return a[0].kind == CEL_STRING ? cel_val_bool(quantity_parse(a[0].s, &q))
				       : cel_no_overload();
}

static struct cel_val cel_quantity_sign(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct quantity *q = cel_quantity_of(&a[0]);

	(void)c;
	(void)n;
	return q ? cel_int(q->nano < 0 ? -1 : q->nano > 0) : cel_no_overload();
}

#define NANO INT64_C(1000000000)

static bool cel_quantity_whole(const struct quantity *q)
{
	__int128 v = q->nano / NANO;

	return q->nano % NANO == 0 && v >= INT64_MIN && v <= INT64_MAX;
}

static struct cel_val cel_quantity_is_integer(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct quantity *q = cel_quantity_of(&a[0]);

	(void)c;
	(void)n;
	return q ? cel_val_bool(cel_quantity_whole(q)) : cel_no_overload();
}

static struct cel_val cel_quantity_as_integer(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct quantity *q = cel_quantity_of(&a[0]);

	(void)c;
	(void)n;
	if (!q)
		return cel_no_overload();
	return cel_quantity_whole(q) ? cel_int((int64_t)(q->nano / NANO))
				     : cel_error_z("cannot convert value to integer");
}

static struct cel_val cel_quantity_as_float(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct quantity *q = cel_quantity_of(&a[0]);

	(void)c;
	(void)n;
	return q ? cel_double((double)q->nano / 1e9) : cel_no_overload();
}

static struct cel_val cel_quantity_arith(struct cel_ctx *c, const struct cel_val *a, bool minus)
{
	const struct quantity *q = cel_quantity_of(&a[0]), *r = cel_quantity_of(&a[1]);
	struct quantity i;

	if (!q || (!r && a[1].kind != CEL_INT))
		return cel_no_overload();
	if (!r) {
		i = quantity_from_value(a[1].i, q->format);
		r = &i;
	}
	return cel_quantity_val(c, minus ? quantity_sub(*q, *r) : quantity_add(*q, *r));
}

static struct cel_val cel_quantity_add(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_quantity_arith(c, a, false);
}

static struct cel_val cel_quantity_sub(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_quantity_arith(c, a, true);
}

/* ---- versions */

struct cel_semver {
	uint64_t n[3];
	struct str pre, build;
};

static bool cel_semver_number(struct str s, uint64_t *ret)
{
	return s.n && s.n < 20 && !(s.n > 1 && s.p[0] == '0') && str_to_u64(s, ret);
}

/* Parts of a prerelease or build, parted by dots. */
static const char *cel_semver_parts(struct arena *a, struct str s, bool pre)
{
	struct str part;
	uint64_t n;

	while (str_split_next(&s, '.', &part)) {
		bool digits = part.n > 0;

		if (!part.n)
			return pre ? "prerelease is empty" : "Build meta data is empty";
		for (size_t i = 0; i < part.n; i++) {
			digits &= isdigit((unsigned char)part.p[i]) != 0;
			if (!isalnum((unsigned char)part.p[i]) && part.p[i] != '-')
				return arena_fmt(a,
						 "Invalid character(s) found in %s \"" STR_FMT "\"",
						 pre ? "prerelease" : "build meta data",
						 STR_ARG(part))
					.p;
		}
		if (pre && digits && !cel_semver_number(part, &n))
			return arena_fmt(a,
					 "Numeric PreRelease version must not contain leading "
					 "zeroes \"" STR_FMT "\"",
					 STR_ARG(part))
				.p;
	}
	return NULL;
}

/* "v1.2" to "1.2.0", without leading zeros */
static struct str cel_semver_normalize(struct arena *a, struct str s)
{
	struct str core, rest, part, out = STR_EMPTY;
	size_t end = 0, n = 0;

	str_strip_prefix(&s, STR("v"));
	while (end < s.n && s.p[end] != '-' && s.p[end] != '+')
		end++;
	core = str_sub(s, 0, end);
	rest = str_skip(s, end);
	for (; str_split_next(&core, '.', &part); n++) {
		while (part.n > 1 && part.p[0] == '0')
			part = str_skip(part, 1);
		out = n ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(out), STR_ARG(part)) : part;
		if (n > 8)
			break;
	}
	if (n < 3 && rest.n)
		return s; /* short versions have nothing behind them */
	for (; n < 3; n++)
		out = arena_fmt(a, STR_FMT ".0", STR_ARG(out));
	return arena_fmt(a, STR_FMT STR_FMT, STR_ARG(out), STR_ARG(rest));
}

static const char *cel_semver_parse(struct arena *a, struct str s, struct cel_semver *v)
{
	static const char *const names[] = { "Major", "Minor", "Patch" };
	struct str part;

	*v = (struct cel_semver){ 0 };
	if (!s.n)
		return "Version string empty";
	for (size_t i = 0; i < 2; i++) {
		if (!str_cut(&s, '.', &part))
			return "No Major.Minor.Patch elements found";
		if (!cel_semver_number(part, &v->n[i]))
			return arena_fmt(a,
					 "%s number must not contain leading zeroes \"" STR_FMT
					 "\"",
					 names[i], STR_ARG(part))
				.p;
	}
	if (str_cut(&s, '+', &part)) {
		v->build = s;
		s = part;
		if (cel_semver_parts(a, v->build, false))
			return cel_semver_parts(a, v->build, false);
	} else {
		s = part;
	}
	if (str_cut(&s, '-', &part)) {
		v->pre = s;
		if (cel_semver_parts(a, v->pre, true))
			return cel_semver_parts(a, v->pre, true);
	}
	if (!cel_semver_number(part, &v->n[2]))
		return arena_fmt(a, "Invalid character(s) found in patch number \"" STR_FMT "\"",
				 STR_ARG(part))
			.p;
	return NULL;
}

static const char *cel_semver_from(struct cel_ctx *c, const struct cel_val *a, size_t n,
				   struct cel_semver *v)
{
	struct str s = n > 1 && a[1].b ? cel_semver_normalize(c->arena, a[0].s) : a[0].s;

	return s.n > 1024 ? "Version string too long" : cel_semver_parse(c->arena, s, v);
}

static bool cel_semver_args(const struct cel_val *a, size_t n)
{
	return a[0].kind == CEL_STRING && (n < 2 || a[1].kind == CEL_BOOL);
}

static struct cel_val cel_fn_semver(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_semver *v = arena_new_obj(c->arena, struct cel_semver);
	const char *why;

	if (!cel_semver_args(a, n))
		return cel_no_overload();
	why = cel_semver_from(c, a, n, v);
	return why ? cel_error_z(why) : cel_opaque(CEL_O_SEMVER, v);
}

static struct cel_val cel_fn_is_semver(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_semver v;

	if (!cel_semver_args(a, n))
		return cel_no_overload();
	return cel_val_bool(!cel_semver_from(c, a, n, &v));
}

static const struct cel_semver *cel_semver_of(const struct cel_val *v)
{
	return v->kind == CEL_OPAQUE && v->aux == CEL_O_SEMVER ? v->p : NULL;
}

static int cel_semver_cmp_pre(struct str x, struct str y)
{
	struct str p, q;
	uint64_t m, n;
	int r;

	if (!x.n || !y.n)
		return x.n ? -1 : y.n ? 1 : 0;
	for (;;) {
		bool more_x = str_split_next(&x, '.', &p), more_y = str_split_next(&y, '.', &q);
		bool num_x, num_y;

		if (!more_x || !more_y)
			return more_x ? 1 : more_y ? -1 : 0;
		num_x = str_to_u64(p, &m);
		num_y = str_to_u64(q, &n);
		if (num_x != num_y)
			return num_x ? -1 : 1;
		r = num_x ? (m < n ? -1 : m > n) : str_cmp(p, q);
		if (r)
			return r < 0 ? -1 : 1;
	}
}

static int cel_semver_cmp(const struct cel_semver *x, const struct cel_semver *y)
{
	for (size_t i = 0; i < 3; i++)
		if (x->n[i] != y->n[i])
			return x->n[i] < y->n[i] ? -1 : 1;
	return cel_semver_cmp_pre(x->pre, y->pre);
}

static struct cel_val cel_semver_part(const struct cel_val *a, size_t i)
{
	const struct cel_semver *v = cel_semver_of(&a[0]);

	return v ? cel_int((int64_t)v->n[i]) : cel_no_overload();
}

static struct cel_val cel_semver_major(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_semver_part(a, 0);
}

static struct cel_val cel_semver_minor(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_semver_part(a, 1);
}

static struct cel_val cel_semver_patch(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return cel_semver_part(a, 2);
}

/* ---- of both */

static bool cel_ordered(const struct cel_val *a, int *ret)
{
	if (cel_quantity_of(&a[0]) && cel_quantity_of(&a[1])) {
		int r = quantity_cmp(*cel_quantity_of(&a[0]), *cel_quantity_of(&a[1]));

		*ret = r < 0 ? -1 : r > 0;
		return true;
	}
	if (!cel_semver_of(&a[0]) || !cel_semver_of(&a[1]))
		return false;
	*ret = cel_semver_cmp(a[0].p, a[1].p);
	return true;
}

static struct cel_val cel_compare_to(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int r;

	(void)c;
	(void)n;
	return cel_ordered(a, &r) ? cel_int(r) : cel_no_overload();
}

static struct cel_val cel_is_less(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int r;

	(void)c;
	(void)n;
	return cel_ordered(a, &r) ? cel_val_bool(r < 0) : cel_no_overload();
}

static struct cel_val cel_is_greater(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	int r;

	(void)c;
	(void)n;
	return cel_ordered(a, &r) ? cel_val_bool(r > 0) : cel_no_overload();
}

bool cel_ordered_equal(const struct cel_val *x, const struct cel_val *y)
{
	struct cel_val a[2] = { *x, *y };
	int r;

	return cel_ordered(a, &r) && r == 0;
}

const struct cel_fn_row cel_lib_quantity[] = {
	{ "quantity", "s>Q", cel_fn_quantity, CEL_COST_PARSE },
	{ "isQuantity", "s>b", cel_fn_is_quantity, CEL_COST_PARSE },
	{ "sign", "Q>i", cel_quantity_sign, CEL_COST_ONE },
	{ "isInteger", ".Q>b", cel_quantity_is_integer, CEL_COST_ONE },
	{ "asInteger", ".Q>i", cel_quantity_as_integer, CEL_COST_ONE },
	{ "asApproximateFloat", ".Q>d", cel_quantity_as_float, CEL_COST_ONE },
	{ "add", ".QQ>Q .Qi>Q", cel_quantity_add, CEL_COST_ONE },
	{ "sub", ".QQ>Q .Qi>Q", cel_quantity_sub, CEL_COST_ONE },
	{ "compareTo", ".QQ>i .VV>i", cel_compare_to, CEL_COST_ONE },
	{ "isLessThan", ".QQ>b .VV>b", cel_is_less, CEL_COST_ONE },
	{ "isGreaterThan", ".QQ>b .VV>b", cel_is_greater, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

const struct cel_fn_row cel_lib_semver[] = {
	{ "semver", "s>V sb>V", cel_fn_semver, CEL_COST_PARSE },
	{ "isSemver", "s>b sb>b", cel_fn_is_semver, CEL_COST_PARSE },
	{ "major", ".V>i", cel_semver_major, CEL_COST_ONE },
	{ "minor", ".V>i", cel_semver_minor, CEL_COST_ONE },
	{ "patch", ".V>i", cel_semver_patch, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
