/* SPDX-License-Identifier: Apache-2.0 */

#include "node/server-stream.h"

#include "base/arena.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/stream.h"

/* What makes the stream: everything else of the request is between us and the client. */
static const char *const passed_headers[] = {
	"Upgrade",
	"X-Stream-Protocol-Version",
	"Sec-WebSocket-Key",
	"Sec-WebSocket-Version",
	"Sec-WebSocket-Protocol",
	"Sec-WebSocket-Accept",
};

static bool stream_header_passes(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(passed_headers); i++)
		if (str_eq_nocase(name, str_from(passed_headers[i])))
			return true;
	return false;
}

static bool stream_url_split(struct str url, struct str *ret_address, struct str *ret_path)
{
	size_t slash;

	if (!str_strip_prefix(&url, STR("http://")))
		return false;
	slash = str_find_char(url, '/', 0);
	*ret_address = str_sub(url, 0, slash);
	*ret_path = str_skip(url, slash);
	return ret_path->n > 0;
}

static struct err *stream_open(struct http_exchange *x, struct str address, struct str path,
			       struct http_client_response *resp, struct stream **ret)
{
	const struct http_request *rq = http_request(x);
	struct http_client_opts opts = { .address = address };
	struct http_client_request req = { .method = arena_strz(rq->arena, rq->method),
					   .target = path };
	struct http_client *c = http_client_new(&opts);
	struct err *e;

	http_headers_add(rq->arena, &req.headers, STR("Connection"), STR("Upgrade"));
	for (size_t i = 0; i < rq->headers.n; i++)
		if (stream_header_passes(rq->headers.v[i].name))
			http_headers_add(rq->arena, &req.headers, rq->headers.v[i].name,
					 rq->headers.v[i].value);
	e = http_client_upgrade(c, rq->arena, &req, resp, ret);
	http_client_free(c);
	return e;
}

struct err *server_stream_relay(struct http_exchange *x, struct str url)
{
	struct http_client_response resp = { 0 };
	struct stream *up = NULL, *down = NULL;
	struct str address, path;
	struct err *e;

	if (!stream_url_split(url, &address, &path))
		return err_new(ERR_PROTOCOL, "the runtime's streaming URL '%.*s' is not understood",
			       STR_ARG(url));
	TRY(stream_open(x, address, path, &resp, &up));
	if (!up) {
		http_respond(x, resp.status, "text/plain; charset=utf-8", resp.body);
		return NULL;
	}
	http_set_header(x, "Connection", STR("Upgrade"));
	for (size_t i = 0; i < resp.headers.n; i++)
		if (stream_header_passes(resp.headers.v[i].name))
			http_set_header(x,
					arena_strz(http_request(x)->arena, resp.headers.v[i].name),
					resp.headers.v[i].value);
	e = http_respond_upgrade(x, &down);
	if (e) {
		stream_free(up);
		return e;
	}
	err_ignore(stream_relay(down, up), "a stream ends in many ways, all of them an end");
	return NULL;
}
