/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between stored objects and trees in a request's version, and what the schema does to them. The
 * body of a subresource may have a kind of its own (Scale, Eviction): object_kind() knows.
 */

#include "api/obj.h"
#include "base/str.h"

struct api_request;
struct arena;
struct buf;
struct err;
struct json;
struct registry;
struct resource;
struct resource_version;
struct schema;
struct store_key;

/* the kind the request's body and answer have */
struct str object_kind(const struct api_request *rq);
struct str object_version(const struct api_request *rq);     /* "v1" */
struct str object_api_version(const struct api_request *rq); /* "apps/v1" */
/* The name of its built-in type; empty for custom resources. */
struct str object_type_name(const struct api_request *rq);
/* NULL when nothing is known of it. */
const struct schema *object_schema(const struct api_request *rq);

void object_prune(struct api_request *rq, struct json *obj, struct json *unknown);
/* By the schema, then by the strategy. */
void object_default(struct api_request *rq, struct json *obj);
/* Violations of the schema are added to *e. old: NULL on create. */
void object_validate(struct api_request *rq, const struct json *obj, const struct json *old,
		     struct err **e);

/* Whether sending o in version v needs no parsing. */
bool object_is_current(const struct resource *res, const struct resource_version *v,
		       const struct obj *o);
/* A tree in version v, with kind, apiVersion and resourceVersion; old schemas' objects are
 * defaulted again. */
MUST_USE SUSPENDS struct err *object_tree(struct api_request *rq, const struct obj *o,
					  struct json **ret);
/* A reference, replaced by one in the request's version when a webhook must convert it (metadata
 * alone needs no conversion). */
MUST_USE SUSPENDS struct err *object_in_version(struct api_request *rq, const struct obj **o);
/* The same of an object that is in version v already. */
MUST_USE struct err *object_tree_v(struct registry *reg, struct arena *a,
				   const struct resource *res, const struct resource_version *v,
				   const struct obj *o, struct json **ret);
/* What to store for a tree in the request's version; the tree is not changed. One reference. */
MUST_USE SUSPENDS struct err *object_make(struct api_request *rq, const struct json *tree,
					  struct obj **ret);
/* JSON text of o in version v: spans where possible. kind false: an item of a typed list. */
MUST_USE struct err *object_write(struct registry *reg, struct arena *a, struct buf *b,
				  const struct resource *res, const struct resource_version *v,
				  const struct obj *o, bool kind);

/* Where the request's object is stored. */
struct store_key object_key(const struct api_request *rq);
