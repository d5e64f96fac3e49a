/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A virtual machine as the launcher runs it: the VMI's spec, decoded, with the host's side (tap
 * devices, image files) filled in by those who prepare them. Everything lives in one arena. Fields
 * the devices' table does not read stay in vmi.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;

#define VM_MAX_DISKS 256
#define VM_MAX_NICS  32

enum vm_bus { VM_BUS_VIRTIO, VM_BUS_SATA, VM_BUS_SCSI, VM_BUS_USB };
enum vm_disk_kind { VM_DISK, VM_LUN, VM_CDROM };

/* One file or device in QEMU's chain of images; backing NULL ends it. */
struct vm_image {
	struct str path, format; /* "raw", "qcow2" */
	bool block_device, readonly, direct;
	struct vm_image *backing;
};

struct vm_disk {
	struct str name;
	enum vm_disk_kind kind;
	enum vm_bus bus;
	bool readonly, shareable;
	unsigned boot_order; /* 0: none */
	struct str serial, cache, io, error_policy, pci_address;
	const struct json *spec;   /* the disk's entry, or NULL for an implicit one */
	const struct json *volume; /* the volume's entry */
	size_t volume_index;
	struct vm_image *image; /* set by disks_prepare */
};

struct vm_nic {
	struct str name, model, mac, tap;
	unsigned mtu, boot_order, acpi_index;
	struct str pci_address;
};

struct vm {
	struct str ns, name, uid;
	const struct json *vmi, *domain, *devices;
	struct str uuid, fw_serial;
	unsigned sockets, max_sockets, cores, threads;
	uint64_t memory; /* bytes */
	struct str machine;
	bool kvm, paused;
	struct vm_disk *disks;
	size_t n_disks;
	struct vm_nic *nics;
	size_t n_nics;
	struct str kernel, initrd, kernel_args; /* paths, resolved */
	struct str private_dir;                 /* LAUNCHER_PRIVATE_DIR/UID */
	struct str efi_code, efi_vars;
	bool secure_boot;
};

/* Decodes; INVALID with field causes for what cannot be run here. vmi must outlive vm. */
MUST_USE struct err *vm_decode(struct arena *a, const struct json *vmi, struct vm **ret);
/* Host's side of NICs: options.interfaces of the handler's protocol. */
MUST_USE struct err *vm_set_interfaces(struct arena *a, struct vm *vm, const struct json *ifaces);
/* true unless the VMI says no; absent means dflt. */
bool vm_flag(const struct json *obj, const char *dotted, bool dflt);
