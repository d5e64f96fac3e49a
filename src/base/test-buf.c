/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "testkit/test.h"

TEST(buf_grows)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i);
	assert_true(str_has_suffix(buf_str(&b), STR("998,999,")));
	assert_int_equal(strlen(b.p), b.n);
	buf_consume(&b, b.n - 4);
	assert_str(buf_str(&b), "999,");
	buf_clear(&b);
	assert_int_equal(b.n, 0);
}

TEST(buf_long_format)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "x");
	buf_addf(&b, "%0500d", 1);
	assert_int_equal(b.n, 501);
	assert_int_equal(b.p[500], '1');
}

TEST(buf_numbers_and_bytes)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addu(&b, 0);
	buf_addc(&b, ' ');
	buf_addu(&b, UINT64_MAX);
	assert_str(buf_str(&b), "0 18446744073709551615");
	for (int i = 0; i < 300; i++)
		buf_addc(&b, 'y');
	assert_int_equal(b.n, 322);
	assert_int_equal(strlen(b.p), b.n);
}

TEST_MAIN(T(buf_numbers_and_bytes), T(buf_grows), T(buf_long_format))
