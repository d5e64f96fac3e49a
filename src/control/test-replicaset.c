/* SPDX-License-Identifier: Apache-2.0 */

#include "control/replicaset.h"

#include "api/meta.h"
#include "client/replica-set.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define ON_NODE "\"spec\":{\"nodeName\":\"n\"},"
#define READY(since)                                                                     \
	ON_NODE "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\"," \
		"\"status\":\"True\",\"lastTransitionTime\":\"" since "\"}]"
#define AT "2026-01-01T00:00:0"

/* Each row's first is deleted before its second. */
TEST(rank)
{
	static const struct {
		const char *first, *second;
		unsigned crowd_first, crowd_second;
	} rows[] = {
		{ "{}", "{" ON_NODE "\"status\":{}}", 0, 0 },
		{ "{" ON_NODE "\"status\":{\"phase\":\"Pending\"}}",
		  "{" ON_NODE "\"status\":{\"phase\":\"Unknown\"}}", 0, 0 },
		{ "{" ON_NODE "\"status\":{\"phase\":\"Running\"}}", "{" READY(AT "1Z") "}}", 0,
		  0 },
		{ "{" READY(AT "1Z") "}}",
		  "{\"metadata\":{\"annotations\":{\"controller.kubernetes.io/pod-deletion-cost\":"
		  "\"5\"}}," READY(AT "1Z") "}}",
		  0, 0 },
		{ "{" READY(AT "1Z") "}}", "{" READY(AT "1Z") "}}", 2, 1 },
		{ "{" READY(AT "2Z") "}}", "{" READY(AT "1Z") "}}", 1, 1 },
		{ "{" READY(AT "1Z") ",\"containerStatuses\":[{\"restartCount\":3}]}}",
		  "{" READY(AT "1Z") "}}", 1, 1 },
		{ "{\"metadata\":{\"creationTimestamp\":\"" AT "2Z\"}," READY(AT "1Z") "}}",
		  "{\"metadata\":{\"creationTimestamp\":\"" AT "1Z\"}," READY(AT "1Z") "}}", 1, 1 },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct replica_member v[] = { { .obj = parse(a, rows[i].first) },
					      { .obj = parse(a, rows[i].second) } };

		replica_judge(&replicaset_ops.member_ops, v, 2, 0, (struct wall){ 0 });
		v[0].crowd = rows[i].crowd_first;
		v[1].crowd = rows[i].crowd_second;
		if (replicaset_rank(&v[0], &v[1]) >= 0 || replicaset_rank(&v[1], &v[0]) <= 0)
			fail_msg("row %zu", i);
	}
}

TEST(pods_from_the_template)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *set =
		parse(a, "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"template\":{\"metadata\":"
			 "{\"name\":\"ignored\",\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":"
			 "\"d\"}},\"spec\":{\"containers\":[{\"name\":\"x\"}]}}}}");

	assert_str(
		json_text(a, replicaset_ops.make(a, set)),
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"web-\","
		"\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":\"d\"}},"
		"\"spec\":{\"containers\":[{\"name\":\"x\"}]}}");
}

TEST(status_leaves_zeros_out)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *status = parse(a, "{\"replicas\":3,\"readyReplicas\":2}");
	const struct replica_counts n = { .replicas = 0 };

	replicaset_ops.status(a, parse(a, "{\"metadata\":{\"generation\":4}}"), &n, status);
	assert_str(json_text(a, status), "{\"replicas\":0,\"observedGeneration\":4}");
}

TEST_MAIN(T(rank), T(pods_from_the_template), T(status_leaves_zeros_out))
