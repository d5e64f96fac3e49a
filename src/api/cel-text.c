/* SPDX-License-Identifier: Apache-2.0 */

/* Texts of scalars as Go prints and parses them. */

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/cel-value.h"
#include "base/arena.h"
#include "base/clock.h"

size_t cel_utf8_len(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

size_t cel_utf8_offset(struct str s, size_t n)
{
	size_t i = 0;

	while (i < s.n && n) {
		i++;
		while (i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80)
			i++;
		n--;
	}
	return i;
}

/* ---- doubles */

/* The shortest "d.ddde+xx" that reads back as d. */
static void cel_double_digits(double d, char *out, size_t size)
{
	for (int p = 0; p < 17; p++) {
		snprintf(out, size, "%.*e", p, d);
		if (strtod(out, NULL) == d)
			return;
	}
}

/* strconv.FormatFloat(d, 'g', -1, 64) */
struct str cel_double_text(struct arena *a, double d)
{
	char e[64];
	int exp, digits;
	const char *at;

	if (isnan(d))
		return STR("NaN");
	if (isinf(d))
		return d > 0 ? STR("+Inf") : STR("-Inf");
	cel_double_digits(d, e, sizeof(e));
	at = strchr(e, 'e');
	exp = (int)strtol(at + 1, NULL, 10);
	digits = (int)(at - e) - (e[0] == '-');
	digits = digits > 1 ? digits - 1 : 1;
	if (exp < -4 || exp >= 6)
		return arena_str(a, str_from(e));
	return arena_fmt(a, "%.*f", MAX(digits - 1 - exp, 0), d);
}

/* ---- durations */

struct str cel_duration_text(struct arena *a, int64_t ns)
{
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	struct str s = arena_fmt(a, "%s%llu.%09llu", ns < 0 ? "-" : "",
				 (unsigned long long)(u / 1000000000),
				 (unsigned long long)(u % 1000000000));

	while (s.p[s.n - 1] == '0')
		s.n--;
	if (s.p[s.n - 1] == '.')
		s.n--;
	return arena_fmt(a, STR_FMT "s", STR_ARG(s));
}

bool cel_duration_parse(struct str s, int64_t *ret)
{
	return duration_parse_go(s, ret);
}

/* ---- timestamps: RFC 3339 of the years 1 to 9999 */

static bool cel_digits(const char *p, size_t n, int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)p[i]))
			return false;
		*ret = *ret * 10 + (p[i] - '0');
	}
	return true;
}

static int64_t cel_days(int y, int m, int d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool cel_date_valid(int y, int m, int d)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

	return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

/* "Z" or "+hh:mm" */
static bool cel_zone_parse(struct str s, int *ret)
{
	int h, m;

	*ret = 0;
	if (str_eqz(s, "Z"))
		return true;
	if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':' ||
	    !cel_digits(s.p + 1, 2, &h) || !cel_digits(s.p + 4, 2, &m) || h > 24 || m > 60)
		return false;
	*ret = (h * 3600 + m * 60) * (s.p[0] == '-' ? -1 : 1);
	return true;
}

bool cel_timestamp_parse(struct str s, struct cel_val *ret)
{
	int y, mo, d, h, mi, sec, zone, ns = 0, unit = 100000000;
	size_t i = 19;
	int64_t t;

	if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' ||
	    s.p[16] != ':' || !cel_digits(s.p, 4, &y) || !cel_digits(s.p + 5, 2, &mo) ||
	    !cel_digits(s.p + 8, 2, &d) || !cel_digits(s.p + 11, 2, &h) ||
	    !cel_digits(s.p + 14, 2, &mi) || !cel_digits(s.p + 17, 2, &sec) ||
	    !cel_date_valid(y, mo, d) || h > 23 || mi > 59 || sec > 59)
		return false;
	if (s.p[i] == '.' || s.p[i] == ',') {
		size_t start = ++i;

		for (; i < s.n && isdigit((unsigned char)s.p[i]); i++, unit /= 10)
			ns += (s.p[i] - '0') * unit;
		if (i == start)
			return false;
	}
	if (!cel_zone_parse(str_skip(s, i), &zone))
		return false;
	t = cel_days(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - zone;
	if (t < UNIX_YEAR_1 || t > UNIX_YEAR_9999)
		return false;
	*ret = cel_timestamp(t, ns);
	return true;
}

struct str cel_timestamp_text(struct arena *a, int64_t sec, int32_t ns)
{
	struct tm tm;
	time_t t = (time_t)sec;
	struct str s, frac = STR_EMPTY;

	gmtime_r(&t, &tm);
	if (ns) {
		frac = arena_fmt(a, ".%09d", ns);
		while (frac.p[frac.n - 1] == '0')
			frac.n--;
	}
	s = arena_fmt(a, "%04d-%02d-%02dT%02d:%02d:%02d" STR_FMT "Z", tm.tm_year + 1900,
		      tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, STR_ARG(frac));
	return s;
}
