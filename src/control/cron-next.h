/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* When a schedule (api/cron.h) comes next, in a time zone of the system's database. */

#include "api/cron.h"
#include "base/clock.h"

/*
 * The first time after t that the schedule names; zone empty: UTC. False when there is none within
 * five years ("30 February"). A time that a change of clocks skips is skipped, one that it repeats
 * comes once, as upstream's library does it.
 */
bool cron_next(const struct cron *c, struct str zone, struct wall t, struct wall *ret);
