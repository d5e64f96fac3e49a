/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The cluster's configuration: KubeVirt.spec.configuration with upstream's defaults filled in. */

#include "base/str.h"
#include "virt/mapping/resources.h"

struct arena;
struct json;

struct virt_config {
	struct virt_costs costs;
	struct str architecture;      /* "amd64": of this machine unless the KubeVirt says so */
	struct str machine_type;      /* empty: the architecture's default */
	struct str cpu_model;         /* empty: host-model */
	struct str cpu_request;       /* empty: not stamped on VMIs */
	struct str eviction_strategy; /* empty: none given */
	struct str network_interface; /* default binding: "bridge" or "masquerade" */
	struct str launcher_image;    /* from imageRegistry and imageTag; empty: the built-in one */
	struct str image_pull_policy;
	struct str runtime_class;
	bool permit_bridge_on_pod_network;
	bool live_update;
	int64_t max_hotplug_ratio;
	int64_t max_cpu_sockets; /* 0: none */
	struct str max_guest;
	const struct json *feature_gates;
};

/* kubevirt may be NULL. Views into it and into the arena. */
void virt_config_read(struct arena *a, const struct json *kubevirt, struct virt_config *ret);
bool virt_config_gate(const struct virt_config *c, const char *gate);
/* Globs of machine types a VMI may name on an architecture; NULL-terminated. */
const char *const *virt_config_machines(struct str architecture);
struct str virt_config_default_machine(struct str architecture);
bool virt_config_machine_allowed(struct str architecture, struct str machine);
