/* SPDX-License-Identifier: Apache-2.0 */

#include "scheduler/pod.h"

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

struct str pod_node(const struct json *pod)
{
	return json_str_at(pod, "spec.nodeName");
}

bool pod_is_terminal(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed");
}

bool pod_is_gated(const struct json *pod)
{
	return json_len(json_at(pod, "spec.schedulingGates")) > 0;
}

bool pod_is_ours(const struct json *pod)
{
	struct str name = json_str_at(pod, "spec.schedulerName");

	return str_empty(name) || str_eqz(name, "default-scheduler");
}

static const struct json *anti_affinity_of(const struct json *spec)
{
	return json_at(spec, "affinity.podAntiAffinity."
			     "requiredDuringSchedulingIgnoredDuringExecution");
}

bool pod_has_anti_affinity(const struct json *pod)
{
	return json_len(anti_affinity_of(json_get(pod, "spec"))) > 0;
}

static struct host_port host_port_of(const struct json *port)
{
	struct host_port p = {
		.ip = json_str_at(port, "hostIP"),
		.protocol = json_str_at(port, "protocol"),
		.port = json_int_at(port, "hostPort", 0),
	};

	if (str_empty(p.ip))
		p.ip = STR("0.0.0.0");
	if (str_empty(p.protocol))
		p.protocol = STR("TCP");
	return p;
}

void pod_host_ports(struct arena *a, const struct json *spec, struct host_port **ret, size_t *ret_n)
{
	static const char *const lists[] = { "containers", "initContainers" };
	struct host_port *p;
	size_t max = 0, n = 0;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(c, json_get(spec, lists[i]))
		{
			max += json_len(json_get(c.val, "ports"));
		}
	}
	p = arena_array(a, max + 1, sizeof(*p));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(c, json_get(spec, lists[i]))
		{
			json_for_each(port, json_get(c.val, "ports"))
			{
				p[n] = host_port_of(port.val);
				n += p[n].port > 0;
			}
		}
	}
	*ret = p;
	*ret_n = n;
}

static void decode_tolerations(struct arena *a, struct sched_pod *p)
{
	const struct json *list = json_get(p->spec, "tolerations");

	p->tolerations = arena_array(a, json_len(list) + 1, sizeof(*p->tolerations));
	json_for_each(it, list)
	{
		p->tolerations[p->n_tolerations++] = (struct toleration){
			.key = json_str_at(it.val, "key"),
			.value = json_str_at(it.val, "value"),
			.effect = json_str_at(it.val, "effect"),
			.exists = str_eqz(json_str_at(it.val, "operator"), "Exists"),
		};
	}
}

bool toleration_tolerates(const struct toleration *t, const struct taint *taint)
{
	if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect))
		return false;
	if (!str_empty(t->key) && !str_eq(t->key, taint->key))
		return false;
	return t->exists || (!str_empty(t->key) && str_eq(t->value, taint->value));
}

static struct err *decode_node_term(struct arena *a, const struct json *term, struct node_term *ret)
{
	TRY(node_selector_from_json(a, json_get(term, "matchExpressions"), &ret->labels));
	return node_selector_from_json(a, json_get(term, "matchFields"), &ret->fields);
}

static bool term_is_empty(const struct json *term)
{
	return !json_len(json_get(term, "matchExpressions")) &&
	       !json_len(json_get(term, "matchFields"));
}

static struct err *decode_node_affinity(struct arena *a, struct sched_pod *p)
{
	const struct json *aff = json_at(p->spec, "affinity.nodeAffinity");
	const struct json *req = json_get(aff, "requiredDuringSchedulingIgnoredDuringExecution");
	const struct json *pref = json_get(aff, "preferredDuringSchedulingIgnoredDuringExecution");
	const struct json *terms = json_get(req, "nodeSelectorTerms");

	if (json_len(json_get(p->spec, "nodeSelector")))
		p->node_selector = label_selector_from_map(a, json_get(p->spec, "nodeSelector"));
	p->has_required = json_is(req, JSON_OBJECT);
	p->required = arena_array(a, json_len(terms) + 1, sizeof(*p->required));
	json_for_each(it, terms)
	{
		/* A term without conditions matches nothing. */
		if (!term_is_empty(it.val))
			TRY(decode_node_term(a, it.val, &p->required[p->n_required++]));
	}
	p->preferred = arena_array(a, json_len(pref) + 1, sizeof(*p->preferred));
	json_for_each(it, pref)
	{
		const struct json *term = json_get(it.val, "preference");
		struct node_term *t = &p->preferred[p->n_preferred];

		if (term_is_empty(term))
			continue;
		TRY(decode_node_term(a, term, t));
		t->weight = json_int_at(it.val, "weight", 0);
		p->n_preferred++;
	}
	return NULL;
}

static struct err *decode_pod_terms(struct arena *a, const struct json *list, struct str ns,
				    struct pod_term **ret, size_t *ret_n)
{
	struct pod_term *t = arena_array(a, json_len(list) + 1, sizeof(*t));

	*ret = t;
	json_for_each(it, list)
	{
		const struct json *ns_sel = json_get(it.val, "namespaceSelector");

		t->namespaces = json_get(it.val, "namespaces");
		t->topology_key = json_str_at(it.val, "topologyKey");
		t->own_ns = ns;
		TRY(label_selector_from_json(a, json_get(it.val, "labelSelector"), &t->labels));
		if (json_is(ns_sel, JSON_OBJECT))
			TRY(label_selector_from_json(a, ns_sel, &t->ns_labels));
		t++;
	}
	*ret_n = (size_t)(t - *ret);
	return NULL;
}

static struct err *decode_spread(struct arena *a, struct sched_pod *p)
{
	const struct json *list = json_get(p->spec, "topologySpreadConstraints");

	p->spread = arena_array(a, json_len(list) + 1, sizeof(*p->spread));
	json_for_each(it, list)
	{
		struct spread *s = &p->spread[p->n_spread];

		if (!str_eqz(json_str_at(it.val, "whenUnsatisfiable"), "DoNotSchedule"))
			continue;
		*s = (struct spread){
			.topology_key = json_str_at(it.val, "topologyKey"),
			.max_skew = json_int_at(it.val, "maxSkew", 1),
			.min_domains = json_int_at(it.val, "minDomains", 1),
			.ignore_affinity =
				str_eqz(json_str_at(it.val, "nodeAffinityPolicy"), "Ignore"),
			.honor_taints = str_eqz(json_str_at(it.val, "nodeTaintsPolicy"), "Honor"),
		};
		TRY(label_selector_from_json(a, json_get(it.val, "labelSelector"), &s->labels));
		p->n_spread++;
	}
	return NULL;
}

struct err *pod_anti_affinity(struct arena *a, const struct obj *o, struct pod_term **ret,
			      size_t *ret_n)
{
	const struct json *spec = json_get(obj_tree(o), "spec");

	return decode_pod_terms(a, anti_affinity_of(spec), o->ns, ret, ret_n);
}

struct err *sched_pod_decode(struct arena *a, const struct obj *o, struct sched_pod *ret)
{
	const struct json *tree = obj_tree(o), *spec = json_get(tree, "spec");
	struct sched_pod p = {
		.obj = o,
		.tree = tree,
		.spec = spec,
		.ns = o->ns,
		.name = o->name,
		.uid = o->uid,
		.priority = json_int_at(spec, "priority", 0),
		.never_preempts = str_eqz(json_str_at(spec, "preemptionPolicy"), "Never"),
	};

	res_of_pod(a, spec, &p.requests, &p.n_requests);
	res_of_pod_nonzero(spec, &p.nonzero_cpu, &p.nonzero_memory);
	pod_host_ports(a, spec, &p.ports, &p.n_ports);
	decode_tolerations(a, &p);
	TRY(decode_node_affinity(a, &p));
	TRY(decode_pod_terms(a,
			     json_at(spec, "affinity.podAffinity."
					   "requiredDuringSchedulingIgnoredDuringExecution"),
			     o->ns, &p.affinity, &p.n_affinity));
	TRY(pod_anti_affinity(a, o, &p.anti_affinity, &p.n_anti_affinity));
	TRY(decode_spread(a, &p));
	*ret = p;
	return NULL;
}
