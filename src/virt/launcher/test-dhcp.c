/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/dhcp.h"

#include "testkit/test.h"
#include "json/json.h"

static const uint8_t mac[6] = { 2, 0, 0, 0x11, 0x22, 0x33 };

static void config(struct arena *a, const char *text, struct dhcp_config *ret)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	assert_no_err(
		dhcp_config_parse(a, v,
				  STR("nameserver 10.96.0.10\nsearch default.svc.cluster.local "
				      "cluster.local\noptions ndots:5\n"),
				  ret));
}

#define BASIC                                                                              \
	"{\"ifname\":\"k6t-eth0\",\"mac\":\"02:00:00:11:22:33\",\"address\":\"10.0.2.2\"," \
	"\"prefix\":24,\"server\":\"10.0.2.1\",\"router\":\"10.0.2.1\",\"mtu\":1450,"      \
	"\"hostname\":\"vm\""

static size_t request(uint8_t *p, uint8_t type, const uint8_t *want)
{
	size_t n = 240;

	memset(p, 0, 300);
	p[0] = 1;
	p[1] = 1;
	p[2] = 6;
	memcpy(p + 4, "\1\2\3\4", 4);
	memcpy(p + 28, mac, 6);
	memcpy(p + 236, "\143\202\123\143", 4);
	p[n++] = 53;
	p[n++] = 1;
	p[n++] = type;
	if (want) {
		p[n++] = 50;
		p[n++] = 4;
		memcpy(p + n, want, 4);
		n += 4;
	}
	p[n++] = 255;
	return n;
}

static const uint8_t *option(const uint8_t *p, size_t n, uint8_t code, uint8_t *ret_n)
{
	for (size_t at = 240; at + 1 < n && p[at] != 255; at += 2u + p[at + 1]) {
		if (p[at] == code) {
			*ret_n = p[at + 1];
			return p + at + 2;
		}
	}
	return NULL;
}

TEST(discover_and_request)
{
	static const uint8_t address[4] = { 10, 0, 2, 2 }, other[4] = { 10, 0, 2, 9 };
	static const struct {
		uint8_t type;
		const uint8_t *want;
		uint8_t answer;
	} rows[] = {
		{ 1, NULL, 2 }, { 3, address, 5 }, { 3, other, 6 }, { 3, NULL, 5 }, { 7, NULL, 0 }
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct dhcp_config c;
	uint8_t req[300], out[DHCP_MAX_PACKET], n_opt;

	config(a, BASIC "}", &c);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = dhcp_answer(&c, req, request(req, rows[i].type, rows[i].want), out);
		const uint8_t *type;

		if (!rows[i].answer) {
			assert_int_equal(n, 0);
			continue;
		}
		type = option(out, n, 53, &n_opt);
		if (!type) {
			fail_msg("row %zu: no message type", i);
			return;
		}
		assert_int_equal(*type, rows[i].answer);
		assert_memory_equal(out + 4, "\1\2\3\4", 4);
		if (rows[i].answer == 6)
			continue;
		assert_memory_equal(out + 16, address, 4);
		assert_memory_equal(option(out, n, 1, &n_opt), "\377\377\377\0", 4);
		assert_memory_equal(option(out, n, 6, &n_opt), "\12\140\0\12", 4);
		assert_memory_equal(option(out, n, 26, &n_opt), "\5\252", 2);
		assert_memory_equal(option(out, n, 15, &n_opt), "default.svc.cluster.local", 25);
	}
}

TEST(routes_and_private_options)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dhcp_config c;
	uint8_t req[300], out[DHCP_MAX_PACKET], n_opt;
	const uint8_t *p;
	size_t n;

	config(a,
	       BASIC ",\"routes\":[{\"dst\":\"10.1.0.0/16\",\"via\":\"10.0.2.7\"}],"
		     "\"privateOptions\":[{\"option\":240,\"value\":\"x\"},{\"option\":1,\"value\":"
		     "\"y\"}]}",
	       &c);
	n = dhcp_answer(&c, req, request(req, 1, NULL), out);
	p = option(out, n, 121, &n_opt);
	assert_int_equal(n_opt, 12);
	assert_memory_equal(p, "\20\12\1\12\0\2\7\0\12\0\2\1", 12);
	assert_memory_equal(option(out, n, 240, &n_opt), "x", 1);
	assert_int_equal(c.n_priv, 1);
}

/* The search option is full to the last byte; a domain without labels adds none. */
TEST(a_full_search_list)
{
	_cleanup_arena_ struct arena *a = arena_new();
	uint8_t req[300], out[DHCP_MAX_PACKET], n_opt = 0;
	struct dhcp_config c;
	char label[64] = { 0 };
	size_t n;

	config(a, BASIC "}", &c);
	memset(label, 'a', 63);
	c.search[0] = arena_fmt(a, "%s.%s.%s.%.61s", label, label, label, label);
	c.search[1] = STR(".");
	c.n_search = 2;
	n = dhcp_answer(&c, req, request(req, 1, NULL), out);
	assert_non_null(option(out, n, 119, &n_opt));
	assert_int_equal(n_opt, 255);
}

TEST(others_and_garbage_get_nothing)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dhcp_config c;
	uint8_t req[300], out[DHCP_MAX_PACKET];
	size_t n;

	config(a, BASIC "}", &c);
	n = request(req, 1, NULL);
	for (size_t cut = 0; cut < 242; cut++)
		assert_int_equal(dhcp_answer(&c, req, cut, out), 0);
	req[33]++;
	assert_int_equal(dhcp_answer(&c, req, n, out), 0);
	n = request(req, 1, NULL);
	req[241] = 200; /* an option longer than the packet */
	assert_int_equal(dhcp_answer(&c, req, n, out), 0);
}

TEST(bad_configurations)
{
	static const char *const rows[] = {
		"{}",
		"{\"ifname\":\"a-name-that-is-too-long\",\"mac\":\"02:00:00:11:22:33\",\"address\":"
		"\"10.0.2.2\",\"prefix\":24,\"server\":\"10.0.2.1\"}",
		"{\"ifname\":\"x\",\"mac\":\"02-00\",\"address\":\"10.0.2.2\",\"prefix\":24,"
		"\"server\":\"10.0.2.1\"}",
		"{\"ifname\":\"x\",\"mac\":\"02:00:00:11:22:33\",\"address\":\"10.0.2\",\"prefix\":"
		"24,"
		"\"server\":\"10.0.2.1\"}",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct dhcp_config c;
		struct json *v;

		assert_no_err(json_parse(a, str_from(rows[i]), &v));
		assert_err(dhcp_config_parse(a, v, STR_EMPTY, &c), ERR_BAD_REQUEST);
	}
}

TEST_MAIN(T(discover_and_request), T(routes_and_private_options), T(a_full_search_list),
	  T(others_and_garbage_get_nothing), T(bad_configurations))
