/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The scheduler of a process: informers feed the cache and the queue, the main fiber runs one cycle
 * after another, and what it decides is carried out by binding fibers.
 */

#include "client/informer.h"
#include "io/fiber.h"
#include "scheduler/cache.h"
#include "scheduler/queue.h"
#include "scheduler/volumes.h"

struct client;
struct event_recorder;
struct log;

struct scheduler {
	struct loop *loop;
	struct client *client;
	struct event_recorder *events;
	const struct log *log;
	struct informer *pods, *nodes, *namespaces, *claims, *volumes, *classes;
	struct informer_handler on_pod, on_node, on_claim, on_volume, on_class;
	struct volumes_view volumes_view;
	struct cache cache;
	struct sched_queue queue;
	struct waitq ready;           /* active Pods, or room for another background fiber */
	struct waitq storage_changed; /* a claim or volume */
	size_t next_node;
	unsigned background; /* fibers that bind or report */
};

/* feed.c */
MUST_USE SUSPENDS struct err *scheduler_start(struct scheduler *s, struct loop *l,
					      struct client *c);
void scheduler_stop(struct scheduler *s);

/* bind.c: both return at once and work in a fiber of their own. */
void scheduler_bind(struct scheduler *s, const struct obj *pod, struct str node,
		    const struct volume_step *steps, size_t n_steps);
void scheduler_report(struct scheduler *s, const struct obj *pod, struct str message);
