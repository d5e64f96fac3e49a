/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A supervised process: started again when it ends, at once at first, then with a back-off that
 * doubles up to 5 s while it keeps dying young. Its logs go to our standard error.
 */

#include <sys/types.h>

#include "base/base.h"

struct child;
struct err;
struct loop;

struct child_opts {
	const char *name;
	const char *const *argv; /* borrowed for the child's life */
	int exe_fd;              /* the program, opened by us: its path may be closed to uid */
	uid_t uid;               /* 0: stays root */
	const int *pass_fds;     /* become 3, 4, ...; borrowed */
	size_t n_pass_fds;
};

struct child *child_start(struct loop *l, const struct child_opts *opts);
/* SIGTERM, then SIGKILL after 5 s. */
SUSPENDS struct child *child_stop(struct child *c);
const char *child_name(const struct child *c);
