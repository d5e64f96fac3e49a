/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the volume controllers share: words of the API, and matching of volumes and claims as pure
 * functions. */

#include "base/str.h"

struct arena;
struct json;

#define VOLUME_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define VOLUME_BOUND_BY       "pv.kubernetes.io/bound-by-controller"
#define VOLUME_SELECTED_NODE  "volume.kubernetes.io/selected-node"
#define VOLUME_PROVISIONER    "volume.kubernetes.io/storage-provisioner"
#define VOLUME_PVC_PROTECTION "kubernetes.io/pvc-protection"
#define VOLUME_PV_PROTECTION  "kubernetes.io/pv-protection"

/* spec.claimRef names this claim (and, where it has one, its uid). */
bool volume_claimed_by(const struct json *pv, const struct json *claim);
/* spec.claimRef that names it, without its revision. */
struct json *volume_claim_ref(struct arena *a, const struct json *claim);
/* The class of either; "" for none. */
struct str volume_class(const struct json *obj);
/* Whether pv could satisfy the claim: class, mode, access modes, size, selector. */
bool volume_fits(struct arena *a, const struct json *pv, const struct json *claim);
/* Below 0 when x is the smaller. */
int volume_cmp_size(const struct json *x, const struct json *y);
bool claim_bind_completed(const struct json *claim);
bool volume_class_waits(const struct json *storage_class);
