/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

/*
 * The status of PodDisruptionBudgets: how many of the selected Pods are healthy, and how many may
 * be evicted now. Evictions themselves are granted by the API server, which counts them down.
 */

/* An eviction that was granted and whose Pod is still there counts no longer than this. */
#define DISRUPTION_TIMEOUT_NS (120 * NS_PER_SEC)

struct disruption {
	struct control *control;
	struct controller *controller;
	struct informer *budgets, *pods;
};

static const struct gvr gvr_budgets = GVR("policy", "v1", "poddisruptionbudgets");
static const struct gvr disruption_statefulsets = GVR("apps", "v1", "statefulsets");

struct disruption_sync {
	struct disruption *dr;
	struct arena *a;
	struct json *budget;
	struct selector *selector;
	struct json *pods;   /* the selected ones */
	struct json *scales; /* what controllers want, by uid */
};

/* ---- what is expected */

/* Controllers whose spec.replicas is known; Pods of others count for themselves. */
static const struct {
	const char *kind, *group;
	const struct gvr *gvr;
} disruption_scaled[] = {
	{ "ReplicaSet", "apps", &gvr_replicasets },
	{ "ReplicationController", "", &gvr_replicationcontrollers },
	{ "Deployment", "apps", &gvr_deployments },
	{ "StatefulSet", "apps", &disruption_statefulsets },
};

static const struct gvr *disruption_gvr(const struct json *ref)
{
	struct str group, version;

	if (!gv_parse(json_str_at(ref, "apiVersion"), &group, &version))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(disruption_scaled); i++) {
		if (str_eqz(json_str_at(ref, "kind"), disruption_scaled[i].kind) &&
		    str_eqz(group, disruption_scaled[i].group))
			return disruption_scaled[i].gvr;
	}
	return NULL;
}

/* The scale behind a controller reference; a Deployment's is behind its ReplicaSet's. */
static struct err *disruption_add_scale(struct disruption_sync *s, const struct json *ref)
{
	for (int hop = 0; ref && hop < 2; hop++) {
		const struct gvr *gvr = disruption_gvr(ref);
		struct str uid = json_str_at(ref, "uid");
		struct json *owner;
		struct err *e;

		if (!gvr || json_get_s(s->scales, uid))
			return NULL;
		e = client_get(s->dr->control->client, s->a, *gvr, meta_namespace(s->budget),
			       json_str_at(ref, "name"), &owner);
		if (e && err_is(e, ERR_NOT_FOUND)) {
			err_ignore(e, "its Pods are on their way out");
			return NULL;
		}
		TRY(e);
		if (!str_eq(meta_uid(owner), uid))
			return NULL;
		ref = meta_controller(owner);
		if (ref && disruption_gvr(ref))
			continue;
		json_set_s(s->a, s->scales, arena_str(s->a, uid),
			   json_int(s->a, json_int_at(owner, "spec.replicas", 1)));
		return NULL;
	}
	return NULL;
}

static struct err *disruption_expected_scale(struct disruption_sync *s, int64_t *ret)
{
	*ret = 0;
	s->scales = json_object(s->a);
	json_for_each(it, s->pods)
	{
		const struct json *ref = meta_controller(it.val);

		if (ref && disruption_gvr(ref))
			TRY(disruption_add_scale(s, ref));
		else
			(*ret)++;
	}
	json_for_each(it, s->scales) *ret += json_as_int(it.val, 0);
	return NULL;
}

static bool disruption_percent(const struct json *v, int64_t *ret)
{
	struct str text = json_as_str(v);

	return str_has_suffix(text, STR("%")) && str_to_i64(str_sub(text, 0, text.n - 1), ret);
}

static int64_t disruption_of(const struct json *v, int64_t expected)
{
	int64_t percent;

	if (disruption_percent(v, &percent))
		return (percent * expected + 99) / 100;
	return json_as_int(v, 0);
}

static struct err *disruption_wanted(struct disruption_sync *s, int64_t *ret_expected,
				     int64_t *ret_desired)
{
	const struct json *max = json_at(s->budget, "spec.maxUnavailable");
	const struct json *min = json_at(s->budget, "spec.minAvailable");
	int64_t percent;

	*ret_expected = (int64_t)json_len(s->pods);
	*ret_desired = 0;
	if (max) {
		TRY(disruption_expected_scale(s, ret_expected));
		*ret_desired = MAX(*ret_expected - disruption_of(max, *ret_expected), 0);
	} else if (min) {
		if (disruption_percent(min, &percent))
			TRY(disruption_expected_scale(s, ret_expected));
		*ret_desired = disruption_of(min, *ret_expected);
	}
	return NULL;
}

/* ---- what is */

/* Evictions granted whose Pods are still to go; *ret_ms: when one of them is forgotten, or -1. */
static struct json *disruption_pending(struct disruption_sync *s, struct wall now, int64_t *ret_ms)
{
	struct json *left = json_object(s->a);

	*ret_ms = -1;
	json_for_each(it, json_at(s->budget, "status.disruptedPods"))
	{
		struct wall at;
		bool there = false;
		int64_t ms;

		json_for_each(pod, s->pods)
		{
			there |= str_eq(meta_name(pod.val), it.key) && !meta_deleting(pod.val);
		}
		if (!there || !wall_parse(json_as_str(it.val), &at))
			continue;
		ms = (at.ns + DISRUPTION_TIMEOUT_NS - now.ns) / NS_PER_MS;
		if (ms <= 0)
			continue;
		*ret_ms = *ret_ms < 0 ? ms : MIN(ms, *ret_ms);
		json_set_s(s->a, left, it.key, json_copy(s->a, it.val));
	}
	return left;
}

static int64_t disruption_healthy(const struct disruption_sync *s, const struct json *pending)
{
	int64_t n = 0;

	json_for_each(it, s->pods)
	{
		n += !meta_deleting(it.val) && !json_get_s(pending, meta_name(it.val)) &&
		     condition_is_true(json_get(it.val, "status"), "Ready");
	}
	return n;
}

static struct err *disruption_write(struct disruption_sync *s, const struct json *status)
{
	if (json_equal(json_get(s->budget, "status"), status))
		return NULL;
	json_set_str(s->a, s->budget, "apiVersion", STR("policy/v1"));
	json_set_str(s->a, s->budget, "kind", STR("PodDisruptionBudget"));
	json_set(s->a, s->budget, "status", json_copy(s->a, status));
	return client_update(s->dr->control->client, s->a, gvr_budgets, "status", s->budget, NULL);
}

static struct err *disruption_count(struct disruption_sync *s, struct str key)
{
	const struct json *old = json_get(s->budget, "status");
	struct json *status = old ? json_copy(s->a, old) : json_object(s->a), *pending;
	int64_t expected, desired, healthy, allowed, again_ms;

	TRY(disruption_wanted(s, &expected, &desired));
	pending = disruption_pending(s, wall_now(), &again_ms);
	healthy = disruption_healthy(s, pending);
	allowed = expected > 0 ? MAX(healthy - desired, 0) : 0;
	json_set_int(s->a, status, "currentHealthy", healthy);
	json_set_int(s->a, status, "desiredHealthy", desired);
	json_set_int(s->a, status, "disruptionsAllowed", allowed);
	json_set_int(s->a, status, "expectedPods", expected);
	json_set_int(s->a, status, "observedGeneration",
		     json_int_at(s->budget, "metadata.generation", 0));
	json_delz(status, "disruptedPods");
	if (json_len(pending))
		json_set(s->a, status, "disruptedPods", pending);
	condition_set(s->a, status, "DisruptionAllowed", allowed ? "True" : "False",
		      allowed ? STR("SufficientPods") : STR("InsufficientPods"), STR_EMPTY,
		      wall_now());
	json_set_int(s->a,
		     json_find_by(json_get(status, "conditions"), "type", STR("DisruptionAllowed")),
		     "observedGeneration", json_int_at(s->budget, "metadata.generation", 0));
	if (again_ms >= 0)
		controller_enqueue_after(s->dr->controller, key, again_ms);
	return disruption_write(s, status);
}

/* ---- sync */

static struct err *disruption_selector(struct arena *a, const struct json *budget,
				       struct selector **ret)
{
	return label_selector_from_json(a, json_at(budget, "spec.selector"), ret);
}

static bool disruption_collect(const struct obj *o, void *ctx)
{
	struct disruption_sync *s = ctx;

	if (selector_matches_obj_labels(s->selector, o))
		json_push(s->pods, json_copy(s->a, obj_tree(o)));
	return true;
}

static struct err *disruption_sync(void *ctx, struct arena *a, struct str key)
{
	struct disruption *dr = ctx;
	const struct obj *o = informer_find_key(dr->budgets, key);
	struct disruption_sync s = { .dr = dr, .a = a };
	struct err *e;

	if (!o || o->deleting)
		return NULL;
	s.budget = json_copy(a, obj_tree(o));
	s.pods = json_array(a);
	TRY(disruption_selector(a, s.budget, &s.selector));
	if (json_at(s.budget, "spec.selector"))
		informer_each(dr->pods, o->ns, disruption_collect, &s);
	e = disruption_count(&s, key);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "deleted meanwhile");
		return NULL;
	}
	return e;
}

struct disruption_match {
	struct controller *controller;
	const struct obj *pod;
};

static bool disruption_enqueue_selecting(const struct obj *budget, void *ctx)
{
	const struct disruption_match *m = ctx;
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *sel;
	struct err *e = disruption_selector(a, obj_tree(budget), &sel);

	if (!e && selector_matches_obj_labels(sel, m->pod))
		controller_enqueue_obj(m->controller, budget);
	err_ignore(e, "its own sync reports a bad selector");
	return true;
}

static void disruption_route_pod(struct controller *c, const struct obj *pod, void *ctx)
{
	struct disruption *dr = ctx;
	struct disruption_match m = { c, pod };

	informer_each(dr->budgets, pod->ns, disruption_enqueue_selecting, &m);
}

void disruption_start(struct control *c)
{
	static struct disruption dr;
	const struct controller_opts opts = { .name = "disruption",
					      .sync = disruption_sync,
					      .ctx = &dr };

	dr.control = c;
	dr.controller = controller_new(c->loop, &opts);
	dr.budgets = control_informer(c, gvr_budgets);
	dr.pods = control_informer(c, gvr_pods);
	controller_watch(dr.controller, dr.budgets);
	controller_watch_fn(dr.controller, dr.pods, disruption_route_pod, &dr);
	controller_start(dr.controller);
}
