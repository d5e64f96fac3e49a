/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Time as types: struct mono for measuring and waiting, struct wall for what people see.
 * Tests replace both sources with clock_set_source().
 */

#include "base/str.h"

struct arena;

struct mono {
	int64_t ns;
};

struct wall {
	int64_t ns; /* since the Unix epoch, UTC */
};

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS  INT64_C(1000000)

struct mono mono_now(void);
struct wall wall_now(void);

struct clock_source {
	int64_t (*mono)(void);
	int64_t (*wall)(void);
};

/* NULL restores the real clocks. */
void clock_set_source(const struct clock_source *src);

static inline struct mono mono_add_ms(struct mono t, int64_t ms)
{
	return (struct mono){ t.ns + ms * NS_PER_MS };
}

static inline int64_t mono_ms_since(struct mono t)
{
	return (mono_now().ns - t.ns) / NS_PER_MS;
}

/* "2026-01-02T03:04:05Z" (metav1.Time) and with six decimals (metav1.MicroTime). */
struct str wall_format(struct arena *a, struct wall t);
struct str wall_format_micro(struct arena *a, struct wall t);
/* The same of seconds since the epoch, of the years 1 to 9999, which struct wall cannot hold. */
#define UNIX_YEAR_1    INT64_C(-62135596800)
#define UNIX_YEAR_9999 INT64_C(253402300799)
struct str unix_format(struct arena *a, int64_t sec, int64_t ns, bool micro);
/* Of the proleptic Gregorian calendar, since the epoch. */
int64_t days_from_civil(int64_t y, unsigned m, unsigned d);
/* RFC 3339 with any offset and fraction. */
bool wall_parse(struct str s, struct wall *ret);
/* Go's time.Duration syntax: "1h30m", "300ms". */
bool duration_parse_go(struct str s, int64_t *ret_ns);
/* How kubectl shows ages: "5s", "3m12s", "4h", "7d". */
struct str duration_human(struct arena *a, int64_t ns);
