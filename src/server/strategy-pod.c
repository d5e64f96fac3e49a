/* SPDX-License-Identifier: Apache-2.0 */

/* Pods: status at birth, what of a spec may change, and graceful deletion. */

#include "base/arena.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/pod-cells.h"
#include "server/pod-spec.h"
#include "server/pod-update.h"
#include "server/request.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/valid.h"
#include "server/warn.h"
#include "json/json.h"

static void pod_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");

	if (json_is(spec, JSON_OBJECT))
		pod_spec_default_pod(rq->arena, spec);
}

static struct err *pod_prepare_create(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *status = json_sub(a, obj, "status");

	json_set_str(a, status, "phase", STR("Pending"));
	json_set_str(a, status, "qosClass", pod_qos_class(json_get(obj, "spec")));
	if (json_len(json_at(obj, "spec.schedulingGates"))) {
		struct json *c = json_object(a);

		json_set_str(a, c, "type", STR("PodScheduled"));
		json_set_str(a, c, "status", STR("False"));
		json_set(a, c, "lastProbeTime", json_null(a));
		json_set_str(a, c, "lastTransitionTime", wall_format(a, rq->now));
		json_set_str(a, c, "reason", STR("SchedulingGated"));
		json_set_str(a, c, "message",
			     STR("Scheduling is blocked due to non-empty scheduling gates"));
		json_push(json_sub_array(a, status, "conditions"), c);
	}
	return NULL;
}

static struct err *pod_prepare_update(struct api_request *rq, struct json *obj,
				      const struct json *old)
{
	const struct json *qos = json_at(old, "status.qosClass");

	if (!rq->subres || !str_eqz(rq->subres->name, "status"))
		return NULL;
	/* the class of service is for life */
	if (qos)
		json_set(rq->arena, json_sub(rq->arena, obj, "status"), "qosClass",
			 json_copy(rq->arena, qos));
	return NULL;
}

static void pod_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");

	pod_annotations_validate(&v, obj, AT(AT(NULL, "metadata"), "annotations"));
	pod_spec_validate_as(&v, spec, p, true);
	if (rq->verb != VERB_CREATE)
		return;
	if (json_len(json_get(spec, "ephemeralContainers")))
		valid_forbidden(&v, AT(p, "ephemeralContainers"), "cannot be set on create");
	if (!str_empty(json_str_at(spec, "nodeName")) &&
	    json_len(json_get(spec, "schedulingGates")))
		valid_forbidden(&v, AT(p, "nodeName"),
				"cannot be set until all schedulingGates have been cleared");
}

static int64_t pod_grace(struct api_request *rq UNUSED, const struct json *obj, int64_t asked)
{
	struct str phase = json_str_at(obj, "status.phase");
	int64_t grace = asked;

	if (grace < 0)
		grace = json_int_at(obj, "spec.terminationGracePeriodSeconds", 30);
	if (grace < 0)
		grace = 1;
	/* nobody runs it: nobody needs the time */
	if (str_empty(json_str_at(obj, "spec.nodeName")) || str_eqz(phase, "Succeeded") ||
	    str_eqz(phase, "Failed"))
		grace = 0;
	return grace;
}

const struct strategy pod_strategy = {
	.generation = true,
	.delete_returns_obj = true,
	.set_defaults = pod_defaults,
	.prepare_create = pod_prepare_create,
	.prepare_update = pod_prepare_update,
	.validate = pod_validate,
	.isolate = pod_isolate,
	.validate_update = pod_validate_update,
	.warn = pod_warn,
	.grace = pod_grace,
	.cell = pod_cell,
};
