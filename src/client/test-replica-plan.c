/* SPDX-License-Identifier: Apache-2.0 */

#include "client/replica-plan.h"

#include <stdio.h>

#include "api/meta.h"
#include "api/selector.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static enum replica_state test_state(const struct json *m)
{
	struct str s = json_as_str(json_get(m, "state"));

	return str_eqz(s, "going")      ? REPLICA_GOING
	       : str_eqz(s, "finished") ? REPLICA_FINISHED
					: REPLICA_ACTIVE;
}

static bool test_ready(const struct json *m)
{
	return json_bool_at(m, "ready", false);
}

static bool test_ready_since(const struct json *m, struct wall *ret)
{
	ret->ns = json_int_at(m, "since", 0) * NS_PER_SEC;
	return test_ready(m);
}

static int test_rank(const struct replica_member *x, const struct replica_member *y)
{
	return (int)(json_int_at(x->obj, "rank", 0) - json_int_at(y->obj, "rank", 0));
}

static const struct replica_member_ops ops = {
	.state = test_state, .ready = test_ready, .ready_since = test_ready_since, .rank = test_rank
};

static size_t members(struct arena *a, const char *text, struct replica_member *v)
{
	size_t n = 0;

	json_for_each(it, parse(a, text)) v[n++] = (struct replica_member){ .obj = it.val };
	return n;
}

#define SET                                                                                       \
	"{\"metadata\":{\"name\":\"s\",\"uid\":\"u\"%s},\"spec\":{\"selector\":{\"matchLabels\":" \
	"{\"a\":\"b\"}}}}"
#define OWNER(uid)           ",\"ownerReferences\":[{\"uid\":\"" uid "\",\"controller\":true,\"name\":\"s\"}]"
#define MEMBER(labels, rest) "{\"metadata\":{\"name\":\"m\",\"labels\":{" labels "}" rest "}}"
#define DELETING             ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""

TEST(claims)
{
	static const struct {
		const char *set_rest, *member;
		enum replica_claim want;
	} rows[] = {
		{ "", MEMBER("\"a\":\"b\"", ""), CLAIM_ADOPT },
		{ "", MEMBER("\"a\":\"c\"", ""), CLAIM_NONE },
		{ "", MEMBER("\"a\":\"b\"", OWNER("u")), CLAIM_KEEP },
		{ "", MEMBER("\"a\":\"c\"", OWNER("u")), CLAIM_RELEASE },
		{ "", MEMBER("\"a\":\"b\"", OWNER("other")), CLAIM_NONE },
		{ "", MEMBER("\"a\":\"b\"", DELETING), CLAIM_NONE },
		{ DELETING, MEMBER("\"a\":\"b\"", ""), CLAIM_NONE },
		{ DELETING, MEMBER("\"a\":\"c\"", OWNER("u")), CLAIM_NONE },
		{ DELETING, MEMBER("\"a\":\"b\"", OWNER("u")), CLAIM_KEEP },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *set = parse(a, arena_fmt(a, SET, rows[i].set_rest).p);
		struct selector *sel;

		assert_no_err(label_selector_from_json(a, json_at(set, "spec.selector"), &sel));
		if (replica_claim(set, sel, parse(a, rows[i].member)) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

TEST(order_and_count)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct replica_member v[8];
	size_t n = members(a,
			   "[{\"rank\":3,\"ready\":true,\"since\":90},"
			   "{\"state\":\"going\",\"ready\":true},"
			   "{\"rank\":1},"
			   "{\"state\":\"finished\"},"
			   "{\"rank\":2,\"ready\":true,\"since\":50,"
			   "\"metadata\":{\"labels\":{\"l\":\"x\",\"m\":\"y\"}}}]",
			   v);
	const struct json *set = parse(a, "{\"spec\":{\"minReadySeconds\":20,\"template\":"
					  "{\"metadata\":{\"labels\":{\"l\":\"x\"}}}}}");
	struct wall now = { 100 * NS_PER_SEC };
	struct replica_counts c;

	replica_judge(&ops, v, n, 20, now);
	c = replica_count(&ops, v, n, set, now);
	assert_int_equal(c.replicas, 3);
	assert_int_equal(c.ready, 2);
	assert_int_equal(c.available, 1);
	assert_int_equal(c.fully_labeled, 1);
	assert_int_equal(c.next_available_ms, 10000);
	assert_int_equal(replica_order(&ops, v, n), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(json_int_at(v[i].obj, "rank", 0), i + 1);
	assert_int_equal(replica_desired(set), 1);
	assert_int_equal(replica_desired(parse(a, "{\"spec\":{\"replicas\":0}}")), 0);
}

TEST(crowds)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct replica_member v[4];
	size_t n = members(a,
			   "[{\"spec\":{\"nodeName\":\"n1\"}},{\"spec\":{\"nodeName\":\"n1\"}},"
			   "{\"spec\":{\"nodeName\":\"n2\"}},{}]",
			   v);

	replica_judge(&ops, v, n, 0, (struct wall){ 0 });
	assert_int_equal(v[0].crowd, 2);
	assert_int_equal(v[1].crowd, 2);
	assert_int_equal(v[2].crowd, 1);
	assert_int_equal(v[3].crowd, 0);
}

TEST(patches)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *set = parse(a, arena_fmt(a, SET, "").p);
	const struct json *m = parse(a, "{\"metadata\":{\"name\":\"m\",\"uid\":\"mu\","
					"\"resourceVersion\":\"7\",\"ownerReferences\":"
					"[{\"uid\":\"x\",\"kind\":\"K\"}]}}");
	const struct json *p = replica_adopt_patch(a, m, set, STR("apps/v1"), STR("ReplicaSet"));
	const struct json *refs = json_at(p, "metadata.ownerReferences");

	assert_str(json_str_at(p, "metadata.uid"), "mu");
	assert_str(json_str_at(p, "metadata.resourceVersion"), "7");
	assert_int_equal(json_len(refs), 2);
	assert_true(json_bool_at(json_idx(refs, 1), "controller", false));
	assert_str(json_str_at(json_idx(refs, 1), "uid"), "u");
	p = replica_release_patch(a, parse(a, MEMBER("", OWNER("u"))), set);
	assert_int_equal(json_len(json_at(p, "metadata.ownerReferences")), 0);
}

TEST_MAIN(T(claims), T(order_and_count), T(crowds), T(patches))
