/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Server-side apply, and who owns which field of an object (metadata.managedFields): see
 * docs/decisions/0009-managed-fields-always.md.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct fields;
struct fields_diff;
struct json;

/* One entry of managedFields. Equal: all but time and set (and an applier's version). */
struct manager {
	struct str name, sub, api_version, time;
	bool apply;
	struct fields *set;
};

struct managers {
	struct arena *a;
	struct manager *v;
	size_t n, cap;
};

/* managers */
/* managedFields as it is stored or sent; NULL is none. BAD_REQUEST when an entry is malformed. */
MUST_USE struct err *managers_parse(struct arena *a, const struct json *v, struct managers *ret);
/* Without empty ones, in order; NULL when none is left. */
struct json *managers_format(struct managers *m);
struct manager *managers_find(const struct managers *m, const struct manager *id);
/* Found or added, with an empty set. Other pointers into m end here. */
struct manager *managers_sub(struct managers *m, const struct manager *id);
/* All but except lose what changed or went. */
void managers_lose(struct managers *m, const struct manager *except,
		   const struct fields_diff *diff);
/* Of so many updaters only the latest are kept apart. */
void managers_cap(struct managers *m);
/* Equal but for times. */
bool managers_same(const struct json *x, const struct json *y);

/* requests */
/* The request as a manager, without version when it applies. */
struct manager manager_of(struct api_request *rq, bool apply);
/* Drops what nobody owns (identity, server's fields), and what the request's resource must not
 * own. */
void managed_strip(const struct api_request *rq, struct fields *f);
void managed_strip_diff(const struct api_request *rq, struct fields_diff *d);
/* The managedFields of what a create makes, which still has those that the client sent; NULL: none.
 */
struct json *managed_create(struct api_request *rq, const struct json *obj);
/*
 * An update of old to obj, which still has the managedFields the client sent: what obj shall have.
 * NULL: none, the client took them away, or there never were any.
 */
struct json *managed_track(struct api_request *rq, const struct json *obj, const struct json *old);
/* Sets or removes metadata.managedFields. */
void managed_set(struct arena *a, struct json *obj, const struct json *managed);

/* `"x" with subresource "scale" using autoscaling/v1`: as conflicts name a manager. */
struct str manager_text(struct arena *a, const struct manager *m, struct str api_version);

/* apply */
/* The body, checked; its name may be missing. SUSPENDS */
MUST_USE struct err *apply_read(struct api_request *rq, struct json **ret, bool *ret_force);
/* TOO_LARGE: more members or levels than apply merges. */
MUST_USE struct err *apply_check_size(const struct json *obj);
/* An object that is none of ours, or not of its type, as apply_read() says it. */
MUST_USE struct err *apply_check(struct api_request *rq, struct json *config);
/* What config, checked, makes of the object old, with its managedFields. CONFLICT unless forced. */
MUST_USE struct err *apply_over(struct api_request *rq, struct json *config, bool force,
				const struct json *old, struct json **ret);
/* PATCH of application/apply-patch+yaml. */
MUST_USE SUSPENDS struct err *serve_apply(struct api_request *rq);
