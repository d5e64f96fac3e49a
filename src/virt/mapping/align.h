/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The alignment table: which member of a VirtualMachineInstance means what in a Pod, and likewise
 * for replica sets and volumes. Rendering the launcher Pod and converting manifests either way
 * read the same rows; a member without a row has no counterpart.
 *
 *     VirtualMachineInstance            <->  Pod
 *     VirtualMachineInstanceReplicaSet  <->  ReplicaSet
 *     DataVolume                        <->  PersistentVolumeClaim
 */

#include "base/str.h"

struct arena;
struct json;

enum align_side { ALIGN_VM, ALIGN_POD }; /* the virtual and the container side of a row */

/* One pair of members, by dotted paths below the object. */
struct align_row {
	const char *vm, *pod;
	bool render; /* virt-controller copies it into the launcher Pod as it is */
};

/* A volume source and its members, named on either side; the member pairs end with NULL. */
struct align_volume {
	const char *vm, *pod;
	struct align_member {
		const char *vm, *pod;
	} members[4];
	bool one_way; /* only from VM to Pod: the other direction reads another row */
};

struct align_kind {
	const char *vm_api, *vm_kind;
	const char *pod_api, *pod_kind;
};

enum align_pair { ALIGN_INSTANCE, ALIGN_REPLICA_SET, ALIGN_CLAIM, ALIGN_PAIRS_N_ };

const struct align_kind *align_kind(enum align_pair pair);
/* Rows end with a NULL vm. */
const struct align_row *align_rows(enum align_pair pair);
/* Rows end with a NULL vm. */
const struct align_volume *align_volumes(void);

/* Moves (deletes from) or copies the member at a row's path of one side to the other's. */
void align_move(struct arena *a, const struct align_row *row, enum align_side from,
		struct json *src, struct json *dst);
/* Copies every row marked render from the VMI's spec to the Pod's. */
void align_render(struct arena *a, const struct json *vmi, struct json *pod);
/* The other side's form of a volume (name and source), or NULL when its source has none. src is
 * left with what was not taken. */
struct json *align_volume(struct arena *a, enum align_side from, struct json *src);
/* Removes the member at a dotted path and answers it, or NULL. */
struct json *align_take(struct arena *a, struct json *obj, const char *dotted);
