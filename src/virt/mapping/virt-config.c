/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/virt-config.h"

#include <fnmatch.h>

#include "base/arena.h"
#include "json/json.h"

#if defined(__aarch64__)
#define OWN_ARCHITECTURE "arm64"
#elif defined(__s390x__)
#define OWN_ARCHITECTURE "s390x"
#else
#define OWN_ARCHITECTURE "amd64"
#endif

static const char *const q35_machines[] = { "q35*", "pc-q35*", NULL };
static const char *const virt_machines[] = { "virt*", NULL };
static const char *const s390_machines[] = { "s390-ccw-virtio*", NULL };

static const struct {
	const char *architecture, *machine;
	const char *const *machines;
} architectures[] = {
	{ "amd64", "q35", q35_machines },
	{ "arm64", "virt", virt_machines },
	{ "s390x", "s390-ccw-virtio", s390_machines },
};

static struct str or_default(struct str s, const char *dflt)
{
	return str_empty(s) ? str_from(dflt) : s;
}

static struct str launcher_image(struct arena *a, const struct json *kubevirt)
{
	struct str registry = json_str_at(kubevirt, "spec.imageRegistry");
	struct str tag = json_str_at(kubevirt, "spec.imageTag");

	if (str_empty(registry))
		return STR_EMPTY;
	return arena_fmt(a, STR_FMT "/virt-launcher:" STR_FMT, STR_ARG(registry),
			 STR_ARG(or_default(tag, "latest")));
}

void virt_config_read(struct arena *a, const struct json *kubevirt, struct virt_config *ret)
{
	const struct json *c = json_at(kubevirt, "spec.configuration");
	const struct json *dev = json_get(c, "developerConfiguration");
	const struct json *live = json_get(c, "liveUpdateConfiguration");
	struct str rollout = json_str_at(c, "vmRolloutStrategy");
	struct virt_config v = {
		.costs = { .cpu_allocation_ratio = json_int_at(dev, "cpuAllocationRatio", 10),
			   .memory_overcommit = json_int_at(dev, "memoryOvercommit", 100),
			   .use_emulation = json_bool_at(dev, "useEmulation", false) },
		.architecture = or_default(json_str_at(kubevirt, "status.defaultArchitecture"),
					   OWN_ARCHITECTURE),
		.machine_type = json_str_at(c, "machineType"),
		.cpu_model = json_str_at(c, "cpuModel"),
		.cpu_request = json_str_at(c, "cpuRequest"),
		.eviction_strategy = json_str_at(c, "evictionStrategy"),
		.network_interface =
			or_default(json_str_at(c, "network.defaultNetworkInterface"), "bridge"),
		.launcher_image = launcher_image(a, kubevirt),
		.image_pull_policy = json_str_at(c, "imagePullPolicy"),
		.runtime_class = json_str_at(c, "defaultRuntimeClass"),
		.permit_bridge_on_pod_network =
			json_bool_at(c, "network.permitBridgeInterfaceOnPodNetwork", true),
		.live_update = str_empty(rollout) || str_eqz(rollout, "LiveUpdate"),
		.max_hotplug_ratio = json_int_at(live, "maxHotplugRatio", 4),
		.max_cpu_sockets = json_int_at(live, "maxCpuSockets", 0),
		.max_guest = json_str_at(live, "maxGuest"),
		.feature_gates = json_get(dev, "featureGates"),
	};

	if (str_eqz(v.cpu_request, "100m"))
		v.cpu_request = STR_EMPTY;
	if (v.costs.cpu_allocation_ratio < 1)
		v.costs.cpu_allocation_ratio = 1;
	if (v.costs.memory_overcommit < 10)
		v.costs.memory_overcommit = 100;
	*ret = v;
}

bool virt_config_gate(const struct virt_config *c, const char *gate)
{
	json_for_each(it, c->feature_gates)
	{
		if (str_eqz(json_as_str(it.val), gate))
			return true;
	}
	return false;
}

static size_t architecture_index(struct str architecture)
{
	for (size_t i = 0; i < ARRAY_LEN(architectures); i++) {
		if (str_eqz(architecture, architectures[i].architecture))
			return i;
	}
	return 0;
}

const char *const *virt_config_machines(struct str architecture)
{
	return architectures[architecture_index(architecture)].machines;
}

struct str virt_config_default_machine(struct str architecture)
{
	return str_from(architectures[architecture_index(architecture)].machine);
}

bool virt_config_machine_allowed(struct str architecture, struct str machine)
{
	char name[128];

	if (machine.n >= sizeof(name))
		return false;
	memcpy(name, machine.p, machine.n);
	name[machine.n] = '\0';
	for (const char *const *g = virt_config_machines(architecture); *g; g++) {
		if (fnmatch(*g, name, 0) == 0)
			return true;
	}
	return false;
}
