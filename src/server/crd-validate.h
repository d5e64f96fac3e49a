/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Causes of what is wrong with a CustomResourceDefinition; old is NULL on create. */

struct arena;
struct err;
struct json;
struct schema_registry;

void crd_validate(struct arena *a, struct schema_registry *types, const struct json *crd,
		  const struct json *old, struct err **e);
