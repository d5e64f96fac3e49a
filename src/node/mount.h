/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Mounts of volumes, by mount(2) and /proc/self/mountinfo. */

#include "base/str.h"

struct arena;
struct err;

bool mount_is_at(struct arena *a, struct str path);
/* A tmpfs with options ("size=64k,mode=0777"); fine when one is there. */
MUST_USE struct err *mount_tmpfs(struct arena *a, struct str path, struct str options);
/* What fd names, seen at path (an existing file or directory). */
MUST_USE struct err *mount_bind_fd(int fd, const char *path);
/* Unmounts everything at and below prefix, the deepest first. */
void mount_detach_below(struct arena *a, struct str prefix);
