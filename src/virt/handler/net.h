/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Applies net-plan.h in a Pod's network namespace. What was planned is kept in a file per VMI, so
 * that a handler that died in the middle, or was restarted since, knows what the namespace looked
 * like.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;

#define NET_CACHE_DIR "/run/kubevirt-private/network-info-cache"

/* Before the VM starts. netns is borrowed. *ret as net_plan's. */
MUST_USE SUSPENDS struct err *net_prepare(struct arena *a, const struct json *vmi, int netns,
					  struct json **ret);
/* What net_prepare returned in an earlier life; NULL when it is not known. */
struct json *net_recall(struct arena *a, struct str uid);
/* The VMI is gone. */
void net_forget(struct str uid);
