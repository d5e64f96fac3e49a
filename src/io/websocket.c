/* SPDX-License-Identifier: Apache-2.0 */

#include "io/websocket.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <wslay/wslay.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/stream.h"

/*
 * wslay's callbacks never suspend: they move bytes between its state machine and two
 * buffers. Input is read from the stream before wslay is asked to parse it; output
 * gathers in `out`, which whichever fiber has something to send writes away.
 */

#define WS_READ_SIZE   (16 * 1024)
#define WS_MAX_MESSAGE (16 * 1024 * 1024)
#define WS_GUID        "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct websocket {
	struct stream *st;
	wslay_event_context_ptr ctx;
	char *protocol;
	struct buf in; /* read, not parsed */
	size_t in_off;
	struct buf out;
	bool writing;
	struct waitq written;
	struct buf *msgs; /* parsed, not handed out */
	size_t n_msgs, cap_msgs;
	struct buf current; /* handed out last */
	bool ended;
};

/* wslay's side */

static ssize_t websocket_on_recv(wslay_event_context_ptr ctx, uint8_t *p, size_t n, int flags,
				 void *user)
{
	struct websocket *ws = user;
	size_t left = ws->in.n - ws->in_off;

	if (!left) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	n = MIN(n, left);
	memcpy(p, ws->in.p + ws->in_off, n);
	ws->in_off += n;
	return (ssize_t)n;
}

static ssize_t websocket_on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags,
				 void *user)
{
	struct websocket *ws = user;

	buf_add(&ws->out, str_make((const char *)p, n));
	return (ssize_t)n;
}

static int websocket_on_mask(wslay_event_context_ptr ctx, uint8_t *p, size_t n, void *user)
{
	rand_bytes(p, n);
	return 0;
}

static void websocket_on_msg(wslay_event_context_ptr ctx,
			     const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
	struct websocket *ws = user;
	struct buf *b;

	if (arg->opcode != WSLAY_TEXT_FRAME && arg->opcode != WSLAY_BINARY_FRAME)
		return;
	if (ws->n_msgs == ws->cap_msgs) {
		ws->cap_msgs = ws->cap_msgs ? ws->cap_msgs * 2 : 4;
		ws->msgs = mem_realloc(ws->msgs, ws->cap_msgs, sizeof(*ws->msgs));
	}
	b = &ws->msgs[ws->n_msgs++];
	*b = (struct buf){ 0 };
	buf_add(b, str_make((const char *)arg->msg, arg->msg_length));
}

static struct websocket *websocket_new(struct stream *st, bool server, struct str protocol)
{
	static const struct wslay_event_callbacks cbs = {
		.recv_callback = websocket_on_recv,
		.send_callback = websocket_on_send,
		.genmask_callback = websocket_on_mask,
		.on_msg_recv_callback = websocket_on_msg,
	};
	struct websocket *ws = mem_new(struct websocket);
	int rc;

	ws->st = st;
	ws->protocol = mem_strdup(protocol);
	waitq_init(&ws->written);
	rc = server ? wslay_event_context_server_init(&ws->ctx, &cbs, ws)
		    : wslay_event_context_client_init(&ws->ctx, &cbs, ws);
	ASSERT(rc == 0);
	wslay_event_config_set_max_recv_msg_length(ws->ctx, WS_MAX_MESSAGE);
	return ws;
}

struct websocket *websocket_free(struct websocket *ws)
{
	if (!ws)
		return NULL;
	wslay_event_context_free(ws->ctx);
	stream_free(ws->st);
	for (size_t i = 0; i < ws->n_msgs; i++)
		buf_fini(&ws->msgs[i]);
	free(ws->msgs);
	buf_fini(&ws->current);
	buf_fini(&ws->in);
	buf_fini(&ws->out);
	free(ws->protocol);
	free(ws);
	return NULL;
}

/* handshake */

static struct str websocket_accept_key(struct arena *a, struct str key)
{
	struct str text = arena_cat(a, key, STR(WS_GUID));
	unsigned char digest[SHA_DIGEST_LENGTH];

	SHA1((const unsigned char *)text.p, text.n, digest);
	return base64_encode(a, str_make((const char *)digest, sizeof(digest)));
}

/* The first of ours that the client offers; true without any when neither side names one. */
static bool websocket_pick(const struct http_headers *h, const char *const *protocols,
			   struct str *ret)
{
	*ret = STR_EMPTY;
	if (!protocols)
		return true;
	for (; *protocols; protocols++) {
		if (http_headers_has_token(h, "sec-websocket-protocol", *protocols)) {
			*ret = str_from(*protocols);
			return true;
		}
	}
	return false;
}

struct err *websocket_accept(struct http_exchange *x, const char *const *protocols,
			     struct websocket **ret)
{
	const struct http_request *req = http_request(x);
	const struct http_headers *h = &req->headers;
	struct str key = http_headers_find(h, "sec-websocket-key");
	struct str protocol;
	struct stream *st;

	if (!http_headers_has_token(h, "connection", "upgrade") ||
	    !http_headers_has_token(h, "upgrade", "websocket") || key.n != 24)
		return err_new(ERR_BAD_REQUEST, "not a WebSocket request");
	if (!str_eqz(http_headers_find(h, "sec-websocket-version"), "13"))
		return err_new(ERR_BAD_REQUEST, "unsupported WebSocket version");
	if (!websocket_pick(h, protocols, &protocol))
		return err_new(ERR_BAD_REQUEST, "none of the requested subprotocols is supported");
	protocol = arena_str(req->arena, protocol);
	http_set_header(x, "Connection", STR("Upgrade"));
	http_set_header(x, "Upgrade", STR("websocket"));
	http_set_header(x, "Sec-WebSocket-Accept", websocket_accept_key(req->arena, key));
	if (!str_empty(protocol))
		http_set_header(x, "Sec-WebSocket-Protocol", protocol);
	TRY(http_respond_upgrade(x, &st));
	*ret = websocket_new(st, true, protocol);
	return NULL;
}

static struct str websocket_join(struct arena *a, const char *const *protocols)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; protocols[i]; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", protocols[i]);
	return buf_to_arena(&b, a);
}

static bool websocket_offered(const char *const *protocols, struct str chosen)
{
	if (str_empty(chosen))
		return true;
	for (; protocols && *protocols; protocols++)
		if (str_eqz(chosen, *protocols))
			return true;
	return false;
}

struct err *websocket_connect(struct http_client *c, struct arena *a,
			      const struct http_client_request *req, const char *const *protocols,
			      struct http_client_response *resp, struct websocket **ret)
{
	struct http_client_request up = *req;
	_cleanup_(stream_freep) struct stream *st = NULL;
	struct str chosen;
	char nonce[16];
	struct str key;

	*ret = NULL;
	rand_bytes(nonce, sizeof(nonce));
	key = base64_encode(a, str_make(nonce, sizeof(nonce)));
	up.headers = (struct http_headers){ 0 };
	for (size_t i = 0; i < req->headers.n; i++)
		http_headers_add(a, &up.headers, req->headers.v[i].name, req->headers.v[i].value);
	http_headers_add(a, &up.headers, STR("Connection"), STR("Upgrade"));
	http_headers_add(a, &up.headers, STR("Upgrade"), STR("websocket"));
	http_headers_add(a, &up.headers, STR("Sec-WebSocket-Version"), STR("13"));
	http_headers_add(a, &up.headers, STR("Sec-WebSocket-Key"), key);
	if (protocols && *protocols)
		http_headers_add(a, &up.headers, STR("Sec-WebSocket-Protocol"),
				 websocket_join(a, protocols));
	TRY(http_client_upgrade(c, a, &up, resp, &st));
	if (!st)
		return NULL;
	if (!str_eq(http_headers_find(&resp->headers, "sec-websocket-accept"),
		    websocket_accept_key(a, key)))
		return err_new(ERR_PROTOCOL, "the server's Sec-WebSocket-Accept is wrong");
	chosen = http_headers_find(&resp->headers, "sec-websocket-protocol");
	if (!websocket_offered(protocols, chosen))
		return err_new(ERR_PROTOCOL, "the server chose a subprotocol that was not offered");
	*ret = websocket_new(TAKE(st), false, chosen);
	return NULL;
}

/* operations */

/* Sends what gathered in out; one fiber writes, others wait for it. */
static struct err *websocket_flush(struct websocket *ws)
{
	while (ws->out.n) {
		struct buf b;
		struct err *e;

		if (ws->writing) {
			TRY(waitq_wait(&ws->written));
			continue;
		}
		b = ws->out;
		ws->out = (struct buf){ 0 };
		ws->writing = true;
		e = stream_write(ws->st, buf_str(&b));
		ws->writing = false;
		buf_fini(&b);
		waitq_wake_all(&ws->written);
		TRY(e);
	}
	while (ws->writing)
		TRY(waitq_wait(&ws->written));
	return NULL;
}

static struct err *websocket_fill(struct websocket *ws, bool *ret_end)
{
	size_t n;

	if (ws->in_off == ws->in.n) {
		buf_clear(&ws->in);
		ws->in_off = 0;
	}
	buf_reserve(&ws->in, WS_READ_SIZE);
	TRY(stream_read(ws->st, ws->in.p + ws->in.n, WS_READ_SIZE, &n));
	ws->in.n += n;
	*ret_end = n == 0;
	return NULL;
}

static struct err *websocket_parse(struct websocket *ws)
{
	int rc = wslay_event_recv(ws->ctx);

	if (rc != 0)
		return err_new(ERR_PROTOCOL, "WebSocket: malformed frame (%d)", rc);
	/* pongs and the answer to a close were queued */
	if (wslay_event_want_write(ws->ctx) && wslay_event_send(ws->ctx) != 0)
		return err_new(ERR_PROTOCOL, "WebSocket: cannot answer a control frame");
	return ws->out.n ? websocket_flush(ws) : NULL;
}

static bool websocket_take(struct websocket *ws, struct str *ret)
{
	if (!ws->n_msgs)
		return false;
	buf_fini(&ws->current);
	ws->current = ws->msgs[0];
	ws->n_msgs--;
	memmove(ws->msgs, ws->msgs + 1, ws->n_msgs * sizeof(*ws->msgs));
	*ret = buf_str(&ws->current);
	return true;
}

struct err *websocket_read(struct websocket *ws, struct str *ret, bool *ret_end)
{
	*ret_end = false;
	while (!websocket_take(ws, ret)) {
		if (ws->ended || wslay_event_get_close_received(ws->ctx)) {
			*ret = STR_EMPTY;
			*ret_end = true;
			return NULL;
		}
		TRY(websocket_fill(ws, &ws->ended));
		TRY(websocket_parse(ws));
	}
	return NULL;
}

struct err *websocket_write(struct websocket *ws, struct str data, bool text)
{
	struct wslay_event_msg msg = { .opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
				       .msg = (const uint8_t *)data.p,
				       .msg_length = data.n };

	if (wslay_event_queue_msg(ws->ctx, &msg) != 0 || wslay_event_send(ws->ctx) != 0)
		return err_new(ERR_IO, "WebSocket is closed");
	return websocket_flush(ws);
}

struct err *websocket_close(struct websocket *ws, uint16_t code, struct str why)
{
	/* a control frame holds 125 bytes, two of them for the code */
	if (wslay_event_queue_close(ws->ctx, code, (const uint8_t *)why.p, MIN(why.n, 123)) != 0)
		return NULL; /* already closed */
	if (wslay_event_send(ws->ctx) != 0)
		return err_new(ERR_IO, "WebSocket is closed");
	return websocket_flush(ws);
}

struct str websocket_protocol(const struct websocket *ws)
{
	return str_from(ws->protocol);
}

/* relay */

struct websocket_pump {
	struct websocket *ws;
	struct stream *st;
};

static struct err *websocket_pump_done(struct err *e)
{
	/* an error is what makes the group end the other direction */
	return e ? e : err_new(ERR_CANCELED, "ended");
}

static struct err *websocket_to_stream(void *arg)
{
	struct websocket_pump *p = arg;

	for (;;) {
		struct str msg;
		bool end;

		TRY(websocket_read(p->ws, &msg, &end));
		if (end)
			return websocket_pump_done(NULL);
		TRY(stream_write(p->st, msg));
	}
}

static struct err *websocket_from_stream_loop(struct websocket_pump *p, char *b)
{
	for (;;) {
		size_t n;

		TRY(stream_read(p->st, b, WS_READ_SIZE, &n));
		if (!n)
			return websocket_close(p->ws, 1000, STR_EMPTY);
		TRY(websocket_write(p->ws, str_make(b, n), false));
	}
}

static struct err *websocket_from_stream(void *arg)
{
	char *b = mem_alloc(WS_READ_SIZE);
	struct err *e = websocket_from_stream_loop(arg, b);

	free(b);
	return websocket_pump_done(e);
}

struct err *websocket_relay(struct websocket *ws, struct stream *st)
{
	struct websocket_pump p = { ws, st };
	struct fiber_group *g = fiber_group_new();
	struct err *e;

	fiber_group_add(g, "ws-in", websocket_to_stream, &p);
	fiber_group_add(g, "ws-out", websocket_from_stream, &p);
	e = fiber_group_join(g);
	if (e && err_is(e, ERR_CANCELED) && str_eqz(err_msg(e), "ended")) {
		err_ignore(e, "one side ended, as it should");
		return NULL;
	}
	return e;
}
