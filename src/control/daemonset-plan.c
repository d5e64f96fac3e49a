/* SPDX-License-Identifier: Apache-2.0 */

#include "control/daemonset-plan.h"

#include <stdlib.h>

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "control/pods.h"
#include "json/json.h"

/* ---- which nodes fit */

struct daemon_term {
	struct selector *labels, *fields;
};

struct daemon_fit {
	struct str node_name;
	struct selector *node_selector;
	bool has_required;
	struct daemon_term *terms;
	size_t n_terms;
	const struct json *tolerations;
};

static void daemon_tolerate(struct arena *a, struct json *spec, const char *key, const char *effect)
{
	struct json *list = json_sub_array(a, spec, "tolerations"), *t = json_object(a);

	json_set_str(a, t, "key", str_from(key));
	json_set_str(a, t, "operator", STR("Exists"));
	json_set_str(a, t, "effect", str_from(effect));
	json_for_each(it, list)
	{
		if (str_eqz(json_str_at(it.val, "key"), key) &&
		    str_eqz(json_str_at(it.val, "effect"), effect) &&
		    str_eqz(json_str_at(it.val, "operator"), "Exists")) {
			json_replace_idx(list, it.i, t);
			return;
		}
	}
	json_push(list, t);
}

/* A daemon stays where other Pods would be sent away. */
static void daemon_tolerate_all(struct arena *a, struct json *spec)
{
	static const char *const conditions[] = { "disk-pressure", "memory-pressure",
						  "pid-pressure", "unschedulable" };

	daemon_tolerate(a, spec, "node.kubernetes.io/not-ready", "NoExecute");
	daemon_tolerate(a, spec, "node.kubernetes.io/unreachable", "NoExecute");
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++)
		daemon_tolerate(a, spec, arena_fmt(a, "node.kubernetes.io/%s", conditions[i]).p,
				"NoSchedule");
	if (json_bool_at(spec, "hostNetwork", false))
		daemon_tolerate(a, spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
}

/* Terms that cannot be parsed or are empty match nothing. */
static void daemon_fit_terms(struct arena *a, struct daemon_fit *f, const struct json *terms)
{
	f->terms = arena_array(a, json_len(terms) + 1, sizeof(*f->terms));
	json_for_each(it, terms)
	{
		const struct json *labels = json_get(it.val, "matchExpressions");
		const struct json *fields = json_get(it.val, "matchFields");
		struct daemon_term t;
		struct err *e;

		if (!json_len(labels) && !json_len(fields))
			continue;
		e = node_selector_from_json(a, labels, &t.labels);
		if (!e)
			e = node_selector_from_json(a, fields, &t.fields);
		if (!e)
			f->terms[f->n_terms++] = t;
		err_ignore(e, "as upstream: it matches nothing");
	}
}

struct daemon_fit *daemon_fit_new(struct arena *a, const struct json *set)
{
	struct daemon_fit *f = arena_new_obj(a, struct daemon_fit);
	const struct json *old = json_at(set, "spec.template.spec"), *required;
	struct json *spec = old ? json_copy(a, old) : json_object(a);

	daemon_tolerate_all(a, spec);
	f->tolerations = json_get(spec, "tolerations");
	f->node_name = json_str_at(spec, "nodeName");
	if (json_len(json_get(spec, "nodeSelector")))
		f->node_selector = label_selector_from_map(a, json_get(spec, "nodeSelector"));
	required = json_at(spec,
			   "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
	f->has_required = json_is(required, JSON_OBJECT);
	daemon_fit_terms(a, f, json_get(required, "nodeSelectorTerms"));
	return f;
}

static bool daemon_fits_labels(struct arena *a, const struct daemon_fit *f, const struct json *node)
{
	const struct json *labels = meta_labels(node);
	struct json *fields;

	if (!str_empty(f->node_name) && !str_eq(f->node_name, meta_name(node)))
		return false;
	if (f->node_selector && !selector_matches(f->node_selector, labels))
		return false;
	if (!f->has_required)
		return true;
	fields = json_object(a);
	json_set_str(a, fields, "metadata.name", meta_name(node));
	for (size_t i = 0; i < f->n_terms; i++) {
		if (selector_matches(f->terms[i].labels, labels) &&
		    selector_matches(f->terms[i].fields, fields))
			return true;
	}
	return false;
}

static bool daemon_tolerates(const struct daemon_fit *f, const struct json *taint)
{
	json_for_each(it, f->tolerations)
	{
		if (pod_toleration_covers(it.val, taint))
			return true;
	}
	return false;
}

void daemon_fits(struct arena *a, const struct daemon_fit *f, const struct json *node, bool *run,
		 bool *keep)
{
	*run = *keep = daemon_fits_labels(a, f, node);
	if (!*run)
		return;
	json_for_each(it, json_at(node, "spec.taints"))
	{
		struct str effect = json_str_at(it.val, "effect");

		if (str_eqz(effect, "PreferNoSchedule") || daemon_tolerates(f, it.val))
			continue;
		*run = false;
		if (str_eqz(effect, "NoExecute"))
			*keep = false;
	}
}

/* ---- Pods */

struct str daemon_pod_node(const struct json *pod)
{
	struct str name = json_str_at(pod, "spec.nodeName");
	const struct json *required;

	if (!str_empty(name))
		return name;
	required = json_at(json_at(pod, "spec.affinity.nodeAffinity"),
			   "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
	json_for_each(term, required)
	{
		json_for_each(f, json_get(term.val, "matchFields"))
		{
			if (str_eqz(json_str_at(f.val, "key"), "metadata.name") &&
			    str_eqz(json_str_at(f.val, "operator"), "In") &&
			    json_len(json_get(f.val, "values")) == 1)
				return json_as_str(json_idx(json_get(f.val, "values"), 0));
		}
	}
	return STR_EMPTY;
}

/* The scheduler places it there and nowhere else. */
static void daemon_pin(struct arena *a, struct json *spec, struct str node)
{
	struct json *terms = json_array(a), *term = json_object(a), *field = json_object(a);
	struct json *required =
		json_sub(a, json_sub(a, json_sub(a, spec, "affinity"), "nodeAffinity"),
			 "requiredDuringSchedulingIgnoredDuringExecution");

	json_set_str(a, field, "key", STR("metadata.name"));
	json_set_str(a, field, "operator", STR("In"));
	json_push(json_sub_array(a, field, "values"), json_strcpy(a, node));
	json_push(json_sub_array(a, term, "matchFields"), field);
	json_push(terms, term);
	json_set(a, required, "nodeSelectorTerms", terms);
}

static struct str daemon_generation(const struct json *set)
{
	struct str g = meta_annotation(set, "deprecated.daemonset.template.generation");
	int64_t n;

	return str_to_i64(g, &n) ? g : STR_EMPTY;
}

struct json *daemon_make_pod(struct arena *a, const struct json *set, struct str hash,
			     struct str node)
{
	static const char *const kept[] = { "labels", "annotations", "finalizers" };
	const struct json *template = json_at(set, "spec.template");
	struct json *pod = json_object(a), *meta;
	struct str generation = daemon_generation(set);

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	meta = json_sub(a, pod, "metadata");
	json_set(a, meta, "generateName", json_strf(a, STR_FMT "-", STR_ARG(meta_name(set))));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(set)));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	if (!str_empty(generation))
		meta_set_label(a, pod, DAEMON_GENERATION, arena_str(a, generation));
	meta_set_label(a, pod, DAEMON_HASH, arena_str(a, hash));
	meta_set_controller(a, pod, set, STR("apps/v1"), STR("DaemonSet"));
	if (json_get(template, "spec"))
		json_set(a, pod, "spec", json_copy(a, json_get(template, "spec")));
	daemon_tolerate_all(a, json_sub(a, pod, "spec"));
	daemon_pin(a, json_get(pod, "spec"), node);
	return pod;
}

/* ---- the plan */

static int64_t daemon_count(const struct json *v, int64_t of)
{
	struct str text = json_as_str(v);
	int64_t n;

	if (!str_has_suffix(text, STR("%")))
		return json_as_int(v, 0);
	return str_to_i64(str_sub(text, 0, text.n - 1), &n) ? (n * of + 99) / 100 : 0;
}

static void daemon_bounds(struct daemon_plan *p)
{
	const struct json *u = json_at(p->set, "spec.updateStrategy.rollingUpdate");

	if (!str_eqz(json_str_at(p->set, "spec.updateStrategy.type"), "RollingUpdate"))
		return;
	p->max_unavailable = daemon_count(json_get(u, "maxUnavailable"), p->desired);
	p->max_surge = daemon_count(json_get(u, "maxSurge"), p->desired);
	p->surges = daemon_count(json_get(u, "maxSurge"), 1) > 0;
	if (p->desired && !p->max_unavailable && !p->max_surge)
		p->max_unavailable = 1;
}

static void daemon_judge(struct daemon_plan *p, struct daemon_pod *pod, struct wall now)
{
	const struct json *status = json_get(pod->obj, "status");
	int64_t min_ready = json_int_at(p->set, "spec.minReadySeconds", 0), ms = 0;
	struct str generation = daemon_generation(p->set);
	struct wall since;

	pod->updated =
		(!str_empty(p->hash) && str_eq(meta_label(pod->obj, DAEMON_HASH), p->hash)) ||
		(!str_empty(generation) &&
		 str_eq(meta_label(pod->obj, DAEMON_GENERATION), generation));
	pod->ready = condition_is_true(status, "Ready");
	if (!pod->ready)
		return;
	if (min_ready > 0) {
		if (!wall_parse(json_str_at(condition_find(status, "Ready"), "lastTransitionTime"),
				&since))
			return;
		ms = (since.ns - now.ns) / NS_PER_MS + min_ready * 1000;
	}
	pod->available = ms <= 0;
	if (ms > 0 && (p->check_ms < 0 || ms < p->check_ms))
		p->check_ms = ms;
}

/* Older first; of equal age the one with a node. */
static bool daemon_before(const struct json *x, const struct json *y)
{
	bool nx = !str_empty(json_str_at(x, "spec.nodeName"));
	bool ny = !str_empty(json_str_at(y, "spec.nodeName"));
	int r;

	if (nx != ny)
		return nx;
	r = str_cmp(json_str_at(x, "metadata.creationTimestamp"),
		    json_str_at(y, "metadata.creationTimestamp"));
	return r ? r < 0 : str_cmp(meta_name(x), meta_name(y)) < 0;
}

static void daemon_add_pod(struct daemon_node *n, struct daemon_pod *pod)
{
	struct daemon_pod **at = &n->pods;

	while (*at && daemon_before((*at)->obj, pod->obj))
		at = &(*at)->next;
	pod->next = *at;
	*at = pod;
	n->n_pods++;
}

static bool daemon_is_over(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return meta_deleting(pod) && (str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded"));
}

void daemon_plan_init(struct arena *a, struct daemon_plan *p, const struct json *set,
		      struct str hash, const struct json *const *nodes, size_t n_nodes,
		      const struct json *const *pods, size_t n_pods, struct wall now)
{
	const struct daemon_fit *f = daemon_fit_new(a, set);
	_cleanup_map_ struct map by_name = { 0 };

	*p = (struct daemon_plan){ .set = set, .hash = hash, .check_ms = -1 };
	p->v = arena_array(a, n_nodes + n_pods + 1, sizeof(*p->v));
	for (size_t i = 0; i < n_nodes; i++) {
		struct daemon_node *n = &p->v[p->n++];

		*n = (struct daemon_node){ .name = meta_name(nodes[i]), .obj = nodes[i] };
		daemon_fits(a, f, nodes[i], &n->run, &n->keep);
		p->desired += n->run;
		map_put(&by_name, n->name, n);
	}
	for (size_t i = 0; i < n_pods; i++) {
		struct str name = daemon_pod_node(pods[i]);
		struct daemon_node *n = map_find(&by_name, name);
		struct daemon_pod *pod;

		if (str_empty(name) || daemon_is_over(pods[i]))
			continue;
		if (!n) {
			n = &p->v[p->n++];
			*n = (struct daemon_node){ .name = name };
			map_put(&by_name, name, n);
		}
		pod = arena_new_obj(a, struct daemon_pod);
		pod->obj = pods[i];
		daemon_judge(p, pod, now);
		daemon_add_pod(n, pod);
	}
	daemon_bounds(p);
}

void daemon_steps_init(struct arena *a, const struct daemon_plan *p, struct daemon_steps *s)
{
	size_t n_pods = 0;

	for (size_t i = 0; i < p->n; i++)
		n_pods += p->v[i].n_pods;
	*s = (struct daemon_steps){ .create = arena_array(a, p->n + 1, sizeof(*s->create)),
				    .remove = arena_array(a, n_pods + 1, sizeof(*s->remove)) };
}

/* ---- status */

struct daemon_counts {
	int64_t current, mis, ready, available, updated;
};

static struct daemon_counts daemon_counts(const struct daemon_plan *p)
{
	struct daemon_counts n = { 0 };

	for (size_t i = 0; i < p->n; i++) {
		const struct daemon_node *node = &p->v[i];

		if (!node->pods || !node->obj)
			continue;
		if (!node->run) {
			n.mis++;
			continue;
		}
		n.current++;
		n.ready += node->pods->ready;
		n.available += node->pods->available;
		n.updated += node->pods->updated;
	}
	return n;
}

/* Zero counts are absent, as Go leaves them out. */
static void daemon_set_count(struct arena *a, struct json *status, const char *key, int64_t n)
{
	if (n)
		json_set_int(a, status, key, n);
	else
		json_delz(status, key);
}

struct json *daemon_status(struct arena *a, const struct daemon_plan *p, int64_t collisions,
			   bool observed)
{
	const struct json *old = json_get(p->set, "status");
	struct json *status = old ? json_copy(a, old) : json_object(a);
	struct daemon_counts n = daemon_counts(p);

	json_set_int(a, status, "currentNumberScheduled", n.current);
	json_set_int(a, status, "numberMisscheduled", n.mis);
	json_set_int(a, status, "desiredNumberScheduled", p->desired);
	json_set_int(a, status, "numberReady", n.ready);
	if (observed)
		json_set_int(a, status, "observedGeneration",
			     json_int_at(p->set, "metadata.generation", 0));
	daemon_set_count(a, status, "updatedNumberScheduled", n.updated);
	daemon_set_count(a, status, "numberAvailable", n.available);
	daemon_set_count(a, status, "numberUnavailable", p->desired - n.available);
	daemon_set_count(a, status, "collisionCount", collisions);
	return json_equal(old, status) ? NULL : status;
}
