/* SPDX-License-Identifier: Apache-2.0 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/rand.h"
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
			assert_true(strlen(q.name) <= DNS_NAME_MAX && q.question_end <= n);
	}
	rand_seed(0);
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
}

TEST_MAIN(T(parse_query), T(refuse_broken_queries), T(random_bytes_do_no_harm), T(answer_bytes),
	  T(too_many_records_are_cut), T(cluster_names), T(lookups))
