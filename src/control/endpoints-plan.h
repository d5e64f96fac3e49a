/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Endpoints, the older form of EndpointSlices, as pure functions: from a Service and its Pods to
 * subsets, and from subsets that people wrote to mirrored slices.
 */

#include "base/str.h"

struct arena;
struct json;

#define ENDPOINTS_MAX            1000
#define ENDPOINTS_OVER_CAPACITY  "endpoints.kubernetes.io/over-capacity"
#define ENDPOINTS_MANAGED_BY     "endpoints.kubernetes.io/managed-by"
#define ENDPOINTS_HEADLESS       "service.kubernetes.io/headless"
#define ENDPOINTS_SKIP_MIRROR    "endpointslice.kubernetes.io/skip-mirror"
#define ENDPOINTS_LEADER         "control-plane.alpha.kubernetes.io/leader"
#define ENDPOINTS_MIRROR_MANAGER "endpointslicemirroring-controller.k8s.io"
#define ENDPOINTS_TRIGGER_TIME   "endpoints.kubernetes.io/last-change-trigger-time"

/* spec.subsets of the Endpoints of svc: addresses with the same ports share one; sorted. */
struct json *endpoints_subsets(struct arena *a, const struct json *svc, const struct json *pods);

/*
 * The slices that mirror the Endpoints object: one for each subset and address family, of 1000
 * endpoints at most. old: the mirrored slices there are; those that fit are kept under their names.
 */
struct slice_plan endpoints_mirror(struct arena *a, const struct json *endpoints,
				   const struct json *old);
