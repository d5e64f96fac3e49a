/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Cleaning up what a crash or a power cut left behind, and logs that grew too long. */

#include "base/base.h"

struct agent;
struct arena;
struct err;

/* Twice a minute: directories, mounts and cgroups of Pods that are no more; log rotation. */
SUSPENDS void housekeeping(struct agent *ag, struct arena *a);
/* Once at start: addresses reserved for sandboxes that the runtime does not have. */
MUST_USE SUSPENDS struct err *housekeeping_start(struct agent *ag, struct arena *a);
