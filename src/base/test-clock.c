/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/time-go.h"

#include "testkit/test.h"

TEST(wall_round_trip)
{
	static const char *const rows[] = {
		"1970-01-01T00:00:00Z",
		"2000-02-29T23:59:59Z",
		"2026-11-22T12:40:42Z",
		"1969-12-31T23:59:59Z",
	};
	struct arena *a = arena_new();
	struct wall t;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(wall_parse(str_from(rows[i]), &t));
		assert_str(wall_format(a, t), rows[i]);
	}
	assert_true(wall_parse(STR("2026-01-01T02:00:00.5+02:00"), &t));
	assert_str(wall_format_micro(a, t), "2026-01-01T00:00:00.500000Z");
	assert_str(unix_format(a, UNIX_YEAR_1, 0, false), "0001-01-01T00:00:00Z");
	assert_str(unix_format(a, UNIX_YEAR_9999, 999999999, true), "9999-12-31T23:59:59.999999Z");
	arena_free(a);
}

TEST(wall_refuses)
{
	static const char *const rows[] = {
		"",
		"2026-01-01",
		"2026-13-01T00:00:00Z",
		"2026-02-30T00:00:00Z",
		"2025-02-29T00:00:00Z",
		"2026-01-01T00:00:00",
		"2026-01-01T00:00:00.Z",
		"2026-01-01 00:00:00Z",
		"2026-01-01T24:00:00Z",
	};
	struct wall t;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_false(wall_parse(str_from(rows[i]), &t));
}

TEST(durations)
{
	struct arena *a = arena_new();
	int64_t ns;

	assert_true(duration_parse_go(STR("1h30m"), &ns));
	assert_int_equal(ns, 5400 * NS_PER_SEC);
	assert_true(duration_parse_go(STR("1.5s"), &ns));
	assert_int_equal(ns, 1500 * NS_PER_MS);
	assert_true(duration_parse_go(STR("-10ms"), &ns));
	assert_int_equal(ns, -10 * NS_PER_MS);
	assert_false(duration_parse_go(STR("1x"), &ns));
	assert_false(duration_parse_go(STR("5"), &ns));
	assert_str(duration_human(a, 119 * NS_PER_SEC), "119s");
	assert_str(duration_human(a, 150 * NS_PER_SEC), "2m30s");
	assert_str(duration_human(a, 3600 * 5 * NS_PER_SEC), "5h");
	assert_str(duration_human(a, 86400 * 3 * NS_PER_SEC), "3d");
	arena_free(a);
}

#define LAYOUT       "as \"2006-01-02T15:04:05Z07:00\": cannot parse "
#define LAYOUT_MICRO "as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse "

TEST(times_as_go_reads_them)
{
	static const struct {
		const char *text,
			*want; /* the same in UTC, or the error's words after the quoted text */
		bool micro, bad;
	} rows[] = {
		{ "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", false, false },
		{ "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z", false, false },
		{ "2026-01-01T00:00:00.75-00:30", "2026-01-01T00:30:00Z", false, false },
		{ "2026-01-01T00:00:00.123456+00:00", "2026-01-01T00:00:00.123456Z", true, false },
		{ "1500-02-28T23:59:59Z", "1500-02-28T23:59:59Z", false, false },
		{ "", " " LAYOUT "\"\" as \"2006\"", false, true },
		{ "foo", " " LAYOUT "\"foo\" as \"2006\"", false, true },
		{ "2026-01-01", " " LAYOUT "\"\" as \"T\"", false, true },
		{ "2026-01-01 00:00:00Z", " " LAYOUT "\" 00:00:00Z\" as \"T\"", false, true },
		{ "2026-1-01T00:00:00Z", " " LAYOUT "\"1-01T00:00:00Z\" as \"01\"", false, true },
		{ "2026-01-01T00:00:00", " " LAYOUT "\"\" as \"Z07:00\"", false, true },
		{ "2026-01-01T00:00:00z", " " LAYOUT "\"z\" as \"Z07:00\"", false, true },
		{ "2026-01-01T00:00:00.Z", " " LAYOUT "\".Z\" as \"Z07:00\"", false, true },
		{ "2026-13-01T00:00:00Z", ": month out of range", false, true },
		{ "2026-02-29T00:00:00Z", ": day out of range", false, true },
		{ "2026-01-01T24:00:00Z", ": hour out of range", false, true },
		{ "2026-01-01T00:00:00Zx", ": extra text: \"x\"", false, true },
		{ "2026-01-01T00:00:00Z", " " LAYOUT_MICRO "\"Z\" as \".000000\"", true, true },
		{ "2026-01-01T00:00:00.12Z", " " LAYOUT_MICRO "\".12Z\" as \".000000\"", true,
		  true },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t sec = 0, ns = 0;
		struct str why = STR_EMPTY;
		bool ok = time_parse_go(a, str_from(rows[i].text), rows[i].micro, &sec, &ns, &why);

		assert_int_equal(ok, !rows[i].bad);
		if (ok)
			assert_str(unix_format(a, sec, ns, rows[i].micro), rows[i].want);
		else
			assert_str(why,
				   arena_fmt(a, "parsing time \"%s\"%s", rows[i].text, rows[i].want)
					   .p);
	}
	arena_free(a);
}

TEST_MAIN(T(wall_round_trip), T(wall_refuses), T(durations), T(times_as_go_reads_them))
