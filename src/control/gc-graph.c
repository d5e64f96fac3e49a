/* SPDX-License-Identifier: Apache-2.0 */

#include "control/gc-graph.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "json/json.h"

#define GC_MAX_GONE 20000

struct gc_ref {
	const struct gc_monitor *monitor;
	const struct obj *obj;
};

static char gc_gone_mark;

/* Never collected: Events expire by themselves, and are many. */
static bool gc_ignored(const struct discovered *r)
{
	return str_eqz(r->gvr.resource, "events") &&
	       (str_empty(r->gvr.group) || str_eqz(r->gvr.group, "events.k8s.io"));
}

static void gc_index_owners(const struct obj *o, void (*emit)(struct str key, void *ctx), void *ctx)
{
	json_for_each(it, json_at(obj_tree(o), "metadata.ownerReferences"))
		emit(json_as_str(json_get(it.val, "uid")), ctx);
}

/* objects */

static void gc_ref_put(struct gc_graph *g, const struct gc_monitor *m, const struct obj *o)
{
	struct gc_ref *r = map_find(&g->objects, o->uid);

	if (!r) {
		r = mem_new(struct gc_ref);
		map_put(&g->objects, o->uid, r);
	}
	r->monitor = m;
	if (r->obj)
		obj_unref(r->obj);
	r->obj = obj_ref(o);
}

/* Only if it is this resource that told of it: one object may be served under two groups. */
static void gc_ref_del(struct gc_graph *g, const struct gc_monitor *m, const struct obj *o)
{
	struct gc_ref *r = map_find(&g->objects, o->uid);

	if (!r || r->monitor != m)
		return;
	map_del(&g->objects, o->uid);
	obj_unref(r->obj);
	free(r);
}

static void gc_on_event(struct informer_handler *h, const struct obj *old_obj,
			const struct obj *new_obj)
{
	struct gc_monitor *m = container_of(h, struct gc_monitor, handler);
	struct gc_graph *g = m->graph;

	if (new_obj) {
		gc_ref_put(g, m, new_obj);
	} else {
		gc_ref_del(g, m, old_obj);
		gc_graph_set_gone(g, old_obj->uid);
	}
	g->changed(g, old_obj, new_obj, g->ctx);
	if ((!old_obj || !new_obj) && (str_eqz(m->gvr.resource, "customresourcedefinitions") ||
				       str_eqz(m->gvr.resource, "apiservices")))
		g->resources_changed(g, g->ctx);
}

/* monitors */

static void gc_monitor_add(struct gc_graph *g, const struct discovered *r)
{
	struct gc_monitor *m = mem_new(struct gc_monitor);

	m->graph = g;
	m->group = mem_strdup(r->gvr.group);
	m->version = mem_strdup(r->gvr.version);
	m->resource = mem_strdup(r->gvr.resource);
	m->kind = mem_strdup(r->kind);
	m->gvr = (struct gvr){ str_from(m->group), str_from(m->version), str_from(m->resource) };
	m->namespaced = r->namespaced;
	m->wanted = true;
	m->inf = informer_new(g->loop, g->client,
			      &(struct informer_opts){ .gvr = m->gvr, .metadata_only = true });
	m->by_owner = informer_add_index(m->inf, gc_index_owners);
	m->handler.event = gc_on_event;
	informer_add_handler(m->inf, &m->handler);
	list_push_back(&g->monitors, &m->link);
}

static bool gc_monitor_drop(const struct obj *o, void *ctx)
{
	struct gc_monitor *m = ctx;

	gc_ref_del(m->graph, m, o);
	return true;
}

static void gc_monitor_free(struct gc_monitor *m)
{
	informer_each(m->inf, STR_EMPTY, gc_monitor_drop, m);
	informer_free(m->inf);
	list_unlink(&m->link);
	free(m->group);
	free(m->version);
	free(m->resource);
	free(m->kind);
	free(m);
}

static struct gc_monitor *gc_monitor_find(struct gc_graph *g, struct str group, struct str resource)
{
	struct gc_monitor *m;

	list_for_each(m, &g->monitors, link)
		if (str_eq(m->gvr.group, group) && str_eq(m->gvr.resource, resource))
			return m;
	return NULL;
}

void gc_graph_init(struct gc_graph *g, struct loop *l, struct client *c)
{
	*g = (struct gc_graph){ .loop = l, .client = c };
	list_init(&g->monitors);
}

static void gc_graph_adjust(struct gc_graph *g)
{
	const unsigned needed = DISCOVERY_LIST | DISCOVERY_WATCH | DISCOVERY_DELETE;
	struct gc_monitor *m;
	struct gc_monitor *tmp;

	list_for_each(m, &g->monitors, link)
		m->wanted = discovery_failed_group(&g->found, m->gvr.group);
	for (size_t i = 0; i < g->found.n; i++) {
		const struct discovered *r = &g->found.v[i];

		if ((r->verbs & needed) != needed || gc_ignored(r))
			continue;
		m = gc_monitor_find(g, r->gvr.group, r->gvr.resource);
		if (m && !str_eq(m->gvr.version, r->gvr.version)) {
			gc_monitor_free(m); /* that version may be gone */
			m = NULL;
		}
		if (m)
			m->wanted = true;
		else
			gc_monitor_add(g, r);
	}
	list_for_each_safe(m, tmp, &g->monitors, link)
		if (!m->wanted)
			gc_monitor_free(m);
}

struct err *gc_graph_refresh(struct gc_graph *g)
{
	struct arena *a = arena_new();
	struct discovery found;
	struct err *e = discovery_load(g->client, a, &found);

	if (e) {
		arena_free(a);
		return e;
	}
	arena_free(g->arena);
	g->arena = a;
	g->found = found;
	gc_graph_adjust(g);
	return NULL;
}

bool gc_graph_synced(const struct gc_graph *g)
{
	const struct gc_monitor *m;

	list_for_each(m, &g->monitors, link)
		if (!informer_synced(m->inf))
			return false;
	return true;
}

/* queries */

const struct obj *gc_graph_find(const struct gc_graph *g, struct str uid,
				const struct gc_monitor **ret_monitor)
{
	const struct gc_ref *r = map_find(&g->objects, uid);

	if (!r)
		return NULL;
	if (ret_monitor)
		*ret_monitor = r->monitor;
	return r->obj;
}

void gc_graph_each_dependent(const struct gc_graph *g, struct str uid,
			     bool (*fn)(const struct obj *o, void *ctx), void *ctx)
{
	const struct gc_monitor *m;

	list_for_each(m, &g->monitors, link)
		informer_index_each(m->by_owner, uid, fn, ctx);
}

void gc_graph_set_gone(struct gc_graph *g, struct str uid)
{
	if (g->gone.n >= GC_MAX_GONE)
		map_clear(&g->gone); /* they are asked for again when needed */
	map_put(&g->gone, uid, &gc_gone_mark);
}

bool gc_graph_is_gone(const struct gc_graph *g, struct str uid)
{
	return map_find(&g->gone, uid) != NULL;
}
