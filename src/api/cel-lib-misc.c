/* SPDX-License-Identifier: Apache-2.0 */

/* Optionals, insertion into maps (transformMap), find and findAll, keys of JSON patches. */

#include "api/cel-value.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/buf.h"

/* ---- optionals */

static struct cel_val cel_optional_of(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_val_optional(c->arena, &a[0]);
}

static struct cel_val cel_optional_none(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)a;
	(void)n;
	return cel_val_optional(c->arena, NULL);
}

static bool cel_zero(const struct cel_val *v)
{
	switch (v->kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
		return !v->b;
	case CEL_INT:
	case CEL_UINT:
	case CEL_DURATION:
		return !v->i;
	case CEL_DOUBLE:
		return v->d == 0;
	case CEL_STRING:
	case CEL_BYTES:
		return !v->s.n;
	case CEL_TIMESTAMP:
		return v->i == INT64_C(-62135596800) && !v->nanos;
	case CEL_LIST:
	case CEL_MAP:
		return !cel_size(v);
	case CEL_OPTIONAL:
		return !v->p;
	default:
		return false;
	}
}

static struct cel_val cel_optional_non_zero(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)n;
	return cel_val_optional(c->arena, cel_zero(&a[0]) ? NULL : &a[0]);
}

static struct cel_val cel_optional_value(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != CEL_OPTIONAL)
		return cel_no_overload();
	return a[0].p ? *(const struct cel_val *)a[0].p
		      : cel_error_z("optional.none() dereference");
}

static struct cel_val cel_optional_has(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	return a[0].kind == CEL_OPTIONAL ? cel_val_bool(a[0].p) : cel_no_overload();
}

static struct cel_val cel_optional_or(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (a[0].kind != CEL_OPTIONAL)
		return cel_no_overload();
	return a[0].p ? a[0] : a[1];
}

static struct cel_val cel_optional_unwrap(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_list *l;
	struct cel_iter it;
	struct cel_val k, v;

	(void)n;
	if (a[0].kind != CEL_LIST)
		return cel_no_overload();
	l = cel_list_new(c->arena, cel_size(&a[0]));
	it = cel_iter(&a[0]);
	while (cel_iter_next(c, &it, &k, &v)) {
		if (v.kind != CEL_OPTIONAL)
			return cel_no_overload();
		if (v.p)
			cel_list_add(c->arena, l, *(const struct cel_val *)v.p);
	}
	return cel_list_val(l);
}

/* ---- maps that grow: in place at the tip, as lists do */

static struct cel_map *cel_map_tip(struct cel_ctx *c, const struct cel_val *v)
{
	struct cel_map *m = v->rep == CEL_REP_ARRAY ? (struct cel_map *)(uintptr_t)v->p : NULL;
	struct cel_iter it;
	struct cel_val k, e;

	if (m && m->n == (size_t)v->q)
		return m;
	m = cel_map_new(c->arena, cel_size(v) + 4);
	it = cel_iter(v);
	while (cel_iter_next(c, &it, &k, &e))
		(void)cel_map_add(c->arena, m, k, e);
	return m;
}

static struct cel_val cel_map_insert_one(struct cel_ctx *c, struct cel_map *m,
					 const struct cel_val *k, const struct cel_val *v)
{
	if (k->kind < CEL_BOOL || k->kind > CEL_STRING)
		return cel_error_z("unsupported key type");
	if (!cel_charge_bytes(c, sizeof(struct cel_pair)) || cel_map_add(c->arena, m, *k, *v))
		return cel_map_val(m);
	if (k->kind == CEL_STRING)
		return cel_error(c, "insert failed: key " STR_FMT " already exists", STR_ARG(k->s));
	return cel_error(c, "insert failed: key %lld already exists", (long long)k->i);
}

static struct cel_val cel_map_insert(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_map *m;
	struct cel_iter it;
	struct cel_val k, v, r;

	if (a[0].kind != CEL_MAP || (n == 2 && a[1].kind != CEL_MAP))
		return cel_no_overload();
	m = cel_map_tip(c, &a[0]);
	if (n == 3)
		return cel_map_insert_one(c, m, &a[1], &a[2]);
	it = cel_iter(&a[1]);
	while (cel_iter_next(c, &it, &k, &v)) {
		r = cel_map_insert_one(c, m, &k, &v);
		if (r.kind == CEL_ERROR)
			return r;
	}
	return cel_map_val(m);
}

const struct cel_fn_row cel_lib_optional[] = {
	{ "optional.of", "A>?A", cel_optional_of, CEL_COST_ONE },
	{ "optional.ofNonZeroValue", "A>?A", cel_optional_non_zero, CEL_COST_ONE },
	{ "optional.none", ">?A", cel_optional_none, CEL_COST_ONE },
	{ "optional.unwrap", "[?A]>[A]", cel_optional_unwrap, CEL_COST_ONE },
	{ "unwrapOpt", ".[?A]>[A]", cel_optional_unwrap, CEL_COST_ONE },
	{ "value", ".?A>A", cel_optional_value, CEL_COST_ONE },
	{ "hasValue", ".?A>b", cel_optional_has, CEL_COST_ONE },
	{ "or", ".?A?A>?A", cel_optional_or, CEL_COST_ONE },
	{ "orValue", ".?AA>A", cel_optional_or, CEL_COST_ONE },
	{ "first", ".[A]>?A", cel_list_first, CEL_COST_ONE },
	{ "last", ".[A]>?A", cel_list_last, CEL_COST_ONE },
	{ "cel.@mapInsert", "{AB}AB>{AB} {AB}{AB}>{AB}", cel_map_insert, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

/* ---- regular expressions */

static struct cel_val cel_find_all(struct cel_ctx *c, const struct regex *r, struct str s,
				   int64_t limit)
{
	struct cel_list *l = cel_list_new(c->arena, 4);
	size_t at = 0, from, to, end = SIZE_MAX; /* of the match before */

	while ((limit < 0 || (int64_t)l->n < limit) && at <= s.n &&
	       regex_find(r, s, at, &from, &to)) {
		if (!cel_charge_bytes(c, sizeof(struct cel_val)))
			break;
		/* nothing right behind a match is no match */
		if (to > from || from != end)
			cel_list_add(c->arena, l, cel_val_str(str_sub(s, from, to)));
		end = to;
		at = to > from ? to : to + MAX(cel_utf8_offset(str_skip(s, MIN(to, s.n)), 1), 1);
	}
	return cel_list_val(l);
}

static struct cel_val cel_fn_find_in(struct cel_ctx *c, const struct cel_val *a, size_t n, bool all)
{
	struct str why = STR_EMPTY;
	size_t from, to;
	struct cel_val v;
	struct regex *r;

	if (a[0].kind != CEL_STRING || a[1].kind != CEL_STRING || (n > 2 && a[2].kind != CEL_INT))
		return cel_no_overload();
	r = regex_new(a[1].s, c->arena, &why);
	if (!r)
		return cel_error(c, "Illegal regex: error parsing regexp: " STR_FMT, STR_ARG(why));
	if (all)
		v = cel_find_all(c, r, a[0].s, n > 2 ? a[2].i : -1);
	else if (regex_find(r, a[0].s, 0, &from, &to))
		v = cel_val_str(str_sub(a[0].s, from, to));
	else
		v = cel_val_str(STR_EMPTY);
	regex_free(r);
	return v;
}

static struct cel_val cel_regex_find(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	return cel_fn_find_in(c, a, n, false);
}

static struct cel_val cel_regex_find_all(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	return cel_fn_find_in(c, a, n, true);
}

const struct cel_fn_row cel_lib_regex[] = {
	{ "find", ".ss>s", cel_regex_find, CEL_COST_FIND },
	{ "findAll", ".ss>[s] .ssi>[s]", cel_regex_find_all, CEL_COST_FIND },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

/* ---- JSON patches */

static struct cel_val cel_escape_key(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	if (!cel_charge_bytes(c, a[0].s.n * 2))
		return cel_no_overload();
	for (size_t i = 0; i < a[0].s.n; i++) {
		if (a[0].s.p[i] == '~')
			buf_addz(&b, "~0");
		else if (a[0].s.p[i] == '/')
			buf_addz(&b, "~1");
		else
			buf_addc(&b, a[0].s.p[i]);
	}
	return cel_val_str(buf_to_arena(&b, c->arena));
}

const struct cel_fn_row cel_lib_patch[] = {
	{ "jsonpatch.escapeKey", "s>s", cel_escape_key, CEL_COST_PARSE_SIZED },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
