/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"
#include "virt/network/networks.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

TEST(annotations)
{
	static const struct {
		const char *text,
			*want; /* "ns/name@interface+mac" joined by spaces; NULL: refused */
	} rows[] = {
		{ "", "" },
		{ "a", "me/a@net1+" },
		{ " a , b/c@eth5,d ", "me/a@net1+ b/c@eth5+ me/d@net3+" },
		{ "[{\"name\":\"a\"},{\"name\":\"b\",\"namespace\":\"n\",\"interface\":\"pod1\","
		  "\"mac\":\"02:00:00:00:00:01\"}]",
		  "me/a@net1+ n/b@pod1+02:00:00:00:00:01" },
		{ "[{\"name\":", NULL },
		{ "[{\"name\":\"a\",\"mac\":\"x;K8S_POD_NAME=b\"}]", NULL },
		{ "A_b", NULL },
		{ "../x", NULL },
		{ "a@eth0", NULL },
		{ "a@averyveryverylongname", NULL },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct network_request reqs[NETWORKS_MAX];
		struct str got = STR_EMPTY;
		size_t n = 0;
		struct err *e = networks_parse(a, str_from(rows[i].text), STR("me"), reqs, &n);

		if (!!e != !rows[i].want)
			fail_msg("row %zu", i);
		err_free(e);
		for (size_t k = 0; !e && k < n; k++)
			got = arena_fmt(a, STR_FMT "%s" STR_FMT "/" STR_FMT "@" STR_FMT "+" STR_FMT,
					STR_ARG(got), k ? " " : "", STR_ARG(reqs[k].ns),
					STR_ARG(reqs[k].name), STR_ARG(reqs[k].interface),
					STR_ARG(reqs[k].mac));
		if (rows[i].want)
			assert_str(got, rows[i].want);
	}
}

TEST(plugins)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *out = NULL;

	assert_no_err(
		networks_plugins(a,
				 parse(a, "{\"metadata\":{\"name\":\"lab\"},\"spec\":{\"config\":"
					  "\"{\\\"type\\\":\\\"bridge\\\"}\"}}"),
				 &out));
	assert_str(json_text(a, out),
		   "[{\"type\":\"bridge\",\"cniVersion\":\"0.3.1\",\"name\":\"lab\"}]");
	assert_no_err(networks_plugins(
		a,
		parse(a, "{\"spec\":{\"config\":\"{\\\"name\\\":\\\"x\\\",\\\"cniVersion\\\":"
			 "\\\"1.0.0\\\",\\\"plugins\\\":[{\\\"type\\\":\\\"a\\\"},{\\\"type\\\":"
			 "\\\"b\\\"}]}\"}}"),
		&out));
	assert_int_equal(json_len(out), 2);
	assert_str(json_str_at(json_idx(out, 1), "cniVersion"), "1.0.0");
	assert_err(networks_plugins(a, parse(a, "{\"spec\":{}}"), &out), ERR_INVALID);
	assert_err(networks_plugins(a,
				    parse(a, "{\"spec\":{\"config\":\"{\\\"type\\\":\\\""
					     "isoplane-multus\\\"}\"}}"),
				    &out),
		   ERR_INVALID);
	assert_err(networks_plugins(a,
				    parse(a, "{\"spec\":{\"config\":\"{\\\"type\\\":\\\"../sh\\\"}"
					     "\"}}"),
				    &out),
		   ERR_INVALID);
}

TEST(status)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *r =
		parse(a, "{\"interfaces\":[{\"name\":\"br\",\"mac\":\"x\"},{\"name\":\"net1\","
			 "\"mac\":\"m\",\"sandbox\":\"/n\"}],"
			 "\"ips\":[{\"address\":\"10.5.0.2/24\"}]}");

	assert_str(json_text(a, networks_status(a, STR("n/lab"), STR("net1"), r, false)),
		   "{\"name\":\"n/lab\",\"interface\":\"net1\",\"ips\":[\"10.5.0.2\"],"
		   "\"mac\":\"m\",\"dns\":{}}");
}

TEST_MAIN(T(annotations), T(plugins), T(status))
