/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What HTTP servers and clients share: header lists, URLs, query strings. */

#include "base/str.h"

struct arena;

#define HTTP_MAX_HEADER_BYTES (64 * 1024)
#define HTTP_MAX_HEADERS      200
/* A length that is not known before the end. */
#define HTTP_LENGTH_UNKNOWN UINT64_MAX

struct http_header {
	struct str name, value; /* names compare without case */
};

struct http_headers {
	struct http_header *v;
	size_t n;
	/* private */
	size_t cap;
};

/* Views are kept as they are: pass arena strings. */
void http_headers_add(struct arena *a, struct http_headers *h, struct str name, struct str value);
/* The first value, or "" (p NULL) when absent. */
struct str http_headers_find(const struct http_headers *h, const char *name);
/* Whether a comma-separated header contains token (Connection: Upgrade). */
bool http_headers_has_token(const struct http_headers *h, const char *name, const char *token);

struct str http_url_decode(struct arena *a, struct str s);
/* For one path segment or query value. */
struct str http_url_encode(struct arena *a, struct str s);

/* A query string; values are decoded. */
struct http_query {
	struct http_header *v;
	size_t n;
};
struct http_query http_query_parse(struct arena *a, struct str raw);
/* First value; p is NULL when absent. */
struct str http_query_find(const struct http_query *q, const char *name);
/* As Kubernetes reads booleans: there, and not "0" or "false" in any case ("True": Python). */
bool http_query_true(const struct http_query *q, const char *name);
const char *http_status_text(int status);
