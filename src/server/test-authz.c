/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authz.h"
#include "server/request.h"
#include "testkit/test.h"
#include "json/json.h"

#define PODS "\"apiGroups\":[\"\"],\"resources\":[\"pods\"]"

TEST(rule_table)
{
	static const struct {
		const char *rule;
		struct authz_attrs at;
		bool want;
	} rows[] = {
		{ "{" PODS ",\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"), .is_resource = true, .resource = STR_INIT("pods") },
		  true },
		{ "{" PODS ",\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("list"), .is_resource = true, .resource = STR_INIT("pods") },
		  false },
		{ "{" PODS ",\"verbs\":[\"*\"]}",
		  { .verb = STR_INIT("list"),
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .group = STR_INIT("apps") },
		  false },
		{ "{" PODS ",\"verbs\":[\"*\"]}",
		  { .verb = STR_INIT("get"),
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .sub = STR_INIT("log") },
		  false },
		{ "{\"apiGroups\":[\"*\"],\"resources\":[\"pods/log\"],\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"),
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .sub = STR_INIT("log") },
		  true },
		{ "{\"apiGroups\":[\"\"],\"resources\":[\"*/status\"],\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"),
		    .is_resource = true,
		    .resource = STR_INIT("nodes"),
		    .sub = STR_INIT("status") },
		  true },
		{ "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}",
		  { .verb = STR_INIT("get"),
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .name = STR_INIT("a") },
		  true },
		{ "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}",
		  { .verb = STR_INIT("get"),
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .name = STR_INIT("b") },
		  false },
		{ "{" PODS ",\"verbs\":[\"create\"],\"resourceNames\":[\"a\"]}",
		  { .verb = STR_INIT("create"), .is_resource = true, .resource = STR_INIT("pods") },
		  false },
		{ "{\"nonResourceURLs\":[\"/healthz\"],\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"), .path = STR_INIT("/healthz") },
		  true },
		{ "{\"nonResourceURLs\":[\"/apis/*\"],\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"), .path = STR_INIT("/apis/apps") },
		  true },
		{ "{\"nonResourceURLs\":[\"/apis/*\"],\"verbs\":[\"get\"]}",
		  { .verb = STR_INIT("get"), .path = STR_INIT("/api") },
		  false },
		{ "{\"nonResourceURLs\":[\"*\"],\"verbs\":[\"*\"]}",
		  { .verb = STR_INIT("get"), .is_resource = true, .resource = STR_INIT("pods") },
		  false },
		{ "{}", { .verb = STR_INIT("get"), .path = STR_INIT("/") }, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *rule = NULL;

		assert_no_err(json_parse(a, str_from(rows[i].rule), &rule));
		if (rule_allows(rule, &rows[i].at) != rows[i].want)
			fail_msg("row %zu: %s", i, rows[i].rule);
	}
}

TEST(groups)
{
	static const struct str groups[] = { STR_INIT("a"), STR_INIT("system:masters") };
	struct user_info u = { .groups = groups, .n_groups = 2 };

	assert_true(user_in_group(&u, STR("system:masters")));
	assert_false(user_in_group(&u, STR("system:master")));
}

TEST_MAIN(T(rule_table), T(groups))
