/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The workers of all Pods on this node, fed by the Pod informer and by a relist of the runtime each
 * second. What the runtime has and the API does not is ended.
 */

#include "base/str.h"

struct agent;
struct err;
struct pod;
struct pod_workers;

/* SUSPENDS until the informer is synced; then everything runs by itself. */
MUST_USE SUSPENDS struct err *pod_workers_start(struct agent *ag);

/* queries */
struct pod *pod_workers_find(const struct agent *ag, struct str ns, struct str name);
struct pod *pod_workers_find_uid(const struct agent *ag, struct str uid);
void pod_workers_each(const struct agent *ag, void (*fn)(struct pod *p, void *ctx), void *ctx);
