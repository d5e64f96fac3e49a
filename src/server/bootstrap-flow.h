/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The flowcontrol objects every cluster begins with, one after the other. */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

size_t bootstrap_n_flow_objects(void);
/* The i-th, without its name. */
struct json *bootstrap_flow_object(struct arena *a, size_t i, struct wall now,
				   const char **ret_resource, struct str *ret_name);
