/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "io/stream-internal.h"
#include "io/stream.h"
#include "io/tls.h"

/* Opening streams by address, and listening. Names are resolved in a thread: libc blocks. */

#define MAX_HOST       256
#define MAX_ADDRESSES  16
#define LISTEN_BACKLOG 1024

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
	socklen_t n;
};

struct host_port {
	char host[MAX_HOST];
	uint16_t port;
};

/* addresses */

static struct err *address_parse_unix(struct str path, struct address *ret)
{
	*ret = (struct address){ 0 };
	if (str_empty(path) || path.n >= sizeof(ret->un.sun_path))
		return err_new(ERR_INVALID, "socket path '" STR_FMT "' is empty or too long",
			       STR_ARG(path));
	ret->un.sun_family = AF_UNIX;
	memcpy(ret->un.sun_path, path.p, path.n);
	/* '@' in front names an abstract socket, as usual. */
	if (path.p[0] == '@')
		ret->un.sun_path[0] = 0;
	ret->n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + (path.p[0] != '@'));
	return NULL;
}

static struct err *address_split(struct str address, struct host_port *ret)
{
	struct str host = address, port = STR_EMPTY;
	uint64_t n;

	for (size_t i = address.n; i > 0; i--)
		if (address.p[i - 1] == ':') {
			host = str_sub(address, 0, i - 1);
			port = str_skip(address, i);
			break;
		}
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 1);
	if (!str_to_u64(port, &n) || n > 65535 || host.n >= sizeof(ret->host) ||
	    memchr(host.p, 0, host.n))
		return err_new(ERR_INVALID, "address '" STR_FMT "' is not HOST:PORT",
			       STR_ARG(address));
	memcpy(ret->host, host.p, host.n);
	ret->host[host.n] = 0;
	ret->port = (uint16_t)n;
	return NULL;
}

static bool address_from_ip(const struct host_port *hp, struct address *ret)
{
	*ret = (struct address){ 0 };
	if (inet_pton(AF_INET, hp->host, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(hp->port);
		ret->n = sizeof(ret->in);
		return true;
	}
	if (inet_pton(AF_INET6, hp->host, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(hp->port);
		ret->n = sizeof(ret->in6);
		return true;
	}
	return false;
}

/* names */

/* Shared by the waiting fiber and the thread; the last of the two frees it. */
struct resolve {
	atomic_int refs;
	int event_fd;
	struct host_port hp;
	struct address v[MAX_ADDRESSES];
	size_t n;
	int error; /* of getaddrinfo */
};

static void resolve_unref(struct resolve *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1) {
		close(r->event_fd);
		free(r);
	}
}

static void resolve_unrefp(struct resolve **r)
{
	resolve_unref(*r);
}

static void *resolve_thread(void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct resolve *r = arg;
	const uint64_t one = 1;
	ssize_t written;
	char port[8];

	snprintf(port, sizeof(port), "%u", r->hp.port);
	r->error = getaddrinfo(r->hp.host, port, &hints, &list);
	for (const struct addrinfo *ai = list; ai && r->n < MAX_ADDRESSES; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(r->v[0].in6))
			continue;
		memcpy(&r->v[r->n].sa, ai->ai_addr, ai->ai_addrlen);
		r->v[r->n++].n = ai->ai_addrlen;
	}
	if (list)
		freeaddrinfo(list);
	written = write(r->event_fd, &one, sizeof(one));
	(void)written; /* the counter is 0: it cannot block or fail */
	resolve_unref(r);
	return NULL;
}

/* SUSPENDS. *ret holds one reference. */
static struct err *resolve_name(const struct host_port *hp, struct resolve **ret)
{
	_cleanup_(resolve_unrefp) struct resolve *r = mem_new(struct resolve);
	pthread_attr_t attr;
	pthread_t thread;
	int failed;

	atomic_init(&r->refs, 2);
	r->hp = *hp;
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT(r->event_fd >= 0);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	failed = pthread_create(&thread, &attr, resolve_thread, r);
	pthread_attr_destroy(&attr);
	if (failed) {
		atomic_fetch_sub(&r->refs, 1);
		return err_errno(failed, "start a resolver thread");
	}
	TRY(fiber_wait_fd(r->event_fd, IO_READABLE));
	if (r->error || !r->n)
		return err_new(ERR_UNAVAILABLE, "lookup %s: %s", hp->host,
			       r->error ? gai_strerror(r->error) : "no address");
	*ret = r;
	atomic_fetch_add(&r->refs, 1);
	return NULL;
}

/* connecting */

static void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static struct err *connect_one(const struct address *addr, struct str name, int *ret_fd)
{
	_cleanup_(fd_closep) int fd = -1;
	int one = 1, error = 0;
	socklen_t n = sizeof(error);

	fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(errno, "make a socket");
	if (connect(fd, &addr->sa, addr->n) < 0) {
		/* EAGAIN: a Unix socket's backlog is full, which is a refusal. */
		if (errno != EINPROGRESS)
			return err_errno(errno == EAGAIN ? ECONNREFUSED : errno,
					 "connect to " STR_FMT, STR_ARG(name));
		TRY(fiber_wait_fd(fd, IO_WRITABLE));
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
		if (error)
			return err_errno(error, "connect to " STR_FMT, STR_ARG(name));
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct err *connect_name(const struct host_port *hp, struct str name, int *ret_fd)
{
	_cleanup_(resolve_unrefp) struct resolve *r = NULL;
	struct err *e = NULL;

	TRY(resolve_name(hp, &r));
	for (size_t i = 0; i < r->n; i++) {
		err_ignore(e, "the next address may do");
		e = connect_one(&r->v[i], name, ret_fd);
		if (!e || err_is(e, ERR_CANCELED) || err_is(e, ERR_TIMEOUT))
			break;
	}
	return e;
}

static struct err *connect_address(struct str address, int *ret_fd, char *ret_host)
{
	struct str path = address;
	struct address addr;
	struct host_port hp;

	ret_host[0] = 0;
	if (str_strip_prefix(&path, STR("unix:"))) {
		TRY(address_parse_unix(path, &addr));
		return connect_one(&addr, address, ret_fd);
	}
	TRY(address_split(address, &hp));
	memcpy(ret_host, hp.host, sizeof(hp.host));
	if (strcmp(hp.host, "localhost") == 0)
		snprintf(hp.host, sizeof(hp.host), "127.0.0.1");
	if (address_from_ip(&hp, &addr))
		return connect_one(&addr, address, ret_fd);
	return connect_name(&hp, address, ret_fd);
}

struct err *stream_connect(struct str address, const struct tls_config *tls, struct str server_name,
			   struct stream **ret)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	char host[MAX_HOST];
	struct err *e;
	int fd;

	TRY(connect_address(address, &fd, host));
	s = stream_from_fd(fd);
	if (tls) {
		if (server_name.n >= sizeof(host))
			return err_new(ERR_INVALID, "the server's name is too long");
		if (server_name.n) {
			memcpy(host, server_name.p, server_name.n);
			host[server_name.n] = 0;
		}
		TRY(stream_start_tls(s, tls, host[0] ? host : NULL));
		e = stream_handshake(s);
		if (e)
			return err_wrap(e, "connect to " STR_FMT, STR_ARG(address));
	}
	*ret = TAKE(s);
	return NULL;
}

/* listening */

static struct err *listen_on(const struct address *addr, struct str name, int *ret_fd)
{
	_cleanup_(fd_closep) int fd = -1;
	struct stat st;
	int one = 1;

	fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(errno, "make a socket");
	if (addr->sa.sa_family == AF_UNIX && addr->un.sun_path[0]) {
		if (lstat(addr->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
			unlink(addr->un.sun_path);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	}
	if (bind(fd, &addr->sa, addr->n) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return err_errno(errno, "listen on " STR_FMT, STR_ARG(name));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct err *stream_listen(struct str address, int *ret_fd)
{
	struct str path = address;
	struct address addr;
	struct host_port hp;

	if (str_strip_prefix(&path, STR("unix:"))) {
		TRY(address_parse_unix(path, &addr));
		return listen_on(&addr, address, ret_fd);
	}
	TRY(address_split(address, &hp));
	if (!hp.host[0])
		snprintf(hp.host, sizeof(hp.host), "0.0.0.0");
	else if (strcmp(hp.host, "localhost") == 0)
		snprintf(hp.host, sizeof(hp.host), "127.0.0.1");
	if (!address_from_ip(&hp, &addr))
		return err_new(ERR_INVALID, "listen on " STR_FMT ": not an IP address",
			       STR_ARG(address));
	return listen_on(&addr, address, ret_fd);
}

int stream_listen_port(int fd)
{
	struct address addr = { 0 };

	addr.n = sizeof(addr.un);
	if (getsockname(fd, &addr.sa, &addr.n) < 0)
		return 0;
	if (addr.sa.sa_family == AF_INET)
		return ntohs(addr.in.sin_port);
	return addr.sa.sa_family == AF_INET6 ? ntohs(addr.in6.sin6_port) : 0;
}
