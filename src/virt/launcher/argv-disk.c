/* SPDX-License-Identifier: Apache-2.0 */

/* Disks and NICs on QEMU's command line, and the controllers they hang on. */

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "virt/launcher/argv.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define VM_SATA_PORTS 6

static bool vm_has_bus(const struct vm *vm, enum vm_bus bus)
{
	for (size_t i = 0; i < vm->n_disks; i++) {
		if (vm->disks[i].bus == bus)
			return true;
	}
	return false;
}

/* usb and scsi controllers */

static bool vm_needs_usb(const struct vm *vm)
{
	json_for_each(it, json_get(vm->devices, "inputs"))
	{
		if (!str_eqz(json_str_at(it.val, "bus"), "virtio"))
			return true;
	}
	return vm_has_bus(vm, VM_BUS_USB);
}

static void vm_usb_argv(struct vm_argv *b)
{
	if (vm_needs_usb(b->vm))
		vm_argf(b, "-device", "qemu-xhci,id=usb,%s", vm_pci(b));
}

const struct vm_device_ops vm_usb_ops = { .name = "usb", .argv = vm_usb_argv };

/* As upstream: always there, disks may be plugged in later, unless hotplug is disabled. */
static void vm_scsi_argv(struct vm_argv *b)
{
	if (vm_has_bus(b->vm, VM_BUS_SCSI) || !vm_flag(b->vm->devices, "disableHotplug", false))
		vm_argf(b, "-device", "virtio-scsi-pci-non-transitional,id=scsi0,%s", vm_pci(b));
}

const struct vm_device_ops vm_scsi_ops = { .name = "scsi", .argv = vm_scsi_argv };

/* disks */

/* Emits the chain's nodes, deepest first; returns the top's node name. */
static struct str vm_image_argv(struct vm_argv *b, const struct vm_image *img, struct str prefix,
				unsigned depth)
{
	struct json *file = json_object(b->a), *fmt = json_object(b->a);
	struct str node = arena_fmt(b->a, STR_FMT "-%u-format", STR_ARG(prefix), depth);
	struct str storage = arena_fmt(b->a, STR_FMT "-%u-storage", STR_ARG(prefix), depth);
	struct json *cache = json_object(b->a);
	struct str backing = STR_EMPTY;

	if (img->backing)
		backing = vm_image_argv(b, img->backing, prefix, depth + 1);
	json_set_bool(b->a, cache, "direct", img->direct);
	json_set_bool(b->a, cache, "no-flush", false);
	json_set_str(b->a, file, "driver", img->block_device ? STR("host_device") : STR("file"));
	json_set_str(b->a, file, "filename", img->path);
	json_set_str(b->a, file, "node-name", storage);
	json_set_bool(b->a, file, "read-only", img->readonly);
	json_set(b->a, file, "cache", cache);
	if (!img->readonly)
		json_set_str(b->a, file, "discard", STR("unmap"));
	vm_argf(b, "-blockdev", STR_FMT, STR_ARG(json_text(b->a, file)));

	json_set_str(b->a, fmt, "driver", img->format);
	json_set_str(b->a, fmt, "node-name", node);
	json_set_bool(b->a, fmt, "read-only", img->readonly);
	json_set_str(b->a, fmt, "file", storage);
	json_set(b->a, fmt, "cache", json_copy(b->a, cache));
	if (!img->readonly)
		json_set_str(b->a, fmt, "discard", STR("unmap"));
	if (str_eqz(img->format, "qcow2"))
		json_set(b->a, fmt, "backing",
			 img->backing ? json_str(b->a, backing) : json_null(b->a));
	vm_argf(b, "-blockdev", STR_FMT, STR_ARG(json_text(b->a, fmt)));
	return node;
}

/* "virtio-blk-pci-non-transitional,bus=pci.4,addr=0x0": the device and where it sits. */
static struct str vm_disk_place(struct vm_argv *b, const struct vm_disk *d)
{
	unsigned unit;

	switch (d->bus) {
	case VM_BUS_VIRTIO:
		return arena_fmt(b->a, "virtio-blk-pci-non-transitional,%s", vm_pci(b));
	case VM_BUS_SATA:
		return arena_fmt(b->a, "%s,bus=ide.%u", d->kind == VM_CDROM ? "ide-cd" : "ide-hd",
				 b->n_sata++);
	case VM_BUS_SCSI:
		unit = b->n_scsi++;
		return arena_fmt(b->a, "%s,bus=scsi0.0,channel=0,scsi-id=0,lun=%u",
				 d->kind == VM_CDROM ? "scsi-cd"
				 : d->kind == VM_LUN ? "scsi-block"
						     : "scsi-hd",
				 unit);
	case VM_BUS_USB:
		return arena_fmt(b->a, "usb-storage,bus=usb.0,port=%u,removable=off", ++b->n_usb);
	}
	UNREACHABLE();
}

/* What libvirt calls bootindex: the VMI's order, else the first disk when nothing has one. */
static unsigned vm_boot_index(const struct vm *vm, const struct vm_disk *d)
{
	for (size_t i = 0; i < vm->n_disks; i++) {
		if (vm->disks[i].boot_order)
			return d->boot_order;
	}
	for (size_t i = 0; i < vm->n_nics; i++) {
		if (vm->nics[i].boot_order)
			return d->boot_order;
	}
	return d == vm->disks ? 1 : 0;
}

/* spec.domain.devices.disks[].blockSize.custom: what the guest is told of sectors. */
static void vm_disk_block_size(const struct vm_disk *d, struct buf *opts)
{
	static const char *const names[][2] = {
		{ "blockSize.custom.logical", "logical_block_size" },
		{ "blockSize.custom.physical", "physical_block_size" },
		{ "blockSize.custom.discardGranularity", "discard_granularity" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int64_t n = json_int_at(d->spec, names[i][0], 0);

		if (n > 0)
			buf_addf(opts, ",%s=%lld", names[i][1], (long long)n);
	}
}

static void vm_disk_argv_one(struct vm_argv *b, const struct vm_disk *d, unsigned i)
{
	struct str node = vm_image_argv(b, d->image, arena_fmt(b->a, "disk%u", i), 0);
	struct str place = vm_disk_place(b, d);
	unsigned boot = vm_boot_index(b->vm, d);
	struct str policy = str_empty(d->error_policy) ? STR("stop") : d->error_policy;
	struct buf opts = { 0 };

	buf_addf(&opts, STR_FMT ",drive=" STR_FMT ",id=ua-" STR_FMT, STR_ARG(place), STR_ARG(node),
		 STR_ARG(vm_quote(b->a, d->name)));
	if (boot)
		buf_addf(&opts, ",bootindex=%u", boot);
	if (!str_empty(d->serial))
		buf_addf(&opts, ",serial=" STR_FMT, STR_ARG(vm_quote(b->a, d->serial)));
	if (d->kind != VM_LUN && d->bus != VM_BUS_USB) {
		/* QEMU's word for "enospace" is enospc; reads never run out of space. */
		const char *w = str_eqz(policy, "enospace") ? "enospc" : arena_strz(b->a, policy);

		buf_addf(&opts, ",werror=%s,rerror=%s", w,
			 str_eqz(policy, "enospace") ? "stop" : w);
	}
	if (d->kind != VM_CDROM && d->kind != VM_LUN && d->bus != VM_BUS_USB)
		buf_addf(&opts, ",write-cache=%s%s",
			 str_eqz(d->cache, "writethrough") ? "off" : "on",
			 d->shareable ? ",share-rw=on" : "");
	vm_disk_block_size(d, &opts);
	vm_argf(b, "-device", STR_FMT, STR_ARG(buf_str(&opts)));
	buf_fini(&opts);
}

static void vm_disk_argv(struct vm_argv *b)
{
	for (size_t i = 0; i < b->vm->n_disks; i++) {
		if (b->vm->disks[i].image)
			vm_disk_argv_one(b, &b->vm->disks[i], (unsigned)i);
	}
}

static struct err *vm_disk_validate(const struct vm *vm)
{
	unsigned sata = 0, pci = 0;

	for (size_t i = 0; i < vm->n_disks; i++) {
		const struct vm_disk *d = &vm->disks[i];

		sata += d->bus == VM_BUS_SATA;
		pci += d->bus == VM_BUS_VIRTIO;
		if (d->kind == VM_CDROM && d->bus == VM_BUS_VIRTIO)
			return err_new(ERR_INVALID, "disk '" STR_FMT "': a cdrom cannot be virtio",
				       STR_ARG(d->name));
		if (d->kind == VM_LUN && d->bus != VM_BUS_SCSI)
			return err_new(ERR_INVALID, "disk '" STR_FMT "': a lun must be scsi",
				       STR_ARG(d->name));
	}
	if (sata > VM_SATA_PORTS)
		return err_new(ERR_INVALID, "%u SATA disks, but q35 has %d ports", sata,
			       VM_SATA_PORTS);
	if (pci + vm->n_nics + 16 > PCI_MAX_PORTS)
		return err_new(ERR_INVALID, "more than %d virtio devices", PCI_MAX_PORTS - 16);
	return NULL;
}

const struct vm_device_ops vm_disk_ops = {
	.name = "disks",
	.validate = vm_disk_validate,
	.argv = vm_disk_argv,
};

/* network interfaces */

static const struct {
	const char *model, *device;
} vm_nic_models[] = {
	{ "", "virtio-net-pci-non-transitional" },
	{ "virtio", "virtio-net-pci-non-transitional" },
	{ "e1000", "e1000" },
	{ "e1000e", "e1000e" },
	{ "igb", "igb" },
	{ "ne2k_pci", "ne2k_pci" },
	{ "pcnet", "pcnet" },
	{ "rtl8139", "rtl8139" },
};

static const char *vm_nic_device(const struct vm_nic *nic)
{
	for (size_t i = 0; i < ARRAY_LEN(vm_nic_models); i++) {
		if (str_eqz(nic->model, vm_nic_models[i].model))
			return vm_nic_models[i].device;
	}
	return NULL;
}

static struct err *vm_nic_validate(const struct vm *vm)
{
	for (size_t i = 0; i < vm->n_nics; i++) {
		if (!vm_nic_device(&vm->nics[i]))
			return err_new(ERR_INVALID,
				       "interface '" STR_FMT "': unknown model '" STR_FMT "'",
				       STR_ARG(vm->nics[i].name), STR_ARG(vm->nics[i].model));
	}
	return NULL;
}

static void vm_nic_argv(struct vm_argv *b)
{
	for (size_t i = 0; i < b->vm->n_nics; i++) {
		const struct vm_nic *nic = &b->vm->nics[i];
		struct str id = vm_quote(b->a, nic->name);
		const char *device = vm_nic_device(nic);
		bool virtio = str_has_prefix(str_from(device), STR("virtio"));
		struct buf opts = { 0 };

		vm_argf(b, "-netdev",
			"tap,id=hostua-" STR_FMT ",ifname=" STR_FMT ",script=no,downscript=no",
			STR_ARG(id), STR_ARG(vm_quote(b->a, nic->tap)));
		buf_addf(&opts, "%s,netdev=hostua-" STR_FMT ",id=ua-" STR_FMT ",mac=" STR_FMT,
			 device, STR_ARG(id), STR_ARG(id), STR_ARG(vm_quote(b->a, nic->mac)));
		if (virtio && nic->mtu)
			buf_addf(&opts, ",host_mtu=%u", nic->mtu);
		if (nic->boot_order)
			buf_addf(&opts, ",bootindex=%u", nic->boot_order);
		else
			buf_addz(&opts, ",romfile=");
		if (nic->acpi_index)
			buf_addf(&opts, ",acpi-index=%u", nic->acpi_index);
		buf_addf(&opts, ",%s", vm_pci(b));
		vm_argf(b, "-device", STR_FMT, STR_ARG(buf_str(&opts)));
		buf_fini(&opts);
	}
}

const struct vm_device_ops vm_nic_ops = {
	.name = "nics",
	.validate = vm_nic_validate,
	.argv = vm_nic_argv,
};
