/* SPDX-License-Identifier: Apache-2.0 */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/h2-memory.h"
#include "io/http-server-internal.h"

/*
 * HTTP/2 by nghttp2: an exchange per stream. nghttp2 asks for body bytes when windows allow,
 * which is h2_read_body; a stream with nothing queued is deferred until more comes.
 *
 * Receive windows: the connection's is opened as bytes arrive, so that one handler that does
 * not read stalls its own stream only; a stream's opens as its handler takes the bytes.
 *
 * Floods: nghttp2 limits acknowledgements it owes, CONTINUATION frames and header bytes. We limit
 * the rate of resets (a reset is cheap to send, a canceled handler is not cheap to unwind) and the
 * number of exchanges that still unwind.
 */

#define STREAM_WINDOW  (256 * 1024)
#define CONN_WINDOW    (1024 * 1024)
#define RESET_BURST    1000
#define RESETS_PER_SEC 33
#define MAX_UNWINDING  (2 * HTTP_MAX_STREAMS)
#define H2_FRAME_HEAD  9

struct h2 {
	nghttp2_session *session;
	struct http_conn *conn;
	/* token bucket for resets */
	double tokens;
	struct mono refilled;
};

/* what is only known while a request's head comes in */
struct h2_head {
	size_t bytes, n_regular;
	bool too_large;
	struct str authority;
};

static struct h2 *h2_of(const struct http_exchange *x)
{
	return x->conn->codec_data;
}

static struct http_exchange *h2_find(struct h2 *h, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h->session, id);
}

static void h2_update_phase(struct http_conn *c)
{
	http_conn_set_phase(c, c->n_exchanges ? HTTP_BUSY : HTTP_IDLE);
}

/* requests */

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct h2 *h = ctx;
	struct http_exchange *x;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (h->conn->n_exchanges >= MAX_UNWINDING)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
	x = http_exchange_new(h->conn);
	x->stream_id = f->hd.stream_id;
	x->req.http_major = 2;
	/* In the arena: it is needed no longer than the request's head. */
	x->head_state = arena_new_obj(x->arena, struct h2_head);
	nghttp2_session_set_stream_user_data(session, x->stream_id, x);
	h2_update_phase(h->conn);
	return 0;
}

static void h2_add_pseudo(struct http_exchange *x, struct h2_head *head, struct str name,
			  struct str value)
{
	if (str_eq(name, STR(":method")))
		x->req.method = value;
	else if (str_eq(name, STR(":path")))
		x->req.path = value;
	else if (str_eq(name, STR(":authority")))
		head->authority = value;
}

static int h2_on_header(nghttp2_session *session UNUSED, const nghttp2_frame *f,
			const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n,
			uint8_t flags UNUSED, void *ctx)
{
	struct http_exchange *x = h2_find(ctx, f->hd.stream_id);
	struct h2_head *head;
	struct str n, v;

	if (!x || x->gone || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers */
	head = x->head_state;
	head->bytes += name_n + value_n + 32;
	if (head->bytes > HTTP_MAX_HEADER_BYTES || head->n_regular >= HTTP_MAX_HEADERS) {
		head->too_large = true;
		return 0;
	}
	n = arena_str(x->arena, str_make((const char *)name, name_n));
	v = arena_str(x->arena, str_make((const char *)value, value_n));
	if (name_n && name[0] == ':') {
		h2_add_pseudo(x, head, n, v);
	} else {
		head->n_regular++;
		http_headers_add(x->arena, &x->req.headers, n, v);
	}
	return 0;
}

static void h2_head_complete(struct http_exchange *x)
{
	const struct h2_head *head = x->head_state;
	struct str length;

	x->head_state = NULL;
	if (head->too_large) {
		http_exchange_reject(x, 431);
		return;
	}
	if (!x->req.path.n) { /* CONNECT */
		http_exchange_reject(x, 405);
		return;
	}
	if (head->authority.n && !http_headers_find(&x->req.headers, "host").p)
		http_headers_add(x->arena, &x->req.headers, STR("host"), head->authority);
	length = http_headers_find(&x->req.headers, "content-length");
	if (x->body_end)
		x->content_length = 0;
	else if (!length.p || !str_to_u64(length, &x->content_length))
		x->content_length = HTTP_UNKNOWN_LENGTH;
	x->expect_continue = http_headers_has_token(&x->req.headers, "expect", "100-continue");
	http_exchange_start(x);
}

static int h2_check_resets(struct h2 *h)
{
	const struct mono now = mono_now();
	const double seconds = (double)(now.ns - h->refilled.ns) / (double)NS_PER_SEC;

	h->tokens = MIN(h->tokens + seconds * RESETS_PER_SEC, (double)RESET_BURST);
	h->refilled = now;
	if (h->tokens < 1) {
		log_debug(NULL, "http2 reset flood",
			  KV_STR("peer", stream_peer_address(h->conn->st)));
		nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
		return 0;
	}
	h->tokens -= 1;
	return 0;
}

static int h2_on_frame(nghttp2_session *session UNUSED, const nghttp2_frame *f, void *ctx)
{
	struct h2 *h = ctx;
	struct http_exchange *x;

	if (f->hd.type == NGHTTP2_RST_STREAM)
		return h2_check_resets(h);
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	x = h2_find(h, f->hd.stream_id);
	if (!x || x->gone)
		return 0;
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		http_exchange_body_end(x);
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		h2_head_complete(x);
	return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *p,
		      size_t n, void *ctx)
{
	struct http_exchange *x = h2_find(ctx, id);

	nghttp2_session_consume_connection(session, n);
	if (!x || x->gone) {
		nghttp2_session_consume_stream(session, id, n);
		return 0;
	}
	if (x->discard || x->reading_all)
		nghttp2_session_consume_stream(session, id, n);
	http_exchange_body(x, str_make((const char *)p, n));
	return 0;
}

static int h2_on_close(nghttp2_session *session UNUSED, int32_t id, uint32_t error, void *ctx)
{
	struct h2 *h = ctx;
	struct http_exchange *x = h2_find(h, id);

	if (!x)
		return 0;
	nghttp2_session_set_stream_user_data(h->session, id, NULL);
	if (!x->responded || !x->out_end || x->queued || (error && error != NGHTTP2_NO_ERROR)) {
		http_exchange_gone(x);
	} else {
		http_exchange_sent(x);
		if (http_exchange_settled(x))
			http_exchange_free(x);
	}
	h2_update_phase(h->conn);
	return 0;
}

static int h2_on_frame_sent(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct http_exchange *x;

	if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
	    (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	x = h2_find(ctx, f->hd.stream_id);
	/* The rest of the request is not wanted (RFC 9113, 8.1), as Go's server says it. */
	if (x && !x->body_end)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, f->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static size_t h2_input(struct http_conn *c, struct str data)
{
	struct h2 *h = c->codec_data;
	const ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.p, data.n);

	if (n < 0) {
		log_debug(NULL, "http2 input", KV_STR("peer", stream_peer_address(c->st)),
			  KV_Z("error", nghttp2_strerror((int)n)));
		http_conn_kill(c);
		return data.n;
	}
	/* SETTINGS and PING acknowledgements, window updates, GOAWAY. */
	http_conn_post_flush(c);
	return data.n;
}

static void h2_input_end(struct http_conn *c)
{
	http_conn_kill(c);
}

/* responses */

/* Says how much there is; h2_send_body moves it. */
static ssize_t h2_read_body(nghttp2_session *session UNUSED, int32_t id UNUSED, uint8_t *p UNUSED,
			    size_t max, uint32_t *flags, nghttp2_data_source *source,
			    void *ctx UNUSED)
{
	struct http_exchange *x = source->ptr;
	const size_t n = MIN(max, x->queued);

	if (!n && !x->out_end) {
		x->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n == x->queued && x->out_end)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* From the exchange's queue straight behind the frame's head. */
static int h2_send_body(nghttp2_session *session UNUSED, nghttp2_frame *frame UNUSED,
			const uint8_t *head, size_t n, nghttp2_data_source *source, void *ctx)
{
	struct h2 *h = ctx;
	struct http_exchange *x = source->ptr;
	struct buf *out = &h->conn->out;

	if (out->n >= HTTP_OUT_TARGET)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (x->queued < n)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was given up meanwhile */
	buf_reserve(out, H2_FRAME_HEAD + n);
	buf_add(out, str_make((const char *)head, H2_FRAME_HEAD));
	http_exchange_take(x, out->p + out->n, n);
	out->n += n;
	return 0;
}

static void h2_fill(struct http_conn *c)
{
	struct h2 *h = c->codec_data;
	const uint8_t *p;
	ssize_t n = 0;

	while (c->out.n < HTTP_OUT_TARGET) {
		n = nghttp2_session_mem_send(h->session, &p);
		if (n <= 0)
			break;
		buf_add(&c->out, str_make((const char *)p, (size_t)n));
	}
	if (n < 0)
		http_conn_kill(c);
	else if (!nghttp2_session_want_read(h->session) &&
		 !nghttp2_session_want_write(h->session)) {
		c->closing = true;
		/* Not at the server's own end, which nobody should wait for. */
		c->linger = !c->server->draining;
	}
}

/*
 * What differs in every response is kept out of the compression table: it would never be found
 * there, only searched past and push out what is.
 */
static bool h2_is_unique(struct str name)
{
	static const struct str names[] = { STR_INIT("audit-id"), STR_INIT("content-length"),
					    STR_INIT("etag"), STR_INIT("location") };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static nghttp2_nv h2_nv(struct str name, struct str value)
{
	return (nghttp2_nv){ .flags = h2_is_unique(name) ? NGHTTP2_NV_FLAG_NO_INDEX
							 : NGHTTP2_NV_FLAG_NONE,
			     .name = (uint8_t *)(uintptr_t)name.p,
			     .namelen = name.n,
			     .value = (uint8_t *)(uintptr_t)value.p,
			     .valuelen = value.n };
}

static struct str h2_lower(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	return str_make(p, s.n);
}

static void h2_respond(struct http_exchange *x, int status)
{
	nghttp2_nv *nv = arena_array(x->arena, x->headers.n + 3, sizeof(*nv));
	const nghttp2_data_provider body = { .source.ptr = x, .read_callback = h2_read_body };
	size_t n = 0;

	nv[n++] = h2_nv(STR(":status"), arena_fmt(x->arena, "%d", status));
	for (size_t i = 0; i < x->headers.n; i++) {
		const struct http_header *f = &x->headers.v[i];

		if (!http_header_is_hop(f->name))
			nv[n++] = h2_nv(h2_lower(x->arena, f->name), f->value);
	}
	if (x->length != HTTP_UNKNOWN_LENGTH && status != 204 && status != 304)
		nv[n++] = h2_nv(STR("content-length"),
				arena_fmt(x->arena, "%llu", (unsigned long long)x->length));
	nv[n++] = h2_nv(STR("date"), str_from(http_server_date(x->conn->server)));
	if (nghttp2_submit_response(h2_of(x)->session, x->stream_id, nv, n,
				    x->no_body || (x->out_end && !x->length) ? NULL : &body) != 0)
		http_conn_kill(x->conn);
}

static void h2_more(struct http_exchange *x)
{
	if (x->deferred) {
		x->deferred = false;
		nghttp2_session_resume_data(h2_of(x)->session, x->stream_id);
	}
}

static void h2_consumed(struct http_exchange *x, size_t n)
{
	if (n) {
		nghttp2_session_consume_stream(h2_of(x)->session, x->stream_id, n);
		http_conn_post_flush(x->conn);
	}
}

static void h2_send_continue(struct http_exchange *x)
{
	const nghttp2_nv nv = h2_nv(STR(":status"), STR("100"));

	nghttp2_submit_headers(h2_of(x)->session, NGHTTP2_FLAG_NONE, x->stream_id, NULL, &nv, 1,
			       NULL);
	http_conn_post_flush(x->conn);
}

static void h2_abort(struct http_exchange *x)
{
	nghttp2_submit_rst_stream(h2_of(x)->session, NGHTTP2_FLAG_NONE, x->stream_id,
				  NGHTTP2_INTERNAL_ERROR);
	http_conn_post_flush(x->conn);
}

static void h2_settled(struct http_exchange *x)
{
	struct http_conn *c = x->conn;

	if (x->sent) {
		http_exchange_free(x);
		h2_update_phase(c);
	}
}

static void h2_drain(struct http_conn *c)
{
	struct h2 *h = c->codec_data;

	/* Ends by itself when the last stream is closed. */
	nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
			      NULL, 0);
	http_conn_post_flush(c);
}

static void h2_free(struct http_conn *c)
{
	struct h2 *h = c->codec_data;

	nghttp2_session_del(h->session);
	free(h);
	c->codec_data = NULL;
}

const struct http_codec http_codec_h2 = {
	.input = h2_input,
	.input_end = h2_input_end,
	.fill = h2_fill,
	.respond = h2_respond,
	.more = h2_more,
	.consumed = h2_consumed,
	.send_continue = h2_send_continue,
	.abort = h2_abort,
	.settled = h2_settled,
	.drain = h2_drain,
	.free = h2_free,
};

static nghttp2_session_callbacks *h2_callbacks(void)
{
	static nghttp2_session_callbacks *cb;

	if (cb)
		return cb;
	ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_on_frame_sent);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_send_body);
	return cb;
}

void http_h2_start(struct http_conn *c)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_MAX_STREAMS },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_MAX_HEADER_BYTES },
	};
	struct h2 *h = mem_new(struct h2);
	nghttp2_option *option;

	h->conn = c;
	h->tokens = RESET_BURST;
	h->refilled = mono_now();
	ASSERT(nghttp2_option_new(&option) == 0);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	ASSERT(nghttp2_session_server_new3(&h->session, h2_callbacks(), h, option, h2_memory()) ==
	       0);
	nghttp2_option_del(option);
	c->codec_data = h;
	nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
	http_conn_set_phase(c, HTTP_IDLE);
	http_conn_post_flush(c);
}
