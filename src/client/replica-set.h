/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one controller of "N copies of a template": ReplicaSet over Pods and
 * VirtualMachineInstanceReplicaSet over VirtualMachineInstances are rows of ops over this core. It
 * adopts and releases members by selector, creates in batches that grow while they succeed,
 * chooses whom to delete, and keeps the status.
 */

#include "api/gvk.h"
#include "client/replica-plan.h"

struct client;
struct controller;
struct event_recorder;
struct informer;
struct loop;
struct replica_sets;

struct replica_set_ops {
	const char *name; /* of the controller, for logs */
	struct gvr set, member;
	struct str set_api_version, set_kind;
	const char *created_text; /* events: "Created pod: " and the name */
	const char *deleted_text;
	int64_t burst;        /* most creations or deletions in one sync */
	bool delete_finished; /* finished members are deleted, so that others take their place */
	bool map_selector;    /* spec.selector is a map of labels, as a ReplicationController's */
	bool supports_pause;  /* spec.paused and the condition ReplicaPaused */
	struct replica_member_ops member_ops;
	/* A new member without namespace and owner: those are added. */
	struct json *(*make)(struct arena *a, const struct json *set);
	/* Fills the counts into status, which has the old ones. */
	void (*status)(struct arena *a, const struct json *set, const struct replica_counts *n,
		       struct json *status);
};

/*
 * Borrows the informers (of ops->set and ops->member) and adds indexes to the members', so call it
 * right after they were made. Begins once they are synced.
 */
struct replica_sets *replica_sets_new(struct loop *l, struct client *c, struct event_recorder *ev,
				      const struct replica_set_ops *ops, struct informer *sets,
				      struct informer *members);
/* SUSPENDS until running syncs ended. */
struct replica_sets *replica_sets_free(struct replica_sets *r);
struct controller *replica_sets_controller(struct replica_sets *r);
