/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stream.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "io/pki.h"
#include "io/tls.h"
#include "testkit/test.h"

#define BIG (1 << 20)

static struct arena *a;
static struct pki_pair ca, other_ca, server_pair, client_pair, stranger_pair;

static void make_certificates(void)
{
	static const struct str orgs[] = { STR_INIT("team-a"), STR_INIT("team-b") };
	static const struct str dns[] = { STR_INIT("localhost"), STR_INIT("server.test") };
	static const struct str ips[] = { STR_INIT("127.0.0.1") };
	struct pki_cert_opts o = { .common_name = STR("server"),
				   .server = true,
				   .dns_names = dns,
				   .n_dns_names = 2,
				   .ips = ips,
				   .n_ips = 1 };

	assert_no_err(pki_make_ca(a, STR("ca"), 0, &ca));
	assert_no_err(pki_make_ca(a, STR("other"), 0, &other_ca));
	assert_no_err(pki_issue(a, &ca, &o, &server_pair));
	o = (struct pki_cert_opts){
		.common_name = STR("alice"), .orgs = orgs, .n_orgs = 2, .client = true
	};
	assert_no_err(pki_issue(a, &ca, &o, &client_pair));
	assert_no_err(pki_issue(a, &other_ca, &o, &stranger_pair));
}

static void stream_pair(struct stream **x, struct stream **y)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	*x = stream_from_fd(fds[0]);
	*y = stream_from_fd(fds[1]);
}

/* The two ends of a connection, made at the same time. */
struct link {
	struct tls_config *server_config, *client_config;
	const char *name;
	bool without_h2;
	int listen_fd;
	struct str address;
	struct stream *server, *client;
	struct err *server_err, *client_err;
};

static struct err *link_accept(void *arg)
{
	struct link *l = arg;
	int fd;

	TRY(fiber_wait_fd(l->listen_fd, IO_READABLE));
	fd = accept(l->listen_fd, NULL, NULL);
	assert_true(fd >= 0);
	l->server_err = stream_accept_tls(fd, l->server_config, &l->server);
	return NULL;
}

static struct err *link_connect(void *arg)
{
	struct link *l = arg;

	l->client_err = stream_connect(l->address, l->client_config, str_from(l->name), &l->client);
	return NULL;
}

static void link_make(struct link *l, const struct tls_opts *server, const struct tls_opts *client)
{
	struct fiber_group *g = fiber_group_new();

	assert_no_err(tls_config_new(server, &l->server_config));
	assert_no_err(tls_config_new(client, &l->client_config));
	if (l->without_h2) {
		struct tls_config *all = l->client_config;

		l->client_config = tls_config_without_h2(all);
		tls_config_unref(all);
	}
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &l->listen_fd));
	l->address = arena_fmt(a, "localhost:%d", stream_listen_port(l->listen_fd));
	fiber_group_add(g, "accept", link_accept, l);
	fiber_group_add(g, "connect", link_connect, l);
	assert_no_err(fiber_group_join(g));
	/* connections outlive their settings */
	l->server_config = tls_config_unref(l->server_config);
	l->client_config = tls_config_unref(l->client_config);
	close(l->listen_fd);
}

static void link_fini(struct link *l)
{
	l->server = stream_free(l->server);
	l->client = stream_free(l->client);
	err_ignore(l->server_err, "checked");
	err_ignore(l->client_err, "checked");
}

static struct tls_opts server_opts(void)
{
	return (struct tls_opts){ .server = true,
				  .cert_pem = server_pair.cert_pem,
				  .key_pem = server_pair.key_pem,
				  .ca_pem = ca.cert_pem,
				  .request_client_cert = true };
}

static struct tls_opts client_opts(void)
{
	return (struct tls_opts){ .cert_pem = client_pair.cert_pem,
				  .key_pem = client_pair.key_pem,
				  .ca_pem = ca.cert_pem };
}

FIBER_TEST(read_write_end)
{
	struct stream *x, *y;
	char buf[16];
	size_t n;

	stream_pair(&x, &y);
	TRY(stream_write(x, STR("hello")));
	TRY(stream_read(y, buf, sizeof(buf), &n));
	assert_str(str_make(buf, n), "hello");
	stream_unread(y, STR("lo"));
	stream_unread(y, STR("hel"));
	TRY(stream_write(x, STR("!")));
	TRY(stream_read_full(y, buf, 6));
	assert_str(str_make(buf, 6), "hello!");
	TRY(stream_write(x, STR("ab")));
	TRY(stream_shutdown(x));
	assert_err(stream_read_full(y, buf, 3), ERR_PROTOCOL);
	TRY(stream_read(y, buf, sizeof(buf), &n));
	assert_int_equal(n, 0);
	stream_free(x);
	assert_err(stream_write(y, STR("x")), ERR_IO);
	stream_free(y);
	return NULL;
}

FIBER_TEST(reads_wait_and_time_out)
{
	struct stream *x, *y;
	struct mono old;
	char c;
	size_t n;

	stream_pair(&x, &y);
	old = fiber_limit_ms(5);
	assert_err(stream_read(x, &c, 1, &n), ERR_TIMEOUT);
	fiber_restore_deadline(old);
	stream_free(y);
	TRY(stream_read(x, &c, 1, &n));
	assert_int_equal(n, 0);
	stream_free(x);
	return NULL;
}

struct transfer {
	struct stream *s;
	unsigned seed;
};

static struct err *sends_much(void *arg)
{
	const struct transfer *t = arg;
	_cleanup_free_ char *p = mem_alloc(BIG);
	unsigned seed = t->seed;

	for (size_t i = 0; i < BIG; i++)
		p[i] = (char)rand_r(&seed);
	return stream_write(t->s, str_make(p, BIG));
}

static struct err *receives_much(void *arg)
{
	const struct transfer *t = arg;
	_cleanup_free_ char *p = mem_alloc(BIG);
	unsigned seed = t->seed;

	TRY(stream_read_full(t->s, p, BIG));
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(p[i], (char)rand_r(&seed));
	return NULL;
}

/* Both directions at once, each end with a reader and a writer. */
static struct err *exchange_much(struct stream *x, struct stream *y)
{
	struct transfer there = { x, 1 }, here = { y, 1 }, back = { y, 2 }, home = { x, 2 };
	struct fiber_group *g = fiber_group_new();

	fiber_group_add(g, "send", sends_much, &there);
	fiber_group_add(g, "receive", receives_much, &here);
	fiber_group_add(g, "send", sends_much, &back);
	fiber_group_add(g, "receive", receives_much, &home);
	return fiber_group_join(g);
}

FIBER_TEST(plain_both_ways)
{
	struct stream *x, *y;

	stream_pair(&x, &y);
	TRY(exchange_much(x, y));
	stream_free(x);
	stream_free(y);
	return NULL;
}

FIBER_TEST(tls_both_ways)
{
	const struct tls_opts server = server_opts(), client = client_opts();
	struct link l = { 0 };
	struct tls_peer peer;
	char c;
	size_t n;

	link_make(&l, &server, &client);
	assert_no_err(TAKE(l.server_err));
	assert_no_err(TAKE(l.client_err));
	assert_str(stream_alpn(l.server), "h2");
	assert_str(stream_alpn(l.client), "h2");
	assert_true(stream_tls_peer(l.server, a, &peer));
	assert_false(stream_tls_peer_bad(l.server));
	assert_str(peer.common_name, "alice");
	assert_int_equal(peer.n_orgs, 2);
	assert_str(peer.orgs[0], "team-a");
	assert_str(peer.orgs[1], "team-b");
	assert_true(stream_tls_peer(l.client, a, &peer));
	assert_str(peer.common_name, "server");
	assert_true(str_has_prefix(stream_peer_address(l.server), STR("127.0.0.1:")));
	TRY(exchange_much(l.server, l.client));
	TRY(stream_shutdown(l.client));
	TRY(stream_read(l.server, &c, 1, &n));
	assert_int_equal(n, 0);
	/* the other direction is still open */
	TRY(stream_write(l.server, STR("x")));
	TRY(stream_read(l.client, &c, 1, &n));
	assert_int_equal(c, 'x');
	link_fini(&l);
	return NULL;
}

FIBER_TEST(alpn_without_h2)
{
	struct tls_opts server = server_opts(), client = client_opts();
	struct link l = { 0 };

	client.no_h2 = true;
	link_make(&l, &server, &client);
	assert_str(stream_alpn(l.server), "http/1.1");
	link_fini(&l);
	client.no_h2 = false;
	server.no_h2 = true;
	l = (struct link){ 0 };
	link_make(&l, &server, &client);
	assert_str(stream_alpn(l.client), "http/1.1");
	link_fini(&l);
	server.no_h2 = false;
	l = (struct link){ .without_h2 = true };
	link_make(&l, &server, &client);
	assert_str(stream_alpn(l.server), "http/1.1");
	link_fini(&l);
	return NULL;
}

FIBER_TEST(unknown_client_certificates)
{
	struct tls_opts server = server_opts(), client = client_opts();
	struct link l = { 0 };
	struct tls_peer peer;

	client.cert_pem = stranger_pair.cert_pem;
	client.key_pem = stranger_pair.key_pem;
	link_make(&l, &server, &client);
	assert_no_err(TAKE(l.server_err));
	assert_false(stream_tls_peer(l.server, a, &peer));
	assert_true(stream_tls_peer_bad(l.server));
	link_fini(&l);
	/* none at all */
	client.cert_pem = client.key_pem = STR_EMPTY;
	l = (struct link){ 0 };
	link_make(&l, &server, &client);
	assert_no_err(TAKE(l.server_err));
	assert_false(stream_tls_peer(l.server, a, &peer));
	assert_false(stream_tls_peer_bad(l.server));
	link_fini(&l);
	server.require_client_cert = true;
	l = (struct link){ 0 };
	link_make(&l, &server, &client);
	assert_err(TAKE(l.server_err), ERR_PROTOCOL);
	link_fini(&l);
	return NULL;
}

FIBER_TEST(servers_are_verified)
{
	static const struct {
		const char *name;
		bool other_ca, insecure;
		const char *error; /* NULL: connects */
	} rows[] = {
		{ "", false, false, NULL },
		{ "server.test", false, false, NULL },
		{ "127.0.0.1", false, false, NULL },
		{ "127.0.0.2", false, false, "IP address mismatch" },
		{ "evil.test", false, false, "hostname mismatch" },
		{ "evil.test", false, true, NULL },
		{ "server.test", true, false, "x509: " },
		{ "server.test", true, true, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_opts server = server_opts(), client = client_opts();
		struct link l = { .name = rows[i].name };

		client.insecure = rows[i].insecure;
		if (rows[i].other_ca)
			client.ca_pem = other_ca.cert_pem;
		link_make(&l, &server, &client);
		if (!rows[i].error)
			assert_no_err(TAKE(l.client_err));
		else if (!l.client_err ||
			 !str_contains(err_msg(l.client_err), str_from(rows[i].error)))
			fail_msg("row %zu: not '%s'", i, rows[i].error);
		link_fini(&l);
	}
	return NULL;
}

static struct err *echoes(void *arg)
{
	struct stream *s = arg;
	char buf[100];
	size_t n;

	for (;;) {
		TRY(stream_read(s, buf, sizeof(buf), &n));
		if (!n)
			return stream_shutdown(s);
		TRY(stream_write(s, str_make(buf, n)));
	}
}

struct relayed {
	struct stream *x, *y;
};

static struct err *relays(void *arg)
{
	struct relayed *r = arg;

	return stream_relay(r->x, r->y);
}

FIBER_TEST(relay)
{
	struct stream *client, *back;
	struct relayed r;
	struct fiber *echo, *relay;
	char buf[100];
	size_t n;

	stream_pair(&client, &r.x);
	stream_pair(&r.y, &back);
	echo = fiber_spawn(fiber_loop(), "echo", echoes, back);
	relay = fiber_spawn(fiber_loop(), "relay", relays, &r);
	TRY(stream_write(client, STR("ping")));
	TRY(stream_read_full(client, buf, 4));
	assert_str(str_make(buf, 4), "ping");
	TRY(stream_shutdown(client));
	TRY(stream_read(client, buf, sizeof(buf), &n));
	assert_int_equal(n, 0);
	TRY(fiber_join(relay));
	TRY(fiber_join(echo));
	fiber_unref(relay);
	fiber_unref(echo);
	stream_free(client);
	stream_free(back);
	return NULL;
}

FIBER_TEST(bad_addresses)
{
	static const struct {
		const char *address;
		enum err_code code;
	} rows[] = {
		{ "", ERR_INVALID },
		{ "host", ERR_INVALID },
		{ "host:99999", ERR_INVALID },
		{ "unix:", ERR_INVALID },
		{ "unix:/nonexistent/socket", ERR_NOT_FOUND },
		{ "127.0.0.1:1", ERR_UNAVAILABLE },
		{ "no..name:1", ERR_UNAVAILABLE },
		{ "[::1]:1", ERR_UNAVAILABLE }, /* a machine may lack IPv6 */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct stream *s;
		struct err *e = stream_connect(str_from(rows[i].address), NULL, STR_EMPTY, &s);

		assert_non_null(e);
		if (!err_is(e, rows[i].code) && i != ARRAY_LEN(rows) - 1)
			fail_msg("row %zu: %.*s", i, STR_ARG(err_msg(e)));
		err_free(e);
	}
	return NULL;
}

FIBER_TEST(unix_sockets)
{
	char dir[] = "/tmp/isoplane-test-stream-XXXXXX";
	struct stream *client, *server;
	struct stream_peer_cred cred;
	struct str address;
	int fd, again;

	assert_non_null(mkdtemp(dir));
	address = arena_fmt(a, "unix:%s/socket", dir);
	TRY(stream_listen(address, &fd));
	TRY(stream_listen(address, &again)); /* replaces it */
	TRY(stream_connect(address, NULL, STR_EMPTY, &client));
	TRY(fiber_wait_fd(again, IO_READABLE));
	server = stream_from_fd(accept(again, NULL, NULL));
	assert_true(stream_peer_cred(server, &cred));
	assert_int_equal(cred.uid, getuid());
	assert_int_equal(cred.pid, getpid());
	assert_str(stream_peer_address(server), "unix");
	TRY(stream_write(client, STR("x")));
	stream_free(client);
	stream_free(server);
	close(fd);
	close(again);
	unlink(address.p + strlen("unix:"));
	rmdir(dir);
	return NULL;
}

FIBER_TEST(pipes)
{
	struct stream *r, *w;
	char buf[8];
	size_t n;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	r = stream_from_fd(fds[0]);
	w = stream_from_fd(fds[1]);
	TRY(stream_write(w, STR("abc")));
	TRY(stream_read(r, buf, sizeof(buf), &n));
	assert_int_equal(n, 3);
	TRY(stream_shutdown(w));
	TRY(stream_read(r, buf, sizeof(buf), &n));
	assert_int_equal(n, 0);
	assert_err(stream_write(w, STR("x")), ERR_IO);
	stream_free(r);
	stream_free(w);
	return NULL;
}

TEST(bad_settings)
{
	struct tls_opts o = { .cert_pem = STR("nonsense"), .key_pem = STR("nonsense") };
	struct tls_config *c;

	assert_err(tls_config_new(&o, &c), ERR_INVALID);
	o = (struct tls_opts){ .ca_pem = STR("nonsense") };
	assert_err(tls_config_new(&o, &c), ERR_INVALID);
	o = server_opts();
	o.key_pem = client_pair.key_pem;
	assert_err(tls_config_new(&o, &c), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(read_write_end),
		T(reads_wait_and_time_out),
		T(plain_both_ways),
		T(tls_both_ways),
		T(alpn_without_h2),
		T(unknown_client_certificates),
		T(servers_are_verified),
		T(relay),
		T(bad_addresses),
		T(unix_sockets),
		T(pipes),
		T(bad_settings),
	};
	int failed;

	a = arena_new();
	make_certificates();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(a);
	return failed;
}
