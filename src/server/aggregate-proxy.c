/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One request passed on to another API server: same path, our front proxy's certificate, the user
 * in X-Remote-* headers.
 */

#include <ctype.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/aggregate-internal.h"
#include "server/request.h"
#include "server/reverse-proxy.h"

/* Header names cannot carry everything a key may hold: bytes outside the token set are %-escaped.
 */
static struct str proxy_escape_key(struct arena *a, struct str key)
{
	char *p = arena_alloc(a, key.n * 3 + 1);
	size_t n = 0;

	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];

		if (isalnum(c) || (c && strchr("!#$&'*+-.^_`|~", c))) {
			p[n++] = (char)c;
			continue;
		}
		p[n++] = '%';
		p[n++] = "0123456789abcdef"[c >> 4];
		p[n++] = "0123456789abcdef"[c & 15];
	}
	return str_make(p, n);
}

void aggregate_identity(struct arena *a, struct http_headers *h, const struct user_info *u)
{
	http_headers_add(a, h, STR("X-Remote-User"), u->name);
	if (u->uid.n)
		http_headers_add(a, h, STR("X-Remote-Uid"), u->uid);
	for (size_t i = 0; i < u->n_groups; i++)
		http_headers_add(a, h, STR("X-Remote-Group"), u->groups[i]);
	for (size_t i = 0; i < u->n_extra; i++) {
		struct str name =
			arena_cat(a, STR("X-Remote-Extra-"), proxy_escape_key(a, u->extra[i].key));

		for (size_t k = 0; k < u->extra[i].n_values; k++)
			http_headers_add(a, h, name, u->extra[i].values[k]);
	}
}

struct err *aggregate_proxy(struct aggregate_entry *en, struct api_request *rq)
{
	const struct http_request *http = rq->http;
	struct reverse_proxy p = { 0 };
	struct backend_ref *b = NULL;
	struct err *e;

	e = aggregate_backend(rq->server, rq->arena, en, &b, NULL);
	if (e) {
		aggregate_poke();
		return e;
	}
	p.client = backend_client(b);
	p.target = http->raw_query.n ? arena_fmt(rq->arena, STR_FMT "?" STR_FMT,
						 STR_ARG(http->path), STR_ARG(http->raw_query))
				     : http->path;
	reverse_proxy_headers(rq, &p.headers);
	aggregate_identity(rq->arena, &p.headers, &rq->user);
	e = reverse_proxy(&p, rq);
	if (e && err_is(e, ERR_UNAVAILABLE))
		aggregate_poke();
	backend_put(b);
	return e;
}
