/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/http-server-internal.h"
#include "io/tls.h"

/* A server's connection: stream, buffers, timeouts. What the bytes mean is the codec's. */

#define READ_SIZE         (16 * 1024)
#define READS_PER_EVENT   8
#define IN_LIMIT          (64 * 1024) /* bytes the codec may leave behind */
#define WRITE_STALL_MS    120000
#define LINGER_MS         1000
#define PEER_USUAL        512 /* bytes that are known of a client's certificate */
#define LINGER_READ_LIMIT (4 * 1024 * 1024)

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define H2_PREFACE_ENOUGH 3 /* no method of HTTP/1 begins with PRI */

static void http_conn_event(struct stream *st, unsigned events, void *ctx);
static void http_conn_read(struct http_conn *c);

/* timeouts: one lazy timer, which is moved only when it would fire too late */

static int64_t http_conn_timeout_ms(const struct http_conn *c)
{
	switch (c->phase) {
	case HTTP_HANDSHAKE:
	case HTTP_HEADER:
		return c->server->opts.header_timeout_ms;
	case HTTP_IDLE:
		return c->server->opts.idle_timeout_ms;
	case HTTP_LINGER:
		return LINGER_MS;
	case HTTP_BUSY:
		break;
	}
	return -1;
}

static void http_conn_set_expires(struct http_conn *c, int64_t ms)
{
	if (ms < 0) {
		c->expires.ns = INT64_MAX;
		return;
	}
	c->expires = mono_add_ms(mono_now(), ms);
	if (!timer_running(&c->timer) || c->timer.at.ns > c->expires.ns)
		timer_start_at(c->server->loop, &c->timer, c->expires);
}

static void http_conn_on_timer(struct timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, timer);

	if (c->dead || c->expires.ns == INT64_MAX)
		return;
	if (mono_now().ns < c->expires.ns) {
		timer_start_at(c->server->loop, t, c->expires);
		return;
	}
	log_debug(NULL, "http connection timed out", KV_STR("peer", stream_peer_address(c->st)),
		  KV_INT("phase", c->phase));
	/* With a GOAWAY, a client whose request crosses the end on its way knows that it may retry.
	 */
	if (c->phase == HTTP_IDLE && !c->blocked)
		c->codec->drain(c);
	else
		http_conn_kill(c);
}

void http_conn_set_phase(struct http_conn *c, enum http_phase phase)
{
	if (c->dead || c->phase == phase || c->phase == HTTP_LINGER)
		return;
	c->phase = phase;
	http_conn_set_expires(c, http_conn_timeout_ms(c));
}

/* lifecycle */

static void http_conn_want(struct http_conn *c)
{
	if (c->dead)
		return;
	stream_raw_want(c->st, (c->reading && !c->read_on_write ? IO_READABLE : 0) |
				       (c->blocked || c->read_on_write ? IO_WRITABLE : 0));
}

static void http_conn_on_flush(struct task *t)
{
	http_conn_flush(container_of(t, struct http_conn, flush));
}

static void http_conn_on_resume(struct task *t)
{
	http_conn_read(container_of(t, struct http_conn, resume));
}

static void http_conn_on_kill(struct task *t)
{
	struct http_conn *c = container_of(t, struct http_conn, kill);
	struct http_exchange *x, *tmp;

	list_unlink(&c->link);
	task_cancel(&c->flush);
	task_cancel(&c->resume);
	list_for_each_safe(x, tmp, &c->exchanges, link)
		http_exchange_gone(x);
	if (c->codec)
		c->codec->free(c);
	c->codec = NULL;
	c->st = stream_free(c->st);
	buf_fini(&c->in);
	buf_fini(&c->out);
	waitq_wake_all(&c->server->settled);
	http_conn_unref(c);
}

void http_conn_kill(struct http_conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	timer_cancel(&c->timer);
	if (c->st)
		stream_raw_want(c->st, 0);
	task_post(c->server->loop, &c->kill);
}

void http_conn_unref(struct http_conn *c)
{
	if (--c->refs)
		return;
	arena_free(c->arena);
	http_server_unref(c->server);
	free(c);
}

void http_conn_open(struct http_server *s, struct stream *st, bool handshake_done)
{
	struct http_conn *c;

	if (s->draining) {
		stream_free(st);
		return;
	}
	c = mem_new(struct http_conn);
	c->server = s;
	s->refs++;
	c->refs = 1;
	c->st = st;
	c->timer.fn = http_conn_on_timer;
	c->flush.fn = http_conn_on_flush;
	c->resume.fn = http_conn_on_resume;
	c->kill.fn = http_conn_on_kill;
	c->reading = true;
	list_init(&c->exchanges);
	list_push_back(&s->conns, &c->link);
	c->phase = handshake_done ? HTTP_HEADER : HTTP_HANDSHAKE;
	http_conn_set_expires(c, s->opts.header_timeout_ms);
	stream_raw_attach(st, s->loop, http_conn_event, c);
	http_conn_want(c);
	/* A stream that was open already may hold bytes that no event will announce. */
	if (handshake_done)
		http_conn_resume(c);
}

/* which protocol */

static void http_conn_learn_peer(struct http_conn *c)
{
	stream_peer_cred(c->st, &c->cred);
	if (!stream_raw_is_tls(c->st))
		return;
	c->bad_peer_cert = stream_tls_peer_bad(c->st);
	c->arena = arena_new_sized(PEER_USUAL);
	c->has_peer_cert = stream_tls_peer(c->st, c->arena, &c->peer);
	if (!c->has_peer_cert)
		c->arena = arena_free(c->arena);
}

static void http_conn_set_codec(struct http_conn *c, const struct http_codec *codec)
{
	http_conn_learn_peer(c);
	c->codec = codec;
	if (codec == &http_codec_h2)
		http_h2_start(c);
	else
		http_h1_start(c);
}

/* False while more bytes are needed to tell. */
static bool http_conn_detect(struct http_conn *c, struct str data)
{
	const struct str alpn = stream_alpn(c->st);
	const size_t n = MIN(data.n, sizeof(h2_preface) - 1);

	if (alpn.n) {
		http_conn_set_codec(c, str_eq(alpn, STR("h2")) ? &http_codec_h2 : &http_codec_h1);
		return true;
	}
	if (memcmp(data.p, h2_preface, n) != 0) {
		http_conn_set_codec(c, &http_codec_h1);
		return true;
	}
	if (n < H2_PREFACE_ENOUGH)
		return false;
	http_conn_set_codec(c, &http_codec_h2);
	return true;
}

/* reading */

/* Gives bytes to the codec and keeps what it leaves. */
static void http_conn_input(struct http_conn *c, struct str data)
{
	const bool kept = c->in.n > 0;
	size_t n;

	if (kept) {
		buf_add(&c->in, data);
		data = buf_str(&c->in);
	}
	if (!data.n)
		return;
	n = c->codec || http_conn_detect(c, data) ? c->codec->input(c, data) : 0;
	if (c->dead)
		return;
	if (kept)
		buf_consume(&c->in, n);
	else if (n < data.n)
		buf_add(&c->in, str_skip(data, n));
	if (!c->in.n)
		buf_fini(&c->in);
	else if (c->in.n > IN_LIMIT)
		c->reading = false;
}

static bool http_conn_handshake(struct http_conn *c)
{
	switch (stream_raw_handshake(c->st)) {
	case STREAM_OK:
		c->read_on_write = false;
		http_conn_set_phase(c, HTTP_HEADER);
		if (stream_alpn(c->st).n)
			http_conn_detect(c, STR_EMPTY);
		return true;
	case STREAM_AGAIN:
		c->read_on_write = stream_raw_blocked_on(c->st) == IO_WRITABLE;
		http_conn_want(c);
		return false;
	case STREAM_END:
	case STREAM_FAILED:
		break;
	}
	http_conn_kill(c);
	return false;
}

/* After our last byte: reads what is on its way, so that no reset overtakes it. */
static void http_conn_linger(struct http_conn *c, size_t n)
{
	c->lingered += n;
	if (c->lingered > LINGER_READ_LIMIT)
		http_conn_kill(c);
}

static void http_conn_read_end(struct http_conn *c)
{
	c->reading = false;
	c->input_ended = true;
	if (!c->codec || c->phase == HTTP_LINGER)
		http_conn_kill(c);
	else
		c->codec->input_end(c);
}

/* False when the stream has no more for now. */
static bool http_conn_read_once(struct http_conn *c)
{
	/* Codecs take what they want of it before they return. */
	static _Thread_local char scratch[READ_SIZE];
	size_t n;

	switch (stream_raw_read(c->st, scratch, sizeof(scratch), &n)) {
	case STREAM_OK:
		if (c->phase == HTTP_LINGER)
			http_conn_linger(c, n);
		else
			http_conn_input(c, str_make(scratch, n));
		return true;
	case STREAM_AGAIN:
		c->read_on_write = stream_raw_blocked_on(c->st) == IO_WRITABLE;
		return false;
	case STREAM_END:
		http_conn_read_end(c);
		return false;
	case STREAM_FAILED:
		break;
	}
	http_conn_kill(c);
	return false;
}

static void http_conn_read(struct http_conn *c)
{
	int i;

	if (c->dead || (c->phase == HTTP_HANDSHAKE && !http_conn_handshake(c)))
		return;
	if (c->in.n && c->reading && c->phase != HTTP_LINGER)
		http_conn_input(c, STR_EMPTY);
	for (i = 0; i < READS_PER_EVENT && !c->dead && c->reading; i++)
		if (!http_conn_read_once(c))
			break;
	if (i == READS_PER_EVENT)
		http_conn_resume(c);
	http_conn_want(c);
}

void http_conn_resume(struct http_conn *c)
{
	if (!c->dead)
		task_post(c->server->loop, &c->resume);
}

void http_conn_set_reading(struct http_conn *c, bool reading)
{
	if (c->dead || c->reading == reading || c->input_ended)
		return;
	c->reading = reading;
	if (reading)
		http_conn_resume(c);
	else
		http_conn_want(c);
}

/* writing */

static void http_conn_finish(struct http_conn *c)
{
	if (c->input_ended || !c->linger) {
		http_conn_kill(c);
		return;
	}
	stream_raw_shutdown(c->st);
	http_conn_set_phase(c, HTTP_LINGER);
	c->reading = true;
	buf_fini(&c->in);
	http_conn_resume(c);
}

static void http_conn_block(struct http_conn *c)
{
	if (!c->blocked)
		http_conn_set_expires(c, WRITE_STALL_MS);
	c->blocked = true;
}

/* What the socket did not take last time goes first. False when it is full or broken. */
static bool http_conn_write_unsent(struct http_conn *c)
{
	switch (stream_raw_flush(c->st)) {
	case STREAM_OK:
		if (c->blocked && !c->out.n)
			http_conn_set_expires(c, http_conn_timeout_ms(c));
		c->blocked = c->blocked && c->out.n;
		return true;
	case STREAM_AGAIN:
		http_conn_block(c);
		return false;
	case STREAM_END:
	case STREAM_FAILED:
		http_conn_kill(c);
		return false;
	}
	return false;
}

/* False when the stream is full or broken. */
static bool http_conn_write(struct http_conn *c)
{
	size_t n;

	while (c->out_sent < c->out.n) {
		const struct str rest = str_skip(buf_str(&c->out), c->out_sent);

		switch (stream_raw_write_many(c->st, rest, &n)) {
		case STREAM_OK:
			c->out_sent += n;
			break;
		case STREAM_AGAIN:
			http_conn_block(c);
			return false;
		case STREAM_END:
		case STREAM_FAILED:
			http_conn_kill(c);
			return false;
		}
	}
	c->out_sent = 0;
	buf_clear(&c->out);
	if (c->blocked)
		http_conn_set_expires(c, http_conn_timeout_ms(c));
	c->blocked = false;
	return true;
}

void http_conn_want_out(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (c->out.cap)
		return;
	c->out = s->spare_out;
	s->spare_out = (struct buf){ 0 };
	buf_reserve(&c->out, HTTP_OUT_TARGET + 512);
}

/* An idle connection holds no buffer. */
static void http_conn_drop_out(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (s->spare_out.cap || c->out.cap > 2 * HTTP_OUT_TARGET) {
		buf_fini(&c->out);
		return;
	}
	buf_clear(&c->out);
	s->spare_out = c->out;
	c->out = (struct buf){ 0 };
}

void http_conn_flush(struct http_conn *c)
{
	if (c->dead || c->phase == HTTP_LINGER || c->phase == HTTP_HANDSHAKE)
		return;
	if (http_conn_write_unsent(c)) {
		do {
			if (c->codec && !c->blocked && !c->out_sent) {
				http_conn_want_out(c);
				c->codec->fill(c);
			}
		} while (!c->dead && c->out.n && http_conn_write(c));
	}
	if (!c->dead && stream_raw_unsent(c->st))
		http_conn_block(c);
	if (c->dead)
		return;
	if (!c->blocked) {
		http_conn_drop_out(c);
		if (c->closing) {
			http_conn_finish(c);
			return;
		}
	}
	http_conn_want(c);
}

void http_conn_post_flush(struct http_conn *c)
{
	if (!c->dead)
		task_post_late(c->server->loop, &c->flush);
}

static void http_conn_event(struct stream *st UNUSED, unsigned events, void *ctx)
{
	struct http_conn *c = ctx;

	if (c->dead)
		return;
	if (events & IO_WRITABLE) {
		if (c->blocked)
			http_conn_flush(c);
		if (!c->dead && c->read_on_write)
			http_conn_read(c);
	}
	if ((events & IO_READABLE) && !c->dead)
		http_conn_read(c);
}

void http_conn_drain(struct http_conn *c)
{
	struct http_exchange *x;

	if (c->dead)
		return;
	if (!c->codec) {
		http_conn_kill(c);
		return;
	}
	c->codec->drain(c);
	/* Watches would last for hours; their clients start them again elsewhere. */
	list_for_each(x, &c->exchanges, link)
		if (x->push && !x->gone)
			http_push_end(x->push);
}
