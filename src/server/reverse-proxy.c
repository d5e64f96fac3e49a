/* SPDX-License-Identifier: Apache-2.0 */
#include "server/reverse-proxy.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "server/request.h"

#define PROXY_MAX_BODY (16 * 1024 * 1024)
#define PROXY_CHUNK    (16 * 1024)

/* Headers of one hop, or ours to say. */
static const char *const proxy_request_drops[] = {
	"authorization",
	"connection",
	"content-length",
	"cookie",
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
	"connection", "content-length",    "content-type", "keep-alive",
	"trailer",    "transfer-encoding", "upgrade",      "audit-id",
};

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
	http_headers_add(a, h, STR("X-Forwarded-For"), proxy_peer_ip(http));
	http_headers_add(a, h, STR("X-Forwarded-Host"), http_headers_find(&http->headers, "host"));
	http_headers_add(a, h, STR("X-Forwarded-Proto"), STR("https"));
	http_headers_add(a, h, STR("X-Forwarded-Uri"), http->path);
}

static void proxy_copy_headers(struct api_request *rq, const struct http_client_response *resp)
{
	for (size_t i = 0; i < resp->headers.n; i++) {
		const struct http_header *f = &resp->headers.v[i];

		if (!proxy_in(f->name, proxy_response_drops, ARRAY_LEN(proxy_response_drops)))
			http_add_header(rq->x, arena_strz(rq->arena, f->name), f->value);
	}
}

static struct err *proxy_unreachable(struct err *e)
{
	if (err_is(e, ERR_CANCELED))
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

static struct err *proxy_plain(struct reverse_proxy *p, struct api_request *rq,
			       struct http_client_request *req)
{
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	struct http_client_response resp = { 0 };
	struct err *e;

	TRY(http_read_body(rq->x, PROXY_MAX_BODY, &req->body));
	req->has_body = req->body.n || !str_eqz(rq->http->method, "GET");
	e = http_client_start(p->client, rq->arena, req, &resp, &call);
	if (e)
		return proxy_unreachable(e);
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
	struct err *e;

	http_headers_add(rq->arena, &req->headers, STR("Connection"), STR("Upgrade"));
	http_headers_add(rq->arena, &req->headers, STR("Upgrade"), upgrade);
	req->has_body = str_eqz(rq->http->method, "POST");
	e = http_client_upgrade(p->client, rq->arena, req, &resp, &theirs);
	if (e)
		return proxy_unreachable(e);
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
	err_log(NULL, LOG_DEBUG, "proxied stream ended", stream_relay(ours, theirs));
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
