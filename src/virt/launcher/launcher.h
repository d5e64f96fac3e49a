/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The launcher itself: the socket its handler talks to, the machine it runs, and when it ends. See
 * launcher-api.h for the protocol.
 */

#include "base/str.h"
#include "virt/launcher/disks.h"

struct err;

struct launcher_opts {
	struct str ns, name, uid;
	int64_t grace_seconds; /* for SIGTERM */
	int64_t idle_seconds;  /* ends when no VM was started by then; 0: 300 */
	bool allow_emulation;
	const char *sockets_dir, *qemu, *resolv_conf, *ovmf_dir;
	const struct disks_dirs *dirs;
};

extern const struct launcher_opts launcher_default_opts;

/* SUSPENDS until the VM has ended and the handler knows. */
MUST_USE SUSPENDS struct err *launcher_run(const struct launcher_opts *opts);
