/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* meta.k8s.io Tables and PartialObjectMetadata. */

#include "base/str.h"

struct api_request;
struct arena;
struct json;
struct resource;
struct resource_version;

/* Which columns a resource has. */
struct table_view {
	struct arena *arena;
	const struct resource *res;
	const struct resource_version *v;
	struct str form_version;
	int include; /* enum include_object */
};

struct table_view table_view(const struct api_request *rq, struct arena *a);
/* An empty Table. */
struct json *table_new(const struct table_view *t, struct str rv);
/* Takes tree, which has kind and apiVersion. */
struct json *table_row(const struct table_view *t, struct json *tree);
void table_add(const struct table_view *t, struct json *table, struct json *tree);
struct json *table_metadata(const struct table_view *t, struct json *tree);

/* for one object */
struct json *table_of_one(struct api_request *rq, struct json *tree);
struct json *table_metadata_only(struct api_request *rq, struct json *tree);

/* cell helpers for strategies */
void cell_str(struct arena *a, struct json *cells, struct str s);
void cell_int(struct arena *a, struct json *cells, int64_t v);
/* "5m3s" since an RFC 3339 time; "<unknown>" when it is none. */
void cell_age(struct arena *a, struct json *cells, const struct json *time);
/* "<none>" when empty */
void cell_or_none(struct arena *a, struct json *cells, struct str s);
/* "a=1,b=2" */
struct str cell_labels(struct arena *a, const struct json *map);
const char *cell_lower(struct arena *a, struct str s);
