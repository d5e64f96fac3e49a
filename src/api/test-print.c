/* SPDX-License-Identifier: Apache-2.0 */
#include "api/print.h"

#include "testkit/test.h"
#include "json/json.h"

static const char doc[] =
	"{\"a\":{\"b\":[{\"t\":\"x\",\"v\":1},{\"t\":\"y\",\"v\":2}],\"k.l\":\"dot\"},\"n\":null}";

TEST(jsonpath_table)
{
	static const struct {
		const char *path, *want; /* NULL: malformed */
	} rows[] = {
		{ ".a.b[0].v", "[1]" },
		{ ".a.b[-1].t", "[\"y\"]" },
		{ "{.a.b[*].v}", "[1,2]" },
		{ ".a.b[?(@.t==\"y\")].v", "[2]" },
		{ ".a.b[?(@.t=='x')].v", "[1]" },
		{ ".a.b[?(@.v!=1)].t", "[\"y\"]" },
		{ ".a.b[?(@.v==2)].t", "[\"y\"]" },
		{ ".a['k.l']", "[\"dot\"]" },
		{ ".a.k\\.l", "[\"dot\"]" },
		{ ".missing.x", "[]" },
		{ ".a.b[7]", "[]" },
		{ "a", NULL },
		{ ".a[", NULL },
		{ ".a.b[?(@.t=\"y\")]", NULL },
		{ "{.a", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *j = NULL, *got = NULL;
		struct err *e;

		assert_no_err(json_parse(a, str_from(doc), &j));
		e = jsonpath_find(a, j, str_from(rows[i].path), &got);
		if (!rows[i].want) {
			if (!e)
				fail_msg("%s: accepted", rows[i].path);
			err_free(e);
			continue;
		}
		if (e)
			fail_msg("%s: %.*s", rows[i].path, STR_ARG(err_msg(e)));
		if (!str_eqz(json_text(a, got), rows[i].want))
			fail_msg("%s: %.*s", rows[i].path, STR_ARG(json_text(a, got)));
	}
}

TEST(jsonpath_simple)
{
	assert_true(jsonpath_is_simple(STR(".spec.replicas")));
	assert_false(jsonpath_is_simple(STR("spec.replicas")));
	assert_false(jsonpath_is_simple(STR(".spec[0]")));
	assert_false(jsonpath_is_simple(STR(".spec..a")));
	assert_false(jsonpath_is_simple(STR(".")));
}

TEST_MAIN(T(jsonpath_table), T(jsonpath_simple))
