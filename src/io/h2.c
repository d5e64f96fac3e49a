/* SPDX-License-Identifier: Apache-2.0 */

#include "io/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "io/stream.h"

/*
 *            fibers that use streams
 *     h2_stream_write |        ^ h2_stream_read
 *                     v        |
 *     stream.out -> nghttp2_session -> stream.in
 *                     |        ^
 *          writer fiber        reader fiber
 *                     v        |
 *                    struct stream
 *
 * nghttp2 is entered from any fiber but never suspends: the two fibers do all input and output.
 */

#define H2_IO_SIZE       (32 * 1024)
#define H2_OUT_LIMIT     (256 * 1024)
#define H2_STREAM_WINDOW (256 * 1024)
#define H2_CONN_WINDOW   (64 * 1024 * 1024)
#define H2_MAX_STREAMS   250
/* A client that hears nothing while it waits asks, and gives up without an answer. */
#define H2_IDLE_MS 30000
#define H2_PING_MS 15000

struct h2_conn {
	struct h2_opts opts;
	struct loop *loop;
	struct stream *st;
	nghttp2_session *session;
	struct list streams;
	struct waitq writable; /* the writer waits here for something to send */
	struct fiber *reader, *writer;
	unsigned fibers; /* running */
	unsigned users;  /* the owner and the streams */
	unsigned n_streams;
	bool owned, dead, draining;
	struct timer health; /* opts.check_peer */
	struct mono heard;
	char why[128];
};

struct h2_stream {
	struct list link;
	struct h2_conn *conn;
	struct arena *arena;
	int32_t id;
	struct http_headers headers, trailers;
	size_t header_bytes;
	struct http_headers send_trailers;
	struct buf in, out;
	size_t in_off, out_off;
	struct waitq readable, drained;
	uint32_t error_code;
	bool handed;       /* a user holds it */
	bool headers_done; /* the final headers were received */
	bool remote_ended, closed, out_end, out_deferred, has_trailers;
};

/* connection lifetime */

static void h2_conn_maybe_free(struct h2_conn *c)
{
	if (c->fibers || c->users)
		return;
	timer_cancel(&c->health);
	c->reader = fiber_unref(c->reader);
	c->writer = fiber_unref(c->writer);
	nghttp2_session_del(c->session);
	stream_free(c->st);
	free(c);
}

static void h2_stream_destroy(struct h2_stream *s)
{
	struct h2_conn *c = s->conn;

	if (!s->closed && !c->dead)
		nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
	list_unlink(&s->link);
	buf_fini(&s->in);
	buf_fini(&s->out);
	arena_free(s->arena);
	free(s);
	c->n_streams--;
	c->users--;
}

static void h2_stream_wake(struct h2_stream *s)
{
	waitq_wake_all(&s->readable);
	waitq_wake_all(&s->drained);
}

/* Everything that waits on the connection learns that it is gone. */
static void h2_conn_fail(struct h2_conn *c, struct err *e)
{
	struct h2_stream *s;
	struct h2_stream *tmp;

	if (c->dead) {
		err_ignore(e, "the first reason was kept");
		return;
	}
	c->dead = true;
	snprintf(c->why, sizeof(c->why), STR_FMT,
		 STR_ARG(e ? err_msg(e) : STR("closed by the peer")));
	err_ignore(e, "kept as text");
	list_for_each_safe(s, tmp, &c->streams, link) {
		if (s->handed)
			h2_stream_wake(s);
		else
			h2_stream_destroy(s);
	}
	fiber_cancel(c->reader);
	fiber_cancel(c->writer);
	if (c->opts.on_dead && c->owned)
		c->opts.on_dead(c, c->opts.ctx);
}

static void h2_conn_unuse(struct h2_conn *c)
{
	if (!c->users && !c->dead)
		h2_conn_fail(c, err_new(ERR_IO, "no longer in use"));
	h2_conn_maybe_free(c);
}

static void h2_conn_kick(struct h2_conn *c)
{
	waitq_wake_one(&c->writable);
}

static void h2_conn_check(struct timer *t)
{
	struct h2_conn *c = container_of(t, struct h2_conn, health);
	int64_t ms = mono_ms_since(c->heard);

	if (c->dead)
		return;
	if (c->n_streams && ms > H2_IDLE_MS + H2_PING_MS) {
		h2_conn_fail(c, err_new(ERR_IO, "no answer to a ping"));
		return;
	}
	if (c->n_streams && ms > H2_IDLE_MS) {
		nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
		h2_conn_kick(c);
	}
	timer_start(c->loop, &c->health, H2_PING_MS);
}

/* streams, as nghttp2 tells of them */

static struct h2_stream *h2_stream_new(struct h2_conn *c)
{
	struct h2_stream *s = mem_new(struct h2_stream);

	if (!c->n_streams)
		c->heard = mono_now(); /* silence before somebody waited is none */
	s->conn = c;
	s->arena = arena_new();
	waitq_init(&s->readable);
	waitq_init(&s->drained);
	list_push_back(&c->streams, &s->link);
	c->n_streams++;
	c->users++;
	return s;
}

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (!c->opts.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = h2_stream_new(c);
	s->id = frame->hd.stream_id;
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
			size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
			void *user)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	struct http_headers *h;

	if (!s)
		return 0;
	h = s->headers_done ? &s->trailers : &s->headers;
	s->header_bytes += name_n + value_n;
	if (s->header_bytes > HTTP_MAX_HEADER_BYTES || h->n >= HTTP_MAX_HEADERS)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	http_headers_add(s->arena, h, arena_str(s->arena, str_make((const char *)name, name_n)),
			 arena_str(s->arena, str_make((const char *)value, value_n)));
	return 0;
}

static void h2_headers_complete(struct h2_conn *c, struct h2_stream *s)
{
	if (s->headers_done)
		return;
	if (!c->opts.server) {
		struct str status = http_headers_find(&s->headers, ":status");

		if (str_has_prefix(status, STR("1"))) {
			s->headers.n = 0;
			return;
		}
	}
	s->headers_done = true;
	if (c->opts.server) {
		s->handed = true;
		c->opts.on_request(s, c->opts.ctx);
	}
}

static int h2_on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (frame->hd.type == NGHTTP2_GOAWAY)
		c->draining = true;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s)
		return 0;
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		s->remote_ended = true;
	if (frame->hd.type == NGHTTP2_HEADERS)
		h2_headers_complete(c, s);
	waitq_wake_all(&s->readable);
	return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		      size_t n, void *user)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (!s) {
		nghttp2_session_consume(session, id, n);
		return 0;
	}
	buf_add(&s->in, str_make((const char *)data, n));
	waitq_wake_all(&s->readable);
	return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (!s)
		return 0;
	s->closed = true;
	s->error_code = error_code;
	if (s->handed)
		h2_stream_wake(s);
	else
		h2_stream_destroy(s);
	return 0;
}

/* A served stream that was let go of before the client ended its side needs no more of it. */
static int h2_on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (!c->opts.server || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
	    (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s && !s->remote_ended)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

static nghttp2_nv *h2_headers_to_nv(struct arena *a, const struct http_headers *h)
{
	nghttp2_nv *nv = arena_array(a, h->n + 1, sizeof(*nv));

	for (size_t i = 0; i < h->n; i++) {
		/* nghttp2 copies them, its type is only not const */
		struct str name = arena_str(a, h->v[i].name);
		struct str value = arena_str(a, h->v[i].value);

		nv[i] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name.p,
				      .namelen = name.n,
				      .value = (uint8_t *)(uintptr_t)value.p,
				      .valuelen = value.n };
		for (size_t j = 0; j < name.n; j++)
			if (nv[i].name[j] >= 'A' && nv[i].name[j] <= 'Z')
				nv[i].name[j] = (uint8_t)(nv[i].name[j] | 0x20);
	}
	return nv;
}

static ssize_t h2_body_read(nghttp2_session *session, int32_t id, uint8_t *p, size_t n,
			    uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
	size_t left;

	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	left = s->out.n - s->out_off;
	n = MIN(n, left);
	if (n)
		memcpy(p, s->out.p + s->out_off, n);
	s->out_off += n;
	if (n == left) {
		buf_clear(&s->out);
		s->out_off = 0;
	}
	if (left - n < H2_OUT_LIMIT / 2)
		waitq_wake_all(&s->drained);
	if (n == left && s->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->has_trailers) {
			nghttp2_nv *nv = h2_headers_to_nv(s->arena, &s->send_trailers);

			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(session, id, nv, s->send_trailers.n);
		}
		return (ssize_t)n;
	}
	if (!n) {
		s->out_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

/* the two fibers */

static struct err *h2_read_loop(struct h2_conn *c, uint8_t *p)
{
	for (;;) {
		size_t n;
		ssize_t rv;

		TRY(stream_read(c->st, p, H2_IO_SIZE, &n));
		if (!n || c->dead)
			return NULL;
		c->heard = mono_now();
		rv = nghttp2_session_mem_recv(c->session, p, n);
		if (rv < 0)
			return err_new(ERR_PROTOCOL, "HTTP/2: %s", nghttp2_strerror((int)rv));
		h2_conn_kick(c);
	}
}

static struct err *h2_reader(void *arg)
{
	struct h2_conn *c = arg;
	uint8_t *p = mem_alloc(H2_IO_SIZE);

	h2_conn_fail(c, h2_read_loop(c, p));
	free(p);
	c->fibers--;
	h2_conn_maybe_free(c);
	return NULL;
}

/* What the session has to say, up to about H2_IO_SIZE bytes. */
static struct err *h2_collect(struct h2_conn *c, struct buf *out)
{
	while (out->n < H2_IO_SIZE) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(c->session, &p);

		if (n < 0)
			return err_new(ERR_PROTOCOL, "HTTP/2: %s", nghttp2_strerror((int)n));
		if (!n)
			break;
		buf_add(out, str_make((const char *)p, (size_t)n));
	}
	return NULL;
}

static struct err *h2_write_loop(struct h2_conn *c, struct buf *out)
{
	while (!c->dead) {
		buf_clear(out);
		TRY(h2_collect(c, out));
		if (out->n) {
			TRY(stream_write(c->st, buf_str(out)));
			continue;
		}
		if (!nghttp2_session_want_read(c->session) &&
		    !nghttp2_session_want_write(c->session))
			return err_new(ERR_IO, "the HTTP/2 session ended");
		TRY(waitq_wait(&c->writable));
	}
	return NULL;
}

static struct err *h2_writer(void *arg)
{
	struct h2_conn *c = arg;
	_cleanup_buf_ struct buf out = { 0 };

	h2_conn_fail(c, h2_write_loop(c, &out));
	c->fibers--;
	h2_conn_maybe_free(c);
	return NULL;
}

/* connections */

static nghttp2_session *h2_session_new(struct h2_conn *c)
{
	nghttp2_session_callbacks *cbs;
	nghttp2_session *session;
	nghttp2_option *opt;

	nghttp2_session_callbacks_new(&cbs);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, h2_on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cbs, h2_on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, h2_on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(cbs, h2_on_frame_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, h2_on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, h2_on_stream_close);
	nghttp2_option_new(&opt);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	if (c->opts.server)
		nghttp2_session_server_new2(&session, cbs, c, opt);
	else
		nghttp2_session_client_new2(&session, cbs, c, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cbs);
	return session;
}

struct h2_conn *h2_conn_new(struct loop *l, struct stream *st, const struct h2_opts *opts)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_MAX_STREAMS },
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
	};
	struct h2_conn *c = mem_new(struct h2_conn);

	c->loop = l;
	c->opts = *opts;
	c->st = st;
	c->heard = mono_now();
	c->health.fn = h2_conn_check;
	if (opts->check_peer)
		timer_start(l, &c->health, H2_PING_MS);
	list_init(&c->streams);
	waitq_init(&c->writable);
	c->owned = true;
	c->users = 1;
	c->fibers = 2;
	c->session = h2_session_new(c);
	/* servers may not send ENABLE_PUSH */
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, opts->server ? 2 : 3);
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
	c->reader = fiber_spawn(l, "h2-read", h2_reader, c);
	c->writer = fiber_spawn(l, "h2-write", h2_writer, c);
	return c;
}

struct h2_conn *h2_conn_release(struct h2_conn *c)
{
	if (!c)
		return NULL;
	c->owned = false;
	c->users--;
	h2_conn_unuse(c);
	return NULL;
}

struct h2_conn *h2_conn_close(struct h2_conn *c)
{
	if (!c)
		return NULL;
	c->owned = false;
	h2_conn_fail(c, err_new(ERR_IO, "closed on our side"));
	c->users--;
	h2_conn_maybe_free(c);
	return NULL;
}

bool h2_conn_usable(const struct h2_conn *c)
{
	uint32_t max = nghttp2_session_get_remote_settings(c->session,
							   NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return !c->dead && !c->draining && c->n_streams < MIN(max, 1000u) &&
	       nghttp2_session_check_request_allowed(c->session);
}

bool h2_conn_dead(const struct h2_conn *c)
{
	return c->dead;
}

/* streams */

static struct err *h2_stream_lost(const struct h2_stream *s)
{
	if (s->conn->dead)
		return err_new(ERR_IO, "connection lost: %s", s->conn->why);
	return err_new(ERR_IO, "HTTP/2 stream reset: %s", nghttp2_http2_strerror(s->error_code));
}

struct err *h2_stream_open(struct h2_conn *c, const struct http_headers *headers, bool end,
			   struct h2_stream **ret)
{
	nghttp2_data_provider body = { .read_callback = h2_body_read };
	struct h2_stream *s;
	int32_t id;

	if (c->dead)
		return err_new(ERR_IO, "connection lost: %s", c->why);
	s = h2_stream_new(c);
	s->handed = true;
	s->out_end = end;
	id = nghttp2_submit_request(c->session, NULL, h2_headers_to_nv(s->arena, headers),
				    headers->n, end ? NULL : &body, s);
	if (id < 0) {
		s->closed = true;
		h2_stream_destroy(s);
		return err_new(ERR_PROTOCOL, "HTTP/2: %s", nghttp2_strerror(id));
	}
	s->id = id;
	h2_conn_kick(c);
	*ret = s;
	return NULL;
}

struct err *h2_stream_wait_headers(struct h2_stream *s)
{
	while (!s->headers_done) {
		if (s->conn->dead || s->closed)
			return h2_stream_lost(s);
		TRY(waitq_wait(&s->readable));
	}
	return NULL;
}

void h2_stream_respond(struct h2_stream *s, const struct http_headers *headers)
{
	nghttp2_data_provider body = { .read_callback = h2_body_read };

	if (s->closed || s->conn->dead)
		return;
	nghttp2_submit_response(s->conn->session, s->id, h2_headers_to_nv(s->arena, headers),
				headers->n, &body);
	h2_conn_kick(s->conn);
}

static void h2_stream_resume(struct h2_stream *s)
{
	if (s->closed || s->conn->dead)
		return;
	if (s->out_deferred) {
		s->out_deferred = false;
		nghttp2_session_resume_data(s->conn->session, s->id);
	}
	h2_conn_kick(s->conn);
}

void h2_stream_trailers(struct h2_stream *s, const struct http_headers *trailers)
{
	for (size_t i = 0; i < trailers->n; i++)
		http_headers_add(s->arena, &s->send_trailers,
				 arena_str(s->arena, trailers->v[i].name),
				 arena_str(s->arena, trailers->v[i].value));
	s->has_trailers = true;
	s->out_end = true;
	h2_stream_resume(s);
}

struct err *h2_stream_read(struct h2_stream *s, void *p, size_t n, size_t *ret_n)
{
	struct h2_conn *c = s->conn;

	while (s->in_off == s->in.n) {
		if (s->remote_ended && (!s->closed || s->error_code == NGHTTP2_NO_ERROR)) {
			*ret_n = 0;
			return NULL;
		}
		if (s->closed || c->dead)
			return h2_stream_lost(s);
		TRY(waitq_wait(&s->readable));
	}
	n = MIN(n, s->in.n - s->in_off);
	memcpy(p, s->in.p + s->in_off, n);
	s->in_off += n;
	if (s->in_off == s->in.n) {
		buf_clear(&s->in);
		s->in_off = 0;
	}
	if (!c->dead) {
		nghttp2_session_consume(c->session, s->id, n);
		h2_conn_kick(c);
	}
	*ret_n = n;
	return NULL;
}

struct err *h2_stream_write(struct h2_stream *s, struct str data)
{
	if (s->closed || s->conn->dead)
		return h2_stream_lost(s);
	buf_add(&s->out, data);
	h2_stream_resume(s);
	while (s->out.n - s->out_off > H2_OUT_LIMIT) {
		TRY(waitq_wait(&s->drained));
		if (s->closed || s->conn->dead)
			return h2_stream_lost(s);
	}
	return NULL;
}

void h2_stream_end(struct h2_stream *s)
{
	s->out_end = true;
	h2_stream_resume(s);
}

struct h2_stream *h2_stream_free(struct h2_stream *s)
{
	struct h2_conn *c;

	if (!s)
		return NULL;
	c = s->conn;
	if (!c->dead) {
		size_t unread = s->in.n - s->in_off;

		if (unread) {
			nghttp2_session_consume(c->session, s->id, unread);
			s->in_off = s->in.n;
		}
		if (c->opts.server && s->out_end && !s->closed) {
			/* what was written still goes out; on_stream_close frees it */
			s->handed = false;
			h2_conn_kick(c);
			return NULL;
		}
		if (!s->closed)
			nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id,
						  NGHTTP2_CANCEL);
		h2_conn_kick(c);
	}
	h2_stream_destroy(s);
	h2_conn_unuse(c);
	return NULL;
}

/* queries */

const struct http_headers *h2_stream_headers(const struct h2_stream *s)
{
	return &s->headers;
}

const struct http_headers *h2_stream_get_trailers(const struct h2_stream *s)
{
	return &s->trailers;
}

bool h2_stream_refused(const struct h2_stream *s)
{
	return s->closed && s->error_code == NGHTTP2_REFUSED_STREAM;
}
