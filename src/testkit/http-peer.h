/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A scripted HTTP/1.1 peer for tests: it accepts, expects requests that contain a text, sends given
 * bytes, hangs up, in the order of its steps, and fails the test on anything else. Run it in a
 * fiber.
 */

#include <sys/socket.h>

#include "base/buf.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "io/stream.h"
#include "testkit/test.h"

/* A peer that answers each connection with the next rows of a script. */
struct http_peer_step {
	const char *want; /* a part of the request; NULL: accept a new connection */
	const char *send; /* NULL: nothing, close */
};

struct http_peer {
	int fd;
	const struct http_peer_step *steps;
	unsigned connections;
};

static inline struct err *http_peer_read_request(struct stream *st, struct buf *b)
{
	buf_clear(b);
	while (str_find(buf_str(b), STR("\r\n\r\n")) == b->n) {
		char p[512];
		size_t n;

		TRY(stream_read(st, p, sizeof(p), &n));
		if (!n)
			return err_new(ERR_IO, "client closed");
		buf_add(b, str_make(p, n));
	}
	return NULL;
}

static inline struct err *http_peer_run(void *arg)
{
	struct http_peer *p = arg;
	_cleanup_(stream_freep) struct stream *st = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	for (const struct http_peer_step *s = p->steps; s->want || s->send; s++) {
		if (!s->want) {
			int fd;

			st = stream_free(st);
			if (strcmp(s->send, "hang up") == 0)
				continue;
			TRY(fiber_wait_fd(p->fd, IO_READABLE));
			fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			assert_true(fd >= 0);
			st = stream_from_fd(fd);
			p->connections++;
			continue;
		}
		TRY(http_peer_read_request(st, &b));
		if (!str_contains(buf_str(&b), str_from(s->want)))
			fail_msg("step %zu, request is %.*s", (size_t)(s - p->steps),
				 STR_ARG(buf_str(&b)));
		if (s->send)
			TRY(stream_write(st, str_from(s->send)));
		else
			st = stream_free(st);
	}
	return NULL;
}

#define HTTP_PEER_ACCEPT         \
	{                        \
		.send = "accept" \
	}
#define HTTP_PEER_HANGUP          \
	{                         \
		.send = "hang up" \
	}
