/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Node object: registration, status, and the lease that shows we live. */

#include "base/base.h"

struct agent;
struct err;

/* Registration, status and lease go on by themselves. */
MUST_USE struct err *node_status_start(struct agent *ag);
/* Capacity or conditions changed: report soon. Fine before node_status_start. */
void node_status_changed(struct agent *ag);
