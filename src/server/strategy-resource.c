/* SPDX-License-Identifier: Apache-2.0 */

/* resource.k8s.io: devices that Pods can claim. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

const struct strategy deviceclass_strategy = {
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

const struct strategy resourceclaim_strategy = {
	.delete_returns_obj = true,
	.cell = resourceclaim_cell,
};

const struct strategy resourceclaimtemplate_strategy = {
	.delete_returns_obj = true,
};

static void resourceslice_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	cell_str(a, cells, json_str_at(obj, "spec.nodeName"));
}

const struct strategy resourceslice_strategy = {
	.generation = true,
	.delete_returns_obj = true,
	.cell = resourceslice_cell,
};
