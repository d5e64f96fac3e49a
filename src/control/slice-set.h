/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The EndpointSlices that one controller manages, by the Service they are of: finding them, writing
 * a plan (endpointslice-plan.h), and knowing when what was written has been seen. Keys are
 * "namespace/service".
 */

#include "base/str.h"
#include "client/expectations.h"
#include "client/informer.h"

struct arena;
struct control;
struct controller;
struct err;
struct json;
struct obj;
struct slice_plan;

/* The caller fills in the first part; never freed. */
struct slice_set {
	struct control *control;
	struct str manager; /* what the label endpointslice.kubernetes.io/managed-by says */
	/* private */
	struct informer *slices;
	struct informer_index *by_service;
	struct informer_handler on_slice;
	struct expectations expect; /* slices made and not yet seen */
};

/* Changes of the slices enqueue their Service at the controller. */
void slice_set_init(struct slice_set *s, struct controller *c);
/* Copies of the slices of a Service that are not being deleted. */
struct json *slice_set_collect(const struct slice_set *s, struct arena *a, struct str key);
/* Whether all that was written has been seen, so that a plan can be made. */
bool slice_set_settled(struct slice_set *s, struct str key);
void slice_set_forget(struct slice_set *s, struct str key);
MUST_USE SUSPENDS struct err *slice_set_apply(struct slice_set *s, struct arena *a, struct str key,
					      const struct slice_plan *plan);
