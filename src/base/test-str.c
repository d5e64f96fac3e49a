/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "testkit/test.h"

TEST(str_compare)
{
	assert_true(str_eq(STR("a"), STR("a")));
	assert_false(str_eq(STR("a"), STR("ab")));
	assert_true(str_eq(STR_EMPTY, str_from(NULL)));
	assert_true(str_cmp(STR("a"), STR("ab")) < 0);
	assert_true(str_cmp(STR("b"), STR("ab")) > 0);
	assert_true(str_eq_nocase(STR("Content-Type"), STR("content-type")));
}

TEST(str_find_and_slice)
{
	assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
	assert_int_equal(str_find(STR("hello"), STR("xx")), 5);
	assert_int_equal(str_find_char(STR("a/b"), '/', 0), 1);
	assert_str(str_sub(STR("hello"), 1, 3), "el");
	assert_str(str_sub(STR("hello"), 4, 99), "o");
	assert_str(str_trim(STR(" \t x \n")), "x");
}

static void check_split(struct str in, const char *const *want)
{
	struct str rest = in, tok;
	size_t i = 0;

	while (str_split_next(&rest, ',', &tok)) {
		assert_non_null(want[i]);
		assert_str(tok, want[i]);
		i++;
	}
	assert_null(want[i]);
}

TEST(str_split)
{
	check_split(STR("a,,b"), (const char *const[]){ "a", "", "b", NULL });
	check_split(STR("a,"), (const char *const[]){ "a", "", NULL });
	check_split(STR(""), (const char *const[]){ "", NULL });
	check_split(str_make(NULL, 0), (const char *const[]){ NULL });
}

TEST(str_numbers)
{
	static const struct {
		const char *in;
		bool ok;
		int64_t v;
	} rows[] = {
		{ "0", true, 0 },
		{ "-1", true, -1 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ "+1", false, 0 },
		{ "1 ", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t v = 0;

		assert_int_equal(str_to_i64(str_from(rows[i].in), &v), rows[i].ok);
		assert_int_equal(v, rows[i].v);
	}
}

TEST(str_utf8)
{
	assert_true(str_is_utf8(STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80")));
	assert_false(str_is_utf8(STR("\xc3")));
	assert_false(str_is_utf8(STR("\xc0\x80")));
	assert_false(str_is_utf8(STR("\xed\xa0\x80")));
}

TEST_MAIN(T(str_compare), T(str_find_and_slice), T(str_split), T(str_numbers), T(str_utf8))
