/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

#include "base/err.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "io/websocket.h"
#include "testkit/fuzz.h"

/*
 * Whatever frames a client sends after the handshake, the server's side neither crashes nor hangs.
 * The first byte says in pieces of which size the rest is sent.
 */

#define HANDSHAKE                                                                      \
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"   \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" \
	"Sec-WebSocket-Protocol: a, v5.channel.k8s.io\r\n\r\n"

struct input {
	struct str data;
	size_t piece;
};

const char *const fuzz_seeds[] = {
	"\x7f\x82\x85\x01\x01\x01\x01hello\x81\x81\x01\x01\x01\x01x",
	"\x03\x02\x83\x01\x01\x01\x01"
	"abc\x89\x82\x01\x01\x01\x01pp\x80\x81\x01\x01\x01\x01y",
	"\x7f\x88\x82\x01\x01\x01\x01\x02\xe9\x82\xfe\x01\x01\x01\x01\x01\x01 long",
	"\x7f\x82\xff\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01 huge",
	NULL,
};

static struct err *echo(struct http_exchange *x, void *ctx UNUSED)
{
	static const char *const protocols[] = { "v5.channel.k8s.io", NULL };
	struct websocket *ws;
	struct err *e = NULL;
	bool end = false;

	TRY(websocket_accept(x, protocols, &ws));
	while (!e && !end) {
		struct str msg;

		e = websocket_read(ws, &msg, &end);
		if (!e && !end)
			e = websocket_write(ws, msg, false);
	}
	websocket_free(ws);
	return e;
}

static struct err *send_all(struct stream *s, const struct input *in)
{
	struct str rest = in->data;
	char sink[4096];
	size_t n = 1;

	TRY(stream_write(s, STR(HANDSHAKE)));
	while (rest.n) {
		const size_t part = MIN(rest.n, in->piece);

		TRY(stream_write(s, str_sub(rest, 0, part)));
		rest = str_skip(rest, part);
		TRY(fiber_yield());
	}
	TRY(stream_shutdown(s));
	while (n)
		TRY(stream_read(s, sink, sizeof(sink), &n));
	return NULL;
}

static struct err *run(void *arg)
{
	const struct http_server_opts opts = { .handler = echo, .max_body = 4096 };
	struct http_server *server = http_server_new(fiber_loop(), &opts);
	struct stream *s;
	struct err *e;
	int fds[2];

	(void)fiber_limit_ms(100000);
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	s = stream_from_fd(fds[0]);
	http_server_serve(server, stream_from_fd(fds[1]));
	e = send_all(s, arg);
	/* The server may hang up on it, but must not keep it waiting. */
	ASSERT(!e || !err_is(e, ERR_TIMEOUT));
	err_free(e);
	stream_free(s);
	http_server_free(server);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in;

	if (!n)
		return 0;
	in.piece = (size_t)data[0] + 1;
	in.data = str_make((const char *)data + 1, n - 1);
	err_ignore(fiber_main(run, &in), "only crashes count");
	return 0;
}
