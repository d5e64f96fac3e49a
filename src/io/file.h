/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small files, read and written at once (local disks: short enough not to suspend). */

#include <sys/types.h>

#include "base/str.h"

struct arena;
struct err;

/* NOT_FOUND, TOO_LARGE, ... */
MUST_USE struct err *file_read(struct arena *a, const char *path, size_t max, struct str *ret);
MUST_USE struct err *file_read_at(struct arena *a, int dirfd, const char *path, size_t max,
				  struct str *ret);
/* To a blocking descriptor. */
MUST_USE struct err *file_write_all(int fd, struct str data);
/* Writes a temporary file beside it, fsyncs and renames. */
MUST_USE struct err *file_write_atomic(const char *path, struct str data, mode_t mode);
/* Creates missing parents (mode applies to the last one). */
MUST_USE struct err *file_mkdir_p(const char *path, mode_t mode);
/* Removes a tree without following symbolic links or crossing mounts; absent is fine. */
MUST_USE struct err *file_remove_tree(const char *path);
/* openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: for paths a tenant controls. */
MUST_USE struct err *file_open_beneath(int dirfd, const char *path, int flags, mode_t mode,
				       int *ret_fd);
