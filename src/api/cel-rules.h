/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * x-kubernetes-validations of a CRD's schema: compiled once with the schema, which owns them from
 * then on, and evaluated on custom resources after the schema itself.
 */

#include "base/str.h"

struct arena;
struct cel_rules;
struct err;
struct json;
struct schema;

/*
 * Compiles what openapi, which s was made of, has in rules; does nothing when it has none. With e
 * it also checks what a CRD is refused for (costs, paths, wording) and adds causes below path.
 */
void cel_rules_compile(struct schema *s, const struct json *openapi, struct str path,
		       struct err **e);
bool cel_rules_exist(const struct schema *s);
/* For schema_unref. */
void cel_rules_free(struct cel_rules *r);

/*
 * Evaluates a schema's rules; old is NULL on create. Adds causes to *e as schema_validate does, and
 * to warnings (an array) the texts of those that an update is not refused for. When *e has causes
 * that make rules pointless already, only says so.
 */
void cel_rules_validate(struct arena *a, const struct schema *s, const struct json *obj,
			const struct json *old, struct json *warnings, struct err **e);
