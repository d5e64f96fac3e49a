/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structural schemas, for built-in kinds and CRDs alike: pruning, defaulting, validation with
 * field paths, merge keys for strategic merge patch. Compiled from JSON once (an OpenAPI v3
 * schema with x-kubernetes-* extensions; $ref only to named types of a registry, for the
 * built-in kinds), immutable and reference counted afterwards.
 *
 * Extensions of our own in the built-in schemas, beside upstream's: see schemas/overlay.yaml.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct schema;
struct schema_registry;
struct schema_text; /* api/schema-data.h */

/* Every named type; types are compiled on first use. texts are sorted, and live as long. */
struct schema_registry *schema_registry_new(const struct schema_text *texts, size_t n);
/* The built-in types of schemas/. */
struct schema_registry *schema_registry_builtin(void);
struct schema_registry *schema_registry_free(struct schema_registry *r);
/* "io.k8s.api.core.v1.Pod"; NULL when unknown. Borrowed: it lives as long as the registry. */
const struct schema *schema_registry_find(struct schema_registry *r, struct str type);
/* Its JSON, with $refs as they are ("#/components/schemas/NAME"); empty when unknown. */
struct str schema_registry_text(const struct schema_registry *r, struct str type);
/* The same as a tree, which is kept; NULL when unknown. */
const struct json *schema_registry_tree(struct schema_registry *r, struct str type);

/*
 * A CRD's openAPIV3Schema; INVALID with causes below path when it is not structural. builtin gives
 * ObjectMeta its schema; it must outlive *ret. One reference.
 */
MUST_USE struct err *schema_compile(struct schema_registry *builtin, const struct json *openapi,
				    struct str path, struct schema **ret);
/* Only of whole schemas (what compile returned or a registry found). */
const struct schema *schema_ref(const struct schema *s);
const struct schema *schema_unref(const struct schema *s); /* returns NULL */

/*
 * Removes unknown members; their paths ("spec.containers[0].foo") are added to unknown, an array
 * that may be NULL.
 */
void schema_prune(struct arena *a, const struct schema *s, struct json *obj, struct json *unknown);
/* Only reports them. */
void schema_find_unknown(struct arena *a, const struct schema *s, const struct json *obj,
			 struct json *unknown);
/* Fills defaults in, in place (deep), and drops nulls where null is no value. */
void schema_default(struct arena *a, const struct schema *s, struct json *obj);

/*
 * Adds one cause per violation to *e, which is created as INVALID when it was NULL; paths start
 * with prefix (may be empty).
 */
void schema_validate(struct arena *a, const struct schema *s, const struct json *obj,
		     struct str prefix, struct err **e);
/* The same for an update: what did not change since old is not held against it (CRDs only). */
void schema_validate_update(struct arena *a, const struct schema *s, const struct json *obj,
			    const struct json *old, struct str prefix, struct err **e);
/*
 * What decoding into Go's types does to an object of a built-in kind: type errors, BAD_REQUEST
 * "json: cannot unmarshal string into Go struct field ..."; times come out in UTC, quantities in
 * canonical form ("0.5": "500m"). a is where obj lives.
 */
MUST_USE struct err *schema_decode_types(struct arena *a, const struct schema *s, struct json *obj);

/* Strategic merge patch by the schema's merge keys and directives. Inputs unchanged. */
MUST_USE struct err *schema_strategic_merge(struct arena *a, const struct schema *s,
					    const struct json *doc, const struct json *patch,
					    struct json **ret);

/* A value as Go's %v prints it: map[a:1 b:[x y]], members by name. */
struct str schema_go_text(struct arena *a, const struct json *v);

/* walking, for apply, printing and conversion; all follow $ref and accept NULL */
/* The member's schema, or that of additionalProperties; NULL: unknown. */
const struct schema *schema_property(const struct schema *s, struct str name);
const struct schema *schema_items(const struct schema *s);
enum schema_list { SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP };
enum schema_list schema_list_type(const struct schema *s);
/* Keys of a SCHEMA_LIST_MAP. */
const struct str *schema_list_keys(const struct schema *s, size_t *ret_n);
/* x-kubernetes-map-type: atomic. */
bool schema_map_atomic(const struct schema *s);
/* A member that typed clients hold by value: there even when empty. */
bool schema_keeps_empty(const struct schema *s, struct str name);
bool schema_keeps_unknown(const struct schema *s);
