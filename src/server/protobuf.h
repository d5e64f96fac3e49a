/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Request bodies in Kubernetes' protobuf, which typed clients send without asking (kubectl create
 * configmap among them): decoded to the JSON tree they mean, by the field numbers in the schemas.
 * Responses stay JSON, which such clients accept.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct schema_registry;

/*
 * The envelope ("k8s\0", runtime.Unknown) and the message of the named type inside. kind and
 * apiVersion come from the envelope. BAD_REQUEST on anything malformed.
 */
MUST_USE struct err *protobuf_decode(struct arena *a, struct schema_registry *types,
				     struct str type, struct str bytes, struct json **ret);
