/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Device plugins, the kubelet's v1beta1 interface: plugins register on kubelet.sock, list their
 * devices, and say how a container gets them. Allocations are kept in a file, so that a restart
 * of the agent gives nobody's device to another.
 */

#include "base/str.h"
#include "node/container-config.h"
#include "node/env.h"
#include "json/json.h"

struct agent;
struct arena;
struct devices;
struct err;

/* lifecycle */
/* Listens in KUBELET_ROOT/device-plugins. */
MUST_USE struct err *devices_start(struct agent *ag, struct devices **ret);
SUSPENDS struct devices *devices_free(struct devices *d);

/* What the plugins answered for one container. */
struct device_allocation {
	struct device_spec *devices;
	size_t n_devices;
	struct mount_spec *mounts;
	size_t n_mounts;
	struct env_var *envs;
	size_t n_envs;
	struct cri_pairs annotations;
};

/*
 * The devices of the container's extended resources: those it has already, or free ones. INVALID
 * when there are too few; plugins that are away are UNAVAILABLE.
 */
MUST_USE SUSPENDS struct err *devices_allocate(struct devices *d, struct arena *a,
					       const struct json *pod, const struct json *container,
					       struct device_allocation *ret);
void devices_release(struct devices *d, struct str pod_uid);

/* queries */
/* For the node's status: calls fn for each resource with all and healthy devices. */
void devices_each(const struct devices *d,
		  void (*fn)(void *ctx, struct str resource, int64_t total, int64_t healthy),
		  void *ctx);
