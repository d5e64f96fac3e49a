/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-websocket.h"

#include <assert.h>

#include "api/status.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/spdy.h"
#include "io/stream.h"
#include "io/websocket.h"
#include "server/request.h"
#include "server/respond.h"
#include "json/json.h"

#define PROTOCOL_EXEC    "v5.channel.k8s.io"
#define PROTOCOL_FORWARD "SPDY/3.1+portforward.k8s.io"
#define CHANNEL_CLOSE    255
#define WS_NORMAL        1000

/* A message's first byte. */
enum channel {
	CHANNEL_STDIN,
	CHANNEL_STDOUT,
	CHANNEL_STDERR,
	CHANNEL_ERROR,
	CHANNEL_RESIZE,
	CHANNEL_N_,
};

static const char *const channel_types[] = {
	[CHANNEL_STDIN] = "stdin", [CHANNEL_STDOUT] = "stdout", [CHANNEL_STDERR] = "stderr",
	[CHANNEL_ERROR] = "error", [CHANNEL_RESIZE] = "resize",
};
static_assert(ARRAY_LEN(channel_types) == CHANNEL_N_, "a name per channel");

struct exec_session {
	struct api_request *rq;
	struct websocket *ws;
	struct spdy *spdy;
	uint32_t ids[CHANNEL_N_]; /* 0: this session has no such stream */
	unsigned open;            /* streams towards the client that have not ended */
	bool told;                /* how it ended */
};

static bool websocket_offers(const struct api_request *rq, const char *protocol)
{
	return http_headers_has_token(&rq->http->headers, "sec-websocket-protocol", protocol);
}

bool pod_websocket_translated(const struct api_request *rq)
{
	if (!http_headers_has_token(&rq->http->headers, "upgrade", "websocket"))
		return false;
	/* others go through to the runtime as they are */
	return websocket_offers(rq,
				str_eqz(rq->sub, "portforward") ? PROTOCOL_FORWARD : PROTOCOL_EXEC);
}

/* The kubelet's side; *ret is NULL when it refused, which then is answered. */
static struct err *kubelet_spdy(struct api_request *rq, struct http_client *kubelet,
				struct str target, const char *const *protocols,
				struct stream **ret)
{
	struct http_client_request req = { .method = "POST", .target = target, .has_body = true };
	struct http_client_response resp = { 0 };
	struct err *e;

	http_headers_add(rq->arena, &req.headers, STR("Connection"), STR("Upgrade"));
	http_headers_add(rq->arena, &req.headers, STR("Upgrade"), STR("SPDY/3.1"));
	for (; *protocols; protocols++)
		http_headers_add(rq->arena, &req.headers, STR("X-Stream-Protocol-Version"),
				 str_from(*protocols));
	e = http_client_upgrade(kubelet, rq->arena, &req, &resp, ret);
	if (e)
		return err_recode(
			err_remsg(e, "error dialing backend: " STR_FMT, STR_ARG(err_msg(e))),
			ERR_INTERNAL);
	if (!*ret)
		respond_text(rq, resp.status, "text/plain", resp.body);
	return NULL;
}

/* ---- exec and attach */

static struct err *session_open(struct exec_session *s, const struct pod_channels *ch)
{
	/* the order and the set that the runtime waits for */
	const struct {
		enum channel channel;
		bool wanted, to_client;
	} rows[] = {
		{ CHANNEL_ERROR, true, true },      { CHANNEL_STDIN, ch->in, false },
		{ CHANNEL_STDOUT, ch->out, true },  { CHANNEL_STDERR, ch->err && !ch->tty, true },
		{ CHANNEL_RESIZE, ch->tty, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spdy_header h = { STR("streamtype"),
					 str_from(channel_types[rows[i].channel]) };

		if (!rows[i].wanted)
			continue;
		TRY(spdy_open(s->spdy, &h, 1, &s->ids[rows[i].channel]));
		s->open += rows[i].to_client;
	}
	return NULL;
}

/* What the client sends for a stream it did not ask for is dropped, as upstream does. */
static struct err *session_from_client(struct exec_session *s, struct str msg)
{
	unsigned char channel = (unsigned char)msg.p[0];

	if (channel == CHANNEL_CLOSE) {
		if (msg.n == 2 && msg.p[1] == CHANNEL_STDIN && s->ids[CHANNEL_STDIN])
			return spdy_write(s->spdy, s->ids[CHANNEL_STDIN], STR_EMPTY, true);
		return NULL;
	}
	if ((channel != CHANNEL_STDIN && channel != CHANNEL_RESIZE) || !s->ids[channel] ||
	    msg.n == 1)
		return NULL;
	return spdy_write(s->spdy, s->ids[channel], str_skip(msg, 1), false);
}

static struct err *session_read_client(void *arg)
{
	struct exec_session *s = arg;

	for (;;) {
		struct str msg;
		bool end;

		TRY(websocket_read(s->ws, &msg, &end));
		if (end)
			return err_new(ERR_CANCELED, "the client has gone");
		if (msg.n)
			TRY(session_from_client(s, msg));
	}
}

static bool session_channel(const struct exec_session *s, uint32_t id, enum channel *ret)
{
	for (int i = 0; i < CHANNEL_N_; i++) {
		if (id && s->ids[i] == id) {
			*ret = (enum channel)i;
			return true;
		}
	}
	return false;
}

static struct err *session_to_client(struct exec_session *s, enum channel channel, struct str data)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (channel == CHANNEL_ERROR)
		s->told = true;
	buf_addc(&b, (char)channel);
	buf_add(&b, data);
	return websocket_write(s->ws, buf_str(&b), false);
}

static struct err *session_copy(struct exec_session *s)
{
	while (s->open) {
		enum channel channel = CHANNEL_ERROR;
		struct spdy_event ev;

		TRY(spdy_read(s->spdy, &ev));
		if (ev.kind == SPDY_END)
			return NULL;
		if (!session_channel(s, ev.id, &channel))
			continue;
		if (ev.kind == SPDY_DATA && ev.data.n)
			TRY(session_to_client(s, channel, ev.data));
		if (ev.fin && channel != CHANNEL_STDIN && channel != CHANNEL_RESIZE)
			s->open--;
	}
	return NULL;
}

static struct err *session_read_kubelet(void *arg)
{
	struct exec_session *s = arg;
	struct err *e = session_copy(s);

	if (!s->told) {
		struct err *lost = err_new(ERR_INTERNAL,
					   "Internal error occurred: the connection to the "
					   "container was lost%s" STR_FMT,
					   e ? ": " : "", STR_ARG(e ? err_msg(e) : STR_EMPTY));
		struct str text = json_text(s->rq->arena, status_from_err(s->rq->arena, lost));

		err_ignore(lost, "told to the client");
		err_ignore(session_to_client(s, CHANNEL_ERROR, text), "it may have gone first");
	}
	err_ignore(e, "told to the client");
	TRY(websocket_close(s->ws, WS_NORMAL, STR_EMPTY));
	return err_new(ERR_CANCELED, "the session has ended");
}

static void session_run(struct exec_session *s, const struct pod_channels *ch)
{
	struct err *e = session_open(s, ch);
	struct fiber_group *g;

	if (e) {
		err_ignore(e, "the client sees the connection end");
		return;
	}
	g = fiber_group_new();
	fiber_group_add(g, "exec-client", session_read_client, s);
	fiber_group_add(g, "exec-kubelet", session_read_kubelet, s);
	err_ignore(fiber_group_join(g), "either side's end is the session's");
}

struct err *pod_websocket_exec(struct api_request *rq, struct http_client *kubelet,
			       struct str target, const struct pod_channels *ch)
{
	static const char *const ours[] = { PROTOCOL_EXEC, NULL };
	static const char *const theirs[] = { "v5.channel.k8s.io", "v4.channel.k8s.io", NULL };
	struct exec_session s = { .rq = rq };
	struct stream *st = NULL;
	struct err *e;

	TRY(kubelet_spdy(rq, kubelet, target, theirs, &st));
	if (!st)
		return NULL;
	s.spdy = spdy_new(st);
	e = websocket_accept(rq->x, ours, &s.ws);
	if (!e)
		session_run(&s, ch);
	websocket_free(s.ws);
	spdy_free(s.spdy);
	return e;
}

/* ---- port-forward */

struct err *pod_websocket_forward(struct api_request *rq, struct http_client *kubelet,
				  struct str target)
{
	static const char *const ours[] = { PROTOCOL_FORWARD, NULL };
	static const char *const theirs[] = { "portforward.k8s.io", NULL };
	struct stream *st = NULL;
	struct websocket *ws = NULL;
	struct err *e;

	TRY(kubelet_spdy(rq, kubelet, target, theirs, &st));
	if (!st)
		return NULL;
	e = websocket_accept(rq->x, ours, &ws);
	if (!e)
		err_ignore(websocket_relay(ws, st), "either side's end is the tunnel's");
	websocket_free(ws);
	stream_free(st);
	return e;
}
