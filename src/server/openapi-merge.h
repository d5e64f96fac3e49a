/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Adds the paths and definitions of another OpenAPI v2 document to doc. A path that doc has stays
 * as it is; a definition whose name doc uses for something else gets another name.
 */

struct arena;
struct json;

/* more is changed, and parts of it become parts of doc. */
void openapi_merge_v2(struct arena *a, struct json *doc, struct json *more);
