/* SPDX-License-Identifier: Apache-2.0 */

/* Node, and the taint every new one starts with. */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/builtin-admission.h"
#include "server/cidr.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/write.h"
#include "json/json.h"

#define ROLE_LABEL "node-role.kubernetes.io/"

/* Members that Go writes also when they say nothing. */
static void node_status_defaults(struct arena *a, struct json *obj)
{
	static const char *const info[] = {
		"machineID",      "systemUUID",       "bootID",
		"kernelVersion",  "osImage",          "containerRuntimeVersion",
		"kubeletVersion", "kubeProxyVersion", "operatingSystem",
		"architecture",
	};
	struct json *status = json_get(obj, "status"), *port;

	if (!status)
		status = json_sub(a, obj, "status");
	if (!json_is(status, JSON_OBJECT))
		return;
	if (!json_get(status, "daemonEndpoints")) {
		port = json_sub(a, json_sub(a, status, "daemonEndpoints"), "kubeletEndpoint");
		json_set_int(a, port, "Port", 0);
	}
	if (json_get(status, "nodeInfo"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(info); i++)
		json_set_str(a, json_sub(a, status, "nodeInfo"), info[i], STR_EMPTY);
}

/* podCIDR is podCIDRs' first. */
static void node_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");
	struct str cidr;

	node_status_defaults(rq->arena, obj);
	if (!json_is(spec, JSON_OBJECT))
		return;
	cidr = json_str_at(spec, "podCIDR");
	if (!str_empty(cidr) && !json_len(json_get(spec, "podCIDRs")))
		json_push(json_sub_array(rq->arena, spec, "podCIDRs"), json_str(rq->arena, cidr));
}

/* seen: keys and effects of the taints before. */
static void node_taint(const struct valid *v, const struct json *t, struct json *seen,
		       const struct place *p)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute",
					       NULL };
	const struct json *effect = json_get(t, "effect");
	struct str key = json_str_at(t, "key"), pair;
	struct json *shown;

	if (str_empty(key)) {
		valid_invalid_str(v, AT(p, "key"), key, "name part must be non-empty");
		valid_name(v, AT(p, "key"), key, name_check_qualified_part);
	} else {
		valid_name(v, AT(p, "key"), key, name_check_qualified);
	}
	valid_name(v, AT(p, "value"), json_str_at(t, "value"), name_check_label_value);
	if (str_empty(json_as_str(effect)))
		valid_required(v, AT(p, "effect"), NULL);
	valid_enum(v, AT(p, "effect"), effect, effects);
	pair = arena_fmt(v->a, STR_FMT ":" STR_FMT, STR_ARG(key), STR_ARG(json_as_str(effect)));
	if (!json_get_s(seen, pair)) {
		json_set_s(v->a, seen, pair, json_null(v->a));
		return;
	}
	shown = json_object(v->a);
	json_set_str(v->a, shown, "Key", key);
	json_set_str(v->a, shown, "Value", json_str_at(t, "value"));
	json_set_str(v->a, shown, "Effect", json_as_str(effect));
	json_set(v->a, shown, "TimeAdded",
		 json_get(t, "timeAdded") ? json_copy(v->a, json_get(t, "timeAdded"))
					  : json_null(v->a));
	valid_duplicate_because(v, p, shown, "taints must be unique by key and effect pair");
}

static void node_cidrs(const struct valid *v, const struct json *cidrs, const struct place *p)
{
	size_t six = 0, four = 0;
	struct cidr c;

	json_for_each(it, cidrs)
	{
		if (!cidr_validate(v, json_as_str(it.val), AT_IDX(p, it.i), &c))
			continue;
		if (str_find_char(json_as_str(it.val), ':', 0) < json_as_str(it.val).n)
			six++;
		else
			four++;
	}
	if (six > 1 || four > 1 || json_len(cidrs) > 2)
		valid_invalid(v, p, cidrs, "may specify no more than one CIDR for each IP family");
}

static void node_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *taints = json_at(obj, "spec.taints");
	const struct place *p = AT(AT(NULL, "metadata"), "taints");
	struct json *seen = json_object(v.a);

	json_for_each(it, taints) node_taint(&v, it.val, seen, AT_IDX(p, it.i));
	node_cidrs(&v, json_at(obj, "spec.podCIDRs"), AT(AT(NULL, "spec"), "podCIDRs"));
}

static void node_validate_update(struct api_request *rq, const struct json *obj,
				 const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct place *p = AT(NULL, "spec");
	const struct json *was = json_at(old, "spec.podCIDRs");
	struct str provider = json_str_at(old, "spec.providerID");

	if (json_len(was) && !json_equal(was, json_at(obj, "spec.podCIDRs")))
		valid_forbidden(&v, AT(p, "podCIDRs"),
				"node updates may not change podCIDR except from \"\" to valid");
	if (!str_empty(provider) && !str_eq(provider, json_str_at(obj, "spec.providerID")))
		valid_forbidden(&v, AT(p, "providerID"),
				"node updates may not change providerID except from \"\" to valid");
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

/*
 * Heartbeats are the conditions' lastHeartbeatTime, and annotations named heartbeat under any
 * prefix, as agents on nodes keep them.
 */
static void node_strip(struct json *copy, const struct json *node)
{
	struct json *annotations = meta_annotations(copy);

	json_for_each(it, json_at(copy, "status.conditions"))
		json_delz(it.val, "lastHeartbeatTime");
	json_for_each(it, meta_annotations(node))
	{
		if (str_has_suffix(it.key, STR("/heartbeat")))
			json_del(annotations, it.key);
	}
}

static struct err *node_commit(struct api_request *rq, struct write *w, struct json *obj,
			       const struct json *old)
{
	w->lazy = old && write_is_heartbeat(rq->arena, obj, old, node_strip);
	return NULL;
}

const struct strategy node_strategy = {
	.keeps_status = true,
	.set_defaults = node_defaults,
	.validate = node_validate,
	.validate_update = node_validate_update,
	.warn = node_warn,
	.commit = node_commit,
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
