/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/vm.h"

#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "virt/launcher-api.h"
#include "json/json.h"

#define VM_MAX_VCPUS 512

static const char *const vm_bus_names[] = {
	[VM_BUS_VIRTIO] = "virtio",
	[VM_BUS_SATA] = "sata",
	[VM_BUS_SCSI] = "scsi",
	[VM_BUS_USB] = "usb",
};

static const char *const vm_kind_names[] = {
	[VM_DISK] = "disk",
	[VM_LUN] = "lun",
	[VM_CDROM] = "cdrom",
};

/* What upstream has and this launcher does not run: refused, never ignored. */
static const struct {
	const char *path, *what;
} vm_unsupported[] = {
	{ "devices.gpus", "GPU passthrough" },
	{ "devices.hostDevices", "host device passthrough" },
	{ "devices.filesystems", "virtiofs file systems" },
	{ "devices.clientPassthrough", "USB redirection" },
	{ "devices.downwardMetrics", "downward metrics" },
	{ "devices.tpm", "an emulated TPM" },
	{ "launchSecurity", "confidential computing" },
	{ "memory.hugepages", "huge pages" },
	{ "cpu.dedicatedCpuPlacement", "dedicated CPUs" },
	{ "cpu.realtime", "real-time CPUs" },
	{ "firmware.acpi", "extra ACPI tables" },
};

bool vm_flag(const struct json *obj, const char *dotted, bool dflt)
{
	const struct json *v = json_at(obj, dotted);

	return json_is(v, JSON_BOOL) ? json_as_bool(v, dflt) : dflt;
}

/* An INVALID error with its cause; what is quoted behind msg unless empty. */
static struct err *vm_invalid(const char *field, const char *msg, struct str what)
{
	struct err *e = str_empty(what)
				? err_new(ERR_INVALID, "%s", msg)
				: err_new(ERR_INVALID, "%s '" STR_FMT "'", msg, STR_ARG(what));

	err_add_cause(e, str_from(field), STR("FieldValueInvalid"), err_msg(e));
	return e;
}

static struct err *vm_decode_cpu(struct vm *vm)
{
	const struct json *cpu = json_get(vm->domain, "cpu");
	int64_t sockets = json_int_at(cpu, "sockets", 0), cores = json_int_at(cpu, "cores", 0);
	int64_t threads = json_int_at(cpu, "threads", 0);
	int64_t max_sockets = json_int_at(cpu, "maxSockets", 0);

	/* Without a topology, upstream takes whole CPUs of the limit, else of the request. */
	if (!sockets && !cores && !threads) {
		struct quantity q;
		struct str s = json_str_at(vm->domain, "resources.limits.cpu");

		if (str_empty(s))
			s = json_str_at(vm->domain, "resources.requests.cpu");
		if (!str_empty(s) && quantity_parse(s, &q))
			sockets = quantity_value(q);
	}
	sockets = MAX(sockets, 1);
	cores = MAX(cores, 1);
	threads = MAX(threads, 1);
	max_sockets = MAX(max_sockets, sockets);
	if (sockets > VM_MAX_VCPUS || cores > VM_MAX_VCPUS || threads > VM_MAX_VCPUS ||
	    sockets * cores * threads > VM_MAX_VCPUS)
		return vm_invalid("spec.domain.cpu", "more than 512 vCPUs are asked for",
				  STR_EMPTY);
	if (max_sockets * cores * threads > VM_MAX_VCPUS)
		max_sockets = sockets;
	vm->sockets = (unsigned)sockets;
	vm->cores = (unsigned)cores;
	vm->threads = (unsigned)threads;
	vm->max_sockets = (unsigned)max_sockets;
	return NULL;
}

static struct err *vm_decode_memory(struct vm *vm)
{
	static const char *const paths[] = { "memory.guest", "resources.requests.memory",
					     "resources.limits.memory" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct str s = json_str_at(vm->domain, paths[i]);
		struct quantity q;
		int64_t n;

		if (str_empty(s))
			continue;
		if (!quantity_parse(s, &q) || (n = quantity_value(q)) < 1024 * 1024)
			return vm_invalid("spec.domain.memory", "bad memory size", s);
		vm->memory = (uint64_t)n;
		return NULL;
	}
	return vm_invalid("spec.domain.memory", "no memory size is given", STR_EMPTY);
}

static bool vm_lookup(const char *const *names, size_t n, struct str s, unsigned *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(s, names[i])) {
			*ret = (unsigned)i;
			return true;
		}
	}
	return false;
}

/* The target (disk, lun, cdrom) of a disk's entry; none given means disk. */
static struct err *vm_decode_target(struct vm_disk *d)
{
	const struct json *target = NULL;
	unsigned bus = VM_BUS_SATA, kind;

	for (kind = VM_DISK; kind <= VM_CDROM && !target; kind++) {
		target = json_get(d->spec, vm_kind_names[kind]);
		if (target)
			d->kind = (enum vm_disk_kind)kind;
	}
	if (!str_empty(json_str_at(target, "bus")) &&
	    !vm_lookup(vm_bus_names, ARRAY_LEN(vm_bus_names), json_str_at(target, "bus"), &bus))
		return vm_invalid("spec.domain.devices.disks", "unknown disk bus",
				  json_str_at(target, "bus"));
	d->bus = (enum vm_bus)bus;
	d->readonly = vm_flag(target, "readonly", d->kind == VM_CDROM);
	d->pci_address = json_str_at(target, "pciAddress");
	return NULL;
}

static struct err *vm_decode_disk(struct vm_disk *d, const struct json *spec,
				  const struct json *volume, size_t index)
{
	int64_t order = json_int_at(spec, "bootOrder", 0);

	*d = (struct vm_disk){
		.name = json_str_at(volume, "name"),
		.spec = spec,
		.volume = volume,
		.volume_index = index,
		.serial = json_str_at(spec, "serial"),
		.cache = json_str_at(spec, "cache"),
		.io = json_str_at(spec, "io"),
		.error_policy = json_str_at(spec, "errorPolicy"),
		.shareable = vm_flag(spec, "shareable", false),
		.boot_order = order > 0 && order < 1000 ? (unsigned)order : 0,
	};
	return vm_decode_target(d);
}

static struct json *vm_find_volume(const struct json *volumes, struct str name, size_t *ret_index)
{
	json_for_each(it, volumes)
	{
		if (str_eq(json_str_at(it.val, "name"), name)) {
			*ret_index = it.i;
			return it.val;
		}
	}
	return NULL;
}

/* Disks in the order of spec.domain.devices.disks, then those only volumes imply. */
static struct err *vm_decode_disks(struct arena *a, struct vm *vm)
{
	const struct json *disks = json_get(vm->devices, "disks");
	const struct json *volumes = json_at(vm->vmi, "spec.volumes");

	if (json_len(disks) > VM_MAX_DISKS || json_len(volumes) > VM_MAX_DISKS)
		return vm_invalid("spec.domain.devices.disks", "more than 256 disks", STR_EMPTY);
	vm->disks = arena_array(a, json_len(disks) + json_len(volumes), sizeof(*vm->disks));
	json_for_each(it, disks)
	{
		size_t index;
		struct str name = json_str_at(it.val, "name");
		const struct json *volume = vm_find_volume(volumes, name, &index);

		if (!volume)
			return vm_invalid("spec.domain.devices.disks", "no volume for disk", name);
		TRY(vm_decode_disk(&vm->disks[vm->n_disks++], it.val, volume, index));
	}
	json_for_each(it, volumes)
	{
		struct str name = json_str_at(it.val, "name");

		if (!json_find_by(disks, "name", name))
			TRY(vm_decode_disk(&vm->disks[vm->n_disks++], NULL, it.val, it.i));
	}
	return NULL;
}

static struct err *vm_decode_nics(struct arena *a, struct vm *vm)
{
	const struct json *ifaces = json_get(vm->devices, "interfaces");

	if (json_len(ifaces) > VM_MAX_NICS)
		return vm_invalid("spec.domain.devices.interfaces", "more than 32 interfaces",
				  STR_EMPTY);
	vm->nics = arena_array(a, json_len(ifaces), sizeof(*vm->nics));
	json_for_each(it, ifaces)
	{
		struct vm_nic *nic = &vm->nics[vm->n_nics];
		int64_t order = json_int_at(it.val, "bootOrder", 0);
		int64_t acpi = json_int_at(it.val, "acpiIndex", 0);

		if (str_eqz(json_str_at(it.val, "state"), "absent"))
			continue;
		vm->n_nics++;
		nic->name = json_str_at(it.val, "name");
		nic->model = json_str_at(it.val, "model");
		nic->mac = json_str_at(it.val, "macAddress");
		nic->pci_address = json_str_at(it.val, "pciAddress");
		nic->boot_order = order > 0 && order < 1000 ? (unsigned)order : 0;
		nic->acpi_index = acpi > 0 && acpi < 16384 ? (unsigned)acpi : 0;
	}
	return NULL;
}

static struct err *vm_check_supported(const struct vm *vm)
{
	for (size_t i = 0; i < ARRAY_LEN(vm_unsupported); i++) {
		const struct json *v = json_at(vm->domain, vm_unsupported[i].path);

		if (json_is_null(v) || (json_is(v, JSON_ARRAY) && json_len(v) == 0) ||
		    (json_is(v, JSON_BOOL) && !json_as_bool(v, false)))
			continue;
		return vm_invalid("spec.domain", "not supported by this launcher:",
				  str_from(vm_unsupported[i].what));
	}
	return NULL;
}

struct err *vm_decode(struct arena *a, const struct json *vmi, struct vm **ret)
{
	struct vm *vm = arena_new_obj(a, struct vm);

	vm->vmi = vmi;
	vm->ns = json_str_at(vmi, "metadata.namespace");
	vm->name = json_str_at(vmi, "metadata.name");
	vm->uid = json_str_at(vmi, "metadata.uid");
	vm->domain = json_at(vmi, "spec.domain");
	vm->devices = json_get(vm->domain, "devices");
	if (str_empty(vm->name) || str_empty(vm->uid) || !vm->domain)
		return err_new(ERR_BAD_REQUEST, "not a VirtualMachineInstance");
	TRY(vm_check_supported(vm));
	TRY(vm_decode_cpu(vm));
	TRY(vm_decode_memory(vm));
	TRY(vm_decode_disks(a, vm));
	TRY(vm_decode_nics(a, vm));
	vm->uuid = json_str_at(vm->domain, "firmware.uuid");
	if (str_empty(vm->uuid))
		vm->uuid = vm->uid;
	vm->fw_serial = json_str_at(vm->domain, "firmware.serial");
	vm->machine = json_str_at(vm->domain, "machine.type");
	if (str_empty(vm->machine))
		vm->machine = STR("q35");
	vm->paused = str_eqz(json_str_at(vmi, "spec.startStrategy"), "Paused");
	vm->kernel_args = json_str_at(vm->domain, "firmware.kernelBoot.kernelArgs");
	vm->private_dir = arena_fmt(a, LAUNCHER_PRIVATE_DIR "/" STR_FMT, STR_ARG(vm->uid));
	vm->secure_boot = json_at(vm->domain, "firmware.bootloader.efi") &&
			  vm_flag(vm->domain, "firmware.bootloader.efi.secureBoot", true);
	*ret = vm;
	return NULL;
}

struct err *vm_set_interfaces(struct arena *a, struct vm *vm, const struct json *ifaces)
{
	for (size_t i = 0; i < vm->n_nics; i++) {
		struct vm_nic *nic = &vm->nics[i];
		const struct json *host = json_find_by(ifaces, "name", nic->name);
		int64_t mtu = json_int_at(host, "mtu", 0);

		if (!host)
			return err_new(ERR_BAD_REQUEST, "no tap device for interface '" STR_FMT "'",
				       STR_ARG(nic->name));
		nic->tap = arena_str(a, json_str_at(host, "tap"));
		nic->mac = arena_str(a, json_str_at(host, "mac"));
		nic->mtu = mtu > 0 && mtu <= 65535 ? (unsigned)mtu : 0;
	}
	return NULL;
}
