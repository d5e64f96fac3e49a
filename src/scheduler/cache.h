/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The cluster as the scheduler sees it: nodes, and the Pods on them. A Pod is there when the API
 * says so (spec.nodeName), or already when we decided it and the binding is on its way (assumed). A
 * node that is known by its Pods only stays out of the list until it shows up.
 */

#include "api/obj.h"
#include "base/list.h"
#include "base/map.h"
#include "scheduler/pod.h"

struct node_info {
	const struct obj *obj; /* NULL: not registered (any more) */
	char *name;
	bool unschedulable;
	int64_t allocatable[RES_MAX], used[RES_MAX];
	int64_t nonzero_cpu, nonzero_memory;
	struct taint *taints; /* views into obj */
	size_t n_taints;
	struct list pods; /* struct cached_pod */
	size_t n_pods, n_ports;
	size_t index; /* in cache.nodes */
};

struct cached_pod {
	struct list link, anti_link;
	struct node_info *node;
	const struct obj *obj;
	bool assumed;
	int64_t priority;
	struct res_request *requests; /* ids known when it was added only */
	size_t n_requests;
	int64_t nonzero_cpu, nonzero_memory;
	struct host_port *ports; /* views into obj */
	size_t n_ports;
};

struct cache {
	struct node_info **nodes; /* registered ones */
	size_t n_nodes, cap;
	struct map by_name; /* all of them */
	struct map pods;    /* "ns/name" -> struct cached_pod */
	struct list anti;   /* those with required anti-affinity */
	/* labels of namespaces, for affinity terms; the object or NULL */
	const struct obj *(*find_namespace)(struct str name, void *ctx);
	void *ctx;
};

void cache_init(struct cache *c);
void cache_fini(struct cache *c);
/* NULL o: the node is gone. True when something changed that may make a Pod fit. */
bool cache_set_node(struct cache *c, struct str name, const struct obj *o);
/* Adds or replaces. */
void cache_set_pod(struct cache *c, const struct obj *pod, struct str node, bool assumed);
/* True when it was there. */
bool cache_del_pod(struct cache *c, struct str ns, struct str name);
struct cached_pod *cache_find_pod(const struct cache *c, struct str ns, struct str name);
