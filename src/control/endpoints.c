/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/endpoints-plan.h"
#include "control/service-pods.h"
#include "json/json.h"

/* Endpoints of Services with a selector. Keys are Services. */

struct endpoints {
	struct control *control;
	struct informer *services, *pods, *endpoints;
};

static struct json *endpoints_labels(struct arena *a, const struct json *svc)
{
	struct json *own = meta_labels(svc);
	struct json *labels = own ? json_copy(a, own) : json_object(a);

	if (str_eqz(json_str_at(svc, "spec.clusterIP"), "None"))
		json_set_str(a, labels, ENDPOINTS_HEADLESS, STR_EMPTY);
	else
		json_delz(labels, ENDPOINTS_HEADLESS);
	json_set_str(a, labels, ENDPOINTS_MANAGED_BY, STR("endpoint-controller"));
	return labels;
}

static bool endpoints_over_capacity(const struct json *pods)
{
	return json_len(pods) > ENDPOINTS_MAX;
}

/* The whole object as it shall be; old may be NULL. */
static struct json *endpoints_want(struct arena *a, const struct json *svc, const struct json *pods,
				   const struct json *old)
{
	struct json *o = old ? json_copy(a, old) : json_object(a);
	struct json *meta, *subsets = endpoints_subsets(a, svc, pods);

	json_set_str(a, o, "apiVersion", STR("v1"));
	json_set_str(a, o, "kind", STR("Endpoints"));
	meta = json_sub(a, o, "metadata");
	json_set(a, meta, "name", json_strcpy(a, meta_name(svc)));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(svc)));
	json_set(a, meta, "labels", endpoints_labels(a, svc));
	if (endpoints_over_capacity(pods))
		meta_set_annotation(a, o, ENDPOINTS_OVER_CAPACITY, STR("truncated"));
	else if (json_get(meta, "annotations"))
		json_delz(json_get(meta, "annotations"), ENDPOINTS_OVER_CAPACITY);
	json_delz(o, "subsets");
	if (json_len(subsets))
		json_set(a, o, "subsets", subsets);
	return o;
}

static struct err *endpoints_write(struct endpoints *ep, struct arena *a, struct json *svc,
				   const struct json *pods, const struct json *old)
{
	struct json *want = endpoints_want(a, svc, pods, old);
	struct client *c = ep->control->client;
	struct err *e;

	if (!old) {
		e = client_create(c, a, gvr_endpoints, meta_namespace(svc), want, NULL);
		if (e && control_ns_terminating(e)) {
			err_ignore(e, "the namespace is going");
			return NULL;
		}
		return e;
	}
	if (json_equal(json_get(old, "subsets"), json_get(want, "subsets")) &&
	    json_equal(meta_labels(old), meta_labels(want)) &&
	    json_equal(meta_annotations(old), meta_annotations(want)))
		return NULL;
	return client_update(c, a, gvr_endpoints, NULL, want, NULL);
}

/* A Service that is gone takes its Endpoints along, be they ours or not, as upstream does. */
static struct err *endpoints_remove(struct endpoints *ep, struct arena *a, struct str key)
{
	struct str ns, name;
	struct err *e;

	if (!informer_find_key(ep->endpoints, key))
		return NULL;
	meta_key_split(key, &ns, &name);
	e = client_delete(ep->control->client, a, gvr_endpoints, ns, name, NULL);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

static struct err *endpoints_sync(void *ctx, struct arena *a, struct str key)
{
	struct endpoints *ep = ctx;
	const struct obj *o = informer_find_key(ep->services, key);
	const struct obj *old = informer_find_key(ep->endpoints, key);
	struct json *svc;

	if (!o)
		return endpoints_remove(ep, a, key);
	if (!json_len(json_at(obj_tree(o), "spec.selector")) ||
	    str_eqz(json_str_at(obj_tree(o), "spec.type"), "ExternalName"))
		return NULL;
	svc = json_copy(a, obj_tree(o));
	return endpoints_write(ep, a, svc, service_pods(a, ep->pods, svc),
			       old ? json_copy(a, obj_tree(old)) : NULL);
}

/* ---- events */

/* Ours that somebody changed, or whose Service went while nobody looked. */
static void endpoints_route_own(struct controller *c, const struct obj *o, void *ctx)
{
	const struct endpoints *ep = ctx;

	if (informer_find(ep->services, o->ns, o->name) ||
	    str_eqz(obj_label(o, STR(ENDPOINTS_MANAGED_BY)), "endpoint-controller"))
		controller_enqueue_obj(c, o);
}

void endpoints_start(struct control *c)
{
	static struct endpoints ep;
	const struct controller_opts opts = {
		.name = "endpoints", .workers = 5, .sync = endpoints_sync, .ctx = &ep
	};
	struct controller *ctl = controller_new(c->loop, &opts);

	ep.control = c;
	ep.services = control_informer(c, gvr_services);
	ep.pods = control_informer(c, gvr_pods);
	ep.endpoints = control_informer(c, gvr_endpoints);
	controller_watch(ctl, ep.services);
	controller_watch_fn(ctl, ep.pods, service_pods_route, ep.services);
	controller_watch_fn(ctl, ep.endpoints, endpoints_route_own, &ep);
	controller_start(ctl);
}
