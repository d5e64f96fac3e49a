/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP client: HTTP/1.1 with keep-alive and HTTP/2 by ALPN, a pool per client. All calls
 * suspend. Errors are IO/TIMEOUT/PROTOCOL; any HTTP status is a successful exchange.
 */

#include "io/http.h"
#include "io/stream.h"

struct err;
struct http_client;
struct http_call;

struct http_client_opts {
	struct str address;     /* "HOST:PORT" or "unix:/path" */
	struct str host_header; /* default: address */
	struct str server_name; /* for TLS; default: the host of address */
	const struct tls_config *tls;
	bool http2_prior_knowledge; /* gRPC over Unix sockets */
	unsigned max_idle;          /* kept connections, default 4 */
};

/* The rest of a body, piece by piece. */
struct http_body_source {
	/* A piece, valid until the next call; empty at the end. An error ends the call with it. */
	MUST_USE SUSPENDS struct err *(*next)(struct http_body_source *src, struct str *ret);
	bool failed; /* next did */
};

struct http_client_request {
	const char *method; /* default GET */
	struct str target;  /* path and query, encoded */
	struct http_headers headers;
	struct str body;
	bool has_body; /* send Content-Length: 0 when the body is empty */
	/* What follows body; such a request is never sent twice. */
	struct http_body_source *more;
	uint64_t length; /* of all of it, when more is set; HTTP_LENGTH_UNKNOWN: sent in chunks */
};

struct http_client_response {
	int status;
	struct http_headers headers; /* in the arena */
	struct str body;             /* http_client_do only */
};

/* Copies the options. */
struct http_client *http_client_new(const struct http_client_opts *opts);
struct http_client *http_client_free(struct http_client *c);
/* Swap credentials for new connections. */
void http_client_set_tls(struct http_client *c, const struct tls_config *tls);

/* Whole exchange; a response body over max_body is TOO_LARGE. A stale pooled connection is retried
 * once. */
MUST_USE SUSPENDS struct err *http_client_do(struct http_client *c, struct arena *a,
					     const struct http_client_request *req, size_t max_body,
					     struct http_client_response *ret);
/* Streaming: headers now, body by http_call_read. */
MUST_USE SUSPENDS struct err *http_client_start(struct http_client *c, struct arena *a,
						const struct http_client_request *req,
						struct http_client_response *ret,
						struct http_call **ret_call);
/* *ret_n is 0 at the end. */
MUST_USE SUSPENDS struct err *http_call_read(struct http_call *call, void *p, size_t n,
					     size_t *ret_n);
/* Ends it: to the pool when read to the end, else the connection (or h2 stream) is closed. */
struct http_call *http_call_free(struct http_call *call);
void http_call_freep(struct http_call **call);

/*
 * Upgrade on a connection of its own (HTTP/1.1): sends req with its Connection/Upgrade headers;
 * status 101 yields the raw stream, any other the response with its body (limited to 64 KB).
 */
MUST_USE SUSPENDS struct err *http_client_upgrade(struct http_client *c, struct arena *a,
						  const struct http_client_request *req,
						  struct http_client_response *ret,
						  struct stream **ret_stream);
