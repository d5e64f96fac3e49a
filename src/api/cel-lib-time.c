/* SPDX-License-Identifier: Apache-2.0 */

/* Parts of timestamps, in UTC or a time zone, and of durations. */

#include <ctype.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/cel-value.h"
#include "base/arena.h"

#define ZONES "/usr/share/zoneinfo/"

/* "+02:00", "-2:30": seconds east */
static bool cel_zone_offset(struct str s, int *ret)
{
	size_t colon = str_find_char(s, ':', 0);
	int64_t h, m;
	bool minus = s.n && s.p[0] == '-';

	if (colon == s.n)
		return false;
	if (s.p[0] == '-' || s.p[0] == '+') {
		s = str_skip(s, 1);
		colon--;
	}
	if (!str_to_i64(str_sub(s, 0, colon), &h) || !str_to_i64(str_skip(s, colon + 1), &m) ||
	    h < 0 || h > 24 || m < 0 || m > 60)
		return false;
	*ret = (int)(h * 3600 + m * 60) * (minus ? -1 : 1);
	return true;
}

static bool cel_zone_name_ok(struct arena *a, struct str s)
{
	if (!s.n || s.n > 64 || s.p[0] == '/' || str_contains(s, STR("..")))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && !strchr("_+-/", s.p[i]))
			return false;
	return access(arena_fmt(a, ZONES STR_FMT, STR_ARG(s)).p, R_OK) == 0;
}

/* The calendar in a zone of the database; the process's own zone is put back. */
static void cel_zone_local(struct arena *a, struct str zone, time_t t, struct tm *ret)
{
	const char *old = getenv("TZ");
	struct str keep = old ? arena_str(a, str_from(old)) : STR_EMPTY;

	setenv("TZ", arena_fmt(a, ":" STR_FMT, STR_ARG(zone)).p, 1);
	tzset();
	localtime_r(&t, ret);
	if (old)
		setenv("TZ", arena_strz(a, keep), 1);
	else
		unsetenv("TZ");
	tzset();
}

static bool cel_time_parts(struct cel_ctx *c, const struct cel_val *a, size_t n, struct tm *ret,
			   struct cel_val *bad)
{
	time_t t = (time_t)a[0].i;
	int offset = 0;

	*bad = cel_no_overload();
	if (a[0].kind != CEL_TIMESTAMP || (n > 1 && a[1].kind != CEL_STRING))
		return false;
	if (n > 1 && !str_eqz(a[1].s, "UTC") && a[1].s.n) {
		if (!cel_zone_offset(a[1].s, &offset)) {
			if (!cel_zone_name_ok(c->arena, a[1].s)) {
				*bad = cel_error(c, "unknown time zone " STR_FMT, STR_ARG(a[1].s));
				return false;
			}
			cel_zone_local(c->arena, a[1].s, t, ret);
			return true;
		}
	}
	t += offset;
	gmtime_r(&t, ret);
	return true;
}

#define TIME_FN(name, expr)                                                               \
	static struct cel_val cel_time_##name(struct cel_ctx *c, const struct cel_val *a, \
					      size_t n)                                   \
	{                                                                                 \
		struct cel_val bad;                                                       \
		struct tm tm;                                                             \
                                                                                          \
		return cel_time_parts(c, a, n, &tm, &bad) ? cel_int(expr) : bad;          \
	}

TIME_FN(year, tm.tm_year + 1900)
TIME_FN(month, tm.tm_mon)
TIME_FN(day_of_year, tm.tm_yday)
TIME_FN(day_of_month, tm.tm_mday - 1)
TIME_FN(date, tm.tm_mday)
TIME_FN(day_of_week, tm.tm_wday)

#define DURATION_FN(name, expr, unit)                                                     \
	static struct cel_val cel_time_##name(struct cel_ctx *c, const struct cel_val *a, \
					      size_t n)                                   \
	{                                                                                 \
		struct cel_val bad;                                                       \
		struct tm tm;                                                             \
                                                                                          \
		if (a[0].kind == CEL_DURATION)                                            \
			return cel_int(a[0].i / (unit));                                  \
		return cel_time_parts(c, a, n, &tm, &bad) ? cel_int(expr) : bad;          \
	}

DURATION_FN(hours, tm.tm_hour, INT64_C(3600000000000))
DURATION_FN(minutes, tm.tm_min, INT64_C(60000000000))
DURATION_FN(seconds, tm.tm_sec, INT64_C(1000000000))

static struct cel_val cel_time_milliseconds(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val bad;
	struct tm tm;

	if (a[0].kind == CEL_DURATION)
		return cel_int(a[0].i / 1000000);
	return cel_time_parts(c, a, n, &tm, &bad) ? cel_int(a[0].nanos / 1000000) : bad;
}

const struct cel_fn_row cel_lib_time[] = {
	{ "getFullYear", ".t>i .ts>i", cel_time_year, CEL_COST_ONE },
	{ "getMonth", ".t>i .ts>i", cel_time_month, CEL_COST_ONE },
	{ "getDayOfYear", ".t>i .ts>i", cel_time_day_of_year, CEL_COST_ONE },
	{ "getDayOfMonth", ".t>i .ts>i", cel_time_day_of_month, CEL_COST_ONE },
	{ "getDate", ".t>i .ts>i", cel_time_date, CEL_COST_ONE },
	{ "getDayOfWeek", ".t>i .ts>i", cel_time_day_of_week, CEL_COST_ONE },
	{ "getHours", ".t>i .ts>i .D>i", cel_time_hours, CEL_COST_ONE },
	{ "getMinutes", ".t>i .ts>i .D>i", cel_time_minutes, CEL_COST_ONE },
	{ "getSeconds", ".t>i .ts>i .D>i", cel_time_seconds, CEL_COST_ONE },
	{ "getMilliseconds", ".t>i .ts>i .D>i", cel_time_milliseconds, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
