/* SPDX-License-Identifier: Apache-2.0 */

/* Node, and the taint every new one starts with. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/builtin-admission.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

#define ROLE_LABEL "node-role.kubernetes.io/"

static void node_validate_update(struct api_request *rq UNUSED, const struct json *obj,
				 const struct json *old, struct err **e)
{
	static const char *const once[] = { "podCIDR", "providerID" };

	for (size_t i = 0; i < ARRAY_LEN(once); i++) {
		struct str was = json_str_at(json_get(old, "spec"), once[i]);
		struct str is = json_str_at(json_get(obj, "spec"), once[i]);

		if (!str_empty(was) && !str_eq(was, is))
			cause_forbidden(e, STR("spec"), "%s may not be changed once set", once[i]);
	}
}

static struct str node_status(struct arena *a, const struct json *obj)
{
	const struct json *ready = condition_find(json_get(obj, "status"), "Ready");
	const char *s = "Unknown";

	if (ready)
		s = str_eqz(json_str_at(ready, "status"), "True") ? "Ready" : "NotReady";
	return arena_fmt(a, "%s%s", s,
			 json_bool_at(obj, "spec.unschedulable", false) ? ",SchedulingDisabled"
									: "");
}

static struct str node_roles(struct arena *a, const struct json *obj)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, meta_labels(obj))
	{
		struct str key = it.key;

		if (str_strip_prefix(&key, STR(ROLE_LABEL)) && !str_empty(key))
			buf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(key));
	}
	return b.n ? buf_to_arena(&b, a) : STR("<none>");
}

static struct str node_address(const struct json *obj, const char *type)
{
	const struct json *ad =
		json_find_by(json_at(obj, "status.addresses"), "type", str_from(type));

	return json_str_at(ad, "address");
}

static const struct {
	const char *column, *path;
} node_info_rows[] = {
	{ "OS-Image", "status.nodeInfo.osImage" },
	{ "Kernel-Version", "status.nodeInfo.kernelVersion" },
	{ "Container-Runtime", "status.nodeInfo.containerRuntimeVersion" },
};

static void node_cell(struct arena *a, const struct json *obj, struct str column,
		      struct json *cells)
{
	if (str_eqz(column, "Status"))
		cell_str(a, cells, node_status(a, obj));
	else if (str_eqz(column, "Roles"))
		cell_str(a, cells, node_roles(a, obj));
	else if (str_eqz(column, "Internal-IP"))
		cell_or_none(a, cells, node_address(obj, "InternalIP"));
	else if (str_eqz(column, "External-IP"))
		cell_or_none(a, cells, node_address(obj, "ExternalIP"));
	for (size_t i = 0; i < ARRAY_LEN(node_info_rows); i++) {
		struct str v = json_str_at(obj, node_info_rows[i].path);

		if (str_eqz(column, node_info_rows[i].column))
			cell_str(a, cells, str_empty(v) ? STR("<unknown>") : v);
	}
}

const struct strategy node_strategy = {
	.keeps_status = true,
	.validate_update = node_validate_update,
	.cell = node_cell,
};

/* TaintNodesByCondition */
static bool taint_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_CREATE && str_eqz(ad->res->store_name, "nodes");
}

static struct err *taint_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *taints = json_sub_array(a, json_sub(a, ad->obj, "spec"), "taints"), *t;

	json_for_each(it, taints)
	{
		if (str_eqz(json_str_at(it.val, "key"), "node.kubernetes.io/not-ready") &&
		    str_eqz(json_str_at(it.val, "effect"), "NoSchedule"))
			return NULL;
	}
	t = json_object(a);
	json_set_str(a, t, "key", STR("node.kubernetes.io/not-ready"));
	json_set_str(a, t, "effect", STR("NoSchedule"));
	json_push(taints, t);
	return NULL;
}

struct admission_plugin node_taint_plugin = {
	.name = "TaintNodesByCondition",
	.wants = taint_wants,
	.mutate = taint_mutate,
};
