/* SPDX-License-Identifier: Apache-2.0 */
#include <llhttp.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/http-server-internal.h"

/*
 * HTTP/1.1. One exchange at a time: while it runs, what comes after its request stays in
 * the connection's in buffer, so a pipelining client is served in order. The parser pauses at
 * the end of each message and goes on when the exchange is over.
 *
 * An end of input while a handler runs cancels its fiber (as Go's server does); the
 * response is still sent to a client that only closed its sending side.
 */

struct h1_slot {
	uint32_t name, name_n, value, value_n; /* offsets into h1->head */
};

struct h1 {
	llhttp_t parser;
	struct http_conn *conn;
	struct http_exchange *x;
	/* the head while it comes in */
	struct buf head;
	struct h1_slot *slots;
	size_t n_slots, cap_slots;
	uint32_t target_n;
	bool in_head, in_value;
	/* of the current exchange */
	bool complete; /* its request was read to the end */
	bool keep_alive, chunked;
	int reject; /* status to answer a bad head with */
};

/* parsing */

static struct h1 *h1_of(llhttp_t *p)
{
	return container_of(p, struct h1, parser);
}

static int h1_on_begin(llhttp_t *p)
{
	struct h1 *h = h1_of(p);

	ASSERT(!h->x);
	h->x = http_exchange_new(h->conn);
	h->n_slots = 0;
	h->target_n = 0;
	h->in_value = true; /* so that the first field opens a slot */
	h->in_head = true;
	h->complete = false;
	h->reject = 0;
	http_conn_set_phase(h->conn, HTTP_HEADER);
	return 0;
}

static int h1_add(struct h1 *h, const char *at, size_t n)
{
	if (h->head.n + n > HTTP_MAX_HEADER_BYTES) {
		h->reject = 431;
		return HPE_USER;
	}
	buf_add(&h->head, str_make(at, n));
	return 0;
}

static int h1_on_url(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p);

	h->target_n += (uint32_t)n;
	return h1_add(h, at, n);
}

static int h1_on_field(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p);

	if (h->in_value) {
		if (h->n_slots == HTTP_MAX_HEADERS) {
			h->reject = 431;
			return HPE_USER;
		}
		if (h->n_slots == h->cap_slots) {
			h->cap_slots = h->cap_slots ? 2 * h->cap_slots : 16;
			h->slots = mem_realloc(h->slots, h->cap_slots, sizeof(*h->slots));
		}
		h->slots[h->n_slots++] = (struct h1_slot){ .name = (uint32_t)h->head.n };
		h->in_value = false;
	}
	h->slots[h->n_slots - 1].name_n += (uint32_t)n;
	return h1_add(h, at, n);
}

static int h1_on_value(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p);
	struct h1_slot *s;

	/* Trailers are read and dropped. */
	if (!h->n_slots)
		return 0;
	s = &h->slots[h->n_slots - 1];
	if (!h->in_value) {
		h->in_value = true;
		s->value = (uint32_t)h->head.n;
	}
	s->value_n += (uint32_t)n;
	return h1_add(h, at, n);
}

static int h1_on_value_complete(llhttp_t *p)
{
	struct h1 *h = h1_of(p);

	/* An empty value has no pieces. */
	h->in_value = true;
	return 0;
}

/* "http://host/path" is allowed by RFC 9112, 3.2.2. */
static struct str h1_origin_form(struct str target)
{
	struct str rest = target;
	size_t slash;

	if (!str_strip_prefix(&rest, STR("http://")) && !str_strip_prefix(&rest, STR("https://")))
		return target;
	slash = str_find_char(rest, '/', 0);
	return slash < rest.n ? str_skip(rest, slash) : STR("/");
}

static void h1_fill_request(struct h1 *h)
{
	struct http_exchange *x = h->x;
	struct http_request *r = &x->req;
	const struct str head = arena_str(x->arena, buf_str(&h->head));

	/* llhttp knows the method only by number. */
	r->method = str_from(llhttp_method_name(llhttp_get_method(&h->parser)));
	r->path = h1_origin_form(str_sub(head, 0, h->target_n));
	r->http_major = 1;
	r->headers.v = arena_array(x->arena, h->n_slots + 1, sizeof(*r->headers.v));
	r->headers.n = r->headers.cap = h->n_slots;
	for (size_t i = 0; i < h->n_slots; i++) {
		const struct h1_slot *s = &h->slots[i];

		r->headers.v[i].name = str_make(head.p + s->name, s->name_n);
		r->headers.v[i].value = str_trim(str_make(head.p + s->value, s->value_n));
	}
	buf_fini(&h->head);
	free(TAKE(h->slots));
	h->n_slots = h->cap_slots = 0;
}

static int h1_on_headers_complete(llhttp_t *p)
{
	struct h1 *h = h1_of(p);
	struct http_exchange *x = h->x;

	if (p->http_major != 1) {
		h->reject = 505;
		return -1;
	}
	h1_fill_request(h);
	h->in_head = false;
	h->keep_alive = llhttp_should_keep_alive(p) || p->upgrade;
	h->chunked = p->http_major == 1 && p->http_minor >= 1;
	if (p->flags & F_CONTENT_LENGTH)
		x->content_length = p->content_length;
	else if (!(p->flags & F_CHUNKED))
		x->content_length = 0;
	x->expect_continue =
		h->chunked && http_headers_has_token(&x->req.headers, "Expect", "100-continue");
	http_conn_set_phase(h->conn, HTTP_BUSY);
	http_exchange_start(x);
	return 0;
}

static void h1_maybe_finish(struct h1 *h);

static int h1_on_body(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p);
	struct http_exchange *x = h->x;

	if (x->discard) {
		x->discarded += n;
		if (x->discarded > HTTP_DISCARD_LIMIT) {
			x->close = true;
			return HPE_USER;
		}
		return 0;
	}
	http_exchange_body(x, str_make(at, n));
	if (x->body.n > x->body_window)
		http_conn_set_reading(h->conn, false);
	return 0;
}

static int h1_on_complete(llhttp_t *p)
{
	struct h1 *h = h1_of(p);

	h->complete = true;
	/* What trailers left behind. */
	buf_fini(&h->head);
	http_exchange_body_end(h->x);
	/* The next message waits for this one's response. */
	return HPE_PAUSED;
}

static const llhttp_settings_t h1_settings = {
	.on_message_begin = h1_on_begin,
	.on_url = h1_on_url,
	.on_header_field = h1_on_field,
	.on_header_value = h1_on_value,
	.on_header_value_complete = h1_on_value_complete,
	.on_headers_complete = h1_on_headers_complete,
	.on_body = h1_on_body,
	.on_message_complete = h1_on_complete,
};

/* A head that cannot be served. */
static void h1_refuse(struct h1 *h, int status)
{
	struct http_conn *c = h->conn;

	if (!h->x)
		h->x = http_exchange_new(c);
	h->complete = true;
	h->keep_alive = false;
	h->chunked = true;
	h->reject = status;
	h->x->body_end = true;
	c->reading = false;
	http_exchange_reject(h->x, status);
}

static void h1_parse_error(struct h1 *h)
{
	struct http_exchange *x = h->x;

	if (!x || h->in_head) {
		h1_refuse(h, h->reject ? h->reject : 400);
		return;
	}
	/* In the middle of a body: no way to find the next message. */
	h->complete = true;
	x->close = true;
	h->conn->reading = false;
	if (!x->discard && !x->sent)
		http_conn_kill(h->conn);
	else
		h1_maybe_finish(h);
}

static size_t h1_input(struct http_conn *c, struct str data)
{
	struct h1 *h = c->codec_data;
	enum llhttp_errno e;

	size_t done = 0;

	/* While an exchange runs, the next request waits its turn. */
	while (done < data.n && !c->dead && !(h->x && h->complete)) {
		e = llhttp_execute(&h->parser, data.p + done, data.n - done);
		if (e == HPE_OK)
			return data.n;
		if (e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE) {
			h1_parse_error(h);
			return data.n;
		}
		done = (size_t)(llhttp_get_error_pos(&h->parser) - data.p);
		/* Whether it upgrades is the handler's choice; HTTP goes on if it does not. */
		if (e == HPE_PAUSED_UPGRADE)
			llhttp_resume_after_upgrade(&h->parser);
		else
			llhttp_resume(&h->parser);
		h1_maybe_finish(h);
	}
	return done;
}

static void h1_input_end(struct http_conn *c)
{
	struct h1 *h = c->codec_data;
	struct http_exchange *x = h->x;

	if (!x || !h->complete || (x->push && !x->out_end)) {
		http_conn_kill(c);
		return;
	}
	x->close = true;
	if (x->fiber)
		fiber_cancel(x->fiber);
}

/* responding */

static void h1_add_head(struct h1 *h, struct http_exchange *x, int status)
{
	struct buf *out = &h->conn->out;

	buf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
	for (size_t i = 0; i < x->headers.n; i++) {
		const struct http_header *f = &x->headers.v[i];

		if (status != 101 && http_header_is_hop(f->name))
			continue;
		buf_add(out, f->name);
		buf_add(out, STR(": "));
		buf_add(out, f->value);
		buf_add(out, STR("\r\n"));
	}
}

static void h1_respond(struct http_exchange *x, int status)
{
	struct http_conn *c = x->conn;
	struct h1 *h = c->codec_data;
	struct buf *out = &c->out;
	const bool bodyless = status < 200 || status == 204 || status == 304;

	http_conn_want_out(c);
	h1_add_head(h, x, status);
	if (status == 101) {
		buf_add(out, STR("\r\n"));
		return;
	}
	buf_add(out, STR("Date: "));
	buf_addz(out, http_server_date(c->server));
	buf_add(out, STR("\r\n"));
	if (x->length != HTTP_UNKNOWN_LENGTH) {
		if (!bodyless)
			buf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)x->length);
		h->chunked = false;
	} else if (!bodyless && h->chunked) {
		buf_add(out, STR("Transfer-Encoding: chunked\r\n"));
	} else if (!bodyless) {
		h->keep_alive = false; /* HTTP/1.0: the end of the connection ends the body */
	}
	if (c->server->draining)
		x->close = true;
	if (x->close || !h->keep_alive)
		buf_add(out, STR("Connection: close\r\n"));
	else if (h->parser.http_minor == 0)
		buf_add(out, STR("Connection: keep-alive\r\n"));
	buf_add(out, STR("\r\n"));
}

static void h1_frame(struct h1 *h, struct http_exchange *x)
{
	struct buf *out = &h->conn->out;
	size_t n = MIN(x->queued, (size_t)HTTP_OUT_TARGET - 32 - out->n);

	if (h->chunked)
		buf_addf(out, "%zx\r\n", n);
	buf_reserve(out, n + 2);
	http_exchange_take(x, out->p + out->n, n);
	out->n += n;
	if (h->chunked)
		buf_add(out, STR("\r\n"));
	else
		buf_add(out, STR_EMPTY);
}

static void h1_fill(struct http_conn *c)
{
	struct h1 *h = c->codec_data;
	struct http_exchange *x = h->x;

	if (!x || !x->responded || x->sent)
		return;
	while (x->queued && c->out.n + 64 < HTTP_OUT_TARGET)
		h1_frame(h, x);
	if (x->queued || !x->out_end)
		return;
	if (h->chunked && x->length == HTTP_UNKNOWN_LENGTH && !x->no_body)
		buf_add(&c->out, STR("0\r\n\r\n"));
	http_exchange_sent(x);
	h1_maybe_finish(h);
}

/* The response is out and nobody needs the exchange: on to the next request. */
static void h1_maybe_finish(struct h1 *h)
{
	struct http_exchange *x = h->x;
	struct http_conn *c = h->conn;
	bool keep;

	if (!x || !x->sent || !http_exchange_settled(x))
		return;
	keep = h->keep_alive && !x->close && !c->server->draining;
	if (!h->complete && keep && !x->discard)
		x->discard = true;
	if (!h->complete && keep) {
		/* The rest of the request's body is skipped first. */
		http_conn_set_phase(c, HTTP_HEADER);
		http_conn_set_reading(c, true);
		return;
	}
	h->x = NULL;
	http_exchange_free(x);
	if (!keep) {
		c->closing = true;
		c->linger = !h->complete || h->reject;
		http_conn_post_flush(c);
		return;
	}
	http_conn_set_phase(c, HTTP_IDLE);
	http_conn_set_reading(c, true);
	if (c->in.n)
		http_conn_resume(c);
}

static void h1_more(struct http_exchange *x)
{
	/* A head and a small body leave together; the flush does it. */
	if (x->out_end && x->no_body)
		http_conn_post_flush(x->conn);
}

static void h1_consumed(struct http_exchange *x, size_t n UNUSED)
{
	struct h1 *h = x->conn->codec_data;

	if (!h->complete)
		http_conn_set_reading(x->conn, true);
}

static void h1_send_continue(struct http_exchange *x)
{
	buf_add(&x->conn->out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
	http_conn_post_flush(x->conn);
}

static void h1_abort(struct http_exchange *x)
{
	http_conn_kill(x->conn);
}

static void h1_settled(struct http_exchange *x)
{
	h1_maybe_finish(x->conn->codec_data);
}

static void h1_drain(struct http_conn *c)
{
	struct h1 *h = c->codec_data;

	if (h->x)
		h->x->close = true;
	else
		http_conn_kill(c);
}

static void h1_free(struct http_conn *c)
{
	struct h1 *h = c->codec_data;

	buf_fini(&h->head);
	free(h->slots);
	free(h);
	c->codec_data = NULL;
}

const struct http_codec http_codec_h1 = {
	.input = h1_input,
	.input_end = h1_input_end,
	.fill = h1_fill,
	.respond = h1_respond,
	.more = h1_more,
	.consumed = h1_consumed,
	.send_continue = h1_send_continue,
	.abort = h1_abort,
	.settled = h1_settled,
	.drain = h1_drain,
	.free = h1_free,
};

void http_h1_start(struct http_conn *c)
{
	struct h1 *h = mem_new(struct h1);

	llhttp_init(&h->parser, HTTP_REQUEST, &h1_settings);
	h->conn = c;
	c->codec_data = h;
}

struct stream *http_h1_take_stream(struct http_conn *c)
{
	struct stream *st = TAKE(c->st);

	stream_raw_detach(st);
	stream_unread(st, buf_str(&c->in));
	http_exchange_upgraded(((struct h1 *)c->codec_data)->x);
	http_conn_kill(c);
	return st;
}
