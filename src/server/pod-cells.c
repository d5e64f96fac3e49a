/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-cells.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "server/table.h"
#include "json/json.h"

static int64_t pod_restarts(const struct json *statuses, struct wall *ret_last)
{
	int64_t n = 0;

	json_for_each(it, statuses)
	{
		struct wall t;

		n += json_int_at(it.val, "restartCount", 0);
		if (wall_parse(json_str_at(it.val, "lastState.terminated.finishedAt"), &t) &&
		    t.ns > ret_last->ns)
			*ret_last = t;
	}
	return n;
}

/* "reason", or how it ended: "Error", "ExitCode:3", "Signal:9" */
static struct str terminated_text(struct arena *a, const struct json *t)
{
	struct str reason = json_str_at(t, "reason");

	if (!str_empty(reason))
		return reason;
	if (json_int_at(t, "signal", 0))
		return arena_fmt(a, "Signal:%lld", (long long)json_int_at(t, "signal", 0));
	return arena_fmt(a, "ExitCode:%lld", (long long)json_int_at(t, "exitCode", 0));
}

static bool init_restarts_always(const struct json *obj, size_t i)
{
	const struct json *c = json_idx(json_at(obj, "spec.initContainers"), i);

	return str_eqz(json_str_at(c, "restartPolicy"), "Always");
}

/* "Init:1/2" and the like while init containers run; p NULL when they are done. */
static struct str pod_init_reason(struct arena *a, const struct json *obj)
{
	size_t total = json_len(json_at(obj, "spec.initContainers"));

	json_for_each(it, json_at(obj, "status.initContainerStatuses"))
	{
		const struct json *term = json_at(it.val, "state.terminated");
		struct str waiting = json_str_at(it.val, "state.waiting.reason");

		if (term && json_int_at(term, "exitCode", 0) == 0)
			continue;
		if (init_restarts_always(obj, it.i) && json_bool_at(it.val, "started", false))
			continue;
		if (term)
			return arena_cat(a, STR("Init:"), terminated_text(a, term));
		if (!str_empty(waiting) && !str_eqz(waiting, "PodInitializing"))
			return arena_cat(a, STR("Init:"), waiting);
		return arena_fmt(a, "Init:%zu/%zu", it.i, total);
	}
	return (struct str){ 0 };
}

static struct str pod_container_reason(struct arena *a, const struct json *obj, struct str reason)
{
	const struct json *statuses = json_at(obj, "status.containerStatuses");
	bool running = false;

	for (size_t i = json_len(statuses); i-- > 0;) {
		const struct json *c = json_idx(statuses, i);
		const struct json *term = json_at(c, "state.terminated");
		struct str waiting = json_str_at(c, "state.waiting.reason");

		if (!str_empty(waiting))
			reason = waiting;
		else if (term)
			reason = terminated_text(a, term);
		else if (json_bool_at(c, "ready", false) && json_at(c, "state.running"))
			running = true;
	}
	/* some ended well while others go on */
	if (str_eqz(reason, "Completed") && running)
		reason = condition_is_true(json_get(obj, "status"), "Ready") ? STR("Running")
									     : STR("NotReady");
	return reason;
}

static struct str pod_status(struct arena *a, const struct json *obj)
{
	struct str reason = json_str_at(obj, "status.reason"), init;
	const struct json *sched = condition_find(json_get(obj, "status"), "PodScheduled");

	if (str_empty(reason))
		reason = json_str_at(obj, "status.phase");
	if (str_eqz(json_str_at(sched, "reason"), "SchedulingGated"))
		reason = STR("SchedulingGated");
	init = pod_init_reason(a, obj);
	if (init.p)
		reason = init;
	else
		reason = pod_container_reason(a, obj, reason);
	if (!meta_deleting(obj))
		return reason;
	if (str_eqz(json_str_at(obj, "status.reason"), "NodeLost"))
		return STR("Unknown");
	if (str_eqz(json_str_at(obj, "status.phase"), "Failed") ||
	    str_eqz(json_str_at(obj, "status.phase"), "Succeeded"))
		return reason;
	return STR("Terminating");
}

static struct str pod_ready(struct arena *a, const struct json *obj)
{
	size_t total = json_len(json_at(obj, "spec.containers")), ready = 0;

	json_for_each(it, json_at(obj, "spec.initContainers"))
	{
		if (init_restarts_always(obj, it.i))
			total++;
	}
	json_for_each(it, json_at(obj, "status.initContainerStatuses"))
	{
		if (init_restarts_always(obj, it.i) && json_bool_at(it.val, "ready", false))
			ready++;
	}
	json_for_each(it, json_at(obj, "status.containerStatuses"))
	{
		if (json_bool_at(it.val, "ready", false) && json_at(it.val, "state.running"))
			ready++;
	}
	return arena_fmt(a, "%zu/%zu", ready, total);
}

static struct str pod_restarts_text(struct arena *a, const struct json *obj)
{
	struct wall last = { 0 };
	int64_t n = pod_restarts(json_at(obj, "status.containerStatuses"), &last);

	if (pod_status(a, obj).n > 5 && str_has_prefix(pod_status(a, obj), STR("Init:")))
		n += pod_restarts(json_at(obj, "status.initContainerStatuses"), &last);
	if (n && last.ns)
		return arena_fmt(a, "%lld (" STR_FMT " ago)", (long long)n,
				 STR_ARG(duration_human(a, wall_now().ns - last.ns)));
	return arena_fmt(a, "%lld", (long long)n);
}

static struct str pod_gates(struct arena *a, const struct json *obj)
{
	const struct json *gates = json_at(obj, "spec.readinessGates");
	size_t ok = 0;

	if (!json_len(gates))
		return STR("<none>");
	json_for_each(it, gates)
	{
		char *type = arena_strz(a, json_str_at(it.val, "conditionType"));

		if (condition_is_true(json_get(obj, "status"), type))
			ok++;
	}
	return arena_fmt(a, "%zu/%zu", ok, json_len(gates));
}

void pod_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	if (str_eqz(column, "Ready"))
		cell_str(a, cells, pod_ready(a, obj));
	else if (str_eqz(column, "Status"))
		cell_str(a, cells, pod_status(a, obj));
	else if (str_eqz(column, "Restarts"))
		cell_str(a, cells, pod_restarts_text(a, obj));
	else if (str_eqz(column, "IP"))
		cell_or_none(a, cells, json_str_at(obj, "status.podIP"));
	else if (str_eqz(column, "Node"))
		cell_or_none(a, cells, json_str_at(obj, "spec.nodeName"));
	else if (str_eqz(column, "Nominated Node"))
		cell_or_none(a, cells, json_str_at(obj, "status.nominatedNodeName"));
	else
		cell_str(a, cells, pod_gates(a, obj));
}
