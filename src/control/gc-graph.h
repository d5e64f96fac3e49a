/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The garbage collector's view of everything: one metadata informer per deletable resource, kept in
 * step with discovery, and from them every object by uid and every dependent by its owner's uid.
 */

#include "api/obj.h"
#include "base/list.h"
#include "base/map.h"
#include "client/informer.h"
#include "control/discovery.h"

struct arena;
struct client;
struct gc_graph;
struct loop;

/* One resource. */
struct gc_monitor {
	struct list link;
	struct gc_graph *graph;
	char *group, *version, *resource, *kind;
	struct gvr gvr;
	bool namespaced;
	struct informer *inf;
	struct informer_index *by_owner;
	struct informer_handler handler;
	bool wanted; /* seen by the present refresh */
};

struct gc_graph {
	struct loop *loop;
	struct client *client;
	struct list monitors;
	struct map objects; /* uid -> struct gc_ref */
	struct map gone;    /* uids that were deleted: they never come back */
	/* what discovery said last */
	struct arena *arena;
	struct discovery found;
	/* an object changed; old_obj or new_obj may be NULL */
	void (*changed)(struct gc_graph *g, const struct obj *old_obj, const struct obj *new_obj,
			void *ctx);
	/* a resource came or went */
	void (*resources_changed)(struct gc_graph *g, void *ctx);
	void *ctx;
};

void gc_graph_init(struct gc_graph *g, struct loop *l, struct client *c);
/* Asks discovery again, adds and removes monitors. */
MUST_USE SUSPENDS struct err *gc_graph_refresh(struct gc_graph *g);
/* Whether every monitor has its first list. */
bool gc_graph_synced(const struct gc_graph *g);
/* Borrowed; NULL when it is not (or not yet) known. */
const struct obj *gc_graph_find(const struct gc_graph *g, struct str uid,
				const struct gc_monitor **ret_monitor);
void gc_graph_each_dependent(const struct gc_graph *g, struct str uid,
			     bool (*fn)(const struct obj *o, void *ctx), void *ctx);
void gc_graph_set_gone(struct gc_graph *g, struct str uid);
bool gc_graph_is_gone(const struct gc_graph *g, struct str uid);
