/* SPDX-License-Identifier: Apache-2.0 */

#include "scheduler/cache.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "json/json.h"

void cache_init(struct cache *c)
{
	*c = (struct cache){ 0 };
	list_init(&c->anti);
}

static void pod_account(struct cached_pod *p, int sign)
{
	struct node_info *n = p->node;

	for (size_t i = 0; i < p->n_requests; i++)
		if (p->requests[i].id >= 0)
			n->used[p->requests[i].id] += sign * p->requests[i].val;
	n->used[RES_PODS] += sign;
	n->nonzero_cpu += sign * p->nonzero_cpu;
	n->nonzero_memory += sign * p->nonzero_memory;
	n->n_pods = (size_t)((int64_t)n->n_pods + sign);
	n->n_ports = (size_t)((int64_t)n->n_ports + sign * (int64_t)p->n_ports);
}

static void pod_free(struct cached_pod *p)
{
	pod_account(p, -1);
	list_unlink(&p->link);
	list_unlink(&p->anti_link);
	obj_unref(p->obj);
	free(p->requests);
	free(p->ports);
	free(p);
}

static void node_clear(struct node_info *n)
{
	n->obj = obj_unref(n->obj);
	free(n->taints);
	n->taints = NULL;
	n->n_taints = 0;
	memset(n->allocatable, 0, sizeof(n->allocatable));
}

static void node_free(struct node_info *n)
{
	node_clear(n);
	free(n->name);
	free(n);
}

void cache_fini(struct cache *c)
{
	map_for_each(e, &c->pods) {
		pod_free(e->val);
	}
	map_for_each(e, &c->by_name) {
		node_free(e->val);
	}
	map_fini(&c->pods);
	map_fini(&c->by_name);
	free(c->nodes);
}

static struct node_info *node_get(struct cache *c, struct str name)
{
	struct node_info *n = map_find(&c->by_name, name);

	if (!n) {
		n = mem_new(struct node_info);
		n->name = mem_strdup(name);
		list_init(&n->pods);
		map_put(&c->by_name, name, n);
	}
	return n;
}

static void cache_drop_if_unused(struct cache *c, struct node_info *n)
{
	if (n->obj || !list_empty(&n->pods))
		return;
	map_del(&c->by_name, str_from(n->name));
	node_free(n);
}

static void cache_list_node(struct cache *c, struct node_info *n)
{
	if (c->n_nodes == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->nodes = mem_realloc(c->nodes, c->cap, sizeof(*c->nodes));
	}
	n->index = c->n_nodes;
	c->nodes[c->n_nodes++] = n;
}

static void cache_unlist_node(struct cache *c, struct node_info *n)
{
	INVARIANT(c->nodes[n->index] == n);
	c->nodes[n->index] = c->nodes[--c->n_nodes];
	c->nodes[n->index]->index = n->index;
}

/* What a node offers may have got its number after the Pods that use it were counted. */
static void node_recount(struct node_info *n)
{
	struct cached_pod *p;

	memset(n->used, 0, sizeof(n->used));
	n->nonzero_cpu = n->nonzero_memory = 0;
	n->n_pods = n->n_ports = 0;
	list_for_each(p, &n->pods, link) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct res_request *r;

		res_of_pod(a, json_get(obj_tree(p->obj), "spec"), &r, &p->n_requests);
		free(p->requests);
		p->requests = mem_zalloc(p->n_requests + 1, sizeof(*r));
		if (p->n_requests)
			memcpy(p->requests, r, p->n_requests * sizeof(*r));
		pod_account(p, 1);
	}
}

static void node_decode(struct node_info *n)
{
	const struct json *tree = obj_tree(n->obj), *spec = json_get(tree, "spec");
	const struct json *taints = json_get(spec, "taints");

	n->unschedulable = json_bool_at(spec, "unschedulable", false);
	n->taints = mem_zalloc(json_len(taints) + 1, sizeof(*n->taints));
	json_for_each(it, taints)
	{
		n->taints[n->n_taints++] = (struct taint){
			.key = json_str_at(it.val, "key"),
			.value = json_str_at(it.val, "value"),
			.effect = json_str_at(it.val, "effect"),
		};
	}
	json_for_each(it, json_at(tree, "status.allocatable"))
	{
		bool is_new = res_id(it.key, false) < 0;
		int id = res_id(it.key, true);

		if (id >= 0 && !res_amount(id, it.val, &n->allocatable[id]))
			n->allocatable[id] = 0;
		if (is_new && id >= 0)
			node_recount(n);
	}
}

/* What a Pod's chances depend on; heartbeats change none of it. */
static bool node_differs(const struct obj *a, const struct obj *b)
{
	const struct json *x = obj_tree(a), *y = obj_tree(b);

	return !json_equal(json_get(x, "spec"), json_get(y, "spec")) ||
	       !json_equal(json_at(x, "status.allocatable"), json_at(y, "status.allocatable")) ||
	       !json_equal(meta_labels(x), meta_labels(y));
}

bool cache_set_node(struct cache *c, struct str name, const struct obj *o)
{
	struct node_info *n = node_get(c, name);
	bool was = n->obj != NULL;
	bool changed = o && (!was || node_differs(n->obj, o));

	if (o)
		obj_ref(o);
	node_clear(n);
	n->obj = o;
	if (o) {
		node_decode(n);
		if (!was)
			cache_list_node(c, n);
	} else if (was) {
		cache_unlist_node(c, n);
	}
	cache_drop_if_unused(c, n);
	return changed;
}

struct cached_pod *cache_find_pod(const struct cache *c, struct str ns, struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return map_find(&c->pods, meta_key(a, ns, name));
}

void cache_set_pod(struct cache *c, const struct obj *pod, struct str node, bool assumed)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *tree = obj_tree(pod), *spec = json_get(tree, "spec");
	struct cached_pod *p = mem_new(struct cached_pod), *old;
	struct res_request *requests;
	struct host_port *ports;

	p->obj = obj_ref(pod);
	p->assumed = assumed;
	p->priority = json_int_at(spec, "priority", 0);
	p->node = node_get(c, node);
	res_of_pod(a, spec, &requests, &p->n_requests);
	res_of_pod_nonzero(spec, &p->nonzero_cpu, &p->nonzero_memory);
	pod_host_ports(a, spec, &ports, &p->n_ports);
	p->requests = mem_zalloc(p->n_requests + 1, sizeof(*requests));
	p->ports = mem_zalloc(p->n_ports + 1, sizeof(*ports));
	if (p->n_requests)
		memcpy(p->requests, requests, p->n_requests * sizeof(*requests));
	if (p->n_ports)
		memcpy(p->ports, ports, p->n_ports * sizeof(*ports));
	list_push_back(&p->node->pods, &p->link);
	if (pod_has_anti_affinity(tree))
		list_push_back(&c->anti, &p->anti_link);
	pod_account(p, 1);
	old = map_put(&c->pods, meta_key(a, pod->ns, pod->name), p);
	if (old) {
		struct node_info *n = old->node;

		pod_free(old);
		cache_drop_if_unused(c, n);
	}
}

bool cache_del_pod(struct cache *c, struct str ns, struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cached_pod *p = map_del(&c->pods, meta_key(a, ns, name));
	struct node_info *n;

	if (!p)
		return false;
	n = p->node;
	pod_free(p);
	cache_drop_if_unused(c, n);
	return true;
}
