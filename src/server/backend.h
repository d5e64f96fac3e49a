/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Servers that we call: webhooks and aggregated APIs. A Service is resolved to a ready endpoint
 * through its EndpointSlices, since the server may run outside the rules that make ClusterIPs work.
 * Connections are pooled by address and trust.
 */

#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct http_client;

struct backend {
	struct str address;     /* "IP:PORT" */
	struct str server_name; /* for TLS */
	struct str ca_pem;      /* empty: the system's store */
	bool insecure;
	bool identify; /* present the front proxy's client certificate */
};

/* What is wrong, as APIService conditions call it. */
struct backend_problem {
	const char *reason; /* "ServiceNotFound" */
	struct str message;
};

/*
 * The address of a ready endpoint of ns/name for its port; UNAVAILABLE when there is none, with
 * *ret_problem (may be NULL) filled in.
 */
MUST_USE SUSPENDS struct err *backend_resolve(struct apiserver *s, struct arena *a, struct str ns,
					      struct str name, int64_t port,
					      struct str *ret_address,
					      struct backend_problem *ret_problem);
/* "NAME.NS.svc" */
struct str backend_service_name(struct arena *a, struct str ns, struct str name);

/* A pooled client; give it back with backend_put. */
struct backend_ref;
MUST_USE struct err *backend_get(struct apiserver *s, const struct backend *b,
				 struct backend_ref **ret);
struct http_client *backend_client(struct backend_ref *r);
void backend_put(struct backend_ref *r);
