/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the virtualization components say about themselves, in the shape of upstream's version.Info.
 */

#define VIRT_VERSION       "v1.9.0"
#define VIRT_VERSION_MAJOR "1"
#define VIRT_VERSION_MINOR "9"

struct arena;
struct json;

/* gitVersion, gitCommit, gitTreeState, buildDate, goVersion, compiler, platform. */
void virt_version_fill(struct arena *a, struct json *obj);
