/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Objects of many members: a table from names to members, with open addressing. Arrays of many
 * elements: the elements by number, until the array changes.
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
