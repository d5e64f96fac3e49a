/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pods that want a node:
 *
 *     add -> active (by priority, then age) -> pop -> a cycle -> bound: gone
 *              ^           ^                              |
 *              |        backoff (1 s .. 10 s)             v fits nowhere, or binding failed
 *              |           ^                              |
 *              +-----------+-- something changed -- unschedulable (5 min at most)
 */

#include "api/obj.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"

enum queue_place { QUEUE_ACTIVE, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE, QUEUE_IN_FLIGHT };

struct queued_pod {
	const struct obj *obj;
	char *key;
	int64_t priority;
	struct mono added, backoff_until;
	unsigned attempts;
	/* private */
	enum queue_place place;
	bool moved; /* something changed while it was in flight */
	struct list link;
	size_t heap_at;
	uint64_t seq;
};

struct sched_queue {
	/* Called when active becomes non-empty. */
	void (*ready)(void *ctx);
	void *ctx;
	/* private */
	struct loop *loop;
	struct map pods;
	struct queued_pod **heap;
	size_t n_heap, cap;
	struct list backoff, unschedulable, in_flight;
	struct timer timer;
	uint64_t seq;
};

void queue_init(struct sched_queue *q, struct loop *l, void (*ready)(void *ctx), void *ctx);
void queue_fini(struct sched_queue *q);
/* Adds, or replaces the object; retry moves it to active if it waits. Keeps its own reference. */
void queue_set(struct sched_queue *q, const struct obj *pod, bool retry);
void queue_del(struct sched_queue *q, struct str ns, struct str name);
/* The next one, now in flight; NULL when none is active. It stays the queue's. */
struct queued_pod *queue_pop(struct sched_queue *q);
/* The outcome of one in flight: it waits for a change, */
void queue_park(struct sched_queue *q, struct queued_pod *p);
/* or for its back-off only. */
void queue_retry(struct sched_queue *q, struct queued_pod *p);
/* Something changed that may help: all that wait get another try (wants NULL), or those it picks.
 */
void queue_move(struct sched_queue *q, bool (*wants)(const struct queued_pod *p, void *ctx),
		void *ctx);
struct queued_pod *queue_find(const struct sched_queue *q, struct str ns, struct str name);
