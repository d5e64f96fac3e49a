/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a LimitRange makes of Pods and claims: defaults put in, and bounds checked. */

#include "base/str.h"

struct arena;
struct json;

/* Requests and limits of containers that have none, and the annotation that says so. */
void limit_range_default_pod(struct arena *a, const struct json *range, struct json *pod);
/* What is wrong, joined; empty: nothing. gr: "pods" or "persistentvolumeclaims". */
struct str limit_range_check(struct arena *a, const struct json *range, struct str gr,
			     const struct json *obj);
