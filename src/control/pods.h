/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What several controllers do to Pods. */

#include "base/str.h"

struct arena;
struct client;
struct err;
struct json;

/* Sets the condition DisruptionTarget, and the phase Failed when fail is set. */
MUST_USE SUSPENDS struct err *pod_mark_disrupted(struct client *c, struct arena *a,
						 const struct json *pod, const char *reason,
						 struct str message, bool fail);
/* Sets the condition Ready to False (the node that would say so is silent). */
MUST_USE SUSPENDS struct err *pod_mark_not_ready(struct client *c, struct arena *a,
						 const struct json *pod);
/* Whether the toleration is one of the taint. */
bool pod_toleration_covers(const struct json *toleration, const struct json *taint);
