/* SPDX-License-Identifier: Apache-2.0 */

#include "control/service-pods.h"

#include "api/meta.h"
#include "api/obj.h"
#include "api/selector.h"
#include "base/arena.h"
#include "client/controller.h"
#include "client/informer.h"
#include "json/json.h"

struct service_pods_collect {
	struct arena *a;
	struct json *to;
	const struct selector *selector;
};

static bool service_pods_add(const struct obj *pod, void *ctx)
{
	const struct service_pods_collect *c = ctx;

	if (selector_matches_obj_labels(c->selector, pod))
		json_push(c->to, json_copy(c->a, obj_tree(pod)));
	return true;
}

struct json *service_pods(struct arena *a, const struct informer *pods, const struct json *svc)
{
	const struct json *selector = json_at(svc, "spec.selector");
	struct service_pods_collect c = { .a = a, .to = json_array(a) };

	if (!json_len(selector))
		return c.to;
	c.selector = label_selector_from_map(a, selector);
	informer_each(pods, meta_namespace(svc), service_pods_add, &c);
	return c.to;
}

struct service_pods_match {
	struct controller *controller;
	const struct obj *pod;
};

/* Without a parsed selector: each change of a Pod asks this of all Services of its namespace. */
static bool service_pods_enqueue(const struct obj *svc, void *ctx)
{
	const struct service_pods_match *m = ctx;
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

void service_pods_route(struct controller *c, const struct obj *pod, void *ctx)
{
	struct service_pods_match m = { c, pod };

	informer_each(ctx, pod->ns, service_pods_enqueue, &m);
}
