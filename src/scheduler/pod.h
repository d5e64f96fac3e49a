/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What scheduling wants to know of a Pod, decoded once per cycle into the cycle's arena. */

#include "api/obj.h"
#include "scheduler/resources.h"

struct arena;
struct err;
struct json;
struct selector;

struct host_port {
	struct str ip, protocol;
	int64_t port;
};

struct toleration {
	struct str key, value, effect;
	bool exists;
};

struct taint {
	struct str key, value, effect;
};

/* A term matches where both selectors do. */
struct node_term {
	struct selector *labels, *fields;
	int64_t weight; /* preferred terms */
};

struct pod_term {
	struct selector *labels;
	const struct json *namespaces; /* of names; empty: see below */
	struct selector *ns_labels;    /* NULL: not given */
	struct str topology_key;
	struct str own_ns; /* when neither is given */
	int64_t weight;
};

struct spread {
	struct selector *labels;
	struct str topology_key;
	int64_t max_skew, min_domains;
	bool ignore_affinity, honor_taints;
};

struct sched_pod {
	const struct obj *obj; /* borrowed */
	const struct json *tree, *spec;
	struct str ns, name, uid;
	int64_t priority;
	bool never_preempts;
	struct res_request *requests;
	size_t n_requests;
	int64_t nonzero_cpu, nonzero_memory;
	struct host_port *ports;
	size_t n_ports;
	struct toleration *tolerations;
	size_t n_tolerations;
	struct selector *node_selector; /* NULL: none */
	struct node_term *required;     /* any of them; */
	size_t n_required;
	bool has_required; /* no terms then match nothing */
	struct node_term *preferred;
	size_t n_preferred;
	struct pod_term *affinity, *anti_affinity;
	size_t n_affinity, n_anti_affinity;
	struct spread *spread; /* DoNotSchedule only */
	size_t n_spread;
};

/* BAD_REQUEST on selectors that validation should have refused. */
MUST_USE struct err *sched_pod_decode(struct arena *a, const struct obj *o, struct sched_pod *ret);

/* Cheap questions that need no decoding; pod is the tree. */
struct str pod_node(const struct json *pod);
bool pod_is_terminal(const struct json *pod);
bool pod_is_gated(const struct json *pod);
bool pod_is_ours(const struct json *pod);
bool pod_has_anti_affinity(const struct json *pod);
/* {} when absent: just the required anti-affinity terms. */
MUST_USE struct err *pod_anti_affinity(struct arena *a, const struct obj *o, struct pod_term **ret,
				       size_t *ret_n);
void pod_host_ports(struct arena *a, const struct json *spec, struct host_port **ret,
		    size_t *ret_n);
bool toleration_tolerates(const struct toleration *t, const struct taint *taint);
