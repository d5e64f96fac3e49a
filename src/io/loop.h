/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The event loop of a process: libevent behind a small face. Sources are structs embedded
 * in their owner; a callback gets its source and finds the owner with container_of. Adding
 * and removing any source from any callback is legal. One loop per thread.
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

/* Level-triggered readiness of a descriptor. */
struct io_source {
	void (*fn)(struct io_source *src, unsigned events);
	/* private */
	struct loop *loop;
	struct event *ev;
	int fd;
	unsigned events;
};

/* One shot. */
struct timer {
	void (*fn)(struct timer *t);
	/* private */
	struct loop *loop;
	struct event *ev;
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
struct loop *loop_free(struct loop *l);
/* Until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* sources: del is safe on a zeroed or already removed source */
void io_source_add(struct loop *l, struct io_source *src, int fd, unsigned events);
void io_source_set(struct io_source *src, unsigned events);
void io_source_del(struct io_source *src);
void timer_start(struct loop *l, struct timer *t, int64_t ms); /* restarts a running one */
void timer_cancel(struct timer *t);
bool timer_running(const struct timer *t);
void signal_source_add(struct loop *l, struct signal_source *s, int signo);
void signal_source_del(struct signal_source *s);
void task_post(struct loop *l, struct task *t); /* no effect when already posted */
void task_cancel(struct task *t);
/* The only call that other threads may make: posts fn(p) into the loop's thread. */
void loop_post_from_thread(struct loop *l, void (*fn)(void *p), void *p);
