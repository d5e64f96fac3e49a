/* SPDX-License-Identifier: Apache-2.0 */

#include "scheduler/queue.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "json/json.h"

#define BACKOFF_MIN_MS  1000
#define BACKOFF_MAX_MS  10000
#define PARKED_MAX_MS   (5 * 60 * 1000)
#define FLUSH_PERIOD_MS 30000

/* ---- the heap ---- */

static bool before(const struct queued_pod *a, const struct queued_pod *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->seq < b->seq;
}

static void heap_put(struct sched_queue *q, size_t i, struct queued_pod *p)
{
	q->heap[i] = p;
	p->heap_at = i;
}

static void heap_up(struct sched_queue *q, size_t i)
{
	struct queued_pod *p = q->heap[i];

	while (i > 0 && before(p, q->heap[(i - 1) / 2])) {
		heap_put(q, i, q->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(q, i, p);
}

static void heap_down(struct sched_queue *q, size_t i)
{
	struct queued_pod *p = q->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= q->n_heap)
			break;
		if (kid + 1 < q->n_heap && before(q->heap[kid + 1], q->heap[kid]))
			kid++;
		if (!before(q->heap[kid], p))
			break;
		heap_put(q, i, q->heap[kid]);
		i = kid;
	}
	heap_put(q, i, p);
}

static void heap_remove(struct sched_queue *q, struct queued_pod *p)
{
	size_t i = p->heap_at;
	struct queued_pod *last = q->heap[--q->n_heap];

	INVARIANT(q->heap[i] == p || last == p);
	if (last == p)
		return;
	heap_put(q, i, last);
	heap_up(q, i);
	heap_down(q, last->heap_at);
}

/* ---- moving between places ---- */

static void leave(struct sched_queue *q, struct queued_pod *p)
{
	if (p->place == QUEUE_ACTIVE)
		heap_remove(q, p);
	list_unlink(&p->link);
}

static void activate(struct sched_queue *q, struct queued_pod *p)
{
	leave(q, p);
	p->place = QUEUE_ACTIVE;
	p->seq = q->seq++;
	if (q->n_heap == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 64;
		q->heap = mem_realloc(q->heap, q->cap, sizeof(*q->heap));
	}
	heap_put(q, q->n_heap++, p);
	heap_up(q, p->heap_at);
	q->ready(q->ctx);
}

static void arm(struct sched_queue *q)
{
	struct queued_pod *p;
	int64_t ms = FLUSH_PERIOD_MS;

	list_for_each(p, &q->backoff, link)
		ms = MIN(ms, -mono_ms_since(p->backoff_until));
	timer_start(q->loop, &q->timer, MAX(ms, 1));
}

static void back_off(struct sched_queue *q, struct queued_pod *p)
{
	if (mono_now().ns >= p->backoff_until.ns) {
		activate(q, p);
		return;
	}
	leave(q, p);
	p->place = QUEUE_BACKOFF;
	list_push_back(&q->backoff, &p->link);
	arm(q);
}

static void flush(struct timer *t)
{
	struct sched_queue *q = container_of(t, struct sched_queue, timer);
	struct queued_pod *p, *tmp;
	struct mono now = mono_now();

	list_for_each_safe(p, tmp, &q->backoff, link)
		if (now.ns >= p->backoff_until.ns)
			activate(q, p);
	list_for_each_safe(p, tmp, &q->unschedulable, link)
		if (mono_ms_since(p->added) > PARKED_MAX_MS)
			back_off(q, p);
	if (!list_empty(&q->backoff) || !list_empty(&q->unschedulable))
		arm(q);
}

/* ---- the face ---- */

void queue_init(struct sched_queue *q, struct loop *l, void (*ready)(void *ctx), void *ctx)
{
	*q = (struct sched_queue){ .loop = l, .ready = ready, .ctx = ctx };
	list_init(&q->backoff);
	list_init(&q->unschedulable);
	list_init(&q->in_flight);
	q->timer.fn = flush;
}

static void pod_free(struct queued_pod *p)
{
	obj_unref(p->obj);
	free(p->key);
	free(p);
}

void queue_fini(struct sched_queue *q)
{
	timer_cancel(&q->timer);
	map_for_each(e, &q->pods) {
		pod_free(e->val);
	}
	map_fini(&q->pods);
	free(q->heap);
}

struct queued_pod *queue_find(const struct sched_queue *q, struct str ns, struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return map_find(&q->pods, meta_key(a, ns, name));
}

void queue_set(struct sched_queue *q, const struct obj *pod, bool retry)
{
	struct queued_pod *p = queue_find(q, pod->ns, pod->name);

	if (p && !str_eq(p->obj->uid, pod->uid)) {
		queue_del(q, pod->ns, pod->name);
		p = NULL;
	}
	if (p) {
		obj_ref(pod);
		obj_unref(p->obj);
		p->obj = pod;
		p->moved |= retry;
		if (retry && (p->place == QUEUE_UNSCHEDULABLE || p->place == QUEUE_BACKOFF))
			back_off(q, p);
		return;
	}
	p = mem_new(struct queued_pod);
	p->obj = obj_ref(pod);
	p->key = str_empty(pod->ns)
			 ? mem_strdup(pod->name)
			 : mem_fmt(STR_FMT "/" STR_FMT, STR_ARG(pod->ns), STR_ARG(pod->name));
	p->priority = json_int_at(obj_tree(pod), "spec.priority", 0);
	p->added = mono_now();
	p->place = QUEUE_IN_FLIGHT;
	map_put(&q->pods, str_from(p->key), p);
	activate(q, p);
}

void queue_del(struct sched_queue *q, struct str ns, struct str name)
{
	struct queued_pod *p = queue_find(q, ns, name);

	if (!p)
		return;
	leave(q, p);
	map_del(&q->pods, str_from(p->key));
	pod_free(p);
}

struct queued_pod *queue_pop(struct sched_queue *q)
{
	struct queued_pod *p;

	if (!q->n_heap)
		return NULL;
	p = q->heap[0];
	heap_remove(q, p);
	p->place = QUEUE_IN_FLIGHT;
	list_push_back(&q->in_flight, &p->link);
	p->moved = false;
	p->attempts++;
	return p;
}

static void set_backoff(struct queued_pod *p)
{
	int64_t ms = BACKOFF_MIN_MS;

	for (unsigned i = 1; i < p->attempts && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	p->backoff_until = mono_add_ms(mono_now(), MIN(ms, BACKOFF_MAX_MS));
	p->added = mono_now();
}

void queue_park(struct sched_queue *q, struct queued_pod *p)
{
	PRE(p->place == QUEUE_IN_FLIGHT);
	set_backoff(p);
	if (p->moved) {
		back_off(q, p);
		return;
	}
	leave(q, p);
	p->place = QUEUE_UNSCHEDULABLE;
	list_push_back(&q->unschedulable, &p->link);
	if (!timer_running(&q->timer))
		arm(q);
}

void queue_retry(struct sched_queue *q, struct queued_pod *p)
{
	PRE(p->place == QUEUE_IN_FLIGHT);
	set_backoff(p);
	back_off(q, p);
}

void queue_move(struct sched_queue *q, bool (*wants)(const struct queued_pod *p, void *ctx),
		void *ctx)
{
	struct queued_pod *p, *tmp;

	list_for_each(p, &q->in_flight, link)
		p->moved = true;
	list_for_each_safe(p, tmp, &q->unschedulable, link)
		if (!wants || wants(p, ctx))
			back_off(q, p);
}
