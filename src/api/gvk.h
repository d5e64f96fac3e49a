/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names of kinds and resources: group, version, kind, resource (plural). Views; compare by value.
 */

#include "base/str.h"

struct arena;

struct gvk {
	struct str group, version, kind;
};

struct gvr {
	struct str group, version, resource;
};

#define GVR(g, v, r) ((struct gvr){ STR_INIT(g), STR_INIT(v), STR_INIT(r) })

/* "apps/v1" or "v1" <-> group and version. */
struct str gv_format(struct arena *a, struct str group, struct str version);
bool gv_parse(struct str api_version, struct str *ret_group, struct str *ret_version);
/* "pods" or "replicasets.apps": how errors name a resource. */
struct str gr_format(struct arena *a, struct str group, struct str resource);
bool gvr_equal(struct gvr a, struct gvr b);
/* Kubernetes' order of versions: v10 > v2 > v1 > v2beta1 > v1alpha1 > other, for sorting. */
int version_cmp(struct str a, struct str b);
