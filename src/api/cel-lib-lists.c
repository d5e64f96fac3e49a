/* SPDX-License-Identifier: Apache-2.0 */

/* Lists: cel-go's slice, sort and so on, Kubernetes' sum, min and so on, sets, optionals. */

#include <stdlib.h>

#include "api/cel-value.h"
#include "base/arena.h"

#define CEL_MAX_RANGE 1000000

static struct cel_val cel_list_slice(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;
	int64_t from = a[1].i, to = a[2].i, size;

	(void)n;
	if (a[0].kind != CEL_LIST || a[1].kind != CEL_INT || a[2].kind != CEL_INT)
		return cel_no_overload();
	size = (int64_t)cel_size(&a[0]);
	if (from < 0 || to < 0)
		return cel_error(c, "cannot slice(%lld, %lld), negative indexes not supported",
				 (long long)from, (long long)to);
	if (from > to)
		return cel_error(c,
				 "cannot slice(%lld, %lld), start index must be less than or equal "
				 "to end index",
				 (long long)from, (long long)to);
	if (size < to)
		return cel_error(c, "cannot slice(%lld, %lld), list is length %lld",
				 (long long)from, (long long)to, (long long)size);
	l = cel_list_new(c->arena, (size_t)(to - from));
	for (; from < to; from++)
		cel_list_add(c->arena, l, cel_list_get(c, &a[0], (size_t)from));
	return cel_list_val(l);
}

static bool cel_flatten_into(struct cel_ctx *c, struct cel_list *l, const struct cel_val *v,
			     int64_t depth)
{
	struct cel_iter it = cel_iter(v);
	struct cel_val k, e;

	while (cel_iter_next(c, &it, &k, &e)) {
		if (e.kind == CEL_LIST && depth > 0) {
			if (!cel_flatten_into(c, l, &e, depth - 1))
				return false;
			continue;
		}
		if (!cel_charge_bytes(c, sizeof(e)))
			return false;
		cel_list_add(c->arena, l, e);
	}
	return true;
}

static struct cel_val cel_list_flatten(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;
	int64_t depth = 1;

	if (a[0].kind != CEL_LIST || (n > 1 && a[1].kind != CEL_INT))
		return cel_no_overload();
	if (n > 1)
		depth = a[1].i;
	if (depth < 0)
		return cel_error_z("level must be non-negative");
	l = cel_list_new(c->arena, cel_size(&a[0]));
	(void)cel_flatten_into(c, l, &a[0], MIN(depth, 64));
	return cel_list_val(l);
}

static struct cel_val cel_list_reverse(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;
	size_t size = cel_size(&a[0]);

	(void)n;
	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	l = cel_list_new(c->arena, size);
	while (size--)
		cel_list_add(c->arena, l, cel_list_get(c, &a[0], size));
	return cel_list_val(l);
}

static struct cel_val cel_list_distinct(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;
	struct cel_iter it;
	struct cel_val k, v;
	size_t size = cel_size(&a[0]);

	(void)n;
	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	/* quadratic, as it is charged; what would be too much is not even begun */
	if (size > 2000)
		(void)cel_charge(c, (uint64_t)size * size * 2);
	l = cel_list_new(c->arena, size);
	it = cel_iter(&a[0]);
	while (!c->exceeded && cel_iter_next(c, &it, &k, &v)) {
		size_t i = 0;

		while (i < l->n && !cel_equal(c, &l->v[i], &v))
			i++;
		if (i == l->n)
			cel_list_add(c->arena, l, v);
	}
	return cel_list_val(l);
}

struct sort_item {
	struct cel_val key, val;
	size_t i;
};

static int cel_sort_order(const void *x, const void *y)
{
	const struct sort_item *a = x, *b = y;
	int r = cel_compare(&a->key, &b->key);

	if (r == -1 || r == 1)
		return r;
	return a->i < b->i ? -1 : a->i > b->i;
}

static struct cel_val cel_sort(struct cel_ctx *c, const struct cel_val *list,
			       const struct cel_val *keys)
{
	size_t n = cel_size(list), i = 0;
	struct sort_item *v;
	struct cel_list *l;
	struct cel_iter it = cel_iter(list);
	struct cel_val k, e;

	if (cel_size(keys) != n)
		return cel_error(c,
				 "@sortByAssociatedKeys() expected a list of the same size as the "
				 "associated keys list, but got %zu and %zu elements respectively.",
				 n, cel_size(keys));
	v = arena_array(c->arena, n, sizeof(*v));
	while (cel_iter_next(c, &it, &k, &e)) {
		v[i] = (struct sort_item){ cel_list_get(c, keys, i), e, i };
		if (v[i].key.kind > CEL_TIMESTAMP || v[i].key.kind == CEL_NULL)
			return cel_error_z("list elements must be comparable");
		if (v[i].key.kind != v[0].key.kind)
			return cel_error_z("list elements must have the same type");
		i++;
	}
	qsort(v, n, sizeof(*v), cel_sort_order);
	l = cel_list_new(c->arena, n);
	for (i = 0; i < n; i++)
		cel_list_add(c->arena, l, v[i].val);
	return cel_list_val(l);
}

static struct cel_val cel_list_sort(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return a[0].kind == CEL_LIST ? cel_sort(c, &a[0], &a[0]) : cel_no_overload();
}

static struct cel_val cel_list_sort_by(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return a[0].kind == CEL_LIST && a[1].kind == CEL_LIST ? cel_sort(c, &a[0], &a[1])
							      : cel_no_overload();
}

static struct cel_val cel_list_range(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;

	(void)n;
	if (a[0].kind != CEL_INT)
		return cel_no_overload();
	l = cel_list_new(c->arena, 0);
	if (a[0].i > CEL_MAX_RANGE)
		(void)cel_charge(c, (uint64_t)a[0].i);
	for (int64_t i = 0; i < a[0].i && !c->exceeded; i++)
		cel_list_add(c->arena, l, cel_int(i));
	return cel_list_val(l);
}

static struct cel_val cel_list_end(struct cel_ctx *c, const struct cel_val *a, bool last)
{
	size_t size = cel_size(&a[0]);
	struct cel_val v;

	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	if (!size)
		return cel_val_optional(c->arena, NULL);
	v = cel_list_get(c, &a[0], last ? size - 1 : 0);
	return v.kind == CEL_ERROR ? v : cel_val_optional(c->arena, &v);
}

struct cel_val cel_list_first(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_list_end(c, a, false);
}

struct cel_val cel_list_last(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_list_end(c, a, true);
}

/* ---- Kubernetes' */

static struct cel_val cel_list_is_sorted(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_iter it;
	struct cel_val k, v, prev = { 0 };

	(void)n;
	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	it = cel_iter(&a[0]);
	for (bool first = true; cel_iter_next(c, &it, &k, &v); first = false) {
		if (!first && cel_compare(&prev, &v) == 3)
			return cel_no_overload();
		if (!first && cel_compare(&prev, &v) == 1)
			return cel_val_bool(false);
		prev = v;
	}
	return cel_val_bool(true);
}

static struct cel_val cel_sum_start(const struct cel_ctx *c)
{
	const struct cel_type *t = c->node->type;

	switch (t ? t->kind : CEL_INT) {
	case CEL_UINT:
		return cel_uint(0);
	case CEL_DOUBLE:
		return cel_double(0);
	case CEL_DURATION:
		return cel_duration(0);
	default:
		return cel_int(0);
	}
}

static struct cel_val cel_list_sum(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_iter it;
	struct cel_val k, pair[2];

	(void)n;
	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	pair[0] = cel_sum_start(c);
	it = cel_iter(&a[0]);
	for (bool first = true; cel_iter_next(c, &it, &k, &pair[1]); first = false) {
		if (first) {
			pair[0] = pair[1];
			continue;
		}
		if (pair[0].kind == CEL_STRING)
			return cel_no_overload();
		pair[0] = cel_fn_find(STR("_+_"))->row->impl(c, pair, 2);
		if (pair[0].kind == CEL_ERROR)
			return pair[0];
	}
	return pair[0];
}

static struct cel_val cel_list_extreme(struct cel_ctx *c, const struct cel_val *a, int want)
{
	struct cel_iter it;
	struct cel_val k, v, best = { 0 };
	bool any = false;

	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	it = cel_iter(&a[0]);
	while (cel_iter_next(c, &it, &k, &v)) {
		int r = any ? cel_compare(&v, &best) : want;

		if (r == 3)
			return cel_no_overload();
		if (r == want)
			best = v;
		any = true;
	}
	if (!any)
		return cel_error(c, "%s called on empty list", want < 0 ? "min" : "max");
	return best;
}

static struct cel_val cel_list_min(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_list_extreme(c, a, -1);
}

static struct cel_val cel_list_max(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_list_extreme(c, a, 1);
}

static struct cel_val cel_list_find(struct cel_ctx *c, const struct cel_val *a, size_t n, bool last)
{
	struct cel_iter it;
	struct cel_val k, v, at = cel_int(-1);

	if (a[0].kind == CEL_STRING)
		return cel_string_find(c, a, n, last);
	if (a[0].kind != CEL_LIST || n != 2)
		return cel_no_overload();
	it = cel_iter(&a[0]);
	while (cel_iter_next(c, &it, &k, &v)) {
		if (!cel_equal(c, &v, &a[1]))
			continue;
		at = k;
		if (!last)
			break;
	}
	return at;
}

static struct cel_val cel_list_index_of(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	return cel_list_find(c, a, n, false);
}

static struct cel_val cel_list_last_index_of(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	return cel_list_find(c, a, n, true);
}

const struct cel_fn_row cel_lib_lists[] = {
	{ "slice", ".[A]ii>[A]", cel_list_slice, CEL_COST_SLICE },
	{ "flatten", ".[[A]]>[A] .[*]i>[*]", cel_list_flatten, CEL_COST_FLATTEN },
	{ "sort", ".[i]>[i] .[u]>[u] .[d]>[d] .[b]>[b] .[D]>[D] .[t]>[t] .[s]>[s] .[y]>[y]",
	  cel_list_sort, CEL_COST_SORT },
	{ "@sortByAssociatedKeys",
	  "[A][i]>[A] [A][u]>[A] [A][d]>[A] [A][b]>[A] [A][D]>[A] [A][t]>[A] [A][s]>[A] [A][y]>[A]",
	  cel_list_sort_by, CEL_COST_SORT },
	{ "lists.range", "i>[i]", cel_list_range, CEL_COST_RANGE },
	{ "reverse", ".[A]>[A]", cel_list_reverse, CEL_COST_REVERSE },
	{ "distinct", ".[A]>[A]", cel_list_distinct, CEL_COST_DISTINCT },
	{ "isSorted", ".[i]>b .[u]>b .[d]>b .[b]>b .[D]>b .[t]>b .[s]>b .[y]>b", cel_list_is_sorted,
	  CEL_COST_LIST },
	{ "sum", ".[i]>i .[u]>u .[d]>d .[D]>D", cel_list_sum, CEL_COST_LIST },
	{ "min", ".[i]>i .[u]>u .[d]>d .[b]>b .[D]>D .[t]>t .[s]>s .[y]>y", cel_list_min,
	  CEL_COST_LIST },
	{ "max", ".[i]>i .[u]>u .[d]>d .[b]>b .[D]>D .[t]>t .[s]>s .[y]>y", cel_list_max,
	  CEL_COST_LIST },
	{ "indexOf", ".ss>i .ssi>i .[A]A>i", cel_list_index_of, CEL_COST_LIST },
	{ "lastIndexOf", ".ss>i .ssi>i .[A]A>i", cel_list_last_index_of, CEL_COST_LIST },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

/* ---- sets */

static bool cel_sets_has(struct cel_ctx *c, const struct cel_val *l, const struct cel_val *x)
{
	struct cel_iter it = cel_iter(l);
	struct cel_val k, v;

	while (cel_iter_next(c, &it, &k, &v))
		if (cel_equal(c, &v, x))
			return true;
	return false;
}

/* How many of y's elements are in x: all of them, or any. */
static bool cel_sets_test(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y,
			  bool all)
{
	struct cel_iter it = cel_iter(y);
	struct cel_val k, v;

	while (!c->exceeded && cel_iter_next(c, &it, &k, &v))
		if (cel_sets_has(c, x, &v) != all)
			return !all;
	return all;
}

static bool cel_sets_args(struct cel_ctx *c, const struct cel_val *a)
{
	uint64_t n;

	if (a[0].kind != CEL_LIST || a[1].kind != CEL_LIST)
		return false;
	n = (uint64_t)cel_size(&a[0]) * cel_size(&a[1]);
	if (n > c->limit)
		(void)cel_charge(c, n);
	return true;
}

static struct cel_val cel_sets_contains(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_sets_args(c, a) ? cel_val_bool(cel_sets_test(c, &a[0], &a[1], true))
				   : cel_no_overload();
}

static struct cel_val cel_sets_equivalent(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_sets_args(c, a) ? cel_val_bool(cel_sets_test(c, &a[0], &a[1], true) &&
						  cel_sets_test(c, &a[1], &a[0], true))
				   : cel_no_overload();
}

static struct cel_val cel_sets_intersects(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_sets_args(c, a) ? cel_val_bool(cel_sets_test(c, &a[0], &a[1], false))
				   : cel_no_overload();
}

const struct cel_fn_row cel_lib_sets[] = {
	{ "sets.contains", "[A][A]>b", cel_sets_contains, CEL_COST_SETS },
	{ "sets.equivalent", "[A][A]>b", cel_sets_equivalent, CEL_COST_SETS },
	{ "sets.intersects", "[A][A]>b", cel_sets_intersects, CEL_COST_SETS },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
