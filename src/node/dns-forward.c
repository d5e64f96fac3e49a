/* SPDX-License-Identifier: Apache-2.0 */

#include "node/dns-forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/stream.h"
#include "node/dns-wire.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_MAX  65536
#define SERVERS_MAX 3
#define TRY_MS      2000
#define ANSWER_MAX  4096 /* over UDP */
#define STRAYS_MAX  16   /* answers to something else, before we give a server up */

/* servers */

static bool dns_server_address(struct arena *a, struct str ip, struct sockaddr_storage *ret,
			       socklen_t *ret_n)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	char *z = arena_strz(a, ip);

	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, z, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(53);
		*ret_n = sizeof(*in);
		return true;
	}
	if (inet_pton(AF_INET6, z, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(53);
		*ret_n = sizeof(*in6);
		return true;
	}
	return false;
}

size_t dns_forward_servers(struct arena *a, struct str text, struct str own, struct str *ret,
			   size_t max)
{
	struct sockaddr_storage sa;
	struct str line;
	socklen_t len;
	size_t n = 0;

	while (n < max && str_split_next(&text, '\n', &line)) {
		line = str_trim(line);
		if (!str_strip_prefix(&line, STR("nameserver")))
			continue;
		line = str_trim(line);
		if (!str_eq(line, own) && dns_server_address(a, line, &sa, &len))
			ret[n++] = line;
	}
	return n;
}

/* one server */

static struct err *dns_receive(struct arena *a, int fd, struct str query, const struct dns_query *q,
			       struct str *ret)
{
	char *p = arena_array(a, ANSWER_MAX, 1);

	for (int strays = 0; strays < STRAYS_MAX; strays++) {
		ssize_t n;

		TRY(fiber_wait_fd(fd, IO_READABLE));
		n = recv(fd, p, ANSWER_MAX, MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_errno(errno, "DNS answer");
		if (n <= 0 || n > ANSWER_MAX)
			continue;
		*ret = str_make(p, (size_t)n);
		if (dns_is_answer(*ret, query, q))
			return NULL;
	}
	return err_new(ERR_PROTOCOL, "only answers to other questions");
}

static struct err *dns_ask_udp(struct arena *a, struct str server, struct str query,
			       const struct dns_query *q, struct str *ret)
{
	struct sockaddr_storage sa;
	socklen_t len = 0;
	struct err *e;
	int fd;

	if (!dns_server_address(a, server, &sa, &len))
		return err_new(ERR_INVALID, "not an address");
	/* connected: the kernel drops what comes from elsewhere; its port is a random one */
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(errno, "DNS socket");
	if (connect(fd, (const struct sockaddr *)&sa, len) < 0 ||
	    send(fd, query.p, query.n, MSG_DONTWAIT) < 0)
		e = err_errno(errno, "DNS question");
	else
		e = dns_receive(a, fd, query, q, ret);
	close(fd);
	return e;
}

static struct err *dns_exchange_tcp(struct arena *a, struct stream *st, struct str query,
				    const struct dns_query *q, struct str *ret)
{
	char head[2] = { (char)(query.n >> 8), (char)(query.n & 0xff) };
	size_t n;
	char *p;

	TRY(stream_write(st, arena_cat(a, str_make(head, 2), query)));
	TRY(stream_read_full(st, head, 2));
	n = (size_t)((uint8_t)head[0] << 8 | (uint8_t)head[1]);
	p = arena_array(a, n + 1, 1);
	TRY(stream_read_full(st, p, n));
	*ret = str_make(p, n);
	if (!dns_is_answer(*ret, query, q))
		return err_new(ERR_PROTOCOL, "an answer to another question");
	return NULL;
}

static struct err *dns_ask_tcp(struct arena *a, struct str server, struct str query,
			       const struct dns_query *q, struct str *ret)
{
	bool v6 = str_find_char(server, ':', 0) < server.n;
	struct str address = arena_fmt(a, v6 ? "[" STR_FMT "]:53" : STR_FMT ":53", STR_ARG(server));
	_cleanup_(stream_freep) struct stream *st = NULL;

	TRY(stream_connect(address, NULL, STR_EMPTY, &st));
	return dns_exchange_tcp(a, st, query, q, ret);
}

/* TCP only for what was cut and the client can take: many a way to a resolver knows but UDP. */
static struct err *dns_ask_server(struct arena *a, struct str server, struct str query,
				  const struct dns_query *q, bool tcp, struct str *ret)
{
	struct str whole;

	TRY(dns_ask_udp(a, server, query, q, ret));
	if (tcp && dns_is_truncated(*ret)) {
		struct err *e = dns_ask_tcp(a, server, query, q, &whole);

		if (!e)
			*ret = whole;
		err_ignore(e, "the client gets the part there is, marked as such");
	}
	return NULL;
}

/* all of them */

static bool dns_is_failure(struct str answer)
{
	enum dns_rcode rc = dns_rcode_of(answer);

	return rc == DNS_SERVFAIL || rc == DNS_REFUSED || rc == DNS_NOTIMP;
}

struct err *dns_forward(struct arena *a, struct str own, struct str query,
			const struct dns_query *q, bool tcp, struct str *ret)
{
	struct str servers[SERVERS_MAX], text = STR_EMPTY, found = STR_EMPTY;
	char *msg = arena_array(a, query.n, 1);
	size_t n;

	err_ignore(file_read(a, RESOLV_CONF, RESOLV_MAX, &text), "none: no resolver");
	n = dns_forward_servers(a, text, own, servers, SERVERS_MAX);
	memcpy(msg, query.p, query.n);
	for (size_t i = 0; i < n && (!found.n || dns_is_failure(found)); i++) {
		struct mono old = fiber_limit_ms(TRY_MS);
		struct str answer = STR_EMPTY;
		struct err *e;

		rand_bytes(msg, 2);
		e = dns_ask_server(a, servers[i], str_make(msg, query.n), q, tcp, &answer);
		fiber_restore_deadline(old);
		if (!e)
			found = answer;
		err_ignore(e, "the next one may know");
		TRY(fiber_check());
	}
	if (found.n) {
		char *p = arena_array(a, found.n, 1);

		memcpy(p, found.p, found.n);
		memcpy(p, query.p, 2);
		found.p = p;
	}
	*ret = found;
	return NULL;
}
