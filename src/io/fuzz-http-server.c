/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/socket.h>

#include "base/err.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "testkit/fuzz.h"

/*
 * Whatever a client sends, the server neither crashes nor hangs. The first byte says in pieces
 * of which size the rest is sent. HTTP/2 is reached by its preface.
 */

struct input {
	struct str data;
	size_t piece;
};

const char *const fuzz_seeds[] = {
	"\x7fGET /api/v1/pods?watch=1&q=%41 HTTP/1.1\r\nHost: x\r\nAccept: a, b\r\n\r\n",
	"\x07POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
	"\x20POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
	"5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
	"\x7fGET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nraw",
	"\x7fHEAD http://a/b HTTP/1.1\r\nConnection: close\r\n\r\n",
	"\x7fPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	NULL,
};

static struct err *handle(struct http_exchange *x, void *ctx UNUSED)
{
	const struct http_request *r = http_request(x);
	struct str body;
	struct stream *s;

	if (str_eqz(r->path, "/up")) {
		TRY(http_respond_upgrade(x, &s));
		stream_free(s);
		return NULL;
	}
	TRY(http_read_body(x, 0, &body));
	http_set_header(x, "X-Echo", http_query_find(&r->query, "q"));
	http_respond(x, 200, "text/plain", body);
	return NULL;
}

static struct err *send_all(struct stream *s, const struct input *in)
{
	struct str rest = in->data;
	char sink[4096];
	size_t n = 1;

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
	const struct http_server_opts opts = { .handler = handle, .max_body = 4096 };
	struct http_server *server = http_server_new(fiber_loop(), &opts);
	struct stream *s;
	struct err *e;
	int fds[2];

	(void)fiber_limit_ms(10000);
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
