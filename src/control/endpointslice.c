/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/expectations.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/endpointslice-plan.h"
#include "json/json.h"

/* EndpointSlices of Services with a selector. Keys are Services. */

struct endpointslices {
	struct control *control;
	struct informer *services, *pods, *nodes, *slices;
	struct informer_index *by_service;
	struct informer_handler on_slice;
	struct expectations expect; /* slices made and not yet seen */
};

static bool slices_managed(const struct obj *o)
{
	return str_eqz(obj_label(o, STR("endpointslice.kubernetes.io/managed-by")),
		       SLICE_MANAGED_BY);
}

static void slices_index(const struct obj *o, void (*emit)(struct str key, void *ctx), void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str svc = obj_label(o, STR("kubernetes.io/service-name"));

	if (slices_managed(o) && !str_empty(svc))
		emit(meta_key(a, o->ns, svc), ctx);
}

/* collecting what a sync needs, as copies that outlive suspensions */

struct slices_collect {
	struct arena *arena;
	struct json *to;
	const struct selector *selector;
};

static bool slices_collect_pod(const struct obj *o, void *ctx)
{
	const struct slices_collect *c = ctx;

	if (selector_matches_obj_labels(c->selector, o))
		json_push(c->to, json_copy(c->arena, obj_tree(o)));
	return true;
}

static bool slices_collect_slice(const struct obj *o, void *ctx)
{
	const struct slices_collect *c = ctx;
	struct json *slice;

	if (o->deleting)
		return true;
	slice = json_copy(c->arena, obj_tree(o));
	json_set_first(c->arena, slice, "kind", json_str(c->arena, STR("EndpointSlice")));
	json_set_first(c->arena, slice, "apiVersion",
		       json_str(c->arena, STR("discovery.k8s.io/v1")));
	json_push(c->to, slice);
	return true;
}

static bool slices_collect_zone(const struct obj *o, void *ctx)
{
	const struct slices_collect *c = ctx;
	struct str zone = obj_label(o, STR("topology.kubernetes.io/zone"));

	if (!str_empty(zone))
		json_set_s(c->arena, c->to, arena_str(c->arena, o->name),
			   json_strcpy(c->arena, zone));
	return true;
}

/* sync */

static struct err *slices_remove(struct endpointslices *es, struct arena *a, struct str ns,
				 struct str name)
{
	struct err *e = client_delete(es->control->client, a, gvr_endpointslices, ns, name, NULL);

	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

static struct err *slices_apply(struct endpointslices *es, struct arena *a, struct str key,
				const struct slice_plan *plan)
{
	struct client *c = es->control->client;
	struct str ns;
	struct str name;

	meta_key_split(key, &ns, &name);
	expectations_set(&es->expect, key, (int)json_len(plan->create), 0);

	json_for_each(it, plan->update)
		TRY(client_update(c, a, gvr_endpointslices, NULL, it.val, NULL));
	json_for_each(it, plan->create)
	{
		struct err *e = client_create(c, a, gvr_endpointslices, ns, it.val, NULL);

		if (e)
			expectations_forget(&es->expect, key);
		if (e && control_ns_terminating(e)) {
			err_ignore(e, "the namespace is going");
			return NULL;
		}
		TRY(e);
	}
	json_for_each(it, plan->remove) TRY(slices_remove(es, a, ns, json_as_str(it.val)));
	return NULL;
}

static struct err *slices_sync(void *ctx, struct arena *a, struct str key)
{
	struct endpointslices *es = ctx;
	const struct obj *o = informer_find_key(es->services, key);
	struct slices_collect pods = { .arena = a, .to = json_array(a) };
	struct slices_collect slices = { .arena = a, .to = json_array(a) };
	struct slices_collect zones = { .arena = a, .to = json_object(a) };
	const struct json *selector;
	struct slice_plan plan;
	struct json *svc;

	/* the owner reference takes the slices of a deleted Service away */
	if (!o || o->deleting) {
		expectations_forget(&es->expect, key);
		return NULL;
	}
	if (!expectations_met(&es->expect, key))
		return NULL;
	selector = json_at(obj_tree(o), "spec.selector");
	if (!json_len(selector) || str_eqz(json_str_at(obj_tree(o), "spec.type"), "ExternalName"))
		return NULL;
	TRY(obj_parse(a, o, STR("v1"), STR("Service"), &svc));
	pods.selector = label_selector_from_map(a, json_at(svc, "spec.selector"));
	informer_each(es->pods, o->ns, slices_collect_pod, &pods);
	informer_index_each(es->by_service, key, slices_collect_slice, &slices);
	informer_each(es->nodes, STR_EMPTY, slices_collect_zone, &zones);
	plan = slice_plan_make(a, svc, pods.to, slices.to, zones.to);
	return slices_apply(es, a, key, &plan);
}

/* events */

struct slices_match {
	struct controller *controller;
	const struct obj *pod;
};

static bool slices_enqueue_selecting(const struct obj *svc, void *ctx)
{
	const struct slices_match *m = ctx;
	const struct json *selector = json_at(obj_tree(svc), "spec.selector");

	if (!json_len(selector))
		return true;
	json_for_each(it, selector)
	{
		struct str have = obj_label(m->pod, it.key);

		if (!have.p || !str_eq(have, json_as_str(it.val)))
			return true;
	}
	controller_enqueue_obj(m->controller, svc);
	return true;
}

static void slices_route_pod(struct controller *c, const struct obj *o, void *ctx)
{
	const struct endpointslices *es = ctx;
	struct slices_match m = { c, o };

	informer_each(es->services, o->ns, slices_enqueue_selecting, &m);
}

static void slices_route_slice(struct controller *c, const struct obj *o, void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (slices_managed(o))
		controller_enqueue(
			c, meta_key(a, o->ns, obj_label(o, STR("kubernetes.io/service-name"))));
}

static void slices_on_slice(struct informer_handler *h, const struct obj *old_obj,
			    const struct obj *new_obj)
{
	struct endpointslices *es = container_of(h, struct endpointslices, on_slice);
	struct arena *a;

	if (old_obj || !slices_managed(new_obj))
		return;
	a = arena_new();
	expectations_saw_add(
		&es->expect,
		meta_key(a, new_obj->ns, obj_label(new_obj, STR("kubernetes.io/service-name"))));
	arena_free(a);
}

void endpointslice_start(struct control *c)
{
	static struct endpointslices es;
	const struct controller_opts opts = {
		.name = "endpointslice", .workers = 5, .sync = slices_sync, .ctx = &es
	};
	struct controller *ctl = controller_new(c->loop, &opts);

	es.control = c;
	es.services = control_informer(c, gvr_services);
	es.pods = control_informer(c, gvr_pods);
	es.nodes = control_informer(c, gvr_nodes);
	es.slices = control_informer(c, gvr_endpointslices);
	es.by_service = informer_add_index(es.slices, slices_index);
	es.on_slice.event = slices_on_slice;
	informer_add_handler(es.slices, &es.on_slice);
	controller_watch(ctl, es.services);
	controller_watch_fn(ctl, es.pods, slices_route_pod, &es);
	controller_watch_fn(ctl, es.slices, slices_route_slice, &es);
	controller_start(ctl);
}
