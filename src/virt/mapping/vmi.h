/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading VirtualMachines and VirtualMachineInstances: phases, strategies, topology, derived names.
 */

#include "base/str.h"

struct arena;
struct json;

#define VMI_DEFAULT_GRACE 30

/* phases */
struct str vmi_phase(const struct json *vmi);
bool vmi_phase_is(const struct json *vmi, const char *phase);
/* Succeeded or Failed. */
bool vmi_is_final(const struct json *vmi);
/* Running, and so long as a launcher may hold a guest: Scheduled too. */
bool vmi_is_running(const struct json *vmi);
/* Whether a phase transition to Running was ever recorded. */
bool vmi_was_running(const struct json *vmi);
/* Sets status.phase and appends to phaseTransitionTimestamps; false when it is that already. */
bool vmi_set_phase(struct arena *a, struct json *vmi, const char *phase);

/* spec */
int64_t vmi_vcpus(const struct json *vmi);
int64_t vmi_grace_seconds(const struct json *vmi);
/* spec.hostname, else the first label of the name, at most 63 bytes. */
struct str vmi_hostname(struct arena *a, const struct json *vmi);
/* The value of the label vmi.kubevirt.io/id: the name, shortened with a hash over 63 bytes. */
struct str vmi_id_label(struct arena *a, struct str name);
/* The interface's binding as named in the spec ("masquerade"), or "". */
struct str vmi_interface_binding(const struct json *iface);
/* The Pod's interface for a secondary network: "pod" and 11 hex digits of the name's SHA-256. */
struct str vmi_pod_interface_name(struct arena *a, struct str network);
/* The name of the claim behind a volume (persistentVolumeClaim, dataVolume), or "". */
struct str vmi_volume_claim(const struct json *volume);

/* VMs */
/* spec.running or spec.runStrategy; Halted when neither is set. */
struct str vm_run_strategy(const struct json *vm);
/* Firmware UUID derived from the VM's name, as upstream's. */
struct str vm_firmware_uuid(struct arena *a, struct str name);
