/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each sync runs in a fiber of its own below the worker's, so that a deletion can cancel a sync
 * that waits for a pull or a hook; the worker then goes on with the end of the Pod.
 *
 *     running --deleted--> ending (kill, clean up, delete in the API) --gone--> freed
 *        \--final phase--> resting --deleted--> ending
 */

#include "node/pod-worker.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/informer.h"
#include "node/agent.h"
#include "node/cri.h"
#include "node/housekeeping.h"
#include "node/pod-status.h"
#include "node/pod.h"

#define RESYNC_MS    (20 * 1000)
#define RETRY_MS     1000
#define RETRY_MAX_MS (30 * 1000)
#define RELIST_MS    1000

struct pod_workers {
	struct agent *agent;
	struct list pods;
	struct map by_uid;
	struct informer_handler handler;
	struct fiber *relist;
	struct map seen; /* uid -> digest of what the runtime has, as a pointer */
};

/* pods */

void pod_wake(struct pod *p)
{
	p->dirty = true;
	waitq_wake_all(&p->wake);
}

void pod_due(struct pod *p, int64_t ms)
{
	p->next_ms = MIN(p->next_ms, MAX(ms, 1));
}

void pod_fail(struct pod *p, const char *reason, struct str message)
{
	if (p->failed_reason)
		return;
	p->failed_reason = mem_strdup(str_from(reason));
	p->failed_message = mem_strdup(message);
}

struct str pod_full_name(struct arena *a, const struct pod *p)
{
	return arena_fmt(a, "%s_%s(%s)", p->name, p->ns, p->uid);
}

static struct pod_container *pod_container_find(struct pod *p, struct str name)
{
	struct pod_container *c;

	list_for_each(c, &p->containers, link)
		if (str_eqz(name, c->name))
			return c;
	return NULL;
}

struct pod_container *pod_container_get(struct pod *p, struct str name)
{
	struct pod_container *c = pod_container_find(p, name);

	if (c)
		return c;
	c = mem_new(struct pod_container);
	c->pod = p;
	c->name = mem_strdup(name);
	list_push_back(&p->containers, &c->link);
	return c;
}

void pod_container_wait(struct pod_container *c, const char *reason, struct str message)
{
	free(c->waiting_reason);
	free(c->waiting_message);
	c->waiting_reason = reason ? mem_strdup(str_from(reason)) : NULL;
	c->waiting_message = reason ? mem_strdup(message) : NULL;
}

const struct json *pod_spec_container(const struct json *pod, struct str name, bool *ret_init)
{
	const struct json *c = json_find_by(json_at(pod, "spec.containers"), "name", name);

	if (ret_init)
		*ret_init = !c;
	return c ? c : json_find_by(json_at(pod, "spec.initContainers"), "name", name);
}

static struct pod *pod_new(struct pod_workers *w, struct str uid, struct str ns, struct str name)
{
	struct pod *p = mem_new(struct pod);

	p->agent = w->agent;
	p->uid = mem_strdup(uid);
	p->ns = mem_strdup(ns);
	p->name = mem_strdup(name);
	p->log.fields[0] = KV_Z("namespace", p->ns);
	p->log.fields[1] = KV_Z("pod", p->name);
	p->log.n_fields = 2;
	list_init(&p->containers);
	waitq_init(&p->wake);
	list_push_back(&w->pods, &p->link);
	map_put(&w->by_uid, uid, p);
	return p;
}

static void pod_free(struct pod *p)
{
	struct pod_container *c, *tmp;

	list_unlink(&p->link);
	map_del(&p->agent->workers->by_uid, str_from(p->uid));
	list_for_each_safe(c, tmp, &p->containers, link) {
		list_unlink(&c->link);
		pod_probes_stop(c);
		free(c->name);
		free(c->id);
		free(c->waiting_reason);
		free(c->waiting_message);
		free(c);
	}
	obj_unref(p->obj);
	free(p->uid);
	free(p->ns);
	free(p->name);
	free(p->status);
	free(p->failed_reason);
	free(p->failed_message);
	free(p->volumes_rv);
	map_for_each(e, &p->image_refs)
		free(e->val);
	map_fini(&p->image_refs);
	free(p);
}

/* syncs */

static bool pod_is_ours(struct str condition_type)
{
	static const char *const types[] = { "PodReadyToStartContainers", "Initialized", "Ready",
					     "ContainersReady" };

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eqz(condition_type, types[i]))
			return true;
	return false;
}

/*
 * The API object with the status we sent last, which the informer may not show yet; conditions of
 * others are theirs.
 */
static struct err *pod_object(struct pod *p, struct arena *a, struct json **ret)
{
	struct json *pod, *status, *conds, *ours;

	TRY(obj_parse(a, p->obj, STR("v1"), STR("Pod"), &pod));
	*ret = pod;
	if (!p->status)
		return NULL;
	TRY(json_parse(a, str_from(p->status), &status));
	conds = json_array(a);
	json_for_each(it, json_at(pod, "status.conditions")) if (!pod_is_ours(json_str_at(it.val,
											  "type")))
		json_push(conds, json_copy(a, it.val));
	ours = json_get(status, "conditions");
	json_for_each(it, ours) if (pod_is_ours(json_str_at(it.val, "type")))
		json_push(conds, json_copy(a, it.val));
	json_set(a, status, "conditions", conds);
	json_set(a, pod, "status", status);
	return NULL;
}

static bool pod_wants_end(const struct pod *p)
{
	return p->gone || !p->obj || p->obj->deleting;
}

static struct err *pod_sync_once(struct pod *p, struct arena *a)
{
	struct json *pod = NULL;

	if (p->obj)
		TRY(pod_object(p, a, &pod));
	if (p->syncing_end)
		return pod_end(p, a, pod);
	if (pod_phase_is_final(json_str_at(pod, "status.phase")))
		return pod_rest(p, a, pod);
	return pod_sync(p, a, pod);
}

static struct err *pod_sync_main(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return pod_sync_once(arg, a);
}

static int64_t pod_end_grace(const struct pod *p)
{
	const struct json *pod = p->obj ? obj_tree(p->obj) : NULL;

	if (p->gone || !pod)
		return 1;
	return json_int_at(pod, "metadata.deletionGracePeriodSeconds",
			   json_int_at(pod, "spec.terminationGracePeriodSeconds", 30));
}

static struct err *pod_worker_main(void *arg)
{
	struct pod *p = arg;
	int64_t retry = RETRY_MS;
	bool woken;

	while (!(p->ended && p->gone)) {
		struct err *e;

		p->dirty = false;
		p->next_ms = RESYNC_MS;
		p->syncing_end = pod_wants_end(p);
		p->end_grace = pod_end_grace(p);
		p->sync = fiber_spawn(p->agent->loop, "pod-sync", pod_sync_main, p);
		e = fiber_join(p->sync);
		p->sync = fiber_unref(p->sync);
		if (e && !err_is(e, ERR_CANCELED)) {
			err_log(&p->log, LOG_WARN, "sync failed", e);
			pod_due(p, retry);
			retry = MIN(retry * 2, RETRY_MAX_MS);
		} else {
			err_ignore(e, "cancelled by a newer state");
			retry = RETRY_MS;
		}
		TRY(fiber_check());
		if (p->dirty || (p->ended && p->gone))
			continue;
		TRY(waitq_wait_ms(&p->wake, p->next_ms, &woken));
	}
	p->worker = fiber_unref(p->worker);
	pod_free(p);
	return NULL;
}

static void pod_start_worker(struct pod *p)
{
	p->worker = fiber_spawn(p->agent->loop, "pod-worker", pod_worker_main, p);
}

/* A newer state that the running sync must not outlast. */
static void pod_changed(struct pod *p)
{
	if (p->sync && pod_wants_end(p) && (!p->syncing_end || pod_end_grace(p) < p->end_grace))
		fiber_cancel(p->sync);
	pod_wake(p);
}

/* the informer */

static void pod_workers_update(struct pod_workers *w, const struct obj *o)
{
	struct pod *p = map_find(&w->by_uid, o->uid);

	if (!p) {
		p = pod_new(w, o->uid, o->ns, o->name);
		p->obj = obj_ref(o);
		pod_start_worker(p);
		return;
	}
	obj_unref(p->obj);
	p->obj = obj_ref(o);
	p->gone = false;
	pod_changed(p);
}

static void pod_workers_gone(struct pod_workers *w, const struct obj *o)
{
	struct pod *p = map_find(&w->by_uid, o->uid);

	if (!p)
		return;
	p->gone = true;
	pod_changed(p);
}

static void pod_workers_event(struct informer_handler *h, const struct obj *old_obj,
			      const struct obj *new_obj)
{
	struct pod_workers *w = container_of(h, struct pod_workers, handler);

	/* the same name with another uid: the old one is gone */
	if (old_obj && (!new_obj || !str_eq(old_obj->uid, new_obj->uid)))
		pod_workers_gone(w, old_obj);
	if (new_obj)
		pod_workers_update(w, new_obj);
}

/* the relist */

struct relist {
	struct map digest; /* uid -> uintptr */
};

static void relist_mix(struct relist *r, struct str uid, struct str id, int state)
{
	uintptr_t sum = (uintptr_t)map_find(&r->digest, uid) >> 1;

	sum += (uintptr_t)(str_hash(id) * 31 + (uint64_t)(state + 1) * 0x9e3779b97f4a7c15) >> 2;
	/* a sum: order does not matter; never 0, which would be NULL */
	map_put(&r->digest, uid, (void *)(sum << 1 | 1));
}

/* What only the runtime knows: a Pod deleted while we were away. */
static void relist_orphan(struct pod_workers *w, const CRI(PodSandbox) * s)
{
	struct pod *p;

	if (!s->metadata || !*s->metadata->uid || map_find(&w->by_uid, str_from(s->metadata->uid)))
		return;
	p = pod_new(w, str_from(s->metadata->uid), str_from(s->metadata->namespace_),
		    str_from(s->metadata->name));
	p->gone = true;
	log_info(&p->log, "ending a pod that the API does not have");
	pod_start_worker(p);
}

static struct err *relist_once(struct pod_workers *w, struct arena *a)
{
	const CRI(ListPodSandboxResponse) * sandboxes;
	const CRI(ListContainersResponse) * containers;
	struct relist r = { 0 };

	TRY(cri_list_sandboxes(w->agent->cri, a, STR_EMPTY, &sandboxes));
	TRY(cri_list_containers(w->agent->cri, a, STR_EMPTY, &containers));
	for (size_t i = 0; i < sandboxes->n_items; i++) {
		const CRI(PodSandbox) *s = sandboxes->items[i];

		if (s->metadata)
			relist_mix(&r, str_from(s->metadata->uid), str_from(s->id), s->state);
	}
	for (size_t i = 0; i < containers->n_containers; i++) {
		const CRI(Container) *c = containers->containers[i];
		struct str uid = cri_pair_find(c->labels, c->n_labels, LABEL_POD_UID);

		if (uid.n)
			relist_mix(&r, uid, str_from(c->id), c->state);
	}
	map_for_each(e, &r.digest) {
		struct pod *p = map_find(&w->by_uid, e->key);

		if (p && map_find(&w->seen, e->key) != e->val)
			pod_wake(p);
	}
	map_fini(&w->seen);
	w->seen = r.digest;
	for (size_t i = 0; i < sandboxes->n_items; i++)
		relist_orphan(w, sandboxes->items[i]);
	return NULL;
}

static struct err *relist_main(void *arg)
{
	struct pod_workers *w = arg;
	unsigned turn = 0;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = relist_once(w, a);

		TRY(fiber_check());
		if (e)
			err_log(NULL, LOG_WARN, "cannot list what the runtime has", e);
		if (turn++ % 30 == 0)
			housekeeping(w->agent, a);
		TRY(fiber_sleep_ms(RELIST_MS));
	}
}

struct err *pod_workers_start(struct agent *ag)
{
	struct pod_workers *w = mem_new(struct pod_workers);

	w->agent = ag;
	ag->workers = w;
	list_init(&w->pods);
	TRY(informer_wait_synced(ag->pods));
	w->handler.event = pod_workers_event;
	informer_add_handler(ag->pods, &w->handler);
	/* let the handler see what is there before orphans are looked for */
	TRY(fiber_yield());
	TRY(fiber_sleep_ms(10));
	w->relist = fiber_spawn(ag->loop, "relist", relist_main, w);
	return NULL;
}

struct pod *pod_workers_find_uid(const struct agent *ag, struct str uid)
{
	return map_find(&ag->workers->by_uid, uid);
}

struct pod *pod_workers_find(const struct agent *ag, struct str ns, struct str name)
{
	struct pod *p, *old = NULL;

	list_for_each(p, &ag->workers->pods, link) {
		if (!str_eqz(ns, p->ns) || !str_eqz(name, p->name))
			continue;
		if (!p->gone)
			return p;
		old = p;
	}
	return old;
}

void pod_workers_each(const struct agent *ag, void (*fn)(struct pod *p, void *ctx), void *ctx)
{
	struct pod *p, *tmp;

	list_for_each_safe(p, tmp, &ag->workers->pods, link)
		fn(p, ctx);
}
