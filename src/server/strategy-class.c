/* SPDX-License-Identifier: Apache-2.0 */

/* Classes that others name: PriorityClass, RuntimeClass. */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "server/errors.h"
#include "server/pod-validate.h"
#include "server/request.h"
#include "server/resource-names.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
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
			"use only. error: " STR_FMT " is not a known system priority class",
			STR_ARG(meta_name(obj)));
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
static bool toleration_same(const struct json *x, const struct json *y)
{
	static const char *const keys[] = { "key", "operator", "value", "effect" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!str_eq(json_str_at(x, keys[i]), json_str_at(y, keys[i])))
			return false;
	}
	return true;
}

static void runtimeclass_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *list = json_at(obj, "scheduling.tolerations");
	const struct place *p = AT(NULL, "scheduling"), *at = AT(p, "tolerations");
	struct str handler = json_str_at(obj, "handler");

	if (!str_empty(handler))
		valid_name(&v, AT(NULL, "handler"), handler, name_check_dns_label);
	overhead_validate(&v, json_at(obj, "overhead.podFixed"), AT(NULL, "overhead"));
	valid_labels(&v, AT(p, "nodeSelector"), json_at(obj, "scheduling.nodeSelector"));
	tolerations_validate(&v, list, at);
	json_for_each(it, list)
	{
		for (size_t k = 0; k < it.i; k++) {
			if (!toleration_same(json_idx(list, k), it.val))
				continue;
			valid_duplicate(&v, AT_IDX(at, it.i), it.val);
			break;
		}
	}
}

static void runtimeclass_validate_update(struct api_request *rq, const struct json *obj,
					 const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	valid_immutable(&v, AT(NULL, "handler"), json_get(obj, "handler"),
			json_get(old, "handler"));
}

const struct strategy runtimeclass_strategy = {
	.needs_rv = true,
	.create_on_update = true,
	.validate = runtimeclass_validate,
	.validate_update = runtimeclass_validate_update,
	.warn = runtimeclass_warn,
};
