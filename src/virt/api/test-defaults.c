/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "testkit/test.h"
#include "virt/api/vmi-defaults.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"
#include "json/yaml.h"

static struct json *yaml(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(yaml_parse(a, str_from(text), &v));
	return v;
}

static struct virt_config config(struct arena *a, const char *configuration)
{
	struct json *kv = yaml(a, configuration);
	struct virt_config cfg;

	virt_config_read(a, kv, &cfg);
	cfg.architecture = STR("amd64");
	return cfg;
}

/* From a spec, the value at a path after defaulting, as JSON text ("" when absent). */
TEST(defaults)
{
	static const struct {
		const char *spec, *path, *want;
	} rows[] = {
		{ "{}", "architecture", "\"amd64\"" },
		{ "{}", "domain.machine.type", "\"q35\"" },
		{ "{architecture: arm64}", "domain.machine.type", "\"virt\"" },
		{ "{domain: {machine: {type: pc-q35-7.2}}}", "domain.machine.type",
		  "\"pc-q35-7.2\"" },
		{ "{domain: {resources: {limits: {cpu: 2}}}}", "domain.resources.requests.cpu",
		  "2" },
		{ "{domain: {resources: {requests: {memory: 64Mi}}}}", "domain.memory.guest",
		  "\"64Mi\"" },
		{ "{domain: {resources: {limits: {memory: 64Mi}}}}", "domain.memory.guest",
		  "\"64Mi\"" },
		{ "{domain: {memory: {hugepages: {pageSize: 2Mi}}}}", "domain.memory.guest",
		  "\"2Mi\"" },
		{ "{domain: {memory: {guest: 1Gi}, resources: {requests: {memory: 2Gi}}}}",
		  "domain.memory.guest", "\"1Gi\"" },
		{ "{}", "domain.resources.requests", "" },
		/* topology: only when none of it is given */
		{ "{}", "domain.cpu.sockets", "1" },
		{ "{domain: {resources: {limits: {cpu: 2500m}}}}", "domain.cpu.sockets", "3" },
		{ "{domain: {cpu: {cores: 4}}}", "domain.cpu.sockets", "" },
		{ "{domain: {cpu: {cores: 4}}}", "domain.cpu.maxSockets", "" },
		{ "{}", "domain.cpu.maxSockets", "4" },
		{ "{}", "domain.cpu.model", "\"host-model\"" },
		{ "{architecture: arm64}", "domain.cpu.model", "\"host-passthrough\"" },
		/* images */
		{ "{volumes: [{name: a, containerDisk: {image: x}}]}", "volumes",
		  "[{\"name\":\"a\",\"containerDisk\":{\"image\":\"x\","
		  "\"imagePullPolicy\":\"Always\"}}]" },
		{ "{volumes: [{name: a, containerDisk: {image: 'r:5000/x:1'}}]}", "volumes",
		  "[{\"name\":\"a\",\"containerDisk\":{\"image\":\"r:5000/x:1\","
		  "\"imagePullPolicy\":\"IfNotPresent\"}}]" },
		/* networks */
		{ "{}", "networks", "[{\"name\":\"default\",\"pod\":{}}]" },
		{ "{}", "domain.devices.interfaces", "[{\"name\":\"default\",\"bridge\":{}}]" },
		{ "{domain: {devices: {autoattachPodInterface: false}}}", "networks", "" },
		/* disks */
		{ "{volumes: [{name: a, emptyDisk: {}}]}", "domain.devices.disks",
		  "[{\"name\":\"a\",\"disk\":{\"bus\":\"sata\"}}]" },
		{ "{domain: {devices: {disks: [{name: a, cdrom: {}}]}}}", "domain.devices.disks",
		  "[{\"name\":\"a\",\"cdrom\":{\"bus\":\"sata\",\"readonly\":true,"
		  "\"tray\":\"closed\"}}]" },
		/* devices and features */
		{ "{domain: {devices: {autoattachInputDevice: true}}}", "domain.devices.inputs",
		  "[{\"name\":\"default-0\",\"bus\":\"usb\",\"type\":\"tablet\"}]" },
		{ "{domain: {devices: {watchdog: {name: w}}}}", "domain.devices.watchdog",
		  "{\"name\":\"w\",\"i6300esb\":{\"action\":\"reset\"}}" },
		{ "{domain: {features: {acpi: {}, hyperv: {synictimer: {}}}}}", "domain.features",
		  "{\"acpi\":{\"enabled\":true},\"hyperv\":{\"synictimer\":{\"enabled\":true},"
		  "\"synic\":{\"enabled\":true},\"vpindex\":{\"enabled\":true}}}" },
		{ "{readinessProbe: {tcpSocket: {port: 1}}}", "readinessProbe",
		  "{\"tcpSocket\":{\"port\":1},\"timeoutSeconds\":1,\"periodSeconds\":10,"
		  "\"successThreshold\":1,\"failureThreshold\":3}" },
		/* room to grow */
		{ "{domain: {memory: {guest: 1Gi}}}", "domain.memory.maxGuest", "\"4Gi\"" },
		{ "{domain: {memory: {guest: 128Mi}}}", "domain.memory.maxGuest", "" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(a, "{}");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *spec = yaml(a, rows[i].spec);
		const struct json *v;
		struct str got;

		vmi_default_spec(a, &cfg, spec);
		v = json_at(spec, rows[i].path);
		got = v ? json_text(a, v) : STR("");
		if (!str_eqz(got, rows[i].want))
			fail_msg("row %zu (%s): %.*s", i, rows[i].path, STR_ARG(got));
	}
}

TEST(configuration_counts)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(
		a, "{spec: {configuration: {cpuModel: Nehalem, cpuRequest: 200m, evictionStrategy: "
		   "None, network: {defaultNetworkInterface: masquerade}}}}");
	struct json *spec = json_object(a);

	vmi_default_spec(a, &cfg, spec);
	assert_str(json_str_at(spec, "domain.cpu.model"), "Nehalem");
	assert_str(json_str_at(spec, "domain.resources.requests.cpu"), "200m");
	assert_str(json_str_at(spec, "evictionStrategy"), "None");
	assert_non_null(
		json_get(json_idx(json_at(spec, "domain.devices.interfaces"), 0), "masquerade"));
}

TEST(objects)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(a, "{}");
	struct json *vmi = yaml(a, "{metadata: {name: a}, spec: {domain: {memory: {guest: 64Mi}}}, "
				   "status: {phase: Running, virtualMachineRevisionName: r}}");
	struct json *ours = json_copy(a, vmi);

	vmi_default_object(a, &cfg, vmi, false);
	assert_str(json_str_at(vmi, "status.phase"), "Pending");
	assert_null(json_at(vmi, "status.virtualMachineRevisionName"));
	assert_str(json_str_at(vmi, "status.memory.guestAtBoot"), "64Mi");
	assert_int_equal(json_int_at(vmi, "status.runtimeUser", 0), 107);
	assert_true(meta_has_finalizer(vmi, STR("kubevirt.io/foregroundDeleteVirtualMachine")));
	assert_str(meta_annotation(vmi, "kubevirt.io/pci-topology-version"), "v3");

	vmi_default_object(a, &cfg, ours, true);
	assert_str(json_str_at(ours, "status.virtualMachineRevisionName"), "r");
}

TEST_MAIN(T(defaults), T(configuration_counts), T(objects))
