/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/expectations.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/endpoints-plan.h"
#include "control/endpointslice-plan.h"
#include "json/json.h"

/*
 * EndpointSlices that mirror Endpoints which people wrote for Services without a selector. Keys are
 * Endpoints, which have the names of their Services.
 */

struct mirroring {
	struct control *control;
	struct informer *services, *endpoints, *slices;
	struct informer_index *by_endpoints;
	struct informer_handler on_slice;
	struct expectations expect; /* slices made and not yet seen */
};

static bool mirroring_owns(const struct obj *slice)
{
	return str_eqz(obj_label(slice, STR("endpointslice.kubernetes.io/managed-by")),
		       ENDPOINTS_MIRROR_MANAGER);
}

static struct str mirroring_key(struct arena *a, const struct obj *slice)
{
	return meta_key(a, slice->ns, obj_label(slice, STR("kubernetes.io/service-name")));
}

static void mirroring_index(const struct obj *o, void (*emit)(struct str key, void *ctx), void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (mirroring_owns(o))
		emit(mirroring_key(a, o), ctx);
}

/* Services with a selector have slices of their own; some Endpoints are no business of ours. */
static bool mirroring_wanted(const struct obj *service, const struct obj *endpoints)
{
	return service && endpoints && !endpoints->deleting &&
	       !json_len(json_at(obj_tree(service), "spec.selector")) &&
	       !str_eqz(obj_label(endpoints, STR(ENDPOINTS_SKIP_MIRROR)), "true") &&
	       str_empty(meta_annotation(obj_tree(endpoints), ENDPOINTS_LEADER));
}

struct mirroring_collect {
	struct arena *arena;
	struct json *to;
};

static bool mirroring_collect_slice(const struct obj *o, void *ctx)
{
	const struct mirroring_collect *c = ctx;

	if (!o->deleting)
		json_push(c->to, json_copy(c->arena, obj_tree(o)));
	return true;
}

static struct err *mirroring_settle(struct err *e)
{
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

static struct err *mirroring_apply(struct mirroring *m, struct arena *a, struct str key,
				   const struct slice_plan *plan)
{
	struct client *c = m->control->client;
	struct str ns, name;

	meta_key_split(key, &ns, &name);
	expectations_set(&m->expect, key, (int)json_len(plan->create), 0);
	json_for_each(it, plan->update)
		TRY(client_update(c, a, gvr_endpointslices, NULL, it.val, NULL));
	json_for_each(it, plan->create)
	{
		struct err *e = client_create(c, a, gvr_endpointslices, ns, it.val, NULL);

		if (e)
			expectations_forget(&m->expect, key);
		TRY(mirroring_settle(e));
	}
	json_for_each(it, plan->remove) TRY(mirroring_settle(
		client_delete(c, a, gvr_endpointslices, ns, json_as_str(it.val), NULL)));
	return NULL;
}

static struct err *mirroring_sync(void *ctx, struct arena *a, struct str key)
{
	struct mirroring *m = ctx;
	const struct obj *svc = informer_find_key(m->services, key);
	const struct obj *ep = informer_find_key(m->endpoints, key);
	struct mirroring_collect old = { a, json_array(a) };
	struct json *endpoints = json_object(a);
	struct slice_plan plan;

	if (!expectations_met(&m->expect, key))
		return NULL;
	informer_index_each(m->by_endpoints, key, mirroring_collect_slice, &old);
	if (mirroring_wanted(svc, ep))
		endpoints = json_copy(a, obj_tree(ep));
	plan = endpoints_mirror(a, endpoints, old.to);
	return mirroring_apply(m, a, key, &plan);
}

/* ---- events */

static void mirroring_route_slice(struct controller *c, const struct obj *o, void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (mirroring_owns(o))
		controller_enqueue(c, mirroring_key(a, o));
}

static void mirroring_on_slice(struct informer_handler *h, const struct obj *old_obj,
			       const struct obj *new_obj)
{
	struct mirroring *m = container_of(h, struct mirroring, on_slice);
	_cleanup_arena_ struct arena *a = NULL;

	if (old_obj || !mirroring_owns(new_obj))
		return;
	a = arena_new();
	expectations_saw_add(&m->expect, mirroring_key(a, new_obj));
}

void endpointslice_mirroring_start(struct control *c)
{
	static struct mirroring m;
	const struct controller_opts opts = { .name = "endpointslice-mirroring",
					      .sync = mirroring_sync,
					      .ctx = &m };
	struct controller *ctl = controller_new(c->loop, &opts);

	m.control = c;
	m.services = control_informer(c, gvr_services);
	m.endpoints = control_informer(c, gvr_endpoints);
	m.slices = control_informer(c, gvr_endpointslices);
	m.by_endpoints = informer_add_index(m.slices, mirroring_index);
	m.on_slice.event = mirroring_on_slice;
	informer_add_handler(m.slices, &m.on_slice);
	controller_watch(ctl, m.services);
	controller_watch(ctl, m.endpoints);
	controller_watch_fn(ctl, m.slices, mirroring_route_slice, &m);
	controller_start(ctl);
}
