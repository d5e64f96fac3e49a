/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From an established CustomResourceDefinition to the struct resource that serves it. */

#include "base/base.h"

struct err;
struct json;
struct resource;
struct schema_registry;

/* A resource with no reference yet, for registry_add(); it owns everything it points to. */
MUST_USE struct err *crd_make_resource(struct schema_registry *types, const struct json *crd,
				       struct resource **ret);
