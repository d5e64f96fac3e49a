/* SPDX-License-Identifier: Apache-2.0 */

#include "io/http-client.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/h2.h"
#include "io/loop.h"
#include "testkit/http-peer.h"
#include "testkit/test.h"

struct fixture {
	struct http_peer peer;
	struct fiber *fiber;
	struct http_client *client;
	struct arena *arena;
	struct http_client_response resp;
};

static void fixture_init(struct fixture *f, const struct http_peer_step *steps)
{
	struct http_client_opts opts = { 0 };

	*f = (struct fixture){ .arena = arena_new() };
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &f->peer.fd));
	f->peer.steps = steps;
	opts.address = arena_fmt(f->arena, "127.0.0.1:%d", stream_listen_port(f->peer.fd));
	f->client = http_client_new(&opts);
	f->fiber = fiber_spawn(fiber_loop(), "peer", http_peer_run, &f->peer);
}

static void fixture_fini(struct fixture *f)
{
	http_client_free(f->client);
	assert_no_err(fiber_join(f->fiber));
	fiber_unref(f->fiber);
	close(f->peer.fd);
	arena_free(f->arena);
}

static struct err *fixture_do(struct fixture *f, const char *method, const char *target,
			      const char *body)
{
	const struct http_client_request req = { .method = method,
						 .target = str_from(target),
						 .body = str_from(body),
						 .has_body = body };

	return http_client_do(f->client, f->arena, &req, 1000, &f->resp);
}

/* The peer closes when it comes to its next step, so the body ends by that. */
static struct err *fixture_read_to_close(struct fixture *f, const char *target)
{
	TRY(fixture_do(f, NULL, target, NULL));
	assert_str(f->resp.body, "to the end");
	return NULL;
}

FIBER_TEST(keep_alive)
{
	static const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET /a HTTP/1.1\r\nHost: 127.0.0.1:",
		  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: "
		  "b\r\n\r\nhi" },
		{ "POST /b", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" },
		{ "Content-Length: 0", "HTTP/1.1 204 No Content\r\n\r\n" },
		{ "HEAD /d", "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" },
		{ "GET /e", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end" },
		HTTP_PEER_HANGUP,
		HTTP_PEER_ACCEPT,
		{ "GET /f", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
		{ 0 },
	};
	struct fixture f;

	fixture_init(&f, steps);
	assert_no_err(fixture_do(&f, NULL, "/a", NULL));
	assert_int_equal(f.resp.status, 200);
	assert_str(f.resp.body, "hi");
	assert_str(http_headers_find(&f.resp.headers, "x-a"), "b");
	assert_no_err(fixture_do(&f, "POST", "/b", "{}"));
	assert_int_equal(f.resp.status, 404);
	assert_str(f.resp.body, "abcde");
	assert_no_err(fixture_do(&f, "POST", "/c", ""));
	assert_int_equal(f.resp.status, 204);
	assert_no_err(fixture_do(&f, "HEAD", "/d", NULL));
	assert_str(f.resp.body, "");
	assert_int_equal(f.peer.connections, 1);
	assert_no_err(fixture_read_to_close(&f, "/e"));
	assert_no_err(fixture_do(&f, NULL, "/f", NULL));
	assert_int_equal(f.peer.connections, 2);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(limits_and_malformed)
{
	static const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET /big", "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" },
		HTTP_PEER_ACCEPT,
		{ "GET /bad", "HTTP/1.1 twohundred\r\n\r\n" },
		HTTP_PEER_ACCEPT,
		{ "GET /cut", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab" },
		HTTP_PEER_HANGUP,
		HTTP_PEER_ACCEPT,
		{ "GET /up", "HTTP/1.1 101 Switching Protocols\r\n\r\n" },
		{ 0 },
	};
	struct fixture f;

	fixture_init(&f, steps);
	assert_err(fixture_do(&f, NULL, "/big", NULL), ERR_TOO_LARGE);
	assert_err(fixture_do(&f, NULL, "/bad", NULL), ERR_PROTOCOL);
	assert_err(fixture_do(&f, NULL, "/cut", NULL), ERR_IO);
	assert_err(fixture_do(&f, NULL, "/up", NULL), ERR_PROTOCOL);
	assert_err(fixture_do(&f, NULL, "/a b", NULL), ERR_BAD_REQUEST);
	assert_err(fixture_do(&f, NULL, "/a\r\nX: y", NULL), ERR_BAD_REQUEST);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(stale_connection_is_retried)
{
	static const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET /1", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
		{ "GET /2", NULL },
		HTTP_PEER_ACCEPT,
		{ "GET /2", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" },
		{ "POST /3", NULL },
		{ 0 },
	};
	struct fixture f;

	fixture_init(&f, steps);
	assert_no_err(fixture_do(&f, NULL, "/1", NULL));
	assert_no_err(fixture_do(&f, NULL, "/2", NULL));
	assert_str(f.resp.body, "x");
	/* it may have been executed: not ours to repeat */
	assert_err(fixture_do(&f, "POST", "/3", "x"), ERR_IO);
	assert_int_equal(f.peer.connections, 2);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(upgrade)
{
	static const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "Upgrade: echo", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
				   "Upgrade: echo\r\n\r\nearly" },
		HTTP_PEER_ACCEPT,
		{ "Upgrade: echo", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno" },
		{ 0 },
	};
	struct fixture f;
	struct http_client_request req = { .target = STR("/x") };
	struct stream *st;
	char p[5];

	fixture_init(&f, steps);
	http_headers_add(f.arena, &req.headers, STR("Connection"), STR("Upgrade"));
	http_headers_add(f.arena, &req.headers, STR("Upgrade"), STR("echo"));
	assert_no_err(http_client_upgrade(f.client, f.arena, &req, &f.resp, &st));
	assert_int_equal(f.resp.status, 101);
	assert_non_null(st);
	assert_no_err(stream_read_full(st, p, 5));
	assert_memory_equal(p, "early", 5);
	stream_free(st);
	assert_no_err(http_client_upgrade(f.client, f.arena, &req, &f.resp, &st));
	assert_null(st);
	assert_int_equal(f.resp.status, 403);
	assert_str(f.resp.body, "no");
	fixture_fini(&f);
	return NULL;
}

/* HTTP/2 by prior knowledge, against our own server side */

struct h2_peer {
	int fd;
	struct h2_conn *conn;
	unsigned requests;
};

static struct err *h2_peer_serve(void *arg)
{
	struct h2_stream *s = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_headers h = { 0 };
	char *p = mem_alloc(65536);
	struct err *e = NULL;
	size_t total = 0;
	size_t n;

	while (!(e = h2_stream_read(s, p, 65536, &n)) && n)
		total += n;
	if (!e) {
		http_headers_add(a, &h, STR(":status"), STR("200"));
		http_headers_add(a, &h, STR("x-got"), arena_fmt(a, "%zu", total));
		h2_stream_respond(s, &h);
		memset(p, 'y', 65536);
		for (int i = 0; i < 16 && !e; i++)
			e = h2_stream_write(s, str_make(p, 65536));
		h2_stream_end(s);
	}
	free(p);
	h2_stream_free(s);
	err_ignore(e, "the client may go away first");
	return NULL;
}

static void h2_peer_on_request(struct h2_stream *s, void *ctx)
{
	struct h2_peer *p = ctx;

	p->requests++;
	fiber_unref(fiber_spawn(fiber_loop(), "serve", h2_peer_serve, s));
}

static struct err *h2_peer_run(void *arg)
{
	struct h2_peer *p = arg;
	const struct h2_opts opts = { .server = true, .on_request = h2_peer_on_request, .ctx = p };

	TRY(fiber_wait_fd(p->fd, IO_READABLE));
	p->conn = h2_conn_new(
		fiber_loop(),
		stream_from_fd(accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)), &opts);
	return NULL;
}

struct h2_get {
	struct http_client *client;
	const char *body;
};

static struct err *h2_get_run(void *arg)
{
	const struct h2_get *g = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_request req = { .method = "POST",
						 .target = STR("/x"),
						 .body = str_from(g->body) };
	struct http_client_response resp;

	TRY(http_client_do(g->client, a, &req, 2 << 20, &resp));
	assert_int_equal(resp.status, 200);
	assert_int_equal(resp.body.n, 1 << 20);
	assert_str(http_headers_find(&resp.headers, "x-got"),
		   arena_fmt(a, "%zu", strlen(g->body)).p);
	return NULL;
}

FIBER_TEST(http2_shares_a_connection)
{
	struct h2_peer p = { 0 };
	char *big = mem_zalloc(1, 700001);
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_opts opts = { .http2_prior_knowledge = true };
	struct fiber_group *g = fiber_group_new();
	struct h2_get gets[8];
	struct fiber *f;
	struct http_client *c;
	struct http_client_response resp;
	struct http_call *call;

	memset(big, 'z', 700000);
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &p.fd));
	f = fiber_spawn(fiber_loop(), "peer", h2_peer_run, &p);
	opts.address = arena_fmt(a, "127.0.0.1:%d", stream_listen_port(p.fd));
	c = http_client_new(&opts);
	for (size_t i = 0; i < ARRAY_LEN(gets); i++) {
		gets[i] = (struct h2_get){ c, i % 2 ? big : "" };
		fiber_group_add(g, "get", h2_get_run, &gets[i]);
	}
	assert_no_err(fiber_group_join(g));
	assert_int_equal(p.requests, ARRAY_LEN(gets));
	/* one abandoned before its end leaves the connection usable */
	assert_no_err(http_client_start(c, a, &(struct http_client_request){ .target = STR("/q") },
					&resp, &call));
	http_call_free(call);
	gets[0].body = "abc";
	assert_no_err(h2_get_run(&gets[0]));
	/* the server goes away */
	assert_no_err(http_client_start(c, a, &(struct http_client_request){ .target = STR("/r") },
					&resp, &call));
	h2_conn_close(p.conn);
	close(p.fd);
	{
		char *buf = mem_alloc(65536);
		struct err *e = NULL;
		size_t n = 1;

		while (!e && n)
			e = http_call_read(call, buf, 65536, &n);
		assert_err(e, ERR_IO);
		free(buf);
	}
	http_call_free(call);
	http_client_free(c);
	assert_no_err(fiber_join(f));
	fiber_unref(f);
	free(big);
	return fiber_yield();
}

TEST_MAIN(T(keep_alive), T(limits_and_malformed), T(stale_connection_is_retried), T(upgrade),
	  T(http2_shares_a_connection))
