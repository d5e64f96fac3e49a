/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between json.c and json-text.c only: what a struct json is. */

#include <yyjson.h>

#include "json/json.h"

struct json {
	yyjson_mut_val v;
};

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
