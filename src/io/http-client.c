/* SPDX-License-Identifier: Apache-2.0 */

#include "io/http-client.h"

#include <llhttp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/h2.h"
#include "io/tls.h"

/*
 * A client keeps a pool for one address: idle HTTP/1.1 connections, each used by one call at a
 * time, or HTTP/2 connections that calls share. Which it is becomes known with the first
 * connection (ALPN); until then callers wait for that one instead of opening one each.
 */

#define H1_READ_SIZE     (16 * 1024)
#define H2_MAX_CONNS     8
#define UPGRADE_MAX_BODY (64 * 1024)

struct http_client {
	char *address, *host, *server_name;
	struct tls_config *tls, *tls_h1;
	bool prior_knowledge;
	unsigned max_idle, n_idle;
	struct list idle;
	struct h2_conn *h2[H2_MAX_CONNS];
	bool h1_only;    /* the last connection did not choose HTTP/2 */
	bool connecting; /* one that may turn out to be HTTP/2 */
	struct waitq connected;
};

struct h1_conn {
	struct list link;
	struct stream *st;
	llhttp_t parser;
	char *in;
	size_t in_pos, in_n;
	bool reused;
	/* the response being read */
	struct arena *arena;
	struct http_client_response *resp;
	struct buf name, value, body;
	size_t body_off, header_bytes;
	bool head, want_upgrade, informational;
	bool got_any, headers_done, done, keep_alive, too_large;
};

struct http_call {
	struct http_client *client;
	struct h1_conn *h1;
	struct h2_stream *h2;
	bool ended;
};

/* HTTP/1.1: parser callbacks */

static int h1_on_span(struct h1_conn *c, struct buf *b, const char *p, size_t n)
{
	c->header_bytes += n;
	if (c->header_bytes > HTTP_MAX_HEADER_BYTES) {
		c->too_large = true;
		return HPE_USER;
	}
	if (!c->headers_done)
		buf_add(b, str_make(p, n));
	return 0;
}

static int h1_on_field(llhttp_t *p, const char *at, size_t n)
{
	struct h1_conn *c = p->data;

	return h1_on_span(c, &c->name, at, n);
}

static int h1_on_value(llhttp_t *p, const char *at, size_t n)
{
	struct h1_conn *c = p->data;

	return h1_on_span(c, &c->value, at, n);
}

static int h1_on_value_complete(llhttp_t *p)
{
	struct h1_conn *c = p->data;

	if (c->headers_done)
		return 0;
	if (c->resp->headers.n >= HTTP_MAX_HEADERS) {
		c->too_large = true;
		return HPE_USER;
	}
	http_headers_add(c->arena, &c->resp->headers, arena_str(c->arena, buf_str(&c->name)),
			 arena_str(c->arena, buf_str(&c->value)));
	buf_clear(&c->name);
	buf_clear(&c->value);
	return 0;
}

static int h1_on_headers_complete(llhttp_t *p)
{
	struct h1_conn *c = p->data;
	int status = llhttp_get_status_code(p);

	c->informational = status >= 100 && status < 200 && status != 101;
	if (c->informational) {
		c->resp->headers = (struct http_headers){ 0 };
		return 0;
	}
	c->headers_done = true;
	c->resp->status = status;
	if (status == 101)
		return c->want_upgrade ? 2 : HPE_USER;
	return c->head ? 1 : 0;
}

static int h1_on_body(llhttp_t *p, const char *at, size_t n)
{
	struct h1_conn *c = p->data;

	buf_add(&c->body, str_make(at, n));
	return 0;
}

static int h1_on_message_complete(llhttp_t *p)
{
	struct h1_conn *c = p->data;

	if (c->informational)
		return 0;
	c->done = true;
	c->keep_alive = llhttp_should_keep_alive(p);
	return HPE_PAUSED;
}

static const llhttp_settings_t *h1_settings(void)
{
	static llhttp_settings_t s;

	if (!s.on_message_complete) {
		llhttp_settings_init(&s);
		s.on_header_field = h1_on_field;
		s.on_header_value = h1_on_value;
		s.on_header_value_complete = h1_on_value_complete;
		s.on_headers_complete = h1_on_headers_complete;
		s.on_body = h1_on_body;
		s.on_message_complete = h1_on_message_complete;
	}
	return &s;
}

/* HTTP/1.1: connections */

static struct h1_conn *h1_conn_new(struct stream *st)
{
	struct h1_conn *c = mem_new(struct h1_conn);

	c->st = st;
	c->in = mem_alloc(H1_READ_SIZE);
	return c;
}

static struct h1_conn *h1_conn_free(struct h1_conn *c)
{
	if (!c)
		return NULL;
	list_unlink(&c->link);
	stream_free(c->st);
	buf_fini(&c->name);
	buf_fini(&c->value);
	buf_fini(&c->body);
	free(c->in);
	free(c);
	return NULL;
}

static void h1_conn_begin(struct h1_conn *c, struct arena *a, const struct http_client_request *req,
			  struct http_client_response *resp)
{
	llhttp_init(&c->parser, HTTP_RESPONSE, h1_settings());
	c->parser.data = c;
	c->arena = a;
	c->resp = resp;
	c->head = req->method && strcmp(req->method, "HEAD") == 0;
	c->header_bytes = 0;
	c->want_upgrade = c->informational = false;
	c->got_any = c->headers_done = c->done = c->keep_alive = c->too_large = false;
	buf_clear(&c->name);
	buf_clear(&c->value);
	buf_clear(&c->body);
	c->body_off = 0;
	*resp = (struct http_client_response){ 0 };
}

static struct err *h1_parse_error(struct h1_conn *c, llhttp_errno_t rc)
{
	if (c->too_large)
		return err_new(ERR_TOO_LARGE, "response headers are over %d bytes or %d fields",
			       HTTP_MAX_HEADER_BYTES, HTTP_MAX_HEADERS);
	return err_new(ERR_PROTOCOL, "malformed HTTP response: %s", llhttp_errno_name(rc));
}

static struct err *h1_eof(struct h1_conn *c)
{
	llhttp_errno_t rc;

	if (!c->got_any)
		return err_new(ERR_IO, "connection closed before the response");
	rc = llhttp_finish(&c->parser);
	if ((rc == HPE_OK || rc == HPE_PAUSED) && c->done) {
		c->keep_alive = false;
		return NULL;
	}
	return err_new(ERR_IO, "connection closed in the middle of a response");
}

/* Reads and parses one piece. */
static struct err *h1_feed(struct h1_conn *c)
{
	llhttp_errno_t rc;

	if (c->in_pos == c->in_n) {
		size_t n;

		c->in_pos = c->in_n = 0;
		TRY(stream_read(c->st, c->in, H1_READ_SIZE, &n));
		if (!n)
			return h1_eof(c);
		c->in_n = n;
	}
	c->got_any = true;
	rc = llhttp_execute(&c->parser, c->in + c->in_pos, c->in_n - c->in_pos);
	if (rc == HPE_OK) {
		c->in_pos = c->in_n;
		return NULL;
	}
	if (rc != HPE_PAUSED && rc != HPE_PAUSED_UPGRADE)
		return h1_parse_error(c, rc);
	c->in_pos = (size_t)(llhttp_get_error_pos(&c->parser) - c->in);
	return NULL;
}

static struct err *h1_read_headers(struct h1_conn *c)
{
	while (!c->headers_done)
		TRY(h1_feed(c));
	return NULL;
}

static struct err *h1_read(struct h1_conn *c, void *p, size_t n, size_t *ret_n)
{
	while (c->body_off == c->body.n) {
		if (c->done) {
			*ret_n = 0;
			return NULL;
		}
		buf_clear(&c->body);
		c->body_off = 0;
		TRY(h1_feed(c));
	}
	n = MIN(n, c->body.n - c->body_off);
	memcpy(p, c->body.p + c->body_off, n);
	c->body_off += n;
	*ret_n = n;
	return NULL;
}

static bool http_value_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			return false;
	return true;
}

static struct err *http_check_request(const struct http_client_request *req)
{
	if (!http_value_clean(req->target) || str_find_char(req->target, ' ', 0) < req->target.n)
		return err_new(ERR_BAD_REQUEST, "request target has control characters or spaces");
	for (size_t i = 0; i < req->headers.n; i++)
		if (!http_value_clean(req->headers.v[i].name) ||
		    !http_value_clean(req->headers.v[i].value))
			return err_new(ERR_BAD_REQUEST, "request header has control characters");
	return NULL;
}

static const char *http_method(const struct http_client_request *req)
{
	return req->method ? req->method : "GET";
}

static struct err *http_source_next(struct http_body_source *src, struct str *ret)
{
	struct err *e = src->next(src, ret);

	src->failed = e;
	return e;
}

static struct err *h1_send_chunk(struct h1_conn *c, struct str data)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "%zx\r\n", data.n);
	buf_add(&b, data);
	buf_addz(&b, "\r\n");
	return stream_write(c->st, buf_str(&b));
}

/* The body, its beginning included, whose end is not known or not here. */
static struct err *h1_send_more(struct h1_conn *c, const struct http_client_request *req)
{
	bool chunked = req->length == HTTP_LENGTH_UNKNOWN;
	struct str piece = req->body;

	if (!piece.n)
		TRY(http_source_next(req->more, &piece));
	while (piece.n) {
		TRY(chunked ? h1_send_chunk(c, piece) : stream_write(c->st, piece));
		TRY(http_source_next(req->more, &piece));
	}
	return chunked ? stream_write(c->st, STR("0\r\n\r\n")) : NULL;
}

static struct err *h1_send(struct http_client *cl, struct h1_conn *c,
			   const struct http_client_request *req)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "%s " STR_FMT " HTTP/1.1\r\n", http_method(req), STR_ARG(req->target));
	if (!http_headers_find(&req->headers, "host").p)
		buf_addf(&b, "Host: %s\r\n", cl->host);
	for (size_t i = 0; i < req->headers.n; i++)
		buf_addf(&b, STR_FMT ": " STR_FMT "\r\n", STR_ARG(req->headers.v[i].name),
			 STR_ARG(req->headers.v[i].value));
	if (req->more && req->length == HTTP_LENGTH_UNKNOWN)
		buf_addz(&b, "Transfer-Encoding: chunked\r\n");
	else if (req->more)
		buf_addf(&b, "Content-Length: %llu\r\n", (unsigned long long)req->length);
	else if (req->has_body || req->body.n)
		buf_addf(&b, "Content-Length: %zu\r\n", req->body.n);
	buf_addz(&b, "\r\n");
	if (!req->more)
		buf_add(&b, req->body);
	TRY(stream_write(c->st, buf_str(&b)));
	return req->more ? h1_send_more(c, req) : NULL;
}

/* One exchange up to the headers. A server may answer and close before it took the whole body. */
static struct err *h1_exchange(struct http_client *cl, struct h1_conn *c,
			       const struct http_client_request *req)
{
	struct err *sent = h1_send(cl, c, req), *e;

	if (sent && req->more && req->more->failed)
		return sent;
	e = h1_read_headers(c);
	if (!sent)
		return e;
	c->keep_alive = false;
	if (!e) {
		err_ignore(sent, "the response says more");
		return NULL;
	}
	err_ignore(e, "the failure to send came first");
	return sent;
}

/* Idle, and neither closed nor talked to by the server. */
static bool h1_fresh(const struct h1_conn *c)
{
	char byte;

	return recv(stream_fd(c->st), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

static struct h1_conn *http_client_take_idle(struct http_client *cl)
{
	struct h1_conn *c;

	while ((c = list_first(&cl->idle, struct h1_conn, link))) {
		list_unlink(&c->link);
		cl->n_idle--;
		if (h1_fresh(c)) {
			c->reused = true;
			return c;
		}
		h1_conn_free(c);
	}
	return NULL;
}

static void http_client_put_idle(struct http_client *cl, struct h1_conn *c)
{
	if (!c->keep_alive || !c->done || c->in_pos != c->in_n || cl->n_idle >= cl->max_idle) {
		h1_conn_free(c);
		return;
	}
	buf_fini(&c->body);
	c->arena = NULL;
	c->resp = NULL;
	list_push_front(&cl->idle, &c->link);
	cl->n_idle++;
}

/* HTTP/2 */

static struct h2_conn *http_client_find_h2(struct http_client *cl)
{
	struct h2_conn *found = NULL;

	for (size_t i = 0; i < H2_MAX_CONNS; i++) {
		struct h2_conn *c = cl->h2[i];

		if (!c)
			continue;
		if (h2_conn_dead(c))
			cl->h2[i] = h2_conn_release(c);
		else if (!found && h2_conn_usable(c))
			found = c;
	}
	return found;
}

/* In the first free place; else in the last one's, whose streams go on without us. */
static struct h2_conn *http_client_add_h2(struct http_client *cl, struct stream *st)
{
	static const struct h2_opts opts = { .check_peer = true };
	size_t i = 0;

	while (i < H2_MAX_CONNS - 1 && cl->h2[i] && !h2_conn_dead(cl->h2[i]))
		i++;
	h2_conn_release(cl->h2[i]);
	cl->h2[i] = h2_conn_new(fiber_loop(), st, &opts);
	return cl->h2[i];
}

static bool h2_skips_header(struct str name)
{
	static const char *const names[] = { "connection", "host",           "keep-alive",
					     "upgrade",    "content-length", "transfer-encoding" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return false;
}

static struct http_headers h2_request_headers(struct http_client *cl, struct arena *a,
					      const struct http_client_request *req)
{
	struct http_headers h = { 0 };
	struct str host = http_headers_find(&req->headers, "host");

	http_headers_add(a, &h, STR(":method"), str_from(http_method(req)));
	http_headers_add(a, &h, STR(":scheme"), cl->tls ? STR("https") : STR("http"));
	http_headers_add(a, &h, STR(":authority"), host.p ? host : str_from(cl->host));
	http_headers_add(a, &h, STR(":path"), req->target);
	for (size_t i = 0; i < req->headers.n; i++)
		if (!h2_skips_header(req->headers.v[i].name))
			http_headers_add(a, &h, req->headers.v[i].name, req->headers.v[i].value);
	if (req->more && req->length != HTTP_LENGTH_UNKNOWN)
		http_headers_add(a, &h, STR("content-length"),
				 arena_fmt(a, "%llu", (unsigned long long)req->length));
	else if (!req->more && (req->has_body || req->body.n))
		http_headers_add(a, &h, STR("content-length"), arena_fmt(a, "%zu", req->body.n));
	return h;
}

static struct err *h2_take_response(struct arena *a, const struct h2_stream *s,
				    struct http_client_response *ret)
{
	const struct http_headers *h = h2_stream_headers(s);
	int64_t status;

	*ret = (struct http_client_response){ 0 };
	if (!str_to_i64(http_headers_find(h, ":status"), &status) || status < 200 || status > 999)
		return err_new(ERR_PROTOCOL, "HTTP/2 response without a valid status");
	ret->status = (int)status;
	for (size_t i = 0; i < h->n; i++)
		if (!str_has_prefix(h->v[i].name, STR(":")))
			http_headers_add(a, &ret->headers, arena_str(a, h->v[i].name),
					 arena_str(a, h->v[i].value));
	return NULL;
}

static struct err *h2_send_body(struct h2_stream *s, const struct http_client_request *req)
{
	struct str piece = STR_EMPTY;

	TRY(h2_stream_write(s, req->body));
	if (req->more)
		TRY(http_source_next(req->more, &piece));
	while (piece.n) {
		TRY(h2_stream_write(s, piece));
		TRY(http_source_next(req->more, &piece));
	}
	return NULL;
}

static struct err *h2_exchange(struct http_client *cl, struct h2_conn *c, struct arena *a,
			       const struct http_client_request *req, struct h2_stream **ret)
{
	struct http_headers h = h2_request_headers(cl, a, req);
	struct err *sent = NULL;
	struct err *e;

	TRY(h2_stream_open(c, &h, !req->body.n && !req->more, ret));
	if (req->body.n || req->more) {
		sent = h2_send_body(*ret, req);
		if (sent && req->more && req->more->failed)
			return sent;
		h2_stream_end(*ret);
	}
	e = h2_stream_wait_headers(*ret);
	if (sent)
		err_ignore(sent, "the response, or its failure, says more");
	return e;
}

/* connecting */

static struct err *http_client_dial(struct http_client *cl, const struct tls_config *tls,
				    struct stream **ret)
{
	return stream_connect(str_from(cl->address), tls, str_from(cl->server_name), ret);
}

/* Exactly one of the results is set. */
static struct err *http_client_connect(struct http_client *cl, struct h1_conn **ret_h1,
				       struct h2_conn **ret_h2)
{
	struct stream *st;
	struct err *e;

	cl->connecting = true;
	e = http_client_dial(cl, cl->tls, &st);
	cl->connecting = false;
	waitq_wake_all(&cl->connected);
	TRY(e);
	if (cl->prior_knowledge || str_eqz(stream_alpn(st), "h2")) {
		cl->h1_only = false;
		*ret_h2 = http_client_add_h2(cl, st);
		return NULL;
	}
	cl->h1_only = true;
	*ret_h1 = h1_conn_new(st);
	return NULL;
}

/* A connection for one call: shared, idle or new. */
static struct err *http_client_acquire(struct http_client *cl, bool fresh, struct h1_conn **ret_h1,
				       struct h2_conn **ret_h2, bool *ret_reused)
{
	*ret_reused = false;
	while (!fresh) {
		*ret_reused = true;
		if ((*ret_h2 = http_client_find_h2(cl)) || (*ret_h1 = http_client_take_idle(cl)))
			return NULL;
		*ret_reused = false;
		if (cl->h1_only || !cl->connecting)
			break;
		TRY(waitq_wait(&cl->connected));
	}
	return http_client_connect(cl, ret_h1, ret_h2);
}

/* lifecycle */

struct http_client *http_client_new(const struct http_client_opts *opts)
{
	struct http_client *c = mem_new(struct http_client);
	struct str host = opts->address;
	bool unix_socket = str_has_prefix(opts->address, STR("unix:"));
	size_t colon = host.n;

	while (colon > 0 && host.p[colon - 1] != ':')
		colon--;
	if (colon > 0 && !unix_socket)
		host.n = colon - 1;
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 1);
	c->address = mem_strdup(opts->address);
	if (!str_empty(opts->host_header))
		c->host = mem_strdup(opts->host_header);
	else
		c->host = mem_strdup(unix_socket ? STR("localhost") : opts->address);
	c->server_name = mem_strdup(str_empty(opts->server_name) ? host : opts->server_name);
	c->prior_knowledge = opts->http2_prior_knowledge;
	c->max_idle = opts->max_idle ? opts->max_idle : 4;
	list_init(&c->idle);
	waitq_init(&c->connected);
	http_client_set_tls(c, opts->tls);
	c->h1_only = !c->tls && !c->prior_knowledge;
	return c;
}

struct http_client *http_client_free(struct http_client *c)
{
	struct h1_conn *h1;

	if (!c)
		return NULL;
	while ((h1 = list_first(&c->idle, struct h1_conn, link)))
		h1_conn_free(h1);
	for (size_t i = 0; i < H2_MAX_CONNS; i++)
		h2_conn_release(c->h2[i]);
	tls_config_unref(c->tls);
	tls_config_unref(c->tls_h1);
	free(c->address);
	free(c->host);
	free(c->server_name);
	free(c);
	return NULL;
}

void http_client_set_tls(struct http_client *c, const struct tls_config *tls)
{
	/* reference counting is what the config's constness leaves open */
	struct tls_config *t = (struct tls_config *)(uintptr_t)tls;

	tls_config_unref(c->tls);
	tls_config_unref(c->tls_h1);
	c->tls = t ? tls_config_ref(t) : NULL;
	c->tls_h1 = t ? tls_config_without_h2(t) : NULL;
	for (size_t i = 0; i < H2_MAX_CONNS; i++)
		c->h2[i] = h2_conn_release(c->h2[i]);
	while (!list_empty(&c->idle))
		h1_conn_free(list_first(&c->idle, struct h1_conn, link));
	c->n_idle = 0;
}

/* calls */

static bool http_repeatable(const struct http_client_request *req)
{
	const char *m = http_method(req);

	return strcmp(m, "POST") != 0 && strcmp(m, "PATCH") != 0 && !req->more;
}

static struct err *http_client_attempt(struct http_client *cl, struct arena *a,
				       const struct http_client_request *req, bool fresh,
				       struct http_client_response *ret, struct http_call *call,
				       bool *ret_again)
{
	struct h1_conn *h1 = NULL;
	struct h2_conn *h2 = NULL;
	bool reused;
	struct err *e;

	*ret_again = false;
	TRY(http_client_acquire(cl, fresh, &h1, &h2, &reused));
	if (h2) {
		e = h2_exchange(cl, h2, a, req, &call->h2);
		if (!e)
			return h2_take_response(a, call->h2, ret);
		*ret_again = reused && err_is(e, ERR_IO) &&
			     (http_repeatable(req) || !call->h2 ||
			      (!req->more && h2_stream_refused(call->h2)));
		call->h2 = h2_stream_free(call->h2);
		return e;
	}
	h1_conn_begin(h1, a, req, ret);
	e = h1_exchange(cl, h1, req);
	if (!e) {
		call->h1 = h1;
		return NULL;
	}
	*ret_again = reused && !h1->got_any && err_is(e, ERR_IO) && http_repeatable(req);
	h1_conn_free(h1);
	return e;
}

struct err *http_client_start(struct http_client *c, struct arena *a,
			      const struct http_client_request *req,
			      struct http_client_response *ret, struct http_call **ret_call)
{
	struct http_call *call;
	struct err *e;
	bool again;

	TRY(http_check_request(req));
	call = mem_new(struct http_call);
	call->client = c;
	e = http_client_attempt(c, a, req, false, ret, call, &again);
	if (e && again) {
		err_ignore(e, "the pooled connection was stale");
		e = http_client_attempt(c, a, req, true, ret, call, &again);
	}
	if (e) {
		http_call_free(call);
		return err_wrap(e, "%s %s" STR_FMT, http_method(req), c->address,
				STR_ARG(str_sub(req->target, 0, MIN(req->target.n, 200))));
	}
	*ret_call = call;
	return NULL;
}

struct err *http_call_read(struct http_call *call, void *p, size_t n, size_t *ret_n)
{
	if (call->h2)
		TRY(h2_stream_read(call->h2, p, n, ret_n));
	else
		TRY(h1_read(call->h1, p, n, ret_n));
	call->ended = *ret_n == 0;
	return NULL;
}

struct http_call *http_call_free(struct http_call *call)
{
	if (!call)
		return NULL;
	h2_stream_free(call->h2);
	if (call->h1) {
		/* a body that ended with the last piece needs no read that says so */
		bool whole = call->h1->done && call->h1->body_off == call->h1->body.n;

		if (call->ended || whole)
			http_client_put_idle(call->client, call->h1);
		else
			h1_conn_free(call->h1);
	}
	free(call);
	return NULL;
}

void http_call_freep(struct http_call **call)
{
	http_call_free(*call);
}

static struct err *http_call_read_all(struct http_call *call, struct arena *a, size_t max,
				      struct http_client_response *resp)
{
	_cleanup_buf_ struct buf b = { 0 };
	uint64_t length;
	size_t n;

	if (str_to_u64(http_headers_find(&resp->headers, "content-length"), &length) &&
	    length > max && !(call->h1 && call->h1->head))
		return err_new(ERR_TOO_LARGE, "response body of %llu bytes is over %zu",
			       (unsigned long long)length, max);
	do {
		buf_reserve(&b, H1_READ_SIZE);
		TRY(http_call_read(call, b.p + b.n, H1_READ_SIZE, &n));
		b.n += n;
		if (b.n > max)
			return err_new(ERR_TOO_LARGE, "response body is over %zu bytes", max);
	} while (n);
	resp->body = buf_to_arena(&b, a);
	return NULL;
}

struct err *http_client_do(struct http_client *c, struct arena *a,
			   const struct http_client_request *req, size_t max_body,
			   struct http_client_response *ret)
{
	_cleanup_(http_call_freep) struct http_call *call = NULL;

	TRY(http_client_start(c, a, req, ret, &call));
	return http_call_read_all(call, a, max_body, ret);
}

static struct err *http_upgrade_on(struct http_client *c, struct h1_conn *h1, struct arena *a,
				   const struct http_client_request *req,
				   struct http_client_response *ret, struct stream **ret_stream)
{
	struct http_call call = { .client = c, .h1 = h1 };

	h1_conn_begin(h1, a, req, ret);
	h1->want_upgrade = true;
	TRY(h1_exchange(c, h1, req));
	if (ret->status != 101)
		return http_call_read_all(&call, a, UPGRADE_MAX_BODY, ret);
	if (h1->in_pos < h1->in_n)
		stream_unread(h1->st, str_make(h1->in + h1->in_pos, h1->in_n - h1->in_pos));
	*ret_stream = TAKE(h1->st);
	return NULL;
}

struct err *http_client_upgrade(struct http_client *c, struct arena *a,
				const struct http_client_request *req,
				struct http_client_response *ret, struct stream **ret_stream)
{
	struct stream *st;
	struct h1_conn *h1;
	struct err *e;

	*ret_stream = NULL;
	TRY(http_check_request(req));
	TRY(http_client_dial(c, c->tls_h1, &st));
	h1 = h1_conn_new(st);
	e = http_upgrade_on(c, h1, a, req, ret, ret_stream);
	h1_conn_free(h1);
	return err_wrap(e, "upgrade at %s", c->address);
}
