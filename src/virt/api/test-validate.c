/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"
#include "virt/api/validate.h"
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

static struct virt_config config(struct arena *a)
{
	struct virt_config cfg;

	virt_config_read(a, NULL, &cfg);
	cfg.architecture = STR("amd64");
	return cfg;
}

static void expect(size_t row, const struct causes *c, const char *field, const char *message)
{
	const struct json *first = json_idx(c->list, 0);

	if (!field) {
		if (json_len(c->list))
			fail_msg("row %zu: %.*s", row, STR_ARG(causes_message(c)));
		return;
	}
	if (json_len(c->list) != 1)
		fail_msg("row %zu: %zu causes: %.*s", row, json_len(c->list),
			 STR_ARG(causes_message(c)));
	if (!str_eqz(json_str_at(first, "field"), field) ||
	    !str_eqz(json_str_at(first, "message"), message))
		fail_msg("row %zu: '%.*s': '%.*s'", row, STR_ARG(json_str_at(first, "field")),
			 STR_ARG(json_str_at(first, "message")));
}

#define D "spec.domain."

/* One cause per row, or none: the spec of a VMI after defaulting. A NULL message is not compared.
 */
static const struct {
	const char *spec, *field, *message;
} vmi_rows[] = {
	{ "{domain: {memory: {guest: 64Mi}}}", NULL, NULL },
	{ "{}", "",
	  "no memory requested, at least one of 'spec.domain.memory.guest', "
	  "'spec.domain.memory.hugepages.pageSize' or "
	  "'spec.domain.resources.requests.memory' must be set" },
	{ "{hostname: 'a_b', domain: {memory: {guest: 64Mi}}}", "spec.hostname", NULL },
	{ "{startStrategy: Soon, domain: {memory: {guest: 64Mi}}}", "spec.startStrategy",
	  "spec.startStrategy is set with an unrecognized option: Soon" },
	{ "{evictionStrategy: Never, domain: {memory: {guest: 64Mi}}}", "spec.evictionStrategy",
	  "spec.evictionStrategy is set with an unrecognized option: Never" },
	{ "{domain: {memory: {guest: 64Mi}, machine: {type: pc}}}", D "machine.type",
	  "spec.domain.machine.type is not supported: pc (allowed values: [q35* "
	  "pc-q35*])" },
	/* resources */
	{ "{domain: {resources: {requests: {memory: -1}}}}", D "resources.requests.memory",
	  "spec.domain.resources.requests.memory '-1': must be greater than or equal to "
	  "0." },
	{ "{domain: {resources: {requests: {memory: 10k}}}}", D "resources.requests.memory",
	  "spec.domain.resources.requests.memory '10k': must be greater than or equal to "
	  "1M." },
	{ "{domain: {resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}}",
	  D "resources.requests.memory",
	  "spec.domain.resources.requests.memory '2Gi' is greater than "
	  "spec.domain.resources.limits.memory '1Gi'" },
	{ "{domain: {memory: {guest: 64Mi}, resources: {requests: {cpu: -1}}}}",
	  D "resources.requests.cpu",
	  "spec.domain.resources.requests.cpu '-1': must be greater than or equal to 0." },
	{ "{domain: {memory: {guest: 64Mi}, cpu: {sockets: 8, maxSockets: 4}}}", D "cpu.sockets",
	  "Number of sockets in CPU topology is greater than the maximum sockets allowed" },
	{ "{domain: {memory: {guest: 64Mi}, cpu: {isolateEmulatorThread: true}}}",
	  D "cpu.isolateEmulatorThread",
	  "IsolateEmulatorThread should be only set in combination with "
	  "DedicatedCPUPlacement" },
	{ "{domain: {memory: {guest: 64Mi}, cpu: {features: [{name: x, policy: yea}]}}}",
	  D "cpu.features[0].policy", "CPU feature x uses policy yea that is not supported." },
	/* disks and volumes */
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, disk: {}}]}}}",
	  D "devices.disks[0].name", "spec.domain.devices.disks[0].Name 'a' not found." },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, disk: {}, lun: "
	  "{}}]}},"
	  " volumes: [{name: a, persistentVolumeClaim: {claimName: c}}]}",
	  D "devices.disks[0]",
	  "spec.domain.devices.disks[0] can only have a single target type defined" },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, disk: {bus: "
	  "ide}}]}},"
	  " volumes: [{name: a, emptyDisk: {capacity: 1Gi}}]}",
	  D "devices.disks[0].disk.bus", NULL },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, bootOrder: 0}]}},"
	  " volumes: [{name: a, emptyDisk: {capacity: 1Gi}}]}",
	  D "devices.disks[0].bootOrder",
	  "spec.domain.devices.disks[0] must have a boot order > 0, if supplied" },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, bootOrder: 1}, "
	  "{name: "
	  "b, bootOrder: 1}]}}, volumes: [{name: a, emptyDisk: {}}, {name: b, emptyDisk: "
	  "{}}]}",
	  D "devices.disks[1].bootOrder",
	  "Boot order for spec.domain.devices.disks[1].bootOrder already set for a "
	  "different "
	  "device." },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, lun: {}}]}},"
	  " volumes: [{name: a, emptyDisk: {}}]}",
	  D "devices.disks[0].lun",
	  "spec.domain.devices.disks[0].lun can only be mapped to a DataVolume or "
	  "PersistentVolumeClaim volume." },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, cache: maybe}]}},"
	  " volumes: [{name: a, emptyDisk: {}}]}",
	  D "devices.disks[0].cache",
	  "spec.domain.devices.disks[0].cache has invalid value maybe" },
	{ "{domain: {memory: {guest: 64Mi}, devices: {disks: [{name: a, io: maybe}]}},"
	  " volumes: [{name: a, emptyDisk: {}}]}",
	  D "devices.disks.domain.devices.disks[0].io",
	  "Disk IO mode for spec.domain.devices.disks is not supported. Supported modes "
	  "are: "
	  "native, threads." },
	{ "{domain: {memory: {guest: 64Mi}}, volumes: [{name: a}]}", "spec.volumes[0]",
	  "spec.volumes[0] must have exactly one source type set" },
	{ "{domain: {memory: {guest: 64Mi}}, volumes: [{name: a, cloudInitNoCloud: {}}]}",
	  "spec.volumes[0].cloudInitNoCloud",
	  "spec.volumes[0].cloudInitNoCloud must have at least one userdatasource or one "
	  "networkdatasource set." },
	{ "{domain: {memory: {guest: 64Mi}}, volumes: [{name: a, cloudInitNoCloud: "
	  "{userData: x,"
	  " userDataBase64: eA==}}]}",
	  "spec.volumes[0].cloudInitNoCloud",
	  "spec.volumes[0].cloudInitNoCloud must have only one userdatasource set." },
	{ "{domain: {memory: {guest: 64Mi}}, volumes: [{name: a, configMap: {}}]}",
	  "spec.volumes[0].configMap.name", "spec.volumes[0].configMap.name is a required field" },
	/* networks */
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a, bridge: "
	  "{}}]}}}",
	  D "devices.interfaces[0].name", "spec.domain.devices.interfaces[0].name 'a' not found." },
	{ "{domain: {memory: {guest: 64Mi}}, networks: [{name: a, pod: {}}]}",
	  "spec.networks[0].name", "spec.networks[0].name 'a' not found." },
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a}]}}, networks: "
	  "[{name: a, pod: {}}]}",
	  D "devices.interfaces[0]",
	  "logical a interface must have exactly one binding method or binding plugin" },
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a, masquerade: "
	  "{}}]}},"
	  " networks: [{name: a, multus: {networkName: net}}]}",
	  D "devices.interfaces[0].name",
	  "Masquerade interface only implemented with pod network" },
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a, bridge: {}, "
	  "macAddress: nope}]}}, networks: [{name: a, pod: {}}]}",
	  D "devices.interfaces[0].macAddress", NULL },
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a, bridge: {}, "
	  "ports: [{port: 70000}]}]}}, networks: [{name: a, pod: {}}]}",
	  D "devices.interfaces[0].ports[0].port", "Port field must be in range 0 < x < 65536." },
	{ "{domain: {memory: {guest: 64Mi}, devices: {interfaces: [{name: a, bridge: "
	  "{}}]}}, "
	  "networks: [{name: a}]}",
	  "spec.networks[0]", "should have a network type" },
	/* firmware */
	{ "{domain: {memory: {guest: 64Mi}, firmware: {bootloader: {bios: {}, efi: "
	  "{secureBoot: "
	  "false}}}}}",
	  D "firmware.bootloader",
	  "spec.domain.firmware.bootloader has both EFI and BIOS configured, but they are "
	  "mutually exclusive." },
	{ "{domain: {memory: {guest: 64Mi}, firmware: {bootloader: {efi: {}}}}}", "spec.domain",
	  "spec.domain has EFI SecureBoot enabled. SecureBoot requires SMM, which is "
	  "currently "
	  "disabled." },
	{ "{domain: {memory: {guest: 64Mi}, firmware: {kernelBoot: {kernelArgs: x}}}}",
	  D "firmware.kernelBoot.kernelArgs",
	  "kernel arguments cannot be provided without an external kernel" },
	{ "{domain: {memory: {guest: 64Mi}, firmware: {kernelBoot: {container: {image: "
	  "x}}}}}",
	  D "firmware.kernelBoot.container",
	  "spec.domain.firmware.kernelBoot.container must be defined with at least one of "
	  "the "
	  "following: kernelPath, initrdPath" },
};

TEST(vmi_specs)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(a);

	for (size_t i = 0; i < ARRAY_LEN(vmi_rows); i++) {
		struct json *spec = yaml(a, vmi_rows[i].spec);
		struct causes c;

		causes_init(&c, a);
		vmi_default_spec(a, &cfg, spec);
		validate_vmi_spec(&c, &cfg, spec, STR("spec"));
		validate_vmi_itself(&c, &cfg, spec, STR("spec"));
		if (vmi_rows[i].field && !vmi_rows[i].message) {
			if (json_len(c.list) != 1 ||
			    !str_eqz(json_str_at(json_idx(c.list, 0), "field"), vmi_rows[i].field))
				fail_msg("row %zu: %.*s", i, STR_ARG(causes_message(&c)));
			continue;
		}
		expect(i, &c, vmi_rows[i].field, vmi_rows[i].message);
	}
}

#define TEMPLATE "template: {spec: {domain: {memory: {guest: 64Mi}}}}"
#define DV_TEMPLATE                                                                           \
	"template: {spec: {domain: {memory: {guest: 64Mi}}, volumes: [{name: a, dataVolume: " \
	"{name: d}}]}}"

TEST(vms)
{
	static const struct {
		const char *spec, *field, *message;
	} rows[] = {
		{ "{runStrategy: Always, " TEMPLATE "}", NULL, NULL },
		{ "{running: true, " TEMPLATE "}", NULL, NULL },
		{ "{runStrategy: Always}", "spec.template", "missing virtual machine template." },
		{ "{running: true, runStrategy: Always, " TEMPLATE "}", "spec.running",
		  "Running and RunStrategy are mutually exclusive. Note that Running is "
		  "deprecated, "
		  "please use RunStrategy instead" },
		{ "{" TEMPLATE "}", "spec.running", "RunStrategy must be specified" },
		{ "{runStrategy: Sometimes, " TEMPLATE "}", "spec.runStrategy",
		  "Invalid RunStrategy (Sometimes)" },
		{ "{runStrategy: WaitAsReceiver, " TEMPLATE "}", "spec.runStrategy",
		  "Invalid RunStrategy (WaitAsReceiver), DecentralizedLiveMigration feature gate "
		  "is "
		  "not enabled in kubevirt resource" },
		{ "{runStrategy: Always, dataVolumeTemplates: [{metadata: {name: d}, spec: "
		  "{source: "
		  "{blank: {}}, pvc: {}}}], " DV_TEMPLATE "}",
		  NULL, NULL },
		{ "{runStrategy: Always, dataVolumeTemplates: [{metadata: {name: d}, spec: "
		  "{source: "
		  "{blank: {}}, pvc: {}}}], " TEMPLATE "}",
		  "spec.dataVolumeTemplate[0]",
		  "DataVolumeTemplate entry spec.dataVolumeTemplate[0] must be referenced in the "
		  "VMI "
		  "template's 'volumes' list" },
		{ "{runStrategy: Always, dataVolumeTemplates: [{metadata: {name: d}, spec: "
		  "{source: "
		  "{blank: {}}}}], " DV_TEMPLATE "}",
		  "spec.dataVolumeTemplate[0].PVC.Storage", "Missing Data volume PVC or Storage" },
		{ "{runStrategy: Always, dataVolumeTemplates: [{metadata: {name: d}, spec: "
		  "{source: "
		  "{blank: {}, http: {}}, pvc: {}}}], " DV_TEMPLATE "}",
		  "spec.dataVolumeTemplate[0].source", "Multiple dataVolume sources" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(a);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *vm = json_object(a), *spec;
		struct causes c;

		causes_init(&c, a);
		json_set(a, vm, "spec", yaml(a, rows[i].spec));
		spec = json_at(vm, "spec.template.spec");
		if (spec)
			vmi_default_spec(a, &cfg, spec);
		validate_vm(&c, &cfg, vm);
		expect(i, &c, rows[i].field, rows[i].message);
	}
}

TEST(replica_sets)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct virt_config cfg = config(a);
	struct causes c;

	causes_init(&c, a);
	validate_vmirs(
		&c, &cfg,
		yaml(a, "{spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: "
			"{a: c}}, spec: {}}}}"));
	expect(0, &c, "spec.selector", "selector does not match labels.");
	causes_init(&c, a);
	validate_vmirs(&c, &cfg, yaml(a, "{spec: {selector: {}}}"));
	expect(1, &c, "spec.template", "missing virtual machine template.");
}

TEST(vmi_updates)
{
	static const char old[] =
		"{metadata: {labels: {app: x, kubevirt.io/nodeName: node}}, spec: {a: 1}}";
	static const struct {
		const char *now;
		bool component;
		const char *field;
	} rows[] = {
		{ old, false, NULL },
		{ "{metadata: {labels: {app: z, kubevirt.io/nodeName: node}}, spec: {a: 1}}", false,
		  NULL },
		{ "{metadata: {labels: {app: x, kubevirt.io/nodeName: node}}, spec: {a: 2}}", false,
		  "spec" },
		{ "{metadata: {labels: {app: x, kubevirt.io/nodeName: node}}, spec: {a: 2}}", true,
		  NULL },
		{ "{metadata: {labels: {app: x}}, spec: {a: 1}}", false, "metadata.labels" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct causes c;

		causes_init(&c, a);
		validate_vmi_update(&c, yaml(a, old), yaml(a, rows[i].now), rows[i].component);
		if (json_len(c.list) != (rows[i].field ? 1u : 0u))
			fail_msg("row %zu", i);
		if (rows[i].field)
			assert_str(json_str_at(json_idx(c.list, 0), "field"), rows[i].field);
	}
}

TEST(many_causes_are_cut)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct causes c;

	causes_init(&c, a);
	for (int i = 0; i < 12; i++)
		cause_add(&c, CAUSE_INVALID, STR("f"), "m%d", i);
	assert_str(causes_message(&c),
		   "m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, and 2 more validation errors");
}

TEST_MAIN(T(vmi_specs), T(vms), T(replica_sets), T(vmi_updates), T(many_causes_are_cut))
