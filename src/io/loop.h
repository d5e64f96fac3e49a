/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The event loop of a process: libevent behind a small face. Sources are structs embedded
 * in their owner; a callback gets its source and finds the owner with container_of. Adding
 * and removing any source from any callback is legal. One loop per thread.
 *
 * A turn is: descriptors and signals, timers, tasks (and tasks that these posted, for a
 * bounded number of rounds), late tasks. Timers follow mono_now().
 */

#include "base/clock.h"
#include "base/list.h"

struct loop;

struct io_source;
struct timer;
struct signal_source;
struct event;

#define IO_READABLE 1u
#define IO_WRITABLE 2u

/* Level-triggered readiness of a descriptor; an error or hang-up shows as all that was asked. */
struct io_source {
	void (*fn)(struct io_source *src, unsigned events);
	/* private */
	struct loop *loop;
	struct event *ev_read, *ev_write;
	int fd;
	unsigned events;
};

/* One shot. */
struct timer {
	void (*fn)(struct timer *t);
	/* private */
	struct loop *loop;
	struct mono at;
	size_t heap_pos; /* 1-based; 0: not running */
};

struct signal_source {
	void (*fn)(struct signal_source *s, int signo);
	/* private */
	struct loop *loop;
	struct event *ev;
};

/* Runs once, later in this turn or the next; also the way to leave a deep call chain. */
struct task {
	void (*fn)(struct task *t);
	/* private */
	struct list link;
};

/* lifecycle */
struct loop *loop_new(void);
/* Nothing may be registered any more. */
struct loop *loop_free(struct loop *l);
/* Until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* sources: del is safe on a zeroed or already removed source */
void io_source_add(struct loop *l, struct io_source *src, int fd, unsigned events);
/* No events keeps it known to the loop but silent. */
void io_source_set(struct io_source *src, unsigned events);
void io_source_del(struct io_source *src);
void timer_start(struct loop *l, struct timer *t, int64_t ms); /* restarts a running one */
void timer_start_at(struct loop *l, struct timer *t, struct mono at);
void timer_cancel(struct timer *t);
bool timer_running(const struct timer *t);
void signal_source_add(struct loop *l, struct signal_source *s, int signo);
void signal_source_del(struct signal_source *s);
void task_post(struct loop *l, struct task *t); /* no effect when already posted */
/* Runs when the other work of this turn is done: flushes what the turn queued. */
void task_post_late(struct loop *l, struct task *t);
void task_cancel(struct task *t);
/* The only call that other threads may make: posts fn(p) into the loop's thread. */
void loop_post_from_thread(struct loop *l, void (*fn)(void *p), void *p);
