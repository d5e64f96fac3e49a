/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The OpenAPI v2 document as the protobuf message that kubectl asks for (gnostic's
 * openapi.v2.Document). */

struct arena;
struct buf;
struct json;

void openapi_encode_v2(struct arena *a, struct buf *b, const struct json *doc);
