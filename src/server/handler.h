/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server's HTTP handler: one exchange through all steps. */

#include "base/base.h"

struct apiserver;
struct err;
struct http_exchange;

MUST_USE SUSPENDS struct err *handler_serve(struct http_exchange *x, void *server);
/* /version, /healthz and its like, /metrics, the token issuer's documents. */
void health_init(struct apiserver *s);
