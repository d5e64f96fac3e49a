/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Everything the API server serves, built-in, custom and aggregated, for the controllers that act
 * on all of it (garbage collection, namespace deletion). A group that cannot be asked now is listed
 * as failing: it must never be taken for one without resources.
 */

#include "api/gvk.h"

struct arena;
struct client;
struct err;
struct log;

#define DISCOVERY_LIST             1u
#define DISCOVERY_WATCH            2u
#define DISCOVERY_DELETE           4u
#define DISCOVERY_DELETECOLLECTION 8u

struct discovered {
	struct gvr gvr; /* in its group's preferred version that has it */
	struct str kind;
	bool namespaced;
	unsigned verbs;
};

struct discovery_failure {
	struct str group_version;
	struct str message;
};

struct discovery {
	struct discovered *v;
	size_t n, cap;
	struct discovery_failure *failures;
	size_t n_failures, cap_failures;
};

/* An error only when the server cannot be asked at all. Everything lives in the arena. */
MUST_USE SUSPENDS struct err *discovery_load(struct client *c, struct arena *a,
					     struct discovery *ret);
/* By group and kind; NULL when there is none. */
const struct discovered *discovery_find_kind(const struct discovery *d, struct str group,
					     struct str kind);
bool discovery_failed_group(const struct discovery *d, struct str group);
