/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a watch's events go: an event-driven response, or the messages of a WebSocket, one an
 * event. Nothing here suspends but watch_out_run_socket, which is the life of a WebSocket.
 */

#include "io/http-server.h"

struct api_request;
struct blob;
struct watch_socket;

struct watch_out {
	/* the owner's callbacks, whichever way it is */
	struct http_push push;
	/* private */
	bool is_socket;
	struct watch_socket *socket; /* NULL: over */
};

/* Whether the client asks for a WebSocket. */
bool watch_out_wants_socket(const struct api_request *rq);
/* Begins the response. */
void watch_out_respond(struct watch_out *o, struct http_exchange *x, size_t limit);
/* Takes the connection over; refused, nothing has begun. */
MUST_USE SUSPENDS struct err *watch_out_accept(struct watch_out *o, struct api_request *rq,
					       size_t limit);
/* Until either side ends it; first runs along, and has ended too. Calls push.closed last. */
SUSPENDS void watch_out_run_socket(struct watch_out *o, struct err *(*first)(void *arg), void *arg);

/* As http_push_write and its likes. */
bool watch_out_write(struct watch_out *o, struct str copied);
bool watch_out_blob(struct watch_out *o, struct blob *b);
bool watch_out_is_full(const struct watch_out *o);
void watch_out_set_limit(struct watch_out *o, size_t limit);
void watch_out_end(struct watch_out *o);
void watch_out_abort(struct watch_out *o);
