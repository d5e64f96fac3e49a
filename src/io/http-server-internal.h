/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inside the HTTP server. Four nouns:
 *   server      listeners and options                                 http-server.c
 *   connection  a stream, its buffers and timeouts                    http-server-conn.c
 *   codec       HTTP/1.1 or HTTP/2 on a connection                    http-server-h1.c, -h2.c
 *   exchange    one request and its response, which handlers see      http-server-exchange.c
 *
 * Bytes out: handler -> exchange queue (segments: copies, blobs, borrowed memory) -> codec's
 * fill, which frames them into the connection's out buffer, at most OUT_TARGET at a time ->
 * stream. The flush is a late task, so all that a loop turn produced leaves together.
 *
 * Nothing is freed inside a codec's callbacks: a connection that fails is marked dead and torn
 * down by a task. An exchange holds its connection, a connection its server.
 */

#include "base/buf.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "io/stream-raw.h"

#define HTTP_OUT_TARGET  (63 * 1024)
#define HTTP_BODY_WINDOW (64 * 1024) /* unread request body before we stop reading (h1) */
/*
 * Unread request body that is skipped to keep a connection. More than the largest body anyone may
 * send, so that a client that writes all before it reads sees why it was refused.
 */
#define HTTP_DISCARD_LIMIT  (4 * 1024 * 1024)
#define HTTP_UNKNOWN_LENGTH UINT64_MAX
#define HTTP_MAX_STREAMS    250

struct http_conn;

/* one request and its response */

struct http_segment {
	struct list link;
	struct blob *blob; /* or: */
	bool borrowed;     /* or own bytes below */
	const char *p;
	size_t n;
	size_t room; /* of own, behind p + n */
	char own[];
};

struct http_exchange {
	struct list link; /* conn->exchanges */
	struct http_conn *conn;
	struct arena *arena; /* until the fiber ended */
	struct http_request req;
	struct fiber *fiber;
	int32_t stream_id; /* h2 */
	void *head_state;  /* h2: while the request's head comes in */
	/* request body */
	uint64_t content_length;
	struct buf body, piece;
	size_t body_window, discarded;
	bool body_end, reading_all, discard, expect_continue;
	struct waitq body_wait;
	/* response */
	struct http_headers headers;
	uint64_t length; /* of the body, or HTTP_UNKNOWN_LENGTH */
	bool responded;  /* the head was given to the codec */
	bool out_end;    /* no more will be queued */
	bool sent;       /* the codec has framed all of it */
	bool no_body, deferred, close;
	bool gone; /* the client left, or the connection broke */
	struct list segments;
	size_t queued;
	struct waitq room;
	struct list observers;
	/* event-driven */
	struct http_push *push;
	bool push_full;
	struct task notify;
};

/* codecs */

struct http_codec {
	/* Takes a prefix of data; what is left comes again with more behind it. */
	size_t (*input)(struct http_conn *c, struct str data);
	void (*input_end)(struct http_conn *c);
	/* Frames what is queued into c->out until it holds HTTP_OUT_TARGET bytes. */
	void (*fill)(struct http_conn *c);
	void (*respond)(struct http_exchange *x, int status);
	/* More was queued, or the end was. */
	void (*more)(struct http_exchange *x);
	void (*consumed)(struct http_exchange *x, size_t n);
	void (*send_continue)(struct http_exchange *x);
	/* Drop it now. */
	void (*abort)(struct http_exchange *x);
	/* The fiber ended or the push let go. */
	void (*settled)(struct http_exchange *x);
	void (*drain)(struct http_conn *c);
	void (*free)(struct http_conn *c);
};

extern const struct http_codec http_codec_h1, http_codec_h2;
void http_h1_start(struct http_conn *c);
void http_h2_start(struct http_conn *c);
/* Takes the connection's stream out, with what was over-read; the connection dies. */
struct stream *http_h1_take_stream(struct http_conn *c);

/* connections */

enum http_phase { HTTP_HANDSHAKE, HTTP_HEADER, HTTP_IDLE, HTTP_BUSY, HTTP_LINGER };

struct http_conn {
	struct http_server *server;
	struct list link;
	unsigned refs;
	struct stream *st;
	const struct http_codec *codec; /* NULL until it is known */
	void *codec_data;
	enum http_phase phase;
	struct mono expires;
	struct timer timer;
	struct buf in; /* left over by the codec */
	struct buf out;
	size_t out_sent;
	bool reading;       /* the codec takes more */
	bool read_on_write; /* TLS wants to write before it can read */
	bool blocked;       /* the stream takes no more */
	bool closing;       /* after the flush */
	bool linger;        /* closing: what the client still sends is read first */
	size_t lingered;
	bool input_ended, dead;
	struct task flush, resume, kill;
	struct list exchanges;
	size_t n_exchanges;
	/* the peer, once */
	struct arena *arena;
	struct tls_peer peer;
	struct stream_peer_cred cred;
	bool has_peer_cert, bad_peer_cert;
};

void http_conn_open(struct http_server *s, struct stream *st, bool handshake_done);
void http_conn_unref(struct http_conn *c);
void http_conn_kill(struct http_conn *c);
/* Room in the out buffer, at least HTTP_OUT_TARGET of it for a start. */
void http_conn_want_out(struct http_conn *c);
/* Sends what is queued now as far as the stream takes it. */
void http_conn_flush(struct http_conn *c);
void http_conn_post_flush(struct http_conn *c);
/* Parses what is left over and reads on, from the loop. */
void http_conn_resume(struct http_conn *c);
void http_conn_set_reading(struct http_conn *c, bool reading);
void http_conn_set_phase(struct http_conn *c, enum http_phase phase);
void http_conn_drain(struct http_conn *c);

/* exchanges */

struct http_exchange *http_exchange_new(struct http_conn *c);
/* The request's head is complete in x->req: runs the handler. */
void http_exchange_start(struct http_exchange *x);
/* Answers without a handler. */
void http_exchange_reject(struct http_exchange *x, int status);
void http_exchange_body(struct http_exchange *x, struct str data);
void http_exchange_body_end(struct http_exchange *x);
/* The client is not there any more. */
void http_exchange_gone(struct http_exchange *x);
/* The codec has framed the whole response. */
void http_exchange_sent(struct http_exchange *x);
/* It took the stream over: the connection's end does not concern its fiber any more. */
void http_exchange_upgraded(struct http_exchange *x);
/* Moves n of the queued bytes to p. */
void http_exchange_take(struct http_exchange *x, char *p, size_t n);
/* Whether nothing refers to it but the codec. */
bool http_exchange_settled(const struct http_exchange *x);
void http_exchange_free(struct http_exchange *x);
bool http_header_is_hop(struct str name);

/* servers */

struct http_server {
	struct loop *loop;
	struct http_server_opts opts;
	struct tls_config *tls;
	unsigned refs;
	struct list listeners, conns, upgraded;
	bool draining, closed;
	size_t n_fibers;
	struct waitq settled; /* a connection or a fiber ended */
	/* Of a connection that has nothing to send, for the next that has. */
	struct buf spare_out;
	/* "Date: ...\r\n", made once a second */
	int64_t date_second;
	char date[40];
};

void http_server_unref(struct http_server *s);
/* "Sun, 06 Nov 1994 08:49:37 GMT" */
const char *http_server_date(struct http_server *s);
