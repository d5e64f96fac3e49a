/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Aggregation: groups and versions of the API that another server behind a Service answers for
 * (APIService), and the APIService objects of our own groups.
 */

#include "base/str.h"

struct api_request;
struct apiserver;
struct arena;
struct err;
struct json;

/* A group and version that another server answers for, as discovery shows it; views live in the
 * arena it was asked with. */
struct aggregate_version {
	struct str group, version;
	int64_t group_priority, version_priority;
	/* its APIVersionDiscovery, with its freshness; NULL: one of ours */
	const struct json *discovery;
};

/* Every remote group version. */
size_t aggregate_remotes(struct arena *a, struct aggregate_version **ret);
bool aggregate_is_remote(struct str group, struct str version);
/* The priorities of one of our own group versions (CRDs: 1000 and 100). */
int64_t aggregate_group_priority(struct str group);
int64_t aggregate_version_priority(struct str group, struct str version);

/* OpenAPI v3: adds the documents of remote servers to the index. */
void aggregate_openapi_index(struct arena *a, struct json *paths);
/* Whether path ("apis/G/V") is one of theirs; then it is answered. */
MUST_USE SUSPENDS struct err *aggregate_openapi_serve(struct api_request *rq, struct str path,
						      bool *ret_served);
/* OpenAPI v2: a document for each remote server that has one, cut to what it answers for. */
MUST_USE SUSPENDS struct err *aggregate_openapi_v2(struct arena *a, struct json **ret_docs);

MUST_USE struct err *aggregate_init(struct apiserver *s);
/* SUSPENDS */
MUST_USE struct err *aggregate_start(struct apiserver *s);
