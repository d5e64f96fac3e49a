/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees are yyjson's mutable values. A struct json is nothing but such a value, so that the
 * name of the library stays in this file and json-text.c.
 */
#include "json/json.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>

#include <yyjson.h>

#include "base/arena.h"
#include "base/assert.h"
#include "json/json-internal.h"

/* Every query asks for the kind first, so that it is worth a table: by the tag's low byte. */
static enum json_type json_kind(const struct json *v)
{
	static const uint8_t kinds[] = {
		[YYJSON_TYPE_NONE] = JSON_NULL, [YYJSON_TYPE_RAW] = JSON_NULL,
		[YYJSON_TYPE_NULL] = JSON_NULL, [YYJSON_TYPE_BOOL] = JSON_BOOL,
		[YYJSON_TYPE_NUM] = JSON_INT,   [YYJSON_TYPE_STR] = JSON_STR,
		[YYJSON_TYPE_ARR] = JSON_ARRAY, [YYJSON_TYPE_OBJ] = JSON_OBJECT,
	};

	if (!v)
		return JSON_NULL;
	if ((v->v.tag & YYJSON_TAG_MASK) == (YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL))
		return JSON_REAL;
	return kinds[v->v.tag & YYJSON_TYPE_MASK];
}

static bool json_is_container(const struct json *v)
{
	static_assert(YYJSON_TYPE_OBJ == YYJSON_TYPE_ARR + 1, "the last two of three bits");
	return v && (v->v.tag & YYJSON_TYPE_MASK) >= YYJSON_TYPE_ARR;
}

/* making */

static struct json *json_node(struct arena *a, yyjson_type type, yyjson_subtype sub)
{
	struct json *v = arena_new_obj(a, struct json);

	v->v.tag = (uint64_t)type | sub;
	return v;
}

struct json *json_null(struct arena *a)
{
	return json_node(a, YYJSON_TYPE_NULL, 0);
}

struct json *json_bool(struct arena *a, bool b)
{
	return json_node(a, YYJSON_TYPE_BOOL, b ? YYJSON_SUBTYPE_TRUE : YYJSON_SUBTYPE_FALSE);
}

struct json *json_int(struct arena *a, int64_t n)
{
	struct json *v =
		json_node(a, YYJSON_TYPE_NUM, n < 0 ? YYJSON_SUBTYPE_SINT : YYJSON_SUBTYPE_UINT);

	v->v.uni.i64 = n;
	return v;
}

struct json *json_real(struct arena *a, double d)
{
	struct json *v = json_node(a, YYJSON_TYPE_NUM, YYJSON_SUBTYPE_REAL);

	v->v.uni.f64 = d;
	return v;
}

struct json *json_str(struct arena *a, struct str s)
{
	struct json *v = json_node(a, YYJSON_TYPE_STR, 0);

	v->v.tag |= (uint64_t)s.n << YYJSON_TAG_BIT;
	v->v.uni.str = s.p ? s.p : "";
	return v;
}

struct json *json_strz(struct arena *a, const char *z)
{
	return json_str(a, str_from(z));
}

struct json *json_strcpy(struct arena *a, struct str s)
{
	return json_str(a, arena_str(a, s));
}

struct json *json_strf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	struct str s;

	va_start(ap, fmt);
	s = arena_vfmt(a, fmt, ap);
	va_end(ap);
	return json_str(a, s);
}

struct json *json_array(struct arena *a)
{
	return json_node(a, YYJSON_TYPE_ARR, 0);
}

struct json *json_object(struct arena *a)
{
	return json_node(a, YYJSON_TYPE_OBJ, 0);
}

static struct json *json_copy_with(struct arena *a, const struct json *v, bool share)
{
	struct json *copy = arena_new_obj(a, struct json);
	bool keyed = json_is(v, JSON_OBJECT);

	copy->v.tag = v->v.tag;
	copy->v.uni = v->v.uni;
	if (!json_is_container(v)) {
		if (!share && json_is(v, JSON_STR))
			copy->v.uni.str = arena_strz(a, json_as_str(v));
		return copy;
	}
	copy->v.tag &= YYJSON_TAG_MASK; /* empty, to begin with */
	json_for_each(it, v)
	{
		struct json *val = json_copy_with(a, it.val, share);

		if (keyed)
			json_obj_append(a, copy, share ? it.key : arena_str(a, it.key), val);
		else
			yyjson_mut_arr_append(&copy->v, &val->v);
	}
	if (!keyed)
		json_index_array(a, copy);
	return copy;
}

struct json *json_copy(struct arena *a, const struct json *v)
{
	return v ? json_copy_with(a, v, false) : NULL;
}

struct json *json_dup(struct arena *a, const struct json *v)
{
	return v ? json_copy_with(a, v, true) : NULL;
}

/* queries */

enum json_type json_type(const struct json *v)
{
	return json_kind(v);
}

const char *json_type_name(const struct json *v)
{
	static const char *const names[] = {
		[JSON_NULL] = "null",     [JSON_BOOL] = "boolean", [JSON_INT] = "integer",
		[JSON_REAL] = "number",   [JSON_STR] = "string",   [JSON_ARRAY] = "array",
		[JSON_OBJECT] = "object",
	};

	return names[json_type(v)];
}

bool json_is(const struct json *v, enum json_type t)
{
	return v && json_kind(v) == t;
}

bool json_is_null(const struct json *v)
{
	return json_type(v) == JSON_NULL;
}

static bool json_num_equal(const struct json *a, const struct json *b)
{
	bool areal = json_type(a) == JSON_REAL, breal = json_type(b) == JSON_REAL;

	if (!areal && !breal)
		/* A negative and a large unsigned value share bits: compare the kind too. -0 is
		 * read as signed. */
		return a->v.uni.u64 == b->v.uni.u64 &&
		       (a->v.uni.i64 >= 0 ||
			(a->v.tag & YYJSON_SUBTYPE_MASK) == (b->v.tag & YYJSON_SUBTYPE_MASK));
	return !(json_as_real(a, 0) < json_as_real(b, 0)) &&
	       !(json_as_real(a, 0) > json_as_real(b, 0));
}

static bool json_array_equal(const struct json *a, const struct json *b)
{
	struct json_iter ib = json_iter(b);

	if (json_len(a) != json_len(b))
		return false;
	json_for_each(ia, a)
	{
		json_next(&ib);
		if (!json_equal(ia.val, ib.val))
			return false;
	}
	return true;
}

static bool json_object_equal(const struct json *a, const struct json *b)
{
	struct json_iter ib = json_iter(b);

	if (json_len(a) != json_len(b))
		return false;
	json_for_each(ia, a)
	{
		const struct json *bv;

		/* Most often both have the same order. */
		bv = json_next(&ib) && str_eq(ia.key, ib.key) ? ib.val : json_get_s(b, ia.key);
		if (!bv || !json_equal(ia.val, bv))
			return false;
	}
	return true;
}

bool json_equal(const struct json *a, const struct json *b)
{
	enum json_type ta = json_type(a), tb = json_type(b);

	if (a == b)
		return true;
	if (!a || !b)
		return false;
	if ((ta == JSON_INT || ta == JSON_REAL) && (tb == JSON_INT || tb == JSON_REAL))
		return json_num_equal(a, b);
	if (ta != tb)
		return false;
	switch (ta) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return json_as_bool(a, false) == json_as_bool(b, false);
	case JSON_STR:
		return str_eq(json_as_str(a), json_as_str(b));
	case JSON_ARRAY:
		return json_array_equal(a, b);
	case JSON_OBJECT:
		return json_object_equal(a, b);
	case JSON_INT:
	case JSON_REAL:
		break;
	}
	return false;
}

struct str json_as_str(const struct json *v)
{
	if (!json_is(v, JSON_STR))
		return STR_EMPTY;
	return str_make(v->v.uni.str, v->v.tag >> YYJSON_TAG_BIT);
}

int64_t json_as_int(const struct json *v, int64_t dflt)
{
	if (json_is(v, JSON_REAL)) {
		double d = v->v.uni.f64;

		/* 3.0 is an integer, as Go's decoder of the API sees it. */
		return d >= -9e15 && d <= 9e15 && !(d < floor(d)) && !(d > floor(d)) ? (int64_t)d
										     : dflt;
	}
	if (!json_is(v, JSON_INT))
		return dflt;
	if ((v->v.tag & YYJSON_SUBTYPE_MASK) == YYJSON_SUBTYPE_UINT && v->v.uni.u64 > INT64_MAX)
		return INT64_MAX;
	return v->v.uni.i64;
}

bool json_as_bool(const struct json *v, bool dflt)
{
	if (!json_is(v, JSON_BOOL))
		return dflt;
	return (v->v.tag & YYJSON_SUBTYPE_MASK) == YYJSON_SUBTYPE_TRUE;
}

double json_as_real(const struct json *v, double dflt)
{
	if (json_is(v, JSON_REAL))
		return v->v.uni.f64;
	if (!json_is(v, JSON_INT))
		return dflt;
	if ((v->v.tag & YYJSON_SUBTYPE_MASK) == YYJSON_SUBTYPE_UINT)
		return (double)v->v.uni.u64;
	return (double)v->v.uni.i64;
}

size_t json_len(const struct json *v)
{
	return json_is_container(v) ? v->v.tag >> YYJSON_TAG_BIT : 0;
}

/* iteration: uni.ptr of a container is its last value (array) or last key (object), a ring */

struct json_iter json_iter(const struct json *container)
{
	struct json_iter it = { .key = STR_EMPTY, .i = SIZE_MAX };

	it.left = json_len(container);
	if (!it.left)
		return it;
	it.keyed = (container->v.tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_OBJ;
	/* the value before the first: next leads to the first key or element */
	it.val = json_of(container->v.uni.ptr);
	if (it.keyed)
		it.val = json_of(it.val->v.next);
	return it;
}

bool json_next(struct json_iter *it)
{
	yyjson_mut_val *next;

	if (!it->left)
		return false;
	it->left--;
	it->i++;
	next = it->val->v.next;
	if (it->keyed) {
		it->key = str_make(next->uni.str, next->tag >> YYJSON_TAG_BIT);
		next = next->next;
	}
	it->val = json_of(next);
	return true;
}

/* objects */

/* The member's key; NULL when absent. */
static yyjson_mut_val *json_member(const struct json *obj, struct str key)
{
	yyjson_mut_val *k;
	size_t n = json_len(obj);

	if (!n)
		return NULL;
	if (obj->index)
		return json_index_find(obj, key);
	k = obj->v.uni.ptr;
	while (n--) {
		k = k->next->next;
		if (str_eq(str_make(k->uni.str, k->tag >> YYJSON_TAG_BIT), key))
			return k;
	}
	return NULL;
}

struct json *json_get_s(const struct json *obj, struct str key)
{
	const yyjson_mut_val *k = json_is(obj, JSON_OBJECT) ? json_member(obj, key) : NULL;

	return k ? json_of(k->next) : NULL;
}

struct json *json_get(const struct json *obj, const char *key)
{
	return json_get_s(obj, str_from(key));
}

struct json *json_path(const struct json *obj, ...)
{
	va_list ap;
	const char *key;

	va_start(ap, obj);
	while (obj && (key = va_arg(ap, const char *)))
		obj = json_get(obj, key);
	va_end(ap);
	return json_mut(obj);
}

struct json *json_at(const struct json *obj, const char *dotted)
{
	struct str rest = str_from(dotted), key;

	while (obj && str_split_next(&rest, '.', &key))
		obj = json_get_s(obj, key);
	return json_mut(obj);
}

struct str json_str_at(const struct json *obj, const char *dotted)
{
	return json_as_str(json_at(obj, dotted));
}

int64_t json_int_at(const struct json *obj, const char *dotted, int64_t dflt)
{
	return json_as_int(json_at(obj, dotted), dflt);
}

bool json_bool_at(const struct json *obj, const char *dotted, bool dflt)
{
	return json_as_bool(json_at(obj, dotted), dflt);
}

/* k is a new member's. */
static void json_indexed(struct arena *a, struct json *obj, struct json *k)
{
	if (obj->index)
		json_index_add(obj, &k->v);
	else if (json_len(obj) > JSON_LINEAR_MEMBERS)
		json_index_build(a, obj);
}

void json_obj_append(struct arena *a, struct json *obj, struct str key, struct json *v)
{
	struct json *k = json_str(a, key);

	PRE(json_is(obj, JSON_OBJECT) && v);
	yyjson_mut_obj_add(&obj->v, &k->v, &v->v);
	json_indexed(a, obj, k);
}

void json_set_s(struct arena *a, struct json *obj, struct str key, struct json *v)
{
	yyjson_mut_val *k;

	PRE(json_is(obj, JSON_OBJECT) && v);
	k = json_member(obj, key);
	if (!k) {
		json_obj_append(a, obj, key, v);
		return;
	}
	v->v.next = k->next->next;
	k->next = &v->v;
}

void json_set(struct arena *a, struct json *obj, const char *key, struct json *v)
{
	json_set_s(a, obj, str_from(key), v);
}

void json_set_first(struct arena *a, struct json *obj, const char *key, struct json *v)
{
	struct json *k;

	if (json_get(obj, key)) {
		json_set(a, obj, key, v);
		return;
	}
	k = json_strz(a, key);
	yyjson_mut_obj_insert(&obj->v, &k->v, &v->v, 0);
	json_indexed(a, obj, k);
}

struct json *json_sub(struct arena *a, struct json *obj, const char *key)
{
	struct json *v = json_get(obj, key);

	if (!json_is(v, JSON_OBJECT)) {
		v = json_object(a);
		json_set(a, obj, key, v);
	}
	return v;
}

struct json *json_sub_array(struct arena *a, struct json *obj, const char *key)
{
	struct json *v = json_get(obj, key);

	if (!json_is(v, JSON_ARRAY)) {
		v = json_array(a);
		json_set(a, obj, key, v);
	}
	return v;
}

void json_set_at(struct arena *a, struct json *obj, const char *dotted, struct json *v)
{
	struct str rest = str_from(dotted), key;

	while (str_split_next(&rest, '.', &key)) {
		struct json *sub;

		if (!rest.p) {
			json_set_s(a, obj, key, v);
			return;
		}
		sub = json_get_s(obj, key);
		if (!json_is(sub, JSON_OBJECT)) {
			sub = json_object(a);
			json_set_s(a, obj, key, sub);
		}
		obj = sub;
	}
}

void json_set_str(struct arena *a, struct json *obj, const char *key, struct str s)
{
	json_set(a, obj, key, json_str(a, s));
}

void json_set_int(struct arena *a, struct json *obj, const char *key, int64_t v)
{
	json_set(a, obj, key, json_int(a, v));
}

void json_set_bool(struct arena *a, struct json *obj, const char *key, bool v)
{
	json_set(a, obj, key, json_bool(a, v));
}

bool json_del(struct json *obj, struct str key)
{
	if (!json_is(obj, JSON_OBJECT) || !json_member(obj, key))
		return false;
	if (obj->index)
		json_index_del(obj, key);
	return yyjson_mut_obj_remove_keyn(&obj->v, key.n ? key.p : "", key.n) != NULL;
}

void json_del_all(struct json *obj, const struct json *names)
{
	struct json_iter gone = json_iter(names);
	yyjson_mut_val *last, *up_to, *k;
	size_t n = json_len(obj), left = n;

	if (!n || !json_next(&gone))
		return;
	last = obj->v.uni.ptr;
	up_to = last->next;
	k = up_to->next;
	last = NULL;
	while (n--) {
		yyjson_mut_val *next = k->next->next;

		if (gone.val &&
		    str_eq(str_make(k->uni.str, k->tag >> YYJSON_TAG_BIT), json_as_str(gone.val))) {
			up_to->next = next;
			left--;
			if (!json_next(&gone))
				gone.val = NULL;
		} else {
			last = k;
			up_to = k->next;
		}
		k = next;
	}
	PRE(!gone.val);
	obj->v.uni.ptr = last;
	obj->v.tag = (obj->v.tag & YYJSON_TAG_MASK) | (uint64_t)left << YYJSON_TAG_BIT;
	if (obj->index)
		json_index_again(obj);
}

bool json_delz(struct json *obj, const char *key)
{
	return json_del(obj, str_from(key));
}

/* arrays */

struct json *json_idx(const struct json *arr, size_t i)
{
	if (!json_is(arr, JSON_ARRAY))
		return NULL;
	if (arr->index)
		return json_index_at(arr, i);
	json_for_each(it, arr) if (it.i == i) return it.val;
	return NULL;
}

void json_push(struct json *arr, struct json *v)
{
	PRE(json_is(arr, JSON_ARRAY) && v);
	arr->index = NULL;
	yyjson_mut_arr_append(&arr->v, &v->v);
}

bool json_remove_idx(struct json *arr, size_t i)
{
	if (!json_is(arr, JSON_ARRAY))
		return false;
	arr->index = NULL;
	return yyjson_mut_arr_remove(&arr->v, i) != NULL;
}

void json_insert_idx(struct json *arr, size_t i, struct json *v)
{
	PRE(json_is(arr, JSON_ARRAY) && i <= json_len(arr));
	arr->index = NULL;
	yyjson_mut_arr_insert(&arr->v, &v->v, i);
}

void json_replace_idx(struct json *arr, size_t i, struct json *v)
{
	PRE(json_is(arr, JSON_ARRAY) && i < json_len(arr));
	arr->index = NULL;
	yyjson_mut_arr_replace(&arr->v, i, &v->v);
}

void json_become(struct json *v, const struct json *from)
{
	PRE(!json_len(from));
	v->v.tag = from->v.tag;
	v->v.uni = from->v.uni;
	v->index = NULL;
}

struct json *json_find_by(const struct json *arr, const char *key, struct str val)
{
	if (!json_is(arr, JSON_ARRAY))
		return NULL;
	json_for_each(it, arr)
	{
		const struct json *m = json_get(it.val, key);

		if (json_is(m, JSON_STR) && str_eq(json_as_str(m), val))
			return it.val;
	}
	return NULL;
}
