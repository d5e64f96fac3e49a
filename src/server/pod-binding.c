/* SPDX-License-Identifier: Apache-2.0 */

/* How a Pod gets its node. */

#include "api/meta.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

struct bind_change {
	struct engine_change base;
	const struct json *binding;
};

static struct err *bind_conflict(const struct api_request *rq, const char *text)
{
	return err_details(err_new(ERR_CONFLICT,
				   "Operation cannot be fulfilled on pods/binding \"" STR_FMT
				   "\": %s",
				   STR_ARG(rq->name), text),
			   STR_EMPTY, STR("pods/binding"), rq->name);
}

static struct err *bind_check(struct api_request *rq, const struct json *pod,
			      const struct json *binding)
{
	struct str uid = meta_uid(binding), node = json_str_at(pod, "spec.nodeName");

	if (!str_empty(uid) && !str_eq(uid, meta_uid(pod)))
		return error_conflict(rq->res, rq->name,
				      "Precondition failed: UID in precondition: " STR_FMT
				      ", UID in object meta: " STR_FMT,
				      STR_ARG(uid), STR_ARG(meta_uid(pod)));
	if (meta_deleting(pod))
		return bind_conflict(rq,
				     arena_fmt(rq->arena,
					       "pod " STR_FMT
					       " is being deleted, cannot be assigned to a host",
					       STR_ARG(rq->name))
					     .p);
	if (!str_empty(node))
		return bind_conflict(rq, arena_fmt(rq->arena,
						   "pod " STR_FMT
						   " is already assigned to node \"" STR_FMT "\"",
						   STR_ARG(rq->name), STR_ARG(node))
						 .p);
	if (json_len(json_at(pod, "spec.schedulingGates")))
		return bind_conflict(rq, arena_fmt(rq->arena,
						   "pod " STR_FMT
						   " has non-empty .spec.schedulingGates",
						   STR_ARG(rq->name))
						 .p);
	return NULL;
}

static struct err *bind_apply(struct engine_change *base, struct api_request *rq,
			      const struct json *old, struct json **ret)
{
	const struct bind_change *c = (struct bind_change *)base;
	struct arena *a = rq->arena;
	struct json *pod = json_copy(a, old);

	TRY(bind_check(rq, old, c->binding));
	json_set(a, json_sub(a, pod, "spec"), "nodeName",
		 json_copy(a, json_at(c->binding, "target.name")));
	json_for_each(it, meta_annotations(c->binding))
		json_set_s(a, json_sub(a, json_sub(a, pod, "metadata"), "annotations"), it.key,
			   json_copy(a, it.val));
	json_for_each(it, meta_labels(c->binding))
		json_set_s(a, json_sub(a, json_sub(a, pod, "metadata"), "labels"), it.key,
			   json_copy(a, it.val));
	condition_set(a, json_sub(a, pod, "status"), "PodScheduled", "True", STR_EMPTY, STR_EMPTY,
		      rq->now);
	*ret = pod;
	return NULL;
}

static struct err *bind_target_check(const struct json *binding)
{
	struct str kind = json_str_at(binding, "target.kind");

	if ((str_empty(kind) || str_eqz(kind, "Node") || str_eqz(kind, "Minion")) &&
	    !str_empty(json_str_at(binding, "target.name")))
		return NULL;
	return err_new(ERR_UNKNOWN, "%s",
		       str_empty(json_str_at(binding, "target.name"))
			       ? "target.name: Required value"
			       : "target.kind: Unsupported value: supported values: \"Node\", "
				 "\"<empty>\"");
}

static struct err *bind_pod(struct api_request *rq, struct json *binding)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct bind_change c = { .base = { .apply = bind_apply } };

	TRY(admission_run(rq, ADMISSION_CREATE, &binding));
	c.binding = binding;
	TRY(bind_target_check(binding));
	rq->bypass_admission = true;
	rq->verb = VERB_PATCH; /* an update that names no revision */
	return engine_update(rq, &c.base, &o);
}

struct err *pod_binding(struct api_request *rq)
{
	struct json *binding = NULL;

	TRY(body_decode(rq, &binding));
	if (!str_eq(meta_name(binding), rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "name in URL does not match name in Binding object");
	TRY(bind_pod(rq, binding));
	respond_json(rq, 201, status_success(rq->arena, 201));
	return NULL;
}

/* POST /namespaces/NS/bindings: the Pod is named in the body */
static struct err *pod_binding_answer(struct api_request *rq, struct json *obj, struct json **ret)
{
	struct registry *reg = rq->server->registry;
	struct api_request *pod = arena_new_obj(rq->arena, struct api_request);

	*pod = *rq;
	pod->res = registry_find(reg, STR_EMPTY, STR("v1"), STR("pods"), &pod->v);
	pod->name = meta_name(obj);
	pod->subres = subresource_find(pod->v, STR("binding"));
	TRY(bind_pod(pod, obj));
	*ret = status_success(rq->arena, 201);
	return NULL;
}

const struct strategy pod_binding_strategy = {
	.virtual_kind = true,
	.answer = pod_binding_answer,
};
