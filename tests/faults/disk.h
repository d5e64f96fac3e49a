/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A disk that forgets: the journal that disk-shim.c (preloaded into the server) keeps of what each
 * write to data.mdb replaced, until a sync makes it durable. It is a mapped file, so it outlives
 * SIGKILL; then the test puts back what some of the unsynced pages held before.
 */

#include <stdint.h>

#define DISK_PAGE    4096
#define DISK_ENTRIES 16384
#define DISK_ENV     "ISOPLANE_TEST_DISK_JOURNAL"

struct disk_entry {
	uint64_t offset; /* of a page */
	uint8_t old[DISK_PAGE];
};

struct disk_journal {
	uint64_t n;
	struct disk_entry entries[DISK_ENTRIES];
};
