/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Expectations, as upstream's ControllerExpectations: what a controller has asked for and not yet
 * seen in its informer, so that a sync on a stale cache does not create twice. They expire after 5
 * minutes.
 */

#include "base/map.h"

struct expectations {
	/* private */
	struct map by_key;
};

void expectations_fini(struct expectations *x);
void expectations_set(struct expectations *x, struct str key, int adds, int dels);
void expectations_saw_add(struct expectations *x, struct str key);
void expectations_saw_del(struct expectations *x, struct str key);
/* Nothing outstanding (or expired, or never set). */
bool expectations_met(const struct expectations *x, struct str key);
void expectations_forget(struct expectations *x, struct str key);
