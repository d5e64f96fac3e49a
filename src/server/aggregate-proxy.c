/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests to other API servers: ours, and those of clients, passed on with the same path, our
 * front proxy's certificate and the user in X-Remote-* headers. What goes wrong on the way is said
 * in plain text, as upstream's aggregator says it.
 */

#include <ctype.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/aggregate-internal.h"
#include "server/flow.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/reverse-proxy.h"

#define ASK_TIMEOUT_MS 5000

static const struct user_info aggregator_user = {
	.name = STR_INIT("system:kube-aggregator"),
	.groups = (const struct str[]){ STR_INIT("system:masters") },
	.n_groups = 1,
};

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

struct err *aggregate_backend(struct arena *a, struct aggregate_entry *e, struct backend_ref **ret,
			      struct str *ret_address, struct backend_problem *ret_problem)
{
	struct backend b = { .ca_pem = e->ca_pem, .insecure = e->insecure, .identify = true };
	struct apiserver *s = aggregate_server();

	TRY(backend_resolve(s, a, e->service_ns, e->service_name, e->service_port, &b.address,
			    ret_problem));
	b.server_name = backend_service_name(a, e->service_ns, e->service_name);
	if (ret_address)
		*ret_address = b.address;
	return backend_get(s, &b, ret);
}

/* ---- questions of our own */

static struct http_client_request aggregate_request(struct arena *a, struct str path)
{
	struct http_client_request req = { .target = path };

	aggregate_identity(a, &req.headers, &aggregator_user);
	return req;
}

struct err *aggregate_ask(struct arena *a, struct aggregate_entry *e,
			  const struct aggregate_question *q, struct http_client_response *ret)
{
	struct http_client_request req = aggregate_request(a, q->path);
	struct backend_ref *b = NULL;
	struct mono old;
	struct err *err;

	if (q->accept)
		http_headers_add(a, &req.headers, STR("Accept"), str_from(q->accept));
	if (q->etag.n)
		http_headers_add(a, &req.headers, STR("If-None-Match"), q->etag);
	TRY(aggregate_backend(a, e, &b, NULL, NULL));
	old = fiber_limit_ms(ASK_TIMEOUT_MS);
	err = http_client_do(backend_client(b), a, &req, q->max, ret);
	fiber_restore_deadline(old);
	backend_put(b);
	return err;
}

struct err *aggregate_ask_status(struct arena *a, struct aggregate_entry *e, struct str path,
				 int *ret, struct str *ret_url, struct backend_problem *ret_problem)
{
	struct http_client_request req = aggregate_request(a, path);
	struct http_client_response resp = { 0 };
	struct http_call *call = NULL;
	struct backend_ref *b = NULL;
	struct str address;
	struct mono old;
	struct err *err;

	TRY(aggregate_backend(a, e, &b, &address, ret_problem));
	*ret_url = arena_fmt(a, "https://" STR_FMT STR_FMT, STR_ARG(address), STR_ARG(path));
	old = fiber_limit_ms(ASK_TIMEOUT_MS);
	err = http_client_start(backend_client(b), a, &req, &resp, &call);
	fiber_restore_deadline(old);
	http_call_free(call);
	backend_put(b);
	*ret = resp.status;
	return err;
}

/* ---- those of clients */

/* /apis/G/V: kubectl and others wait for it, so it is given less time than other requests. */
static bool aggregate_is_discovery(const struct api_request *rq)
{
	struct str path = rq->path, part;
	size_t n = 0;

	while (str_split_next(&path, '/', &part))
		n += part.n > 0;
	return !rq->is_resource && n == 3;
}

static struct err *aggregate_pass(struct aggregate_entry *en, struct api_request *rq,
				  struct backend_ref *b)
{
	const struct http_request *http = rq->http;
	struct reverse_proxy p = { .client = backend_client(b), .refuse_redirects = true };
	struct mono old = fiber_deadline();
	struct err *e;

	p.target = http->raw_query.n ? arena_fmt(rq->arena, STR_FMT "?" STR_FMT,
						 STR_ARG(http->path), STR_ARG(http->raw_query))
				     : http->path;
	reverse_proxy_headers(rq, &p.headers);
	aggregate_identity(rq->arena, &p.headers, &rq->user);
	if (!http_headers_find(&p.headers, "audit-id").p)
		http_headers_add(rq->arena, &p.headers, STR("Audit-Id"), rq->audit_id);
	/* a console may be open for days */
	flow_leave(rq->server, rq->ticket);
	if (aggregate_is_discovery(rq))
		fiber_limit_ms(ASK_TIMEOUT_MS);
	e = reverse_proxy(&p, rq);
	fiber_restore_deadline(old);
	if (!e || err_is(e, ERR_CANCELED) || http_responded(rq->x))
		return e;
	aggregate_poke(en);
	if (err_is(e, ERR_TIMEOUT) && mono_now().ns >= old.ns)
		return e;
	respond_plain_error(rq, 503, arena_str(rq->arena, err_msg(e)));
	err_ignore(e, "the client was told");
	return NULL;
}

struct err *aggregate_proxy(struct aggregate_entry *en, struct api_request *rq)
{
	struct backend_problem problem = { 0 };
	struct backend_ref *b = NULL;
	struct err *e = aggregate_backend(rq->arena, en, &b, NULL, &problem);

	if (e) {
		aggregate_poke(en);
		if (err_is(e, ERR_CANCELED) || err_is(e, ERR_TIMEOUT))
			return e;
		if (problem.reason)
			respond_plain_error(rq, 503, STR("service unavailable"));
		else
			respond_plain_error(rq, 500, arena_str(rq->arena, err_msg(e)));
		err_ignore(e, "the client was told");
		return NULL;
	}
	e = aggregate_pass(en, rq, b);
	backend_put(b);
	return e;
}
