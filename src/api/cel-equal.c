/* SPDX-License-Identifier: Apache-2.0 */

/* Equality and order. */

#include <math.h>

#include "api/cel-value.h"
#include "api/schema-internal.h"
#include "base/arena.h"

#define CEL_EQUAL_DEPTH 300

static int cel_cmp_i64(int64_t x, int64_t y)
{
	return x < y ? -1 : x > y;
}

static int cel_cmp_u64(uint64_t x, uint64_t y)
{
	return x < y ? -1 : x > y;
}

static int cel_cmp_double(double x, double y)
{
	return isnan(x) || isnan(y) ? 2 : x < y ? -1 : x > y;
}

static int cel_cmp_int_uint(int64_t x, uint64_t y)
{
	return x < 0 ? -1 : cel_cmp_u64((uint64_t)x, y);
}

static int cel_cmp_int_double(int64_t x, double y)
{
	if (isnan(y))
		return 2;
	if (y < -9223372036854775808.0)
		return 1;
	if (y >= 9223372036854775808.0)
		return -1;
	return cel_cmp_double((double)x, y);
}

static int cel_cmp_uint_double(uint64_t x, double y)
{
	if (isnan(y))
		return 2;
	if (y < 0)
		return 1;
	if (y >= 18446744073709551616.0)
		return -1;
	return cel_cmp_double((double)x, y);
}

static int cel_cmp_swap(int r)
{
	return r > 1 ? r : -r;
}

static bool cel_numeric(const struct cel_val *v)
{
	return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

static int cel_compare_numbers(const struct cel_val *x, const struct cel_val *y)
{
	if (x->kind == y->kind)
		return x->kind == CEL_INT    ? cel_cmp_i64(x->i, y->i)
		       : x->kind == CEL_UINT ? cel_cmp_u64(x->u, y->u)
					     : cel_cmp_double(x->d, y->d);
	if (x->kind == CEL_INT)
		return y->kind == CEL_UINT ? cel_cmp_int_uint(x->i, y->u)
					   : cel_cmp_int_double(x->i, y->d);
	if (x->kind == CEL_UINT)
		return y->kind == CEL_INT ? cel_cmp_swap(cel_cmp_int_uint(y->i, x->u))
					  : cel_cmp_uint_double(x->u, y->d);
	return cel_cmp_swap(cel_compare_numbers(y, x));
}

int cel_compare(const struct cel_val *x, const struct cel_val *y)
{
	int r;

	if (cel_numeric(x) && cel_numeric(y))
		return cel_compare_numbers(x, y);
	if (x->kind != y->kind)
		return 3;
	switch (x->kind) {
	case CEL_BOOL:
		return (int)x->b - (int)y->b;
	case CEL_STRING:
	case CEL_BYTES:
		r = str_cmp(x->s, y->s);
		return r < 0 ? -1 : r > 0;
	case CEL_DURATION:
		return cel_cmp_i64(x->i, y->i);
	case CEL_TIMESTAMP:
		return x->i != y->i ? cel_cmp_i64(x->i, y->i) : cel_cmp_i64(x->nanos, y->nanos);
	default:
		return 3;
	}
}

static bool cel_equal_at(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
			 int depth);

static const struct schema *cel_schema_of(const struct cel_val *v)
{
	return v->rep == CEL_REP_JSON ? v->q : NULL;
}

/* Sets and lists of maps are equal whatever their order. */
static bool cel_equal_unordered(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
				int depth)
{
	struct cel_iter i = cel_iter(x);
	struct cel_val k, v, w;
	uint64_t tried = 0;

	while (cel_iter_next(c, &i, &k, &v)) {
		struct cel_iter j = cel_iter(y);
		bool found = false;

		while (!found && cel_iter_next(c, &j, &k, &w)) {
			found = cel_equal_at(c, &v, &w, depth);
			if (++tried % 16 == 0 && !cel_charge(c, 1))
				return false;
		}
		if (!found)
			return false;
	}
	return true;
}

static bool cel_equal_lists(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
			    int depth)
{
	const struct schema *s = cel_schema_of(x) ? cel_schema_of(x) : cel_schema_of(y);
	struct cel_iter i = cel_iter(x), j = cel_iter(y);
	struct cel_val k, v, w;

	if (cel_size(x) != cel_size(y))
		return false;
	if (s && (s->list_set || s->list_map))
		return cel_equal_unordered(c, x, y, depth);
	while (cel_iter_next(c, &i, &k, &v) && cel_iter_next(c, &j, &k, &w))
		if (!cel_equal_at(c, &v, &w, depth))
			return false;
	return true;
}

static bool cel_equal_maps(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
			   int depth)
{
	struct cel_iter i = cel_iter(x);
	struct cel_val k, v, w;

	if (cel_size(x) != cel_size(y))
		return false;
	while (cel_iter_next(c, &i, &k, &v))
		if (!cel_map_find(c, y, &k, &w) || !cel_equal_at(c, &v, &w, depth))
			return false;
	return true;
}

static bool cel_equal_at(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
			 int depth)
{
	if (cel_numeric(x) && cel_numeric(y))
		return cel_compare_numbers(x, y) == 0;
	if (x->kind != y->kind || depth > CEL_EQUAL_DEPTH)
		return false;
	switch (x->kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
	case CEL_STRING:
	case CEL_BYTES:
	case CEL_DURATION:
	case CEL_TIMESTAMP:
		return cel_compare(x, y) == 0;
	case CEL_TYPE:
		return cel_type_equal(x->p, y->p) ||
		       (((const struct cel_type *)x->p)->kind ==
				((const struct cel_type *)y->p)->kind &&
			((const struct cel_type *)x->p)->kind < CEL_OPAQUE);
	case CEL_OPTIONAL:
		if (!x->p || !y->p)
			return x->p == y->p;
		return cel_equal_at(c, x->p, y->p, depth + 1);
	case CEL_OPAQUE:
		return cel_opaque_equal(x, y);
	case CEL_LIST:
		return c && cel_equal_lists(c, x, y, depth + 1);
	case CEL_MAP:
		return c && cel_equal_maps(c, x, y, depth + 1);
	default:
		return false;
	}
}

bool cel_equal(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y)
{
	return cel_equal_at(c, x, y, 0);
}
