/* SPDX-License-Identifier: Apache-2.0 */

#include "node/pod-status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "node/resources.h"
#include "json/json.h"

#define LOST_MESSAGE                                                                   \
	"The container could not be located when the pod was deleted.  The container " \
	"used to be Running"

bool container_is_sidecar(const struct json *container)
{
	return str_eqz(json_str_at(container, "restartPolicy"), "Always");
}

bool pod_phase_is_final(struct str phase)
{
	return str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed");
}

static struct str pod_restart_policy(const struct json *pod)
{
	return json_str_at(pod, "spec.restartPolicy");
}

bool container_should_restart(const struct json *pod, const struct json *container,
			      const struct rt_container *last)
{
	if (meta_deleting(pod))
		return false;
	if (!last || last->state == RT_CREATED || last->state == RT_UNKNOWN)
		return true;
	if (last->state == RT_RUNNING)
		return false;
	if (container_is_sidecar(container))
		return true;
	if (str_eqz(pod_restart_policy(pod), "Never"))
		return false;
	if (str_eqz(pod_restart_policy(pod), "OnFailure"))
		return last->exit_code != 0;
	return true;
}

/* container states */

static void status_set_time(struct arena *a, struct json *obj, const char *key, struct wall t)
{
	if (t.ns > 0)
		json_set_str(a, obj, key, wall_format(a, t));
	else
		json_set(a, obj, key, json_null(a));
}

static struct json *status_terminated(struct arena *a, const struct rt_container *c)
{
	struct json *state = json_object(a), *t = json_sub(a, state, "terminated");
	struct str reason = c->reason;

	if (!reason.n)
		reason = c->exit_code ? STR("Error") : STR("Completed");
	json_set_int(a, t, "exitCode", c->exit_code);
	json_set_str(a, t, "reason", reason);
	if (c->message.n && str_is_utf8(c->message))
		json_set_str(a, t, "message", c->message);
	status_set_time(a, t, "startedAt", c->started);
	status_set_time(a, t, "finishedAt", c->finished);
	json_set_str(a, t, "containerID", arena_fmt(a, "containerd://%.*s", STR_ARG(c->id)));
	return state;
}

static struct json *status_waiting(struct arena *a, struct str reason, struct str message)
{
	struct json *state = json_object(a), *w = json_sub(a, state, "waiting");

	json_set_str(a, w, "reason", reason);
	if (message.n)
		json_set_str(a, w, "message", message);
	return state;
}

static struct json *status_lost(struct arena *a, const struct json *old)
{
	struct json *state = json_object(a), *t = json_sub(a, state, "terminated");

	json_set_int(a, t, "exitCode", 137);
	json_set_str(a, t, "reason", STR("ContainerStatusUnknown"));
	json_set_str(a, t, "message", STR(LOST_MESSAGE));
	json_set(a, t, "startedAt", json_null(a));
	json_set(a, t, "finishedAt", json_null(a));
	if (json_str_at(old, "containerID").n)
		json_set_str(a, t, "containerID", json_str_at(old, "containerID"));
	return state;
}

static const struct container_view *status_view(const struct status_input *in, struct str name)
{
	for (size_t i = 0; i < in->n_views; i++)
		if (str_eq(in->views[i].name, name))
			return &in->views[i];
	return NULL;
}

/* The runtime knows nothing of the container: go by what the API says it was. */
static void status_from_old(struct arena *a, const struct status_input *in, struct json *cs,
			    const struct json *container, const struct json *old,
			    struct json *waiting)
{
	bool never =
		str_eqz(pod_restart_policy(in->pod), "Never") && !container_is_sidecar(container);
	int64_t restarts = json_int_at(old, "restartCount", 0);

	if (json_at(old, "state.terminated") &&
	    (never || in->ended || json_int_at(old, "state.terminated.exitCode", 1) == 0)) {
		json_set(a, cs, "state", json_copy(a, json_get(old, "state")));
	} else if (json_at(old, "state.running") && (never || in->ended)) {
		json_set(a, cs, "state", status_lost(a, old));
	} else {
		json_set(a, cs, "state", waiting);
		if (json_at(old, "state.running")) {
			json_set(a, cs, "lastState", status_lost(a, old));
			restarts++;
		} else if (json_at(old, "state.terminated")) {
			json_set(a, cs, "lastState", json_copy(a, json_get(old, "state")));
			restarts++;
		}
	}
	if (!json_get(cs, "lastState"))
		json_set(a, cs, "lastState",
			 json_get(old, "lastState") ? json_copy(a, json_get(old, "lastState"))
						    : json_object(a));
	json_set_int(a, cs, "restartCount", restarts);
	json_set_str(a, cs, "image", json_str_at(container, "image"));
	json_set_str(a, cs, "imageID", json_str_at(old, "imageID"));
	if (json_str_at(old, "containerID").n)
		json_set_str(a, cs, "containerID", json_str_at(old, "containerID"));
}

static void status_from_runtime(struct arena *a, const struct status_input *in, struct json *cs,
				const struct rt_container *cur, const struct container_view *view,
				struct json *waiting)
{
	const struct rt_container *prev = rt_pod_container(in->rt, cur->name, 1);
	struct json *last =
		prev && prev->state == RT_EXITED ? status_terminated(a, prev) : json_object(a);
	struct json *state = waiting;

	switch (cur->state) {
	case RT_RUNNING:
		state = json_object(a);
		status_set_time(a, json_sub(a, state, "running"), "startedAt", cur->started);
		break;
	case RT_EXITED:
		state = status_terminated(a, cur);
		if (view && view->waiting_reason.n && !in->ended) {
			last = state;
			state = waiting;
		}
		break;
	case RT_CREATED:
	case RT_UNKNOWN:
		break;
	}
	json_set(a, cs, "state", state);
	json_set(a, cs, "lastState", last);
	json_set_int(a, cs, "restartCount", cur->restarts);
	json_set_str(a, cs, "image", cur->image);
	json_set_str(a, cs, "imageID", cur->image_ref);
	json_set_str(a, cs, "containerID", arena_fmt(a, "containerd://%.*s", STR_ARG(cur->id)));
}

/* What the running instance has: the spec's, since we do not resize in place. */
static void status_resources(struct arena *a, const struct json *container, struct json *cs)
{
	const struct json *res = json_get(container, "resources");
	const struct json *requests = json_get(res, "requests");
	struct json *copy = json_sub(a, cs, "resources");

	if (json_len(requests)) {
		json_set(a, cs, "allocatedResources", json_copy(a, requests));
		json_set(a, copy, "requests", json_copy(a, requests));
	}
	if (json_len(json_get(res, "limits")))
		json_set(a, copy, "limits", json_copy(a, json_get(res, "limits")));
}

static struct json *status_of_container(struct arena *a, const struct status_input *in,
					const struct json *container, const struct json *old_list,
					bool init, struct str default_reason)
{
	struct str name = json_str_at(container, "name");
	const struct rt_container *cur = rt_pod_container(in->rt, name, 0);
	const struct container_view *view = status_view(in, name);
	struct json *cs = json_object(a), *waiting;
	bool running = cur && cur->state == RT_RUNNING, started, ready;

	waiting = view && view->waiting_reason.n
			  ? status_waiting(a, view->waiting_reason, view->waiting_message)
			  : status_waiting(a, default_reason, STR_EMPTY);
	json_set_str(a, cs, "name", name);
	if (cur)
		status_from_runtime(a, in, cs, cur, view, waiting);
	else
		status_from_old(a, in, cs, container, json_find_by(old_list, "name", name),
				waiting);
	started = running && view && view->started;
	ready = started && view && view->ready;
	if (init && !container_is_sidecar(container))
		ready = json_int_at(cs, "state.terminated.exitCode", -1) == 0;
	json_set_bool(a, cs, "ready", ready);
	json_set_bool(a, cs, "started", started);
	if (running)
		status_resources(a, container, cs);
	if (view && view->volume_mounts && json_len(view->volume_mounts))
		json_set(a, cs, "volumeMounts", json_copy(a, view->volume_mounts));
	return cs;
}

static bool status_init_done(const struct json *container, const struct json *cs)
{
	if (container_is_sidecar(container))
		return json_bool_at(cs, "started", false);
	return json_int_at(cs, "state.terminated.exitCode", -1) == 0;
}

/* phase */

struct phase_counts {
	int init_pending, init_failed;
	int waiting, running, stopped, succeeded, unknown;
};

static void phase_count_init(const struct json *spec, const struct json *cs, struct phase_counts *n)
{
	if (status_init_done(spec, cs))
		return;
	if (!container_is_sidecar(spec) &&
	    (json_at(cs, "state.terminated") ||
	     json_int_at(cs, "lastState.terminated.exitCode", 0) != 0))
		n->init_failed++;
	else
		n->init_pending++;
}

static void phase_count_app(const struct json *cs, struct phase_counts *n)
{
	if (json_at(cs, "state.running")) {
		n->running++;
	} else if (json_at(cs, "state.terminated")) {
		n->stopped++;
		if (json_int_at(cs, "state.terminated.exitCode", 1) == 0)
			n->succeeded++;
	} else if (json_at(cs, "state.waiting")) {
		if (json_at(cs, "lastState.terminated"))
			n->stopped++;
		else
			n->waiting++;
	} else {
		n->unknown++;
	}
}

static const char *status_phase(const struct json *pod, const struct json *status, bool ended)
{
	struct phase_counts n = { 0 };
	struct str policy = pod_restart_policy(pod);
	size_t i = 0;
	bool any_app;

	json_for_each(it, json_at(pod, "spec.initContainers")) phase_count_init(
		it.val, json_idx(json_get(status, "initContainerStatuses"), i++), &n);
	json_for_each(it, json_get(status, "containerStatuses")) phase_count_app(it.val, &n);
	any_app = n.running || n.stopped;
	if (ended && n.stopped && !n.running && !n.waiting && !n.unknown)
		return n.stopped == n.succeeded && !n.init_failed ? "Succeeded" : "Failed";
	if (n.init_failed && str_eqz(policy, "Never"))
		return "Failed";
	if ((n.init_pending || n.init_failed) && !any_app)
		return "Pending";
	if (n.waiting)
		return "Pending";
	if (n.running && !n.unknown)
		return "Running";
	if (!n.running && n.stopped && !n.unknown) {
		if (str_eqz(policy, "Always"))
			return "Running";
		if (n.stopped == n.succeeded)
			return "Succeeded";
		return str_eqz(policy, "Never") ? "Failed" : "Running";
	}
	return "Pending";
}

/* conditions */

static void status_condition(struct arena *a, const struct status_input *in, struct json *status,
			     const char *type, bool value, struct str reason, struct str message)
{
	struct json *c;

	condition_set(a, status, type, value ? "True" : "False", reason, message, in->now);
	c = json_find_by(json_get(status, "conditions"), "type", str_from(type));
	json_set_int(a, c, "observedGeneration", json_int_at(in->pod, "metadata.generation", 0));
	if (!json_get(c, "lastProbeTime"))
		json_set(a, c, "lastProbeTime", json_null(a));
}

static void status_name_add(struct buf *b, struct str name)
{
	buf_addf(b, "%s%.*s", b->n ? " " : "", STR_ARG(name));
}

/* Once an app container has run, the init containers have done their work. */
static bool status_app_ran(const struct json *status)
{
	json_for_each(
		it, json_get(status,
			     "containerStatuses")) if (json_at(it.val, "state.running") ||
						       json_at(it.val, "state.terminated") ||
						       json_at(it.val,
							       "lastState.terminated")) return true;
	return false;
}

static void status_condition_initialized(struct arena *a, const struct status_input *in,
					 struct json *status)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t i = 0;

	if (str_eqz(json_str_at(status, "phase"), "Succeeded")) {
		status_condition(a, in, status, "Initialized", true, STR("PodCompleted"),
				 STR_EMPTY);
		return;
	}
	json_for_each(it, json_at(in->pod, "spec.initContainers"))
	{
		const struct json *cs = json_idx(json_get(status, "initContainerStatuses"), i++);

		if (!status_init_done(it.val, cs) && !status_app_ran(status))
			status_name_add(&b, json_str_at(it.val, "name"));
	}
	status_condition(a, in, status, "Initialized", !b.n,
			 b.n ? STR("ContainersNotInitialized") : STR_EMPTY,
			 b.n ? arena_fmt(a, "containers with incomplete status: [%s]", b.p)
			     : STR_EMPTY);
}

/* Why containers are not ready; an empty reason when they are. */
static void status_unready(struct arena *a, const struct status_input *in,
			   const struct json *status, struct str *ret_reason,
			   struct str *ret_message)
{
	struct str phase = json_str_at(status, "phase");
	_cleanup_buf_ struct buf b = { 0 };
	size_t i = 0;

	*ret_message = STR_EMPTY;
	if (pod_phase_is_final(phase)) {
		*ret_reason = str_eqz(phase, "Succeeded") ? STR("PodCompleted") : STR("PodFailed");
		return;
	}
	json_for_each(it, json_at(in->pod, "spec.initContainers"))
	{
		const struct json *cs = json_idx(json_get(status, "initContainerStatuses"), i++);

		if (container_is_sidecar(it.val) && !json_bool_at(cs, "ready", false))
			status_name_add(&b, json_str_at(it.val, "name"));
	}
	json_for_each(it, json_get(status, "containerStatuses")) if (!json_bool_at(it.val, "ready",
										   false))
		status_name_add(&b, json_str_at(it.val, "name"));
	*ret_reason = b.n ? STR("ContainersNotReady") : STR_EMPTY;
	if (b.n)
		*ret_message = arena_fmt(a, "containers with unready status: [%s]", b.p);
}

static void status_condition_ready(struct arena *a, const struct status_input *in,
				   struct json *status)
{
	struct str reason, message;
	_cleanup_buf_ struct buf b = { 0 };

	status_unready(a, in, status, &reason, &message);
	status_condition(a, in, status, "ContainersReady", !reason.n, reason, message);
	json_for_each(it, json_at(in->pod, "spec.readinessGates"))
	{
		struct str type = json_str_at(it.val, "conditionType");

		if (!reason.n && !condition_is_true(status, arena_strz(a, type))) {
			reason = STR("ReadinessGatesNotReady");
			buf_addf(&b,
				 "%scorresponding condition of pod readiness gate \"%.*s\" "
				 "does not exist.",
				 b.n ? ", " : "", STR_ARG(type));
		}
	}
	if (b.n)
		message = buf_to_arena(&b, a);
	status_condition(a, in, status, "Ready", !reason.n, reason, message);
}

static void status_conditions(struct arena *a, const struct status_input *in, struct json *status)
{
	const struct rt_sandbox *sb = rt_pod_sandbox(in->rt);
	bool host_net = json_bool_at(in->pod, "spec.hostNetwork", false);

	status_condition(a, in, status, "PodReadyToStartContainers", sb && (host_net || sb->ip.n),
			 STR_EMPTY, STR_EMPTY);
	status_condition_initialized(a, in, status);
	status_condition_ready(a, in, status);
	if (!condition_is_true(status, "PodScheduled"))
		status_condition(a, in, status, "PodScheduled", true, STR_EMPTY, STR_EMPTY);
}

/* the whole */

static void status_addresses(struct arena *a, const struct status_input *in, struct json *status)
{
	const struct rt_sandbox *sb = rt_pod_sandbox(in->rt);
	const struct json *old = json_get(in->pod, "status");
	struct str ip = sb ? sb->ip : STR_EMPTY;
	struct json *list;

	json_set_str(a, status, "hostIP", in->node_ip);
	list = json_sub_array(a, status, "hostIPs");
	json_push(list, json_object(a));
	json_set_str(a, json_idx(list, 0), "ip", in->node_ip);
	if (json_bool_at(in->pod, "spec.hostNetwork", false))
		ip = in->node_ip;
	if (!ip.n)
		ip = json_str_at(old, "podIP");
	if (!ip.n)
		return;
	json_set_str(a, status, "podIP", ip);
	list = json_sub_array(a, status, "podIPs");
	json_push(list, json_object(a));
	json_set_str(a, json_idx(list, 0), "ip", ip);
	for (size_t i = 0; sb && i < sb->n_more_ips; i++) {
		struct json *x = json_object(a);

		json_set_str(a, x, "ip", sb->more_ips[i]);
		json_push(list, x);
	}
}

static void status_containers(struct arena *a, const struct status_input *in, struct json *status)
{
	const struct json *init = json_at(in->pod, "spec.initContainers");
	const struct json *old = json_get(in->pod, "status");
	bool init_done = true;
	struct json *list;
	size_t i = 0;

	if (json_len(init)) {
		json_delz(status, "initContainerStatuses");
		list = json_sub_array(a, status, "initContainerStatuses");
		json_for_each(it, init)
			json_push(list, status_of_container(a, in, it.val,
							    json_get(old, "initContainerStatuses"),
							    true, STR("PodInitializing")));
		json_for_each(it, init) init_done =
			status_init_done(it.val, json_idx(list, i++)) && init_done;
	}
	json_delz(status, "containerStatuses");
	list = json_sub_array(a, status, "containerStatuses");
	json_for_each(it, json_at(in->pod, "spec.containers")) json_push(
		list,
		status_of_container(a, in, it.val, json_get(old, "containerStatuses"), false,
				    init_done ? STR("ContainerCreating") : STR("PodInitializing")));
}

struct json *pod_status_render(struct arena *a, const struct status_input *in)
{
	const struct json *old = json_get(in->pod, "status");
	struct str old_phase = json_str_at(old, "phase");
	struct json *status = json_object(a);

	if (json_get(old, "conditions"))
		json_set(a, status, "conditions", json_copy(a, json_get(old, "conditions")));
	status_containers(a, in, status);
	if (in->failed_reason.n) {
		json_set_str(a, status, "phase", STR("Failed"));
		json_set_str(a, status, "reason", in->failed_reason);
		json_set_str(a, status, "message", in->failed_message);
	} else if (pod_phase_is_final(old_phase)) {
		json_set_str(a, status, "phase", old_phase);
		if (json_str_at(old, "reason").n)
			json_set_str(a, status, "reason", json_str_at(old, "reason"));
		if (json_str_at(old, "message").n)
			json_set_str(a, status, "message", json_str_at(old, "message"));
	} else {
		json_set_str(a, status, "phase",
			     str_from(status_phase(in->pod, status, in->ended)));
	}
	if (pod_phase_is_final(json_str_at(status, "phase")) && !in->ended) {
		struct status_input over = *in; /* nothing waits for a start any more */

		over.ended = true;
		status_containers(a, &over, status);
	}
	status_addresses(a, in, status);
	json_set_str(a, status, "startTime",
		     json_str_at(old, "startTime").n ? json_str_at(old, "startTime")
						     : wall_format(a, in->now));
	json_set_str(a, status, "qosClass",
		     json_str_at(old, "qosClass").n ? json_str_at(old, "qosClass")
						    : str_from(qos_name(qos_of_pod(in->pod))));
	json_set_int(a, status, "observedGeneration",
		     json_int_at(in->pod, "metadata.generation", 0));
	status_conditions(a, in, status);
	return status;
}
