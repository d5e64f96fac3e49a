/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resource.Quantity in fixed point: 128 bits of 10^-9 hold upstream's whole range (values are
 * capped at 2^63-1). Digits below 10^-9 round away from zero, so that asking for a trace of
 * something is never asking for nothing.
 */

#include "api/quantity.h"

#include "base/arena.h"

#define NANO      ((__int128)1000000000)
#define VALUE_MAX ((__int128)INT64_MAX * NANO)

static const char decimal_suffix[] = "num kMGTPE"; /* 10^-9 and up, in thousands */
static const char binary_suffix[] = " KMGTPE";     /* 2^0 and up, in 1024s */

struct suffix {
	enum quantity_format format;
	int exp10; /* decimal formats */
	int exp2;  /* binary */
};

static bool quantity_parse_suffix(struct str s, struct suffix *ret)
{
	*ret = (struct suffix){ .format = QUANTITY_DECIMAL_SI };
	if (s.n == 0)
		return true;
	if (s.n == 2 && s.p[1] == 'i' && s.p[0] != ' ') {
		const char *p = strchr(binary_suffix, s.p[0]);

		if (!p || !*p)
			return false;
		ret->format = QUANTITY_BINARY_SI;
		ret->exp2 = (int)(p - binary_suffix) * 10;
		return true;
	}
	if (s.n == 1 && s.p[0] != ' ') {
		const char *p = strchr(decimal_suffix, s.p[0]);

		if (!p || !*p)
			return false;
		ret->exp10 = (int)(p - decimal_suffix) * 3 - 9;
		return true;
	}
	if (s.p[0] == 'e' || s.p[0] == 'E') {
		int64_t exp;
		struct str num = str_skip(s, 1);

		str_strip_prefix(&num, STR("+"));
		if (!str_to_i64(num, &exp) || exp < -128 || exp > 128)
			return false;
		ret->format = QUANTITY_DECIMAL_EXP;
		ret->exp10 = (int)exp;
		return true;
	}
	return false;
}

/*
 * Mantissa of up to 36 digits and how many of them follow the point. More digits in front are
 * beyond the cap anyway, and more behind only round up: both are folded in here.
 */
struct mantissa {
	__int128 digits;
	int frac;
	bool rest, over;
};

static void mantissa_add(struct mantissa *m, int digit, bool frac)
{
	if (m->digits < (((__int128)1) << 120) / 10 && !(frac && m->frac >= 30)) {
		m->digits = m->digits * 10 + digit;
		m->frac += frac;
	} else if (frac) {
		m->rest |= digit != 0;
	} else {
		m->over = true;
	}
}

/* m * 10^(9 + exp10 - frac) * 2^exp2, rounded up and capped. */
static __int128 mantissa_scale(const struct mantissa *m, struct suffix suf)
{
	int exp = 9 + suf.exp10 - m->frac;
	__int128 v = m->digits;
	bool rest = m->rest;

	if (m->over)
		return VALUE_MAX;
	if (v == 0)
		return rest;
	for (int i = 0; i < suf.exp2; i += 10) {
		/* Room is made by giving up decimals that the product makes irrelevant. */
		while (v > (((__int128)1) << 116)) {
			rest |= v % 10 != 0;
			v /= 10;
			exp++;
		}
		v *= 1024;
	}
	for (; exp > 0; exp--) {
		if (v > VALUE_MAX)
			return VALUE_MAX;
		v *= 10;
	}
	for (; exp < 0 && v; exp++) {
		rest |= v % 10 != 0;
		v /= 10;
	}
	v += rest;
	return MIN(v, VALUE_MAX);
}

bool quantity_parse(struct str s, struct quantity *ret)
{
	struct mantissa m = { 0 };
	struct suffix suf;
	bool neg = false, point = false, any = false;

	if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+')) {
		neg = s.p[0] == '-';
		s = str_skip(s, 1);
	}
	while (s.n > 0 && ((s.p[0] >= '0' && s.p[0] <= '9') || (s.p[0] == '.' && !point))) {
		if (s.p[0] == '.') {
			point = true;
		} else {
			any = true;
			mantissa_add(&m, s.p[0] - '0', point);
		}
		s = str_skip(s, 1);
	}
	if (!any || !quantity_parse_suffix(s, &suf))
		return false;
	ret->nano = mantissa_scale(&m, suf);
	ret->format = suf.format;
	if (suf.format == QUANTITY_BINARY_SI && ret->nano > 0 && ret->nano < NANO)
		ret->format = QUANTITY_DECIMAL_SI;
	if (neg)
		ret->nano = -ret->nano;
	return true;
}

/* Away from zero. */
static __int128 div_up(__int128 v, __int128 by)
{
	__int128 q = v / by;

	if (v % by)
		q += v > 0 ? 1 : -1;
	return q;
}

/* printf has no 128-bit integers. */
static struct str i128_text(struct arena *a, __int128 v, const char *suffix)
{
	char digits[48];
	size_t i = sizeof(digits);
	bool neg = v < 0;

	do {
		int d = (int)(v % 10);

		digits[--i] = (char)('0' + (d < 0 ? -d : d));
		v /= 10;
	} while (v);
	return arena_fmt(a, "%s%.*s%s", neg ? "-" : "", (int)(sizeof(digits) - i), digits + i,
			 suffix);
}

static struct str quantity_text_binary(struct arena *a, __int128 nano)
{
	int64_t v = (int64_t)(nano / NANO);
	size_t i = 0;

	while (v % 1024 == 0 && i + 2 < sizeof(binary_suffix)) {
		v /= 1024;
		i++;
	}
	if (i == 0)
		return arena_fmt(a, "%lld", (long long)v);
	return arena_fmt(a, "%lld%ci", (long long)v, binary_suffix[i]);
}

struct str quantity_text(struct arena *a, struct quantity q)
{
	__int128 v = q.nano;
	int i = 0; /* thousands above nano */

	if (v == 0)
		return STR("0");
	/* What is no whole number would be rounded: it is written in decimals, as upstream does. */
	if (q.format == QUANTITY_BINARY_SI && v % NANO == 0 &&
	    (v >= 1024 * NANO || v <= -1024 * NANO))
		return quantity_text_binary(a, v);
	while (v % 1000 == 0 && i < (q.format == QUANTITY_DECIMAL_EXP ? 99 : 9)) {
		v /= 1000;
		i++;
	}
	if (i == 3)
		return i128_text(a, v, "");
	if (q.format == QUANTITY_DECIMAL_EXP)
		return i128_text(a, v, arena_fmt(a, "e%d", i * 3 - 9).p);
	return i128_text(a, v, (const char[]){ decimal_suffix[i], '\0' });
}

static int64_t saturate(__int128 v)
{
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int64_t quantity_value(struct quantity q)
{
	return saturate(div_up(q.nano, NANO));
}

int64_t quantity_milli(struct quantity q)
{
	return saturate(div_up(q.nano, NANO / 1000));
}

struct quantity quantity_from_value(int64_t v, enum quantity_format f)
{
	return (struct quantity){ .nano = (__int128)v * NANO, .format = f };
}

struct quantity quantity_from_milli(int64_t v, enum quantity_format f)
{
	return (struct quantity){ .nano = (__int128)v * (NANO / 1000), .format = f };
}

int quantity_cmp(struct quantity a, struct quantity b)
{
	return (a.nano > b.nano) - (a.nano < b.nano);
}

struct quantity quantity_add(struct quantity a, struct quantity b)
{
	enum quantity_format f = a.nano == 0 ? b.format : a.format;

	return (struct quantity){ .nano = a.nano + b.nano, .format = f };
}

struct quantity quantity_sub(struct quantity a, struct quantity b)
{
	enum quantity_format f = a.nano == 0 ? b.format : a.format;

	return (struct quantity){ .nano = a.nano - b.nano, .format = f };
}
