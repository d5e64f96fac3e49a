/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From a Service and its Pods to EndpointSlices, as pure functions: Pods whose named target ports
 * resolve to the same numbers share slices; endpoints stay in the slice that has them.
 */

#include "base/str.h"

struct arena;
struct json;

#define SLICE_MAX_ENDPOINTS 100
#define SLICE_MANAGED_BY    "endpointslice-controller.k8s.io"

struct slice_plan {
	struct json *create; /* arrays of whole EndpointSlices */
	struct json *update;
	struct json *remove; /* names */
};

/*
 * pods, slices: arrays of the selected Pods and of the slices we manage for svc; nodes: an object
 * of zones by node name, may be NULL.
 */
struct slice_plan slice_plan_make(struct arena *a, const struct json *svc, const struct json *pods,
				  const struct json *slices, const struct json *zones);

/* The number that a Service's port leads to on the Pod; 0: the Pod has no port of that name. */
int64_t slice_target_port(const struct json *port, const struct json *pod);
