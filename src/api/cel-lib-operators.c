/* SPDX-License-Identifier: Apache-2.0 */

/* The operators that are functions: arithmetic, order, in, index. */

#include <math.h>

#include "api/cel-value.h"
#include "api/schema-internal.h"
#include "base/arena.h"

static struct cel_val cel_overflow(const struct cel_val *v)
{
	return cel_error_z(v->kind == CEL_UINT        ? "unsigned integer overflow"
			   : v->kind == CEL_DURATION  ? "duration overflow"
			   : v->kind == CEL_TIMESTAMP ? "timestamp overflow"
						      : "integer overflow");
}

/* ---- time */

#define NS INT64_C(1000000000)

static struct cel_val cel_time_shift(const struct cel_val *t, int64_t ns, bool minus)
{
	int64_t sec = ns / NS, rest = ns % NS, s, n;

	if (minus) {
		sec = -sec;
		rest = -rest;
	}
	n = t->nanos + rest;
	if (__builtin_add_overflow(t->i, sec, &s))
		return cel_overflow(t);
	if (n < 0) {
		n += NS;
		s--;
	} else if (n >= NS) {
		n -= NS;
		s++;
	}
	if (s < INT64_C(-62135596800) || s > INT64_C(253402300799))
		return cel_overflow(t);
	return cel_timestamp(s, (int32_t)n);
}

static struct cel_val cel_time_difference(const struct cel_val *x, const struct cel_val *y)
{
	int64_t d;

	if (__builtin_mul_overflow(x->i - y->i, NS, &d) ||
	    __builtin_add_overflow(d, (int64_t)x->nanos - y->nanos, &d))
		return cel_error_z("duration overflow");
	return cel_duration(d);
}

/* ---- addition */

static struct cel_val cel_concat(struct cel_ctx *c, const struct cel_val *a)
{
	size_t n = a[0].s.n + a[1].s.n;
	struct cel_val v = a[0];
	char *p;

	if (!a[1].s.n)
		return a[0];
	if (!a[0].s.n)
		return a[1];
	if (!cel_charge_bytes(c, n))
		return cel_no_overload();
	p = arena_alloc(c->arena, n);
	memcpy(p, a[0].s.p, a[0].s.n);
	memcpy(p + a[0].s.n, a[1].s.p, a[1].s.n);
	v.s = str_make(p, n);
	return v;
}

static bool cel_same_keys(struct cel_ctx *c, const struct schema *s, const struct cel_val *x,
			  const struct cel_val *y)
{
	struct cel_val a, b;

	if (!s->list_map)
		return cel_equal(c, x, y);
	for (size_t i = 0; i < s->rules->n_list_keys; i++) {
		struct str key = s->rules->list_keys[i];
		bool has = x->kind == CEL_MAP && cel_map_find_field(c, x, key, &a);

		if (has != (y->kind == CEL_MAP && cel_map_find_field(c, y, key, &b)) ||
		    (has && !cel_equal(c, &a, &b)))
			return false;
	}
	return true;
}

/* x + y of sets and lists of maps: y's elements replace those of x that have the same key. */
static struct cel_val cel_merge_lists(struct cel_ctx *c, const struct schema *s,
				      const struct cel_val *a)
{
	struct cel_list *l = cel_list_new(c->arena, cel_size(&a[0]) + cel_size(&a[1]));
	struct cel_iter it = cel_iter(&a[0]);
	struct cel_val k, v;

	while (cel_iter_next(c, &it, &k, &v))
		cel_list_add(c->arena, l, v);
	it = cel_iter(&a[1]);
	while (cel_iter_next(c, &it, &k, &v)) {
		size_t i = 0;

		while (i < l->n && !cel_same_keys(c, s, &l->v[i], &v))
			i++;
		if (!cel_charge(c, l->n / 16))
			return cel_no_overload();
		if (i < l->n)
			l->v[i] = v;
		else
			cel_list_add(c->arena, l, v);
	}
	return cel_list_val(l);
}

static struct cel_val cel_add_lists(struct cel_ctx *c, const struct cel_val *a)
{
	const struct schema *s = a[0].rep == CEL_REP_JSON ? a[0].q : NULL;
	struct cel_iter it;
	struct cel_list *l;
	struct cel_val k, v;
	size_t n = cel_size(&a[0]) + cel_size(&a[1]);

	if (!cel_charge_bytes(c, n * sizeof(v)))
		return cel_no_overload();
	if (s && (s->list_set || s->list_map))
		return cel_merge_lists(c, s, a);
	l = cel_list_new(c->arena, n);
	for (size_t i = 0; i < 2; i++) {
		it = cel_iter(&a[i]);
		while (cel_iter_next(c, &it, &k, &v))
			cel_list_add(c->arena, l, v);
	}
	return cel_list_val(l);
}

static struct cel_val cel_op_add(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val v = a[0];

	(void)n;
	if (a[0].kind == CEL_DURATION && a[1].kind == CEL_TIMESTAMP)
		return cel_time_shift(&a[1], a[0].i, false);
	if (a[0].kind == CEL_TIMESTAMP && a[1].kind == CEL_DURATION)
		return cel_time_shift(&a[0], a[1].i, false);
	if (a[0].kind != a[1].kind)
		return cel_no_overload();
	switch (a[0].kind) {
	case CEL_INT:
	case CEL_DURATION:
		return __builtin_add_overflow(a[0].i, a[1].i, &v.i) ? cel_overflow(&v) : v;
	case CEL_UINT:
		return __builtin_add_overflow(a[0].u, a[1].u, &v.u) ? cel_overflow(&v) : v;
	case CEL_DOUBLE:
		return cel_double(a[0].d + a[1].d);
	case CEL_STRING:
	case CEL_BYTES:
		return cel_concat(c, a);
	case CEL_LIST:
		return cel_add_lists(c, a);
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_op_sub(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val v = a[0];

	(void)c;
	(void)n;
	if (a[0].kind == CEL_TIMESTAMP && a[1].kind == CEL_DURATION)
		return cel_time_shift(&a[0], a[1].i, true);
	if (a[0].kind != a[1].kind)
		return cel_no_overload();
	switch (a[0].kind) {
	case CEL_INT:
	case CEL_DURATION:
		return __builtin_sub_overflow(a[0].i, a[1].i, &v.i) ? cel_overflow(&v) : v;
	case CEL_UINT:
		return __builtin_sub_overflow(a[0].u, a[1].u, &v.u) ? cel_overflow(&v) : v;
	case CEL_DOUBLE:
		return cel_double(a[0].d - a[1].d);
	case CEL_TIMESTAMP:
		return cel_time_difference(&a[0], &a[1]);
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_op_mul(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val v = a[0];

	(void)c;
	(void)n;
	if (a[0].kind != a[1].kind)
		return cel_no_overload();
	switch (a[0].kind) {
	case CEL_INT:
		return __builtin_mul_overflow(a[0].i, a[1].i, &v.i) ? cel_overflow(&v) : v;
	case CEL_UINT:
		return __builtin_mul_overflow(a[0].u, a[1].u, &v.u) ? cel_overflow(&v) : v;
	case CEL_DOUBLE:
		return cel_double(a[0].d * a[1].d);
	default:
		return cel_no_overload();
	}
}

static struct cel_val cel_op_div(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != a[1].kind)
		return cel_no_overload();
	if (a[0].kind == CEL_DOUBLE)
		return cel_double(a[0].d / a[1].d);
	if (a[0].kind != CEL_INT && a[0].kind != CEL_UINT)
		return cel_no_overload();
	if (!a[1].u)
		return cel_error_z("division by zero");
	if (a[0].kind == CEL_UINT)
		return cel_uint(a[0].u / a[1].u);
	return a[0].i == INT64_MIN && a[1].i == -1 ? cel_overflow(&a[0]) : cel_int(a[0].i / a[1].i);
}

static struct cel_val cel_op_mod(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != a[1].kind || (a[0].kind != CEL_INT && a[0].kind != CEL_UINT))
		return cel_no_overload();
	if (!a[1].u)
		return cel_error_z("modulus by zero");
	if (a[0].kind == CEL_UINT)
		return cel_uint(a[0].u % a[1].u);
	return a[0].i == INT64_MIN && a[1].i == -1 ? cel_overflow(&a[0]) : cel_int(a[0].i % a[1].i);
}

static struct cel_val cel_op_neg(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind == CEL_DOUBLE)
		return cel_double(-a[0].d);
	if (a[0].kind != CEL_INT && a[0].kind != CEL_DURATION)
		return cel_no_overload();
	if (a[0].i == INT64_MIN)
		return cel_overflow(&a[0]);
	return a[0].kind == CEL_INT ? cel_int(-a[0].i) : cel_duration(-a[0].i);
}

static struct cel_val cel_op_not(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return a[0].kind == CEL_BOOL ? cel_val_bool(!a[0].b) : cel_no_overload();
}

/* ---- order */

static int cel_order(const struct cel_val *a, struct cel_val *bad)
{
	int r = cel_compare(&a[0], &a[1]);

	if (r == 2)
		*bad = cel_error_z("NaN values cannot be ordered");
	if (r == 3)
		*bad = cel_no_overload();
	return r;
}

static struct cel_val cel_op_lt(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val bad;
	int r = cel_order(a, &bad);

	(void)c;
	(void)n;
	return r > 1 ? bad : cel_val_bool(r < 0);
}

static struct cel_val cel_op_le(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val bad;
	int r = cel_order(a, &bad);

	(void)c;
	(void)n;
	return r > 1 ? bad : cel_val_bool(r <= 0);
}

static struct cel_val cel_op_gt(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val bad;
	int r = cel_order(a, &bad);

	(void)c;
	(void)n;
	return r > 1 ? bad : cel_val_bool(r > 0);
}

static struct cel_val cel_op_ge(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val bad;
	int r = cel_order(a, &bad);

	(void)c;
	(void)n;
	return r > 1 ? bad : cel_val_bool(r >= 0);
}

static struct cel_val cel_op_eq(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_val_bool(cel_equal(c, &a[0], &a[1]));
}

static struct cel_val cel_op_ne(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_val_bool(!cel_equal(c, &a[0], &a[1]));
}

/* ---- containers */

static struct cel_val cel_op_in(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_iter it;
	struct cel_val k, v;

	(void)n;
	if (a[1].kind == CEL_MAP)
		return cel_val_bool(cel_map_find(c, &a[1], &a[0], &v));
	if (a[1].kind != CEL_LIST)
		return cel_no_overload();
	it = cel_iter(&a[1]);
	while (cel_iter_next(c, &it, &k, &v))
		if (cel_equal(c, &a[0], &v))
			return cel_val_bool(true);
	return cel_val_bool(false);
}

static bool cel_as_index(const struct cel_val *v, int64_t *ret)
{
	if (v->kind == CEL_INT)
		*ret = v->i;
	else if (v->kind == CEL_UINT && v->u <= INT64_MAX)
		*ret = (int64_t)v->u;
	else if (v->kind == CEL_DOUBLE && v->d >= -9e15 && v->d <= 9e15 && floor(v->d) == v->d)
		*ret = (int64_t)v->d;
	else
		return false;
	return true;
}

static struct str cel_key_name(struct cel_ctx *c, const struct cel_val *k)
{
	switch (k->kind) {
	case CEL_STRING:
		return k->s;
	case CEL_INT:
		return arena_fmt(c->arena, "%lld", (long long)k->i);
	case CEL_UINT:
		return arena_fmt(c->arena, "%llu", (unsigned long long)k->u);
	case CEL_DOUBLE:
		return cel_double_text(c->arena, k->d);
	case CEL_BOOL:
		return str_from(k->b ? "true" : "false");
	default:
		return cel_kind_name(k);
	}
}

/* The element, or what is wrong; *missing tells that it is just not there. */
static struct cel_val cel_index(struct cel_ctx *c, const struct cel_val *m, const struct cel_val *k,
				bool *missing)
{
	struct cel_val v;
	int64_t i;

	*missing = false;
	if (m->kind == CEL_LIST) {
		if (!cel_as_index(k, &i))
			return cel_error(c, "unsupported index type '" STR_FMT "' in list",
					 STR_ARG(cel_kind_name(k)));
		if (i >= 0 && (uint64_t)i < cel_size(m))
			return cel_list_get(c, m, (size_t)i);
		*missing = true;
		return cel_error(c, "index out of bounds: %lld", (long long)i);
	}
	if (m->kind != CEL_MAP)
		return cel_no_overload();
	if (cel_map_find(c, m, k, &v))
		return v;
	*missing = true;
	return cel_error(c, "no such key: " STR_FMT, STR_ARG(cel_key_name(c, k)));
}

static struct cel_val cel_op_opt_index(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val m = a[0], v;
	bool missing;

	(void)n;
	if (m.kind == CEL_OPTIONAL) {
		if (!m.p)
			return m;
		m = *(const struct cel_val *)m.p;
	}
	v = cel_index(c, &m, &a[1], &missing);
	if (missing)
		return cel_val_optional(c->arena, NULL);
	return v.kind == CEL_ERROR ? v : cel_val_optional(c->arena, &v);
}

static struct cel_val cel_op_index(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	bool missing;

	if (a[0].kind == CEL_OPTIONAL)
		return cel_op_opt_index(c, a, n);
	return cel_index(c, &a[0], &a[1], &missing);
}

static struct cel_val cel_op_none(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)a;
	(void)n;
	return cel_no_overload();
}

#define CROSS_TYPES "bb>b ii>b uu>b dd>b ss>b yy>b tt>b DD>b id>b iu>b ui>b ud>b di>b du>b"

const struct cel_fn_row cel_lib_operators[] = {
	{ "_+_", "ii>i uu>u dd>d ss>s yy>y [A][A]>[A] Dt>t tD>t DD>D", cel_op_add, CEL_COST_ADD },
	{ "_-_", "ii>i uu>u dd>d tt>D tD>t DD>D", cel_op_sub, CEL_COST_ONE },
	{ "_*_", "ii>i uu>u dd>d", cel_op_mul, CEL_COST_ONE },
	{ "_/_", "ii>i uu>u dd>d", cel_op_div, CEL_COST_ONE },
	{ "_%_", "ii>i uu>u", cel_op_mod, CEL_COST_ONE },
	{ "-_", "i>i d>d", cel_op_neg, CEL_COST_ONE },
	{ "!_", "b>b", cel_op_not, CEL_COST_ONE },
	{ "_<_", CROSS_TYPES, cel_op_lt, CEL_COST_ORDER },
	{ "_<=_", CROSS_TYPES, cel_op_le, CEL_COST_ORDER },
	{ "_>_", CROSS_TYPES, cel_op_gt, CEL_COST_ORDER },
	{ "_>=_", CROSS_TYPES, cel_op_ge, CEL_COST_ORDER },
	{ "_==_", "AA>b", cel_op_eq, CEL_COST_EQUAL },
	{ "_!=_", "AA>b", cel_op_ne, CEL_COST_EQUAL },
	{ "_&&_", "bb>b", cel_op_none, CEL_COST_LOGIC },
	{ "_||_", "bb>b", cel_op_none, CEL_COST_LOGIC },
	{ "_?_:_", "bAA>A", cel_op_none, CEL_COST_CONDITIONAL },
	{ "@not_strictly_false", "b>b", cel_op_none, CEL_COST_ONE },
	{ "@in", "A[A]>b A{AB}>b", cel_op_in, CEL_COST_IN },
	{ "_[_]", "[A]i>A {AB}A>B ?[A]i>?A ?{AB}A>?B", cel_op_index, CEL_COST_INDEX },
	{ "_[?_]", "[A]i>?A ?[A]i>?A {AB}A>?B ?{AB}A>?B", cel_op_opt_index, CEL_COST_INDEX },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
