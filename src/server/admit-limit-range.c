/* SPDX-License-Identifier: Apache-2.0 */

/* LimitRanger: defaults and bounds that a namespace has for Pods and claims. */

#include "api/meta.h"
#include "server/builtin-admission.h"
#include "server/limit-range.h"
#include "server/ns-mirror.h"
#include "server/request.h"
#include "json/json.h"

static struct ns_mirror ranges;

static bool limit_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	bool pod = str_eqz(ad->res->store_name, "pods");

	if (!pod && !str_eqz(ad->res->store_name, "persistentvolumeclaims"))
		return false;
	if (!ns_mirror_any(&ranges, ad->ns))
		return false;
	if (ad->op == ADMISSION_CREATE)
		return !ad->sub.n;
	return ad->op == ADMISSION_UPDATE && (pod ? str_eqz(ad->sub, "resize") : !ad->sub.n);
}

static struct err *limit_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	const struct obj *const *v;
	size_t n;

	if (!str_eqz(ad->res->store_name, "pods") || meta_deleting(ad->old))
		return NULL;
	v = ns_mirror_list(&ranges, ad->rq->arena, ad->ns, &n);
	for (size_t i = 0; i < n; i++)
		limit_range_default_pod(ad->rq->arena, obj_tree(v[i]), ad->obj);
	return NULL;
}

static struct err *limit_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	const struct obj *const *v;
	size_t n;

	if (meta_deleting(ad->old))
		return NULL;
	v = ns_mirror_list(&ranges, ad->rq->arena, ad->ns, &n);
	for (size_t i = 0; i < n; i++) {
		struct str bad = limit_range_check(ad->rq->arena, obj_tree(v[i]),
						   ad->res->store_name, ad->obj);

		if (bad.n)
			return admission_deny(ad, STR_FMT, STR_ARG(bad));
	}
	return NULL;
}

struct admission_plugin limit_ranger_plugin = {
	.name = "LimitRanger",
	.wants = limit_wants,
	.mutate = limit_mutate,
	.validate = limit_validate,
};

struct err *limit_ranger_start(struct apiserver *s)
{
	return ns_mirror_start(&ranges, s, "limitranges");
}
