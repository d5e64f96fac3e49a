/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/cron.h"
#include "base/arena.h"

TEST(what_is_wrong)
{
	static const struct {
		const char *text, *want; /* NULL: fine */
	} rows[] = {
		{ "*/5 * * * *", NULL },
		{ "0 0 1,15 jan-MAR ?", NULL },
		{ "@hourly", NULL },
		{ "@every 1h30m", NULL },
		{ "5/10 * * * *", NULL },
		{ "x", "expected exactly 5 fields, found 1: [x]" },
		{ "61 * * * *", "end of range (61) above maximum (59): 61" },
		{ "* * 0 * *", "beginning of range (0) below minimum (1): 0" },
		{ "1-0 * * * *", "beginning of range (1) beyond end of range (0): 1-0" },
		{ "*/0 * * * *", "step of range should be a positive number: */0" },
		{ "a * * * *",
		  "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax" },
		{ "1-2-3 * * * *", "too many hyphens: 1-2-3" },
		{ "1/2/3 * * * *", "too many slashes: 1/2/3" },
		{ "@foo", "unrecognized descriptor: @foo" },
		{ "", "empty spec string" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct cron c;
		const char *bad = cron_parse(a, str_from(rows[i].text), &c);

		assert_str(str_from(bad ? bad : "-"), rows[i].want ? rows[i].want : "-");
	}
}

TEST(bits)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cron c;

	assert_null(cron_parse(a, STR("0-10/5 3 * feb sun"), &c));
	assert_int_equal(c.minute, 1 | 1 << 5 | 1 << 10);
	assert_int_equal(c.hour, 1 << 3);
	assert_int_equal(c.month, 1 << 2);
	assert_int_equal(c.weekday, 1);
	assert_true(c.day_any && !c.weekday_any);
	assert_null(cron_parse(a, STR("@every 90s"), &c));
	assert_int_equal(c.every_ns, INT64_C(90000000000));
}

TEST_MAIN(T(what_is_wrong), T(bits))
