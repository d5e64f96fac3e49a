/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ISO 9660 images with Joliet names, small ones: what cloud-init, sysprep and ConfigMap disks are.
 * The image is built in memory; the same input gives the same bytes.
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;

#define ISO_MAX_FILES 1024
#define ISO_MAX_BYTES (32 * 1024 * 1024)

struct iso_file {
	struct str path; /* "user-data", "openstack/latest/meta_data.json" */
	struct str data;
};

/* TOO_LARGE, or BAD_REQUEST for a name that cannot be stored. */
MUST_USE struct err *iso_write(struct arena *a, struct str volume_id, const struct iso_file *files,
			       size_t n, struct buf *out);
