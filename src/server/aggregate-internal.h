/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between the files of aggregation: which servers there are (aggregate.c), whether they answer
 * (aggregate-check.c), what they serve (aggregate-discovery.c, aggregate-openapi.c), requests to
 * them (aggregate-proxy.c), and what we say of ourselves (aggregate-local.c, aggregate-trust.c).
 */

#include "base/list.h"
#include "base/str.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "server/backend.h"

struct api_request;
struct apiserver;
struct arena;
struct err;
struct http_headers;
struct json;
struct mirror;
struct user_info;

#define APISERVICES "apiservices.apiregistration.k8s.io"

/* A document of a remote server and the memory it is in. */
struct aggregate_doc {
	struct arena *arena; /* NULL: none yet */
	struct json *json;
	struct str etag;
};

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
	struct aggregate_doc discovery; /* APIVersionDiscovery */
	bool discovery_fresh;           /* it is what the server said last */
	struct aggregate_doc openapi;   /* paths of its OpenAPI v3 index that we show */
	/* its checks */
	struct fiber *fiber;
	struct waitq wake;
	bool poked;
};

/* aggregate.c */
struct apiserver *aggregate_server(void);
struct list *aggregate_entries(void);
struct mirror *aggregate_mirror(void);
struct aggregate_entry *aggregate_ref(struct aggregate_entry *e);
void aggregate_unref(struct aggregate_entry *e);
struct aggregate_entry *aggregate_find(struct str group, struct str version);

/* aggregate-check.c */
void aggregate_check_start(struct aggregate_entry *e);
void aggregate_check_stop(struct aggregate_entry *e);
/* Something is wrong with e, or may be well again: look at it soon. */
void aggregate_poke(struct aggregate_entry *e);

/* aggregate-discovery.c, aggregate-openapi.c: ask e what it serves, keep the answer */
SUSPENDS void aggregate_discovery_refresh(struct aggregate_entry *e);
SUSPENDS void aggregate_openapi_refresh(struct aggregate_entry *e);
/* Its parts move to doc, what was in doc is freed. */
void aggregate_doc_keep(struct aggregate_doc *doc, struct aggregate_doc *next);

/* aggregate-local.c */
SUSPENDS bool aggregate_local_sync(bool first);

/* aggregate-trust.c */
MUST_USE struct err *aggregate_trust_start(struct apiserver *s);

/* aggregate-proxy.c */
/* A client for one of its endpoints, and that one's address. */
MUST_USE SUSPENDS struct err *aggregate_backend(struct arena *a, struct aggregate_entry *e,
						struct backend_ref **ret, struct str *ret_address,
						struct backend_problem *ret_problem);
/* X-Remote-User and its like. */
void aggregate_identity(struct arena *a, struct http_headers *h, const struct user_info *u);

/* One question of our own, as system:kube-aggregator: a short time, a bounded answer. */
struct aggregate_question {
	struct str path;
	const char *accept;
	struct str etag; /* of what we have */
	size_t max;
};
MUST_USE SUSPENDS struct err *aggregate_ask(struct arena *a, struct aggregate_entry *e,
					    const struct aggregate_question *q,
					    struct http_client_response *ret);
/* The same without reading the body; *ret_url says where it was asked. */
MUST_USE SUSPENDS struct err *aggregate_ask_status(struct arena *a, struct aggregate_entry *e,
						   struct str path, int *ret, struct str *ret_url,
						   struct backend_problem *ret_problem);

/* Passes the request on, whatever it is, and the answer back. */
MUST_USE SUSPENDS struct err *aggregate_proxy(struct aggregate_entry *e, struct api_request *rq);
