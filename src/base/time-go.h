/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Times as Go reads metav1.Time ("2006-01-02T15:04:05Z07:00") and MicroTime (six decimals). */

#include "base/str.h"

struct arena;

/* Seconds and nanoseconds since the epoch; otherwise ret_why is Go's error. */
bool time_parse_go(struct arena *a, struct str text, bool micro, int64_t *ret_sec, int64_t *ret_ns,
		   struct str *ret_why);
