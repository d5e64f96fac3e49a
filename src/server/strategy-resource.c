/* SPDX-License-Identifier: Apache-2.0 */

/* resource.k8s.io: devices that Pods can claim. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/device-validate.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/warn.h"
#include "json/json.h"

const struct strategy deviceclass_strategy = {
	.validate = deviceclass_validate,
	.generation = true,
	.delete_returns_obj = true,
};

static void resourceclaim_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	bool deleted = meta_deleting(obj);
	const struct json *status = json_get(obj, "status");
	_cleanup_buf_ struct buf b = { 0 };

	if (deleted)
		buf_addz(&b, "deleted");
	if (json_get(status, "allocation"))
		buf_addf(&b, "%sallocated%s", deleted ? "," : "",
			 json_len(json_get(status, "reservedFor")) ? ",reserved" : "");
	else if (!deleted)
		buf_addz(&b, "pending");
	cell_str(a, cells, buf_to_arena(&b, a));
}

static void request_defaults(struct arena *a, struct json *r)
{
	if (!json_is(r, JSON_OBJECT))
		return;
	if (str_empty(json_str_at(r, "allocationMode")))
		json_set_str(a, r, "allocationMode", STR("ExactCount"));
	if (str_eqz(json_str_at(r, "allocationMode"), "ExactCount") && !json_int_at(r, "count", 0))
		json_set_int(a, r, "count", 1);
	json_for_each(it, json_get(r, "tolerations"))
	{
		if (json_is(it.val, JSON_OBJECT) && str_empty(json_str_at(it.val, "operator")))
			json_set_str(a, it.val, "operator", STR("Equal"));
	}
}

static void claim_defaults(struct arena *a, struct json *spec)
{
	json_for_each(it, json_at(spec, "devices.requests"))
	{
		request_defaults(a, json_get(it.val, "exactly"));
		json_for_each(sub, json_get(it.val, "firstAvailable")) request_defaults(a, sub.val);
	}
}

static void resourceclaim_defaults(struct api_request *rq, struct json *obj)
{
	claim_defaults(rq->arena, json_get(obj, "spec"));
}

static void resourceclaimtemplate_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");

	if (!json_is(spec, JSON_OBJECT))
		return;
	json_sub(rq->arena, spec, "metadata");
	claim_defaults(rq->arena, json_get(spec, "spec"));
}

const struct strategy resourceclaim_strategy = {
	.status_alone = true,
	.set_defaults = resourceclaim_defaults,
	.validate = resourceclaim_validate,
	.validate_update = resourceclaim_validate_update,
	.delete_returns_obj = true,
	.cell = resourceclaim_cell,
};

const struct strategy resourceclaimtemplate_strategy = {
	.set_defaults = resourceclaimtemplate_defaults,
	.validate = resourceclaimtemplate_validate,
	.validate_update = resourceclaimtemplate_validate_update,
	.delete_returns_obj = true,
};

static void resourceslice_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	cell_str(a, cells, json_str_at(obj, "spec.nodeName"));
}

const struct strategy resourceslice_strategy = {
	.validate = resourceslice_validate,
	.validate_update = resourceslice_validate_update,
	.generation = true,
	.warn = resourceslice_warn,
	.delete_returns_obj = true,
	.cell = resourceslice_cell,
};
