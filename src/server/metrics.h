/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the server counts, for /metrics: requests by what they asked for (counters, times, sizes),
 * watch events by resource, and what other modules know. A series is found once per request and
 * counted by pointer.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct apiserver;
struct metrics;
struct resource;
struct resource_version;

struct metrics *metrics_new(struct apiserver *s);
/* Counts the request until its exchange ends, and writes its line of the access log. */
void metrics_track(struct api_request *rq);
/* The counter of a resource's watch events; lives as long as the server. */
uint64_t *metrics_watch_events(struct apiserver *s, const struct resource *res,
			       const struct resource_version *v);
