/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rand.h"
#include "node/dns-forward.h"
#include "node/dns-server.h"
#include "node/dns-wire.h"
#include "testkit/test.h"
#include "json/json.h"

#define Q(name, type) \
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" name "\x00\x00" type "\x00\x01"

TEST(parse_query)
{
	struct dns_query q;

	assert_true(dns_query_parse(STR(Q("\x03"
					  "WwW"
					  "\x02"
					  "aB",
					  "\x01")),
				    &q));
	assert_string_equal(q.name, "www.ab");
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNS_A);
	assert_true(q.recursion);
}

TEST(refuse_broken_queries)
{
	static const struct str rows[] = {
		STR_INIT(""),
		STR_INIT("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00"),
		STR_INIT("\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
		STR_INIT("\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
		STR_INIT("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05"
			 "abc"),
		STR_INIT(
			"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"),
		STR_INIT("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03"
			 "a.b\x00\x00\x01\x00\x01"),
		STR_INIT("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"
			 "a\x00\x00\x01\x00"),
	};
	struct dns_query q;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (dns_query_parse(rows[i], &q))
			fail_msg("row %zu", i);
}

TEST(random_bytes_do_no_harm)
{
	char msg[300];
	struct dns_query q;

	rand_seed(7);
	for (int i = 0; i < 20000; i++) {
		size_t n = rand_below(sizeof(msg));

		rand_bytes(msg, n);
		if (n > 12) {
			msg[2] = 1;
			msg[4] = 0;
			msg[5] = 1;
		}
		if (dns_query_parse(str_make(msg, n), &q))
			assert_true(strlen(q.name) < DNS_NAME_MAX && q.question_end <= n);
	}
	rand_seed(0);
}

#define ANSWER                                                 \
	"\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00"     \
	"\x01"                                                 \
	"a\x01"                                                \
	"b\x00\x00\x01\x00\x01"                                \
	"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x05\x00\x04\x01" \
	"c\xc0\x0e"                                            \
	"\xc0\x21\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x05"

TEST(parse_answer)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_record *v;
	size_t n;

	assert_true(dns_answer_parse(a, STR(ANSWER), &v, &n));
	assert_int_equal(n, 2);
	assert_int_equal(v[0].type, DNS_CNAME);
	assert_str(v[0].name, "a.b");
	assert_str(v[0].target, "c.b");
	assert_str(v[1].name, "c.b");
	assert_int_equal(v[1].ip[0], 10);
}

/* Every truncation and many a changed byte, so that pointers lead everywhere. */
TEST(broken_answers_do_no_harm)
{
	static const struct str good = STR_INIT(ANSWER);
	struct dns_query q;

	rand_seed(11);
	for (size_t cut = 0; cut <= good.n; cut++) {
		for (int i = 0; i < 200; i++) {
			_cleanup_arena_ struct arena *a = arena_new();
			/* its own piece of heap: ASan sees a byte too far */
			char *msg = malloc(cut + 1);
			struct dns_record *v;
			size_t n = 0;

			memcpy(msg, good.p, cut);
			msg = realloc(msg, cut ? cut : 1);
			for (int k = 0; cut && k < i % 4; k++)
				msg[rand_below(cut)] = (char)rand_below(256);
			if (dns_answer_parse(a, str_make(msg, cut), &v, &n))
				assert_true(n <= 64);
			if (cut > 12)
				msg[2] = 1;
			if (dns_query_parse(str_make(msg, cut), &q))
				assert_true(q.question_end <= cut);
			free(msg);
		}
	}
	rand_seed(0);
}

TEST(pointers_go_back_only)
{
	static const struct str rows[] = {
		/* to itself, forward, and to the labels it ends */
		STR_INIT("\0\0\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1"
			 "\xc0\x11\0\1\0\1\0\0\0\5\0\4\1\2\3\4"),
		STR_INIT("\0\0\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1"
			 "\xc0\x1d\0\1\0\1\0\0\0\5\0\4\0\2\3\4"),
		STR_INIT("\0\0\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1"
			 "\1a\xc0\x11\0\1\0\1\0\0\0\5\0\4\1\2\3\4"),
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_record *v;
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (dns_answer_parse(a, rows[i], &v, &n))
			fail_msg("row %zu", i);
}

#define OPT "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"

TEST(edns)
{
	char query[] = Q("\x01"
			 "a",
			 "\x01") OPT OPT;
	const size_t one = sizeof(query) - 1 - 11;
	struct buf b = { 0 };
	struct dns_query q;

	assert_true(dns_query_parse(str_make(query, one - 11), &q));
	assert_false(q.edns);
	assert_int_equal(q.limit, DNS_UDP_MIN);
	query[11] = 1;
	assert_true(dns_query_parse(str_make(query, one), &q));
	assert_true(q.edns);
	assert_int_equal(q.limit, DNS_MESSAGE_MAX);
	dns_answer(&b, str_make(query, one), &q, DNS_NOERROR, NULL, 0);
	assert_int_equal(b.n, q.question_end + 11);
	assert_int_equal(b.p[11], 1);
	assert_int_equal(b.p[q.question_end + 2], DNS_OPT);
	buf_fini(&b);
	query[11] = 2; /* two are one too many */
	assert_false(dns_query_parse(str_make(query, one + 11), &q));
	query[11] = 1;
	assert_false(dns_query_parse(str_make(query, one - 1), &q));
}

TEST(refusals)
{
	static const struct {
		struct str msg;
		int rcode; /* -1: silence */
	} rows[] = {
		{ STR_INIT("short"), -1 },
		{ STR_INIT("\1\2\x81\0\0\1\0\0\0\0\0\0"), -1 }, /* an answer */
		{ STR_INIT("\1\2\1\0\0\1\0\0\0\0\0\0"), DNS_FORMERR },
		{ STR_INIT("\1\2\x29\0\0\1\0\0\0\0\0\0"), DNS_NOTIMP }, /* UPDATE */
	};
	struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		dns_refuse(&b, rows[i].msg);
		if (rows[i].rcode < 0) {
			assert_int_equal(b.n, 0);
			continue;
		}
		assert_int_equal(b.n, DNS_HEADER);
		assert_memory_equal(b.p, "\1\2", 2);
		assert_int_equal(b.p[3], rows[i].rcode);
	}
	buf_fini(&b);
}

TEST(answers_are_matched)
{
	_cleanup_buf_ struct buf ask = { 0 };
	_cleanup_buf_ struct buf answer = { 0 };
	struct dns_query q;

	dns_ask(&ask, 77, STR("example.org"), DNS_A);
	assert_true(dns_query_parse(buf_str(&ask), &q));
	assert_string_equal(q.name, "example.org");
	assert_false(dns_is_answer(buf_str(&ask), buf_str(&ask), &q));
	dns_answer(&answer, buf_str(&ask), &q, DNS_NOERROR, NULL, 0);
	assert_true(dns_is_answer(buf_str(&answer), buf_str(&ask), &q));
	answer.p[1] = 78; /* id */
	assert_false(dns_is_answer(buf_str(&answer), buf_str(&ask), &q));
	answer.p[1] = 77;
	answer.p[14] = 'y'; /* question */
	assert_false(dns_is_answer(buf_str(&answer), buf_str(&ask), &q));
}

TEST(host_servers)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str v[3];

	assert_int_equal(dns_forward_servers(a,
					     STR("# none\nnameserver 10.0.0.1\nsearch a b\n"
						 "nameserver\t192.0.2.1 \nnameserver junk\n"
						 "nameserver 2001:db8::1\nnameserver 192.0.2.2\n"
						 "nameserver 192.0.2.3\n"),
					     STR("10.0.0.1"), v, 3),
			 3);
	assert_str(v[0], "192.0.2.1");
	assert_str(v[1], "2001:db8::1");
	assert_str(v[2], "192.0.2.2");
	assert_int_equal(dns_forward_servers(a, STR_EMPTY, STR("10.0.0.1"), v, 3), 0);
}

TEST(answer_bytes)
{
	static const struct str query = STR_INIT(Q("\x01"
						   "a",
						   "\x01"));
	static const char want[] =
		"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00"
		"\x01"
		"a\x00\x00\x01\x00\x01"
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x05";
	const struct dns_record r = { .type = DNS_A, .ip = { 10, 0, 0, 5 } };
	struct buf b = { 0 };
	struct dns_query q;

	assert_true(dns_query_parse(query, &q));
	dns_answer(&b, query, &q, DNS_NOERROR, &r, 1);
	assert_int_equal(b.n, sizeof(want) - 1);
	assert_memory_equal(b.p, want, b.n);
	buf_fini(&b);
}

TEST(too_many_records_are_cut)
{
	static const struct str query = STR_INIT(Q("\x01"
						   "a",
						   "\x01"));
	struct dns_record r[200];
	struct buf b = { 0 };
	struct dns_query q;

	memset(r, 0, sizeof(r));
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		r[i].type = DNS_A;
	assert_true(dns_query_parse(query, &q));
	dns_answer(&b, query, &q, DNS_NOERROR, r, ARRAY_LEN(r));
	assert_true(b.n <= DNS_MESSAGE_MAX);
	assert_true(b.p[2] & 0x02);
	buf_fini(&b);
}

TEST(cluster_names)
{
	static const struct {
		const char *name;
		bool ok;
		const char *ns, *service, *host, *port, *proto, *pod_ip;
	} rows[] = {
		{ "web.ns.svc.cluster.local", true, "ns", "web", "", "", "", "" },
		{ "p0.web.ns.svc.cluster.local", true, "ns", "web", "p0", "", "", "" },
		{ "_http._tcp.web.ns.svc.cluster.local", true, "ns", "web", "", "http", "tcp", "" },
		{ "10-0-0-5.ns.pod.cluster.local", true, "ns", "", "", "", "", "10-0-0-5" },
		{ "ns.svc.cluster.local", false, "", "", "", "", "", "" },
		{ "svc.cluster.local", false, "", "", "", "", "", "" },
		{ "web.ns.cluster.local", false, "", "", "", "", "", "" },
		{ "cluster.local", false, "", "", "", "", "", "" },
		{ "example.org", false, "", "", "", "", "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct dns_cluster_name n;

		if (dns_cluster_name_parse(str_from(rows[i].name), &n) != rows[i].ok)
			fail_msg("row %zu", i);
		if (!rows[i].ok)
			continue;
		assert_str(n.ns, rows[i].ns);
		assert_str(n.service, rows[i].service);
		assert_str(n.host, rows[i].host);
		assert_str(n.port, rows[i].port);
		assert_str(n.proto, rows[i].proto);
		assert_str(n.pod_ip, rows[i].pod_ip);
	}
}

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct dns_records lookup(struct arena *a, const char *name, enum dns_type type,
				 const char *service, const char *slices)
{
	struct dns_cluster_name n;

	assert_true(dns_cluster_name_parse(str_from(name), &n));
	return dns_lookup(a, &n, type, service ? parse(a, service) : NULL, parse(a, slices));
}

TEST(lookups)
{
	static const char svc[] =
		"{\"spec\":{\"clusterIP\":\"10.9.0.1\",\"ports\":[{\"name\":\"http\","
		"\"port\":80}]}}";
	static const char headless[] = "{\"spec\":{\"clusterIP\":\"None\"}}";
	static const char slices[] =
		"[{\"endpoints\":[{\"addresses\":[\"10.0.0.5\"],\"hostname\":\"p0\"},"
		"{\"addresses\":[\"10.0.0.6\"]},{\"addresses\":[\"10.0.0.7\"],\"conditions\":{"
		"\"ready\":false}}]}]";
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_records r = lookup(a, "web.ns.svc.cluster.local", DNS_A, svc, "[]");

	assert_int_equal(r.n, 1);
	assert_int_equal(r.v[0].ip[3], 1);
	r = lookup(a, "web.ns.svc.cluster.local", DNS_AAAA, svc, "[]");
	assert_int_equal(r.n, 0);
	assert_int_equal(r.rcode, DNS_NOERROR);
	r = lookup(a, "web.ns.svc.cluster.local", DNS_A, NULL, "[]");
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
	r = lookup(a, "web.ns.svc.cluster.local", DNS_A, headless, slices);
	assert_int_equal(r.n, 2);
	r = lookup(a, "p0.web.ns.svc.cluster.local", DNS_A, headless, slices);
	assert_int_equal(r.n, 1);
	r = lookup(a, "p9.web.ns.svc.cluster.local", DNS_A, headless, slices);
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
	r = lookup(a, "_http._tcp.web.ns.svc.cluster.local", DNS_SRV, svc, "[]");
	assert_int_equal(r.n, 1);
	assert_int_equal(r.v[0].port, 80);
	assert_str(r.v[0].target, "web.ns.svc.cluster.local");
	r = lookup(a, "10-0-0-5.ns.pod.cluster.local", DNS_A, NULL, "[]");
	assert_int_equal(r.v[0].ip[3], 5);
	r = lookup(a, "nonsense.ns.pod.cluster.local", DNS_A, NULL, "[]");
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
	r = lookup(a, "10-0-0-6.web.ns.svc.cluster.local", DNS_A, headless, slices);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.v[0].ip[3], 6);
	r = lookup(a, "p0.web.ns.svc.cluster.local", DNS_A, svc, slices);
	assert_int_equal(r.n, 1);
	r = lookup(a, "web.ns.svc.cluster.local", DNS_A, headless, "[]");
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
	r = lookup(a, "web.ns.svc.cluster.local", DNS_ANY, svc, "[]");
	assert_int_equal(r.n, 1);
}

TEST(lookup_srv_of_headless)
{
	static const char slices[] =
		"[{\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}],"
		"\"endpoints\":[{\"addresses\":[\"10.0.0.5\"],\"hostname\":\"p0\"},"
		"{\"addresses\":[\"10.0.0.6\"]}]}]";
	static const char headless[] = "{\"spec\":{\"clusterIP\":\"None\"}}";
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_records r =
		lookup(a, "_http._tcp.web.ns.svc.cluster.local", DNS_SRV, headless, slices);

	assert_int_equal(r.n, 2);
	assert_int_equal(r.v[0].port, 8080);
	assert_str(r.v[0].target, "p0.web.ns.svc.cluster.local");
	assert_str(r.v[1].target, "10-0-0-6.web.ns.svc.cluster.local");
	r = lookup(a, "_http._udp.web.ns.svc.cluster.local", DNS_SRV, headless, slices);
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
}

TEST(lookup_external_name)
{
	static const char svc[] =
		"{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"example.org.\"}}";
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_records r = lookup(a, "web.ns.svc.cluster.local", DNS_AAAA, svc, "[]");

	assert_int_equal(r.n, 1);
	assert_int_equal(r.v[0].type, DNS_CNAME);
	assert_str(r.v[0].target, "example.org");
	r = lookup(a, "x.web.ns.svc.cluster.local", DNS_A, svc, "[]");
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
}

TEST(reverse)
{
	static const char services[] = "[{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\"}}]";
	static const char slices[] =
		"[{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"labels\":{"
		"\"kubernetes.io/service-name\":\"hl\"}},\"endpoints\":[{\"addresses\":["
		"\"10.0.0.5\"],\"hostname\":\"p0\"}]}]";
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_records r;
	struct str ip;

	assert_true(dns_reverse_name(a, STR("5.0.0.10.in-addr.arpa"), &ip));
	assert_str(ip, "10.0.0.5");
	assert_false(dns_reverse_name(a, STR("0.0.10.in-addr.arpa"), &ip));
	assert_false(dns_reverse_name(a, STR("1.5.0.0.10.in-addr.arpa"), &ip));
	assert_false(dns_reverse_name(a, STR("x.0.0.10.in-addr.arpa"), &ip));
	r = dns_reverse(a, STR("10.9.0.1"), parse(a, services), parse(a, "[]"));
	assert_str(r.v[0].target, "web.ns.svc.cluster.local");
	r = dns_reverse(a, STR("10.0.0.5"), parse(a, "[]"), parse(a, slices));
	assert_str(r.v[0].target, "p0.hl.ns.svc.cluster.local");
	r = dns_reverse(a, STR("10.0.0.6"), parse(a, "[]"), parse(a, slices));
	assert_int_equal(r.rcode, DNS_NXDOMAIN);
	assert_true(dns_cidr_has(a, STR("10.96.0.0/16"), STR("10.96.255.1")));
	assert_false(dns_cidr_has(a, STR("10.96.0.0/16"), STR("10.97.0.1")));
	assert_true(dns_cidr_has(a, STR("0.0.0.0/0"), STR("1.2.3.4")));
	assert_false(dns_cidr_has(a, STR(""), STR("1.2.3.4")));
}

TEST_MAIN(T(parse_query), T(refuse_broken_queries), T(random_bytes_do_no_harm), T(parse_answer),
	  T(broken_answers_do_no_harm), T(pointers_go_back_only), T(edns), T(refusals),
	  T(answers_are_matched), T(host_servers), T(answer_bytes), T(too_many_records_are_cut),
	  T(cluster_names), T(lookups), T(lookup_srv_of_headless), T(lookup_external_name),
	  T(reverse))
