/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ResourceQuota: what an object costs, which quotas it counts against, and whether it still fits.
 * Shared by admission (which charges a write) and the quota controller (which counts afresh).
 * Resources are named as in the store: "pods", "deployments.apps".
 */

#include "api/resource-list.h"
#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

/* Whether objects of the resource can be counted at all: not events, not reviews. */
bool quota_tracks(struct str gr);
/*
 * Which objects count towards a name of spec.hard: "pods" for "requests.cpu", "jobs.batch" for
 * "count/jobs.batch". Empty: none that anybody knows.
 */
struct str quota_source(struct str name);
/* Whether name is measured by objects of gr. */
bool quota_measures(struct str gr, struct str name);
/* Whether the quota's scopes and scopeSelector take the object in. */
bool quota_in_scope(struct str gr, const struct json *quota, const struct json *obj);
/* What one object costs, by all names it is measured in. */
struct resource_list quota_usage(struct arena *a, struct str gr, const struct json *obj,
				 struct wall now);

/* A write that may cost something. */
struct quota_request {
	struct arena *a;
	struct str gr, sub;
	bool create;
	const struct json *obj, *old; /* old NULL when create */
	struct wall now;
};

/* Whether a write of this kind can change what is counted. */
bool quota_handles(const struct quota_request *rq);
/*
 * Against one quota (by its status). *ret_used is the new status.used; n 0: nothing changes. False:
 * it does not fit, and *ret_text says why ("exceeded quota: ...").
 */
bool quota_check(const struct quota_request *rq, const struct json *quota,
		 struct resource_list *ret_used, struct str *ret_text);

/* What the controller recounts for: a change of an object that frees or moves usage. */
bool quota_change_matters(struct str gr, const struct json *old, const struct json *obj,
			  struct wall now);
