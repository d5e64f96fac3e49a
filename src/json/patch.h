/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Inputs are left unchanged; results are
 * new trees in the arena. Errors are worded as the API server words them (BAD_REQUEST for
 * a malformed patch, INVALID for one that does not apply).
 */

#include "base/base.h"

struct arena;
struct err;
struct json;

MUST_USE struct err *json_patch_apply(struct arena *a, const struct json *doc,
				      const struct json *ops, struct json **ret);
/* The same for a patch that is an array; the error says which operation did not apply, and why. */
MUST_USE struct err *json_patch_apply_why(struct arena *a, const struct json *doc,
					  const struct json *ops, struct json **ret);
/* The result has the strings of both. */
struct json *json_merge_patch(struct arena *a, const struct json *doc, const struct json *patch);
/* The merge patch that turns from into to; an empty object when they are equal. */
struct json *json_merge_diff(struct arena *a, const struct json *from, const struct json *to);
/* The JSON patch (add, remove, replace) that turns from into to. */
struct json *json_patch_diff(struct arena *a, const struct json *from, const struct json *to);
