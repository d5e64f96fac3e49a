/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From a Pod to what CRI wants: sandbox and container configurations. Pure: everything that has to
 * be looked up or made on the host comes in with the options.
 */

#include "base/str.h"
#include "node/cri.h"
#include "node/env.h"

struct arena;
struct err;
struct json;

struct sandbox_opts {
	const struct json *pod;
	struct str log_dir, cgroup_parent;
	uint32_t attempt;
	CRI(DNSConfig) * dns; /* NULL: the host's */
};

CRI(PodSandboxConfig) * sandbox_config_render(struct arena *a, const struct sandbox_opts *o);

struct mount_spec {
	struct str host_path, container_path;
	bool read_only;
	int propagation; /* Runtime__V1__MountPropagation */
};

struct device_spec {
	struct str host_path, container_path, permissions;
};

struct container_opts {
	const struct json *pod, *container;
	struct str image_id;
	bool image_has_uid; /* the image's own user, for runAsNonRoot */
	int64_t image_uid;
	struct str image_user;
	int restarts;
	const struct env_list *env;
	const struct mount_spec *mounts;
	size_t n_mounts;
	const struct device_spec *devices;
	size_t n_devices;
	const struct cri_pairs *annotations; /* of device plugins; may be NULL */
	struct str termination_file;
	struct str kubelet_root;
	int64_t memory_capacity;
};

/* INVALID with upstream's text when the spec cannot be met: CreateContainerConfigError. */
MUST_USE struct err *container_config_render(struct arena *a, const struct container_opts *o,
					     CRI(ContainerConfig) * *ret);
/* What a restart for a changed spec is decided by. */
struct str container_hash(struct arena *a, const struct json *container);
