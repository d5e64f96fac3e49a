/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Amounts of resources as small arrays. A resource has a number once some node offers it; what no
 * node offers has none, so Pods cannot use numbers up.
 */

#include "base/str.h"

struct arena;
struct json;

enum { RES_CPU, RES_MEMORY, RES_EPHEMERAL, RES_PODS, RES_FIRST_EXTENDED, RES_MAX = 48 };

struct res_request {
	int id; /* -1: no node offers it */
	int64_t val;
	struct str name; /* while the Pod lives */
};

/* "Insufficient cpu", ... as a string that is never freed and the same each time. */
const char *res_insufficient(int id);
/* The number of a name; create gives it one (-1 when there are too many). */
int res_id(struct str name, bool create);
/* cpu in thousandths, others in units. */
bool res_amount(int id, const struct json *quantity, int64_t *ret);

/* What a Pod asks for: containers, init containers and side-cars, overhead. Sorted by name. */
void res_of_pod(struct arena *a, const struct json *spec, struct res_request **ret, size_t *ret_n);
/* For scoring: what asks for nothing still uses something. */
void res_of_pod_nonzero(const struct json *spec, int64_t *ret_cpu, int64_t *ret_memory);
