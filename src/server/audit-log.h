/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A log file that never makes the loop wait: lines go to a bounded buffer, a thread writes them
 * and rotates the file. What does not fit is counted and dropped.
 */

#include "base/base.h"
#include "base/str.h"

struct audit_log;
struct err;

struct audit_log_opts {
	struct str path;     /* "-": standard output */
	int64_t max_age;     /* days; 0: any */
	int64_t max_backup;  /* files; 0: any number */
	int64_t max_size_mb; /* before it is rotated; 0: never */
};

MUST_USE struct err *audit_log_open(const struct audit_log_opts *opts, struct audit_log **ret);
/* One line, without its end. False when it had to be dropped. */
bool audit_log_write(struct audit_log *l, struct str line);
/* Blocks until all is written. */
void audit_log_flush(struct audit_log *l);
/* Flushes first. */
struct audit_log *audit_log_close(struct audit_log *l);
