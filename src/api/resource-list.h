/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Amounts by resource name (core/v1 ResourceList): sums, maxima and differences, and what a whole
 * Pod asks for. Names are views of what they were made from; lists are sorted by name.
 */

#include "api/quantity.h"
#include "base/str.h"

struct arena;
struct json;

struct resource_amount {
	struct str name;
	struct quantity q;
};

/* {.a = arena} is empty. */
struct resource_list {
	struct arena *a;
	struct resource_amount *v;
	size_t n;
	/* private */
	size_t cap;
};

/* making */
/* What cannot be read as a quantity is left out. json may be NULL. */
struct resource_list resource_list_from_json(struct arena *a, const struct json *json);
struct json *resource_list_to_json(struct arena *a, const struct resource_list *l);
/* "cpu=1,memory=1Gi" */
struct str resource_list_text(struct arena *a, const struct resource_list *l);

/* queries */
/* NULL when it is not named. */
const struct quantity *resource_list_find(const struct resource_list *l, struct str name);
bool resource_list_has(const struct resource_list *l, struct str name);
/* Same names, same amounts. */
bool resource_list_equal(const struct resource_list *x, const struct resource_list *y);

/* changing */
void resource_list_set(struct resource_list *l, struct str name, struct quantity q);
void resource_list_del(struct resource_list *l, struct str name);
void resource_list_add(struct resource_list *l, const struct resource_list *other);
void resource_list_max(struct resource_list *l, const struct resource_list *other);
/* l - other, never below zero; names of other alone become zero. */
void resource_list_sub_floor(struct resource_list *l, const struct resource_list *other);

/* a whole Pod: containers, init containers and side-cars, pod-level resources, overhead, and what
 * its status says of a resize on its way */
struct resource_list pod_requests(struct arena *a, const struct json *pod);
struct resource_list pod_limits(struct arena *a, const struct json *pod);
/* By the spec alone and without overhead; what: "requests" or "limits". */
struct resource_list pod_spec_sum(struct arena *a, const struct json *pod, const char *what);
/* Whether spec.resources names something that may be set for a Pod as a whole. */
bool pod_has_pod_level(const struct json *spec);
bool resource_is_pod_level(struct str name);

/* names */
/* Without a domain, or with one of kubernetes.io. */
bool resource_is_native(struct str name);
/* example.com/gpu: what may be asked of a node's devices. */
bool resource_is_extended(struct str name);
