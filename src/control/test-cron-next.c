/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cron-next.h"

#include "testkit/test.h"

TEST(next)
{
	static const struct {
		const char *schedule, *zone, *from;
		const char *want; /* NULL: never */
	} rows[] = {
		{ "* * * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z" },
		{ "* * * * *", "", "2026-01-01T00:00:59Z", "2026-01-01T00:01:00Z" },
		{ "*/15 * * * *", "", "2026-01-01T00:45:00Z", "2026-01-01T01:00:00Z" },
		{ "30 4 1 1 *", "", "2026-01-01T04:30:00Z", "2027-01-01T04:30:00Z" },
		{ "0 0 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z" },
		{ "0 0 30 2 *", "", "2026-01-01T00:00:00Z", NULL },
		/* a day of the month or of the week, when both are named */
		{ "0 0 13 * 5", "", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z" },
		{ "0 12 * * MON-FRI", "", "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z" },
		{ "@hourly", "", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z" },
		{ "@every 90s", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z" },
		{ "0 9 * * *", "America/New_York", "2026-01-01T00:00:00Z", "2026-01-01T14:00:00Z" },
		{ "0 9 * * *", "America/New_York", "2026-07-01T00:00:00Z", "2026-07-01T13:00:00Z" },
		/* 2026-03-08 has no 02:30 there, 2026-11-01 has 01:30 twice */
		{ "30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z",
		  "2026-03-09T06:30:00Z" },
		{ "30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z",
		  "2026-11-01T05:30:00Z" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct cron c;
		struct wall t;

		assert_null(cron_parse(a, str_from(rows[i].schedule), &c));
		assert_true(wall_parse(str_from(rows[i].from), &t));
		if (!cron_next(&c, str_from(rows[i].zone), t, &t)) {
			assert_null(rows[i].want);
			continue;
		}
		assert_non_null(rows[i].want);
		if (!str_eqz(wall_format(a, t), rows[i].want))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(wall_format(a, t)));
	}
}

TEST_MAIN(T(next))
