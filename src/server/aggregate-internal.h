/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between aggregate.c (which servers there are, and whether they answer) and aggregate-proxy.c. */

#include "base/list.h"
#include "base/str.h"
#include "server/backend.h"

struct api_request;
struct apiserver;
struct arena;
struct err;
struct http_headers;
struct json;
struct user_info;

/* A remote group version. It may go away while we wait: hold a reference. */
struct aggregate_entry {
	unsigned refs;
	struct list link;
	struct arena *arena; /* of the strings below */
	struct str name, group, version;
	int64_t group_priority, version_priority;
	struct str service_ns, service_name;
	int64_t service_port;
	struct str ca_pem;
	bool insecure;
	bool available, checked;
	struct arena *resources_arena;
	struct json *resources; /* APIResourceList; NULL: unknown */
};

struct aggregate_entry *aggregate_ref(struct aggregate_entry *e);
void aggregate_unref(struct aggregate_entry *e);
struct aggregate_entry *aggregate_find(struct str group, struct str version);
/* Something is wrong with e: look at it soon. */
void aggregate_poke(void);

/* A client for one of its endpoints. */
MUST_USE SUSPENDS struct err *aggregate_backend(struct apiserver *s, struct arena *a,
						struct aggregate_entry *e, struct backend_ref **ret,
						struct backend_problem *ret_problem);
/* X-Remote-User and its like. */
void aggregate_identity(struct arena *a, struct http_headers *h, const struct user_info *u);

/* Passes the request on, whatever it is, and the answer back. */
MUST_USE SUSPENDS struct err *aggregate_proxy(struct aggregate_entry *e, struct api_request *rq);
