/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The built-in resources: schemas/resources.yaml joined with the strategies and subresource
 * handlers of the tables in resources.c.
 */

#include "base/base.h"

struct arena;
struct err;
struct registry;

/* Everything is allocated in a, which outlives the registry. */
MUST_USE struct err *resources_add_builtin(struct registry *reg, struct arena *a);
