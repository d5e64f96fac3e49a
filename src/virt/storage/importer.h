/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virt-importer: fills a claim with a disk image, once, in a Pod of its own. Part of
 * virt-launcher's binary, under its own name in the launcher image.
 *
 *     virt-importer [--url URL [--header TEXT]...] --size QUANTITY
 *
 * Without a URL the disk is blank. curl fetches; a raw image streams into disk.img with its zeros
 * left out; a qcow2 image goes by the scratch directory through qemu-img. Progress is printed as
 * lines "progress 42.00"; what went wrong is the last line.
 */

#define IMPORTER_BINARY      "/usr/bin/virt-importer"
#define IMPORTER_NAME        "virt-importer"
#define IMPORTER_DATA_DIR    "/data"
#define IMPORTER_BLOCK_PATH  "/dev/cdi-block-volume"
#define IMPORTER_SCRATCH_DIR "/scratch"
#define IMPORTER_CERTS_DIR   "/certs"

int virt_importer_main(int argc, char **argv);
