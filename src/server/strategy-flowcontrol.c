/* SPDX-License-Identifier: Apache-2.0 */

/* FlowSchema and PriorityLevelConfiguration. */

#include "api/meta.h"
#include "base/arena.h"
#include "server/flow-validate.h"
#include "server/request.h"
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

static void default_int(struct arena *a, struct json *obj, const char *key, int64_t n, bool zero)
{
	const struct json *v = json_get(obj, key);

	if (obj && (!v || (zero && json_as_int(v, -1) == 0)))
		json_set_int(a, obj, key, n);
}

static void flowschema_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");

	if (!json_is(spec, JSON_OBJECT))
		return;
	default_int(rq->arena, spec, "matchingPrecedence", 1000, true);
}

const struct strategy flowschema_strategy = {
	.status_alone = true,
	.generation = true,
	.set_defaults = flowschema_defaults,
	.validate = flowschema_validate,
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

static void prioritylevel_defaults(struct api_request *rq, struct json *obj)
{
	static const struct {
		const char *path, *member;
		int n;
		bool zero;
	} defaults[] = {
		{ "spec.exempt", "nominalConcurrencyShares", 0, false },
		{ "spec.exempt", "lendablePercent", 0, false },
		{ "spec.limited", "nominalConcurrencyShares", 30, false },
		{ "spec.limited", "lendablePercent", 0, false },
		{ "spec.limited.limitResponse.queuing", "handSize", 8, true },
		{ "spec.limited.limitResponse.queuing", "queues", 64, true },
		{ "spec.limited.limitResponse.queuing", "queueLengthLimit", 50, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
		struct json *m = json_at(obj, defaults[i].path);

		if (json_is(m, JSON_OBJECT))
			default_int(rq->arena, m, defaults[i].member, defaults[i].n,
				    defaults[i].zero);
	}
}

const struct strategy prioritylevel_strategy = {
	.status_alone = true,
	.generation = true,
	.set_defaults = prioritylevel_defaults,
	.validate = prioritylevel_validate,
	.cell = prioritylevel_cell,
};
