/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The objects a VM makes: its VMI, its ControllerRevision, its DataVolumes. Pure. */

#include "base/str.h"

struct arena;
struct json;

struct json *vm_make_instance(struct arena *a, const struct json *vm);
/* "revision-start-vm-UID-GENERATION" */
struct str vm_revision_name(struct arena *a, const struct json *vm, int64_t generation);
struct json *vm_make_revision(struct arena *a, const struct json *vm);
/* From one of spec.dataVolumeTemplates. */
struct json *vm_make_datavolume(struct arena *a, const struct json *vm,
				const struct json *template);
