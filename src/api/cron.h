/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Schedules of CronJobs: five fields, names of months and days, "@daily" and the like, "@every 1h".
 */

#include "base/str.h"

struct arena;

struct cron {
	uint64_t minute, hour, day, month, weekday; /* bit n: the value n */
	bool day_any, weekday_any;                  /* "*": then the other of both decides alone */
	int64_t every_ns;                           /* "@every": the fields say nothing then */
};

/* NULL when it is fine, else what is wrong, in upstream's words, in the arena. */
const char *cron_parse(struct arena *a, struct str text, struct cron *ret);
