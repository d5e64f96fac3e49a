/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Manifests from one side of the alignment table to the other: Pod and VirtualMachineInstance,
 * ReplicaSet and VirtualMachineInstanceReplicaSet, PersistentVolumeClaim and DataVolume. What a
 * row, or one of the few functions for nested parts, takes is removed from a copy of the source;
 * what is left over has no counterpart, and is told. Cluster state (status, uid, ...) is no part
 * of a manifest and is dropped.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;

/*
 * *ret_losses: array of the paths ("spec.containers[0].command") that have no counterpart;
 * *ret_notes: array of sentences about what the result still needs. INVALID for other kinds.
 */
MUST_USE struct err *convert_manifest(struct arena *a, const struct json *obj, struct json **ret,
				      struct json **ret_losses, struct json **ret_notes);
/* The paths of everything in v but empty containers; prefix may be empty. */
void convert_list_leaves(struct arena *a, const struct json *v, struct str prefix,
			 struct json *out);
