/* SPDX-License-Identifier: Apache-2.0 */

/* Classes that others name: PriorityClass, RuntimeClass. */

#include "api/meta.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

/* PriorityClass */
#define USER_PRIORITY_MAX 1000000000

static void priorityclass_validate(struct api_request *rq UNUSED, const struct json *obj,
				   struct err **e)
{
	int64_t value = json_int_at(obj, "value", 0);
	bool system = str_has_prefix(meta_name(obj), STR("system-"));
	bool ours = str_eqz(meta_name(obj), "system-node-critical") ||
		    str_eqz(meta_name(obj), "system-cluster-critical");

	if (system && !ours)
		cause_forbidden(
			e, STR("metadata.name"),
			"priority class names with 'system-' prefix are reserved for system "
			"use only. error: the name of a system priority class is unknown");
	else if (!system && value > USER_PRIORITY_MAX)
		cause_forbidden(e, STR("value"),
				"maximum allowed value of a user defined priority is %d",
				USER_PRIORITY_MAX);
}

static void priorityclass_validate_update(struct api_request *rq UNUSED, const struct json *obj,
					  const struct json *old, struct err **e)
{
	const struct json *v = json_get(obj, "value");
	const struct json *p = json_get(obj, "preemptionPolicy");

	if (!json_equal(v, json_get(old, "value")))
		cause_forbidden(e, STR("value"), "may not be changed in an update.");
	if (p && !json_equal(p, json_get(old, "preemptionPolicy")))
		cause_invalid(e, STR("preemptionPolicy"), p, "field is immutable");
}

static void priorityclass_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			       struct json *cells)
{
	json_push(cells, json_bool(a, json_bool_at(obj, "globalDefault", false)));
}

const struct strategy priorityclass_strategy = {
	.generation = true,
	.validate = priorityclass_validate,
	.validate_update = priorityclass_validate_update,
	.cell = priorityclass_cell,
};

/* RuntimeClass */
const struct strategy runtimeclass_strategy = {
	.needs_rv = true,
	.create_on_update = true,
};
