/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a Pod's requests and limits to what the kernel takes. Pure functions on the Pod's JSON. */

#include "base/str.h"

struct json;

enum qos {
	QOS_GUARANTEED,
	QOS_BURSTABLE,
	QOS_BEST_EFFORT,
};

/* Milli-CPUs and bytes; 0: not given. */
struct resource_amounts {
	int64_t cpu_request, cpu_limit;
	int64_t memory_request, memory_limit;
};

const char *qos_name(enum qos q); /* "Guaranteed", ... */
enum qos qos_of_pod(const struct json *pod);

/* Requests default to limits, as in the API. */
struct resource_amounts resources_of_container(const struct json *container);
/*
 * The whole Pod: app containers and sidecars together, or the largest init container, plus
 * overhead. A limit is 0 unless every container has one.
 */
struct resource_amounts resources_of_pod(const struct json *pod);
/* Rounded up, 0 when absent; which is "requests" or "limits". Milli-units for cpu, else whole ones.
 */
int64_t resource_get(const struct json *container, const char *which, struct str name);

#define CPU_PERIOD_US 100000
int64_t cpu_shares(int64_t milli);
/* -1: no limit. */
int64_t cpu_quota_us(int64_t milli);
int64_t oom_score_adj(const struct json *pod, const struct json *container,
		      int64_t memory_capacity);
