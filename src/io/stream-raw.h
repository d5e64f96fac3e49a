/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The event-driven face of a stream, for the protocol engines of this layer: nothing here
 * suspends. While an owner is attached no fiber may use the stream; after a detach fibers may.
 *
 * Reads must go on until STREAM_AGAIN before an event can be expected: TLS may hold bytes that
 * the kernel does not know about.
 */

#include "io/loop.h"
#include "io/stream.h"

enum stream_result {
	STREAM_OK,
	STREAM_AGAIN,  /* wait for stream_raw_want's event */
	STREAM_END,    /* reading: the peer ended its direction */
	STREAM_FAILED, /* stream_raw_error() says why */
};

typedef void (*stream_raw_fn)(struct stream *s, unsigned events, void *ctx);

/* lifecycle */
/* Takes an accepted socket; the handshake, if tls is set, is still to be done. */
struct stream *stream_raw_accept(int fd, const struct tls_config *tls);
void stream_raw_attach(struct stream *s, struct loop *l, stream_raw_fn fn, void *ctx);
void stream_raw_detach(struct stream *s);

/* operations */
/* Which events fn gets; level-triggered. */
void stream_raw_want(struct stream *s, unsigned events);
enum stream_result stream_raw_handshake(struct stream *s);
enum stream_result stream_raw_read(struct stream *s, void *p, size_t n, size_t *ret_n);
/* May write less than asked; 0 only with STREAM_AGAIN. */
enum stream_result stream_raw_write(struct stream *s, struct str data, size_t *ret_n);
/*
 * The same for much data: up to 64 KB of TLS records go to the socket at once. What it does not
 * take is kept: stream_raw_unsent tells, stream_raw_flush goes on with it (STREAM_AGAIN: not done).
 */
enum stream_result stream_raw_write_many(struct stream *s, struct str data, size_t *ret_n);
enum stream_result stream_raw_flush(struct stream *s);
bool stream_raw_unsent(const struct stream *s);
/* Best effort, at once: close_notify and FIN. */
void stream_raw_shutdown(struct stream *s);

/* queries */
/* After STREAM_FAILED; "what" begins the message. */
struct err *stream_raw_error(const struct stream *s, const char *what);
/* After STREAM_AGAIN of a handshake or of TLS reads and writes: what it waits for. */
unsigned stream_raw_blocked_on(const struct stream *s);
bool stream_raw_is_tls(const struct stream *s);
