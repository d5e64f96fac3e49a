/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "io/fuzz-serve.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_serve in = { .handler = echo, .first = STR(HANDSHAKE) };

	if (!n)
		return 0;
	in.piece = (size_t)data[0] + 1;
	in.data = str_make((const char *)data + 1, n - 1);
	fuzz_serve(&in);
	return 0;
}
