/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A request passed on to another HTTP server and its answer back: for aggregated APIs and for
 * the proxy subresources. Bodies are streamed with back-pressure, both ways; upgraded connections
 * become a relay of raw bytes. Redirects are not followed.
 */

#include "base/base.h"
#include "base/str.h"
#include "io/http.h"

struct api_request;
struct err;
struct http_client;
struct http_client_response;

struct reverse_proxy {
	struct http_client *client;
	struct str target;           /* path and query, encoded */
	struct http_headers headers; /* reverse_proxy_headers(), and what the caller adds */
	bool refuse_redirects;       /* else they are answers like any other */
	/* May change the answer's headers (rewrite a Location); NULL: as they are. */
	void (*edit)(struct reverse_proxy *p, struct api_request *rq,
		     struct http_client_response *resp);
};

/*
 * The client's headers without what belongs to one hop, its credentials, what it says of identities
 * (X-Remote-*, Impersonate-*), and with X-Forwarded-*.
 */
void reverse_proxy_headers(struct api_request *rq, struct http_headers *ret);

/* Answers rq->x. UNAVAILABLE when the server cannot be reached and nothing was answered. */
MUST_USE SUSPENDS struct err *reverse_proxy(struct reverse_proxy *p, struct api_request *rq);
