/* SPDX-License-Identifier: Apache-2.0 */
#include "server/reverse-proxy.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "server/request.h"

#define PROXY_CHUNK (16 * 1024)
/* Bodies up to this are read first, so that their length is known and they can be sent again. */
#define PROXY_SMALL_BODY ((size_t)64 * 1024)

/* Headers of one hop, or ours to say. */
static const char *const proxy_request_drops[] = {
	"authorization",
	"connection",
	"content-length",
	"expect",
	"host",
	"keep-alive",
	"proxy-authorization",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"http2-settings",
	"x-forwarded-for",
	"x-forwarded-host",
	"x-forwarded-proto",
	"x-forwarded-uri",
};
static const char *const proxy_response_drops[] = {
	"audit-id",   "connection", "content-type",      "date",
	"keep-alive", "trailer",    "transfer-encoding", "upgrade",
};
/* Who may read our answers is not theirs to say. */
#define CORS_PREFIX "access-control-allow-"

static bool proxy_in(struct str name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_nocase(name, str_from(list[i])))
			return true;
	return false;
}

static bool proxy_has_prefix_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase(str_sub(s, 0, prefix.n), prefix);
}

static struct str proxy_peer_ip(const struct http_request *http)
{
	struct str peer = http->peer_address;
	size_t colon = peer.n;

	while (colon > 0 && peer.p[colon - 1] != ':')
		colon--;
	return colon ? str_sub(peer, 0, colon - 1) : peer;
}

/* Without the token that may come as a protocol, which is for us alone. */
static struct str proxy_protocols(struct arena *a, struct str list)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str p;

	while (str_split_next(&list, ',', &p)) {
		p = str_trim(p);
		if (!str_has_prefix(p, STR("base64url.bearer.authorization.k8s.io.")))
			buf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(p));
	}
	return buf_to_arena(&b, a);
}

void reverse_proxy_headers(struct api_request *rq, struct http_headers *h)
{
	const struct http_request *http = rq->http;
	struct arena *a = rq->arena;
	struct str via;

	for (size_t i = 0; i < http->headers.n; i++) {
		const struct http_header *f = &http->headers.v[i];
		struct str value;

		if (proxy_in(f->name, proxy_request_drops, ARRAY_LEN(proxy_request_drops)) ||
		    proxy_has_prefix_nocase(f->name, STR("x-remote-")) ||
		    /* done already: the identity the other side sees is the one asked for */
		    proxy_has_prefix_nocase(f->name, STR("impersonate-")) ||
		    str_has_prefix(f->name, STR(":")))
			continue;
		value = f->value;
		if (str_eq_nocase(f->name, STR("sec-websocket-protocol")))
			value = proxy_protocols(a, value);
		if (value.n || !f->value.n)
			http_headers_add(a, h, f->name, value);
	}
	via = http_headers_find(&http->headers, "x-forwarded-for");
	http_headers_add(a, h, STR("X-Forwarded-For"),
			 via.n ? arena_fmt(a, STR_FMT ", " STR_FMT, STR_ARG(via),
					   STR_ARG(proxy_peer_ip(http)))
			       : proxy_peer_ip(http));
	http_headers_add(a, h, STR("X-Forwarded-Host"), http_headers_find(&http->headers, "host"));
	http_headers_add(a, h, STR("X-Forwarded-Proto"), STR("https"));
	http_headers_add(a, h, STR("X-Forwarded-Uri"), http->path);
}

static void proxy_copy_headers(struct api_request *rq, const struct http_client_response *resp)
{
	for (size_t i = 0; i < resp->headers.n; i++) {
		const struct http_header *f = &resp->headers.v[i];

		if (!proxy_in(f->name, proxy_response_drops, ARRAY_LEN(proxy_response_drops)) &&
		    !proxy_has_prefix_nocase(f->name, STR(CORS_PREFIX)))
			http_add_header(rq->x, arena_strz(rq->arena, f->name), f->value);
	}
}

static struct err *proxy_unreachable(struct err *e)
{
	/* our own time is up: that is said as for any other request */
	if (err_is(e, ERR_CANCELED) ||
	    (err_is(e, ERR_TIMEOUT) && mono_now().ns >= fiber_deadline().ns))
		return e;
	return err_recode(err_wrap(e, "error trying to reach service"), ERR_UNAVAILABLE);
}

static const char *proxy_content_type(struct api_request *rq,
				      const struct http_client_response *resp)
{
	struct str type = http_headers_find(&resp->headers, "content-type");

	return type.n ? arena_strz(rq->arena, type) : NULL;
}

/* ---- plain requests */

static struct err *proxy_body(struct api_request *rq, struct http_call *call)
{
	char *chunk = arena_alloc(rq->arena, PROXY_CHUNK);
	size_t n = 1;

	while (n) {
		TRY(http_call_read(call, chunk, PROXY_CHUNK, &n));
		if (n)
			TRY(http_body_write(rq->x, str_make(chunk, n)));
	}
	return http_body_end(rq->x);
}

struct proxy_source {
	struct http_body_source src;
	struct http_exchange *x;
};

static struct err *proxy_source_next(struct http_body_source *src, struct str *ret)
{
	return http_read_body_some(container_of(src, struct proxy_source, src)->x, ret);
}

/* A small body whole; of another its beginning, and the rest from src. */
static struct err *proxy_take_body(struct api_request *rq, struct proxy_source *src,
				   struct http_client_request *req)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str piece;

	do {
		TRY(http_read_body_some(rq->x, &piece));
		buf_add(&b, piece);
	} while (piece.n && b.n <= PROXY_SMALL_BODY);
	req->body = buf_to_arena(&b, rq->arena);
	req->has_body = !str_eqz(rq->http->method, "GET") && !str_eqz(rq->http->method, "HEAD");
	if (!piece.n)
		return NULL;
	*src = (struct proxy_source){ .src = { .next = proxy_source_next }, .x = rq->x };
	req->more = &src->src;
	if (!str_to_u64(http_headers_find(&rq->http->headers, "content-length"), &req->length))
		req->length = HTTP_LENGTH_UNKNOWN;
	return NULL;
}

static bool proxy_is_redirect(const struct http_client_response *resp)
{
	return resp->status >= 300 && resp->status < 400 &&
	       http_headers_find(&resp->headers, "location").n;
}

static void proxy_refuse_redirect(struct api_request *rq)
{
	http_respond(rq->x, 502, NULL,
		     STR("the backend attempted to redirect this request, which is not permitted"));
}

static struct err *proxy_plain(struct reverse_proxy *p, struct api_request *rq,
			       struct http_client_request *req)
{
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	struct http_client_response resp = { 0 };
	struct proxy_source src;
	struct err *e;

	TRY(proxy_take_body(rq, &src, req));
	e = http_client_start(p->client, rq->arena, req, &resp, &call);
	if (e)
		return proxy_unreachable(e);
	if (p->refuse_redirects && proxy_is_redirect(&resp)) {
		proxy_refuse_redirect(rq);
		return NULL;
	}
	if (p->edit)
		p->edit(p, rq, &resp);
	proxy_copy_headers(rq, &resp);
	if (resp.status == 204 || resp.status == 304) {
		http_respond(rq->x, resp.status, proxy_content_type(rq, &resp), STR_EMPTY);
		return NULL;
	}
	http_respond_stream(rq->x, resp.status, proxy_content_type(rq, &resp));
	return proxy_body(rq, call);
}

/* ---- upgrades */

static bool proxy_is_upgrade(const struct http_request *http)
{
	return http_headers_has_token(&http->headers, "connection", "upgrade") &&
	       http_headers_find(&http->headers, "upgrade").n;
}

static struct err *proxy_upgrade(struct reverse_proxy *p, struct api_request *rq,
				 struct http_client_request *req)
{
	struct stream *theirs = NULL, *ours = NULL;
	struct http_client_response resp = { 0 };
	struct str upgrade = http_headers_find(&rq->http->headers, "upgrade");
	struct mono old;
	struct err *e;

	http_headers_add(rq->arena, &req->headers, STR("Connection"), STR("Upgrade"));
	http_headers_add(rq->arena, &req->headers, STR("Upgrade"), upgrade);
	req->has_body = str_eqz(rq->http->method, "POST");
	e = http_client_upgrade(p->client, rq->arena, req, &resp, &theirs);
	if (e)
		return proxy_unreachable(e);
	if (!theirs && resp.status < 400)
		return err_new(ERR_INTERNAL, "invalid upgrade response: status code %d",
			       resp.status);
	proxy_copy_headers(rq, &resp);
	if (!theirs) {
		http_respond(rq->x, resp.status, proxy_content_type(rq, &resp), resp.body);
		return NULL;
	}
	http_set_header(rq->x, "Connection", STR("Upgrade"));
	http_set_header(rq->x, "Upgrade", http_headers_find(&resp.headers, "upgrade"));
	e = http_respond_upgrade(rq->x, &ours);
	if (e) {
		stream_free(theirs);
		return e;
	}
	/* the time of a request is over with its answer */
	old = fiber_deadline();
	fiber_restore_deadline((struct mono){ INT64_MAX });
	err_log(NULL, LOG_DEBUG, "proxied stream ended", stream_relay(ours, theirs));
	fiber_restore_deadline(old);
	return NULL;
}

struct err *reverse_proxy(struct reverse_proxy *p, struct api_request *rq)
{
	struct http_client_request req = {
		.method = arena_strz(rq->arena, rq->http->method),
		.target = p->target,
		.headers = p->headers,
	};

	return proxy_is_upgrade(rq->http) ? proxy_upgrade(p, rq, &req) : proxy_plain(p, rq, &req);
}
