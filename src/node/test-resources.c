/* SPDX-License-Identifier: Apache-2.0 */

#include "node/resources.h"

#include "base/arena.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

TEST(qos_table)
{
	static const struct {
		const char *pod, *qos;
	} rows[] = {
		{ "{\"spec\":{\"containers\":[{}]}}", "BestEffort" },
		{ "{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}",
		  "Burstable" },
		{ "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":"
		  "\"1Gi\"}}}]}}",
		  "Guaranteed" },
		{ "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":"
		  "\"1Gi\"},\"requests\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}}]}}",
		  "Burstable" },
		{ "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":"
		  "\"1Gi\"}}}],\"initContainers\":[{}]}}",
		  "Burstable" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(qos_name(qos_of_pod(parse(a, rows[i].pod))), rows[i].qos) != 0)
			fail_msg("row %zu: %s", i, qos_name(qos_of_pod(parse(a, rows[i].pod))));
}

TEST(cpu_table)
{
	static const struct {
		int64_t milli, shares, quota;
	} rows[] = {
		{ 0, 2, -1 },           { 1, 2, 1000 },         { 100, 102, 10000 },
		{ 1000, 1024, 100000 }, { 2500, 2560, 250000 }, { 1000000, 262144, 100000000 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(cpu_shares(rows[i].milli), rows[i].shares);
		assert_int_equal(cpu_quota_us(rows[i].milli), rows[i].quota);
	}
}

TEST(pod_sums)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pod = parse(
		a, "{\"spec\":{\"overhead\":{\"memory\":\"10Mi\"},\"containers\":["
		   "{\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},"
		   "\"limits\":{\"memory\":\"128Mi\"}}},"
		   "{\"resources\":{\"limits\":{\"cpu\":\"200m\",\"memory\":\"64Mi\"}}}],"
		   "\"initContainers\":["
		   "{\"restartPolicy\":\"Always\",\"resources\":{\"limits\":{\"memory\":\"1Mi\"}}},"
		   "{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"32Mi\"}}}]}}");
	struct resource_amounts r = resources_of_pod(pod);

	assert_int_equal(r.cpu_request, 1000);
	assert_int_equal(r.cpu_limit, 0); /* the first container has none */
	assert_int_equal(r.memory_request, (64 + 64 + 1 + 10) << 20);
	assert_int_equal(r.memory_limit, (128 + 64 + 1 + 10) << 20);
}

TEST(oom_scores)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pod = parse(a, "{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{"
				    "\"memory\":\"4Gi\"}}}]}}");
	struct json *c = json_idx(json_at(pod, "spec.containers"), 0);

	assert_int_equal(oom_score_adj(pod, c, INT64_C(8) << 30), 501);
	assert_int_equal(oom_score_adj(pod, c, INT64_C(1) << 30), 3);
}

TEST_MAIN(T(qos_table), T(cpu_table), T(pod_sums), T(oom_scores))
