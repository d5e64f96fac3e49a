/* SPDX-License-Identifier: Apache-2.0 */

#include "io/websocket.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "testkit/test.h"

/* Our client against our server: what one side writes, the other reads, masked and unmasked. */

struct fixture {
	struct http_server *server;
	struct http_client *client;
	struct arena *arena;
	struct str closed_with;
};

/* /echo sends messages back; /close closes at once; /relay echoes bytes through a stream pair. */
static struct err *serve(struct http_exchange *x, void *ctx)
{
	static const char *const protocols[] = { "v2.test", "v1.test", NULL };
	struct str path = http_request(x)->path;
	struct websocket *ws;
	struct err *e = NULL;

	TRY(websocket_accept(x, protocols, &ws));
	if (str_eqz(path, "/close"))
		e = websocket_close(ws, 1001, STR("bye"));
	while (!e && !str_eqz(path, "/close")) {
		struct str msg;
		bool end;

		e = websocket_read(ws, &msg, &end);
		if (e || end)
			break;
		e = websocket_write(ws, msg, false);
	}
	websocket_free(ws);
	err_ignore(e, "the client may go first");
	return NULL;
}

static void fixture_init(struct fixture *f)
{
	const struct http_server_opts opts = { .handler = serve, .ctx = f };
	struct http_client_opts client = { 0 };
	int fd;

	*f = (struct fixture){ .arena = arena_new() };
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &fd));
	client.address = arena_fmt(f->arena, "127.0.0.1:%d", stream_listen_port(fd));
	f->server = http_server_new(fiber_loop(), &opts);
	http_server_listen(f->server, fd);
	f->client = http_client_new(&client);
}

static struct err *fixture_fini(struct fixture *f)
{
	http_client_free(f->client);
	http_server_drain(f->server, 1000);
	http_server_free(f->server);
	arena_free(f->arena);
	return fiber_yield();
}

static struct err *connect_to(struct fixture *f, const char *target, const char *const *protocols,
			      struct http_client_response *resp, struct websocket **ret)
{
	const struct http_client_request req = { .target = str_from(target) };

	return websocket_connect(f->client, f->arena, &req, protocols, resp, ret);
}

FIBER_TEST(echo)
{
	static const char *const protocols[] = { "v1.test", "v2.test", NULL };
	static const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, 300000 };
	struct http_client_response resp;
	struct websocket *ws;
	struct fixture f;
	struct str msg;
	bool end;

	fixture_init(&f);
	assert_no_err(connect_to(&f, "/echo", protocols, &resp, &ws));
	assert_non_null(ws);
	assert_str(websocket_protocol(ws), "v2.test");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *p = mem_alloc(sizes[i] + 1);

		memset(p, 'a' + (int)i, sizes[i]);
		assert_no_err(websocket_write(ws, str_make(p, sizes[i]), i % 2));
		assert_no_err(websocket_read(ws, &msg, &end));
		assert_false(end);
		assert_int_equal(msg.n, sizes[i]);
		assert_true(!sizes[i] || memcmp(msg.p, p, sizes[i]) == 0);
		free(p);
	}
	/* several at once stay apart */
	assert_no_err(websocket_write(ws, STR("one"), false));
	assert_no_err(websocket_write(ws, STR("two"), false));
	assert_no_err(websocket_read(ws, &msg, &end));
	assert_str(msg, "one");
	assert_no_err(websocket_read(ws, &msg, &end));
	assert_str(msg, "two");
	assert_no_err(websocket_close(ws, 1000, STR("done")));
	assert_no_err(websocket_read(ws, &msg, &end));
	assert_true(end);
	websocket_free(ws);
	return fixture_fini(&f);
}

FIBER_TEST(refusals_and_close)
{
	static const char *const unknown[] = { "v9.test", NULL };
	static const char *const known[] = { "v1.test", NULL };
	struct http_client_response resp;
	struct websocket *ws;
	struct fixture f;
	struct str msg;
	bool end;

	fixture_init(&f);
	assert_no_err(connect_to(&f, "/echo", unknown, &resp, &ws));
	assert_null(ws);
	assert_int_equal(resp.status, 400);
	assert_no_err(connect_to(&f, "/close", known, &resp, &ws));
	assert_non_null(ws);
	assert_no_err(websocket_read(ws, &msg, &end));
	assert_true(end);
	websocket_free(ws);
	return fixture_fini(&f);
}

TEST_MAIN(T(echo), T(refusals_and_close))
