/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/blob.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/http-server-internal.h"

/* One request and its response: what handlers see. */

/* A response body above this is sent from the caller's memory as far as the stream takes it. */
#define DIRECT_BODY  (8 * 1024)
#define SEGMENT_ROOM 1024 /* for small pushes to come */
#define STREAM_QUEUE (128 * 1024)

/* lifecycle */

static void http_exchange_notify(struct task *t);

struct http_exchange *http_exchange_new(struct http_conn *c)
{
	struct http_exchange *x = mem_new(struct http_exchange);

	x->conn = c;
	c->refs++;
	c->n_exchanges++;
	list_push_back(&c->exchanges, &x->link);
	x->arena = arena_new();
	x->content_length = HTTP_UNKNOWN_LENGTH;
	x->length = HTTP_UNKNOWN_LENGTH;
	x->body_window = HTTP_BODY_WINDOW;
	waitq_init(&x->body_wait);
	waitq_init(&x->room);
	list_init(&x->segments);
	list_init(&x->observers);
	x->notify.fn = http_exchange_notify;
	return x;
}

static void http_segment_free(struct http_segment *seg)
{
	list_unlink(&seg->link);
	blob_unref(seg->blob);
	free(seg);
}

static void http_exchange_drop_queue(struct http_exchange *x)
{
	struct http_segment *seg, *tmp;

	list_for_each_safe(seg, tmp, &x->segments, link)
		http_segment_free(seg);
	x->queued = 0;
}

bool http_exchange_settled(const struct http_exchange *x)
{
	return !x->fiber && !x->push;
}

static void http_observers_ended(struct http_exchange *x)
{
	struct http_observer *o, *tmp;

	list_for_each_safe(o, tmp, &x->observers, link) {
		list_unlink(&o->link);
		o->ended(o);
	}
}

void http_exchange_free(struct http_exchange *x)
{
	ASSERT(http_exchange_settled(x));
	http_observers_ended(x);
	list_unlink(&x->link);
	task_cancel(&x->notify);
	http_exchange_drop_queue(x);
	buf_fini(&x->body);
	buf_fini(&x->piece);
	arena_free(x->arena);
	x->conn->n_exchanges--;
	http_conn_unref(x->conn);
	free(x);
}

/* After its fiber or its push let go. */
static void http_exchange_settle(struct http_exchange *x)
{
	if (!http_exchange_settled(x))
		return;
	if (x->gone)
		http_exchange_free(x);
	else
		x->conn->codec->settled(x);
}

/* The push is told from the loop, not from within whatever found out. */
static void http_exchange_notify(struct task *t)
{
	struct http_exchange *x = container_of(t, struct http_exchange, notify);
	struct http_push *p = x->push;

	if (!p)
		return;
	if (x->gone || x->sent) {
		p->x = NULL;
		p->queued = 0;
		x->push = NULL;
		p->closed(p);
		http_exchange_settle(x);
		return;
	}
	if (x->push_full && x->queued <= p->limit / 2) {
		x->push_full = false;
		if (p->writable)
			p->writable(p);
	}
}

static void http_exchange_post_notify(struct http_exchange *x)
{
	if (x->push)
		task_post(x->conn->server->loop, &x->notify);
}

void http_exchange_gone(struct http_exchange *x)
{
	if (x->gone)
		return;
	x->gone = true;
	http_exchange_drop_queue(x);
	if (x->push)
		x->push->queued = 0;
	http_exchange_post_notify(x);
	if (x->fiber)
		fiber_cancel(x->fiber);
	if (http_exchange_settled(x))
		http_exchange_free(x);
}

void http_exchange_upgraded(struct http_exchange *x)
{
	x->gone = true;
	list_unlink(&x->link);
	list_push_back(&x->conn->server->upgraded, &x->link);
}

void http_exchange_sent(struct http_exchange *x)
{
	x->sent = true;
	http_exchange_post_notify(x);
}

/* running the handler */

static void http_exchange_fail(struct http_exchange *x, struct err *e)
{
	const struct http_server_opts *o = &x->conn->server->opts;
	struct str msg = e ? err_msg(e) : STR("no response");

	if (x->gone || x->conn->dead)
		return;
	if (x->responded) {
		/* Too late for a status: the client must not take it for whole. */
		if (!x->out_end)
			x->conn->codec->abort(x);
		return;
	}
	if (o->on_error && e)
		o->on_error(x, e, o->ctx);
	if (!x->responded)
		http_respond(x, e ? err_http_status(e) : 500, "text/plain; charset=utf-8", msg);
}

static struct err *http_exchange_run(void *arg)
{
	struct http_exchange *x = arg;
	struct http_server *s = x->conn->server;
	struct err *e = s->opts.handler(x, s->opts.ctx);

	if (e || !x->responded)
		http_exchange_fail(x, e);
	err_ignore(e, "sent to the client");
	x->arena = arena_free(x->arena);
	x->req = (struct http_request){ 0 };
	x->discard = true;
	if (!x->gone && !x->conn->dead && !x->body_end)
		x->conn->codec->consumed(x, x->body.n);
	buf_fini(&x->piece);
	buf_fini(&x->body);
	/* A server outlives its last fiber, though the exchange may not. */
	x->fiber = fiber_unref(x->fiber);
	s->n_fibers--;
	waitq_wake_all(&s->settled);
	http_exchange_post_notify(x);
	s->refs++;
	http_exchange_settle(x);
	http_server_unref(s);
	return NULL;
}

static void http_exchange_fill_request(struct http_exchange *x)
{
	const struct http_conn *c = x->conn;
	struct http_request *r = &x->req;
	struct str rest = r->path;

	r->arena = x->arena;
	str_cut(&rest, '?', &r->path);
	r->raw_query = rest;
	r->query = http_query_parse(x->arena, rest);
	r->peer_address = stream_peer_address(c->st);
	if (!stream_raw_is_tls(c->st) && str_eq(r->peer_address, STR_EMPTY))
		r->peer_address = STR("unix");
	r->peer_address = arena_str(x->arena, r->peer_address);
	r->has_peer_cert = c->has_peer_cert;
	r->bad_peer_cert = c->bad_peer_cert;
	r->peer = c->peer;
	r->cred = c->cred;
	r->secure = stream_raw_is_tls(c->st);
}

void http_exchange_start(struct http_exchange *x)
{
	struct http_server *s = x->conn->server;

	http_exchange_fill_request(x);
	x->no_body = str_eqz(x->req.method, "HEAD");
	s->n_fibers++;
	x->fiber = fiber_spawn(s->loop, "http", http_exchange_run, x);
}

void http_exchange_reject(struct http_exchange *x, int status)
{
	const char *text = http_status_text(status);

	x->discard = true;
	x->close = true;
	http_respond(x, status, "text/plain; charset=utf-8",
		     arena_fmt(x->arena, "%d %s", status, text));
}

const struct http_request *http_request(const struct http_exchange *x)
{
	return &x->req;
}

/* the request's body */

void http_exchange_body(struct http_exchange *x, struct str data)
{
	if (x->discard || x->gone)
		return;
	buf_add(&x->body, data);
	waitq_wake_all(&x->body_wait);
}

void http_exchange_body_end(struct http_exchange *x)
{
	x->body_end = true;
	waitq_wake_all(&x->body_wait);
}

static struct err *http_exchange_lost(void)
{
	return err_new(ERR_CANCELED, "the client went away");
}

static void http_body_begin(struct http_exchange *x)
{
	if (x->expect_continue && !x->body_end && !x->responded && !x->gone && !x->conn->dead)
		x->conn->codec->send_continue(x);
	x->expect_continue = false;
}

static struct err *http_body_too_large(size_t max)
{
	return err_new(ERR_TOO_LARGE, "Request entity too large: limit is %zu", max);
}

struct err *http_read_body(struct http_exchange *x, size_t max, struct str *ret)
{
	size_t n;

	if (!max)
		max = x->conn->server->opts.max_body;
	if (x->content_length != HTTP_UNKNOWN_LENGTH && x->content_length > max)
		return http_body_too_large(max);
	http_body_begin(x);
	x->reading_all = true;
	x->body_window = max;
	if (!x->body_end && !x->gone)
		x->conn->codec->consumed(x, x->body.n);
	while (!x->body_end && x->body.n <= max) {
		if (x->gone)
			return http_exchange_lost();
		TRY(waitq_wait(&x->body_wait));
	}
	if (x->body.n > max)
		return http_body_too_large(max);
	n = x->body.n;
	*ret = str_make(n ? buf_take(&x->body) : "", n);
	if (n)
		arena_defer(x->arena, free, (char *)(uintptr_t)ret->p);
	return NULL;
}

struct err *http_read_body_some(struct http_exchange *x, struct str *ret)
{
	http_body_begin(x);
	buf_fini(&x->piece);
	while (!x->body.n && !x->body_end) {
		if (x->gone)
			return http_exchange_lost();
		TRY(waitq_wait(&x->body_wait));
	}
	x->piece = x->body;
	x->body = (struct buf){ 0 };
	*ret = buf_str(&x->piece);
	if (!x->gone && !x->conn->dead && ret->n)
		x->conn->codec->consumed(x, ret->n);
	return NULL;
}

/* the queue */

static void http_queue_changed(struct http_exchange *x)
{
	if (x->push)
		x->push->queued = x->queued;
	x->conn->codec->more(x);
	http_conn_post_flush(x->conn);
}

static bool http_queue_append(struct http_exchange *x, struct str s)
{
	struct http_segment *last;

	if (list_empty(&x->segments))
		return false;
	last = list_entry(x->segments.prev, struct http_segment, link);
	if (last->room < s.n)
		return false;
	memcpy((char *)(uintptr_t)last->p + last->n, s.p, s.n);
	last->n += s.n;
	last->room -= s.n;
	x->queued += s.n;
	return true;
}

static struct http_segment *http_queue_segment(struct http_exchange *x, size_t own)
{
	struct http_segment *seg = mem_alloc(sizeof(*seg) + own);

	*seg = (struct http_segment){ .p = seg->own };
	list_init(&seg->link);
	list_push_back(&x->segments, &seg->link);
	return seg;
}

static void http_queue_copy(struct http_exchange *x, struct str s, size_t room)
{
	struct http_segment *seg;

	if (!s.n || http_queue_append(x, s))
		return;
	seg = http_queue_segment(x, MAX(s.n, room));
	memcpy(seg->own, s.p, s.n);
	seg->n = s.n;
	seg->room = MAX(s.n, room) - s.n;
	x->queued += s.n;
}

static void http_queue_borrow(struct http_exchange *x, struct str s)
{
	struct http_segment *seg;

	if (!s.n)
		return;
	seg = http_queue_segment(x, 0);
	seg->p = s.p;
	seg->n = s.n;
	seg->borrowed = true;
	x->queued += s.n;
}

/* Copies what could not be sent from the caller's memory. */
static void http_queue_own(struct http_exchange *x)
{
	struct http_segment *seg, *tmp;

	list_for_each_safe(seg, tmp, &x->segments, link) {
		struct http_segment *copy;

		if (!seg->borrowed)
			continue;
		copy = mem_alloc(sizeof(*copy) + seg->n);
		*copy = (struct http_segment){ .p = copy->own, .n = seg->n };
		memcpy(copy->own, seg->p, seg->n);
		list_init(&copy->link);
		list_insert_before(&seg->link, &copy->link);
		http_segment_free(seg);
	}
}

void http_exchange_take(struct http_exchange *x, char *p, size_t n)
{
	ASSERT(n <= x->queued);
	x->queued -= n;
	while (n) {
		struct http_segment *seg = list_entry(x->segments.next, struct http_segment, link);
		const size_t part = MIN(n, seg->n);

		ASSERT(!list_empty(&x->segments));
		memcpy(p, seg->p, part);
		p += part;
		n -= part;
		seg->p += part;
		seg->n -= part;
		if (!seg->n)
			http_segment_free(seg);
	}
	if (x->queued <= STREAM_QUEUE / 2)
		waitq_wake_all(&x->room);
	if (x->push) {
		x->push->queued = x->queued;
		if (x->push_full && x->queued <= x->push->limit / 2)
			http_exchange_post_notify(x);
	}
}

/* the response's head */

bool http_header_is_hop(struct str name)
{
	static const char *const hop[] = { "connection",       "keep-alive", "transfer-encoding",
					   "proxy-connection", "upgrade",    "content-length" };

	for (size_t i = 0; i < ARRAY_LEN(hop); i++)
		if (str_eq_nocase(name, str_from(hop[i])))
			return true;
	return false;
}

/* No value may end its line. */
static struct str http_header_clean(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++)
		if (p[i] == '\r' || p[i] == '\n' || p[i] == 0)
			p[i] = ' ';
	return str_make(p, s.n);
}

void http_add_header(struct http_exchange *x, const char *name, struct str value)
{
	PRE(x->arena && !x->responded);
	http_headers_add(x->arena, &x->headers, arena_str(x->arena, str_from(name)),
			 http_header_clean(x->arena, value));
}

void http_set_header(struct http_exchange *x, const char *name, struct str value)
{
	PRE(x->arena && !x->responded);
	for (size_t i = 0; i < x->headers.n; i++)
		if (str_eq_nocase(x->headers.v[i].name, str_from(name))) {
			x->headers.v[i].value = http_header_clean(x->arena, value);
			return;
		}
	http_add_header(x, name, value);
}

bool http_responded(const struct http_exchange *x)
{
	return x->responded;
}

uint64_t http_response_length(const struct http_exchange *x)
{
	return x->length;
}

void http_observe(struct http_exchange *x, struct http_observer *o)
{
	list_push_back(&x->observers, &o->link);
}

static void http_observers_started(struct http_exchange *x, int status)
{
	struct http_observer *o;

	list_for_each(o, &x->observers, link)
		o->started(o, status);
}

/* Whether there is somebody to respond to. */
static bool http_respond_head(struct http_exchange *x, int status, const char *content_type)
{
	PRE(!x->responded);
	if (content_type)
		http_set_header(x, "Content-Type", str_from(content_type));
	x->responded = true;
	http_observers_started(x, status);
	if (status == 204 || status == 304 || status < 200)
		x->no_body = true;
	if (x->gone || x->conn->dead)
		return false;
	if (x->expect_continue && !x->body_end)
		x->close = true;
	x->conn->codec->respond(x, status);
	return true;
}

void http_respond_v(struct http_exchange *x, int status, const char *content_type,
		    const struct str *parts, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += parts[i].n;
	x->length = total;
	x->out_end = true;
	if (!http_respond_head(x, status, content_type))
		return;
	for (size_t i = 0; i < n && !x->no_body; i++) {
		if (total > DIRECT_BODY)
			http_queue_borrow(x, parts[i]);
		else
			http_queue_copy(x, parts[i], total);
	}
	http_queue_changed(x);
	if (total > DIRECT_BODY) {
		if (fiber_self())
			http_conn_flush(x->conn);
		http_queue_own(x);
	}
}

void http_respond(struct http_exchange *x, int status, const char *content_type, struct str body)
{
	http_respond_v(x, status, content_type, &body, 1);
}

static void http_queue_blob(struct http_exchange *x, struct blob *b)
{
	struct http_segment *seg = http_queue_segment(x, 0);

	seg->blob = blob_ref(b);
	seg->p = b->p;
	seg->n = b->n;
	x->queued += b->n;
}

void http_respond_blobs(struct http_exchange *x, int status, const char *content_type,
			struct blob *const *parts, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += parts[i]->n;
	x->length = total;
	x->out_end = true;
	if (!http_respond_head(x, status, content_type))
		return;
	for (size_t i = 0; i < n && !x->no_body; i++)
		if (parts[i]->n)
			http_queue_blob(x, parts[i]);
	http_queue_changed(x);
}

/* A handler that proxies knows the length. */
static void http_take_length(struct http_exchange *x)
{
	struct str s = http_headers_find(&x->headers, "Content-Length");

	if (!s.p || !str_to_u64(s, &x->length))
		x->length = HTTP_UNKNOWN_LENGTH;
}

void http_respond_stream(struct http_exchange *x, int status, const char *content_type)
{
	http_take_length(x);
	if (http_respond_head(x, status, content_type))
		http_queue_changed(x);
}

/* *ret_skip: the response has no body. */
static struct err *http_body_check(struct http_exchange *x, bool *ret_skip)
{
	PRE(x->responded && !x->out_end);
	TRY(fiber_check());
	if (x->gone || x->conn->dead)
		return http_exchange_lost();
	*ret_skip = x->no_body;
	return NULL;
}

static struct err *http_body_pace(struct http_exchange *x)
{
	http_queue_changed(x);
	while (x->queued > STREAM_QUEUE) {
		TRY(waitq_wait(&x->room));
		if (x->gone || x->conn->dead)
			return http_exchange_lost();
	}
	return NULL;
}

struct err *http_body_write(struct http_exchange *x, struct str data)
{
	bool skip;

	TRY(http_body_check(x, &skip));
	if (skip)
		return NULL;
	http_queue_copy(x, data, SEGMENT_ROOM);
	return http_body_pace(x);
}

struct err *http_body_write_blob(struct http_exchange *x, struct blob *b)
{
	bool skip;

	TRY(http_body_check(x, &skip));
	if (skip || !b->n)
		return NULL;
	http_queue_blob(x, b);
	return http_body_pace(x);
}

struct err *http_body_end(struct http_exchange *x)
{
	PRE(x->responded && !x->out_end);
	x->out_end = true;
	if (x->gone || x->conn->dead)
		return http_exchange_lost();
	http_queue_changed(x);
	return NULL;
}

/* SUSPENDS until the connection's buffers are empty. */
static struct err *http_exchange_drain_out(struct http_exchange *x)
{
	struct http_conn *c = x->conn;

	http_conn_flush(c);
	while (!c->dead && !x->gone && (c->out.n || stream_raw_unsent(c->st))) {
		/* A short head into an empty socket: this wait is for a peer that reads nothing. */
		TRY(fiber_sleep_ms(1));
	}
	return c->dead || x->gone ? http_exchange_lost() : NULL;
}

struct err *http_respond_upgrade(struct http_exchange *x, struct stream **ret)
{
	struct http_conn *c = x->conn;

	PRE(!x->responded);
	if (x->req.http_major != 1)
		return err_new(ERR_BAD_REQUEST, "an upgrade needs HTTP/1.1");
	if (!x->body_end)
		return err_new(ERR_BAD_REQUEST, "an upgrade request must not have a body");
	x->out_end = true;
	if (!http_respond_head(x, 101, NULL))
		return http_exchange_lost();
	TRY(http_exchange_drain_out(x));
	*ret = http_h1_take_stream(c);
	return NULL;
}

/* event-driven responses */

void http_respond_push(struct http_exchange *x, int status, const char *content_type,
		       struct http_push *p, size_t limit)
{
	PRE(p->closed && limit && !x->push);
	p->x = x;
	p->limit = limit;
	p->queued = 0;
	x->push = p;
	if (http_respond_head(x, status, content_type))
		http_queue_changed(x);
}

static bool http_push_room(struct http_exchange *x)
{
	if (x->queued <= x->push->limit)
		return true;
	x->push_full = true;
	return false;
}

static bool http_push_dead(const struct http_exchange *x)
{
	return !x || x->gone || x->conn->dead;
}

bool http_push_write(struct http_push *p, struct str copied)
{
	struct http_exchange *x = p->x;

	if (http_push_dead(x) || x->out_end)
		return false;
	if (x->no_body)
		return true;
	http_queue_copy(x, copied, SEGMENT_ROOM);
	http_queue_changed(x);
	return http_push_room(x);
}

bool http_push_blob(struct http_push *p, struct blob *b)
{
	struct http_exchange *x = p->x;

	if (http_push_dead(x) || x->out_end)
		return false;
	if (x->no_body || !b->n)
		return true;
	http_queue_blob(x, b);
	http_queue_changed(x);
	return http_push_room(x);
}

size_t http_push_queued(const struct http_push *p)
{
	return p->queued;
}

void http_push_end(struct http_push *p)
{
	struct http_exchange *x = p->x;

	if (http_push_dead(x) || x->out_end)
		return;
	x->out_end = true;
	http_queue_changed(x);
}

void http_push_abort(struct http_push *p)
{
	if (!http_push_dead(p->x))
		p->x->conn->codec->abort(p->x);
}
