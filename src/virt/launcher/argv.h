/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * QEMU's command line from a vm. Each part of the machine is a row of one table (argv.c); a row
 * appends its arguments. The same vm always gives the same arguments.
 */

#include "base/str.h"
#include "virt/launcher/pci.h"

struct arena;
struct err;
struct vm;

#define VM_ARGV_MAX 4096

/* An argument list under construction. */
struct vm_args {
	const char **v;
	size_t n;
};

struct vm_argv {
	struct arena *a;
	const struct vm *vm;
	struct pci pci;
	/* Arguments go to head until the root ports, to tail from there: their number is known
	 * last. */
	struct vm_args head, tail, *out;
	unsigned n_scsi, n_sata, n_usb;
	bool has_scsi, has_usb;
};

/* One kind of device. */
struct vm_device_ops {
	const char *name;
	/* May be NULL; INVALID when this vm cannot have it. */
	MUST_USE struct err *(*validate)(const struct vm *vm);
	void (*argv)(struct vm_argv *b);
};

#define VM_QMP_FD 3 /* where QEMU finds its end of the monitor's socket pair */

/* NULL-terminated; program is argv[0]. */
MUST_USE struct err *vm_argv_build(struct arena *a, const struct vm *vm, const char *program,
				   const char *const **ret);

/* for the tables' rows */
void vm_arg(struct vm_argv *b, const char *arg);
void vm_argf(struct vm_argv *b, const char *opt, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* pci_next's text, NUL-terminated. */
const char *vm_pci(struct vm_argv *b);
/* Doubles the commas, which separate QEMU's options. */
struct str vm_quote(struct arena *a, struct str s);

extern const struct vm_device_ops vm_disk_ops, vm_nic_ops, vm_usb_ops, vm_scsi_ops;
