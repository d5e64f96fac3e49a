/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What objects of one kind own of another by selector: members that match are adopted, those that
 * no longer do are let go.
 */

#include "api/gvk.h"
#include "base/str.h"

struct arena;
struct client;
struct controller;
struct err;
struct informer;
struct informer_index;
struct json;
struct obj;

/* The caller fills in the first part, owned_init the second. */
struct owned {
	struct client *client;
	struct gvr owner;
	struct str owner_api_version, owner_kind;
	struct informer *owners, *members;
	bool map_selector; /* spec.selector is a map of labels, as a ReplicationController's */
	/* NULL: the selector alone decides. */
	bool (*fits)(const struct json *owner, const struct json *member);
	/* private */
	struct informer_index *by_owner, *orphans;
};

/* Alive until the arena ends. */
struct owned_list {
	const struct json **v;
	size_t n;
};

void owned_init(struct owned *o);
/* ret: the members as they are after it. */
MUST_USE SUSPENDS struct err *owned_claim(const struct owned *o, struct arena *a,
					  const struct json *owner, struct owned_list *ret);
/* Enqueues the owner of a member, or all that might adopt it (for controller_watch_fn; ctx is the
 * struct owned). */
void owned_route(struct controller *c, const struct obj *member, void *ctx);
