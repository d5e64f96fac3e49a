/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The rules of the validating webhooks, by what they look at. Each takes the spec, the path it is
 * found at ("spec" or "spec.template.spec"), and adds causes; wording is upstream's.
 */

#include "virt/api/causes.h"

struct virt_config;

/* All of a VMI's spec, as far as it is the same for VMIs and templates. */
void validate_vmi_spec(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		       struct str path);
/* What holds for VMIs alone: machine, memory, volumes without disks. */
void validate_vmi_itself(struct causes *c, const struct virt_config *cfg, const struct json *spec,
			 struct str path);
void validate_vmi_labels(struct causes *c, const struct json *metadata, struct str path);
/* by part */
void validate_resources(struct causes *c, const struct virt_config *cfg, const struct json *spec,
			struct str path);
void validate_devices(struct causes *c, const struct json *spec, struct str path);
void validate_disks(struct causes *c, const struct json *spec, struct str path);
void validate_volumes(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		      struct str path);
void validate_networks(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		       struct str path);
/* objects */
void validate_vm(struct causes *c, const struct virt_config *cfg, const struct json *vm);
void validate_vmirs(struct causes *c, const struct virt_config *cfg, const struct json *set);
void validate_vmi_update(struct causes *c, const struct json *old_vmi, const struct json *vmi,
			 bool by_component);
