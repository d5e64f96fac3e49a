/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Aggregation: groups and versions of the API that another server behind a Service answers for
 * (APIService), and the APIService objects of our own groups.
 */

#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct json;
struct strategy;

/* A group and version as APIServices know it; views live in the arena it was asked with. */
struct aggregate_version {
	struct str group, version;
	int64_t group_priority, version_priority;
	bool remote;                  /* another server's */
	bool available;               /* always, when local */
	const struct json *resources; /* remote: its APIResourceList, NULL while unknown */
};

/* Every remote group version. */
size_t aggregate_remotes(struct apiserver *s, struct arena *a, struct aggregate_version **ret);
bool aggregate_is_remote(struct apiserver *s, struct str group, struct str version);
/* The priority of one of our own groups (CRDs: 1000). */
int64_t aggregate_group_priority(struct str group);

extern const struct strategy apiservice_strategy;
MUST_USE struct err *aggregate_init(struct apiserver *s);
/* SUSPENDS */
MUST_USE struct err *aggregate_start(struct apiserver *s);
