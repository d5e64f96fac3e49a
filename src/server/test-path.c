/* SPDX-License-Identifier: Apache-2.0 */
#include "server/request.h"
#include "testkit/test.h"

TEST(path_table)
{
	static const struct {
		const char *method, *path;
		bool resource;
		enum verb verb;
		const char *group, *version, *plural, *ns, *name, *sub, *rest;
	} rows[] = {
		{ "GET", "/api/v1/pods", true, VERB_LIST, "", "v1", "pods", "", "", "", "" },
		{ "GET", "/api/v1/pods/", true, VERB_LIST, "", "v1", "pods", "", "", "", "" },
		{ "GET", "/api/v1/namespaces/a/pods/b", true, VERB_GET, "", "v1", "pods", "a", "b",
		  "", "" },
		{ "POST", "/api/v1/namespaces/a/pods/b/exec", true, VERB_CREATE, "", "v1", "pods",
		  "a", "b", "exec", "" },
		{ "GET", "/api/v1/namespaces/a/pods/b/proxy/x/y", true, VERB_GET, "", "v1", "pods",
		  "a", "b", "proxy", "/x/y" },
		{ "GET", "/api/v1/namespaces/a", true, VERB_GET, "", "v1", "namespaces", "a", "a",
		  "", "" },
		{ "PUT", "/api/v1/namespaces/a/finalize", true, VERB_UPDATE, "", "v1", "namespaces",
		  "a", "a", "finalize", "" },
		{ "GET", "/api/v1/namespaces/a/services", true, VERB_LIST, "", "v1", "services",
		  "a", "", "", "" },
		{ "GET", "/api/v1/watch/namespaces/a/configmaps/c", true, VERB_WATCH, "", "v1",
		  "configmaps", "a", "c", "", "" },
		{ "PATCH", "/apis/apps/v1/namespaces/a/replicasets/r/scale", true, VERB_PATCH,
		  "apps", "v1", "replicasets", "a", "r", "scale", "" },
		{ "DELETE", "/apis/ex.io/v1/foos", true, VERB_DELETECOLLECTION, "ex.io", "v1",
		  "foos", "", "", "", "" },
		{ "DELETE", "/apis/ex.io/v1/foos/a%2Fb", true, VERB_DELETE, "ex.io", "v1", "foos",
		  "", "a/b", "", "" },
		{ "OPTIONS", "/api/v1/nodes", true, VERB_OTHER, "", "v1", "nodes", "", "", "", "" },
		{ "GET", "/api/v1//pods", false, VERB_OTHER, "", "", "", "", "", "", "" },
		{ "GET", "/api", false, VERB_OTHER, "", "", "", "", "", "", "" },
		{ "GET", "/apis/apps/v1", false, VERB_OTHER, "apps", "v1", "", "", "", "", "" },
		{ "GET", "/healthz", false, VERB_OTHER, "", "", "", "", "", "", "" },
		{ "GET", "", false, VERB_OTHER, "", "", "", "", "", "", "" },
		{ "GET", "nonsense", false, VERB_OTHER, "", "", "", "", "", "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct api_request rq = { .arena = a };

		assert_no_err(path_parse(&rq, str_from(rows[i].method), str_from(rows[i].path)));
		if (rq.is_resource != rows[i].resource || rq.verb != rows[i].verb)
			fail_msg("%s %s", rows[i].method, rows[i].path);
		assert_str(rq.group, rows[i].group);
		assert_str(rq.version, rows[i].version);
		assert_str(rq.plural, rows[i].plural);
		assert_str(rq.ns, rows[i].ns);
		assert_str(rq.name, rows[i].name);
		assert_str(rq.sub, rows[i].sub);
		assert_str(rq.rest, rows[i].rest);
	}
}

TEST(path_with_too_many_parts)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct api_request rq = { .arena = a };
	struct str path = STR("/api/v1");

	for (int i = 0; i < 100; i++)
		path = arena_cat(a, path, STR("/x"));
	assert_no_err(path_parse(&rq, STR("GET"), path));
	assert_false(rq.is_resource);
}

TEST_MAIN(T(path_table), T(path_with_too_many_parts))
