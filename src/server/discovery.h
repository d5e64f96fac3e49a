/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is served: /, /api, /apis and below, as legacy lists and as one aggregated document. */

#include "base/str.h"

struct api_request;
struct apiserver;
struct arena;
struct err;

/* A group version that we serve ourselves. */
struct discovery_gv {
	struct str group, version;
};

/* All of them: groups by priority, versions in Kubernetes' order. */
size_t discovery_versions(struct apiserver *s, struct arena *a, struct discovery_gv **ret);
/* "/api/v1", "/apis/apps/v1". */
struct str discovery_path(struct arena *a, struct discovery_gv gv);

MUST_USE struct err *discovery_init(struct apiserver *s);
