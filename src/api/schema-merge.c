/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Strategic merge patch: JSON merge patch, except that lists with a merge key merge by it, and that
 * directives in the patch steer the rest:
 *   $patch: delete | replace | merge     in a map, or in an item of a list
 *   $retainKeys: [...]                   drops the members not named
 *   $deleteFromPrimitiveList/F: [...]    removes values from list F
 *   $setElementOrder/F: [...]            the order list F shall have
 * New elements come before those that only the server has, unless an order is given.
 */

#include "api/schema-internal.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define DIRECTIVE   "$patch"
#define RETAIN_KEYS "$retainKeys"
#define DELETE_FROM STR("$deleteFromPrimitiveList/")
#define SET_ORDER   STR("$setElementOrder/")

/* Maps within maps; each takes its share of a fiber's stack. */
#define MERGE_MAX_DEPTH 64

struct merge {
	struct arena *a;
	int depth;
};

/* What a list field says about itself. */
struct merge_list {
	bool merges;
	struct str key; /* empty: a list of scalars */
	const struct schema *items;
};

static struct err *merge_map(const struct merge *m, const struct schema *s, const struct json *doc,
			     const struct json *patch, struct json **ret);

static int go_by_key(const void *x, const void *y)
{
	const struct json_iter *a = x, *b = y;

	return str_cmp(a->key, b->key);
}

static void go_text(struct arena *a, struct buf *b, const struct json *v)
{
	struct json_iter *members;
	size_t n = 0;

	if (json_is(v, JSON_STR)) {
		buf_add(b, json_as_str(v));
	} else if (json_is_null(v)) {
		buf_addz(b, "<nil>");
	} else if (json_is(v, JSON_OBJECT)) {
		members = arena_array(a, json_len(v) + 1, sizeof(*members));
		json_for_each(it, v) members[n++] = it;
		qsort(members, n, sizeof(*members), go_by_key);
		buf_addz(b, "map[");
		for (size_t i = 0; i < n; i++) {
			buf_addf(b, "%s" STR_FMT ":", i ? " " : "", STR_ARG(members[i].key));
			go_text(a, b, members[i].val);
		}
		buf_addc(b, ']');
	} else if (json_is(v, JSON_ARRAY)) {
		buf_addc(b, '[');
		json_for_each(it, v)
		{
			buf_addz(b, it.i ? " " : "");
			go_text(a, b, it.val);
		}
		buf_addc(b, ']');
	} else {
		json_write(b, v);
	}
}

struct str schema_go_text(struct arena *a, const struct json *v)
{
	_cleanup_buf_ struct buf b = { 0 };

	go_text(a, &b, v);
	return buf_to_arena(&b, a);
}

static struct err *merge_bad_directive(struct arena *a, const struct json *v)
{
	return err_new(ERR_UNKNOWN, "unknown patch type: " STR_FMT " in map: " STR_FMT,
		       STR_ARG(json_as_str(json_get(v, DIRECTIVE))), STR_ARG(schema_go_text(a, v)));
}

static struct merge_list merge_list_of(const struct schema *field)
{
	const struct schema *t = schema_deref(field);
	struct merge_list l = { 0 };

	if (!field || !t)
		return l;
	l.merges = field->rules->merge;
	l.key = field->rules->merge_key;
	l.items = t->items;
	return l;
}

static bool merge_is_directive(struct str key)
{
	return str_eqz(key, DIRECTIVE) || str_eqz(key, RETAIN_KEYS) ||
	       str_has_prefix(key, DELETE_FROM) || str_has_prefix(key, SET_ORDER);
}

/* A copy without directives and without nulls: what a patch means where there is nothing yet. */
static struct json *merge_clean(struct arena *a, const struct json *patch)
{
	struct json *out;

	if (json_is(patch, JSON_OBJECT)) {
		out = json_object(a);
		json_for_each(it, patch) if (!merge_is_directive(it.key) &&
					     json_type(it.val) != JSON_NULL)
			json_set_s(a, out, it.key, merge_clean(a, it.val));
		return out;
	}
	if (json_is(patch, JSON_ARRAY)) {
		out = json_array(a);
		json_for_each(it, patch)
		{
			struct str d = json_as_str(json_get(it.val, DIRECTIVE));

			if (!d.n || str_eqz(d, "merge"))
				json_push(out, merge_clean(a, it.val));
		}
		return out;
	}
	return json_copy(a, patch);
}

/* ---- lists */

static bool merge_same(const struct merge_list *l, const struct json *x, const struct json *y)
{
	if (!l->key.n)
		return json_equal(x, y);
	return json_equal(json_get_s(x, l->key), json_get_s(y, l->key));
}

static size_t merge_index(const struct merge_list *l, const struct json *list,
			  const struct json *item)
{
	json_for_each(it, list) if (merge_same(l, it.val, item)) return it.i;
	return SIZE_MAX;
}

/* Items of from that are (in) or are not in order, sorted by it in the first case. */
static struct json *merge_pick(const struct merge *m, const struct merge_list *l,
			       const struct json *from, const struct json *order, bool in)
{
	struct json *out = json_array(m->a);

	if (in) {
		json_for_each(it, order)
		{
			size_t i = merge_index(l, from, it.val);

			if (i != SIZE_MAX)
				json_push(out, json_copy(m->a, json_idx(from, i)));
		}
		return out;
	}
	json_for_each(it, from) if (merge_index(l, order, it.val) == SIZE_MAX)
		json_push(out, json_copy(m->a, it.val));
	return out;
}

/*
 * Weaves the patch's items (in their order) into those that only the server has: a server's item
 * goes first only where both stood in the server's list, and it stood before.
 */
static struct json *merge_weave(const struct merge *m, const struct merge_list *l,
				const struct json *result, const struct json *order,
				const struct json *server)
{
	struct json *left = merge_pick(m, l, result, order, false);
	struct json *right = merge_pick(m, l, result, order, true);
	struct json *out = json_array(m->a);
	size_t i = 0, j = 0;

	while (i < json_len(left) || j < json_len(right)) {
		const struct json *a = json_idx(left, i), *b = json_idx(right, j);
		bool take_left = !b;

		if (a && b) {
			size_t ai = merge_index(l, server, a), bi = merge_index(l, server, b);

			take_left = ai != SIZE_MAX && bi != SIZE_MAX && ai < bi;
		}
		json_push(out, json_copy(m->a, take_left ? a : b));
		if (take_left)
			i++;
		else
			j++;
	}
	return out;
}

static struct err *merge_item(const struct merge *m, const struct merge_list *l,
			      struct json *result, const struct json *item)
{
	struct str d = json_as_str(json_get(item, DIRECTIVE));
	struct json *merged = NULL;
	size_t i;

	if (str_eqz(d, "merge"))
		return err_new(ERR_UNKNOWN, "merging lists cannot yet be specified in the patch");
	if (json_get(item, DIRECTIVE) && !str_eqz(d, "delete"))
		return merge_bad_directive(m->a, item);
	if (l->key.n && !json_get_s(item, l->key))
		return err_new(ERR_UNKNOWN,
			       "map: " STR_FMT " does not contain declared merge key: " STR_FMT,
			       STR_ARG(schema_go_text(m->a, item)), STR_ARG(l->key));
	i = merge_index(l, result, item);
	if (str_eqz(d, "delete")) {
		for (; i != SIZE_MAX; i = merge_index(l, result, item))
			json_remove_idx(result, i);
		return NULL;
	}
	if (i == SIZE_MAX) {
		json_push(result, merge_clean(m->a, item));
		return NULL;
	}
	if (l->key.n) {
		TRY(merge_map(m, l->items, json_idx(result, i), item, &merged));
		json_replace_idx(result, i, merged);
	}
	return NULL;
}

/* The patch's own order: its items but for the directives. */
static struct json *merge_patch_order(const struct merge *m, const struct json *patch)
{
	struct json *out = json_array(m->a);

	json_for_each(it, patch)
	{
		struct str d = json_as_str(json_get(it.val, DIRECTIVE));

		if (!d.n || str_eqz(d, "merge"))
			json_push(out, json_copy(m->a, it.val));
	}
	return out;
}

/* An order that is given names the patch's items in the order they have. */
static struct err *merge_check_order(const struct merge *m, const struct merge_list *l,
				     const struct json *patch, const struct json *order)
{
	size_t at = 0;

	json_for_each(it, order ? patch : NULL)
	{
		if (json_get(it.val, DIRECTIVE))
			continue;
		while (at < json_len(order) && !merge_same(l, it.val, json_idx(order, at)))
			at++;
		if (at++ == json_len(order))
			return err_new(ERR_UNKNOWN,
				       "The order in patch list:\n" STR_FMT
				       "\n doesn't match $setElementOrder list:\n" STR_FMT "\n",
				       STR_ARG(schema_go_text(m->a, patch)),
				       STR_ARG(schema_go_text(m->a, order)));
	}
	return NULL;
}

static struct err *merge_list(const struct merge *m, const struct merge_list *l,
			      const struct json *doc, const struct json *patch,
			      const struct json *order, struct json **ret)
{
	struct json *result;

	json_for_each(it, patch) if (str_eqz(json_as_str(json_get(it.val, DIRECTIVE)), "replace"))
	{
		*ret = merge_clean(m->a, patch);
		return NULL;
	}
	if (!l->merges) {
		*ret = merge_clean(m->a, patch);
		return NULL;
	}
	TRY(merge_check_order(m, l, patch, order));
	result = json_is(doc, JSON_ARRAY) ? json_copy(m->a, doc) : json_array(m->a);
	json_for_each(it, patch) TRY(merge_item(m, l, result, it.val));
	*ret = merge_weave(m, l, result, order ? order : merge_patch_order(m, patch), doc);
	return NULL;
}

/* ---- maps */

static void merge_delete_from(struct json *out, struct str field, const struct json *values)
{
	struct json *list = json_get_s(out, field);

	json_for_each(it, values) for (size_t i = json_len(list); i > 0;
				       i--) if (json_equal(json_idx(list, i - 1), it.val))
		json_remove_idx(list, i - 1);
}

static void merge_retain(const struct merge *m, struct json *out, const struct json *keys)
{
	struct json *gone = json_array(m->a);

	json_for_each(it, out)
	{
		bool kept = false;

		json_for_each(k, keys) kept |= str_eq(json_as_str(k.val), it.key);
		if (!kept)
			json_push(gone, json_str(m->a, it.key));
	}
	json_for_each(it, gone) json_del(out, json_as_str(it.val));
}

static const struct json *merge_order_of(struct arena *a, const struct json *patch,
					 struct str field)
{
	return json_get_s(patch, arena_cat(a, SET_ORDER, field));
}

static struct err *merge_member(const struct merge *m, const struct schema *s, struct json *out,
				const struct json *patch, struct str name, const struct json *v)
{
	const struct json *have = json_get_s(out, name);
	const struct schema *field = schema_property(s, name);
	struct json *merged = NULL;

	if (json_type(v) == JSON_NULL) {
		json_del(out, name);
		return NULL;
	}
	if (json_is(v, JSON_OBJECT) && json_is(have, JSON_OBJECT)) {
		TRY(merge_map(m, field, have, v, &merged));
	} else if (json_is(v, JSON_OBJECT) && json_get(v, DIRECTIVE)) {
		/* a directive about what is not there */
		json_del(out, name);
		return NULL;
	} else if (json_is(v, JSON_ARRAY)) {
		struct merge_list l = merge_list_of(field);

		TRY(merge_list(m, &l, have, v, merge_order_of(m->a, patch, name), &merged));
	} else {
		merged = merge_clean(m->a, v);
	}
	json_set_s(m->a, out, arena_str(m->a, name), merged);
	return NULL;
}

/* An order without a patch of the list itself still sorts what is there. */
static void merge_reorder(const struct merge *m, const struct schema *s, struct json *out,
			  const struct json *patch, struct str field, const struct json *order)
{
	const struct json *have = json_get_s(out, field);
	struct merge_list l = merge_list_of(schema_property(s, field));

	if (json_get_s(patch, field) || !json_is(have, JSON_ARRAY) || !l.merges)
		return;
	json_set_s(m->a, out, arena_str(m->a, field), merge_weave(m, &l, have, order, have));
}

static struct err *merge_map(const struct merge *m, const struct schema *s, const struct json *doc,
			     const struct json *patch, struct json **ret)
{
	struct str d = json_as_str(json_get(patch, DIRECTIVE)), field;
	const struct merge in = { .a = m->a, .depth = m->depth + 1 };
	struct json *out;

	if (m->depth == MERGE_MAX_DEPTH)
		return err_new(ERR_BAD_REQUEST, "the patch is nested too deeply");
	m = &in;
	s = schema_deref(s);
	if (str_eqz(d, "replace") || str_eqz(d, "delete")) {
		*ret = str_eqz(d, "delete") ? json_object(m->a) : merge_clean(m->a, patch);
		return NULL;
	}
	if (json_get(patch, DIRECTIVE) && !str_eqz(d, "merge"))
		return merge_bad_directive(m->a, patch);
	out = json_copy(m->a, doc);
	if (json_is(json_get(patch, RETAIN_KEYS), JSON_ARRAY))
		merge_retain(m, out, json_get(patch, RETAIN_KEYS));
	json_for_each(it, patch)
	{
		field = it.key;
		if (str_strip_prefix(&field, DELETE_FROM))
			merge_delete_from(out, field, it.val);
	}
	json_for_each(it, patch)
	{
		field = it.key;
		if (!merge_is_directive(it.key))
			TRY(merge_member(m, s, out, patch, it.key, it.val));
		else if (str_strip_prefix(&field, SET_ORDER))
			merge_reorder(m, s, out, patch, field, it.val);
	}
	*ret = out;
	return NULL;
}

struct err *schema_strategic_merge(struct arena *a, const struct schema *s, const struct json *doc,
				   const struct json *patch, struct json **ret)
{
	const struct merge m = { .a = a };

	if (!json_is(patch, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST,
			       "error decoding patch: json: cannot unmarshal %s into Go value of "
			       "type map[string]interface {}",
			       json_is(patch, JSON_STR)     ? "string"
			       : json_is(patch, JSON_ARRAY) ? "array"
			       : json_is(patch, JSON_BOOL)  ? "bool"
							    : "number");
	return merge_map(&m, s, doc, patch, ret);
}
