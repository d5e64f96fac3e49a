/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Child processes. argv and envp are NULL-terminated; a NULL envp inherits ours. Children are
 * watched by pidfd; nothing here reaps what it did not start.
 */

#include <sys/types.h>

#include "base/str.h"

struct arena;
struct err;
struct process;

struct process_opts {
	const char *const *argv;
	const char *const *envp;
	/* The program, when above 0: its path need not be open to uid. Else argv[0] by PATH. */
	int exec_fd;
	const char *cwd;
	/* -1: /dev/null for stdin, ours for the others; borrowed */
	int stdin_fd, stdout_fd, stderr_fd;
	const int *pass_fds; /* kept open, as 3, 4, ... in the child; all others close */
	size_t n_pass_fds;
	bool set_uid;
	uid_t uid;
	gid_t gid;
	bool pdeathsig;     /* SIGKILL when we die; set after the uid change */
	bool new_session;   /* detached: survives us */
	uint64_t keep_caps; /* capability bits kept as ambient after a uid change */
};

MUST_USE struct err *process_start(const struct process_opts *opts, struct process **ret);
pid_t process_pid(const struct process *p);
/* SUSPENDS until it ended; *ret_status as from waitpid. */
MUST_USE SUSPENDS struct err *process_wait(struct process *p, int *ret_status);
bool process_exited(const struct process *p, int *ret_status);
void process_kill(struct process *p, int signo);
/* Forgets it; a running child is killed unless it was detached (new_session). */
struct process *process_free(struct process *p);
void process_freep(struct process **p);

/*
 * SUSPENDS: runs argv to its end with input on stdin; stdout (limited to max_out) in the arena,
 * ret_out may be NULL. It ends when all writers of its output did.
 * A non-zero exit is an error that quotes the end of stderr.
 */
MUST_USE SUSPENDS struct err *process_run(struct arena *a, const char *const *argv,
					  struct str input, size_t max_out, struct str *ret_out);
