/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cron-next.h"

#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

#define YEARS_AHEAD 5

/*
 * libc knows the rules of a zone, but only for the whole process: it is switched for the length of
 * a computation that waits for nothing.
 */
static void zone_enter(struct str zone)
{
	char *name = mem_strdup(str_empty(zone) ? STR("UTC") : zone);

	setenv("TZ", name, 1);
	tzset();
	free(name);
}

static void zone_leave(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
}

static bool cron_bit(uint64_t bits, int n)
{
	return bits >> n & 1;
}

static bool cron_day_fits(const struct cron *c, const struct tm *tm)
{
	bool day = cron_bit(c->day, tm->tm_mday), weekday = cron_bit(c->weekday, tm->tm_wday);

	return c->day_any || c->weekday_any ? day && weekday : day || weekday;
}

/* To the start of the next month, day, hour or minute that has a chance; false: tm fits. */
static bool cron_advance(const struct cron *c, struct tm *tm)
{
	tm->tm_sec = 0;
	if (!cron_bit(c->month, tm->tm_mon + 1)) {
		tm->tm_mon++;
		tm->tm_mday = 1;
		tm->tm_hour = tm->tm_min = 0;
	} else if (!cron_day_fits(c, tm)) {
		tm->tm_mday++;
		tm->tm_hour = tm->tm_min = 0;
	} else if (!cron_bit(c->hour, tm->tm_hour)) {
		tm->tm_hour++;
		tm->tm_min = 0;
	} else if (!cron_bit(c->minute, tm->tm_min)) {
		tm->tm_min++;
	} else {
		return false;
	}
	return true;
}

static bool cron_search(const struct cron *c, time_t from, time_t *ret)
{
	time_t t = from - from % 60 + 60;
	struct tm tm;
	int last;

	if (!localtime_r(&t, &tm))
		return false;
	last = tm.tm_year + YEARS_AHEAD;
	while (tm.tm_year <= last) {
		time_t next;

		if (!cron_advance(c, &tm)) {
			*ret = t;
			return true;
		}
		tm.tm_isdst = -1;
		next = mktime(&tm);
		/* clocks going back must not lead us back, too */
		t = next > t ? next : t + 60;
		if (!localtime_r(&t, &tm))
			return false;
	}
	return false;
}

bool cron_next(const struct cron *c, struct str zone, struct wall t, struct wall *ret)
{
	time_t next = 0;
	bool found;

	if (c->every_ns) {
		int64_t whole = t.ns - t.ns % NS_PER_SEC;

		ret->ns = whole + MAX(c->every_ns - c->every_ns % NS_PER_SEC, NS_PER_SEC);
		return true;
	}
	zone_enter(zone);
	found = cron_search(c, (time_t)(t.ns / NS_PER_SEC), &next);
	zone_leave();
	ret->ns = (int64_t)next * NS_PER_SEC;
	return found;
}
