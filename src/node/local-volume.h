/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node's side of the StorageClass `local` (api/local-volume.h): makes and removes what is
 * behind a volume. */

#include "base/base.h"

struct agent;
struct arena;
struct err;
struct json;

/* Makes the directory, or the sparse file of a block volume, unless it is there; nothing for
 * volumes of others. */
MUST_USE struct err *local_volume_prepare(struct arena *a, const struct json *pv);
/* Begins to remove what is behind deleted volumes of this node. */
MUST_USE struct err *local_volumes_start(struct agent *ag);
