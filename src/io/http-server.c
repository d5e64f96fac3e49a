/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http-server.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/http-server-internal.h"
#include "io/tls.h"

#define DEFAULT_MAX_BODY          (3 * 1024 * 1024)
#define DEFAULT_HEADER_TIMEOUT_MS 30000
#define DEFAULT_IDLE_TIMEOUT_MS   90000
#define ACCEPTS_PER_EVENT         16
#define ACCEPT_PAUSE_MS           100

struct http_listener {
	struct list link;
	struct http_server *server;
	struct io_source src;
	struct timer pause;
	int fd;
};

/* listeners */

static void http_listener_resume(struct timer *t)
{
	struct http_listener *l = container_of(t, struct http_listener, pause);

	io_source_set(&l->src, IO_READABLE);
}

static void http_listener_accept(struct io_source *src, unsigned events UNUSED)
{
	struct http_listener *l = container_of(src, struct http_listener, src);

	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct stream *st;

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			/* Out of descriptors or memory: connections wait in the backlog. */
			log_warn(NULL, "cannot accept connections", KV_Z("error", strerror(errno)));
			io_source_set(&l->src, 0);
			timer_start(l->server->loop, &l->pause, ACCEPT_PAUSE_MS);
			return;
		}
		st = stream_raw_accept(fd, l->server->tls);
		if (st)
			http_conn_open(l->server, st, !l->server->tls);
	}
}

void http_server_listen(struct http_server *s, int listen_fd)
{
	struct http_listener *l = mem_new(struct http_listener);

	l->server = s;
	l->fd = listen_fd;
	l->src.fn = http_listener_accept;
	l->pause.fn = http_listener_resume;
	list_push_back(&s->listeners, &l->link);
	io_source_add(s->loop, &l->src, listen_fd, IO_READABLE);
}

static void http_server_stop_listening(struct http_server *s)
{
	struct http_listener *l, *tmp;

	list_for_each_safe(l, tmp, &s->listeners, link) {
		list_unlink(&l->link);
		io_source_del(&l->src);
		timer_cancel(&l->pause);
		close(l->fd);
		free(l);
	}
}

/* what there is, for people */

static const char *const http_phase_names[] = {
	[HTTP_HANDSHAKE] = "handshake", [HTTP_HEADER] = "header", [HTTP_IDLE] = "idle",
	[HTTP_BUSY] = "busy",           [HTTP_LINGER] = "linger",
};

static void http_exchange_dump(const struct http_exchange *x)
{
	fprintf(stderr, "  exchange stream=%d %s" STR_FMT " " STR_FMT " queued=%zu responded=%d\n",
		(int)x->stream_id, x->push ? "push " : "", STR_ARG(x->req.method),
		STR_ARG(str_sub(x->req.path, 0, 200)), x->queued, x->responded);
}

void http_server_dump(const struct http_server *s)
{
	const struct http_conn *c;
	const struct http_exchange *x;

	fprintf(stderr, "connections: %zu handlers run\n", s->n_fibers);
	list_for_each(c, &s->conns, link) {
		fprintf(stderr, "connection %s %s peer=" STR_FMT " out=%zu exchanges=%zu%s\n",
			c->codec == &http_codec_h2   ? "h2"
			: c->codec == &http_codec_h1 ? "h1"
						     : "-",
			http_phase_names[c->phase], STR_ARG(stream_peer_address(c->st)), c->out.n,
			c->n_exchanges, c->blocked ? " blocked" : "");
		list_for_each(x, &c->exchanges, link)
			http_exchange_dump(x);
	}
}

/* lifecycle */

struct http_server *http_server_new(struct loop *l, const struct http_server_opts *opts)
{
	struct http_server *s = mem_new(struct http_server);

	PRE(opts->handler);
	s->loop = l;
	s->opts = *opts;
	s->opts.tls = NULL;
	s->tls = opts->tls ? tls_config_ref((struct tls_config *)(uintptr_t)opts->tls) : NULL;
	if (!s->opts.max_body)
		s->opts.max_body = DEFAULT_MAX_BODY;
	if (!s->opts.header_timeout_ms)
		s->opts.header_timeout_ms = DEFAULT_HEADER_TIMEOUT_MS;
	if (!s->opts.idle_timeout_ms)
		s->opts.idle_timeout_ms = DEFAULT_IDLE_TIMEOUT_MS;
	s->refs = 1;
	list_init(&s->listeners);
	list_init(&s->conns);
	list_init(&s->upgraded);
	waitq_init(&s->settled);
	return s;
}

void http_server_unref(struct http_server *s)
{
	if (--s->refs)
		return;
	tls_config_unref(s->tls);
	buf_fini(&s->spare_out);
	free(s);
}

void http_server_serve(struct http_server *s, struct stream *st)
{
	http_conn_open(s, st, true);
}

void http_server_set_tls(struct http_server *s, const struct tls_config *tls)
{
	tls_config_unref(s->tls);
	s->tls = tls_config_ref((struct tls_config *)(uintptr_t)tls);
}

static void http_server_kill_all(struct http_server *s)
{
	struct http_exchange *x;
	struct http_conn *c, *tmp;

	list_for_each_safe(c, tmp, &s->conns, link)
		http_conn_kill(c);
	list_for_each(x, &s->upgraded, link)
		fiber_cancel(x->fiber);
}

static bool http_server_quiet(const struct http_server *s)
{
	return list_empty(&s->conns) && !s->n_fibers;
}

void http_server_drain(struct http_server *s, int64_t ms)
{
	const struct mono end = mono_add_ms(mono_now(), ms);
	struct http_conn *c, *tmp;
	bool woken;

	s->draining = true;
	http_server_stop_listening(s);
	list_for_each_safe(c, tmp, &s->conns, link)
		http_conn_drain(c);
	fiber_mask_cancel();
	while (!http_server_quiet(s)) {
		const int64_t left = (end.ns - mono_now().ns + NS_PER_MS - 1) / NS_PER_MS;

		if (left <= 0)
			break;
		err_ignore(waitq_wait_ms(&s->settled, left, &woken), "masked");
	}
	/* Handlers are canceled, and end as soon as they notice. */
	http_server_kill_all(s);
	while (!http_server_quiet(s))
		err_ignore(waitq_wait(&s->settled), "masked");
	fiber_unmask_cancel();
}

struct http_server *http_server_free(struct http_server *s)
{
	if (!s)
		return NULL;
	if (fiber_self())
		http_server_drain(s, 0);
	s->draining = s->closed = true;
	http_server_stop_listening(s);
	http_server_kill_all(s);
	http_server_unref(s);
	return NULL;
}

const char *http_server_date(struct http_server *s)
{
	const int64_t second = wall_now().ns / NS_PER_SEC;
	struct tm tm;
	time_t t = second;

	if (second != s->date_second) {
		s->date_second = second;
		gmtime_r(&t, &tm);
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return s->date;
}
