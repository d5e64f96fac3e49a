/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Namespaces leave in two steps: DELETE marks them Terminating, the namespace controller empties
 * them and then takes "kubernetes" out of spec.finalizers by /finalize.
 */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/builtin-admission.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

/* The label with the name is its writer's own, except where the name is made later. */
static void namespace_defaults(struct api_request *rq, struct json *obj)
{
	if (!str_empty(meta_name(obj)))
		meta_set_label(rq->arena, obj, "kubernetes.io/metadata.name", meta_name(obj));
}

static struct err *namespace_prepare_create(struct api_request *rq, struct json *obj)
{
	struct json *fin =
		json_sub_array(rq->arena, json_sub(rq->arena, obj, "spec"), "finalizers");

	json_set_str(rq->arena, json_sub(rq->arena, obj, "status"), "phase", STR("Active"));
	meta_set_label(rq->arena, obj, "kubernetes.io/metadata.name", rq->name);
	json_for_each(it, fin)
	{
		if (str_eqz(json_as_str(it.val), "kubernetes"))
			return NULL;
	}
	json_push(fin, json_strz(rq->arena, "kubernetes"));
	return NULL;
}

static struct err *namespace_prepare_update(struct api_request *rq, struct json *obj,
					    const struct json *old)
{
	const struct json *fin = json_at(old, "spec.finalizers");

	meta_set_label(rq->arena, obj, "kubernetes.io/metadata.name", rq->name);
	/* finalizers change by /finalize alone */
	if (rq->subres && str_eqz(rq->subres->name, "finalize"))
		return NULL;
	if (fin)
		json_set(rq->arena, json_sub(rq->arena, obj, "spec"), "finalizers",
			 json_copy(rq->arena, fin));
	else
		json_delz(json_sub(rq->arena, obj, "spec"), "finalizers");
	return NULL;
}

static struct err *namespace_check_delete(struct api_request *rq, const struct json *obj UNUSED)
{
	static const char *const kept[] = { "default", "kube-system", "kube-public" };

	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (str_eqz(rq->name, kept[i]))
			return error_forbidden(rq->res, rq->name,
					       "this namespace may not be deleted");
	}
	return NULL;
}

static bool namespace_held(const struct json *obj)
{
	return json_len(json_at(obj, "spec.finalizers")) != 0;
}

static void namespace_deleting(struct api_request *rq, struct json *obj)
{
	json_delz(json_sub(rq->arena, obj, "metadata"), "deletionGracePeriodSeconds");
	json_set_str(rq->arena, json_sub(rq->arena, obj, "status"), "phase", STR("Terminating"));
}

const struct strategy namespace_strategy = {
	.check_name = name_check_dns_label,
	.delete_returns_obj = true,
	.set_defaults = namespace_defaults,
	.prepare_create = namespace_prepare_create,
	.prepare_update = namespace_prepare_update,
	.check_delete = namespace_check_delete,
	.held = namespace_held,
	.deleting = namespace_deleting,
};

/* PUT /finalize: only spec.finalizers is taken from the body */
struct finalize_change {
	struct engine_change base;
	const struct json *body;
};

static struct err *finalize_apply(struct engine_change *base, struct api_request *rq,
				  const struct json *old, struct json **ret)
{
	const struct finalize_change *c = (struct finalize_change *)base;
	const struct json *fin = json_at(c->body, "spec.finalizers");
	struct json *obj = json_copy(rq->arena, old), *spec = json_sub(rq->arena, obj, "spec");

	if (json_len(fin))
		json_set(rq->arena, spec, "finalizers", json_copy(rq->arena, fin));
	else
		json_delz(spec, "finalizers");
	json_set_str(rq->arena, json_get(obj, "metadata"), "resourceVersion", meta_rv(c->body));
	*ret = obj;
	return NULL;
}

struct err *namespace_finalize(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct finalize_change c = { .base = { .apply = finalize_apply } };
	struct json *body = NULL;

	TRY(body_decode(rq, &body));
	if (!str_eq(meta_name(body), rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       ") does not match the name on the URL (" STR_FMT ")",
			       STR_ARG(meta_name(body)), STR_ARG(rq->name));
	c.body = body;
	TRY(engine_update(rq, &c.base, &o));
	return respond_obj(rq, 200, o);
}

/* NamespaceLifecycle: nothing is created in a namespace that is not there or is going */
static bool lifecycle_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_CREATE && ad->res->namespaced && !str_empty(ad->ns);
}

static struct err *lifecycle_terminating(const struct admission *ad)
{
	struct err *e = admission_deny(ad,
				       "unable to create new content in namespace " STR_FMT
				       " because it is being terminated",
				       STR_ARG(ad->ns));
	struct str msg = arena_fmt(ad->rq->arena, "namespace " STR_FMT " is being terminated",
				   STR_ARG(ad->ns));

	err_add_cause(e, STR("metadata.namespace"), STR("NamespaceTerminating"), msg);
	return e;
}

static struct err *lifecycle_admit(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct apiserver *s = ad->rq->server;
	_cleanup_obj_ const struct obj *ns = NULL;

	/* reviews are answers, not content */
	if (ad->res->strategy->virtual_kind && !str_empty(ad->res->group))
		return NULL;
	TRY(local_get(s, "namespaces", STR_EMPTY, ad->ns, &ns));
	if (!ns)
		return error_not_found(registry_find_stored(s->registry, STR("namespaces")),
				       ad->ns);
	if (ns->deleting)
		return lifecycle_terminating(ad);
	return NULL;
}

struct admission_plugin namespace_lifecycle_plugin = {
	.name = "NamespaceLifecycle",
	.wants = lifecycle_wants,
	.mutate = lifecycle_admit,
};
