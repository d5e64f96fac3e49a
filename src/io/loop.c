/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * libevent watches descriptors and signals. Timers are a heap of our own: they follow
 * mono_now(), so that tests can move time, and cost no allocation; libevent is told only
 * about the earliest one.
 */

/* Rounds of tasks before descriptors get a look again. */
#define TASK_ROUNDS 16

struct posted {
	struct posted *next;
	void (*fn)(void *p);
	void *p;
};

struct loop {
	struct event_base *base;
	struct list tasks, late;
	struct event *tick; /* wakes the poll for the earliest timer */
	struct mono tick_at;
	bool tick_armed;
	struct timer **heap; /* 1-based */
	size_t n_timers, cap_timers;
	bool stop;
	/* from other threads */
	pthread_mutex_t lock;
	struct posted *posted, **posted_end;
	int wake_fd;
	struct io_source wake;
};

/* timers */

static bool loop_heap_less(const struct timer *a, const struct timer *b)
{
	return a->at.ns < b->at.ns;
}

static void loop_heap_set(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->heap_pos = i;
}

static void loop_heap_up(struct loop *l, size_t i, struct timer *t)
{
	while (i > 1 && loop_heap_less(t, l->heap[i / 2])) {
		loop_heap_set(l, i, l->heap[i / 2]);
		i /= 2;
	}
	loop_heap_set(l, i, t);
}

static void loop_heap_down(struct loop *l, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i;

		if (child > l->n_timers)
			break;
		if (child < l->n_timers && loop_heap_less(l->heap[child + 1], l->heap[child]))
			child++;
		if (!loop_heap_less(l->heap[child], t))
			break;
		loop_heap_set(l, i, l->heap[child]);
		i = child;
	}
	loop_heap_set(l, i, t);
}

static void loop_heap_fix(struct loop *l, size_t i, struct timer *t)
{
	if (i > 1 && loop_heap_less(t, l->heap[i / 2]))
		loop_heap_up(l, i, t);
	else
		loop_heap_down(l, i, t);
}

void timer_start_at(struct loop *l, struct timer *t, struct mono at)
{
	PRE(t->fn);
	t->at = at;
	if (t->heap_pos) {
		PRE(t->loop == l);
		loop_heap_fix(l, t->heap_pos, t);
		return;
	}
	t->loop = l;
	if (l->n_timers + 2 > l->cap_timers) {
		l->cap_timers = l->cap_timers ? 2 * l->cap_timers : 64;
		l->heap = mem_realloc(l->heap, l->cap_timers, sizeof(*l->heap));
	}
	loop_heap_up(l, ++l->n_timers, t);
}

void timer_start(struct loop *l, struct timer *t, int64_t ms)
{
	timer_start_at(l, t, mono_add_ms(mono_now(), ms));
}

void timer_cancel(struct timer *t)
{
	struct loop *l = t->loop;
	size_t i = t->heap_pos;
	struct timer *last;

	if (!i)
		return;
	t->heap_pos = 0;
	last = l->heap[l->n_timers--];
	if (last != t)
		loop_heap_fix(l, i, last);
}

bool timer_running(const struct timer *t)
{
	return t->heap_pos != 0;
}

static void loop_run_timers(struct loop *l)
{
	/* Timers started by these callbacks wait for the next turn, even with 0 ms. */
	struct mono now = l->n_timers ? mono_now() : (struct mono){ 0 };

	while (l->n_timers && l->heap[1]->at.ns <= now.ns) {
		struct timer *t = l->heap[1];

		timer_cancel(t);
		t->fn(t);
	}
}

/* descriptors */

static void io_source_event(evutil_socket_t fd UNUSED, short what, void *arg)
{
	struct io_source *src = arg;
	unsigned events = (what & EV_READ ? IO_READABLE : 0) | (what & EV_WRITE ? IO_WRITABLE : 0);

	events &= src->events;
	if (events)
		src->fn(src, events);
}

static void io_source_want(struct io_source *src, struct event **ev, short what, bool want)
{
	if (want && !*ev) {
		*ev = event_new(src->loop->base, src->fd, (short)(what | EV_PERSIST),
				io_source_event, src);
		ASSERT(*ev);
	}
	if (want)
		ASSERT(event_add(*ev, NULL) == 0);
	else if (*ev)
		event_del(*ev);
}

void io_source_set(struct io_source *src, unsigned events)
{
	unsigned changed = src->events ^ events;

	PRE(src->loop);
	src->events = events;
	if (changed & IO_READABLE)
		io_source_want(src, &src->ev_read, EV_READ, events & IO_READABLE);
	if (changed & IO_WRITABLE)
		io_source_want(src, &src->ev_write, EV_WRITE, events & IO_WRITABLE);
}

void io_source_add(struct loop *l, struct io_source *src, int fd, unsigned events)
{
	PRE(!src->loop && src->fn);
	src->loop = l;
	src->fd = fd;
	src->events = 0;
	io_source_set(src, events);
}

void io_source_del(struct io_source *src)
{
	if (!src->loop)
		return;
	if (src->ev_read)
		event_free(src->ev_read);
	if (src->ev_write)
		event_free(src->ev_write);
	src->ev_read = src->ev_write = NULL;
	src->events = 0;
	src->loop = NULL;
}

/* signals */

static void signal_source_event(evutil_socket_t signo, short what UNUSED, void *arg)
{
	struct signal_source *s = arg;

	s->fn(s, signo);
}

void signal_source_add(struct loop *l, struct signal_source *s, int signo)
{
	PRE(!s->loop && s->fn);
	s->loop = l;
	s->ev = evsignal_new(l->base, signo, signal_source_event, s);
	ASSERT(s->ev && event_add(s->ev, NULL) == 0);
}

void signal_source_del(struct signal_source *s)
{
	if (!s->loop)
		return;
	event_free(s->ev);
	s->ev = NULL;
	s->loop = NULL;
}

/* tasks */

void task_post(struct loop *l, struct task *t)
{
	if (!list_linked(&t->link))
		list_push_back(&l->tasks, &t->link);
}

void task_post_late(struct loop *l, struct task *t)
{
	if (!list_linked(&t->link))
		list_push_back(&l->late, &t->link);
}

void task_cancel(struct task *t)
{
	list_unlink(&t->link);
}

/* Those posted meanwhile stay for the next round. */
static void loop_run_list(struct list *tasks)
{
	struct list now;

	list_init(&now);
	if (list_empty(tasks))
		return;
	now.next = tasks->next;
	now.prev = tasks->prev;
	now.next->prev = now.prev->next = &now;
	list_init(tasks);
	while (!list_empty(&now)) {
		struct task *t = list_first(&now, struct task, link);

		list_unlink(&t->link);
		t->fn(t);
	}
}

/* other threads */

static void loop_run_posted(struct io_source *src, unsigned events UNUSED)
{
	struct loop *l = container_of(src, struct loop, wake);
	struct posted *p;
	uint64_t count;

	if (read(l->wake_fd, &count, sizeof(count)) < 0)
		ASSERT(errno == EAGAIN || errno == EINTR);
	pthread_mutex_lock(&l->lock);
	p = TAKE(l->posted);
	l->posted_end = &l->posted;
	pthread_mutex_unlock(&l->lock);
	while (p) {
		struct posted *next = p->next;

		p->fn(p->p);
		free(p);
		p = next;
	}
}

void loop_post_from_thread(struct loop *l, void (*fn)(void *p), void *p)
{
	struct posted *n = mem_new(struct posted);
	uint64_t one = 1;
	bool first;

	n->fn = fn;
	n->p = p;
	pthread_mutex_lock(&l->lock);
	first = !l->posted;
	*l->posted_end = n;
	l->posted_end = &n->next;
	pthread_mutex_unlock(&l->lock);
	/* The counter cannot overflow: only the first of a batch writes. */
	if (first)
		ASSERT(write(l->wake_fd, &one, sizeof(one)) == sizeof(one));
}

/* the loop */

static void loop_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	struct loop *l = arg;

	l->tick_armed = false;
}

struct loop *loop_new(void)
{
	struct loop *l = mem_new(struct loop);
	struct event_config *cfg = event_config_new();

	ASSERT(cfg && event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK) == 0);
	/* Our one libevent timeout is bound to mono_now() anyway. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NO_CACHE_TIME);
	l->base = event_base_new_with_config(cfg);
	ASSERT(l->base);
	event_config_free(cfg);
	l->tick = evtimer_new(l->base, loop_tick, l);
	ASSERT(l->tick);
	list_init(&l->tasks);
	list_init(&l->late);
	l->posted_end = &l->posted;
	pthread_mutex_init(&l->lock, NULL);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT(l->wake_fd >= 0);
	l->wake.fn = loop_run_posted;
	io_source_add(l, &l->wake, l->wake_fd, IO_READABLE);
	/* A peer that went away is an error from write, everywhere. */
	signal(SIGPIPE, SIG_IGN);
	return l;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	io_source_del(&l->wake);
	close(l->wake_fd);
	while (l->posted) {
		struct posted *p = l->posted;

		l->posted = p->next;
		free(p);
	}
	pthread_mutex_destroy(&l->lock);
	event_free(l->tick);
	event_base_free(l->base);
	free(l->heap);
	free(l);
	return NULL;
}

/* A tick that comes too early costs one empty turn, so it is only ever moved forward. */
static void loop_arm_tick(struct loop *l)
{
	struct mono at = l->heap[1]->at;
	struct timeval tv;
	int64_t ns;

	if (l->tick_armed && l->tick_at.ns <= at.ns)
		return;
	ns = MIN(MAX(at.ns - mono_now().ns, 0), 3600 * NS_PER_SEC) + 999;
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	l->tick_at = at;
	l->tick_armed = event_add(l->tick, &tv) == 0;
}

static void loop_poll(struct loop *l)
{
	int flags = EVLOOP_ONCE;

	if (!list_empty(&l->tasks) || !list_empty(&l->late))
		flags |= EVLOOP_NONBLOCK;
	else if (l->n_timers)
		loop_arm_tick(l);
	event_base_loop(l->base, flags);
}

void loop_run(struct loop *l)
{
	l->stop = false;
	for (;;) {
		for (int i = 0; i < TASK_ROUNDS && !list_empty(&l->tasks); i++)
			loop_run_list(&l->tasks);
		loop_run_list(&l->late);
		if (l->stop)
			return;
		loop_poll(l);
		loop_run_timers(l);
	}
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
