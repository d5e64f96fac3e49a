/* SPDX-License-Identifier: Apache-2.0 */

/* What storage drivers say of themselves, and attachments: the rest of storage.k8s.io. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/strategies.h"
#include "server/table.h"
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

const struct strategy csidriver_strategy = {
	.needs_rv = true,
	.generation = true,
	.delete_returns_obj = true,
	.cell = csidriver_cell,
};

static void csinode_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			 struct json *cells)
{
	cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.drivers")));
}

const struct strategy csinode_strategy = {
	.needs_rv = true,
	.delete_returns_obj = true,
	.cell = csinode_cell,
};

const struct strategy csistoragecapacity_strategy = {
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

const struct strategy volumeattachment_strategy = {
	.needs_rv = true,
	.delete_returns_obj = true,
	.cell = volumeattachment_cell,
};

const struct strategy volumeattributesclass_strategy = {
	.delete_returns_obj = true,
};
