/* SPDX-License-Identifier: Apache-2.0 */

#include "io/http.h"

#include "base/arena.h"
#include "base/buf.h"

/* headers */

void http_headers_add(struct arena *a, struct http_headers *h, struct str name, struct str value)
{
	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 16;
		struct http_header *v = arena_array(a, cap, sizeof(*v));

		for (size_t i = 0; i < h->n; i++)
			v[i] = h->v[i];
		h->v = v;
		h->cap = cap;
	}
	h->v[h->n++] = (struct http_header){ name, value };
}

struct str http_headers_find(const struct http_headers *h, const char *name)
{
	struct str want = str_from(name);

	for (size_t i = 0; i < h->n; i++)
		if (str_eq_nocase(h->v[i].name, want))
			return h->v[i].value;
	return (struct str){ NULL, 0 };
}

bool http_headers_has_token(const struct http_headers *h, const char *name, const char *token)
{
	struct str want = str_from(name);
	struct str tok;

	for (size_t i = 0; i < h->n; i++) {
		struct str rest = h->v[i].value;

		if (!str_eq_nocase(h->v[i].name, want))
			continue;
		while (str_split_next(&rest, ',', &tok))
			if (str_eq_nocase(str_trim(tok), str_from(token)))
				return true;
	}
	return false;
}

/* URLs */

static int http_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static struct str http_decode(struct arena *a, struct str s, bool plus_is_space)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%' && i + 2 < s.n && http_hex_digit(s.p[i + 1]) >= 0 &&
		    http_hex_digit(s.p[i + 2]) >= 0) {
			c = (char)(http_hex_digit(s.p[i + 1]) * 16 + http_hex_digit(s.p[i + 2]));
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[n++] = c;
	}
	return (struct str){ out, n };
}

struct str http_url_decode(struct arena *a, struct str s)
{
	if (str_find_char(s, '%', 0) == s.n)
		return s;
	return http_decode(a, s, false);
}

static bool http_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

struct str http_url_encode(struct arena *a, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t extra = 0;
	size_t n = 0;
	char *out;

	for (size_t i = 0; i < s.n; i++)
		extra += http_unreserved(s.p[i]) ? 0 : 2;
	if (!extra)
		return s;
	out = arena_alloc(a, s.n + extra);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (http_unreserved((char)c)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return (struct str){ out, n };
}

/* query strings */

struct http_query http_query_parse(struct arena *a, struct str raw)
{
	struct http_query q = { 0 };
	struct str rest = raw;
	struct str pair;
	size_t cap = 0;

	while (str_split_next(&rest, '&', &pair))
		cap += !str_empty(pair);
	q.v = arena_array(a, cap + 1, sizeof(*q.v));
	rest = raw;
	while (str_split_next(&rest, '&', &pair)) {
		struct str val = pair;
		struct str key;

		if (str_empty(pair))
			continue;
		str_cut(&val, '=', &key);
		q.v[q.n++] = (struct http_header){ http_decode(a, key, true),
						   http_decode(a, val, true) };
	}
	return q;
}

struct str http_query_find(const struct http_query *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (str_eqz(q->v[i].name, name))
			return q->v[i].value;
	return (struct str){ NULL, 0 };
}

bool http_query_true(const struct http_query *q, const char *name)
{
	struct str s = http_query_find(q, name);

	return s.p && !str_eqz(s, "0") && !str_eq_nocase(s, STR("false"));
}

/* statuses */

static const struct {
	int status;
	const char *text;
} http_statuses[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Request Entity Too Large" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Requested Range Not Satisfiable" },
	{ 422, "Unprocessable Entity" },
	{ 426, "Upgrade Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
};

const char *http_status_text(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(http_statuses); i++)
		if (http_statuses[i].status == status)
			return http_statuses[i].text;
	return "Unknown";
}
