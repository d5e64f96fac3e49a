/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authz.h"

#include "base/rand.h"
#include "server/rbac-escalation.h"
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

/* a naive matcher, written from the documentation, against ours, over random rules */
static const char *const verbs[] = { "get", "list", "*", "impersonate" };
static const char *const api_groups[] = { "", "apps", "*" };
static const char *const resources[] = { "pods", "pods/log", "*", "*/log", "nodes", "nodes/log" };
static const char *const res_names[] = { "a", "b", "*" };
static const char *const urls[] = { "/a", "/a/*", "*", "/ab*", "/" };

static struct json *pick_list(struct arena *a, const char *const *from, size_t n, size_t max)
{
	struct json *arr = json_array(a);
	size_t len = rand_below(max + 1);

	for (size_t i = 0; i < len; i++)
		json_push(arr, json_strz(a, from[rand_below(n)]));
	return arr;
}

static struct json *random_rule(struct arena *a)
{
	struct json *rule = json_object(a);

	json_set(a, rule, "verbs", pick_list(a, verbs, ARRAY_LEN(verbs), 2));
	json_set(a, rule, "apiGroups", pick_list(a, api_groups, ARRAY_LEN(api_groups), 2));
	json_set(a, rule, "resources", pick_list(a, resources, ARRAY_LEN(resources), 2));
	json_set(a, rule, "resourceNames", pick_list(a, res_names, ARRAY_LEN(res_names), 1));
	json_set(a, rule, "nonResourceURLs", pick_list(a, urls, ARRAY_LEN(urls), 2));
	return rule;
}

static bool any(struct arena *a, const struct json *arr, const char *fmt, struct str x,
		struct str y)
{
	struct str want = arena_fmt(a, "%s" STR_FMT "%s" STR_FMT, fmt, STR_ARG(x),
				    str_empty(y) ? "" : "/", STR_ARG(y));

	json_for_each(it, arr)
	{
		if (str_eq(json_as_str(it.val), want))
			return true;
	}
	return false;
}

static bool naive_url(const struct json *arr, struct str path)
{
	json_for_each(it, arr)
	{
		struct str u = json_as_str(it.val);

		if (str_eq(u, path))
			return true;
		if (u.n && u.p[u.n - 1] == '*' && str_has_prefix(path, str_sub(u, 0, u.n - 1)))
			return true;
	}
	return false;
}

static bool naive(struct arena *a, const struct json *rule, const struct authz_attrs *at)
{
	const struct json *v = json_get(rule, "verbs"), *g = json_get(rule, "apiGroups");
	const struct json *r = json_get(rule, "resources"), *n = json_get(rule, "resourceNames");
	const struct str none = STR_EMPTY;

	if (!any(a, v, "", at->verb, none) && !any(a, v, "*", none, none))
		return false;
	if (!at->is_resource)
		return naive_url(json_get(rule, "nonResourceURLs"), at->path);
	if (!any(a, g, "", at->group, none) && !any(a, g, "*", none, none))
		return false;
	if (!any(a, r, "*", none, none) && !any(a, r, "", at->resource, at->sub) &&
	    (str_empty(at->sub) || !any(a, r, "*/", at->sub, none)))
		return false;
	return !json_len(n) || any(a, n, "", at->name, none);
}

static struct str pick(const char *const *from, size_t n)
{
	return str_from(from[rand_below(n)]);
}

static struct authz_attrs random_attrs(void)
{
	struct authz_attrs at = { .is_resource = rand_below(3) != 0 };
	struct str res = pick(resources, ARRAY_LEN(resources));

	at.verb = pick(verbs, ARRAY_LEN(verbs));
	if (!at.is_resource) {
		at.path = pick(urls, ARRAY_LEN(urls));
		return at;
	}
	at.group = pick(api_groups, ARRAY_LEN(api_groups));
	str_cut(&res, '/', &at.resource);
	at.sub = res;
	at.name = rand_below(2) ? pick(res_names, ARRAY_LEN(res_names)) : STR_EMPTY;
	return at;
}

TEST(rule_against_naive)
{
	rand_seed(7);
	for (int i = 0; i < 20000; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *rule = random_rule(a);
		struct authz_attrs at = random_attrs();

		if (rule_allows(rule, &at) != naive(a, rule, &at))
			fail_msg("seed 7, turn %d: " STR_FMT, i, STR_ARG(json_text(a, rule)));
	}
	rand_seed(0);
}

TEST(covers_table)
{
	static const struct {
		const char *owner, *rule;
		bool want;
	} rows[] = {
		{ "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}",
		  "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}", true },
		{ "{" PODS ",\"verbs\":[\"get\"]}", "{" PODS ",\"verbs\":[\"*\"]}", false },
		{ "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}",
		  "{" PODS ",\"verbs\":[\"get\"]}", false },
		{ "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}",
		  "{" PODS ",\"verbs\":[\"get\"],\"resourceNames\":[\"a\"]}", true },
		{ "{\"apiGroups\":[\"\"],\"resources\":[\"*/log\"],\"verbs\":[\"get\"]}",
		  "{\"apiGroups\":[\"\"],\"resources\":[\"pods/log\"],\"verbs\":[\"get\"]}", true },
		{ "{\"nonResourceURLs\":[\"/a/*\"],\"verbs\":[\"get\"]}",
		  "{\"nonResourceURLs\":[\"/a/b\"],\"verbs\":[\"get\"]}", true },
		{ "{\"nonResourceURLs\":[\"/a/*\"],\"verbs\":[\"get\"]}",
		  "{\"nonResourceURLs\":[\"*\"],\"verbs\":[\"get\"]}", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *owner = NULL, *rule = NULL;

		assert_no_err(json_parse(a, str_from(rows[i].owner), &owner));
		assert_no_err(json_parse(a, str_from(rows[i].rule), &rule));
		if (rule_covers(owner, rule) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

TEST_MAIN(T(rule_table), T(groups), T(rule_against_naive), T(covers_table))
