/* SPDX-License-Identifier: Apache-2.0 */

#include "io/grpc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/h2.h"
#include "io/loop.h"
#include "io/stream.h"

/*
 * A message on the wire is a flag byte (0: not compressed), its length in four bytes, and the
 * protobuf bytes. A call is one HTTP/2 stream; how it ended is in the trailers.
 */

#define GRPC_MAX_MESSAGE (16 * 1024 * 1024)
#define GRPC_PREFIX      5
#define GRPC_MAX_CONNS   64

struct grpc_client {
	char *address;
	struct h2_conn *conn;
	bool connecting;
	struct waitq connected;
	const char *header_name, *header_value; /* NULL: none */
};

struct grpc_call {
	struct h2_stream *stream;
	/* served calls */
	struct grpc_server *server;
	struct list link;
	struct fiber *fiber;
	bool responded;
};

struct grpc_server {
	struct loop *loop;
	int fd;
	struct io_source accept;
	const struct grpc_method *methods;
	void *ctx;
	struct list calls;
	struct h2_conn *conns[GRPC_MAX_CONNS];
};

/* statuses */

/* Indexed by grpc-status; the first row with an error's code is what a server answers. */
static const struct {
	enum err_code code;
	bool both_ways;
} grpc_codes[] = {
	[1] = { ERR_CANCELED, true },    [2] = { ERR_UNKNOWN, true },
	[3] = { ERR_BAD_REQUEST, true }, [4] = { ERR_TIMEOUT, true },
	[5] = { ERR_NOT_FOUND, true },   [6] = { ERR_ALREADY_EXISTS, true },
	[7] = { ERR_FORBIDDEN, true },   [8] = { ERR_TOO_MANY_REQUESTS, true },
	[9] = { ERR_CONFLICT, true },    [10] = { ERR_CONFLICT, false },
	[11] = { ERR_EXPIRED, true },    [12] = { ERR_METHOD_NOT_ALLOWED, true },
	[13] = { ERR_INTERNAL, true },   [14] = { ERR_UNAVAILABLE, true },
	[15] = { ERR_CORRUPT, true },    [16] = { ERR_UNAUTHORIZED, true },
};

static unsigned grpc_status_of(const struct err *e)
{
	for (unsigned i = 1; i < ARRAY_LEN(grpc_codes); i++)
		if (grpc_codes[i].both_ways && err_is(e, grpc_codes[i].code))
			return i;
	return err_is(e, ERR_INVALID) ? 3 : 13;
}

/* grpc-message is percent-encoded outside of printable ASCII. */
static struct str grpc_encode_message(struct arena *a, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *p = arena_alloc(a, s.n * 3 + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= ' ' && c <= '~' && c != '%') {
			p[n++] = (char)c;
			continue;
		}
		p[n++] = '%';
		p[n++] = hex[c >> 4];
		p[n++] = hex[c & 15];
	}
	return str_make(p, n);
}

static struct err *grpc_status_err(const struct http_headers *h, const char *method)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str status = http_headers_find(h, "grpc-status");
	struct str msg = http_url_decode(a, http_headers_find(h, "grpc-message"));
	uint64_t n;

	if (!status.p)
		return err_new(ERR_PROTOCOL, "%s: the response has no grpc-status", method);
	if (!str_to_u64(status, &n) || n >= ARRAY_LEN(grpc_codes))
		return err_new(ERR_PROTOCOL, "%s: unknown grpc-status '" STR_FMT "'", method,
			       STR_ARG(str_sub(status, 0, MIN(status.n, 32))));
	if (n == 0)
		return NULL;
	return err_new(grpc_codes[n].code, STR_FMT, STR_ARG(msg));
}

/* messages */

static void *grpc_arena_alloc(void *a, size_t size)
{
	return arena_alloc(a, size);
}

static void grpc_arena_free(void *a, void *p)
{
}

static struct err *grpc_unpack(struct arena *a, struct str bytes,
			       const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
	ProtobufCAllocator alloc = { grpc_arena_alloc, grpc_arena_free, a };

	*ret = protobuf_c_message_unpack(type, &alloc, bytes.n, (const uint8_t *)bytes.p);
	if (!*ret)
		return err_new(ERR_PROTOCOL, "malformed %s message", type->name);
	return NULL;
}

static struct err *grpc_send_message(struct h2_stream *s, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *p = NULL;

	if (n > GRPC_MAX_MESSAGE)
		return err_new(ERR_TOO_LARGE, "%s message of %zu bytes is over %d",
			       m->descriptor->name, n, GRPC_MAX_MESSAGE);
	p = mem_alloc(n + GRPC_PREFIX);
	p[0] = 0;
	p[1] = (uint8_t)(n >> 24);
	p[2] = (uint8_t)(n >> 16);
	p[3] = (uint8_t)(n >> 8);
	p[4] = (uint8_t)n;
	protobuf_c_message_pack(m, p + GRPC_PREFIX);
	return h2_stream_write(s, str_make((const char *)p, n + GRPC_PREFIX));
}

/* Exactly n bytes; *ret_end when the stream ended before the first one. */
static struct err *grpc_read_full(struct h2_stream *s, char *p, size_t n, bool *ret_end)
{
	size_t got = 0;

	*ret_end = false;
	while (got < n) {
		size_t k;

		TRY(h2_stream_read(s, p + got, n - got, &k));
		if (!k && got)
			return err_new(ERR_PROTOCOL, "gRPC message is cut short");
		if (!k) {
			*ret_end = true;
			return NULL;
		}
		got += k;
	}
	return NULL;
}

/* *ret is NULL at the end. */
static struct err *grpc_recv_message(struct h2_stream *s, struct arena *a,
				     const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
	_cleanup_free_ char *p = NULL;
	uint8_t prefix[GRPC_PREFIX];
	size_t n;
	bool end;

	*ret = NULL;
	TRY(grpc_read_full(s, (char *)prefix, sizeof(prefix), &end));
	if (end)
		return NULL;
	if (prefix[0])
		return err_new(ERR_PROTOCOL, "compressed gRPC message, which was not offered");
	n = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
	if (n > GRPC_MAX_MESSAGE)
		return err_new(ERR_TOO_LARGE, "gRPC message of %zu bytes is over %d", n,
			       GRPC_MAX_MESSAGE);
	p = mem_alloc(n + 1);
	if (n)
		TRY(grpc_read_full(s, p, n, &end));
	if (end)
		return err_new(ERR_PROTOCOL, "gRPC message is cut short");
	return grpc_unpack(a, str_make(p, n), type, ret);
}

/* client */

struct grpc_client *grpc_client_new(struct str address)
{
	struct grpc_client *c = mem_new(struct grpc_client);

	c->address = mem_strdup(address);
	waitq_init(&c->connected);
	return c;
}

struct grpc_client *grpc_client_free(struct grpc_client *c)
{
	if (!c)
		return NULL;
	h2_conn_close(c->conn);
	free(c->address);
	free(c);
	return NULL;
}

void grpc_client_set_header(struct grpc_client *c, const char *name, const char *value)
{
	c->header_name = name;
	c->header_value = value;
}

static struct err *grpc_client_connect(struct grpc_client *c)
{
	static const struct h2_opts opts = { .server = false };
	struct stream *st;
	struct err *e;

	while (c->connecting)
		TRY(waitq_wait(&c->connected));
	if (c->conn && h2_conn_usable(c->conn))
		return NULL;
	c->conn = h2_conn_release(c->conn);
	c->connecting = true;
	e = stream_connect(str_from(c->address), NULL, STR_EMPTY, &st);
	c->connecting = false;
	waitq_wake_all(&c->connected);
	if (e)
		return err_recode(e, err_is(e, ERR_TIMEOUT) || err_is(e, ERR_CANCELED)
					     ? err_code(e)
					     : ERR_UNAVAILABLE);
	c->conn = h2_conn_new(fiber_loop(), st, &opts);
	return NULL;
}

static struct err *grpc_call_open(struct grpc_client *c, const char *method,
				  const ProtobufCMessage *req, struct h2_stream **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_headers h = { 0 };
	bool local = str_has_prefix(str_from(c->address), STR("unix:"));

	TRY(grpc_client_connect(c));
	http_headers_add(a, &h, STR(":method"), STR("POST"));
	http_headers_add(a, &h, STR(":scheme"), STR("http"));
	http_headers_add(a, &h, STR(":path"), str_from(method));
	http_headers_add(a, &h, STR(":authority"), local ? STR("localhost") : str_from(c->address));
	http_headers_add(a, &h, STR("content-type"), STR("application/grpc"));
	http_headers_add(a, &h, STR("user-agent"), STR("isoplane"));
	http_headers_add(a, &h, STR("te"), STR("trailers"));
	if (c->header_name)
		http_headers_add(a, &h, str_from(c->header_name), str_from(c->header_value));
	TRY(h2_stream_open(c->conn, &h, false, ret));
	return req ? grpc_send_message(*ret, req) : NULL;
}

/* How the call ended: by the trailers, or the headers when there was nothing else. */
static struct err *grpc_call_status(struct h2_stream *s, const char *method)
{
	const struct http_headers *t = h2_stream_get_trailers(s);
	struct str http = http_headers_find(h2_stream_headers(s), ":status");

	if (!http_headers_find(t, "grpc-status").p)
		t = h2_stream_headers(s);
	if (!http_headers_find(t, "grpc-status").p && !str_eqz(http, "200"))
		return err_new(ERR_UNAVAILABLE, "%s: HTTP status " STR_FMT, method, STR_ARG(http));
	return grpc_status_err(t, method);
}

static struct err *grpc_lost(struct err *e)
{
	return e && err_is(e, ERR_IO) ? err_recode(e, ERR_UNAVAILABLE) : e;
}

static struct err *grpc_unary_on(struct h2_stream *s, struct arena *a, const char *method,
				 const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
	ProtobufCMessage *extra;

	TRY(h2_stream_wait_headers(s));
	TRY(grpc_recv_message(s, a, type, ret));
	if (*ret) {
		TRY(grpc_recv_message(s, a, type, &extra));
		if (extra)
			return err_new(ERR_PROTOCOL, "%s: more than one response", method);
	}
	TRY(grpc_call_status(s, method));
	if (!*ret)
		return err_new(ERR_PROTOCOL, "%s: no response message", method);
	return NULL;
}

struct err *grpc_unary(struct grpc_client *c, struct arena *a, const char *method,
		       const ProtobufCMessage *req, const ProtobufCMessageDescriptor *resp_type,
		       void *ret_resp)
{
	struct h2_stream *s = NULL;
	ProtobufCMessage *resp = NULL;
	struct err *e = grpc_call_open(c, method, req, &s);

	if (!e) {
		h2_stream_end(s);
		e = grpc_unary_on(s, a, method, resp_type, &resp);
	}
	h2_stream_free(s);
	if (e)
		return grpc_lost(e);
	*(void **)ret_resp = resp;
	return NULL;
}

struct err *grpc_stream_start(struct grpc_client *c, const char *method,
			      const ProtobufCMessage *req, struct grpc_call **ret)
{
	struct h2_stream *s = NULL;
	struct err *e = grpc_call_open(c, method, req, &s);

	if (e) {
		h2_stream_free(s);
		return grpc_lost(e);
	}
	*ret = mem_new(struct grpc_call);
	(*ret)->stream = s;
	return NULL;
}

struct err *grpc_stream_send(struct grpc_call *call, const ProtobufCMessage *m)
{
	return grpc_lost(grpc_send_message(call->stream, m));
}

struct err *grpc_stream_next(struct grpc_call *call, struct arena *a,
			     const ProtobufCMessageDescriptor *type, void *ret_resp)
{
	ProtobufCMessage *m = NULL;
	struct err *e = h2_stream_wait_headers(call->stream);

	if (!e)
		e = grpc_recv_message(call->stream, a, type, &m);
	if (!e && !m)
		e = grpc_call_status(call->stream, "stream");
	if (e)
		return grpc_lost(e);
	*(void **)ret_resp = m;
	return NULL;
}

struct grpc_call *grpc_call_free(struct grpc_call *call)
{
	if (!call)
		return NULL;
	h2_stream_free(call->stream);
	free(call);
	return NULL;
}

/* server */

static void grpc_respond_headers(struct grpc_call *call)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_headers h = { 0 };

	if (call->responded)
		return;
	call->responded = true;
	http_headers_add(a, &h, STR(":status"), STR("200"));
	http_headers_add(a, &h, STR("content-type"), STR("application/grpc"));
	h2_stream_respond(call->stream, &h);
}

static void grpc_finish(struct grpc_call *call, struct arena *a, const struct err *e)
{
	struct http_headers t = { 0 };

	grpc_respond_headers(call);
	http_headers_add(a, &t, STR("grpc-status"), arena_fmt(a, "%u", e ? grpc_status_of(e) : 0));
	if (e)
		http_headers_add(a, &t, STR("grpc-message"), grpc_encode_message(a, err_msg(e)));
	h2_stream_trailers(call->stream, &t);
}

static const struct grpc_method *grpc_find_method(const struct grpc_server *s, struct str path)
{
	for (const struct grpc_method *m = s->methods; m->path; m++)
		if (str_eqz(path, m->path))
			return m;
	return NULL;
}

static struct err *grpc_dispatch(struct grpc_call *call, struct arena *a)
{
	struct str path = http_headers_find(h2_stream_headers(call->stream), ":path");
	const struct grpc_method *m = call->server ? grpc_find_method(call->server, path) : NULL;
	ProtobufCMessage *req;
	ProtobufCMessage *resp = NULL;

	if (!m)
		return err_new(ERR_METHOD_NOT_ALLOWED, "unknown method " STR_FMT,
			       STR_ARG(str_sub(path, 0, MIN(path.n, 200))));
	TRY(grpc_recv_message(call->stream, a, m->req_type, &req));
	if (!req)
		return err_new(ERR_BAD_REQUEST, "no request message");
	if (!call->server)
		return err_new(ERR_CANCELED, "the server is gone");
	TRY(m->fn(call, a, req, &resp, call->server->ctx));
	return resp ? grpc_reply(call, resp) : NULL;
}

static struct err *grpc_call_run(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct grpc_call *call = arg;
	struct err *e = grpc_dispatch(call, a);

	if (call->server)
		grpc_finish(call, a, e);
	err_ignore(e, "sent to the client");
	h2_stream_free(call->stream);
	list_unlink(&call->link);
	fiber_unref(call->fiber);
	free(call);
	return NULL;
}

static void grpc_on_request(struct h2_stream *s, void *ctx)
{
	struct grpc_server *srv = ctx;
	struct grpc_call *call = mem_new(struct grpc_call);

	call->stream = s;
	call->server = srv;
	list_push_back(&srv->calls, &call->link);
	call->fiber = fiber_spawn(srv->loop, "grpc-call", grpc_call_run, call);
}

static void grpc_on_dead(struct h2_conn *c, void *ctx)
{
	struct grpc_server *s = ctx;

	for (size_t i = 0; i < GRPC_MAX_CONNS; i++)
		if (s->conns[i] == c)
			s->conns[i] = h2_conn_release(c);
}

static void grpc_on_accept(struct io_source *src, unsigned events)
{
	struct grpc_server *s = container_of(src, struct grpc_server, accept);
	const struct h2_opts opts = {
		.server = true, .on_request = grpc_on_request, .on_dead = grpc_on_dead, .ctx = s
	};
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (size_t i = 0; i < GRPC_MAX_CONNS; i++) {
		if (s->conns[i])
			continue;
		s->conns[i] = h2_conn_new(s->loop, stream_from_fd(fd), &opts);
		return;
	}
	close(fd);
}

struct grpc_server *grpc_server_new(struct loop *l, int listen_fd,
				    const struct grpc_method *methods, void *ctx)
{
	struct grpc_server *s = mem_new(struct grpc_server);

	s->loop = l;
	s->fd = listen_fd;
	s->methods = methods;
	s->ctx = ctx;
	list_init(&s->calls);
	s->accept.fn = grpc_on_accept;
	io_source_add(l, &s->accept, listen_fd, IO_READABLE);
	return s;
}

/* Calls still running are cancelled and find their server gone. */
struct grpc_server *grpc_server_free(struct grpc_server *s)
{
	struct grpc_call *call;
	struct grpc_call *tmp;

	if (!s)
		return NULL;
	io_source_del(&s->accept);
	close(s->fd);
	list_for_each_safe(call, tmp, &s->calls, link) {
		list_unlink(&call->link);
		call->server = NULL;
		fiber_cancel(call->fiber);
	}
	for (size_t i = 0; i < GRPC_MAX_CONNS; i++)
		h2_conn_close(s->conns[i]);
	free(s);
	return NULL;
}

struct err *grpc_reply(struct grpc_call *call, const ProtobufCMessage *m)
{
	grpc_respond_headers(call);
	return grpc_send_message(call->stream, m);
}
