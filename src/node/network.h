/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The node's side of the Pod network: the bridge that holds the node's own address, forwarding. For
 * `isoplane up`, which needs the address before anything listens on it, and for the agent.
 */

#include "base/str.h"

struct arena;
struct err;

struct network_opts {
	struct str bridge;   /* "iso-ID" */
	struct str ip;       /* the node's InternalIP, the first of pod_cidr */
	struct str pod_cidr; /* "10.244.0.0/24" */
};

/* Idempotent. */
MUST_USE SUSPENDS struct err *network_ensure(struct arena *a, const struct network_opts *o);
/* Removes the bridge. */
SUSPENDS void network_remove(struct arena *a, struct str bridge);
/* First 8 hex digits of sha256 of the real path: how one instance's things are named. */
struct str network_instance_id(struct arena *a, const char *data_dir);
