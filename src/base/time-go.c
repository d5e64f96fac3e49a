/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time-go.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

struct time_go {
	struct arena *a;
	struct str text, rest;
	bool micro;
	struct str why;
};

/* What a layout consists of: digits within bounds, and the byte that follows. */
static const struct time_field {
	const char *layout;
	size_t digits;
	int64_t min, max; /* a day is known to be one of its month only at the end */
	const char *name;
	const char *after;
} time_fields[] = {
	{ "2006", 4, 0, 9999, "year", "-" }, { "01", 2, 1, 12, "month", "-" },
	{ "02", 2, 0, 99, "day", "T" },      { "15", 2, 0, 23, "hour", ":" },
	{ "04", 2, 0, 59, "minute", ":" },   { "05", 2, 0, 59, "second", "" },
};

static struct str time_quote(struct arena *a, struct str s)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c >= 0x80)
			buf_addf(&b, "\\x%02x", c);
		else
			buf_addf(&b, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
	}
	return buf_to_arena(&b, a);
}

/* At the place that is reached. */
static bool time_bad(struct time_go *t, const char *layout)
{
	t->why = arena_fmt(t->a,
			   "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05%sZ07:00\": "
			   "cannot parse \"" STR_FMT "\" as \"%s\"",
			   STR_ARG(time_quote(t->a, t->text)), t->micro ? ".000000" : "",
			   STR_ARG(time_quote(t->a, t->rest)), layout);
	return false;
}

static bool time_wrong(struct time_go *t, const char *what)
{
	t->why = arena_fmt(t->a, "parsing time \"" STR_FMT "\": %s out of range",
			   STR_ARG(time_quote(t->a, t->text)), what);
	return false;
}

static size_t time_digits(struct str s)
{
	size_t n = 0;

	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	return n;
}

/* The first n bytes, which are digits. */
static int64_t time_take(struct time_go *t, size_t n)
{
	int64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v * 10 + (t->rest.p[i] - '0');
	t->rest = str_skip(t->rest, n);
	return v;
}

static bool time_field(struct time_go *t, const struct time_field *f, int64_t *ret)
{
	if (time_digits(t->rest) < f->digits)
		return time_bad(t, f->layout);
	*ret = time_take(t, f->digits);
	if (*ret < f->min || *ret > f->max)
		return time_wrong(t, f->name);
	if (!str_strip_prefix(&t->rest, str_from(f->after)))
		return time_bad(t, f->after);
	return true;
}

/* Six digits where the layout has them, else as many as there are. */
static bool time_fraction(struct time_go *t, int64_t *ret_ns)
{
	bool point = t->rest.n && (t->rest.p[0] == '.' || t->rest.p[0] == ',');
	size_t n = point ? time_digits(str_skip(t->rest, 1)) : 0;
	int64_t unit = NS_PER_SEC;

	*ret_ns = 0;
	if (t->micro && n < 6)
		return time_bad(t, ".000000");
	if (t->micro)
		n = 6;
	if (!n)
		return true;
	t->rest = str_skip(t->rest, 1);
	for (; n; n--) {
		unit /= 10;
		*ret_ns += time_take(t, 1) * unit;
	}
	return true;
}

static bool time_zone(struct time_go *t, int64_t *ret_sec)
{
	const struct str zone = t->rest;
	int64_t hours, minutes;

	*ret_sec = 0;
	if (str_strip_prefix(&t->rest, STR("Z")))
		return true;
	if (zone.n < 6 || (zone.p[0] != '+' && zone.p[0] != '-') || zone.p[3] != ':' ||
	    time_digits(str_skip(zone, 1)) != 2 || time_digits(str_skip(zone, 4)) < 2)
		return time_bad(t, "Z07:00");
	t->rest = str_skip(zone, 1);
	hours = time_take(t, 2);
	t->rest = str_skip(zone, 4);
	minutes = time_take(t, 2);
	/* some write an offset of 24 hours */
	if (hours > 24)
		return time_wrong(t, "time zone offset hour");
	if (minutes > 60)
		return time_wrong(t, "time zone offset minute");
	*ret_sec = (hours * 3600 + minutes * 60) * (zone.p[0] == '-' ? -1 : 1);
	return true;
}

static int64_t time_days_in(int64_t year, int64_t month)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static bool time_parse(struct time_go *t, int64_t *ret_sec, int64_t *ret_ns)
{
	int64_t v[ARRAY_LEN(time_fields)], offset;

	for (size_t i = 0; i < ARRAY_LEN(time_fields); i++) {
		if (!time_field(t, &time_fields[i], &v[i]))
			return false;
	}
	if (!time_fraction(t, ret_ns) || !time_zone(t, &offset))
		return false;
	if (t->rest.n) {
		t->why = arena_fmt(
			t->a, "parsing time \"" STR_FMT "\": extra text: \"" STR_FMT "\"",
			STR_ARG(time_quote(t->a, t->text)), STR_ARG(time_quote(t->a, t->rest)));
		return false;
	}
	if (v[2] < 1 || v[2] > time_days_in(v[0], v[1]))
		return time_wrong(t, "day");
	*ret_sec = days_from_civil(v[0], (unsigned)v[1], (unsigned)v[2]) * 86400 + v[3] * 3600 +
		   v[4] * 60 + v[5] - offset;
	return true;
}

bool time_parse_go(struct arena *a, struct str text, bool micro, int64_t *ret_sec, int64_t *ret_ns,
		   struct str *ret_why)
{
	struct time_go t = { .a = a, .text = text, .rest = text, .micro = micro };
	bool ok = time_parse(&t, ret_sec, ret_ns);

	*ret_why = t.why;
	return ok;
}
