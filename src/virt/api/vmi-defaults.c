/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/api/vmi-defaults.h"

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/rand.h"
#include "virt/launcher-api.h"
#include "virt/mapping/virt-config.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

#define MAX_VCPUS         512
#define GIB               (INT64_C(1) << 30)
#define HOTPLUG_ALIGN     (INT64_C(2) << 20)
#define DEFAULT_SPINLOCKS 4096

struct defaults {
	struct arena *a;
	const struct virt_config *cfg;
	struct json *spec, *domain, *devices;
};

static bool is_arch(const struct defaults *d, const char *arch)
{
	return str_eqz(json_str_at(d->spec, "architecture"), arch);
}

static void set_if_absent(struct defaults *d, struct json *obj, const char *key, const char *val)
{
	if (str_empty(json_str_at(obj, key)))
		json_set_str(d->a, obj, key, str_from(val));
}

static const struct json *resource(const struct defaults *d, const char *list, const char *name)
{
	return json_path(d->domain, "resources", list, name, NULL);
}

/* 2, 3: architecture and machine */
void vmi_default_machine(struct arena *a, const struct virt_config *cfg, struct json *spec)
{
	struct json *machine;

	if (str_empty(json_str_at(spec, "architecture")))
		json_set_str(a, spec, "architecture", cfg->architecture);
	machine = json_sub(a, json_sub(a, spec, "domain"), "machine");
	if (!str_empty(json_str_at(machine, "type")))
		return;
	json_set_str(a, machine, "type",
		     str_empty(cfg->machine_type)
			     ? virt_config_default_machine(json_str_at(spec, "architecture"))
			     : cfg->machine_type);
}

static void step_machine(struct defaults *d)
{
	vmi_default_machine(d->a, d->cfg, d->spec);
}

/* 4, 5: requests.cpu */
static void step_cpu_request(struct defaults *d)
{
	const struct json *limit = resource(d, "limits", "cpu");
	struct json *requests;

	if (resource(d, "requests", "cpu") ||
	    (!limit && (str_empty(d->cfg->cpu_request) ||
			json_bool_at(d->domain, "cpu.dedicatedCpuPlacement", false))))
		return;
	requests = json_sub(d->a, json_sub(d->a, d->domain, "resources"), "requests");
	json_set(d->a, requests, "cpu",
		 limit ? json_copy(d->a, limit) : json_str(d->a, d->cfg->cpu_request));
}

/* 6: memory.guest */
static void step_guest_memory(struct defaults *d)
{
	const struct json *from = resource(d, "requests", "memory");

	if (json_at(d->domain, "memory.guest"))
		return;
	if (!from)
		from = resource(d, "limits", "memory");
	if (!from)
		from = json_at(d->domain, "memory.hugepages.pageSize");
	if (from)
		json_set(d->a, json_sub(d->a, d->domain, "memory"), "guest", json_copy(d->a, from));
}

/* 7: CPU topology, only when none of it is given */
static void step_topology(struct defaults *d)
{
	struct json *cpu = json_sub(d->a, d->domain, "cpu");
	const struct json *from = resource(d, "limits", "cpu");
	struct quantity q;
	int64_t sockets = 1;

	if (json_int_at(cpu, "sockets", 0) || json_int_at(cpu, "cores", 0) ||
	    json_int_at(cpu, "threads", 0))
		return;
	if (!from)
		from = resource(d, "requests", "cpu");
	if (json_is(from, JSON_INT))
		sockets = json_as_int(from, 1);
	else if (from && quantity_parse(json_as_str(from), &q))
		sockets = quantity_value(q);
	json_set_int(d->a, cpu, "sockets", sockets > 0 ? sockets : 1);
	json_set_int(d->a, cpu, "cores", 1);
	json_set_int(d->a, cpu, "threads", 1);
}

/* "latest", by name or by absence of a tag and a digest */
static bool image_floats(struct str image)
{
	size_t slash = 0, colon;

	if (str_find_char(image, '@', 0) < image.n)
		return false;
	for (size_t i = 0; i < image.n; i++) {
		if (image.p[i] == '/')
			slash = i + 1;
	}
	colon = str_find_char(image, ':', slash);
	return colon == image.n || str_eqz(str_skip(image, colon + 1), "latest");
}

static void default_pull_policy(struct defaults *d, struct json *source)
{
	if (!source || !str_empty(json_str_at(source, "imagePullPolicy")))
		return;
	json_set_str(d->a, source, "imagePullPolicy",
		     image_floats(json_str_at(source, "image")) ? STR("Always")
								: STR("IfNotPresent"));
}

/* 8: pull policies */
static void step_images(struct defaults *d)
{
	json_for_each(it, json_get(d->spec, "volumes"))
		default_pull_policy(d, json_get(it.val, "containerDisk"));
	default_pull_policy(d, json_at(d->domain, "firmware.kernelBoot.container"));
}

/* 9: eviction */
static void step_eviction(struct defaults *d)
{
	if (!json_get(d->spec, "evictionStrategy") && !str_empty(d->cfg->eviction_strategy))
		json_set_str(d->a, d->spec, "evictionStrategy", d->cfg->eviction_strategy);
}

/* 10: the default network, and a disk for every volume */
static void step_network(struct defaults *d)
{
	struct json *net, *iface;

	if (json_len(json_get(d->spec, "networks")) ||
	    json_len(json_get(d->devices, "interfaces")) ||
	    !json_bool_at(d->devices, "autoattachPodInterface", true))
		return;
	net = json_object(d->a);
	json_set_str(d->a, net, "name", STR("default"));
	json_set(d->a, net, "pod", json_object(d->a));
	json_push(json_sub_array(d->a, d->spec, "networks"), net);
	iface = json_object(d->a);
	json_set_str(d->a, iface, "name", STR("default"));
	json_set(d->a, iface,
		 str_eqz(d->cfg->network_interface, "bridge") ? "bridge" : "masquerade",
		 json_object(d->a));
	json_push(json_sub_array(d->a, d->devices, "interfaces"), iface);
}

static void step_disks_of_volumes(struct defaults *d)
{
	json_for_each(it, json_get(d->spec, "volumes"))
	{
		struct str name = json_str_at(it.val, "name");
		struct json *disk;

		if (json_find_by(json_get(d->devices, "disks"), "name", name) ||
		    json_find_by(json_get(d->devices, "filesystems"), "name", name))
			continue;
		disk = json_object(d->a);
		json_set_str(d->a, disk, "name", name);
		json_push(json_sub_array(d->a, d->devices, "disks"), disk);
	}
}

/* 12: object defaults */
static void step_firmware(struct defaults *d)
{
	struct json *fw = json_sub(d->a, d->domain, "firmware");

	if (str_empty(json_str_at(fw, "uuid")))
		json_set_str(d->a, fw, "uuid", rand_uuid(d->a));
}

/* Every member object with an "enabled" of its own is on once it is there. */
static void enable_features(struct defaults *d, struct json *features)
{
	static const char *const plain[] = { "hypervPassthrough", "kvm" };

	json_for_each(it, features)
	{
		bool skip = false;

		for (size_t i = 0; i < ARRAY_LEN(plain); i++)
			skip |= str_eqz(it.key, plain[i]);
		if (skip || !json_is(it.val, JSON_OBJECT))
			continue;
		if (str_eqz(it.key, "hyperv"))
			enable_features(d, it.val);
		else if (!json_get(it.val, "enabled"))
			json_set_bool(d->a, it.val, "enabled", true);
	}
}

static void step_features(struct defaults *d)
{
	struct json *features = json_sub(d->a, d->domain, "features");
	struct json *spinlocks = json_at(features, "hyperv.spinlocks");

	if (is_arch(d, "s390x"))
		json_set_bool(d->a, json_sub(d->a, features, "acpi"), "enabled", false);
	enable_features(d, features);
	if (spinlocks && !json_get(spinlocks, "spinlocks"))
		json_set_int(d->a, spinlocks, "spinlocks", DEFAULT_SPINLOCKS);
	json_for_each(it, json_at(d->domain, "clock.timer"))
	{
		if (json_is(it.val, JSON_OBJECT) && !json_get(it.val, "present"))
			json_set_bool(d->a, it.val, "present", true);
	}
}

static void step_disk_targets(struct defaults *d)
{
	static const char *const kinds[] = { "disk", "lun", "cdrom" };
	const char *bus = is_arch(d, "amd64") ? "sata" : "virtio";

	json_for_each(it, json_get(d->devices, "disks"))
	{
		struct json *target = NULL;
		size_t k = 0;

		for (; k < ARRAY_LEN(kinds) && !target; k++)
			target = json_get(it.val, kinds[k]);
		if (!target)
			target = json_sub(d->a, it.val, "disk");
		set_if_absent(d, target, "bus", bus);
		if (json_get(it.val, "cdrom") == target) {
			if (!json_get(target, "readonly"))
				json_set_bool(d->a, target, "readonly", true);
			set_if_absent(d, target, "tray", "closed");
		}
	}
}

static void step_inputs(struct defaults *d)
{
	if (json_bool_at(d->devices, "autoattachInputDevice", false) &&
	    !json_len(json_get(d->devices, "inputs"))) {
		struct json *input = json_object(d->a);

		json_set_str(d->a, input, "name", STR("default-0"));
		json_push(json_sub_array(d->a, d->devices, "inputs"), input);
	}
	json_for_each(it, json_get(d->devices, "inputs"))
	{
		set_if_absent(d, it.val, "bus", "usb");
		set_if_absent(d, it.val, "type", "tablet");
	}
}

static void step_probes(struct defaults *d)
{
	static const char *const probes[] = { "readinessProbe", "livenessProbe" };
	static const struct {
		const char *key;
		int64_t val;
	} numbers[] = { { "timeoutSeconds", 1 },
			{ "periodSeconds", 10 },
			{ "successThreshold", 1 },
			{ "failureThreshold", 3 } };

	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		struct json *p = json_get(d->spec, probes[i]);

		for (size_t k = 0; p && k < ARRAY_LEN(numbers); k++) {
			if (json_int_at(p, numbers[k].key, 0) < 1)
				json_set_int(d->a, p, numbers[k].key, numbers[k].val);
		}
	}
}

/* 13: Hyper-V features that need another one switch it on */
static void step_hyperv(struct defaults *d)
{
	static const struct {
		const char *feature, *needs;
	} rows[] = { { "synictimer", "synic" },
		     { "synic", "vpindex" },
		     { "ipi", "vpindex" },
		     { "tlbflush", "vpindex" },
		     { "evmcs", "vapic" } };
	struct json *hyperv = json_at(d->domain, "features.hyperv");

	for (size_t i = 0; hyperv && i < ARRAY_LEN(rows); i++) {
		if (!json_bool_at(json_get(hyperv, rows[i].feature), "enabled", false) ||
		    json_get(hyperv, rows[i].needs))
			continue;
		json_set_bool(d->a, json_sub(d->a, hyperv, rows[i].needs), "enabled", true);
	}
}

/* 14: by architecture */
static void step_watchdog(struct defaults *d)
{
	struct json *dog = json_get(d->devices, "watchdog");
	const char *model = is_arch(d, "s390x") ? "diag288" : "i6300esb";

	if (!dog || (!is_arch(d, "amd64") && !is_arch(d, "s390x")))
		return;
	if (!json_get(dog, "i6300esb") && !json_get(dog, "diag288"))
		json_sub(d->a, dog, model);
	if (json_get(dog, model))
		set_if_absent(d, json_get(dog, model), "action", "reset");
}

static void step_arm64(struct defaults *d)
{
	struct json *boot;

	if (!is_arch(d, "arm64"))
		return;
	set_if_absent(d, json_sub(d->a, d->domain, "cpu"), "model", "host-passthrough");
	boot = json_sub(d->a, json_sub(d->a, d->domain, "firmware"), "bootloader");
	if (!json_get(boot, "efi") && !json_get(boot, "bios"))
		json_set_bool(d->a, json_sub(d->a, boot, "efi"), "secureBoot", false);
}

/* 15: CPU model */
static void step_cpu_model(struct defaults *d)
{
	struct json *cpu = json_sub(d->a, d->domain, "cpu");

	if (!str_empty(json_str_at(cpu, "model")))
		return;
	json_set_str(d->a, cpu, "model",
		     str_empty(d->cfg->cpu_model) ? STR("host-model") : d->cfg->cpu_model);
}

/* 17: room for hot-plug */
static void step_max_sockets(struct defaults *d)
{
	struct json *cpu = json_sub(d->a, d->domain, "cpu");
	int64_t sockets = json_int_at(cpu, "sockets", 0), max, per;

	if (!d->cfg->live_update || is_arch(d, "arm64") || json_int_at(cpu, "maxSockets", 0))
		return;
	max = d->cfg->max_cpu_sockets ? d->cfg->max_cpu_sockets
				      : sockets * d->cfg->max_hotplug_ratio;
	per = MAX(json_int_at(cpu, "cores", 1), 1) * MAX(json_int_at(cpu, "threads", 1), 1);
	max = MIN(max, MAX_VCPUS / per);
	max = MAX(max, sockets);
	if (max > 0)
		json_set_int(d->a, cpu, "maxSockets", max);
}

static void step_max_guest(struct defaults *d)
{
	struct json *memory = json_get(d->domain, "memory");
	const struct json *guest = json_get(memory, "guest");
	struct quantity q;
	int64_t v;

	if (!d->cfg->live_update || !is_arch(d, "amd64") || !guest ||
	    json_get(memory, "maxGuest") || json_get(d->domain, "launchSecurity") ||
	    json_at(d->domain, "cpu.realtime") ||
	    json_at(d->domain, "cpu.numa.guestMappingPassthrough") ||
	    !quantity_parse(json_as_str(guest), &q))
		return;
	v = quantity_value(q);
	if (v < GIB || v % HOTPLUG_ALIGN)
		return;
	if (!str_empty(d->cfg->max_guest))
		json_set_str(d->a, memory, "maxGuest", d->cfg->max_guest);
	else
		json_set_str(d->a, memory, "maxGuest",
			     quantity_text(d->a, quantity_from_value(v * d->cfg->max_hotplug_ratio,
								     q.format)));
}

static void (*const steps[])(struct defaults *d) = {
	step_machine,      step_cpu_request, step_guest_memory,     step_topology,  step_images,
	step_eviction,     step_network,     step_disks_of_volumes, step_firmware,  step_features,
	step_disk_targets, step_inputs,      step_probes,           step_hyperv,    step_watchdog,
	step_arm64,        step_cpu_model,   step_max_sockets,      step_max_guest,
};

void vmi_default_spec(struct arena *a, const struct virt_config *cfg, struct json *spec)
{
	struct defaults d = { a, cfg, spec, json_sub(a, spec, "domain"), NULL };

	d.devices = json_sub(a, d.domain, "devices");
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		steps[i](&d);
}

/* 18 */
void vmi_default_pci_topology(struct arena *a, const struct json *spec, struct json *meta)
{
	struct str machine = json_str_at(spec, "domain.machine.type");
	struct json *annos;

	if (!str_contains(machine, STR("q35")) && !str_contains(machine, STR("virt")))
		return;
	annos = json_sub(a, meta, "annotations");
	if (!json_get(annos, ANNO_PCI_TOPOLOGY))
		json_set_str(a, annos, ANNO_PCI_TOPOLOGY, STR("v3"));
}

/* 16 */
static void record_memory(struct arena *a, const struct json *spec, struct json *status)
{
	static const char *const keys[] = { "guestAtBoot", "guestCurrent", "guestRequested" };
	const struct json *guest = json_at(spec, "domain.memory.guest");
	struct json *memory;

	if (!guest)
		return;
	memory = json_sub(a, status, "memory");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_set(a, memory, keys[i], json_copy(a, guest));
}

static void record_topology(struct arena *a, const struct json *spec, struct json *status)
{
	static const char *const keys[] = { "sockets", "cores", "threads" };
	struct json *topology = json_sub(a, status, "currentCPUTopology");

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct json *v = json_path(spec, "domain", "cpu", keys[i], NULL);

		if (v)
			json_set(a, topology, keys[i], json_copy(a, v));
	}
}

/* 16, 18, 19 */
void vmi_default_object(struct arena *a, const struct virt_config *cfg, struct json *vmi,
			bool keep_status)
{
	struct json *spec = json_sub(a, vmi, "spec"), *status;

	vmi_default_spec(a, cfg, spec);
	vmi_default_pci_topology(a, spec, json_sub(a, vmi, "metadata"));
	meta_add_finalizer(a, vmi, STR(FINALIZER_VMI));
	/* virt-controller's first write would be these: here they cost none */
	meta_set_annotation(a, vmi, ANNO_LATEST_API, STR("v1"));
	meta_set_annotation(a, vmi, ANNO_STORAGE_API, STR("v1"));
	if (!keep_status)
		json_set(a, vmi, "status", json_object(a));
	status = json_sub(a, vmi, "status");
	record_memory(a, spec, status);
	record_topology(a, spec, status);
	json_set_int(a, status, "runtimeUser", LAUNCHER_UID);
	vmi_set_phase(a, vmi, "Pending");
}
