/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http-server.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/pki.h"
#include "io/tls.h"
#include "testkit/test.h"

/*
 * Raw HTTP/1.1 over socket pairs, HTTP/2 by our client over a Unix socket. The handler below
 * offers one path for each way to answer.
 */

#define BIG (3 * 1024 * 1024)

static struct http_server *server;
static int canceled, closed, writable, handled;
static struct waitq changed;
static struct http_push *open_push;

static void note(int *counter)
{
	(*counter)++;
	waitq_wake_all(&changed);
}

/* Waits for a counter with the test's deadline. */
static struct err *wait_for(const int *counter, int n)
{
	while (*counter < n)
		TRY(waitq_wait(&changed));
	return NULL;
}

/* the handler */

static void on_closed(struct http_push *p)
{
	assert_ptr_equal(p, open_push);
	free(p);
	open_push = NULL;
	note(&closed);
}

static void on_writable(struct http_push *p)
{
	note(&writable);
}

static struct err *serve_push(struct http_exchange *x)
{
	open_push = mem_new(struct http_push);
	open_push->closed = on_closed;
	open_push->writable = on_writable;
	http_respond_push(x, 200, "text/plain", open_push, 1000);
	note(&handled);
	return NULL;
}

/* The handler goes on after it: it waits for room, or for the client to leave. */
static struct err *serve_push_slowly(struct http_exchange *x)
{
	_cleanup_free_ char *p = mem_zalloc(1, BIG);

	TRY(serve_push(x));
	http_push_write(open_push, str_make(p, BIG));
	TRY(wait_for(&writable, 1));
	http_push_end(open_push);
	return NULL;
}

static struct err *serve_stream(struct http_exchange *x)
{
	http_respond_stream(x, 200, "text/plain");
	TRY(http_body_write(x, STR("one ")));
	TRY(fiber_yield());
	TRY(http_body_write(x, STR("two")));
	return http_body_end(x);
}

static struct err *serve_big(struct http_exchange *x)
{
	char *p = mem_alloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		p[i] = (char)('a' + i % 26);
	http_respond(x, 200, "text/plain", str_make(p, BIG));
	memset(p, 0, BIG); /* it must have been sent or copied */
	free(p);
	return NULL;
}

static struct err *serve_upgrade(struct http_exchange *x)
{
	struct stream *s;
	char buf[100];
	size_t n = 1;
	struct err *e = NULL;

	http_set_header(x, "Connection", STR("Upgrade"));
	http_set_header(x, "Upgrade", STR("echo"));
	TRY(http_respond_upgrade(x, &s));
	while (!e && n) {
		e = stream_read(s, buf, sizeof(buf), &n);
		if (!e)
			e = stream_write(s, str_make(buf, n));
	}
	stream_free(s);
	note(&closed);
	return e;
}

static struct err *serve_wait(struct http_exchange *x)
{
	struct err *e;

	note(&handled);
	e = fiber_sleep_ms(60000);
	note(&canceled);
	return e;
}

static struct err *serve_echo(struct http_exchange *x)
{
	struct str body;

	TRY(http_read_body(x, 0, &body));
	http_respond(x, 200, "text/plain", body);
	return NULL;
}

static struct err *serve_pieces(struct http_exchange *x)
{
	size_t total = 0;
	struct str piece;

	do {
		TRY(http_read_body_some(x, &piece));
		total += piece.n;
		TRY(fiber_yield());
	} while (piece.n);
	http_respond(x, 200, "text/plain", arena_fmt(http_request(x)->arena, "%zu", total));
	return NULL;
}

static struct err *serve_request(struct http_exchange *x)
{
	const struct http_request *r = http_request(x);

	http_add_header(x, "X-Two", STR("a"));
	http_add_header(x, "X-Two", STR("b\r\nX-Evil: 1"));
	http_respond(x, 200, "text/plain",
		     arena_fmt(r->arena, STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT,
			       STR_ARG(r->method), STR_ARG(r->path), STR_ARG(r->raw_query),
			       STR_ARG(http_query_find(&r->query, "q")),
			       STR_ARG(http_headers_find(&r->headers, "X-Test"))));
	return NULL;
}

static struct err *serve_error(struct http_exchange *x)
{
	return err_new(ERR_CONFLICT, "no");
}

static struct err *serve_late_error(struct http_exchange *x)
{
	http_respond_stream(x, 200, "text/plain");
	TRY(http_body_write(x, STR("half")));
	return err_new(ERR_INTERNAL, "broke");
}

static struct err *serve_nothing(struct http_exchange *x)
{
	return NULL;
}

static struct err *serve_no_content(struct http_exchange *x)
{
	http_respond(x, 204, NULL, STR_EMPTY);
	return NULL;
}

static struct err *handle(struct http_exchange *x, void *ctx)
{
	static const struct {
		const char *path;
		struct err *(*fn)(struct http_exchange *x);
	} routes[] = {
		{ "/push", serve_push },       { "/push-slowly", serve_push_slowly },
		{ "/stream", serve_stream },   { "/big", serve_big },
		{ "/upgrade", serve_upgrade }, { "/wait", serve_wait },
		{ "/echo", serve_echo },       { "/pieces", serve_pieces },
		{ "/error", serve_error },     { "/late", serve_late_error },
		{ "/nothing", serve_nothing }, { "/204", serve_no_content },
	};

	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		if (str_eqz(http_request(x)->path, routes[i].path))
			return routes[i].fn(x);
	return serve_request(x);
}

static void begin(int64_t timeout_ms)
{
	const struct http_server_opts opts = { .handler = handle,
					       .max_body = 4000,
					       .header_timeout_ms = timeout_ms,
					       .idle_timeout_ms = timeout_ms };

	waitq_init(&changed);
	canceled = closed = writable = handled = 0;
	server = http_server_new(fiber_loop(), &opts);
}

static void end(void)
{
	server = http_server_free(server);
	assert_null(open_push);
}

/* A client's end of a connection to the server. */
static struct stream *dial(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	http_server_serve(server, stream_from_fd(fds[1]));
	return stream_from_fd(fds[0]);
}

/* Reads until the response in b ends with `suffix`, or to the end of the stream. */
static struct err *read_until(struct stream *s, struct buf *b, const char *suffix)
{
	char chunk[4096];
	size_t n;

	while (!suffix || !str_has_suffix(buf_str(b), str_from(suffix))) {
		TRY(stream_read(s, chunk, sizeof(chunk), &n));
		if (!n)
			break;
		buf_add(b, str_make(chunk, n));
	}
	return NULL;
}

/* HTTP/1.1 */

#define CLOSE "Connection: close\r\n\r\n"

FIBER_TEST(h1_table)
{
	static const struct {
		const char *in;
		const char *out[4]; /* parts that appear in this order */
		const char *not_out;
	} rows[] = {
		{ "GET /a?q=%41&r HTTP/1.1\r\nHost: x\r\nx-test:  v \r\n" CLOSE,
		  { "HTTP/1.1 200 OK\r\n", "X-Two: a\r\nX-Two: b  X-Evil: 1\r\n",
		    "Content-Length: ", "\r\n\r\nGET|/a|q=%41&r|A|v" } },
		{ "GET http://host:1/a?b HTTP/1.1\r\n" CLOSE, { "GET|/a|b||" } },
		{ "GET /204 HTTP/1.1\r\n" CLOSE, { "204 No Content\r\n" }, "Content-Length" },
		{ "HEAD /a HTTP/1.1\r\n" CLOSE, { "200 OK", "Content-Length: 10" }, "HEAD|" },
		{ "HEAD /stream HTTP/1.1\r\n" CLOSE, { "200 OK" }, "one" },
		{ "GET /stream HTTP/1.1\r\n" CLOSE,
		  { "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "one ",
		    "two\r\n0\r\n\r\n" } },
		{ "GET /stream HTTP/1.0\r\n\r\n", { "200 OK", "\r\n\r\none two" }, "chunked" },
		{ "GET /a HTTP/1.0\r\n\r\n", { "Connection: close" } },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
		  { "200 OK", "\r\n\r\nhello" } },
		{ "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
		  "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
		  { "200 OK", "\r\n\r\nhello world" } },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
		  "Connection: close\r\n\r\nhi",
		  { "200 OK", "\r\n\r\nhi" } },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 4001\r\n" CLOSE,
		  { "413 ", "Connection: close", "limit is 4000" } },
		{ "GET /error HTTP/1.1\r\n" CLOSE, { "409 Conflict", "\r\n\r\nno" } },
		{ "GET /nothing HTTP/1.1\r\n" CLOSE, { "500 Internal Server Error" } },
		{ "GET /late HTTP/1.1\r\n" CLOSE, { "" }, "0\r\n\r\n" },
		/* what must not be served */
		{ "nonsense\r\n\r\n", { "400 Bad Request", "Connection: close" } },
		{ "GET / HTTP/3.0\r\n\r\n", { "HTTP/1.1 " }, "200" },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		  { "400 " } },
		{ "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		  { "400 " } },
		{ "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", { "400 " } },
		{ "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", { "400 " } },
		/* two requests at once, served in order */
		{ "GET /1 HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
		  "GET /3 HTTP/1.1\r\n" CLOSE,
		  { "GET|/1", "\r\n\r\nhi", "GET|/3" } },
		/* an unwanted upgrade is ignored */
		{ "GET /1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
		  "GET /2 HTTP/1.1\r\n" CLOSE,
		  { "GET|/1", "GET|/2" } },
	};

	const struct mono deadline = fiber_deadline();
	struct err *e;

	begin(0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(stream_freep) struct stream *s = dial();
		_cleanup_buf_ struct buf b = { 0 };
		struct str rest;

		assert_no_err(stream_write(s, str_from(rows[i].in)));
		(void)fiber_limit_ms(1000);
		e = read_until(s, &b, NULL);
		if (e)
			fail_msg("row %zu: %.*s after '%.*s'", i, STR_ARG(err_msg(e)),
				 STR_ARG(buf_str(&b)));
		fiber_restore_deadline(deadline);
		rest = buf_str(&b);
		for (size_t j = 0; j < ARRAY_LEN(rows[i].out) && rows[i].out[j]; j++) {
			const size_t at = str_find(rest, str_from(rows[i].out[j]));

			if (at == rest.n && rows[i].out[j][0])
				fail_msg("row %zu: no '%s' in '%.*s'", i, rows[i].out[j],
					 STR_ARG(buf_str(&b)));
			rest = str_skip(rest, at);
		}
		if (rows[i].not_out && str_contains(buf_str(&b), str_from(rows[i].not_out)))
			fail_msg("row %zu: '%s' in '%.*s'", i, rows[i].not_out,
				 STR_ARG(buf_str(&b)));
	}
	end();
	return NULL;
}

/* Whatever way the bytes are cut, the answer is the same. */
FIBER_TEST(h1_byte_by_byte)
{
	static const char in[] =
		"POST /echo?a=b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
		"X-Test: some value\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
		"GET /x HTTP/1.1\r\nX-Test: v1\r\nConnection: close\r\n\r\n";
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	for (size_t i = 0; i < sizeof(in) - 1; i++) {
		TRY(stream_write(s, str_make(in + i, 1)));
		TRY(fiber_yield());
		TRY(fiber_yield());
	}
	TRY(read_until(s, &b, NULL));
	assert_true(str_contains(buf_str(&b), STR("\r\n\r\nabcde")));
	assert_true(str_has_suffix(buf_str(&b), STR("GET|/x||"
						    "|v1")));
	s = stream_free(s);
	end();
	return NULL;
}

static struct err *expect_head_refused(struct str head, const char *status)
{
	_cleanup_(stream_freep) struct stream *s = dial();
	_cleanup_buf_ struct buf b = { 0 };
	struct err *e = stream_write(s, head);

	err_ignore(e, "the server may stop reading");
	TRY(read_until(s, &b, NULL));
	assert_true(str_has_prefix(buf_str(&b), str_from(status)));
	return NULL;
}

FIBER_TEST(h1_large_heads)
{
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	buf_addz(&b, "GET / HTTP/1.1\r\nX: ");
	buf_reserve(&b, 70000);
	memset(b.p + b.n, 'x', 70000);
	b.n += 70000;
	TRY(expect_head_refused(buf_str(&b), "HTTP/1.1 431 "));
	buf_clear(&b);
	buf_addz(&b, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 201; i++)
		buf_addf(&b, "X%d: y\r\n", i);
	buf_addz(&b, "\r\n");
	TRY(expect_head_refused(buf_str(&b), "HTTP/1.1 431 "));
	end();
	return NULL;
}

FIBER_TEST(h1_keep_alive_and_limits)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	char big[5000];

	begin(0);
	s = dial();
	for (int i = 0; i < 3; i++) {
		TRY(stream_write(s, STR("GET /x HTTP/1.1\r\n\r\n")));
		buf_clear(&b);
		TRY(read_until(s, &b, "GET|/x|||"));
		assert_false(str_contains(buf_str(&b), STR("Connection:")));
	}
	/* a body nobody reads is skipped, and the connection kept */
	memset(big, 'x', sizeof(big));
	TRY(stream_write(s, STR("POST /x HTTP/1.1\r\nContent-Length: 5000\r\n\r\n")));
	TRY(stream_write(s, str_make(big, sizeof(big))));
	TRY(read_until(s, &b, "POST|/x|||"));
	TRY(stream_write(s, STR("GET /y HTTP/1.1\r\n\r\n")));
	TRY(read_until(s, &b, "GET|/y|||"));
	/* chunks that grow over the limit */
	TRY(stream_write(s,
			 STR("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n")));
	TRY(stream_write(s, str_make(big, sizeof(big))));
	buf_clear(&b);
	TRY(read_until(s, &b, "limit is 4000"));
	assert_true(str_has_prefix(buf_str(&b), STR("HTTP/1.1 413 ")));
	s = stream_free(s);
	end();
	return NULL;
}

/* The framing of a body breaks when its request was answered already. */
FIBER_TEST(h1_bad_body_after_the_answer)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")));
	TRY(read_until(s, &b, "POST|/x|||"));
	TRY(stream_write(s, STR("nonsense\r\n")));
	buf_clear(&b);
	TRY(read_until(s, &b, NULL));
	assert_int_equal(b.n, 0);
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(h1_continue)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("POST /echo HTTP/1.1\r\nContent-Length: 2\r\n"
				"Expect: 100-continue\r\n\r\n")));
	TRY(read_until(s, &b, "HTTP/1.1 100 Continue\r\n\r\n"));
	TRY(stream_write(s, STR("hi")));
	TRY(read_until(s, &b, "\r\n\r\nhi"));
	/* refused without the body: the connection must end */
	TRY(stream_write(s, STR("POST /error HTTP/1.1\r\nContent-Length: 2\r\n"
				"Expect: 100-continue\r\n\r\n")));
	buf_clear(&b);
	TRY(read_until(s, &b, NULL));
	assert_true(str_has_prefix(buf_str(&b), STR("HTTP/1.1 409 ")));
	assert_true(str_contains(buf_str(&b), STR("Connection: close")));
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(h1_large_body_out)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	struct str body;

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /big HTTP/1.1\r\n" CLOSE)));
	TRY(read_until(s, &b, NULL));
	body = str_skip(buf_str(&b), str_find(buf_str(&b), STR("\r\n\r\n")) + 4);
	assert_int_equal(body.n, BIG);
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(body.p[i], 'a' + i % 26);
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(h1_large_body_in_pieces)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_free_ char *p = mem_zalloc(BIG, 1);
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	buf_addf(&b, "POST /pieces HTTP/1.1\r\nContent-Length: %d\r\n\r\n", BIG);
	TRY(stream_write(s, buf_str(&b)));
	TRY(stream_write(s, str_make(p, BIG)));
	buf_clear(&b);
	TRY(read_until(s, &b, "3145728"));
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(h1_upgrade)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	/* bytes that came with the request are not lost */
	TRY(stream_write(s, STR("POST /upgrade HTTP/1.1\r\nConnection: Upgrade\r\n"
				"Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\nearly")));
	TRY(read_until(s, &b, "\r\n\r\nearly"));
	assert_true(str_has_prefix(buf_str(&b), STR("HTTP/1.1 101 Switching Protocols\r\n")));
	assert_true(str_contains(buf_str(&b), STR("Upgrade: echo\r\n")));
	TRY(stream_write(s, STR("late")));
	TRY(read_until(s, &b, "earlylate"));
	s = stream_free(s);
	TRY(wait_for(&closed, 1));
	/* one that is still open when the server ends */
	s = dial();
	TRY(stream_write(s, STR("GET /upgrade HTTP/1.1\r\nConnection: Upgrade\r\n"
				"Upgrade: x\r\n\r\n")));
	TRY(read_until(s, &b, "\r\n\r\n"));
	end();
	assert_int_equal(closed, 2);
	s = stream_free(s);
	return NULL;
}

FIBER_TEST(h1_client_goes_away)
{
	struct stream *s;

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /wait HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 1));
	stream_free(s);
	TRY(wait_for(&canceled, 1));
	/* in the middle of a body */
	s = dial();
	TRY(stream_write(s, STR("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nxx")));
	TRY(fiber_sleep_ms(1));
	stream_free(s);
	/* the server's end, while a handler waits */
	s = dial();
	TRY(stream_write(s, STR("GET /wait HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 2));
	end();
	assert_int_equal(canceled, 2);
	stream_free(s);
	return NULL;
}

FIBER_TEST(h1_timeouts)
{
	static const char *const parts[] = { "", "GET /",
					     "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\n\r\n" };

	begin(20);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		_cleanup_(stream_freep) struct stream *s = dial();
		_cleanup_buf_ struct buf b = { 0 };
		const struct mono start = mono_now();

		TRY(stream_write(s, str_from(parts[i])));
		TRY(read_until(s, &b, NULL)); /* the server ends it */
		assert_true(mono_ms_since(start) >= 15);
	}
	end();
	return NULL;
}

/* event-driven responses */

FIBER_TEST(push_writes_and_ends)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	struct blob *blob = blob_from(STR("blob "));

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 1));
	TRY(read_until(s, &b, "\r\n\r\n")); /* the head comes at once */
	assert_true(http_push_write(open_push, STR("text ")));
	assert_true(http_push_blob(open_push, blob));
	assert_int_equal(blob->refs, 2);
	assert_int_equal(http_push_queued(open_push), 10);
	TRY(read_until(s, &b, "a\r\ntext blob \r\n")); /* one chunk */
	assert_int_equal(blob->refs, 1);
	assert_true(http_push_write(open_push, STR("end")));
	http_push_end(open_push);
	TRY(wait_for(&closed, 1));
	TRY(read_until(s, &b, "3\r\nend\r\n0\r\n\r\n"));
	/* the connection lives on */
	TRY(stream_write(s, STR("GET /x HTTP/1.1\r\n\r\n")));
	TRY(read_until(s, &b, "GET|/x|||"));
	blob_unref(blob);
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(push_back_pressure)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_free_ char *p = mem_zalloc(1, BIG);
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 1));
	memset(p, 'p', BIG);
	assert_false(http_push_write(open_push, str_make(p, BIG)));
	TRY(fiber_sleep_ms(5));
	assert_int_equal(writable, 0); /* nobody reads */
	assert_true(http_push_queued(open_push) > BIG / 2);
	while (!writable) {
		char chunk[4096];
		size_t n;

		TRY(stream_read(s, chunk, sizeof(chunk), &n));
		assert_true(n > 0);
	}
	assert_true(http_push_queued(open_push) <= 500);
	http_push_end(open_push);
	TRY(read_until(s, &b, "0\r\n\r\n"));
	s = stream_free(s);
	end();
	return NULL;
}

FIBER_TEST(push_from_a_handler_that_goes_on)
{
	struct stream *s;
	_cleanup_buf_ struct buf b = { 0 };

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /push-slowly HTTP/1.1\r\n\r\n")));
	TRY(read_until(s, &b, "\r\n0\r\n\r\n"));
	TRY(wait_for(&closed, 1));
	stream_free(s);
	/* the client leaves while the handler waits */
	writable = 0;
	s = dial();
	TRY(stream_write(s, STR("GET /push-slowly HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 2));
	stream_free(s);
	TRY(wait_for(&closed, 2));
	end();
	return NULL;
}

FIBER_TEST(push_ends_with_its_client)
{
	struct stream *s;

	begin(0);
	s = dial();
	TRY(stream_write(s, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 1));
	stream_free(s);
	TRY(wait_for(&closed, 1));
	/* aborted by us */
	s = dial();
	TRY(stream_write(s, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 2));
	http_push_abort(open_push);
	TRY(wait_for(&closed, 2));
	stream_free(s);
	/* ended by the server */
	s = dial();
	TRY(stream_write(s, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 3));
	end();
	assert_int_equal(closed, 3);
	stream_free(s);
	return NULL;
}

/* draining */

static struct err *drains(void *arg)
{
	http_server_drain(server, 5000);
	note(&closed);
	return NULL;
}

FIBER_TEST(drain_lets_exchanges_finish)
{
	struct stream *idle, *busy, *push;
	_cleanup_buf_ struct buf b = { 0 };
	struct fiber *f;

	begin(0);
	idle = dial();
	busy = dial();
	TRY(stream_write(idle, STR("GET /x HTTP/1.1\r\n\r\n")));
	TRY(read_until(idle, &b, "GET|/x|||"));
	TRY(stream_write(busy, STR("POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\n")));
	TRY(fiber_sleep_ms(2));
	push = dial();
	TRY(stream_write(push, STR("GET /push HTTP/1.1\r\n\r\n")));
	TRY(wait_for(&handled, 1));
	http_push_write(open_push, STR("last"));
	f = fiber_spawn(fiber_loop(), "drain", drains, NULL);
	buf_clear(&b);
	TRY(read_until(push, &b, NULL));
	assert_true(str_has_suffix(buf_str(&b), STR("4\r\nlast\r\n0\r\n\r\n")));
	TRY(wait_for(&closed, 1));
	buf_clear(&b);
	TRY(read_until(idle, &b, NULL));
	assert_int_equal(b.n, 0);
	assert_int_equal(closed, 1);
	TRY(stream_write(busy, STR("hi")));
	TRY(read_until(busy, &b, NULL));
	assert_true(str_has_suffix(buf_str(&b), STR("\r\n\r\nhi")));
	assert_true(str_contains(buf_str(&b), STR("Connection: close")));
	TRY(fiber_join(f));
	fiber_unref(f);
	stream_free(idle);
	stream_free(busy);
	stream_free(push);
	end();
	return NULL;
}

/* HTTP/2 */

static struct http_client *unix_client(bool h2)
{
	char name[64];
	struct http_client_opts opts = { .http2_prior_knowledge = h2 };
	static int n;
	int fd;

	snprintf(name, sizeof(name), "unix:@isoplane-test-http-server-%d-%d", (int)getpid(), n++);
	opts.address = str_from(name);
	assert_no_err(stream_listen(opts.address, &fd));
	http_server_listen(server, fd);
	return http_client_new(&opts);
}

static struct http_client *h2_client(void)
{
	return unix_client(true);
}

FIBER_TEST(h2_table)
{
	static const struct {
		const char *method, *target, *body;
		int status;
		const char *out;
	} rows[] = {
		{ "GET", "/a?q=%41", NULL, 200, "GET|/a|q=%41|A|" },
		{ "POST", "/echo", "hello", 200, "hello" },
		{ "POST", "/echo", "", 200, "" },
		{ "PUT", "/pieces", "12345", 200, "5" },
		{ "GET", "/stream", NULL, 200, "one two" },
		{ "GET", "/error", NULL, 409, "no" },
		{ "GET", "/204", NULL, 204, "" },
		{ "POST", "/upgrade", NULL, 400, "an upgrade needs HTTP/1.1" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client *c;

	begin(0);
	c = h2_client();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct http_client_request req = {
			.method = rows[i].method,
			.target = str_from(rows[i].target),
			.body = str_from(rows[i].body),
			.has_body = rows[i].body,
		};
		struct http_client_response resp;

		assert_no_err(http_client_do(c, a, &req, BIG, &resp));
		if (resp.status != rows[i].status || !str_eqz(resp.body, rows[i].out))
			fail_msg("row %zu: %d '%.*s'", i, resp.status, STR_ARG(resp.body));
		if (rows[i].status == 200 && strcmp(rows[i].method, "GET") == 0)
			assert_str(http_headers_find(&resp.headers, "content-type"), "text/plain");
	}
	http_client_free(c);
	end();
	return NULL;
}

FIBER_TEST(h2_idle_connections_end)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_request req = { .target = STR("/x") };
	struct http_client_response resp;
	struct http_client *c;

	begin(5);
	c = h2_client();
	for (int i = 0; i < 5; i++) {
		TRY(http_client_do(c, a, &req, BIG, &resp));
		assert_int_equal(resp.status, 200);
		TRY(fiber_sleep_ms(3 * i));
	}
	http_client_free(c);
	end();
	return NULL;
}

FIBER_TEST(h2_large_bodies)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_request req = { .target = STR("/big") };
	struct http_client_response resp;
	struct http_client *c;

	begin(0);
	c = h2_client();
	TRY(http_client_do(c, a, &req, BIG, &resp));
	assert_int_equal(resp.body.n, BIG);
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(resp.body.p[i], 'a' + i % 26);
	req.method = "POST";
	req.target = STR("/pieces");
	req.body = resp.body;
	TRY(http_client_do(c, a, &req, BIG, &resp));
	assert_str(resp.body, "3145728");
	req.target = STR("/echo");
	req.body = str_sub(req.body, 0, 4001);
	TRY(http_client_do(c, a, &req, BIG, &resp));
	assert_int_equal(resp.status, 413);
	http_client_free(c);
	end();
	return NULL;
}

struct h2_call {
	struct http_client *c;
	const char *target;
	int status;
};

static struct err *h2_calls(void *arg)
{
	struct h2_call *call = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_request req = { .target = str_from(call->target) };
	struct http_client_response resp;

	TRY(http_client_do(call->c, a, &req, BIG, &resp));
	call->status = resp.status;
	return NULL;
}

FIBER_TEST(h2_reset_cancels_the_handler)
{
	struct h2_call waits = { .target = "/wait" }, other = { .target = "/x" };
	struct fiber *f;

	begin(0);
	waits.c = other.c = h2_client();
	f = fiber_spawn(fiber_loop(), "call", h2_calls, &waits);
	TRY(wait_for(&handled, 1));
	fiber_cancel(f);
	assert_err(fiber_join(f), ERR_CANCELED);
	fiber_unref(f);
	TRY(wait_for(&canceled, 1));
	/* its neighbours do not mind */
	TRY(h2_calls(&other));
	assert_int_equal(other.status, 200);
	http_client_free(waits.c);
	end();
	return NULL;
}

FIBER_TEST(h2_streams_side_by_side)
{
	struct fiber_group *g = fiber_group_new();
	struct h2_call calls[100];
	struct http_client *c;

	begin(0);
	c = h2_client();
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		calls[i] = (struct h2_call){ .c = c, .target = i % 10 ? "/stream" : "/big" };
		fiber_group_add(g, "call", h2_calls, &calls[i]);
	}
	TRY(fiber_group_join(g));
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		assert_int_equal(calls[i].status, 200);
	http_client_free(c);
	end();
	return NULL;
}

FIBER_TEST(h2_push)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_request req = { .target = STR("/push") };
	struct http_client_response resp;
	struct http_client *c;
	struct http_call *call;
	char buf[100];
	size_t n;

	begin(0);
	c = h2_client();
	TRY(http_client_start(c, a, &req, &resp, &call));
	assert_int_equal(resp.status, 200);
	assert_true(http_push_write(open_push, STR("event")));
	TRY(http_call_read(call, buf, sizeof(buf), &n));
	assert_str(str_make(buf, n), "event");
	http_push_end(open_push);
	TRY(http_call_read(call, buf, sizeof(buf), &n));
	assert_int_equal(n, 0);
	http_call_free(call);
	TRY(wait_for(&closed, 1));
	/* the client leaves */
	TRY(http_client_start(c, a, &req, &resp, &call));
	http_call_free(call);
	TRY(wait_for(&closed, 2));
	/* the server resets it */
	TRY(http_client_start(c, a, &req, &resp, &call));
	http_push_abort(open_push);
	TRY(wait_for(&closed, 3));
	assert_err(http_call_read(call, buf, sizeof(buf), &n), ERR_IO);
	http_call_free(call);
	http_client_free(c);
	end();
	return NULL;
}

/* TLS: the same engine over records */

static struct tls_config *make_tls(struct arena *a, bool no_h2, struct tls_config **ret_client)
{
	static const struct str ips[] = { STR_INIT("127.0.0.1") };
	const struct pki_cert_opts o = {
		.common_name = STR("server"), .server = true, .ips = ips, .n_ips = 1
	};
	struct tls_opts tls = { .no_h2 = no_h2 };
	struct tls_config *ret;
	struct pki_pair ca, pair;

	assert_no_err(pki_make_ca(a, STR("ca"), 0, &ca));
	assert_no_err(pki_issue(a, &ca, &o, &pair));
	tls.ca_pem = ca.cert_pem;
	assert_no_err(tls_config_new(&tls, ret_client));
	tls = (struct tls_opts){ .server = true,
				 .cert_pem = pair.cert_pem,
				 .key_pem = pair.key_pem };
	assert_no_err(tls_config_new(&tls, &ret));
	return ret;
}

/* Returns the address it listens at. */
static struct str begin_tls(struct arena *a, bool no_h2, struct tls_config **ret_client)
{
	struct tls_config *tls = make_tls(a, no_h2, ret_client);
	int fd;

	begin(0);
	http_server_set_tls(server, tls);
	tls_config_unref(tls);
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &fd));
	http_server_listen(server, fd);
	return arena_fmt(a, "127.0.0.1:%d", stream_listen_port(fd));
}

static struct err *tls_round(bool no_h2)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_request req = { .target = STR("/big") };
	struct http_client_opts opts = { 0 };
	struct http_client_response resp;
	struct tls_config *tls;
	struct http_client *c;

	opts.address = begin_tls(a, no_h2, &tls);
	opts.tls = tls;
	c = http_client_new(&opts);
	TRY(http_client_do(c, a, &req, BIG, &resp));
	assert_int_equal(resp.body.n, BIG);
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(resp.body.p[i], 'a' + i % 26);
	req.method = "POST";
	req.target = STR("/pieces");
	req.body = resp.body;
	TRY(http_client_do(c, a, &req, BIG, &resp));
	assert_str(resp.body, "3145728");
	req = (struct http_client_request){ .target = STR("/x") };
	for (int i = 0; i < 20; i++) {
		TRY(http_client_do(c, a, &req, BIG, &resp));
		assert_str(resp.body, "GET|/x|||");
	}
	http_client_free(c);
	tls_config_unref(tls);
	end();
	return NULL;
}

FIBER_TEST(tls_h1)
{
	return tls_round(true);
}

FIBER_TEST(tls_h2)
{
	return tls_round(false);
}

FIBER_TEST(tls_slow_reader_and_upgrade)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct tls_config *tls;
	struct str address = begin_tls(a, true, &tls);
	char chunk[1000];
	struct stream *s;
	size_t n;

	TRY(stream_connect(address, tls, STR_EMPTY, &s));
	TRY(stream_write(s, STR("GET /big HTTP/1.1\r\n\r\n")));
	/* so slowly that the socket fills up again and again */
	while (b.n < BIG) {
		TRY(stream_read(s, chunk, sizeof(chunk), &n));
		assert_true(n > 0);
		buf_add(&b, str_make(chunk, n));
		TRY(fiber_yield());
	}
	TRY(read_until(s, &b, "ijklmn"));
	TRY(stream_write(s, STR("GET /upgrade HTTP/1.1\r\nConnection: Upgrade\r\n"
				"Upgrade: x\r\n\r\nearly")));
	buf_clear(&b);
	TRY(read_until(s, &b, "\r\n\r\nearly"));
	stream_free(s);
	TRY(wait_for(&closed, 1));
	tls_config_unref(tls);
	end();
	return NULL;
}

/* requests whose body comes in pieces */

struct test_source {
	struct http_body_source src;
	size_t left; /* pieces of PIECE bytes */
	bool breaks; /* in the end */
};

#define PIECE 10000

static struct err *test_source_next(struct http_body_source *src, struct str *ret)
{
	static const char zeros[PIECE];
	struct test_source *t = container_of(src, struct test_source, src);

	TRY(fiber_yield());
	*ret = str_make(zeros, t->left ? PIECE : 0);
	if (!t->left && t->breaks)
		return err_new(ERR_CONFLICT, "no more");
	t->left -= t->left > 0;
	return NULL;
}

static struct err *send_pieces(struct http_client *c, struct arena *a, struct test_source *t,
			       uint64_t length, struct http_client_response *ret)
{
	const struct http_client_request req = {
		.method = "PUT",
		.target = STR("/pieces"),
		.body = STR("begin"),
		.more = &t->src,
		.length = length,
	};

	t->src = (struct http_body_source){ .next = test_source_next };
	return http_client_do(c, a, &req, BIG, ret);
}

static void check_pieces(bool h2)
{
	static const struct {
		size_t pieces;
		bool known;
		const char *out;
	} rows[] = {
		{ 0, true, "5" },      { 0, false, "5" },        { 3, true, "30005" },
		{ 3, false, "30005" }, { 100, true, "1000005" }, { 100, false, "1000005" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_response resp;
	struct http_client *c;

	begin(0);
	c = unix_client(h2);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct test_source t = { .left = rows[i].pieces };
		struct test_source broken = { .left = rows[i].pieces, .breaks = true };
		uint64_t n = rows[i].known ? 5 + rows[i].pieces * PIECE : HTTP_LENGTH_UNKNOWN;

		assert_no_err(send_pieces(c, a, &t, n, &resp));
		if (resp.status != 200 || !str_eqz(resp.body, rows[i].out))
			fail_msg("row %zu: %d '%.*s'", i, resp.status, STR_ARG(resp.body));
		/* what fails on our side is our error, and no answer is waited for */
		assert_err(send_pieces(c, a, &broken, rows[i].known ? n + PIECE : n, &resp),
			   ERR_CONFLICT);
	}
	http_client_free(c);
	end();
}

FIBER_TEST(client_body_in_pieces)
{
	check_pieces(false);
	check_pieces(true);
	return NULL;
}

TEST_MAIN(T(h1_table), T(h1_byte_by_byte), T(h1_large_heads), T(h1_keep_alive_and_limits),
	  T(h1_bad_body_after_the_answer), T(h1_continue), T(h1_large_body_out),
	  T(h1_large_body_in_pieces), T(h1_upgrade), T(h1_client_goes_away), T(h1_timeouts),
	  T(push_writes_and_ends), T(push_back_pressure), T(push_from_a_handler_that_goes_on),
	  T(push_ends_with_its_client), T(drain_lets_exchanges_finish), T(h2_table),
	  T(h2_idle_connections_end), T(h2_large_bodies), T(h2_reset_cancels_the_handler),
	  T(h2_streams_side_by_side), T(h2_push), T(tls_h1), T(tls_h2),
	  T(tls_slow_reader_and_upgrade), T(client_body_in_pieces))
