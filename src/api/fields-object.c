/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Objects as sets of fields, by their schema: what is a leaf, what a map or a list whose items are
 * merged. Without a schema maps are granular and lists atomic, as upstream deduces them.
 */

#include "api/fields.h"

#include "api/schema-internal.h"
#include "base/arena.h"

enum shape { SHAPE_LEAF, SHAPE_MAP, SHAPE_LIST };

/* A value's form, its schema resolved. */
struct typed {
	enum shape shape;
	const struct schema *s;     /* behind $ref; NULL: anything goes */
	const struct schema *items; /* of a list */
	const struct str *keys;
	size_t n_keys; /* 0: a set */
};

static bool typed_list(const struct schema *s, struct typed *t)
{
	enum schema_list kind = schema_list_type(s);

	if (kind == SCHEMA_LIST_ATOMIC)
		return false;
	t->shape = SHAPE_LIST;
	if (kind == SCHEMA_LIST_MAP)
		t->keys = schema_list_keys(s, &t->n_keys);
	return kind == SCHEMA_LIST_SET || t->n_keys;
}

/* v decides together with the schema; either of two values will do when they agree. */
static struct typed typed_of(const struct schema *s, const struct json *v)
{
	struct typed t = { .s = schema_deref(s) };

	if (json_len(v) > FIELDS_MEMBERS_MAX)
		return t;

	if (json_is(v, JSON_OBJECT) && !schema_map_atomic(s))
		t.shape = t.s && (t.s->int_or_string || t.s->format == SCHEMA_F_QUANTITY)
				  ? SHAPE_LEAF
				  : SHAPE_MAP;
	if (json_is(v, JSON_ARRAY) && t.s) {
		t.items = t.s->items;
		if (!typed_list(s, &t) && !typed_list(t.s, &t))
			t.shape = SHAPE_LEAF;
	}
	return t;
}

static struct str typed_member(struct arena *a, struct str name)
{
	return arena_cat(a, STR("f:"), name);
}

static const struct schema *typed_member_schema(const struct typed *t, struct str name)
{
	return t->s ? schema_property(t->s, name) : NULL;
}

/* Declared by name, unlike the members of a map with free keys. */
static bool typed_named(const struct typed *t, struct str name)
{
	return t->s && schema_prop_find(t->s, name);
}

/* The value of an item's key, or its default; NULL: neither. */
static const struct json *typed_key(const struct typed *t, const struct json *item, struct str key)
{
	const struct json *v = json_get_s(item, key);
	const struct schema *items = schema_deref(t->items);
	const struct schema *s = v || !items ? NULL : schema_prop_find(items, key);

	if (s && !s->rules->dflt)
		s = schema_deref(s);
	if (s)
		v = s->rules->dflt;
	for (size_t i = 0; !v && items && i < items->rules->n_fills; i++) {
		if (str_eq(items->rules->fills[i].name, key))
			v = items->rules->fills[i].val;
	}
	return v;
}

/* How an item of a list is told from the others. */
static struct str typed_item(struct arena *a, const struct typed *t, const struct json *item)
{
	struct json *keys;

	if (!t->n_keys)
		return arena_cat(a, STR("v:"), json_text(a, item));
	keys = json_object(a);
	for (size_t done = 0; done < t->n_keys; done++) {
		const struct str *next = NULL;
		const struct json *v;

		/* in the order of their names */
		for (size_t i = 0; i < t->n_keys; i++) {
			if ((!next || str_cmp(t->keys[i], *next) < 0) &&
			    !json_get_s(keys, t->keys[i]))
				next = &t->keys[i];
		}
		if (!next)
			break;
		v = typed_key(t, item, *next);
		json_set_s(a, keys, *next, v ? json_copy(a, v) : json_null(a));
	}
	return arena_cat(a, STR("k:"), json_text(a, keys));
}

/* The items of a list by their path elements, in order; of repeated ones the first counts. */
struct item {
	struct str pe;
	struct json *v;
	bool done;
};

struct items {
	struct item *v;
	size_t n;
};

static struct items items_of(struct arena *a, const struct typed *t, const struct json *list)
{
	struct items out = { .v = arena_array(a, json_len(list) + 1, sizeof(struct item)) };

	json_for_each(it, list) out.v[out.n++] =
		(struct item){ typed_item(a, t, it.val), it.val, false };
	return out;
}

static struct item *items_find(const struct items *l, struct str pe)
{
	for (size_t i = 0; i < l->n; i++) {
		if (str_eq(l->v[i].pe, pe))
			return &l->v[i];
	}
	return NULL;
}

static bool too_large_at(const struct json *v, int depth)
{
	if (json_len(v) > FIELDS_MEMBERS_MAX || depth > FIELDS_DEPTH_MAX)
		return true;
	json_for_each(it, v)
	{
		if (too_large_at(it.val, depth + 1))
			return true;
	}
	return false;
}

bool fields_too_large(const struct json *obj)
{
	return too_large_at(obj, 0);
}

/* ---- the set of an applied object */

static void of_node(struct arena *a, const struct schema *s, const struct json *v, struct fields *f)
{
	struct typed t = typed_of(s, v);

	if (t.shape == SHAPE_LEAF) {
		f->owned = true;
	} else if (t.shape == SHAPE_MAP) {
		json_for_each(it, v)
		{
			struct fields *kid = fields_sub(a, f, typed_member(a, it.key));

			of_node(a, typed_member_schema(&t, it.key), it.val, kid);
			if (!typed_named(&t, it.key) ||
			    (json_is(it.val, JSON_OBJECT) && !json_len(it.val)))
				kid->owned = true;
		}
	} else {
		json_for_each(it, v)
		{
			struct fields *kid = fields_sub(a, f, typed_item(a, &t, it.val));

			of_node(a, t.items, it.val, kid);
			kid->owned = true;
		}
	}
}

struct fields *fields_of(struct arena *a, const struct schema *s, const struct json *v)
{
	struct fields *f = fields_new(a);

	of_node(a, s, v, f);
	return f;
}

/* ---- comparison */

/* Where a node is in each of the three sets; made only when it is needed. */
struct compare {
	struct arena *a;
	struct fields_diff *diff;
};

struct compare_at {
	const struct compare_at *up;
	struct str pe;
	int depth;
};

static struct fields *compare_node(const struct compare *c, const struct compare_at *at,
				   struct fields *root)
{
	return at->up ? fields_sub(c->a, compare_node(c, at->up, root), at->pe) : root;
}

static void compare_values(const struct compare *c, const struct compare_at *at,
			   const struct schema *s, const struct json *old, const struct json *new);

/*
 * What typed clients hold by value is there even when the text lacks it: empty, or zero. other is
 * what is there on the other side.
 */
static const struct json *compare_absent(const struct compare *c, const struct schema *s,
					 const struct json *other)
{
	if (!s || !s->zero_kept)
		return NULL;
	switch (json_type(other)) {
	case JSON_OBJECT:
		return json_object(c->a);
	case JSON_ARRAY:
		return json_array(c->a);
	case JSON_BOOL:
		return json_bool(c->a, false);
	case JSON_INT:
	case JSON_REAL:
		return json_int(c->a, 0);
	case JSON_STR:
		return json_strz(c->a, "");
	case JSON_NULL:
		break;
	}
	return json_null(c->a);
}

static void compare_maps(const struct compare *c, const struct compare_at *up,
			 const struct typed *t, const struct json *old, const struct json *new)
{
	json_for_each(it, old)
	{
		const struct json *v = json_get_s(new, it.key);

		if (!v || !json_equal(it.val, v)) {
			struct compare_at at = { up, typed_member(c->a, it.key), up->depth + 1 };
			const struct schema *s = typed_member_schema(t, it.key);

			if (!v && new)
				v = compare_absent(c, s, it.val);
			compare_values(c, &at, s, it.val, v);
		}
	}
	json_for_each(it, new)
	{
		if (!json_get_s(old, it.key)) {
			struct compare_at at = { up, typed_member(c->a, it.key), up->depth + 1 };
			const struct schema *s = typed_member_schema(t, it.key);

			compare_values(c, &at, s, old ? compare_absent(c, s, it.val) : NULL,
				       it.val);
		}
	}
}

static void compare_lists(const struct compare *c, const struct compare_at *up,
			  const struct typed *t, const struct json *old, const struct json *new)
{
	struct items l = items_of(c->a, t, old), r = items_of(c->a, t, new);

	for (size_t i = 0; i < l.n; i++) {
		struct compare_at at = { up, l.v[i].pe, up->depth + 1 };
		const struct item *other = items_find(&r, l.v[i].pe);

		compare_values(c, &at, t->items, l.v[i].v, other ? other->v : NULL);
	}
	for (size_t i = 0; i < r.n; i++) {
		struct compare_at at = { up, r.v[i].pe, up->depth + 1 };

		if (!items_find(&l, r.v[i].pe))
			compare_values(c, &at, t->items, NULL, r.v[i].v);
	}
}

static void compare_values(const struct compare *c, const struct compare_at *at,
			   const struct schema *s, const struct json *old, const struct json *new)
{
	const struct json *either = new ? new : old;
	struct typed t = typed_of(s, either);
	bool leaf = t.shape == SHAPE_LEAF || (old && new &&json_type(old) != json_type(new)) ||
		    (!json_len(old) && !json_len(new)) || at->depth >= FIELDS_DEPTH_MAX;

	if (old && new &&json_equal(old, new))
		return;
	if (!leaf && t.shape == SHAPE_MAP)
		compare_maps(c, at, &t, old, new);
	else if (!leaf)
		compare_lists(c, at, &t, old, new);
	if (!old)
		compare_node(c, at, c->diff->added)->owned = true;
	else if (!new)
		compare_node(c, at, c->diff->removed)->owned = true;
	else if (leaf)
		compare_node(c, at, c->diff->modified)->owned = true;
}

void fields_compare(struct arena *a, const struct schema *s, const struct json *old,
		    const struct json *obj, struct fields_diff *ret)
{
	struct compare c = { a, ret };
	struct compare_at root = { 0 };

	*ret = (struct fields_diff){ fields_new(a), fields_new(a), fields_new(a) };
	compare_values(&c, &root, s, old, obj);
}

/* ---- pruning */

/* Whether obj's child at pe shall go; its own children were looked at before. */
static bool prune_goes(const struct fields *last, const struct fields *owned, bool named)
{
	bool had = last->owned || (named && last->n);
	bool has = owned && (owned->owned || (named && !fields_empty(owned)));

	return had && !has;
}

static void prune_node(struct arena *a, const struct schema *s, struct json *v,
		       const struct fields *last, const struct fields *owned);

static void prune_map(struct arena *a, const struct typed *t, struct json *v,
		      const struct fields *last, const struct fields *owned)
{
	struct str *gone = arena_array(a, json_len(v) + 1, sizeof(*gone));
	size_t n = 0;

	json_for_each(it, v)
	{
		struct str pe = typed_member(a, it.key);
		const struct fields *l = fields_find(last, pe), *o = fields_find(owned, pe);

		if (!l)
			continue;
		if (prune_goes(l, o, typed_named(t, it.key)))
			gone[n++] = it.key;
		else
			prune_node(a, typed_member_schema(t, it.key), it.val, l, o);
	}
	for (size_t i = 0; i < n; i++)
		json_del(v, gone[i]);
}

static void prune_list(struct arena *a, const struct typed *t, struct json *v,
		       const struct fields *last, const struct fields *owned)
{
	struct items l = items_of(a, t, v);

	for (size_t i = l.n; i-- > 0;) {
		const struct fields *had = fields_find(last, l.v[i].pe);
		const struct fields *has = fields_find(owned, l.v[i].pe);

		if (!had)
			continue;
		if (prune_goes(had, has, false))
			json_remove_idx(v, i);
		else
			prune_node(a, t->items, l.v[i].v, had, has);
	}
}

static void prune_node(struct arena *a, const struct schema *s, struct json *v,
		       const struct fields *last, const struct fields *owned)
{
	struct typed t = typed_of(s, v);

	if (t.shape == SHAPE_MAP)
		prune_map(a, &t, v, last, owned);
	else if (t.shape == SHAPE_LIST)
		prune_list(a, &t, v, last, owned);
}

void fields_prune(struct arena *a, const struct schema *s, struct json *obj,
		  const struct fields *last, const struct fields *owned)
{
	prune_node(a, s, obj, last, owned);
}

/* ---- merging */

static struct json *merge_value(struct arena *a, const struct schema *s, const struct json *live,
				const struct json *config);

static struct json *merge_members(struct arena *a, const struct typed *t, const struct json *live,
				  const struct json *config)
{
	struct json *out = json_object(a);

	json_for_each(it, live) json_set_s(
		a, out, it.key,
		merge_value(a, typed_member_schema(t, it.key), it.val, json_get_s(config, it.key)));
	json_for_each(it, config)
	{
		if (!json_get_s(live, it.key))
			json_set_s(a, out, it.key, json_copy(a, it.val));
	}
	return out;
}

/* The next item of config that live has, too. */
static const struct item *merge_next_shared(const struct items *live, const struct items *config,
					    size_t from)
{
	for (size_t i = from; i < config->n; i++) {
		if (items_find(live, config->v[i].pe))
			return &config->v[i];
	}
	return NULL;
}

/*
 * Shared items take config's order; items that only live has keep their place before the shared
 * one they preceded.
 */
static struct json *merge_items(struct arena *a, const struct typed *t, const struct json *live,
				const struct json *config)
{
	struct items l = items_of(a, t, live), r = items_of(a, t, config);
	const struct item *shared = merge_next_shared(&l, &r, 0);
	struct json *out = json_array(a);
	size_t i = 0, j = 0;

	while (i < l.n || j < r.n) {
		const struct item *in_config = i < l.n ? items_find(&r, l.v[i].pe) : NULL;
		const struct item *other;

		if (i < l.n && !in_config) {
			json_push(out, json_copy(a, l.v[i++].v));
			continue;
		}
		/* shared, but not the one whose turn it is: comes with config's */
		if (i < l.n && (in_config != shared || j == r.n)) {
			i++;
			continue;
		}
		other = items_find(&l, r.v[j].pe);
		json_push(out, other ? merge_value(a, t->items, other->v, r.v[j].v)
				     : json_copy(a, r.v[j].v));
		if (&r.v[j] == shared) {
			i += i < l.n;
			shared = merge_next_shared(&l, &r, j + 1);
		}
		j++;
	}
	return out;
}

static struct json *merge_value(struct arena *a, const struct schema *s, const struct json *live,
				const struct json *config)
{
	struct typed t = typed_of(s, config);

	/* null takes nothing away from what others fill */
	if (!config || (json_type(config) == JSON_NULL && json_len(live)))
		return json_copy(a, live);
	if (t.shape == SHAPE_LEAF || json_type(live) != json_type(config))
		return json_copy(a, config);
	return t.shape == SHAPE_MAP ? merge_members(a, &t, live, config)
				    : merge_items(a, &t, live, config);
}

struct json *fields_merge(struct arena *a, const struct schema *s, const struct json *live,
			  const struct json *config)
{
	return merge_value(a, s, live, config);
}

/* ---- checks */

struct check {
	struct arena *a;
	struct json *errors;
};

static void check_node(const struct check *c, const struct schema *s, const struct json *v,
		       struct str path);

static bool check_declared(const struct schema *s, struct str name)
{
	static const char *const implicit[] = { "apiVersion", "kind", "metadata" };

	if (!s || schema_property(s, name) || s->preserve || s->additional_any ||
	    (!s->types && !s->n_props))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(implicit); i++) {
		if ((s->is_root || s->embedded) && str_eqz(name, implicit[i]))
			return true;
	}
	return false;
}

static void check_map(const struct check *c, const struct typed *t, const struct json *v,
		      struct str path)
{
	json_for_each(it, v)
	{
		struct str at =
			arena_fmt(c->a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(it.key));

		if (check_declared(t->s, it.key))
			check_node(c, typed_member_schema(t, it.key), it.val, at);
		else
			json_push(c->errors, json_strf(c->a,
						       STR_FMT ": field not declared in "
							       "schema",
						       STR_ARG(at)));
	}
}

/* The element as a path shows it: `[name="c"]`. */
static void check_element(struct str path, void *ctx)
{
	*(struct str *)ctx = path;
}

static struct str check_item_text(struct arena *a, struct str pe)
{
	struct fields *f = fields_new(a);
	struct str text = STR_EMPTY;

	fields_sub(a, f, pe)->owned = true;
	fields_each(a, f, check_element, &text);
	return text;
}

static bool check_item_keys(const struct check *c, const struct typed *t, const struct json *item,
			    struct str path)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		if (typed_key(t, item, t->keys[i]))
			continue;
		json_push(c->errors,
			  json_strf(c->a,
				    STR_FMT ": element 0: associative list with keys has an "
					    "element that omits key field \"" STR_FMT
					    "\" (and doesn't have default value)",
				    STR_ARG(path), STR_ARG(t->keys[i])));
		return false;
	}
	return true;
}

static void check_list(const struct check *c, const struct typed *t, const struct json *v,
		       struct str path)
{
	struct items l = items_of(c->a, t, v);

	for (size_t i = 0; i < l.n; i++) {
		struct str text = check_item_text(c->a, l.v[i].pe);

		if (!check_item_keys(c, t, l.v[i].v, path))
			continue;
		if (items_find(&l, l.v[i].pe) != &l.v[i])
			json_push(c->errors,
				  json_strf(c->a, STR_FMT ": duplicate entries for key " STR_FMT,
					    STR_ARG(path), STR_ARG(text)));
		check_node(c, t->items, l.v[i].v, arena_cat(c->a, path, text));
	}
}

static void check_scalar(const struct check *c, const struct schema *s, const struct json *v,
			 struct str path)
{
	const char *want = NULL;
	bool number = json_is(v, JSON_INT) || json_is(v, JSON_REAL);

	if ((s->types & SCHEMA_T_STRING) && !json_is(v, JSON_STR))
		want = "string";
	else if ((s->types & SCHEMA_T_BOOLEAN) && !json_is(v, JSON_BOOL))
		want = "boolean";
	else if ((s->types & (SCHEMA_T_INTEGER | SCHEMA_T_NUMBER)) && !number)
		want = "numeric (int or float)";
	else if ((s->types & SCHEMA_T_ARRAY) && !json_is(v, JSON_ARRAY))
		want = "list";
	else if ((s->types & SCHEMA_T_OBJECT) && !json_is(v, JSON_OBJECT))
		want = "map";
	if (!want)
		return;
	json_push(
		c->errors,
		json_strf(c->a, STR_FMT ": expected %s, got " STR_FMT, STR_ARG(path), want,
			  STR_ARG(want[0] == 'n'
					  ? str_from(json_type_name(v))
					  : arena_fmt(c->a,
						      "&value.valueUnstructured{Value:" STR_FMT "}",
						      STR_ARG(json_text(c->a, v))))));
}

static void check_node(const struct check *c, const struct schema *s, const struct json *v,
		       struct str path)
{
	struct typed t = typed_of(s, v);

	if (!t.s || json_type(v) == JSON_NULL || t.s->int_or_string ||
	    t.s->format == SCHEMA_F_QUANTITY)
		return;
	check_scalar(c, t.s, v, path);
	/* atomic ones are looked into as well */
	if (json_is(v, JSON_OBJECT)) {
		check_map(c, &t, v, path);
	} else if (t.shape == SHAPE_LIST) {
		check_list(c, &t, v, path);
	} else if (json_is(v, JSON_ARRAY)) {
		json_for_each(it, v) check_node(
			c, t.items, it.val, arena_fmt(c->a, STR_FMT "[%zu]", STR_ARG(path), it.i));
	}
}

void fields_check(struct arena *a, const struct schema *s, const struct json *config,
		  struct json *errors)
{
	struct check c = { a, errors };

	check_node(&c, s, config, STR_EMPTY);
}
