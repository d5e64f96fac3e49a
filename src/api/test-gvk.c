/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/gvk.h"

TEST(gv_round_trip)
{
	static const struct {
		const char *text, *group, *version;
		bool ok;
	} rows[] = {
		{ "v1", "", "v1", true },
		{ "apps/v1", "apps", "v1", true },
		{ "a/b/c", NULL, NULL, false },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str g, v;

		assert_int_equal(gv_parse(str_from(rows[i].text), &g, &v), rows[i].ok);
		if (!rows[i].ok)
			continue;
		assert_str(g, rows[i].group);
		assert_str(v, rows[i].version);
		assert_str(gv_format(a, g, v), rows[i].text);
	}
	assert_str(gr_format(a, STR("apps"), STR("replicasets")), "replicasets.apps");
	assert_str(gr_format(a, STR(""), STR("pods")), "pods");
	assert_true(gvr_equal((struct gvr)GVR("a", "v1", "x"), (struct gvr)GVR("a", "v1", "x")));
	assert_false(gvr_equal((struct gvr)GVR("a", "v1", "x"), (struct gvr)GVR("b", "v1", "x")));
}

TEST(version_order)
{
	/* Upstream's documented example, best first. */
	static const char *const order[] = { "v10",      "v2",      "v1",        "v11beta2",
					     "v10beta3", "v3beta1", "v12alpha1", "v11alpha2",
					     "foo1",     "foo10",   "v01",       "v1alpha0" };

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t j = 0; j < ARRAY_LEN(order); j++) {
			int c = version_cmp(str_from(order[i]), str_from(order[j]));

			if ((c > 0) != (i < j) || (c == 0) != (i == j))
				fail_msg("%s and %s: %d", order[i], order[j], c);
		}
	}
}

TEST_MAIN(T(gv_round_trip), T(version_order))
