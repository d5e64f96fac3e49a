/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "testkit/test.h"

TEST(map_many)
{
	_cleanup_map_ struct map m = { 0 };
	struct arena *a = arena_new();
	size_t i = 0;

	for (uintptr_t k = 1; k <= 1000; k++)
		assert_null(map_put(&m, arena_fmt(a, "k%zu", (size_t)k), (void *)k));
	assert_ptr_equal(map_put(&m, STR("k7"), (void *)70), (void *)7);
	assert_ptr_equal(map_find(&m, STR("k7")), (void *)70);
	assert_null(map_find(&m, STR("nope")));
	/* Insertion order, deleting on the way. */
	map_for_each(e, &m) {
		i++;
		assert_str(e->key, arena_fmt(a, "k%zu", i).p);
		if (i % 2)
			assert_non_null(map_del(&m, e->key));
	}
	assert_int_equal(m.n, 500);
	assert_null(map_find(&m, STR("k1")));
	assert_non_null(map_find(&m, STR("k2")));
	arena_free(a);
}

TEST_MAIN(T(map_many))
