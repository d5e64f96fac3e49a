/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Informer: a local, always fresh copy of one resource, by list and watch (WatchList where served),
 * with relist on 410 and back-off on errors. Handlers run from the loop in event order; they
 * must not suspend: they put keys into work queues. Objects handed out are immutable (api/obj.h):
 * read them by obj_tree(), keep them by reference.
 */

#include "api/gvk.h"
#include "api/obj.h"
#include "base/list.h"

struct client;
struct err;
struct informer;
struct loop;

struct informer_opts {
	struct gvr gvr;
	struct str ns; /* empty: all */
	struct str label_selector, field_selector;
	int64_t resync_ms;  /* 0: none; else update events for everything, that often */
	bool metadata_only; /* objects hold their metadata alone, whatever the server sends */
};

/* Embed in the owner. new_obj or old_obj is NULL on add and delete. */
struct informer_handler {
	void (*event)(struct informer_handler *h, const struct obj *old_obj,
		      const struct obj *new_obj);
	/* private */
	struct list link;
};

/* Starts at once. */
struct informer *informer_new(struct loop *l, struct client *c, const struct informer_opts *opts);
struct informer *informer_free(struct informer *inf);
/* Existing objects are delivered as adds from the loop. */
void informer_add_handler(struct informer *inf, struct informer_handler *h);
/* SUSPENDS until the first list is complete. */
MUST_USE SUSPENDS struct err *informer_wait_synced(struct informer *inf);
bool informer_synced(const struct informer *inf);

/* lookups: borrowed until the next suspension */
const struct obj *informer_find(const struct informer *inf, struct str ns, struct str name);
const struct obj *informer_find_key(const struct informer *inf, struct str key); /* "ns/name" */
size_t informer_count(const struct informer *inf);
/* ns empty: all. fn returns false to stop. Insertion order. */
void informer_each(const struct informer *inf, struct str ns,
		   bool (*fn)(const struct obj *o, void *ctx), void *ctx);
/*
 * Index: fn emits the keys under which an object is found (owner uid, node name, ...). The same fn
 * is the same index, whoever asks.
 */
struct informer_index;
typedef void (*informer_index_fn)(const struct obj *o, void (*emit)(struct str key, void *ctx),
				  void *ctx);
struct informer_index *informer_add_index(struct informer *inf, informer_index_fn fn);
void informer_index_each(const struct informer_index *idx, struct str key,
			 bool (*fn)(const struct obj *o, void *ctx), void *ctx);
/* An index by controller owner's uid, ready to use. */
void informer_index_by_owner(const struct obj *o, void (*emit)(struct str key, void *ctx),
			     void *ctx);
/* One of those that no controller owns, by namespace. */
void informer_index_orphans(const struct obj *o, void (*emit)(struct str key, void *ctx),
			    void *ctx);
/* What it watches. */
struct gvr informer_gvr(const struct informer *inf);
/* Why the last list or watch failed; empty while all is well. Borrowed until the next suspension.
 */
struct str informer_last_error(const struct informer *inf);
/* The watch's present resourceVersion, for metrics and tests. */
struct str informer_rv(const struct informer *inf);
