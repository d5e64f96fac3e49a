/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Collecting what is wrong with an object: causes with a field path, a reason and a message, as
 * they go into a webhook's answer. Paths are text, built with field().
 */

#include "base/arena.h"
#include "base/str.h"

struct json;

struct causes {
	struct arena *a;
	struct json *list;
};

#define CAUSE_INVALID       "FieldValueInvalid"
#define CAUSE_REQUIRED      "FieldValueRequired"
#define CAUSE_NOT_SUPPORTED "FieldValueNotSupported"
#define CAUSE_DUPLICATE     "FieldValueDuplicate"

void causes_init(struct causes *c, struct arena *a);
void cause_add(struct causes *c, const char *reason, struct str field, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* The first ten messages joined by ", ", then how many more. */
struct str causes_message(const struct causes *c);

#define field(c, ...) arena_fmt((c)->a, __VA_ARGS__)
