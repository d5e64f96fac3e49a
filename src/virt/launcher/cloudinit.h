/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cloud-init data of a VMI as an ISO: NoCloud (volume id cidata) and ConfigDrive (config-2). */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;
struct vm;

/*
 * source is the volume's cloudInitNoCloud or cloudInitConfigDrive; Secrets are read below
 * secret_dir
 * (<volume>-udata, <volume>-ndata). INVALID when there is neither user data nor network data.
 */
MUST_USE struct err *cloudinit_iso(struct arena *a, const struct vm *vm, struct str volume,
				   const struct json *source, bool config_drive,
				   const char *secret_dir, struct buf *out);
