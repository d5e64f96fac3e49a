/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cron.h"

#include "base/arena.h"
#include "base/clock.h"

#define TEXT_MAX 1024

struct cron_field {
	int min, max;
	const char *names; /* three letters each, from min on */
};

static const struct cron_field cron_fields[] = {
	{ 0, 59, NULL },
	{ 0, 23, NULL },
	{ 1, 31, NULL },
	{ 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec" },
	{ 0, 6, "sunmontuewedthufrisat" },
};
#define FIELDS ARRAY_LEN(cron_fields)

static const struct {
	const char *name, *fields;
} cron_names[] = {
	{ "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
};

#define FAIL(...) (arena_fmt(a, __VA_ARGS__).p)

static const char *cron_number(struct arena *a, struct str s, const struct cron_field *f,
			       int64_t *ret)
{
	struct str digits = s;
	bool minus = str_strip_prefix(&digits, STR("-"));
	uint64_t n;

	for (int i = 0; f && f->names && s.n == 3 && f->names[3 * i]; i++) {
		if (str_eq_nocase(s, str_make(f->names + 3 * i, 3))) {
			*ret = f->min + i;
			return NULL;
		}
	}
	if (!minus)
		str_strip_prefix(&digits, STR("+"));
	if (!str_to_u64(digits, &n))
		return FAIL("failed to parse int from " STR_FMT ": strconv.Atoi: parsing \"" STR_FMT
			    "\": invalid syntax",
			    STR_ARG(s), STR_ARG(s));
	if (n > INT32_MAX)
		return FAIL("failed to parse int from " STR_FMT ": strconv.Atoi: parsing \"" STR_FMT
			    "\": value out of range",
			    STR_ARG(s), STR_ARG(s));
	if (minus && n)
		return FAIL("negative number (-%llu) not allowed: " STR_FMT, (unsigned long long)n,
			    STR_ARG(s));
	*ret = (int64_t)n;
	return NULL;
}

static size_t cron_count(struct str s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

struct cron_range {
	int64_t start, end, step;
	bool any;
};

static const char *cron_range_ends(struct arena *a, struct str expr, struct str range,
				   const struct cron_field *f, struct cron_range *r)
{
	size_t hyphens = cron_count(range, '-');
	const char *bad;
	struct str low;

	str_cut(&range, '-', &low);
	if (str_eqz(low, "*") || str_eqz(low, "?")) {
		r->start = f->min;
		r->end = f->max;
		r->any = true;
		return NULL;
	}
	bad = cron_number(a, low, f, &r->start);
	if (bad)
		return bad;
	if (hyphens > 1)
		return FAIL("too many hyphens: " STR_FMT, STR_ARG(expr));
	r->end = r->start;
	return hyphens ? cron_number(a, range, f, &r->end) : NULL;
}

static const char *cron_range_step(struct arena *a, struct str expr, struct str step, bool single,
				   const struct cron_field *f, struct cron_range *r)
{
	const char *bad;

	if (cron_count(step, '/'))
		return FAIL("too many slashes: " STR_FMT, STR_ARG(expr));
	bad = cron_number(a, step, NULL, &r->step);
	if (single)
		r->end = f->max;
	if (r->step > 1)
		r->any = false;
	return bad;
}

static const char *cron_range(struct arena *a, struct str expr, const struct cron_field *f,
			      uint64_t *bits, bool *any)
{
	struct cron_range r = { .step = 1 };
	struct str step = expr, range;
	bool has_step = str_cut(&step, '/', &range);
	const char *bad = cron_range_ends(a, expr, range, f, &r);

	if (!bad && has_step)
		bad = cron_range_step(a, expr, step, !cron_count(range, '-'), f, &r);
	if (bad)
		return bad;
	if (r.start < f->min)
		return FAIL("beginning of range (%lld) below minimum (%d): " STR_FMT,
			    (long long)r.start, f->min, STR_ARG(expr));
	if (r.end > f->max)
		return FAIL("end of range (%lld) above maximum (%d): " STR_FMT, (long long)r.end,
			    f->max, STR_ARG(expr));
	if (r.start > r.end)
		return FAIL("beginning of range (%lld) beyond end of range (%lld): " STR_FMT,
			    (long long)r.start, (long long)r.end, STR_ARG(expr));
	if (!r.step)
		return FAIL("step of range should be a positive number: " STR_FMT, STR_ARG(expr));
	for (int64_t i = r.start; i <= r.end; i += r.step)
		*bits |= UINT64_C(1) << i;
	*any |= r.any;
	return NULL;
}

static const char *cron_field(struct arena *a, struct str text, const struct cron_field *f,
			      uint64_t *bits, bool *any)
{
	struct str one;

	while (str_split_next(&text, ',', &one)) {
		const char *bad = str_empty(one) ? NULL : cron_range(a, one, f, bits, any);

		if (bad)
			return bad;
	}
	return NULL;
}

static const char *cron_every(struct arena *a, struct str text, struct str duration,
			      struct cron *ret)
{
	if (duration_parse_go(duration, &ret->every_ns))
		return NULL;
	return FAIL("failed to parse duration " STR_FMT ": time: invalid duration \"" STR_FMT "\"",
		    STR_ARG(text), STR_ARG(duration));
}

static const char *cron_parse_fields(struct arena *a, struct str text, struct cron *ret)
{
	uint64_t *bits[FIELDS] = { &ret->minute, &ret->hour, &ret->day, &ret->month,
				   &ret->weekday };
	bool any[FIELDS] = { false };
	struct str words[FIELDS], rest = text, one, shown = STR_EMPTY;
	size_t n = 0;

	while (str_split_next(&rest, ' ', &one)) {
		if (str_empty(one))
			continue;
		if (n < FIELDS)
			words[n] = one;
		shown = arena_cat(a, n ? arena_cat(a, shown, STR(" ")) : shown, one);
		n++;
	}
	if (n != FIELDS)
		return FAIL("expected exactly 5 fields, found %zu: [" STR_FMT "]", n,
			    STR_ARG(shown));
	for (size_t i = 0; i < FIELDS; i++) {
		const char *bad = cron_field(a, words[i], &cron_fields[i], bits[i], &any[i]);

		if (bad)
			return bad;
	}
	ret->day_any = any[2];
	ret->weekday_any = any[4];
	return NULL;
}

const char *cron_parse(struct arena *a, struct str text, struct cron *ret)
{
	struct str rest = text, zone;

	*ret = (struct cron){ 0 };
	if (text.n > TEXT_MAX)
		return "too long";
	if (str_empty(text))
		return "empty spec string";
	/* a zone of its own; CronJobs have a field for it and refuse this one */
	if (str_has_prefix(rest, STR("TZ=")) || str_has_prefix(rest, STR("CRON_TZ="))) {
		str_cut(&rest, ' ', &zone);
		rest = str_trim(rest);
	}
	if (!str_has_prefix(rest, STR("@")))
		return cron_parse_fields(a, rest, ret);
	for (size_t i = 0; i < ARRAY_LEN(cron_names); i++) {
		if (str_eqz(rest, cron_names[i].name))
			return cron_parse_fields(a, str_from(cron_names[i].fields), ret);
	}
	if (str_has_prefix(rest, STR("@every ")))
		return cron_every(a, rest, str_skip(rest, 7), ret);
	return FAIL("unrecognized descriptor: " STR_FMT, STR_ARG(rest));
}
