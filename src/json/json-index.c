/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Objects of many members: a table from names to members, with open addressing. Arrays of many
 * elements: the elements by number, until the array changes. Texts in an array: the elements by
 * text.
 */

#include "base/arena.h"
#include "base/assert.h"
#include "json/json-internal.h"

struct json_index {
	struct arena *a;
	size_t n_slots, used; /* slots: a power of two, half of them free */
	yyjson_mut_val **slots;
};

/* In the slot of a member that is gone. */
static yyjson_mut_val json_index_gone;

static struct str json_key_text(const yyjson_mut_val *k)
{
	return str_make(k->uni.str, k->tag >> YYJSON_TAG_BIT);
}

static size_t json_index_slot(const struct json_index *ix, struct str key)
{
	size_t at = str_hash(key) & (ix->n_slots - 1);

	while (ix->slots[at] &&
	       (ix->slots[at] == &json_index_gone || !str_eq(json_key_text(ix->slots[at]), key)))
		at = (at + 1) & (ix->n_slots - 1);
	return at;
}

static void json_index_put(struct json_index *ix, yyjson_mut_val *key)
{
	ix->slots[json_index_slot(ix, json_key_text(key))] = key;
	ix->used++;
}

void json_index_build(struct arena *a, struct json *obj)
{
	struct json_index *ix = arena_new_obj(a, struct json_index);
	size_t n = json_len(obj);
	yyjson_mut_val *key;

	PRE(n);
	*ix = (struct json_index){ .a = a, .n_slots = 64 };
	while (ix->n_slots < 4 * n)
		ix->n_slots *= 2;
	ix->slots = arena_array(a, ix->n_slots, sizeof(*ix->slots));
	key = ((yyjson_mut_val *)obj->v.uni.ptr)->next->next;
	for (size_t i = 0; i < n; i++, key = key->next->next)
		json_index_put(ix, key);
	obj->index = ix;
}

void json_index_add(struct json *obj, yyjson_mut_val *key)
{
	struct json_index *ix = obj->index;

	if (ix->used + 1 > ix->n_slots / 2)
		json_index_build(ix->a, obj);
	else
		json_index_put(ix, key);
}

yyjson_mut_val *json_index_find(const struct json *obj, struct str key)
{
	return obj->index->slots[json_index_slot(obj->index, key)];
}

void json_index_del(struct json *obj, struct str key)
{
	obj->index->slots[json_index_slot(obj->index, key)] = &json_index_gone;
}

void json_index_again(struct json *obj)
{
	struct arena *a = obj->index->a;

	obj->index = NULL;
	if (json_len(obj) > JSON_LINEAR_MEMBERS)
		json_index_build(a, obj);
}

/* ---- arrays */

void json_index_array(struct arena *a, struct json *arr)
{
	size_t n = json_len(arr);
	struct json_index *ix;
	yyjson_mut_val *v;

	if (n <= JSON_LINEAR_MEMBERS)
		return;
	ix = arena_new_obj(a, struct json_index);
	*ix = (struct json_index){ .a = a, .n_slots = n, .used = n };
	ix->slots = arena_array(a, n, sizeof(*ix->slots));
	v = arr->v.uni.ptr;
	for (size_t i = 0; i < n; i++) {
		v = v->next;
		ix->slots[i] = v;
	}
	arr->index = ix;
}

struct json *json_index_at(const struct json *arr, size_t i)
{
	return i < arr->index->used ? json_of(arr->index->slots[i]) : NULL;
}

/* ---- texts */

struct json_texts {
	const char *key; /* NULL: the elements' own */
	size_t n_slots;  /* a power of two, half of them free */
	const struct json **slots;
};

static struct str texts_of(const struct json *el, const char *key)
{
	return json_as_str(key ? json_get(el, key) : el);
}

static const struct json **texts_slot(const struct json_texts *t, struct str text)
{
	size_t at = str_hash(text) & (t->n_slots - 1);

	while (t->slots[at] && !str_eq(texts_of(t->slots[at], t->key), text))
		at = (at + 1) & (t->n_slots - 1);
	return &t->slots[at];
}

struct json_texts *json_texts_new(struct arena *a, const struct json *arr, const char *key)
{
	struct json_texts *t = arena_new_obj(a, struct json_texts);
	size_t n = json_len(arr);

	*t = (struct json_texts){ .key = key, .n_slots = 16 };
	while (t->n_slots < 2 * n)
		t->n_slots *= 2;
	t->slots = arena_array(a, t->n_slots, sizeof(*t->slots));
	json_for_each(it, arr)
	{
		const struct json **slot = texts_slot(t, texts_of(it.val, key));

		if (!*slot)
			*slot = it.val;
	}
	return t;
}

const struct json *json_texts_find(const struct json_texts *t, struct str text)
{
	return *texts_slot(t, text);
}

const bool *json_repeats(struct arena *a, const struct json *arr, const char *key)
{
	bool *repeats = NULL;
	struct json_texts *t;

	if (json_len(arr) < 2)
		return NULL;
	t = json_texts_new(a, arr, key);
	json_for_each(it, arr)
	{
		if (json_texts_find(t, texts_of(it.val, key)) == it.val)
			continue;
		if (!repeats)
			repeats = arena_array(a, json_len(arr), sizeof(*repeats));
		repeats[it.i] = true;
	}
	return repeats;
}
