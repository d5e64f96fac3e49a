/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between json.c, json-index.c and json-text.c only: what a struct json is. */

#include <assert.h>

#include <yyjson.h>

#include "json/json.h"

/* Objects with more members than this find them by hashing. */
#define JSON_LINEAR_MEMBERS 32

struct json_index;

struct json {
	yyjson_mut_val v;
	struct json_index *index; /* of an object or array with many members */
};

/* Arenas align to 16 bytes: the index costs nothing. */
static_assert(sizeof(struct json) == 32, "");

static inline struct json *json_of(yyjson_mut_val *v)
{
	return container_of(v, struct json, v);
}

/* Lookups take const trees and give back what they found as it is. */
static inline struct json *json_mut(const struct json *v)
{
	union {
		const struct json *c;
		struct json *m;
	} u = { .c = v };

	return u.m;
}

/* Without looking for an older member of that name. key is borrowed. */
void json_obj_append(struct arena *a, struct json *obj, struct str key, struct json *v);

/* members by name; a member is its key, whose next is the value */
void json_index_build(struct arena *a, struct json *obj);
/* A member that has just been added. */
void json_index_add(struct json *obj, yyjson_mut_val *key);
/* NULL when absent. */
yyjson_mut_val *json_index_find(const struct json *obj, struct str key);
/* Before it is removed. */
void json_index_del(struct json *obj, struct str key);
/* After members went. */
void json_index_again(struct json *obj);

/* Of an array that is complete; does nothing when it is short. */
void json_index_array(struct arena *a, struct json *arr);
struct json *json_index_at(const struct json *arr, size_t i);
