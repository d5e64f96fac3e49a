/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text in and out. Strings point into a private copy of the text in the arena. */
#include <stdlib.h>

#include <yyjson.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "json/json-error.h"
#include "json/json-internal.h"

struct json_reader {
	struct arena *a;
	struct json *dups; /* may be NULL */
	struct err *err;
};

/* Where we are, for the paths of duplicates. */
struct json_place {
	const struct json_place *parent;
	struct str key;
	size_t index;
	bool in_array;
};

static struct json *json_read_value(struct json_reader *r, yyjson_val *in,
				    const struct json_place *place, unsigned depth);

static void json_place_path(struct buf *b, const struct json_place *p)
{
	if (!p)
		return;
	json_place_path(b, p->parent);
	if (p->in_array) {
		buf_addf(b, "[%zu]", p->index);
		return;
	}
	if (b->n)
		buf_addc(b, '.');
	buf_add(b, p->key);
}

static void json_note_dup(struct json_reader *r, const struct json_place *place)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (!r->dups)
		return;
	json_place_path(&b, place);
	json_push(r->dups, json_strcpy(r->a, buf_str(&b)));
}

static struct json *json_read_array(struct json_reader *r, yyjson_val *in,
				    const struct json_place *parent, unsigned depth)
{
	struct json *arr = json_array(r->a);
	struct json_place place = { .parent = parent, .in_array = true };
	yyjson_arr_iter it = yyjson_arr_iter_with(in);
	yyjson_val *v;

	while ((v = yyjson_arr_iter_next(&it))) {
		struct json *out = json_read_value(r, v, &place, depth);

		if (!out)
			return NULL;
		json_push(arr, out);
		place.index++;
	}
	json_index_array(r->a, arr);
	return arr;
}

static struct json *json_read_object(struct json_reader *r, yyjson_val *in,
				     const struct json_place *parent, unsigned depth)
{
	struct json *obj = json_object(r->a);
	struct json_place place = { .parent = parent };
	yyjson_obj_iter it = yyjson_obj_iter_with(in);
	yyjson_val *k;

	while ((k = yyjson_obj_iter_next(&it))) {
		struct json *out;

		place.key = str_make(yyjson_get_str(k), yyjson_get_len(k));
		out = json_read_value(r, yyjson_obj_iter_get_val(k), &place, depth);
		if (!out)
			return NULL;
		if (json_get_s(obj, place.key)) {
			json_note_dup(r, &place);
			json_set_s(r->a, obj, place.key, out);
		} else {
			json_obj_append(r->a, obj, place.key, out);
		}
	}
	return obj;
}

static struct json *json_read_value(struct json_reader *r, yyjson_val *in,
				    const struct json_place *place, unsigned depth)
{
	struct json *out;

	if (depth >= JSON_MAX_DEPTH) {
		r->err = err_new(ERR_BAD_REQUEST, "exceeded max depth");
		return NULL;
	}
	if (yyjson_is_arr(in))
		return json_read_array(r, in, place, depth + 1);
	if (yyjson_is_obj(in))
		return json_read_object(r, in, place, depth + 1);
	out = arena_new_obj(r->a, struct json);
	out->v.tag = in->tag;
	out->v.uni.u64 = in->uni.u64;
	if (yyjson_is_str(in))
		out->v.uni.str = in->uni.str;
	return out;
}

struct err *json_parse_dups(struct arena *a, struct str text, struct json **ret,
			    struct json **ret_dups)
{
	struct json_reader r = { .a = a, .dups = ret_dups ? json_array(a) : NULL };
	yyjson_read_err why;
	yyjson_doc *doc;
	char *copy = arena_alloc(a, text.n + YYJSON_PADDING_SIZE);
	struct json *v;

	if (text.n)
		memcpy(copy, text.p, text.n);
	doc = yyjson_read_opts(copy, text.n, YYJSON_READ_INSITU, NULL, &why);
	if (!doc) {
		const char *go = json_syntax_error(a, text);

		if (go)
			return err_new(ERR_BAD_REQUEST, "%s", go);
		return err_new(ERR_BAD_REQUEST, "invalid JSON at offset %zu: %s", why.pos, why.msg);
	}
	v = json_read_value(&r, yyjson_doc_get_root(doc), NULL, 0);
	yyjson_doc_free(doc);
	if (!v)
		return r.err;
	*ret = v;
	if (ret_dups)
		*ret_dups = r.dups;
	return NULL;
}

struct err *json_parse(struct arena *a, struct str text, struct json **ret)
{
	return json_parse_dups(a, text, ret, NULL);
}

struct key_walk {
	struct arena *a;
	json_key_fn fn;
	void *ctx;
};

static void json_walk_keys(const struct key_walk *w, yyjson_val *in, const struct json_place *up,
			   unsigned depth)
{
	struct json_place place = { .parent = up, .in_array = yyjson_is_arr(in) };
	_cleanup_map_ struct map seen = { 0 };
	size_t i, n;
	yyjson_val *k, *v;

	if (depth >= JSON_MAX_DEPTH)
		return;
	yyjson_arr_foreach(in, i, n, v)
	{
		place.index = i;
		json_walk_keys(w, v, &place, depth + 1);
	}
	yyjson_obj_foreach(in, i, n, k, v)
	{
		_cleanup_buf_ struct buf b = { 0 };

		place.key = str_make(yyjson_get_str(k), yyjson_get_len(k));
		json_place_path(&b, &place);
		w->fn(buf_str(&b), map_put(&seen, place.key, w->ctx) != NULL, w->ctx);
		json_walk_keys(w, v, &place, depth + 1);
	}
}

void json_each_key(struct arena *a, struct str text, json_key_fn fn, void *ctx)
{
	const struct key_walk w = { a, fn, ctx };
	yyjson_doc *doc = yyjson_read(text.p, text.n, 0);

	if (doc)
		json_walk_keys(&w, yyjson_doc_get_root(doc), NULL, 0);
	yyjson_doc_free(doc);
}

void json_write_pretty(struct buf *b, const struct json *v)
{
	size_t n;
	yyjson_write_err why;
	char *p;

	if (!v) {
		buf_addz(b, "null");
		return;
	}
	p = yyjson_mut_val_write_opts(&v->v,
				      YYJSON_WRITE_PRETTY_TWO_SPACES |
					      YYJSON_WRITE_ALLOW_INVALID_UNICODE |
					      YYJSON_WRITE_INF_AND_NAN_AS_NULL,
				      NULL, &n, &why);
	ASSERT(p);
	buf_add(b, str_make(p, n));
	free(p);
}

static int json_by_key(const void *x, const void *y)
{
	const struct json_iter *a = x, *b = y;

	return str_cmp(a->key, b->key);
}

static void json_write_canonical(struct arena *a, struct buf *b, const struct json *v)
{
	struct json_iter *members;
	size_t n = 0;

	if (json_is(v, JSON_ARRAY)) {
		buf_addc(b, '[');
		json_for_each(it, v)
		{
			if (it.i)
				buf_addc(b, ',');
			json_write_canonical(a, b, it.val);
		}
		buf_addc(b, ']');
		return;
	}
	if (!json_is(v, JSON_OBJECT)) {
		bool whole = json_is(v, JSON_REAL) && json_as_int(v, 0) == json_as_int(v, 1);

		json_write(b, whole ? json_int(a, json_as_int(v, 0)) : v);
		return;
	}
	members = arena_array(a, json_len(v) + 1, sizeof(*members));
	json_for_each(it, v) members[n++] = it;
	qsort(members, n, sizeof(*members), json_by_key);
	buf_addc(b, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(b, ',');
		json_write(b, json_str(a, members[i].key));
		buf_addc(b, ':');
		json_write_canonical(a, b, members[i].val);
	}
	buf_addc(b, '}');
}

struct str json_canonical(struct arena *a, const struct json *v)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_write_canonical(a, &b, v);
	return buf_to_arena(&b, a);
}

struct str json_text(struct arena *a, const struct json *v)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_write(&b, v);
	return buf_to_arena(&b, a);
}
