/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structural schemas, for built-in kinds and CRDs alike: pruning, defaulting, validation with
 * field paths, merge keys for strategic merge patch, OpenAPI output. Compiled from JSON once
 * (an OpenAPI v3 schema with x-kubernetes-* extensions; $ref only to named types of a
 * registry, for the built-in kinds), immutable and reference counted afterwards.
 *
 * Extensions of our own in the built-in schemas, beside upstream's:
 *     x-isoplane-proto: N           protobuf field number
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct schema;
struct schema_registry;

enum schema_unknown { SCHEMA_PRUNE, SCHEMA_KEEP };

/* Every named type; types are compiled on first use. Takes no copy: types lives as long. */
struct schema_registry *schema_registry_new(const struct json *types);
struct schema_registry *schema_registry_free(struct schema_registry *r);
/* "io.k8s.api.core.v1.Pod"; NULL when unknown. Borrowed. */
const struct schema *schema_registry_find(struct schema_registry *r, struct str type);

/* A CRD's openAPIV3Schema; INVALID with causes below path when it is not structural. */
MUST_USE struct err *schema_compile(const struct json *openapi, struct str path,
				    struct schema **ret);
const struct schema *schema_ref(const struct schema *s);
const struct schema *schema_unref(const struct schema *s);

/* Removes unknown members; their paths are added to unknown (an array, may be NULL). */
void schema_prune(struct arena *a, const struct schema *s, struct json *obj, struct json *unknown);
/* Fills defaults in, in place (deep). */
void schema_default(struct arena *a, const struct schema *s, struct json *obj);

/*
 * Adds one cause per violation to *e, which is created as INVALID when it was NULL; paths start with
 * prefix (may be empty).
 */
void schema_validate(struct arena *a, const struct schema *s, const struct json *obj,
		     struct str prefix, struct err **e);
/*
 * Type errors of a built-in kind, which upstream reports when it decodes: BAD_REQUEST
 * "json: cannot unmarshal string into Go struct field ...".
 */
MUST_USE struct err *schema_check_types(const struct schema *s, const struct json *obj);

/* Strategic merge patch by the schema's merge keys and directives. Inputs unchanged. */
MUST_USE struct err *schema_strategic_merge(struct arena *a, const struct schema *s,
					    const struct json *doc, const struct json *patch,
					    struct json **ret);

/* walking, for apply, printing and conversion */
const struct schema *schema_property(const struct schema *s, struct str name); /* or additionalProperties */
const struct schema *schema_items(const struct schema *s);
/* The JSON it was compiled from. */
const struct json *schema_json(const struct schema *s);
