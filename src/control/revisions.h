/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ControllerRevisions: the Pod templates that a StatefulSet or DaemonSet has had, each as the
 * strategic merge patch that brings it back. Their numbers grow; the highest is the present one.
 */

#include "client/owned.h"

struct revisions {
	struct owned owned;
	const char *hash_label; /* the label that has the hash of the name */
};

/* pure */
/* {"spec":{"template":{..., "$patch":"replace"}}} with sorted keys, as upstream writes it. */
struct json *revision_data(struct arena *a, const struct json *owner);
/* The end of the name, from the data and how often it collided. */
struct str revision_hash(struct arena *a, const struct json *data, int64_t collisions);
/* "name-hash", with the name cut where it would grow too long. */
struct str revision_name(struct arena *a, const struct json *owner, struct str hash);
/* A new template from the revision. */
struct json *revision_template(struct arena *a, const struct json *revision);
void revisions_sort(struct owned_list *list);
/* Those with this data, the newest; NULL when there is none. */
const struct json *revisions_find(const struct owned_list *list, const struct json *data);
/* The number that the present one must at least have: above all others. */
int64_t revisions_next(const struct owned_list *list, const struct json *data);

/* Sorted, oldest first. */
MUST_USE SUSPENDS struct err *revisions_claim(const struct revisions *r, struct arena *a,
					      const struct json *owner, struct owned_list *ret);
/* The one of the owner's template: found, renumbered or made. *collisions is status.collisionCount
 * and may grow. */
MUST_USE SUSPENDS struct err *revisions_current(const struct revisions *r, struct arena *a,
						const struct json *owner,
						const struct owned_list *list, int64_t *collisions,
						const struct json **ret);
/* Deletes the oldest ones above spec.revisionHistoryLimit, but none that is in use. */
MUST_USE SUSPENDS struct err *revisions_trim(const struct revisions *r, struct arena *a,
					     const struct json *owner,
					     const struct owned_list *list,
					     bool (*in_use)(const struct json *revision, void *ctx),
					     void *ctx);
