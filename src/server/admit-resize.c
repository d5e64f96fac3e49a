/* SPDX-License-Identifier: Apache-2.0 */

/* PodResizeValidator: a Pod grows no further than its node. */

#include "api/quantity.h"
#include "api/resource-list.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/builtin-admission.h"
#include "server/server.h"
#include "json/json.h"

#define OS_LABEL "kubernetes.io/os"

static struct err *because(struct err *e, const char *reason)
{
	err_add_cause(e, STR_EMPTY, str_from(reason), STR_EMPTY);
	return e;
}

static void exceeds(struct buf *b, const struct resource_list *asked,
		    const struct resource_list *room, const char *name, bool milli)
{
	const struct quantity *q = resource_list_find(asked, str_from(name)),
			      *max = resource_list_find(room, str_from(name));
	struct quantity none = { 0 };

	if (!q || quantity_cmp(*q, max ? *max : none) <= 0)
		return;
	if (!max)
		max = &none;
	buf_addf(b, "%s%s, requested: %lld, allocatable: %lld", b->n ? "; " : "", name,
		 (long long)(milli ? quantity_milli(*q) : quantity_value(*q)),
		 (long long)(milli ? quantity_milli(*max) : quantity_value(*max)));
}

static struct err *resize_fits(struct admission *ad, const struct json *node)
{
	struct arena *a = ad->rq->arena;
	struct resource_list asked = pod_requests(a, ad->obj),
			     room = resource_list_from_json(a, json_at(node, "status.allocatable"));
	_cleanup_buf_ struct buf b = { 0 };

	exceeds(&b, &asked, &room, "cpu", true);
	exceeds(&b, &asked, &room, "memory", false);
	if (!b.n)
		return NULL;
	return because(admission_deny(ad, "node didn't have enough allocatable resources: " STR_FMT,
				      STR_ARG(buf_str(&b))),
		       "NodeCapacity");
}

static struct err *resize_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct str name = json_str_at(ad->obj, "spec.nodeName"), os;
	const struct json *label;
	struct json *node = NULL;

	if (!name.n || json_equal(json_get(ad->obj, "spec"), json_get(ad->old, "spec")))
		return NULL;
	TRY(local_get_json(ad->rq->server, ad->rq->arena, "nodes", STR_EMPTY, name, &node));
	if (!node)
		return admission_deny(ad, "node \"" STR_FMT "\" not found", STR_ARG(name));
	label = json_get(json_at(node, "metadata.labels"), OS_LABEL);
	os = json_as_str(label);
	if (label && !str_eqz(os, "linux"))
		return because(admission_deny(ad,
					      "pod resize is only supported on linux nodes, node "
					      "\"" STR_FMT "\" is \"" STR_FMT "\"",
					      STR_ARG(name), STR_ARG(os)),
			       "UnsupportedPlatform");
	return resize_fits(ad, node);
}

static bool resize_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_UPDATE && str_eqz(ad->sub, "resize") &&
	       str_eqz(ad->res->store_name, "pods");
}

struct admission_plugin pod_resize_plugin = {
	.name = "PodResizeValidator",
	.wants = resize_wants,
	.validate = resize_validate,
};
