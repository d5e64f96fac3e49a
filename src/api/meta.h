/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ObjectMeta on JSON trees: reading, owner references, finalizers, labels, conditions. */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

/* reading; all accept any object and answer "" or NULL for what is missing */
struct str meta_name(const struct json *obj);
struct str meta_namespace(const struct json *obj);
struct str meta_uid(const struct json *obj);
struct str meta_rv(const struct json *obj);
struct json *meta_labels(const struct json *obj);
struct json *meta_annotations(const struct json *obj);
struct str meta_label(const struct json *obj, const char *key);
struct str meta_annotation(const struct json *obj, const char *key);
bool meta_deleting(const struct json *obj);
bool meta_has_finalizer(const struct json *obj, struct str finalizer);
/* The ownerReference with controller: true, or NULL. */
const struct json *meta_controller(const struct json *obj);
bool meta_controlled_by(const struct json *obj, struct str uid);

/* changing */
void meta_set_label(struct arena *a, struct json *obj, const char *key, struct str val);
void meta_set_annotation(struct arena *a, struct json *obj, const char *key, struct str val);
/* Whether it changed anything. */
bool meta_add_finalizer(struct arena *a, struct json *obj, struct str finalizer);
bool meta_del_finalizer(struct arena *a, struct json *obj, struct str finalizer);
/* Adds a controller reference to owner (blockOwnerDeletion true). */
void meta_set_controller(struct arena *a, struct json *obj, const struct json *owner,
			 struct str api_version, struct str kind);

/* conditions: obj is the status object; array member "conditions" keyed by type */
const struct json *condition_find(const struct json *status, const char *type);
bool condition_is_true(const struct json *status, const char *type);
/*
 * Sets type to status ("True", "False", "Unknown"); lastTransitionTime moves only when the
 * status changes. reason and message may be empty (left out). True when anything changed.
 */
bool condition_set(struct arena *a, struct json *status, const char *type, const char *value,
		   struct str reason, struct str message, struct wall now);
bool condition_del(struct json *status, const char *type);

/* "ns/name" or "name": the work queue's keys. */
struct str meta_key(struct arena *a, struct str ns, struct str name);
void meta_key_split(struct str key, struct str *ret_ns, struct str *ret_name);
