/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/stream-internal.h"
#include "io/stream-raw.h"
#include "io/tls-internal.h"

/*
 * Reads and writes are tried first and wait only when they would block. The descriptor's
 * interest in readability is dropped lazily: when it becomes readable and nobody waits. So a
 * request-response connection costs no epoll_ctl at all.
 *
 * A short read from a socket means that it is drained; the read that would only say EAGAIN is
 * saved. epoll is level-triggered, so an end of stream that came with the bytes shows up.
 *
 * TLS runs over a BIO of our own, which sees the same flags.
 */

#define HANDSHAKE_TIMEOUT_MS 30000
#define RELAY_BUF_SIZE       (32 * 1024)

struct stream {
	int fd;
	bool is_socket, drained, sock_end;
	SSL *ssl;
	int error;       /* errno of a failure below TLS, or of plain I/O */
	char *tls_error; /* text */
	unsigned blocked_on;
	struct buf unread;
	struct buf unsent; /* TLS records that the socket did not take (stream_raw_write_many) */
	/* event-driven owner */
	stream_raw_fn fn;
	void *ctx;
	/* or fibers */
	struct waitq readers, writers;
	struct io_source src;
	char peer[64];
};

/* descriptors */

static ssize_t stream_fd_read(struct stream *s, void *p, size_t n)
{
	ssize_t r;

	if (s->drained) {
		errno = EAGAIN;
		return -1;
	}
	do
		r = s->is_socket ? recv(s->fd, p, n, 0) : read(s->fd, p, n);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		s->drained = true;
	else if (r < 0)
		s->error = errno;
	else if (r == 0)
		s->sock_end = true;
	else
		s->drained = s->is_socket && (size_t)r < n;
	return r;
}

static ssize_t stream_fd_write(struct stream *s, const void *p, size_t n)
{
	ssize_t r;

	do
		r = s->is_socket ? send(s->fd, p, n, MSG_NOSIGNAL) : write(s->fd, p, n);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno != EAGAIN)
		s->error = errno;
	return r;
}

/*
 * Records of one stream_raw_write_many on their way to one send(): a TCP segment per record
 * costs as much as encrypting it.
 */
#define RECORD_DATA ((size_t)16 * 1024)
#define RECORD_MAX  (RECORD_DATA + 256)
#define CORK_SIZE   (5 * RECORD_MAX) /* all of HTTP_OUT_TARGET and the frame that passes it */

static struct {
	struct stream *owner;
	size_t n;
	char p[CORK_SIZE];
} cork;

/* Sends the cork, keeping what the socket does not take. False on a failure. */
static bool stream_uncork(struct stream *s)
{
	ssize_t r = cork.n ? stream_fd_write(s, cork.p, cork.n) : 0;

	cork.owner = NULL;
	if (r < 0 && errno != EAGAIN)
		return false;
	r = MAX(r, 0);
	buf_add(&s->unsent, str_make(cork.p + r, cork.n - (size_t)r));
	return true;
}

/* the BIO under TLS */

static int stream_bio_read(BIO *b, char *p, size_t n, size_t *ret_n)
{
	struct stream *s = BIO_get_data(b);
	ssize_t r = stream_fd_read(s, p, n);

	BIO_clear_retry_flags(b);
	if (r > 0) {
		*ret_n = (size_t)r;
		return 1;
	}
	if (r < 0 && errno == EAGAIN)
		BIO_set_retry_read(b);
	return r < 0 ? -1 : 0;
}

static int stream_bio_write(BIO *b, const char *p, size_t n, size_t *ret_n)
{
	struct stream *s = BIO_get_data(b);
	ssize_t r;

	BIO_clear_retry_flags(b);
	if (cork.owner == s && cork.n + n <= CORK_SIZE) {
		memcpy(cork.p + cork.n, p, n);
		cork.n += n;
		*ret_n = n;
		return 1;
	}
	if (s->unsent.n || cork.owner == s) {
		/* Nothing may overtake what waits. */
		if (cork.owner == s && !stream_uncork(s))
			return -1;
		buf_add(&s->unsent, str_make(p, n));
		*ret_n = n;
		return 1;
	}
	r = stream_fd_write(s, p, n);
	if (r >= 0) {
		*ret_n = (size_t)r;
		return 1;
	}
	if (errno == EAGAIN)
		BIO_set_retry_write(b);
	return -1;
}

static long stream_bio_ctrl(BIO *b, int cmd, long num UNUSED, void *p UNUSED)
{
	const struct stream *s = BIO_get_data(b);

	if (cmd == BIO_CTRL_FLUSH)
		return 1;
	if (cmd == BIO_CTRL_EOF)
		return s->sock_end;
	return 0;
}

static BIO *stream_bio_new(struct stream *s)
{
	static BIO_METHOD *method;
	BIO *b;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
		ASSERT(method);
		BIO_meth_set_read_ex(method, stream_bio_read);
		BIO_meth_set_write_ex(method, stream_bio_write);
		BIO_meth_set_ctrl(method, stream_bio_ctrl);
	}
	b = BIO_new(method);
	ASSERT(b);
	BIO_set_data(b, s);
	BIO_set_init(b, 1);
	return b;
}

/* Maps the outcome r of an SSL call; `event` is what it would naturally wait for. */
static enum stream_result stream_ssl_result(struct stream *s, int r, unsigned event)
{
	char text[256];

	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_NONE:
		return STREAM_OK;
	case SSL_ERROR_WANT_READ:
		s->blocked_on = IO_READABLE;
		return STREAM_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		s->blocked_on = IO_WRITABLE;
		return STREAM_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		if (event == IO_READABLE)
			return STREAM_END;
		s->error = EPIPE;
		return STREAM_FAILED;
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		if (!s->error)
			s->error = ECONNRESET;
		return STREAM_FAILED;
	default:
		tls_error_text(s->ssl, text, sizeof(text));
		free(s->tls_error);
		s->tls_error = mem_strdup(str_from(text));
		return STREAM_FAILED;
	}
}

/* raw operations */

static enum stream_result stream_read_unread(struct stream *s, void *p, size_t n, size_t *ret_n)
{
	*ret_n = MIN(n, s->unread.n);
	memcpy(p, s->unread.p, *ret_n);
	buf_consume(&s->unread, *ret_n);
	if (!s->unread.n)
		buf_fini(&s->unread);
	return STREAM_OK;
}

enum stream_result stream_raw_read(struct stream *s, void *p, size_t n, size_t *ret_n)
{
	ssize_t r;

	PRE(n);
	*ret_n = 0;
	if (s->unread.n)
		return stream_read_unread(s, p, n, ret_n);
	if (s->fd < 0) {
		s->error = EBADF;
		return STREAM_FAILED;
	}
	if (s->ssl) {
		ERR_clear_error();
		return stream_ssl_result(s, SSL_read_ex(s->ssl, p, n, ret_n), IO_READABLE);
	}
	r = stream_fd_read(s, p, n);
	if (r > 0)
		*ret_n = (size_t)r;
	if (r < 0 && errno == EAGAIN) {
		s->blocked_on = IO_READABLE;
		return STREAM_AGAIN;
	}
	/* A terminal whose other side closed says EIO. */
	if (r == 0 || (r < 0 && errno == EIO && !s->is_socket))
		return STREAM_END;
	return r < 0 ? STREAM_FAILED : STREAM_OK;
}

enum stream_result stream_raw_write(struct stream *s, struct str data, size_t *ret_n)
{
	ssize_t r;

	*ret_n = 0;
	if (!data.n)
		return STREAM_OK;
	if (s->fd < 0) {
		s->error = EPIPE;
		return STREAM_FAILED;
	}
	if (s->ssl) {
		ERR_clear_error();
		return stream_ssl_result(s, SSL_write_ex(s->ssl, data.p, data.n, ret_n),
					 IO_WRITABLE);
	}
	r = stream_fd_write(s, data.p, data.n);
	if (r >= 0) {
		*ret_n = (size_t)r;
		return STREAM_OK;
	}
	s->blocked_on = IO_WRITABLE;
	return errno == EAGAIN ? STREAM_AGAIN : STREAM_FAILED;
}

enum stream_result stream_raw_flush(struct stream *s)
{
	ssize_t r;

	if (!s->unsent.n)
		return STREAM_OK;
	r = stream_fd_write(s, s->unsent.p, s->unsent.n);
	if (r < 0 && errno != EAGAIN)
		return STREAM_FAILED;
	buf_consume(&s->unsent, (size_t)MAX(r, 0));
	if (s->unsent.n) {
		s->blocked_on = IO_WRITABLE;
		return STREAM_AGAIN;
	}
	buf_fini(&s->unsent);
	return STREAM_OK;
}

enum stream_result stream_raw_write_many(struct stream *s, struct str data, size_t *ret_n)
{
	enum stream_result r = stream_raw_flush(s);
	size_t n;

	*ret_n = 0;
	if (r != STREAM_OK || !s->ssl || s->fd < 0)
		return r == STREAM_OK ? stream_raw_write(s, data, ret_n) : r;
	cork.owner = s;
	cork.n = 0;
	while (r == STREAM_OK && data.n && CORK_SIZE - cork.n >= RECORD_MAX) {
		r = stream_raw_write(s, str_sub(data, 0, MIN(data.n, RECORD_DATA)), &n);
		*ret_n += n;
		data = str_skip(data, n);
	}
	if (cork.owner == s && !stream_uncork(s))
		return STREAM_FAILED;
	return *ret_n && r == STREAM_AGAIN ? STREAM_OK : r;
}

bool stream_raw_unsent(const struct stream *s)
{
	return s->unsent.n;
}

enum stream_result stream_raw_handshake(struct stream *s)
{
	if (!s->ssl)
		return STREAM_OK;
	ERR_clear_error();
	return stream_ssl_result(s, SSL_do_handshake(s->ssl), IO_READABLE | IO_WRITABLE);
}

void stream_raw_shutdown(struct stream *s)
{
	if (s->fd < 0)
		return;
	if (s->ssl && !s->error && !s->tls_error && SSL_is_init_finished(s->ssl)) {
		ERR_clear_error();
		SSL_shutdown(s->ssl);
		ERR_clear_error();
	}
	if (s->unsent.n)
		stream_raw_flush(s);
	if (s->is_socket)
		shutdown(s->fd, SHUT_WR);
}

struct err *stream_raw_error(const struct stream *s, const char *what)
{
	if (s->tls_error)
		return err_new(ERR_PROTOCOL, "%s: %s", what, s->tls_error);
	return err_errno(s->error ? s->error : EIO, "%s", what);
}

unsigned stream_raw_blocked_on(const struct stream *s)
{
	return s->blocked_on;
}

bool stream_raw_is_tls(const struct stream *s)
{
	return s->ssl;
}

/* events */

static void stream_on_event(struct io_source *src, unsigned events)
{
	struct stream *s = container_of(src, struct stream, src);

	if (events & IO_READABLE)
		s->drained = false;
	if (s->fn) {
		s->fn(s, events, s->ctx);
		return;
	}
	if (events & IO_READABLE) {
		if (list_empty(&s->readers.waiters))
			io_source_set(src, src->events & ~IO_READABLE);
		waitq_wake_all(&s->readers);
	}
	if (events & IO_WRITABLE) {
		io_source_set(src, src->events & ~IO_WRITABLE);
		waitq_wake_all(&s->writers);
	}
}

void stream_raw_attach(struct stream *s, struct loop *l, stream_raw_fn fn, void *ctx)
{
	PRE(!s->fn);
	s->fn = fn;
	s->ctx = ctx;
	if (!s->src.loop)
		io_source_add(l, &s->src, s->fd, 0);
}

void stream_raw_detach(struct stream *s)
{
	s->fn = NULL;
	s->ctx = NULL;
	if (s->src.loop)
		io_source_set(&s->src, 0);
}

void stream_raw_want(struct stream *s, unsigned events)
{
	if (s->src.events != events)
		io_source_set(&s->src, events);
}

/* SUSPENDS until the last attempt, which said STREAM_AGAIN, is worth another one. */
static struct err *stream_wait(struct stream *s)
{
	PRE(!s->fn && s->fd >= 0);
	if (!s->src.loop)
		io_source_add(fiber_loop(), &s->src, s->fd, 0);
	/* TLS may wait for the other direction; then the two fibers share an event. */
	if ((s->src.events & s->blocked_on) != s->blocked_on)
		io_source_set(&s->src, s->src.events | s->blocked_on);
	return waitq_wait(s->blocked_on & IO_READABLE ? &s->readers : &s->writers);
}

/* opening */

static void stream_set_peer(struct stream *s)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage ss;
	} u = { 0 };
	socklen_t n = sizeof(u);
	char ip[INET6_ADDRSTRLEN] = "";

	if (!s->is_socket || getpeername(s->fd, &u.sa, &n) < 0)
		return;
	if (u.sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &u.in.sin_addr, ip, sizeof(ip));
		snprintf(s->peer, sizeof(s->peer), "%s:%u", ip, ntohs(u.in.sin_port));
	} else if (u.sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &u.in6.sin6_addr, ip, sizeof(ip));
		snprintf(s->peer, sizeof(s->peer), "[%s]:%u", ip, ntohs(u.in6.sin6_port));
	} else if (u.sa.sa_family == AF_UNIX) {
		snprintf(s->peer, sizeof(s->peer), "unix");
	}
}

struct stream *stream_from_fd(int fd)
{
	struct stream *s = mem_new(struct stream);
	int flags = fcntl(fd, F_GETFL);
	int type;
	socklen_t n = sizeof(type);

	PRE(flags >= 0);
	if (!(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	s->fd = fd;
	s->is_socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0;
	s->src.fn = stream_on_event;
	waitq_init(&s->readers);
	waitq_init(&s->writers);
	stream_set_peer(s);
	return s;
}

static void stream_tune_socket(int fd)
{
	int one = 1;

	/* Both fail on Unix sockets, which need neither. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

struct err *stream_start_tls(struct stream *s, const struct tls_config *tls,
			     const char *server_name)
{
	return tls_new(tls, server_name, stream_bio_new(s), &s->ssl);
}

struct stream *stream_raw_accept(int fd, const struct tls_config *tls)
{
	struct stream *s = stream_from_fd(fd);

	stream_tune_socket(fd);
	if (tls)
		err_log(NULL, LOG_ERROR, "cannot set up TLS", stream_start_tls(s, tls, NULL));
	if (tls && !s->ssl)
		return stream_free(s);
	return s;
}

struct err *stream_handshake(struct stream *s)
{
	struct mono old = fiber_limit_ms(HANDSHAKE_TIMEOUT_MS);
	struct err *e = NULL;

	while (!e) {
		enum stream_result r = stream_raw_handshake(s);

		if (r == STREAM_OK)
			break;
		if (r == STREAM_AGAIN)
			e = stream_wait(s);
		else
			e = stream_raw_error(s, "TLS handshake");
	}
	fiber_restore_deadline(old);
	if (e && err_is(e, ERR_TIMEOUT))
		e = err_wrap(e, "TLS handshake");
	return e;
}

struct err *stream_accept_tls(int fd, const struct tls_config *tls, struct stream **ret)
{
	_cleanup_(stream_freep) struct stream *s = stream_from_fd(fd);

	stream_tune_socket(fd);
	TRY(stream_start_tls(s, tls, NULL));
	TRY(stream_handshake(s));
	*ret = TAKE(s);
	return NULL;
}

static void stream_close(struct stream *s)
{
	io_source_del(&s->src);
	if (s->fd >= 0)
		close(TAKE_FD(s->fd));
	/* Whoever still waits finds the descriptor gone. */
	waitq_wake_all(&s->readers);
	waitq_wake_all(&s->writers);
}

struct stream *stream_free(struct stream *s)
{
	if (!s)
		return NULL;
	if (s->ssl && s->fd >= 0)
		stream_raw_shutdown(s);
	stream_close(s);
	SSL_free(s->ssl);
	buf_fini(&s->unsent);
	buf_fini(&s->unread);
	free(s->tls_error);
	free(s);
	return NULL;
}

void stream_freep(struct stream **s)
{
	stream_free(*s);
}

/* operations */

struct err *stream_read(struct stream *s, void *p, size_t n, size_t *ret_n)
{
	for (;;) {
		switch (stream_raw_read(s, p, n, ret_n)) {
		case STREAM_OK:
		case STREAM_END:
			return NULL;
		case STREAM_AGAIN:
			TRY(stream_wait(s));
			break;
		case STREAM_FAILED:
			return stream_raw_error(s, "read");
		}
	}
}

struct err *stream_read_full(struct stream *s, void *p, size_t n)
{
	size_t done = 0, got;

	while (done < n) {
		TRY(stream_read(s, (char *)p + done, n - done, &got));
		if (!got)
			return err_new(ERR_PROTOCOL, "the connection ended after %zu of %zu bytes",
				       done, n);
		done += got;
	}
	return NULL;
}

struct err *stream_write(struct stream *s, struct str data)
{
	while (data.n) {
		size_t n;

		switch (stream_raw_write(s, data, &n)) {
		case STREAM_OK:
			data = str_skip(data, n);
			break;
		case STREAM_AGAIN:
			TRY(stream_wait(s));
			break;
		case STREAM_END:
		case STREAM_FAILED:
			return stream_raw_error(s, "write");
		}
	}
	return NULL;
}

struct err *stream_shutdown(struct stream *s)
{
	stream_raw_shutdown(s);
	if (!s->is_socket)
		stream_close(s);
	return NULL;
}

void stream_unread(struct stream *s, struct str data)
{
	struct buf b = { 0 };

	buf_add(&b, data);
	buf_add(&b, buf_str(&s->unread));
	buf_fini(&s->unread);
	s->unread = b;
}

struct relay {
	struct stream *from, *to;
};

static struct err *stream_relay_one(void *arg)
{
	const struct relay *r = arg;
	_cleanup_free_ char *buf = mem_alloc(RELAY_BUF_SIZE);
	size_t n;

	for (;;) {
		TRY(stream_read(r->from, buf, RELAY_BUF_SIZE, &n));
		if (!n)
			return stream_shutdown(r->to);
		TRY(stream_write(r->to, str_make(buf, n)));
	}
}

struct err *stream_relay(struct stream *a, struct stream *b)
{
	struct relay there = { a, b }, back = { b, a };
	struct fiber_group *g = fiber_group_new();
	struct err *e;

	fiber_group_add(g, "relay", stream_relay_one, &there);
	fiber_group_add(g, "relay", stream_relay_one, &back);
	e = fiber_group_join(g);
	stream_free(a);
	stream_free(b);
	return e;
}

/* queries */

int stream_fd(const struct stream *s)
{
	return s->fd;
}

struct str stream_peer_address(const struct stream *s)
{
	return str_from(s->peer);
}

struct str stream_alpn(const struct stream *s)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	if (s->ssl)
		SSL_get0_alpn_selected(s->ssl, &p, &n);
	return str_make((const char *)p, n);
}

bool stream_tls_peer(const struct stream *s, struct arena *a, struct tls_peer *ret)
{
	bool bad;

	*ret = (struct tls_peer){ 0 };
	return s->ssl && tls_peer_of(s->ssl, a, ret, &bad);
}

bool stream_tls_peer_bad(const struct stream *s)
{
	return s->ssl && SSL_get0_peer_certificate(s->ssl) &&
	       SSL_get_verify_result(s->ssl) != X509_V_OK;
}

bool stream_peer_cred(const struct stream *s, struct stream_peer_cred *ret)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	int domain = 0;
	socklen_t dn = sizeof(domain);

	*ret = (struct stream_peer_cred){ 0 };
	if (!s->is_socket || getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &domain, &dn) < 0 ||
	    domain != AF_UNIX || getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return false;
	*ret = (struct stream_peer_cred){ .uid = cred.uid, .gid = cred.gid, .pid = cred.pid };
	return true;
}
