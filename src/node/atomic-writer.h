/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Files of a volume that change all at once, laid out as the kubelet does:
 *
 *     volume/key      -> ..data/key
 *     volume/..data   -> ..2026_01_02_03_04_05.123456
 *     volume/..2026_01_02_03_04_05.123456/key
 *
 * A new set goes to a new directory, then ..data is renamed over. Readers that hold the old
 * directory keep a consistent view.
 */

#include <sys/types.h>

#include "base/str.h"

struct arena;
struct err;

struct atomic_file {
	struct str path; /* relative, may have directories, checked by atomic_path_ok */
	struct str data;
	mode_t mode;
	bool has_uid;
	uid_t uid;
};

/* Relative, no "..", not beginning with "..". */
bool atomic_path_ok(struct str path);
/* gid (gid_t)-1: root's. Nothing is written when the volume shows exactly this already. */
MUST_USE struct err *atomic_write(struct arena *a, const char *dir, const struct atomic_file *files,
				  size_t n, gid_t gid);
