/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a VMI costs: the launcher container's requests and limits. CPU follows upstream's rule
 * (vCPUs over the allocation ratio); memory is the guest's plus an overhead by parts.
 */

#include "base/base.h"

struct arena;
struct json;

struct virt_costs {
	int64_t cpu_allocation_ratio; /* 0: 10 */
	int64_t memory_overcommit;    /* percent; 0: 100 */
	bool use_emulation;
};

/* Bytes beyond the guest's memory. */
int64_t vmi_memory_overhead(const struct json *vmi, bool use_emulation);
/* The container's "resources" object. */
struct json *vmi_container_resources(struct arena *a, const struct json *vmi,
				     const struct virt_costs *costs);
