/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files behind a VM's disks: finds images in the Pod's volumes, makes overlays, empty disks and
 * cloud-init ISOs. Idempotent: what a failed start left is made anew.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct vm;

/* Where things are; tests point it elsewhere. */
struct disks_dirs {
	const char *private_dir, *ephemeral_dir, *libvirt_dir, *image_volumes_dir, *dev_dir;
	const char *qemu_img;
};

extern const struct disks_dirs disks_default_dirs;

/* Sets every disk's image, and kernel and initrd. sizes is options.disks of the handler's protocol.
 */
MUST_USE SUSPENDS struct err *disks_prepare(struct arena *a, const struct disks_dirs *dirs,
					    struct vm *vm, const struct json *sizes);
