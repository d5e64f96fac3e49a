/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * exec, attach and port-forward: the client's upgraded connection (SPDY) is joined byte for byte to
 * the runtime's streaming server, which speaks the same protocols.
 */

#include "base/str.h"

struct err;
struct http_exchange;

/* url is what CRI answered: "http://127.0.0.1:PORT/exec/TOKEN". SUSPENDS until the stream ends. */
MUST_USE SUSPENDS struct err *server_stream_relay(struct http_exchange *x, struct str url);
