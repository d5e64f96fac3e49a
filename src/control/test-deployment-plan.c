/* SPDX-License-Identifier: Apache-2.0 */
#include "control/deployment-plan.h"

#include "api/meta.h"
#include "client/owned.h"
#include "testkit/test.h"
#include "json/json.h"

/* What one step of a rollout does, from sizes alone. */

struct set {
	int64_t replicas, available;
	const char *image; /* "new" is the Deployment's */
	int64_t max;       /* the annotation; 0: none */
};

static struct json *parse(struct arena *a, struct str text)
{
	struct json *v;

	assert_no_err(json_parse(a, text, &v));
	return v;
}

static struct json *deployment(struct arena *a, int64_t replicas, const char *strategy)
{
	return parse(a,
		     arena_fmt(a,
			       "{\"metadata\":{\"name\":\"d\",\"namespace\":\"n\",\"uid\":\"u\","
			       "\"generation\":2,\"annotations\":{\"x\":\"y\"}},\"spec\":{"
			       "\"replicas\":%lld,\"strategy\":%s,\"progressDeadlineSeconds\":60,"
			       "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
			       "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"image\":"
			       "\"new\"}}}}",
			       (long long)replicas, strategy));
}

static const struct owned_list *sets(struct arena *a, const struct set *v, size_t n,
				     int64_t desired)
{
	struct owned_list *list = arena_new_obj(a, struct owned_list);

	list->v = arena_array(a, n + 1, sizeof(*list->v));
	for (size_t i = 0; i < n && v[i].image; i++) {
		struct json *rs = parse(
			a, arena_fmt(a,
				     "{\"metadata\":{\"name\":\"d-%zu\",\"creationTimestamp\":"
				     "\"2026-01-01T00:00:0%zuZ\",\"annotations\":{"
				     "\"deployment.kubernetes.io/revision\":\"%zu\"}},\"spec\":{"
				     "\"replicas\":%lld,\"template\":{\"metadata\":{\"labels\":{"
				     "\"a\":\"b\",\"pod-template-hash\":\"h%zu\"}},\"spec\":{"
				     "\"image\":\"%s\"}}},\"status\":{\"replicas\":%lld,"
				     "\"availableReplicas\":%lld}}",
				     i, i, i + 1, (long long)v[i].replicas, i, v[i].image,
				     (long long)v[i].replicas, (long long)v[i].available));

		meta_set_annotation(a, rs, DEPLOYMENT_DESIRED,
				    arena_fmt(a, "%lld", (long long)desired));
		if (v[i].max)
			meta_set_annotation(a, rs, DEPLOYMENT_MAX,
					    arena_fmt(a, "%lld", (long long)v[i].max));
		list->v[list->n++] = rs;
	}
	return list;
}

#define QUARTER                                                                                   \
	"{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":" \
	"\"25%\"}}"
#define ONE_UP \
	"{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"
#define ONE_OFF \
	"{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":1}}"

TEST(rolling_steps)
{
	static const struct {
		int64_t replicas;
		const char *strategy;
		struct set v[3];
		int64_t fresh;  /* deployment_fresh_replicas() */
		int64_t old[3]; /* wants after deployment_scale_down_old() */
	} rows[] = {
		{ 4, QUARTER, { { 4, 4, "old", 0 } }, 1, { 3 } },
		{ 3, ONE_UP, { { 3, 3, "old", 0 } }, 1, { 3 } },
		{ 3, ONE_UP, { { 3, 3, "old", 0 }, { 1, 0, "new", 0 } }, 1, { 3, 1 } },
		{ 3, ONE_UP, { { 3, 3, "old", 0 }, { 1, 1, "new", 0 } }, 1, { 2, 1 } },
		{ 3, ONE_OFF, { { 3, 3, "old", 0 } }, 0, { 2 } },
		{ 3, ONE_OFF, { { 2, 2, "old", 0 }, { 0, 0, "new", 0 } }, 1, { 2, 0 } },
		/* what is not available anyway goes first, oldest first */
		{ 3, ONE_OFF, { { 1, 0, "older", 0 }, { 2, 2, "old", 0 } }, 0, { 0, 2 } },
		{ 2, "{\"type\":\"Recreate\"}", { { 2, 2, "old", 0 } }, 2, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct deployment_plan p;

		deployment_plan_init(a, &p, deployment(a, rows[i].replicas, rows[i].strategy),
				     sets(a, rows[i].v, 3, rows[i].replicas));
		assert_int_equal(deployment_fresh_replicas(&p), rows[i].fresh);
		deployment_scale_down_old(&p);
		for (size_t k = 0; k < p.n; k++)
			if (p.v[k].want != rows[i].old[k])
				fail_msg("row %zu: set %zu: %lld", i, k, (long long)p.v[k].want);
	}
}

TEST(scaling_in_proportion)
{
	static const struct {
		int64_t replicas, before;
		struct set v[3];
		int64_t want[3];
	} rows[] = {
		/* one active set takes all */
		{ 5, 3, { { 3, 3, "new", 3 } }, { 5 } },
		{ 0, 3, { { 3, 3, "new", 3 } }, { 0 } },
		/* upstream's example: 5+5+... of 10, doubled */
		{ 20, 10, { { 5, 5, "old", 10 }, { 5, 5, "new", 10 } }, { 10, 10 } },
		{ 10, 5, { { 3, 3, "old", 5 }, { 2, 2, "new", 5 } }, { 6, 4 } },
		{ 5, 10, { { 8, 8, "old", 10 }, { 2, 2, "new", 10 } }, { 4, 1 } },
		{ 0, 10, { { 8, 8, "old", 10 }, { 2, 2, "new", 10 } }, { 0, 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct deployment_plan p;

		deployment_plan_init(a, &p, deployment(a, rows[i].replicas, ONE_OFF),
				     sets(a, rows[i].v, 3, rows[i].before));
		assert_true(deployment_is_scaling(&p) == (rows[i].replicas != rows[i].before));
		deployment_scale(a, &p);
		for (size_t k = 0; k < p.n; k++)
			if (p.v[k].want != rows[i].want[k])
				fail_msg("row %zu: set %zu: %lld", i, k, (long long)p.v[k].want);
	}
}

TEST(the_new_set)
{
	static const struct set old[] = { { 2, 2, "old", 0 }, { 0 } };
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *d = deployment(a, 2, ONE_UP), *rs;
	struct deployment_plan p;

	deployment_plan_init(a, &p, d, sets(a, old, 1, 2));
	assert_null(p.fresh);
	rs = deployment_make_rs(a, &p);
	assert_str(json_str_at(rs, "spec.template.spec.image"), "new");
	assert_true(str_has_prefix(meta_name(rs), STR("d-")));
	assert_true(str_eq(meta_label(rs, DEPLOYMENT_HASH), str_skip(meta_name(rs), 2)));
	assert_str(meta_annotation(rs, DEPLOYMENT_REVISION), "2");
	assert_str(meta_annotation(rs, "x"), "y");
	assert_int_equal(json_int_at(rs, "spec.replicas", -1), 1);
	/* it is found again, and nothing is to change */
	deployment_plan_init(a, &p, d, &(struct owned_list){ (const struct json *[]){ rs }, 1 });
	assert_non_null(p.fresh);
	assert_false(deployment_update_rs(a, &p, json_copy(a, rs), true));
	/* a collision gives another name */
	json_set_int(a, json_sub(a, d, "status"), "collisionCount", 1);
	assert_false(str_eq(deployment_hash(a, d), meta_label(rs, DEPLOYMENT_HASH)));
}

TEST(progress)
{
	static const struct set done[] = { { 2, 2, "new", 0 } }, half[] = { { 2, 0, "new", 0 } };
	const struct wall t0 = { INT64_C(1000) * NS_PER_SEC };
	const struct wall late = { INT64_C(1100) * NS_PER_SEC };
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *d = deployment(a, 2, ONE_UP), *status;
	struct deployment_plan p;
	int64_t check;

	deployment_plan_init(a, &p, d, sets(a, half, 1, 2));
	status = deployment_rollout_status(a, &p, t0, &check);
	assert_str(json_str_at(condition_find(status, "Progressing"), "reason"),
		   "ReplicaSetUpdated");
	json_set(a, d, "status", status);
	status = deployment_rollout_status(a, &p, t0, &check);
	assert_int_equal(check, 61000);
	status = deployment_rollout_status(a, &p, late, &check);
	assert_str(json_str_at(condition_find(status, "Progressing"), "reason"),
		   "ProgressDeadlineExceeded");
	deployment_plan_init(a, &p, d, sets(a, done, 1, 2));
	status = deployment_rollout_status(a, &p, late, &check);
	assert_true(deployment_complete(&p, status));
	assert_str(json_str_at(condition_find(status, "Progressing"), "message"),
		   "ReplicaSet \"d-0\" has successfully progressed.");
	assert_true(condition_is_true(status, "Available"));
}

TEST_MAIN(T(rolling_steps), T(scaling_in_proportion), T(the_new_set), T(progress))
