/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fuzz targets of the HTTP server share: a server, and one client that says something. */

#include <sys/socket.h>

#include "base/assert.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "io/stream.h"

struct fuzz_serve {
	struct err *(*handler)(struct http_exchange *x, void *ctx);
	struct str first; /* sent at once, before data */
	struct str data;
	size_t piece; /* bytes of data that are sent at a time */
};

static struct err *fuzz_serve_send(struct stream *s, const struct fuzz_serve *in)
{
	struct str rest = in->data;
	char sink[4096];
	size_t n = 1;

	if (in->first.n)
		TRY(stream_write(s, in->first));
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

static struct err *fuzz_serve_run(void *arg)
{
	const struct fuzz_serve *in = arg;
	const struct http_server_opts opts = { .handler = in->handler, .max_body = 4096 };
	struct http_server *server = http_server_new(fiber_loop(), &opts);
	struct stream *s;
	struct err *e;
	int fds[2];

	(void)fiber_limit_ms(100000);
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	s = stream_from_fd(fds[0]);
	http_server_serve(server, stream_from_fd(fds[1]));
	e = fuzz_serve_send(s, in);
	/* The server may hang up on it, but must not keep it waiting. */
	ASSERT(!e || !err_is(e, ERR_TIMEOUT));
	err_free(e);
	stream_free(s);
	http_server_free(server);
	return NULL;
}

/* in is used until it returns. */
static inline void fuzz_serve(struct fuzz_serve *in)
{
	err_ignore(fiber_main(fuzz_serve_run, in), "only crashes count");
}
