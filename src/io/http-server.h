/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP/1.1 and HTTP/2 server (TLS with ALPN, or plain; h2 over plain text by prior knowledge).
 * Each request runs handler in a fiber of its own; request memory is an arena freed after
 * the exchange. A handler answers in one of these ways:
 *   http_respond            one body, known length
 *   http_respond_stream     then http_body_write (suspends: back-pressure), http_body_end
 *   http_respond_push       event-driven: the fiber ends, the push struct lives on (watches)
 *   http_respond_upgrade    101 and the raw stream (HTTP/1.1 only)
 * A handler that returns an error has it sent as a Status by opts.on_error.
 */

#include "base/list.h"
#include "io/http.h"
#include "io/loop.h"
#include "io/stream.h"

struct blob; /* base/blob.h */
struct err;
struct http_exchange;
struct http_server;

struct http_request {
	struct arena *arena;
	struct str method, path; /* path is raw (percent-encoded), without the query */
	struct str raw_query;
	struct http_query query;
	struct http_headers headers;
	struct str peer_address;
	bool has_peer_cert;
	bool bad_peer_cert;           /* it sent one that did not verify */
	struct tls_peer peer;         /* verified client certificate */
	struct stream_peer_cred cred; /* Unix sockets */
	int http_major;
	bool secure;
};

struct http_server_opts {
	const struct tls_config *tls; /* NULL: plain */
	size_t max_body;              /* default for http_read_body */
	int64_t header_timeout_ms;    /* default 30 s */
	int64_t idle_timeout_ms;      /* keep-alive, default 90 s */
	MUST_USE struct err *(*handler)(struct http_exchange *x, void *ctx); /* SUSPENDS */
	/* Turns an error (borrowed) into a response; NULL: plain text. Must not suspend. */
	void (*on_error)(struct http_exchange *x, struct err *e, void *ctx);
	void *ctx;
};

/* lifecycle */
/* Takes the listening fd; several listeners may serve one server. */
struct http_server *http_server_new(struct loop *l, const struct http_server_opts *opts);
void http_server_listen(struct http_server *s, int listen_fd);
/* Serves one already open stream (taken). */
void http_server_serve(struct http_server *s, struct stream *st);
/* Swaps certificates for new connections. */
void http_server_set_tls(struct http_server *s, const struct tls_config *tls);
/*
 * Stops accepting, ends idle connections and event-driven responses (with what they have
 * queued); other exchanges may finish until deadline ms.
 */
SUSPENDS void http_server_drain(struct http_server *s, int64_t ms);
/* One line per connection and exchange on standard error. */
void http_server_dump(const struct http_server *s);
/* From a fiber it SUSPENDS until the handlers, which are canceled, ended (drain with 0 ms). */
struct http_server *http_server_free(struct http_server *s);

/* the request */
const struct http_request *http_request(const struct http_exchange *x);
/* The whole body, at most max bytes (0: the server's max_body): else TOO_LARGE. Empty is fine. */
MUST_USE SUSPENDS struct err *http_read_body(struct http_exchange *x, size_t max, struct str *ret);
/* A piece, valid until the next call; *ret empty at the end. For proxying. */
MUST_USE SUSPENDS struct err *http_read_body_some(struct http_exchange *x, struct str *ret);

/* the response: headers first (before respond), names and values are copied */
void http_set_header(struct http_exchange *x, const char *name, struct str value);
void http_add_header(struct http_exchange *x, const char *name, struct str value);
/* The body is copied or sent before it returns; it never suspends (it queues). */
void http_respond(struct http_exchange *x, int status, const char *content_type, struct str body);
/* The same for several pieces without joining them. */
void http_respond_v(struct http_exchange *x, int status, const char *content_type,
		    const struct str *parts, size_t n);
/* The same, keeping references instead of copying what the socket does not take at once. */
void http_respond_blobs(struct http_exchange *x, int status, const char *content_type,
			struct blob *const *parts, size_t n);
bool http_responded(const struct http_exchange *x);
/* The body's length once the head is decided; HTTP_LENGTH_UNKNOWN for a stream. */
uint64_t http_response_length(const struct http_exchange *x);
/* A Content-Length set before is kept (HTTP/1.1: no chunks). */
void http_respond_stream(struct http_exchange *x, int status, const char *content_type);
MUST_USE SUSPENDS struct err *http_body_write(struct http_exchange *x, struct str data);
/* Keeps a reference instead of a copy. */
MUST_USE SUSPENDS struct err *http_body_write_blob(struct http_exchange *x, struct blob *b);
MUST_USE SUSPENDS struct err *http_body_end(struct http_exchange *x);
/* BAD_REQUEST on HTTP/2. Sends the 101 with the headers set so far; takes over the connection. */
MUST_USE SUSPENDS struct err *http_respond_upgrade(struct http_exchange *x, struct stream **ret);

/*
 * For those who keep account of exchanges: embed it. started is called when the response's head is
 * decided, ended exactly once, when all is over: sent, given up, or the client went away; the
 * struct may be freed there. Neither may suspend. Several may observe one exchange.
 */
struct http_observer {
	void (*started)(struct http_observer *o, int status);
	void (*ended)(struct http_observer *o);
	/* private */
	struct list link;
};
void http_observe(struct http_exchange *x, struct http_observer *o);

/*
 * Event-driven response: embed it in the owner. After http_respond_push the handler returns
 * NULL and its fiber ends; request memory is freed. closed is called exactly once, from the
 * loop, when the client goes away or after http_push_end; the push struct may be freed there.
 * Both callbacks may come while the handler, which may go on and wait after it, still runs.
 */
struct http_push {
	void (*writable)(struct http_push *p); /* queued bytes fell below half of the limit */
	void (*closed)(struct http_push *p);
	size_t limit; /* bytes; http_respond_push's, and may change */
	/* private */
	struct http_exchange *x;
	size_t queued;
};

void http_respond_push(struct http_exchange *x, int status, const char *content_type,
		       struct http_push *p, size_t limit);
/*
 * Queues; false when over the limit after it (stop until writable), or when nobody reads any
 * more. A blob's reference is kept, its bytes are not copied.
 */
bool http_push_write(struct http_push *p, struct str copied);
bool http_push_blob(struct http_push *p, struct blob *b);
size_t http_push_queued(const struct http_push *p);
/* Flushes and ends the response; closed follows. */
void http_push_end(struct http_push *p);
/* Drops the connection (h2: the stream) at once; closed follows from the loop. */
void http_push_abort(struct http_push *p);
