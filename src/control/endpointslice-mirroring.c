/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "control/control.h"
#include "control/endpoints-plan.h"
#include "control/endpointslice-plan.h"
#include "control/slice-set.h"
#include "json/json.h"

/*
 * EndpointSlices that mirror Endpoints which people wrote for Services without a selector. Keys are
 * Endpoints, which have the names of their Services.
 */

struct mirroring {
	struct informer *services, *endpoints;
	struct slice_set slices;
};

/* Services with a selector have slices of their own; some Endpoints are no business of ours. */
static bool mirroring_wanted(const struct obj *service, const struct obj *endpoints)
{
	return service && endpoints && !endpoints->deleting &&
	       !json_len(json_at(obj_tree(service), "spec.selector")) &&
	       !str_eqz(obj_label(endpoints, STR(ENDPOINTS_SKIP_MIRROR)), "true") &&
	       str_empty(meta_annotation(obj_tree(endpoints), ENDPOINTS_LEADER));
}

static struct err *mirroring_sync(void *ctx, struct arena *a, struct str key)
{
	struct mirroring *m = ctx;
	const struct obj *svc = informer_find_key(m->services, key);
	const struct obj *ep = informer_find_key(m->endpoints, key);
	struct json *endpoints = json_object(a);
	struct slice_plan plan;

	if (!slice_set_settled(&m->slices, key))
		return NULL;
	if (mirroring_wanted(svc, ep))
		endpoints = json_copy(a, obj_tree(ep));
	plan = endpoints_mirror(a, endpoints, slice_set_collect(&m->slices, a, key));
	return slice_set_apply(&m->slices, a, key, &plan);
}

void endpointslice_mirroring_start(struct control *c)
{
	static struct mirroring m;
	const struct controller_opts opts = { .name = "endpointslice-mirroring",
					      .sync = mirroring_sync,
					      .ctx = &m };
	struct controller *ctl = controller_new(c->loop, &opts);

	m.services = control_informer(c, gvr_services);
	m.endpoints = control_informer(c, gvr_endpoints);
	m.slices.control = c;
	m.slices.manager = STR(ENDPOINTS_MIRROR_MANAGER);
	slice_set_init(&m.slices, ctl);
	controller_watch(ctl, m.services);
	controller_watch(ctl, m.endpoints);
	controller_start(ctl);
}
