/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Volumes of a launcher Pod: its own directories, and one or two per volume of the VMI. */

#include "base/base.h"

struct arena;
struct json;

/* Adds to the Pod's spec and mounts in container. block_claims as in launcher-pod.h. */
void launcher_volumes_add(struct arena *a, const struct json *vmi, const struct json *block_claims,
			  struct json *spec, struct json *container);
/* A serviceAccount volume needs the Pod's token. */
bool launcher_volumes_want_token(const struct json *vmi);
