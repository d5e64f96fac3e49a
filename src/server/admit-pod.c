/* SPDX-License-Identifier: Apache-2.0 */

/* What Pods are given on their way in: Priority, DefaultTolerationSeconds, RuntimeClass and
 * PodTopologyLabels. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/builtin-admission.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

static struct mirror priority_classes, runtime_classes;

static bool pod_create_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_CREATE && !ad->sub.n && str_eqz(ad->res->store_name, "pods");
}

/* A class by name: the mirror may be a turn behind, the store is not. */
static struct err *class_find(struct admission *ad, const struct mirror *m, const char *gr,
			      struct str name, const struct json **ret)
{
	const struct obj *o = mirror_find(m, STR_EMPTY, name);
	struct json *tree = NULL;

	if (o) {
		/* a copy: the object may go while the caller waits */
		*ret = json_copy(ad->rq->arena, obj_tree(o));
		return NULL;
	}
	TRY(local_get_json(ad->rq->server, ad->rq->arena, gr, STR_EMPTY, name, &tree));
	*ret = tree;
	return NULL;
}

/* ---- Priority */

/* Of several defaults the lowest counts. */
static const struct json *priority_default(struct arena *a)
{
	const struct json *best = NULL;

	map_for_each(e, &priority_classes.objs) {
		const struct json *t = obj_tree(e->val);

		if (json_bool_at(t, "globalDefault", false) &&
		    (!best || json_int_at(t, "value", 0) < json_int_at(best, "value", 0)))
			best = t;
	}
	return best ? json_copy(a, best) : NULL;
}

static struct err *priority_resolve(struct admission *ad, struct json *spec,
				    const struct json **ret)
{
	struct str name = json_str_at(spec, "priorityClassName");

	if (!name.n) {
		*ret = priority_default(ad->rq->arena);
		if (*ret)
			json_set_str(ad->rq->arena, spec, "priorityClassName", meta_name(*ret));
		return NULL;
	}
	TRY(class_find(ad, &priority_classes, "priorityclasses.scheduling.k8s.io", name, ret));
	if (!*ret)
		return admission_deny(ad, "no PriorityClass with name " STR_FMT " was found",
				      STR_ARG(name));
	return NULL;
}

static struct err *priority_set(struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");
	const struct json *class = NULL, *given = json_get(spec, "priority");
	struct str policy = STR("PreemptLowerPriority"), asked;
	int64_t value;

	TRY(priority_resolve(ad, spec, &class));
	value = json_int_at(class, "value", 0);
	if (!json_is_null(given) && json_as_int(given, 0) != value)
		return admission_deny(
			ad,
			"the integer value of priority (%lld) must not be provided in "
			"pod spec; priority admission controller computed %lld from "
			"the given PriorityClass name",
			(long long)json_as_int(given, 0), (long long)value);
	json_set_int(a, spec, "priority", value);
	if (class)
		policy = json_str_at(class, "preemptionPolicy");
	asked = json_str_at(spec, "preemptionPolicy");
	if (!policy.n)
		return NULL;
	if (asked.n && !str_eq(asked, policy))
		return admission_deny(ad,
				      "the string value of PreemptionPolicy (" STR_FMT
				      ") must not be provided in pod spec; priority admission "
				      "controller computed " STR_FMT
				      " from the given PriorityClass name",
				      STR_ARG(asked), STR_ARG(policy));
	json_set_str(a, spec, "preemptionPolicy", policy);
	return NULL;
}

/* What was set at birth stays, also when a client leaves it out. */
static void priority_keep(struct admission *ad)
{
	static const char *const names[] = { "priority", "preemptionPolicy" };
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *was = json_get(json_get(ad->old, "spec"), names[i]);

		if (was && !json_get(spec, names[i]))
			json_set(a, spec, names[i], json_copy(a, was));
	}
}

static bool priority_is_class(const struct admission *ad)
{
	return str_eqz(ad->res->store_name, "priorityclasses.scheduling.k8s.io");
}

static bool priority_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return !ad->sub.n && (ad->op == ADMISSION_CREATE || ad->op == ADMISSION_UPDATE) &&
	       (str_eqz(ad->res->store_name, "pods") || priority_is_class(ad));
}

static struct err *priority_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	if (priority_is_class(ad))
		return NULL;
	if (ad->op == ADMISSION_CREATE)
		return priority_set(ad);
	priority_keep(ad);
	return NULL;
}

static struct err *priority_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	const struct json *present;

	if (!priority_is_class(ad) || !json_bool_at(ad->obj, "globalDefault", false))
		return NULL;
	present = priority_default(ad->rq->arena);
	if (!present ||
	    (ad->op == ADMISSION_UPDATE && str_eq(meta_name(present), meta_name(ad->obj))))
		return NULL;
	return admission_deny(ad,
			      "PriorityClass " STR_FMT
			      " is already marked as default. Only one default can exist",
			      STR_ARG(meta_name(present)));
}

struct admission_plugin priority_plugin = {
	.name = "Priority",
	.wants = priority_wants,
	.mutate = priority_mutate,
	.validate = priority_validate,
};

/* ---- DefaultTolerationSeconds */

static bool tolerations_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return !ad->sub.n && str_eqz(ad->res->store_name, "pods") &&
	       (ad->op == ADMISSION_CREATE || ad->op == ADMISSION_UPDATE);
}

static bool tolerates(const struct json *tolerations, const char *key)
{
	json_for_each(it, tolerations)
	{
		struct str k = json_str_at(it.val, "key"), eff = json_str_at(it.val, "effect");

		if ((str_empty(k) || str_eqz(k, key)) &&
		    (str_empty(eff) || str_eqz(eff, "NoExecute")))
			return true;
	}
	return false;
}

static struct err *tolerations_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	static const char *const keys[] = { "node.kubernetes.io/not-ready",
					    "node.kubernetes.io/unreachable" };
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct json *t;

		if (tolerates(json_get(spec, "tolerations"), keys[i]))
			continue;
		t = json_object(a);
		json_set_str(a, t, "key", str_from(keys[i]));
		json_set_str(a, t, "operator", STR("Exists"));
		json_set_str(a, t, "effect", STR("NoExecute"));
		json_set_int(a, t, "tolerationSeconds", 300);
		json_push(json_sub_array(a, spec, "tolerations"), t);
	}
	return NULL;
}

struct admission_plugin default_tolerations_plugin = {
	.name = "DefaultTolerationSeconds",
	.wants = tolerations_wants,
	.mutate = tolerations_mutate,
};

/* ---- RuntimeClass */

/* Whether all that t tolerates is tolerated by wide too. */
static bool toleration_covers(const struct json *wide, const struct json *t)
{
	struct str key = json_str_at(wide, "key"), op = json_str_at(wide, "operator");
	struct str effect = json_str_at(wide, "effect");
	const struct json *secs = json_get(wide, "tolerationSeconds");
	const struct json *tsecs = json_get(t, "tolerationSeconds");

	if (json_equal(wide, t))
		return true;
	if (!str_eq(key, json_str_at(t, "key")) && (key.n || !str_eqz(op, "Exists")))
		return false;
	if (effect.n && !str_eq(effect, json_str_at(t, "effect")))
		return false;
	if (str_eqz(effect, "NoExecute") && secs &&
	    (!tsecs || json_as_int(tsecs, 0) > json_as_int(secs, 0)))
		return false;
	if (str_eqz(op, "Exists"))
		return true;
	return (!op.n || str_eqz(op, "Equal")) && str_eqz(json_str_at(t, "operator"), "Equal") &&
	       str_eq(json_str_at(wide, "value"), json_str_at(t, "value"));
}

static struct json *tolerations_merge(struct arena *a, const struct json *x, const struct json *y)
{
	struct json *all = json_array(a), *merged = json_array(a);

	json_for_each(it, x) json_push(all, json_copy(a, it.val));
	json_for_each(it, y) json_push(all, json_copy(a, it.val));
	json_for_each(it, all)
	{
		bool redundant = false;

		json_for_each(m, merged) redundant |= toleration_covers(m.val, it.val);
		for (size_t k = it.i + 1; k < json_len(all); k++)
			redundant |= !json_equal(json_idx(all, k), it.val) &&
				     toleration_covers(json_idx(all, k), it.val);
		if (!redundant)
			json_push(merged, json_copy(a, it.val));
	}
	return merged;
}

static bool runtime_wants(struct admission_plugin *p, const struct admission *ad)
{
	const struct json *spec;

	if (!pod_create_wants(p, ad))
		return false;
	spec = json_get(ad->obj, "spec");
	return json_get(spec, "runtimeClassName") || json_get(spec, "overhead");
}

static struct err *runtime_find(struct admission *ad, const struct json **ret)
{
	const struct json *name = json_at(ad->obj, "spec.runtimeClassName");

	*ret = NULL;
	if (!name)
		return NULL;
	TRY(class_find(ad, &runtime_classes, "runtimeclasses.node.k8s.io", json_as_str(name), ret));
	if (!*ret)
		return admission_deny(ad, "pod rejected: RuntimeClass \"" STR_FMT "\" not found",
				      STR_ARG(json_as_str(name)));
	return NULL;
}

static struct err *runtime_schedule(struct admission *ad, struct json *spec,
				    const struct json *scheduling)
{
	struct arena *a = ad->rq->arena;
	struct json *tolerations;

	json_for_each(it, json_get(scheduling, "nodeSelector"))
	{
		struct json *sel = json_sub(a, spec, "nodeSelector");
		const struct json *has = json_get_s(sel, it.key);

		if (has && !json_equal(has, it.val))
			return admission_deny(ad,
					      "conflict: runtimeClass.scheduling.nodeSelector"
					      "[" STR_FMT "] = " STR_FMT
					      "; pod.spec.nodeSelector[" STR_FMT "] = " STR_FMT,
					      STR_ARG(it.key), STR_ARG(json_as_str(it.val)),
					      STR_ARG(it.key), STR_ARG(json_as_str(has)));
		json_set_s(a, sel, it.key, json_copy(a, it.val));
	}
	tolerations = tolerations_merge(a, json_get(spec, "tolerations"),
					json_get(scheduling, "tolerations"));
	if (json_len(tolerations))
		json_set(a, spec, "tolerations", tolerations);
	return NULL;
}

static struct err *runtime_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");
	const struct json *class = NULL, *overhead, *fixed;

	TRY(runtime_find(ad, &class));
	overhead = json_get(class, "overhead");
	fixed = json_get(overhead, "podFixed");
	if (overhead) {
		if (json_len(json_get(spec, "overhead")) &&
		    !json_equal(json_get(spec, "overhead"), fixed))
			return admission_deny(ad, "pod rejected: Pod's Overhead doesn't match "
						  "RuntimeClass's defined Overhead");
		if (fixed)
			json_set(a, spec, "overhead", json_copy(a, fixed));
	}
	if (!json_get(class, "scheduling"))
		return NULL;
	return runtime_schedule(ad, spec, json_get(class, "scheduling"));
}

static struct err *runtime_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	const struct json *overhead = json_at(ad->obj, "spec.overhead"), *class = NULL, *fixed;

	TRY(runtime_find(ad, &class));
	if (!json_get(class, "overhead")) {
		if (!overhead)
			return NULL;
		return admission_deny(ad, "pod rejected: Pod Overhead set without corresponding "
					  "RuntimeClass defined Overhead");
	}
	fixed = json_at(class, "overhead.podFixed");
	if (json_len(fixed) == 0 && json_len(overhead) == 0)
		return NULL;
	if (json_equal(fixed, overhead))
		return NULL;
	return admission_deny(ad, "pod rejected: Pod's Overhead doesn't match RuntimeClass's "
				  "defined Overhead");
}

struct admission_plugin runtime_class_plugin = {
	.name = "RuntimeClass",
	.wants = runtime_wants,
	.mutate = runtime_mutate,
	.validate = runtime_validate,
};

/* ---- PodTopologyLabels: where its node is, on the Pod */

static bool topology_wants(struct admission_plugin *p, const struct admission *ad)
{
	if (ad->op != ADMISSION_CREATE || !str_eqz(ad->res->store_name, "pods"))
		return false;
	if (str_eqz(ad->sub, "binding"))
		return true;
	return pod_create_wants(p, ad) && json_str_at(ad->obj, "spec.nodeName").n;
}

static struct err *topology_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	static const char *const keys[] = { "topology.kubernetes.io/zone",
					    "topology.kubernetes.io/region" };
	struct str node = json_str_at(ad->obj, "spec.nodeName");
	_cleanup_obj_ const struct obj *o = NULL;

	if (ad->sub.n) {
		if (!str_eqz(json_str_at(ad->obj, "target.kind"), "Node"))
			return NULL;
		node = json_str_at(ad->obj, "target.name");
	}
	TRY(local_get(ad->rq->server, "nodes", STR_EMPTY, node, &o));
	for (size_t i = 0; o && i < ARRAY_LEN(keys); i++) {
		struct str v = obj_label(o, str_from(keys[i]));

		if (v.p)
			meta_set_label(ad->rq->arena, ad->obj, keys[i],
				       arena_str(ad->rq->arena, v));
	}
	return NULL;
}

struct admission_plugin pod_topology_plugin = {
	.name = "PodTopologyLabels",
	.wants = topology_wants,
	.mutate = topology_mutate,
};

struct err *admit_pod_start(struct apiserver *s)
{
	TRY(mirror_start(&priority_classes, s, "priorityclasses.scheduling.k8s.io"));
	return mirror_start(&runtime_classes, s, "runtimeclasses.node.k8s.io");
}
