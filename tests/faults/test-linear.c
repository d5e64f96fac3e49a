/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "linear.h"

#define OP(k, from, to, e, v)              \
	{                                  \
		LINEAR_##k, from, to, e, v \
	}

TEST(one_after_the_other)
{
	const struct linear_op ops[] = { OP(READ, 1, 2, 0, 7), OP(SET, 3, 4, 7, 8),
					 OP(REFUSED, 5, 6, 7, 9), OP(READ, 7, 8, 0, 8) };

	assert_true(linear_check(ops, 4, 7));
	assert_true(linear_check(ops, 0, 7));
	assert_false(linear_check(ops, 4, 6));
}

TEST(stale_read)
{
	const struct linear_op ops[] = { OP(SET, 1, 2, 7, 8), OP(READ, 3, 4, 0, 7) };

	assert_false(linear_check(ops, 2, 7));
}

TEST(lost_write)
{
	const struct linear_op ops[] = { OP(SET, 1, 2, 7, 8), OP(SET, 3, 4, 8, 9),
					 OP(READ, 5, 6, 0, 8) };

	assert_false(linear_check(ops, 3, 7));
}

TEST(two_winners)
{
	const struct linear_op ops[] = { OP(SET, 1, 10, 7, 8), OP(SET, 2, 9, 7, 9) };

	assert_false(linear_check(ops, 2, 7));
}

TEST(overlap_in_any_order)
{
	const struct linear_op ops[] = { OP(SET, 1, 10, 8, 9), OP(SET, 2, 9, 7, 8),
					 OP(READ, 3, 8, 0, 7), OP(READ, 4, 7, 0, 9) };

	assert_true(linear_check(ops, 4, 7));
}

TEST(unanswered_writes)
{
	const struct linear_op happened[] = { OP(UNKNOWN, 1, 0, 7, 8), OP(READ, 5, 6, 0, 8) };
	const struct linear_op never[] = { OP(UNKNOWN, 1, 0, 7, 8), OP(READ, 5, 6, 0, 7) };
	const struct linear_op undone[] = { OP(UNKNOWN, 1, 0, 7, 8), OP(READ, 3, 4, 0, 8),
					    OP(READ, 5, 6, 0, 7) };

	assert_true(linear_check(happened, 2, 7));
	assert_true(linear_check(never, 2, 7));
	assert_false(linear_check(undone, 3, 7));
}

TEST_MAIN(T(one_after_the_other), T(stale_read), T(lost_write), T(two_winners),
	  T(overlap_in_any_order), T(unanswered_writes))
