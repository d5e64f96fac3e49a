/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

#include "base/arena.h"

static const struct clock_source *clock_source;

void clock_set_source(const struct clock_source *src)
{
	clock_source = src;
}

static int64_t clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

struct mono mono_now(void)
{
	return (struct mono){ clock_source ? clock_source->mono() : clock_read(CLOCK_MONOTONIC) };
}

struct wall wall_now(void)
{
	return (struct wall){ clock_source ? clock_source->wall() : clock_read(CLOCK_REALTIME) };
}

/* Days since the epoch <-> civil date (Howard Hinnant's algorithm). */
int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *ret_y, unsigned *ret_m, unsigned *ret_d)
{
	int64_t era;
	unsigned doe, yoe, doy, mp;

	z += 719468;
	era = (z >= 0 ? z : z - 146096) / 146097;
	doe = (unsigned)(z - era * 146097);
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	*ret_d = doy - (153 * mp + 2) / 5 + 1;
	*ret_m = mp < 10 ? mp + 3 : mp - 9;
	*ret_y = (int64_t)yoe + era * 400 + (*ret_m <= 2);
}

static void put_digits(char *p, unsigned v, size_t n)
{
	for (; n; n--, v /= 10)
		p[n - 1] = (char)('0' + v % 10);
}

/* "2006-01-02T15:04:05Z": every write makes some, and printf would be a fifth of its parsing. */
static struct str format_seconds(struct arena *a, unsigned y, unsigned m, unsigned d, unsigned s)
{
	char *p = arena_strz(a, STR("0000-00-00T00:00:00Z"));

	put_digits(p, y, 4);
	put_digits(p + 5, m, 2);
	put_digits(p + 8, d, 2);
	put_digits(p + 11, s / 3600, 2);
	put_digits(p + 14, s / 60 % 60, 2);
	put_digits(p + 17, s % 60, 2);
	return str_make(p, 20);
}

struct str unix_format(struct arena *a, int64_t sec, int64_t ns, bool micro)
{
	int64_t days = sec / 86400, y;
	unsigned m, d, s;

	if (sec % 86400 < 0)
		days--;
	s = (unsigned)(sec - days * 86400);
	civil_from_days(days, &y, &m, &d);
	if (!micro && y >= 0 && y <= 9999)
		return format_seconds(a, (unsigned)y, m, d, s);
	if (micro)
		return arena_fmt(a, "%04lld-%02u-%02uT%02u:%02u:%02u.%06uZ", (long long)y, m, d,
				 s / 3600, s / 60 % 60, s % 60, (unsigned)(ns / 1000));
	return arena_fmt(a, "%04lld-%02u-%02uT%02u:%02u:%02uZ", (long long)y, m, d, s / 3600,
			 s / 60 % 60, s % 60);
}

static struct str wall_format_with(struct arena *a, struct wall t, bool micro)
{
	int64_t sec = t.ns / NS_PER_SEC, ns = t.ns % NS_PER_SEC;

	return ns < 0 ? unix_format(a, sec - 1, ns + NS_PER_SEC, micro)
		      : unix_format(a, sec, ns, micro);
}

struct str wall_format(struct arena *a, struct wall t)
{
	return wall_format_with(a, t, false);
}

struct str wall_format_micro(struct arena *a, struct wall t)
{
	return wall_format_with(a, t, true);
}

/* Exactly n digits at the front of s, below limit; consumes them and the byte after when sep is
 * set. */
static bool wall_digits(struct str *s, size_t n, char sep, unsigned limit, unsigned *ret)
{
	uint64_t v;

	if (s->n < n || !str_to_u64(str_sub(*s, 0, n), &v) || v > limit)
		return false;
	*s = str_skip(*s, n);
	if (sep) {
		if (!s->n || (s->p[0] | 0x20) != (sep | 0x20))
			return false;
		*s = str_skip(*s, 1);
	}
	*ret = (unsigned)v;
	return true;
}

static bool wall_parse_fraction(struct str *s, int64_t *ret_ns)
{
	int64_t unit = NS_PER_SEC / 10, ns = 0;
	size_t digits = 0;

	if (!s->n || (s->p[0] != '.' && s->p[0] != ',')) {
		*ret_ns = 0;
		return true;
	}
	*s = str_skip(*s, 1);
	for (; s->n && s->p[0] >= '0' && s->p[0] <= '9'; *s = str_skip(*s, 1), digits++) {
		ns += (s->p[0] - '0') * unit;
		unit /= 10;
	}
	*ret_ns = ns;
	return digits > 0;
}

static bool wall_parse_offset(struct str s, int64_t *ret_sec)
{
	unsigned h, m;
	int64_t sign;

	*ret_sec = 0;
	if (str_eqz(s, "Z") || str_eqz(s, "z"))
		return true;
	if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-'))
		return false;
	sign = s.p[0] == '-' ? -1 : 1;
	s = str_skip(s, 1);
	if (!wall_digits(&s, 2, ':', 23, &h) || !wall_digits(&s, 2, 0, 59, &m))
		return false;
	*ret_sec = sign * ((int64_t)h * 3600 + m * 60);
	return true;
}

bool wall_parse(struct str s, struct wall *ret)
{
	static const unsigned char month_days[] = {
		31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
	};
	unsigned y, mo, d, h, mi, sec;
	int64_t ns, offset;

	if (!wall_digits(&s, 4, '-', 9999, &y) || !wall_digits(&s, 2, '-', 12, &mo) ||
	    !wall_digits(&s, 2, 'T', 31, &d) || !wall_digits(&s, 2, ':', 23, &h) ||
	    !wall_digits(&s, 2, ':', 59, &mi) || !wall_digits(&s, 2, 0, 59, &sec))
		return false;
	if (mo == 0 || d == 0 || d > month_days[mo - 1])
		return false;
	if (mo == 2 && d == 29 && (y % 4 || (y % 100 == 0 && y % 400)))
		return false;
	if (!wall_parse_fraction(&s, &ns) || !wall_parse_offset(s, &offset))
		return false;
	/* Outside of what 64 bits of nanoseconds can say (1677 to 2262). */
	if (y < 1678 || y > 2261) {
		ret->ns = y < 1678 ? INT64_MIN : INT64_MAX;
		return true;
	}
	ret->ns = (days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - offset) *
			  NS_PER_SEC +
		  ns;
	return true;
}

static const struct duration_unit {
	struct str name;
	int64_t ns;
} duration_units[] = {
	/* longer names first, so that "ms" is not taken for "m" */
	{ STR_INIT("ns"), 1 },
	{ STR_INIT("us"), 1000 },
	{ STR_INIT("\xc2\xb5s"), 1000 },
	{ STR_INIT("ms"), NS_PER_MS },
	{ STR_INIT("s"), NS_PER_SEC },
	{ STR_INIT("m"), 60 * NS_PER_SEC },
	{ STR_INIT("h"), 3600 * NS_PER_SEC },
};

static bool duration_take_unit(struct str *s, int64_t *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		if (str_strip_prefix(s, duration_units[i].name)) {
			*ret = duration_units[i].ns;
			return true;
		}
	}
	return false;
}

bool duration_parse_go(struct str s, int64_t *ret_ns)
{
	double total = 0;
	bool neg = false;

	if (s.n && (s.p[0] == '-' || s.p[0] == '+')) {
		neg = s.p[0] == '-';
		s = str_skip(s, 1);
	}
	if (str_eqz(s, "0")) {
		*ret_ns = 0;
		return true;
	}
	if (!s.n)
		return false;
	while (s.n) {
		size_t k = 0;
		int64_t unit;
		double v;

		while (k < s.n && ((s.p[k] >= '0' && s.p[k] <= '9') || s.p[k] == '.'))
			k++;
		if (!k || !str_to_double(str_sub(s, 0, k), &v))
			return false;
		s = str_skip(s, k);
		if (!duration_take_unit(&s, &unit))
			return false;
		total += v * (double)unit;
	}
	if (total > 9.2e18)
		return false;
	*ret_ns = (int64_t)(neg ? -total : total);
	return true;
}

struct str duration_human(struct arena *a, int64_t ns)
{
	int64_t s = ns / NS_PER_SEC, m = s / 60, h = m / 60, d = h / 24;

	if (s < 0)
		return s >= -1 ? STR("0s") : STR("<invalid>");
	if (s < 120)
		return arena_fmt(a, "%llds", (long long)s);
	if (m < 10)
		return s % 60 ? arena_fmt(a, "%lldm%llds", (long long)m, (long long)(s % 60))
			      : arena_fmt(a, "%lldm", (long long)m);
	if (m < 180)
		return arena_fmt(a, "%lldm", (long long)m);
	if (h < 8)
		return m % 60 ? arena_fmt(a, "%lldh%lldm", (long long)h, (long long)(m % 60))
			      : arena_fmt(a, "%lldh", (long long)h);
	if (h < 48)
		return arena_fmt(a, "%lldh", (long long)h);
	if (d < 8)
		return h % 24 ? arena_fmt(a, "%lldd%lldh", (long long)d, (long long)(h % 24))
			      : arena_fmt(a, "%lldd", (long long)d);
	if (d < 365 * 2)
		return arena_fmt(a, "%lldd", (long long)d);
	if (d < 365 * 8 && d / 365 * 365 != d)
		return arena_fmt(a, "%lldy%lldd", (long long)(d / 365), (long long)(d % 365));
	return arena_fmt(a, "%lldy", (long long)(d / 365));
}
