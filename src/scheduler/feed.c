/* SPDX-License-Identifier: Apache-2.0 */
/* From what the API says to the cache and the queue. */

#include "base/err.h"
#include "client/events.h"
#include "scheduler/scheduler.h"
#include "json/json.h"

static bool wants_volumes(const struct queued_pod *p, void *ctx)
{
	const struct json *spec = json_get(obj_tree(p->obj), "spec");

	json_for_each(it, json_get(spec, "volumes"))
	{
		if (json_get(it.val, "persistentVolumeClaim") || json_get(it.val, "ephemeral"))
			return true;
	}
	return false;
}

static bool wants_neighbours(const struct queued_pod *p, void *ctx)
{
	return json_at(obj_tree(p->obj), "spec.affinity.podAffinity") != NULL;
}

static void pod_gone(struct scheduler *s, const struct obj *pod)
{
	queue_del(&s->queue, pod->ns, pod->name);
	if (cache_del_pod(&s->cache, pod->ns, pod->name))
		queue_move(&s->queue, NULL, NULL);
}

static void pod_assigned(struct scheduler *s, const struct obj *pod, struct str node)
{
	const struct cached_pod *was = cache_find_pod(&s->cache, pod->ns, pod->name);
	bool fresh = !was || !str_eqz(node, was->node->name);

	queue_del(&s->queue, pod->ns, pod->name);
	cache_set_pod(&s->cache, pod, node, false);
	if (fresh)
		queue_move(&s->queue, wants_neighbours, NULL);
}

static bool spec_changed(const struct obj *old_pod, const struct obj *new_pod)
{
	return old_pod && !json_equal(json_get(obj_tree(old_pod), "spec"),
				      json_get(obj_tree(new_pod), "spec"));
}

static void on_pod(struct informer_handler *h, const struct obj *old_pod, const struct obj *pod)
{
	struct scheduler *s = container_of(h, struct scheduler, on_pod);
	const struct json *tree = pod ? obj_tree(pod) : NULL;
	const struct cached_pod *cached;

	if (!pod || pod_is_terminal(tree)) {
		pod_gone(s, pod ? pod : old_pod);
		return;
	}
	if (!str_empty(pod_node(tree))) {
		pod_assigned(s, pod, pod_node(tree));
		return;
	}
	/* Our decision is on its way; the Pod is not to be decided twice. */
	cached = cache_find_pod(&s->cache, pod->ns, pod->name);
	if (cached && cached->assumed && str_eq(cached->obj->uid, pod->uid))
		return;
	if (!pod_is_ours(tree) || pod_is_gated(tree) || pod->deleting) {
		queue_del(&s->queue, pod->ns, pod->name);
		return;
	}
	queue_set(&s->queue, pod, spec_changed(old_pod, pod));
}

static void on_node(struct informer_handler *h, const struct obj *old_node, const struct obj *node)
{
	struct scheduler *s = container_of(h, struct scheduler, on_node);

	if (cache_set_node(&s->cache, node ? node->name : old_node->name, node))
		queue_move(&s->queue, NULL, NULL);
}

static void storage_moved(struct scheduler *s)
{
	waitq_wake_all(&s->storage_changed);
	queue_move(&s->queue, wants_volumes, NULL);
}

static void on_claim(struct informer_handler *h, const struct obj *old_obj, const struct obj *o)
{
	storage_moved(container_of(h, struct scheduler, on_claim));
}

static void on_volume(struct informer_handler *h, const struct obj *old_obj, const struct obj *o)
{
	storage_moved(container_of(h, struct scheduler, on_volume));
}

static void on_class(struct informer_handler *h, const struct obj *old_obj, const struct obj *o)
{
	storage_moved(container_of(h, struct scheduler, on_class));
}

/* ---- lookups for the plugins ---- */

static const struct obj *find_namespace(struct str name, void *ctx)
{
	return informer_find(((struct scheduler *)ctx)->namespaces, STR_EMPTY, name);
}

static const struct obj *find_claim(struct str ns, struct str name, void *ctx)
{
	return informer_find(((struct scheduler *)ctx)->claims, ns, name);
}

static const struct obj *find_volume(struct str name, void *ctx)
{
	return informer_find(((struct scheduler *)ctx)->volumes, STR_EMPTY, name);
}

static const struct obj *find_class(struct str name, void *ctx)
{
	return informer_find(((struct scheduler *)ctx)->classes, STR_EMPTY, name);
}

static void each_volume(bool (*fn)(const struct obj *o, void *arg), void *arg, void *ctx)
{
	informer_each(((struct scheduler *)ctx)->volumes, STR_EMPTY, fn, arg);
}

static void on_ready(void *ctx)
{
	waitq_wake_all(&((struct scheduler *)ctx)->ready);
}

/* ---- starting ---- */

#define STORAGE(r) GVR("storage.k8s.io", "v1", r)

static void
watch(struct scheduler *s, struct informer **inf, struct gvr gvr, struct informer_handler *h,
      void (*fn)(struct informer_handler *h, const struct obj *old_obj, const struct obj *new_obj))
{
	struct informer_opts opts = { .gvr = gvr };

	*inf = informer_new(s->loop, s->client, &opts);
	if (!fn)
		return;
	h->event = fn;
	informer_add_handler(*inf, h);
}

struct err *scheduler_start(struct scheduler *s, struct loop *l, struct client *c)
{
	s->loop = l;
	s->client = c;
	s->events = event_recorder_new(l, c, "default-scheduler", STR_EMPTY);
	waitq_init(&s->ready);
	waitq_init(&s->storage_changed);
	cache_init(&s->cache);
	s->cache.find_namespace = find_namespace;
	s->cache.ctx = s;
	s->volumes_view =
		(struct volumes_view){ find_claim, find_volume, find_class, each_volume, s };
	queue_init(&s->queue, l, on_ready, s);
	watch(s, &s->nodes, GVR("", "v1", "nodes"), &s->on_node, on_node);
	watch(s, &s->pods, GVR("", "v1", "pods"), &s->on_pod, on_pod);
	watch(s, &s->namespaces, GVR("", "v1", "namespaces"), NULL, NULL);
	watch(s, &s->claims, GVR("", "v1", "persistentvolumeclaims"), &s->on_claim, on_claim);
	watch(s, &s->volumes, GVR("", "v1", "persistentvolumes"), &s->on_volume, on_volume);
	watch(s, &s->classes, STORAGE("storageclasses"), &s->on_class, on_class);
	TRY(informer_wait_synced(s->nodes));
	TRY(informer_wait_synced(s->namespaces));
	TRY(informer_wait_synced(s->claims));
	TRY(informer_wait_synced(s->volumes));
	TRY(informer_wait_synced(s->classes));
	return informer_wait_synced(s->pods);
}

void scheduler_stop(struct scheduler *s)
{
	struct informer *all[] = { s->pods,   s->nodes,   s->namespaces,
				   s->claims, s->volumes, s->classes };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		informer_free(all[i]);
	queue_fini(&s->queue);
	cache_fini(&s->cache);
	event_recorder_free(s->events);
}
