/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the mutating webhook fills into a VMI's spec, in upstream's order, from a table of steps.
 * Pure. */

#include "base/base.h"

struct arena;
struct json;
struct virt_config;

/* spec is a VMI's (or a VM template's copy); every step sees what the ones before it set. */
void vmi_default_spec(struct arena *a, const struct virt_config *cfg, struct json *spec);
/* Status and metadata of a VMI that is being created. keep_status: its writer is one of ours. */
void vmi_default_object(struct arena *a, const struct virt_config *cfg, struct json *vmi,
			bool keep_status);
/* annotation kubevirt.io/pci-topology-version of machines with PCIe. */
void vmi_default_pci_topology(struct arena *a, const struct json *spec, struct json *meta);
/* architecture and machine.type: what the VM's webhook fills into its template already. */
void vmi_default_machine(struct arena *a, const struct virt_config *cfg, struct json *spec);
