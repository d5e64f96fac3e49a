/* SPDX-License-Identifier: Apache-2.0 */

#include "io/grpc.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/fiber.h"
#include "io/stream.h"
#include "test-grpc.pb-c.h"
#include "testkit/test.h"

/* A server and a client over a Unix socket in one loop. */

static struct err *ping_echo(struct grpc_call *call, struct arena *a, const void *req,
			     ProtobufCMessage **ret_resp, void *ctx)
{
	const Iotest__Ping *in = req;
	Iotest__Ping *out = arena_new_obj(a, Iotest__Ping);

	iotest__ping__init(out);
	out->text = mem_fmt("%s!", in->text);
	arena_defer(a, free, out->text);
	out->times = in->times + 1;
	out->filler = in->filler;
	*ret_resp = &out->base;
	return NULL;
}

static struct err *ping_fail(struct grpc_call *call, struct arena *a, const void *req,
			     ProtobufCMessage **ret_resp, void *ctx)
{
	return err_new(ERR_NOT_FOUND, "no '%s'\n100%% \xc3\xa9", ((const Iotest__Ping *)req)->text);
}

static struct err *ping_stream(struct grpc_call *call, struct arena *a, const void *req,
			       ProtobufCMessage **ret_resp, void *ctx)
{
	const Iotest__Ping *in = req;
	Iotest__Ping out = IOTEST__PING__INIT;

	for (int64_t i = 0; i < in->times; i++) {
		out.times = i;
		TRY(grpc_reply(call, &out.base));
		TRY(fiber_yield());
	}
	return str_eqz(str_from(in->text), "fail") ? err_new(ERR_UNAVAILABLE, "gone") : NULL;
}

static const struct grpc_method methods[] = {
	{ "/iotest.P/Echo", &iotest__ping__descriptor, ping_echo },
	{ "/iotest.P/Fail", &iotest__ping__descriptor, ping_fail },
	{ "/iotest.P/Stream", &iotest__ping__descriptor, ping_stream },
	{ 0 },
};

struct fixture {
	char dir[32];
	char *address;
	struct grpc_server *server;
	struct grpc_client *client;
	struct arena *arena;
};

static void fixture_serve(struct fixture *f)
{
	int fd;

	assert_no_err(stream_listen(str_from(f->address), &fd));
	f->server = grpc_server_new(fiber_loop(), fd, methods, NULL);
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ .dir = "/tmp/test-grpc-XXXXXX", .arena = arena_new() };
	assert_non_null(mkdtemp(f->dir));
	f->address = mem_fmt("unix:%s/s", f->dir);
	fixture_serve(f);
	f->client = grpc_client_new(str_from(f->address));
}

static struct err *fixture_fini(struct fixture *f)
{
	grpc_client_free(f->client);
	grpc_server_free(f->server);
	unlink(f->address + 5);
	rmdir(f->dir);
	free(f->address);
	arena_free(f->arena);
	return fiber_yield();
}

static struct err *call(struct fixture *f, const char *method, const Iotest__Ping *in,
			Iotest__Ping **out)
{
	return grpc_unary(f->client, f->arena, method, &in->base, &iotest__ping__descriptor, out);
}

FIBER_TEST(unary)
{
	Iotest__Ping in = IOTEST__PING__INIT;
	Iotest__Ping *out = NULL;
	struct fixture f;
	struct err *e;

	fixture_init(&f);
	in.text = (char[]){ "hello" };
	in.times = 41;
	in.filler.len = 3 << 20;
	in.filler.data = mem_zalloc(1, in.filler.len);
	in.filler.data[in.filler.len - 1] = 7;
	assert_no_err(call(&f, "/iotest.P/Echo", &in, &out));
	assert_string_equal(out->text, "hello!");
	assert_int_equal(out->times, 42);
	assert_int_equal(out->filler.len, in.filler.len);
	assert_int_equal(out->filler.data[in.filler.len - 1], 7);
	free(in.filler.data);
	in.filler.len = 0;
	in.filler.data = NULL;
	e = call(&f, "/iotest.P/Fail", &in, &out);
	assert_true(e && err_is(e, ERR_NOT_FOUND));
	assert_str(err_msg(e), "no 'hello'\n100% \xc3\xa9");
	err_free(e);
	assert_err(call(&f, "/iotest.P/None", &in, &out), ERR_METHOD_NOT_ALLOWED);
	return fixture_fini(&f);
}

FIBER_TEST(streaming)
{
	Iotest__Ping in = IOTEST__PING__INIT;
	Iotest__Ping *out = NULL;
	struct grpc_call *c;
	struct fixture f;

	fixture_init(&f);
	in.times = 5;
	in.text = (char[]){ "ok" };
	assert_no_err(grpc_stream_start(f.client, "/iotest.P/Stream", &in.base, &c));
	for (int i = 0; i < 5; i++) {
		assert_no_err(grpc_stream_next(c, f.arena, &iotest__ping__descriptor, &out));
		assert_non_null(out);
		assert_int_equal(out->times, i);
	}
	assert_no_err(grpc_stream_next(c, f.arena, &iotest__ping__descriptor, &out));
	assert_null(out);
	grpc_call_free(c);
	in.text = (char[]){ "fail" };
	in.times = 0;
	assert_no_err(grpc_stream_start(f.client, "/iotest.P/Stream", &in.base, &c));
	assert_err(grpc_stream_next(c, f.arena, &iotest__ping__descriptor, &out), ERR_UNAVAILABLE);
	grpc_call_free(c);
	return fixture_fini(&f);
}

FIBER_TEST(reconnects)
{
	Iotest__Ping in = IOTEST__PING__INIT;
	Iotest__Ping *out = NULL;
	struct fixture f;
	struct err *e = NULL;

	fixture_init(&f);
	in.text = (char[]){ "a" };
	assert_no_err(call(&f, "/iotest.P/Echo", &in, &out));
	f.server = grpc_server_free(f.server);
	assert_err(call(&f, "/iotest.P/Echo", &in, &out), ERR_UNAVAILABLE);
	fixture_serve(&f);
	for (int i = 0; i < 100; i++) {
		err_ignore(e, "the old connection may be noticed late");
		e = call(&f, "/iotest.P/Echo", &in, &out);
		if (!e)
			break;
		TRY(fiber_yield());
	}
	assert_no_err(e);
	return fixture_fini(&f);
}

TEST_MAIN(T(unary), T(streaming), T(reconnects))
