/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between protobuf.c, which decodes, and protobuf-encode.c. */

#include "base/str.h"

struct json;
struct schema_registry;

/* Follows $ref; *ret_name is the type's last name ("Time"), or empty. */
const struct json *protobuf_follow(struct schema_registry *types, const struct json *schema,
				   struct str *ret_name);
