/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One Isoplane on this machine: its data directory, the identifier made from it, its run-time
 * directory, and the addresses it chose.
 *
 * The run-time directory holds instance.json for as long as the instance has something
 * running (the supervisor, or workloads that outlive it).
 */

#include <sys/types.h>

#include "base/str.h"

struct arena;
struct err;

#define INSTANCE_DEFAULT_DIR "/var/lib/isoplane"

struct instance {
	const char *dir;     /* absolute, without symbolic links */
	const char *run_dir; /* /run/isoplane/ID */
	struct str id;       /* 8 hexadecimal digits */
	const char *kubelet_root;
	unsigned net; /* index of its address ranges */
	struct str bridge, node_ip, pod_cidr, node_cidr, service_cidr, service_ip;
};

/*
 * Fills in all but the network. create makes the directory (0711). The kubelet root is what the
 * running instance announced, else the default: /var/lib/kubelet for the default data directory,
 * DIR/kubelet for others.
 */
MUST_USE struct err *instance_open(struct arena *a, const char *dir, bool create,
				   struct instance *ret);
/* Reads DIR/network.json, or picks the lowest ranges free on this machine and writes it. */
MUST_USE struct err *instance_choose_network(struct arena *a, struct instance *inst);
/* DIR/up.lock, held by the supervisor: *ret_fd is -1 when another process has it (*ret_pid says
 * who). */
MUST_USE struct err *instance_lock(struct arena *a, const struct instance *inst, int *ret_fd,
				   pid_t *ret_pid);
/* Notes that we run. */
MUST_USE struct err *instance_announce(struct arena *a, const struct instance *inst);

/*
 * The instance a command means: dir when given, else the only one with something running.
 * NOT_FOUND when there is none, BAD_REQUEST naming them when there are several.
 */
MUST_USE struct err *instance_find(struct arena *a, struct str dir, struct instance *ret);

/* A file of ours beside the binary: in the source tree (build/..) or in LIBDIR/isoplane. */
MUST_USE struct err *instance_resource(struct arena *a, const char *name, const char **ret_path);
/* A binary of ours in the same directory as this one. */
MUST_USE struct err *instance_sibling(struct arena *a, const char *name, const char **ret_path);
