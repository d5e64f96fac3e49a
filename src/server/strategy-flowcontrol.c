/* SPDX-License-Identifier: Apache-2.0 */

/* FlowSchema and PriorityLevelConfiguration. */

#include "api/meta.h"
#include "base/arena.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

static void flowschema_cell(struct arena *a, const struct json *obj, struct str column,
			    struct json *cells)
{
	const struct json *dangling = condition_find(json_get(obj, "status"), "Dangling");

	if (str_eqz(column, "DistinguisherMethod"))
		cell_or_none(a, cells, json_str_at(obj, "spec.distinguisherMethod.type"));
	else
		cell_str(a, cells, dangling ? json_str_at(dangling, "status") : STR("?"));
}

const struct strategy flowschema_strategy = {
	.generation = true,
	.cell = flowschema_cell,
};

static const struct {
	const char *column, *path;
} prioritylevel_cells[] = {
	{ "NominalConcurrencyShares", "spec.limited.nominalConcurrencyShares" },
	{ "Queues", "spec.limited.limitResponse.queuing.queues" },
	{ "HandSize", "spec.limited.limitResponse.queuing.handSize" },
	{ "QueueLengthLimit", "spec.limited.limitResponse.queuing.queueLengthLimit" },
};

static void prioritylevel_cell(struct arena *a, const struct json *obj, struct str column,
			       struct json *cells)
{
	for (size_t i = 0; i < ARRAY_LEN(prioritylevel_cells); i++) {
		const struct json *v = json_at(obj, prioritylevel_cells[i].path);

		if (!str_eqz(column, prioritylevel_cells[i].column))
			continue;
		if (v)
			cell_int(a, cells, json_as_int(v, 0));
		else
			cell_or_none(a, cells, STR_EMPTY);
	}
}

const struct strategy prioritylevel_strategy = {
	.generation = true,
	.cell = prioritylevel_cell,
};
