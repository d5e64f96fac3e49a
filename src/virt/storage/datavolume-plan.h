/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A DataVolume's next step and status from what is seen of its claim and importer Pod. Pure.
 *
 *     "" -> Pending -> [WaitForFirstConsumer ->] PVCBound -> ImportScheduled -> ImportInProgress
 *        -> Succeeded
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

struct dv_world {
	const struct json *dv;
	const struct json *claim; /* NULL: none */
	const struct json *pod;   /* the importer, NULL: none */
	bool waits_for_consumer;  /* the claim's StorageClass binds it when a Pod comes */
	struct str progress;      /* "42.00%", empty: unknown */
	struct wall now;
};

enum dv_act { DV_NONE, DV_CREATE_CLAIM, DV_CREATE_POD, DV_DELETE_POD };

enum dv_act dv_decide(const struct dv_world *w);
/* Rewrites the DataVolume's status. */
void dv_status_update(struct arena *a, const struct dv_world *w, struct json *dv);
/* The claim and the importer Pod of a DataVolume. */
struct json *dv_make_claim(struct arena *a, const struct json *dv);
struct json *dv_make_importer(struct arena *a, const struct json *dv, struct str image);
struct str dv_importer_name(struct arena *a, struct str dv);
/* The error that refuses a DataVolume's source, or NULL. */
const char *dv_unsupported_source(const struct json *dv);
