/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A private containerd: its configuration, its start (detached: it outlives whoever started it and
 * is adopted by the next), image import, and its end with everything it runs.
 *
 *     DIR/containerd             images and snapshots
 *     RUN/containerd.sock        CRI and containerd's own API
 *     RUN/containerd/            run-time state, config.toml, CNI configuration
 *     DIR/cni-bin                CNI plugins: the distribution's and ours, by symbolic links
 */

#include "base/str.h"

struct arena;
struct err;

struct containerd_opts {
	const char *data_dir, *run_dir;
	struct str id;            /* of the instance */
	struct str bridge;        /* the Pod bridge */
	struct str pod_cidr;      /* of this node */
	const char *kubeconfig;   /* for our CNI meta-plugin; NULL leaves secondary networks out */
	const char *kubelet_root; /* whose mounts containerd_down removes; may be NULL */
};

/*
 * Adopts the one that runs, or starts it and waits until it answers; the sandbox image is there
 * afterwards. *ret_socket is the path of the CRI socket.
 */
MUST_USE SUSPENDS struct err *containerd_ensure(struct arena *a, const struct containerd_opts *opts,
						const char **ret_socket);
/* Whether the containerd of run_dir lives. */
bool containerd_alive(struct arena *a, const char *run_dir);
/* name in full: "localhost/a/b:1". */
SUSPENDS bool containerd_has_image(struct arena *a, const char *run_dir, const char *name);
/* An OCI or Docker archive, into the namespace of the CRI plugin. */
MUST_USE SUSPENDS struct err *containerd_import(struct arena *a, const char *run_dir,
						const char *path);
/*
 * Stops every Pod with its grace (at most 30 s), then containerd and its shims; removes mounts,
 * the bridge and the instance's nftables table. Images and data stay.
 */
MUST_USE SUSPENDS struct err *containerd_down(struct arena *a, const struct containerd_opts *opts);
