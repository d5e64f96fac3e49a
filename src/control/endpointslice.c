/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "control/control.h"
#include "control/endpointslice-plan.h"
#include "control/service-pods.h"
#include "control/slice-set.h"
#include "json/json.h"

/* EndpointSlices of Services with a selector. Keys are Services. */

struct endpointslices {
	struct informer *services, *pods, *nodes;
	struct slice_set slices;
};

struct slices_zones {
	struct arena *arena;
	struct json *to; /* by node */
};

static bool slices_collect_zone(const struct obj *o, void *ctx)
{
	const struct slices_zones *z = ctx;
	struct str zone = obj_label(o, STR("topology.kubernetes.io/zone"));

	if (!str_empty(zone))
		json_set_s(z->arena, z->to, arena_str(z->arena, o->name),
			   json_strcpy(z->arena, zone));
	return true;
}

/* Plans on copies, which outlive suspensions. */
static struct err *slices_sync(void *ctx, struct arena *a, struct str key)
{
	struct endpointslices *es = ctx;
	const struct obj *o = informer_find_key(es->services, key);
	struct slices_zones zones = { a, json_object(a) };
	struct slice_plan plan;
	struct json *svc;

	/* the owner reference takes the slices of a deleted Service away */
	if (!o || o->deleting) {
		slice_set_forget(&es->slices, key);
		return NULL;
	}
	if (!slice_set_settled(&es->slices, key))
		return NULL;
	if (!json_len(json_at(obj_tree(o), "spec.selector")) ||
	    str_eqz(json_str_at(obj_tree(o), "spec.type"), "ExternalName"))
		return NULL;
	TRY(obj_parse(a, o, STR("v1"), STR("Service"), &svc));
	informer_each(es->nodes, STR_EMPTY, slices_collect_zone, &zones);
	plan = slice_plan_make(a, svc, service_pods(a, es->pods, svc),
			       slice_set_collect(&es->slices, a, key), zones.to);
	return slice_set_apply(&es->slices, a, key, &plan);
}

void endpointslice_start(struct control *c)
{
	static struct endpointslices es;
	const struct controller_opts opts = {
		.name = "endpointslice", .workers = 5, .sync = slices_sync, .ctx = &es
	};
	struct controller *ctl = controller_new(c->loop, &opts);

	es.services = control_informer(c, gvr_services);
	es.pods = control_informer(c, gvr_pods);
	es.nodes = control_informer(c, gvr_nodes);
	es.slices.control = c;
	es.slices.manager = STR(SLICE_MANAGED_BY);
	slice_set_init(&es.slices, ctl);
	controller_watch(ctl, es.services);
	controller_watch_fn(ctl, es.pods, service_pods_route, es.services);
	controller_start(ctl);
}
