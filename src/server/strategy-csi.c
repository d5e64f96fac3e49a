/* SPDX-License-Identifier: Apache-2.0 */

/* What storage drivers say of themselves, and attachments: the rest of storage.k8s.io. */

#include <string.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/request.h"
#include "server/storage-validate.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/warn.h"
#include "json/json.h"

static struct str joined(struct arena *a, const struct json *arr, const char *member)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, arr)
		buf_addf(&b, "%s" STR_FMT, it.i ? "," : "",
			 STR_ARG(member ? json_str_at(it.val, member) : json_as_str(it.val)));
	return buf_to_arena(&b, a);
}

static const struct {
	const char *column, *path;
	bool dflt;
} csidriver_flags[] = {
	{ "AttachRequired", "spec.attachRequired", true },
	{ "PodInfoOnMount", "spec.podInfoOnMount", false },
	{ "StorageCapacity", "spec.storageCapacity", false },
	{ "RequiresRepublish", "spec.requiresRepublish", false },
};

static void csidriver_cell(struct arena *a, const struct json *obj, struct str column,
			   struct json *cells)
{
	const struct json *tokens = json_at(obj, "spec.tokenRequests");

	for (size_t i = 0; i < ARRAY_LEN(csidriver_flags); i++) {
		if (!str_eqz(column, csidriver_flags[i].column))
			continue;
		json_push(cells, json_bool(a, json_bool_at(obj, csidriver_flags[i].path,
							   csidriver_flags[i].dflt)));
		return;
	}
	if (str_eqz(column, "TokenRequests"))
		cell_str(a, cells, tokens ? joined(a, tokens, "audience") : STR("<unset>"));
	else
		cell_or_none(a, cells, joined(a, json_at(obj, "spec.volumeLifecycleModes"), NULL));
}

static void csidriver_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec"), *modes;

	if (!json_is(spec, JSON_OBJECT))
		return;
	for (size_t i = 0; i < ARRAY_LEN(csidriver_flags); i++) {
		const char *member = strchr(csidriver_flags[i].path, '.') + 1;

		if (!json_get(spec, member))
			json_set_bool(rq->arena, spec, member, csidriver_flags[i].dflt);
	}
	if (!json_get(spec, "seLinuxMount"))
		json_set_bool(rq->arena, spec, "seLinuxMount", false);
	if (str_empty(json_str_at(spec, "fsGroupPolicy")))
		json_set_str(rq->arena, spec, "fsGroupPolicy", STR("ReadWriteOnceWithFSType"));
	if (json_len(json_get(spec, "volumeLifecycleModes")))
		return;
	json_delz(spec, "volumeLifecycleModes");
	modes = json_sub_array(rq->arena, spec, "volumeLifecycleModes");
	json_push(modes, json_strz(rq->arena, "Persistent"));
}

const struct strategy csidriver_strategy = {
	.set_defaults = csidriver_defaults,
	.validate = csidriver_validate,
	.validate_update = csidriver_validate_update,
	.warn = csidriver_warn,
	.needs_rv = true,
	.delete_returns_obj = true,
	.cell = csidriver_cell,
};

static void csinode_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			 struct json *cells)
{
	cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.drivers")));
}

/* Go writes a list that is not there as null. */
static void csinode_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");

	if (spec && !json_len(json_get(spec, "drivers")))
		json_set(rq->arena, spec, "drivers", json_null(rq->arena));
	json_for_each(it, json_at(obj, "spec.drivers"))
	{
		if (json_is(it.val, JSON_OBJECT) && !json_get(it.val, "topologyKeys"))
			json_set(rq->arena, it.val, "topologyKeys", json_null(rq->arena));
	}
}

const struct strategy csinode_strategy = {
	.set_defaults = csinode_defaults,
	.validate = csinode_validate,
	.validate_update = csinode_validate_update,
	.needs_rv = true,
	.delete_returns_obj = true,
	.cell = csinode_cell,
};

const struct strategy csistoragecapacity_strategy = {
	.validate = csistoragecapacity_validate,
	.validate_update = csistoragecapacity_validate_update,
	.warn = csistoragecapacity_warn,
	.needs_rv = true,
};

static void volumeattachment_cell(struct arena *a, const struct json *obj, struct str column,
				  struct json *cells)
{
	if (str_eqz(column, "PV"))
		cell_str(a, cells, json_str_at(obj, "spec.source.persistentVolumeName"));
	else
		json_push(cells, json_bool(a, json_bool_at(obj, "status.attached", false)));
}

static struct err *volumeattachment_prepare_create(struct api_request *rq, struct json *obj)
{
	json_set_bool(rq->arena, json_sub(rq->arena, obj, "status"), "attached", false);
	return NULL;
}

const struct strategy volumeattachment_strategy = {
	.status_alone = true,
	.prepare_create = volumeattachment_prepare_create,
	.validate = volumeattachment_validate,
	.validate_update = volumeattachment_validate_update,
	.needs_rv = true,
	.delete_returns_obj = true,
	.cell = volumeattachment_cell,
};

const struct strategy volumeattributesclass_strategy = {
	.validate = volumeattributesclass_validate,
	.validate_update = volumeattributesclass_validate_update,
	.delete_returns_obj = true,
};
