/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "testkit/test.h"

TEST(arena_is_zeroed_and_aligned)
{
	struct arena *a = arena_new();

	for (size_t n = 1; n < 200000; n = n * 3 + 1) {
		char *p = arena_alloc(a, n);

		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_free(a);
}

TEST(arena_text)
{
	struct arena *a = arena_new();
	struct str big = arena_fmt(a, "%0*d", 5000, 7);

	assert_int_equal(big.n, 5000);
	assert_int_equal(big.p[4999], '7');
	assert_str(arena_cat(a, STR("ab"), STR("cd")), "abcd");
	assert_str(arena_fmt(a, "%s-%d", "x", 3), "x-3");
	arena_free(a);
}

static char order[3];

static void note(void *p)
{
	size_t n = strlen(order);

	order[n] = *(const char *)p;
}

TEST(arena_deferred_run_in_reverse)
{
	struct arena *a = arena_new();

	memset(order, 0, sizeof(order));
	arena_defer(a, note, arena_strz(a, STR("a")));
	arena_defer(a, note, arena_strz(a, STR("b")));
	arena_free(a);
	assert_string_equal(order, "ba");
}

TEST_MAIN(T(arena_is_zeroed_and_aligned), T(arena_text), T(arena_deferred_run_in_reverse))
