/* SPDX-License-Identifier: Apache-2.0 */

#include "client/controller.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "json/json.h"

/*
 *                    enqueue_after / back-off
 *              .------------- WAITING <------------.
 *              v                                   | error
 *     IDLE -> READY -> RUNNING ---------------------'
 *      ^       ^          | done, dirty (enqueued meanwhile)
 *      |       '----------|
 *      '------------------' done, clean: the item is forgotten
 *
 * An item is in the map exactly while it is not IDLE or has failures to remember.
 */

#define CONTROLLER_WORKERS        4
#define CONTROLLER_SYNC_MS        60000
#define CONTROLLER_MIN_BACKOFF_MS 5
#define CONTROLLER_MAX_BACKOFF_MS 30000

enum item_state { ITEM_IDLE, ITEM_WAITING, ITEM_READY, ITEM_RUNNING };

struct controller_item {
	struct list link; /* ready or running */
	struct controller *controller;
	char *key;
	enum item_state state;
	bool dirty;
	unsigned retries;
	struct mono due;
	struct timer timer;
	int64_t after_ms; /* asked for while it ran; -1: not */
	struct fiber *fiber;
};

struct controller_watch {
	struct informer_handler handler;
	struct controller_watch *next;
	struct controller *controller;
	struct informer *inf;
	enum { WATCH_SELF, WATCH_OWNED, WATCH_FN } type;
	char *owner_kind;
	void (*fn)(struct controller *c, const struct obj *o, void *ctx);
	void *ctx;
};

struct controller {
	struct loop *loop;
	struct controller_opts opts;
	struct log log;
	struct map items;
	struct list ready, running;
	unsigned n_running;
	size_t n_ready;
	struct controller_watch *watches;
	struct fiber *starter;
	bool started, stopping;
};

static void controller_pump(struct controller *c);

/* items */

static void controller_item_free(struct controller_item *it)
{
	timer_cancel(&it->timer);
	list_unlink(&it->link);
	free(it->key);
	free(it);
}

static void controller_item_due(struct timer *t);

static struct controller_item *controller_item(struct controller *c, struct str key)
{
	struct controller_item *it = map_find(&c->items, key);

	if (it)
		return it;
	it = mem_new(struct controller_item);
	it->controller = c;
	it->key = mem_strdup(key);
	it->timer.fn = controller_item_due;
	it->after_ms = -1;
	list_init(&it->link);
	map_put(&c->items, key, it);
	return it;
}

static void controller_item_ready(struct controller_item *it)
{
	struct controller *c = it->controller;

	timer_cancel(&it->timer);
	it->state = ITEM_READY;
	list_push_back(&c->ready, &it->link);
	c->n_ready++;
	controller_pump(c);
}

static void controller_item_due(struct timer *t)
{
	controller_item_ready(container_of(t, struct controller_item, timer));
}

static void controller_item_wait(struct controller_item *it, int64_t ms)
{
	it->state = ITEM_WAITING;
	it->due = mono_add_ms(mono_now(), ms);
	timer_start(it->controller->loop, &it->timer, ms);
}

/* syncing */

static int64_t controller_backoff_ms(const struct controller *c, const struct controller_item *it,
				     const struct err *e)
{
	unsigned shift = MIN(it->retries - 1, 20u);
	int64_t ms = MIN((int64_t)CONTROLLER_MIN_BACKOFF_MS << shift, c->opts.max_backoff_ms);

	return MAX(ms, (int64_t)err_get_retry_after(e) * 1000);
}

static void controller_log_failure(const struct controller *c, const struct controller_item *it,
				   const struct err *e)
{
	/* a conflict means that our copy was old: the next try has a newer one */
	if (err_is(e, ERR_CONFLICT) || err_is(e, ERR_CANCELED))
		log_debug(&c->log, "sync will be tried again", KV_Z("key", it->key), KV_ERR(e));
	else
		log_warn(&c->log, "sync failed, will be tried again", KV_Z("key", it->key),
			 KV_INT("retries", it->retries), KV_ERR(e));
}

static void controller_item_done(struct controller *c, struct controller_item *it, struct err *e)
{
	int64_t after = it->after_ms;

	list_unlink(&it->link);
	c->n_running--;
	it->after_ms = -1;
	it->fiber = fiber_unref(it->fiber);
	it->state = ITEM_IDLE;
	if (e) {
		int64_t ms;

		it->retries++;
		if (!c->stopping)
			controller_log_failure(c, it, e);
		ms = controller_backoff_ms(c, it, e);
		err_ignore(e, "logged");
		after = after < 0 ? ms : MIN(after, ms);
	} else {
		it->retries = 0;
	}
	if (c->stopping)
		return;
	if (it->dirty) {
		it->dirty = false;
		controller_item_ready(it);
	} else if (after >= 0) {
		controller_item_wait(it, after);
	} else {
		map_del(&c->items, str_from(it->key));
		controller_item_free(it);
	}
	controller_pump(c);
}

static struct err *controller_sync(void *arg)
{
	struct controller_item *it = arg;
	struct controller *c = it->controller;
	struct arena *a = arena_new();
	struct err *e;

	fiber_limit_ms(c->opts.sync_timeout_ms);
	e = c->opts.sync(c->opts.ctx, a, str_from(it->key));
	arena_free(a);
	controller_item_done(c, it, e);
	return NULL;
}

static void controller_pump(struct controller *c)
{
	struct controller_item *it;

	while (c->started && !c->stopping && c->n_running < c->opts.workers &&
	       (it = list_first(&c->ready, struct controller_item, link))) {
		list_unlink(&it->link);
		list_push_back(&c->running, &it->link);
		c->n_ready--;
		c->n_running++;
		it->state = ITEM_RUNNING;
		it->fiber = fiber_spawn(c->loop, c->opts.name, controller_sync, it);
	}
}

/* lifecycle */

struct controller *controller_new(struct loop *l, const struct controller_opts *opts)
{
	struct controller *c = mem_new(struct controller);

	c->loop = l;
	c->opts = *opts;
	if (!c->opts.workers)
		c->opts.workers = CONTROLLER_WORKERS;
	if (!c->opts.sync_timeout_ms)
		c->opts.sync_timeout_ms = CONTROLLER_SYNC_MS;
	if (!c->opts.max_backoff_ms)
		c->opts.max_backoff_ms = CONTROLLER_MAX_BACKOFF_MS;
	c->log.fields[c->log.n_fields++] = KV_Z("controller", opts->name);
	list_init(&c->ready);
	list_init(&c->running);
	return c;
}

static void controller_unwatch(struct controller *c)
{
	while (c->watches) {
		struct controller_watch *w = c->watches;

		c->watches = w->next;
		list_unlink(&w->handler.link);
		free(w->owner_kind);
		free(w);
	}
}

static void controller_stop_syncs(struct controller *c)
{
	struct controller_item *it;

	list_for_each(it, &c->running, link)
		fiber_cancel(it->fiber);
	while ((it = list_first(&c->running, struct controller_item, link))) {
		struct fiber *f = it->fiber;

		/* the item lets go of its fiber itself; the join keeps the handle alive */
		it->fiber = NULL;
		err_ignore(fiber_join(f), "syncs return none");
		fiber_unref(f);
	}
}

struct controller *controller_free(struct controller *c)
{
	if (!c)
		return NULL;
	c->stopping = true;
	fiber_mask_cancel();
	if (c->starter) {
		fiber_cancel(c->starter);
		err_ignore(fiber_join(c->starter), "canceled");
		fiber_unref(c->starter);
	}
	controller_unwatch(c);
	controller_stop_syncs(c);
	fiber_unmask_cancel();
	map_for_each(e, &c->items)
		controller_item_free(e->val);
	map_fini(&c->items);
	free(c);
	return NULL;
}

/* queueing */

void controller_enqueue(struct controller *c, struct str key)
{
	struct controller_item *it;

	if (c->stopping)
		return;
	it = controller_item(c, key);
	switch (it->state) {
	case ITEM_RUNNING:
		it->dirty = true;
		break;
	case ITEM_READY:
		break;
	case ITEM_IDLE:
	case ITEM_WAITING:
		controller_item_ready(it);
		break;
	}
}

void controller_enqueue_obj(struct controller *c, const struct obj *o)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (!str_empty(o->ns)) {
		buf_add(&b, o->ns);
		buf_addc(&b, '/');
	}
	buf_add(&b, o->name);
	controller_enqueue(c, buf_str(&b));
}

void controller_enqueue_after(struct controller *c, struct str key, int64_t ms)
{
	struct controller_item *it;

	if (c->stopping)
		return;
	it = controller_item(c, key);
	ms = MAX(ms, 0);
	switch (it->state) {
	case ITEM_RUNNING:
		it->after_ms = it->after_ms < 0 ? ms : MIN(ms, it->after_ms);
		break;
	case ITEM_READY:
		break;
	case ITEM_WAITING:
		if (mono_add_ms(mono_now(), ms).ns < it->due.ns)
			controller_item_wait(it, ms);
		break;
	case ITEM_IDLE:
		controller_item_wait(it, ms);
		break;
	}
}

/* informers */

static void controller_enqueue_owner(struct controller *c, const struct obj *o,
				     const char *owner_kind)
{
	const struct json *ref = meta_controller(obj_tree(o));
	_cleanup_buf_ struct buf b = { 0 };

	if (!ref || !str_eqz(json_as_str(json_get(ref, "kind")), owner_kind))
		return;
	if (!str_empty(o->ns)) {
		buf_add(&b, o->ns);
		buf_addc(&b, '/');
	}
	buf_add(&b, json_as_str(json_get(ref, "name")));
	controller_enqueue(c, buf_str(&b));
}

static void controller_see(struct controller_watch *w, const struct obj *o)
{
	switch (w->type) {
	case WATCH_SELF:
		controller_enqueue_obj(w->controller, o);
		break;
	case WATCH_OWNED:
		controller_enqueue_owner(w->controller, o, w->owner_kind);
		break;
	case WATCH_FN:
		w->fn(w->controller, o, w->ctx);
		break;
	}
}

static void controller_on_event(struct informer_handler *h, const struct obj *old_obj,
				const struct obj *new_obj)
{
	struct controller_watch *w = container_of(h, struct controller_watch, handler);

	if (old_obj && old_obj != new_obj && (w->type != WATCH_SELF || !new_obj))
		controller_see(w, old_obj);
	if (new_obj)
		controller_see(w, new_obj);
}

static struct controller_watch *controller_add_watch(struct controller *c, struct informer *inf,
						     int type)
{
	struct controller_watch *w = mem_new(struct controller_watch);

	PRE(!c->starter);
	w->controller = c;
	w->inf = inf;
	w->type = (unsigned)type;
	w->handler.event = controller_on_event;
	w->next = c->watches;
	c->watches = w;
	return w;
}

void controller_watch(struct controller *c, struct informer *inf)
{
	informer_add_handler(inf, &controller_add_watch(c, inf, WATCH_SELF)->handler);
}

void controller_watch_owned(struct controller *c, struct informer *inf, struct str owner_kind)
{
	struct controller_watch *w = controller_add_watch(c, inf, WATCH_OWNED);

	w->owner_kind = mem_strdup(owner_kind);
	informer_add_handler(inf, &w->handler);
}

void controller_watch_fn(struct controller *c, struct informer *inf,
			 void (*fn)(struct controller *c, const struct obj *o, void *ctx),
			 void *ctx)
{
	struct controller_watch *w = controller_add_watch(c, inf, WATCH_FN);

	w->fn = fn;
	w->ctx = ctx;
	informer_add_handler(inf, &w->handler);
}

static struct err *controller_run_starter(void *arg)
{
	struct controller *c = arg;

	for (struct controller_watch *w = c->watches; w; w = w->next)
		TRY(informer_wait_synced(w->inf));
	c->started = true;
	controller_pump(c);
	return NULL;
}

void controller_start(struct controller *c)
{
	PRE(!c->starter);
	c->starter = fiber_spawn(c->loop, c->opts.name, controller_run_starter, c);
}

/* queries */

size_t controller_queue_length(const struct controller *c)
{
	return c->n_ready;
}

unsigned controller_retries(const struct controller *c, struct str key)
{
	const struct controller_item *it = map_find(&c->items, key);

	return it ? it->retries : 0;
}

const struct log *controller_log(const struct controller *c)
{
	return &c->log;
}
