/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Kubernetes' protobuf, by the field numbers in the schemas. Typed clients send their bodies in it
 * without asking (kubectl create configmap among them): decoded to the JSON tree they mean. Answers
 * are JSON, which such clients accept and which is what we have; who accepts nothing else has the
 * tree encoded.
 */

#include "base/base.h"
#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;
struct schema_registry;

/*
 * The envelope ("k8s\0", runtime.Unknown) and the message of the named type inside. kind and
 * apiVersion come from the envelope. BAD_REQUEST on anything malformed.
 */
MUST_USE struct err *protobuf_decode(struct arena *a, struct schema_registry *types,
				     struct str type, struct str bytes, struct json **ret);

/*
 * The same the other way; a doc with items is a list of the type. False when the type is none of
 * the schemas' or the tree too deep.
 */
bool protobuf_encode(struct arena *a, struct schema_registry *types, struct str type,
		     const struct json *doc, struct buf *out);
