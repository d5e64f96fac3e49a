/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* WebSocket (RFC 6455) over an upgraded stream, by wslay. One reader and one writer fiber. */

#include "base/str.h"

struct arena;
struct err;
struct http_exchange;
struct http_client;
struct http_client_request;
struct http_client_response;
struct stream;
struct websocket;

/* opening */
/* Answers an upgrade request, picking the first of protocols (NULL-terminated) the client offers;
 * BAD_REQUEST when it is none or no WebSocket. protocols NULL: no subprotocol. */
MUST_USE SUSPENDS struct err *
websocket_accept(struct http_exchange *x, const char *const *protocols, struct websocket **ret);
/* Client side; *ret is NULL and resp filled when the server did not upgrade. */
MUST_USE SUSPENDS struct err *websocket_connect(struct http_client *c, struct arena *a,
						const struct http_client_request *req,
						const char *const *protocols,
						struct http_client_response *resp,
						struct websocket **ret);
struct websocket *websocket_free(struct websocket *ws);

/* operations */
/* The next message, valid until the next call; *ret_end at a close or the end. Pings are answered.
 */
MUST_USE SUSPENDS struct err *websocket_read(struct websocket *ws, struct str *ret, bool *ret_end);
MUST_USE SUSPENDS struct err *websocket_write(struct websocket *ws, struct str data, bool text);
MUST_USE SUSPENDS struct err *websocket_close(struct websocket *ws, uint16_t code, struct str why);
struct str websocket_protocol(const struct websocket *ws);
/* SUSPENDS: copies binary messages to st and bytes from st to binary messages until one ends. */
MUST_USE SUSPENDS struct err *websocket_relay(struct websocket *ws, struct stream *st);
