/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one controller pattern: informer events -> rate-limited queue of keys -> sync(key),
 * level-triggered and idempotent: desired (spec) vs actual (status, world) -> delta -> reconcile.
 *
 * sync runs in a fiber with an arena of its own and a deadline; a key is never synced twice at the
 * same time; an error re-queues the key with back-off (5 ms doubling to sync_max_backoff_ms).
 */

#include "base/str.h"
#include "client/informer.h"

struct arena;
struct controller;
struct err;
struct log;
struct loop;

struct controller_opts {
	const char *name;
	unsigned workers;        /* fibers at once; 0: 4 */
	int64_t sync_timeout_ms; /* 0: 60 s */
	int64_t max_backoff_ms;  /* 0: 30 s */
	/* SUSPENDS. key is "ns/name" or "name" (or whatever was enqueued). */
	MUST_USE struct err *(*sync)(void *ctx, struct arena *a, struct str key);
	void *ctx;
};

struct controller *controller_new(struct loop *l, const struct controller_opts *opts);
/* Cancels running syncs and waits for them. */
SUSPENDS struct controller *controller_free(struct controller *c);

/* queueing; duplicates merge; safe from anywhere on the loop */
void controller_enqueue(struct controller *c, struct str key);
void controller_enqueue_obj(struct controller *c, const struct obj *o);
void controller_enqueue_after(struct controller *c, struct str key, int64_t ms);

/* Feeds the controller from an informer: key of the object itself. */
void controller_watch(struct controller *c, struct informer *inf);
/* Key of the object's controller owner when its kind is kind. */
void controller_watch_owned(struct controller *c, struct informer *inf, struct str owner_kind);
/* Any mapping: fn enqueues. Called for the old and the new state. */
void controller_watch_fn(struct controller *c, struct informer *inf,
			 void (*fn)(struct controller *c, const struct obj *o, void *ctx),
			 void *ctx);

/* Begins syncing once all its informers are synced. */
void controller_start(struct controller *c);

/* queries */
size_t controller_queue_length(const struct controller *c);
unsigned controller_retries(const struct controller *c, struct str key);
const struct log *controller_log(const struct controller *c);
