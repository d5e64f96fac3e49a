/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How an OpenAPI document comes about, for the openapi*.c files only: types are queued as something
 * refers to them and written once each, in the dialect asked for.
 */

#include "base/map.h"
#include "base/str.h"

struct apiserver;
struct arena;
struct buf;
struct discovery_gv;
struct json;
struct resource;
struct resource_version;

#define OPENAPI_REF_V3  "#/components/schemas/"
#define OPENAPI_REF_V2  "#/definitions/"
#define OPENAPI_META_V1 "io.k8s.apimachinery.pkg.apis.meta.v1."

struct openapi {
	struct apiserver *s;
	struct arena *a;
	bool v2;
	struct map seen;        /* names of types already queued */
	struct str queue[1024]; /* in the arena: too big for a stack */
	size_t n, done;
};

/* Queues a type, once. */
void openapi_want(struct openapi *o, struct str type);
/*
 * A schema as clients shall see it, in place: no words of our own, references in the dialect's way
 * (and their types queued), nothing that v2 cannot say.
 */
void openapi_publish(struct openapi *o, struct json *j);
/* The schemas of a resource's kind and of its list. */
struct json *openapi_custom_schema(struct openapi *o, const struct resource *res,
				   const struct resource_version *v);
struct json *openapi_list_schema(struct openapi *o, const struct resource *res,
				 const struct resource_version *v, struct str type);
/* {"$ref": ...} to a type, in the form before publishing. */
struct json *openapi_ref(struct openapi *o, struct str type, const char *description);

/* Adds the paths of a resource, each after a comma unless *first. */
void openapi_paths(struct openapi *o, struct buf *b, const struct resource *res,
		   const struct resource_version *v, struct str type, bool *first);

/* gv NULL: everything. */
void openapi_document(struct apiserver *s, struct arena *a, const struct discovery_gv *gv, bool v2,
		      struct buf *out);
