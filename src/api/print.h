/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSONPath as printer columns, scale paths and selectable fields use it: .a.b[0].c, ['x.y'],
 * [?(@.type=="Ready")]. */

#include "base/str.h"

struct arena;
struct err;
struct json;

/* All matches as an array (possibly empty). A malformed path is an error. */
MUST_USE struct err *jsonpath_find(struct arena *a, const struct json *root, struct str path,
				   struct json **ret_matches);
/* Whether path is a simple one (.a.b.c), as scale and status paths must be. */
bool jsonpath_is_simple(struct str path);
