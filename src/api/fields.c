/* SPDX-License-Identifier: Apache-2.0 */

/* Field sets as such: set operations, paths and FieldsV1. See fields-object.c for objects. */

#include "api/fields.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

struct fields *fields_new(struct arena *a)
{
	return arena_new_obj(a, struct fields);
}

/* The place of pe among the kids, where it is or would be. */
static size_t fields_place(const struct fields *f, struct str pe, bool *ret_found)
{
	size_t lo = 0, hi = f->n;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = str_cmp(f->kids[mid]->pe, pe);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void fields_insert(struct arena *a, struct fields *f, size_t at, struct fields *kid)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 4;
		struct fields **kids = arena_array(a, cap, sizeof(*kids));

		if (f->n)
			memcpy(kids, f->kids, f->n * sizeof(*kids));
		f->kids = kids;
		f->cap = cap;
	}
	memmove(f->kids + at + 1, f->kids + at, (f->n - at) * sizeof(*f->kids));
	f->kids[at] = kid;
	f->n++;
}

struct fields *fields_sub(struct arena *a, struct fields *f, struct str pe)
{
	bool found;
	size_t at = fields_place(f, pe, &found);
	struct fields *kid;

	if (found)
		return f->kids[at];
	kid = fields_new(a);
	kid->pe = pe;
	fields_insert(a, f, at, kid);
	return kid;
}

void fields_drop(struct fields *f, struct str pe)
{
	bool found;
	size_t at = fields_place(f, pe, &found);

	if (!found)
		return;
	f->n--;
	memmove(f->kids + at, f->kids + at + 1, (f->n - at) * sizeof(*f->kids));
}

const struct fields *fields_find(const struct fields *f, struct str pe)
{
	bool found;
	size_t at;

	if (!f)
		return NULL;
	at = fields_place(f, pe, &found);
	return found ? f->kids[at] : NULL;
}

bool fields_empty(const struct fields *f)
{
	if (!f)
		return true;
	if (f->owned)
		return false;
	for (size_t i = 0; i < f->n; i++) {
		if (!fields_empty(f->kids[i]))
			return false;
	}
	return true;
}

size_t fields_count(const struct fields *f)
{
	size_t n = f && f->owned;

	for (size_t i = 0; f && i < f->n; i++)
		n += fields_count(f->kids[i]);
	return n;
}

bool fields_equal(const struct fields *x, const struct fields *y)
{
	size_t i = 0, j = 0;

	if (x->owned != y->owned)
		return false;
	for (;;) {
		/* nodes without anything in the set count as absent */
		while (i < x->n && fields_empty(x->kids[i]))
			i++;
		while (j < y->n && fields_empty(y->kids[j]))
			j++;
		if (i == x->n || j == y->n)
			return i == x->n && j == y->n;
		if (!str_eq(x->kids[i]->pe, y->kids[j]->pe) ||
		    !fields_equal(x->kids[i], y->kids[j]))
			return false;
		i++;
		j++;
	}
}

enum fields_op { FIELDS_UNION, FIELDS_DIFFERENCE, FIELDS_INTERSECTION };

static bool fields_op_owned(enum fields_op op, bool x, bool y)
{
	if (op == FIELDS_UNION)
		return x || y;
	return op == FIELDS_DIFFERENCE ? x && !y : x && y;
}

static struct fields *fields_combine(struct arena *a, enum fields_op op, const struct fields *x,
				     const struct fields *y)
{
	struct fields *out = fields_new(a);
	size_t i = 0, j = 0;

	out->pe = x->pe;
	out->owned = fields_op_owned(op, x->owned, y->owned);
	while (i < x->n || j < y->n) {
		int c = i == x->n ? 1 : j == y->n ? -1 : str_cmp(x->kids[i]->pe, y->kids[j]->pe);
		struct fields *kid = NULL;

		if (c == 0)
			kid = fields_combine(a, op, x->kids[i], y->kids[j]);
		else if (c < 0 && op != FIELDS_INTERSECTION)
			kid = x->kids[i];
		else if (c > 0 && op == FIELDS_UNION)
			kid = y->kids[j];
		i += c <= 0;
		j += c >= 0;
		if (!fields_empty(kid))
			fields_insert(a, out, out->n, kid);
	}
	return out;
}

struct fields *fields_union(struct arena *a, const struct fields *x, const struct fields *y)
{
	return fields_combine(a, FIELDS_UNION, x, y);
}

struct fields *fields_difference(struct arena *a, const struct fields *x, const struct fields *y)
{
	return fields_combine(a, FIELDS_DIFFERENCE, x, y);
}

struct fields *fields_intersection(struct arena *a, const struct fields *x, const struct fields *y)
{
	return fields_combine(a, FIELDS_INTERSECTION, x, y);
}

/* ---- paths */

/* `.name`, `[k="v",l=1]`, `[="x"]`, `[0]` */
static struct str fields_element_text(struct arena *a, struct str pe)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_err_ struct err *e = NULL;
	struct json *keys = NULL;

	if (str_strip_prefix(&pe, STR("f:")))
		return arena_cat(a, STR("."), pe);
	if (str_strip_prefix(&pe, STR("v:")))
		return arena_fmt(a, "[=" STR_FMT "]", STR_ARG(pe));
	if (str_strip_prefix(&pe, STR("i:")))
		return arena_fmt(a, "[" STR_FMT "]", STR_ARG(pe));
	str_strip_prefix(&pe, STR("k:"));
	e = json_parse(a, pe, &keys);
	buf_addc(&b, '[');
	json_for_each(it, keys) buf_addf(&b, "%s" STR_FMT "=" STR_FMT, it.i ? "," : "",
					 STR_ARG(it.key), STR_ARG(json_text(a, it.val)));
	buf_addc(&b, ']');
	return buf_to_arena(&b, a);
}

static void fields_each_below(struct arena *a, const struct fields *f, struct str path,
			      void (*fn)(struct str path, void *ctx), void *ctx)
{
	if (f->owned)
		fn(path, ctx);
	for (size_t i = 0; i < f->n; i++)
		fields_each_below(a, f->kids[i],
				  arena_cat(a, path, fields_element_text(a, f->kids[i]->pe)), fn,
				  ctx);
}

void fields_each(struct arena *a, const struct fields *f, void (*fn)(struct str path, void *ctx),
		 void *ctx)
{
	fields_each_below(a, f, STR_EMPTY, fn, ctx);
}

/* ---- FieldsV1 */

static bool fields_element_ok(struct arena *a, struct str pe)
{
	struct str rest = str_skip(pe, MIN(pe.n, (size_t)2));
	struct json *v = NULL;
	struct err *e;
	uint64_t n;

	if (str_has_prefix(pe, STR("f:")))
		return true;
	if (str_has_prefix(pe, STR("i:")))
		return str_to_u64(rest, &n);
	if (!str_has_prefix(pe, STR("k:")) && !str_has_prefix(pe, STR("v:")))
		return false;
	e = json_parse(a, rest, &v);
	if (e) {
		err_ignore(e, "the caller says that the element is none");
		return false;
	}
	return pe.p[0] == 'v' || (json_is(v, JSON_OBJECT) && json_len(v));
}

/* A node is in the set when "." says so, or when it is a leaf. */
static struct err *fields_read(struct arena *a, const struct json *v, struct fields *f)
{
	if (!json_is(v, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST, "fieldsV1: a node must be an object");
	if (json_len(v) > FIELDS_MEMBERS_MAX)
		return err_new(ERR_BAD_REQUEST, "fieldsV1: a node has too many members");
	if (!json_len(v) && f->pe.n)
		f->owned = true;
	json_for_each(it, v)
	{
		if (str_eqz(it.key, ".")) {
			f->owned = true;
			continue;
		}
		if (!fields_element_ok(a, it.key))
			return err_new(ERR_BAD_REQUEST,
				       "fieldsV1: unknown path element \"" STR_FMT "\"",
				       STR_ARG(it.key));
		TRY(fields_read(a, it.val, fields_sub(a, f, it.key)));
	}
	return NULL;
}

struct err *fields_from_json(struct arena *a, const struct json *v, struct fields **ret)
{
	*ret = fields_new(a);
	return fields_read(a, v, *ret);
}

struct json *fields_to_json(struct arena *a, const struct fields *f)
{
	struct json *out = json_object(a);

	if (f->owned && f->n)
		json_set(a, out, ".", json_object(a));
	for (size_t i = 0; i < f->n; i++) {
		if (!fields_empty(f->kids[i]))
			json_set_s(a, out, f->kids[i]->pe, fields_to_json(a, f->kids[i]));
	}
	return out;
}
