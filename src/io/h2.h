/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One HTTP/2 connection over a stream, either side, for the HTTP client and gRPC: nghttp2 driven by
 * a reader and a writer fiber; requests and responses are h2_streams that any fiber may read and
 * write.
 *
 * A connection lives until its owner has let go of it and its last stream was freed; its
 * own fibers then end. When it breaks, every open stream fails with IO.
 */

#include "io/http.h"

struct err;
struct h2_conn;
struct h2_stream;
struct loop;
struct stream;

struct h2_opts {
	bool server;
	/* Ping a peer that is silent while streams wait (gRPC servers take pings for an attack). */
	bool check_peer;
	/*
	 * Server: a request's headers are complete. Runs in the reader fiber and must not suspend:
	 * it spawns a fiber that serves and frees the stream.
	 */
	void (*on_request)(struct h2_stream *s, void *ctx);
	/* It broke or was ended by the peer; may be NULL. The owner still lets go of it, even in
	 * here. */
	void (*on_dead)(struct h2_conn *c, void *ctx);
	void *ctx;
};

/* connections */
/* Takes st. */
struct h2_conn *h2_conn_new(struct loop *l, struct stream *st, const struct h2_opts *opts);
/* The owner lets go: streams in flight go on. */
struct h2_conn *h2_conn_release(struct h2_conn *c);
/* The owner lets go and all streams fail. */
struct h2_conn *h2_conn_close(struct h2_conn *c);
/* Whether another request may be started on it (alive, no GOAWAY, below the peer's stream limit).
 */
bool h2_conn_usable(const struct h2_conn *c);
bool h2_conn_dead(const struct h2_conn *c);

/* client streams */
/* headers begin with the pseudo headers; end: no body follows. */
MUST_USE struct err *h2_stream_open(struct h2_conn *c, const struct http_headers *headers, bool end,
				    struct h2_stream **ret);
/* Until the response's headers are there. */
MUST_USE SUSPENDS struct err *h2_stream_wait_headers(struct h2_stream *s);

/* server streams */
void h2_stream_respond(struct h2_stream *s, const struct http_headers *headers);
/* Ends our side with trailers, after what was written. */
void h2_stream_trailers(struct h2_stream *s, const struct http_headers *trailers);

/* both */
/* *ret_n is 0 at the end. */
MUST_USE SUSPENDS struct err *h2_stream_read(struct h2_stream *s, void *p, size_t n, size_t *ret_n);
/* Suspends while more than 256 KB wait to be sent. */
MUST_USE SUSPENDS struct err *h2_stream_write(struct h2_stream *s, struct str data);
/* Ends our side. */
void h2_stream_end(struct h2_stream *s);
/* Resets it when it is still open and not fully received (client) or sent (server). */
struct h2_stream *h2_stream_free(struct h2_stream *s);

/* queries; all borrowed from the stream */
const struct http_headers *h2_stream_headers(const struct h2_stream *s);
const struct http_headers *h2_stream_get_trailers(const struct h2_stream *s);
/* The peer refused it before looking at it: safe to send again. */
bool h2_stream_refused(const struct h2_stream *s);
