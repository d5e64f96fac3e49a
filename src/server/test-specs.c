/* SPDX-License-Identifier: Apache-2.0 */
#include "server/errors.h"
#include "server/pod-spec.h"
#include "server/service-cidr.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

TEST(cidr_table)
{
	static const struct {
		const char *cidr, *ip;
		bool valid, has;
	} rows[] = {
		{ "10.96.0.0/16", "10.96.0.1", true, true },
		{ "10.96.0.0/16", "10.96.0.0", true, false },
		{ "10.96.0.0/16", "10.96.255.255", true, false },
		{ "10.96.0.0/16", "10.97.0.1", true, false },
		{ "10.96.0.0/16", "nonsense", true, false },
		{ "10.96.0.0/30", "10.96.0.1", false, false },
		{ "10.96.0.0", "10.96.0.1", false, false },
		{ "fd00::/64", "fd00::1", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (service_cidr_valid(str_from(rows[i].cidr)) != rows[i].valid ||
		    service_cidr_has(str_from(rows[i].cidr), str_from(rows[i].ip)) != rows[i].has)
			fail_msg("row %zu", i);
	}
}

TEST(cidr_picks_stay_inside)
{
	static const char *const cidrs[] = { "10.96.0.0/16", "10.0.0.0/24", "10.0.0.8/29" };
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(cidrs); i++) {
		struct str c = str_from(cidrs[i]);

		for (int k = 0; k < 200; k++)
			assert_true(service_cidr_has(c, service_cidr_pick(a, c)));
	}
	assert_str(service_cidr_first(a, STR("10.96.0.0/16")), "10.96.0.1");
}

TEST(pull_policies)
{
	static const struct {
		const char *image, *want;
	} rows[] = {
		{ "busybox", "Always" },
		{ "busybox:latest", "Always" },
		{ "busybox:1", "IfNotPresent" },
		{ "reg:5000/busybox", "Always" },
		{ "reg:5000/b:2", "IfNotPresent" },
		{ "b@sha256:00", "IfNotPresent" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *spec = parse(a, "{\"containers\":[{\"name\":\"c\"}]}");
		struct json *c = json_idx(json_get(spec, "containers"), 0);

		json_set_str(a, c, "image", str_from(rows[i].image));
		pod_spec_default(a, spec);
		assert_str(json_str_at(c, "imagePullPolicy"), rows[i].want);
	}
}

TEST(limits_are_requested)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *spec = parse(a, "{\"containers\":[{\"image\":\"x\",\"resources\":{\"limits\":"
				     "{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}");

	pod_spec_default_pod(a, spec);
	assert_str(json_str_at(json_idx(json_get(spec, "containers"), 0), "resources.requests.cpu"),
		   "1");
	assert_str(pod_qos_class(spec), "Guaranteed");
}

TEST(invalid_words)
{
	struct err *e = NULL;

	cause_required(&e, STR("spec.a"), NULL);
	cause_invalid_str(&e, STR("spec.b"), STR("x\"y"), "must be %d", 1);
	cause_required(&e, STR("spec.a"), NULL);
	e = error_invalid(e, STR("apps"), STR("ReplicaSet"), STR("r"));
	assert_str(err_msg(e), "ReplicaSet.apps \"r\" is invalid: [spec.a: Required value, spec.b: "
			       "Invalid value: \"x\\\"y\": must be 1]");
	assert_int_equal(err_n_causes(e), 3);
	assert_int_equal(err_http_status(e), 422);
	err_free(e);
	assert_null(error_invalid(NULL, STR_EMPTY, STR("X"), STR_EMPTY));
}

TEST_MAIN(T(cidr_table), T(cidr_picks_stay_inside), T(pull_policies), T(limits_are_requested),
	  T(invalid_words))
