/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The condition Dangling of FlowSchemas: whether the priority level they name is there. */

#include "base/clock.h"

struct apiserver;
struct arena;
struct err;
struct json;

/* SUSPENDS */
MUST_USE struct err *flow_status_start(struct apiserver *s);
/* In schema's status; true: that changed it. */
bool flow_schema_set_dangling(struct arena *a, struct json *schema, bool dangling, struct wall now);
