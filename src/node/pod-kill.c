/* SPDX-License-Identifier: Apache-2.0 */

/* Ending: one container, all of them, the whole Pod. Everything here may be repeated. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/rest.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cgroup.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/pod-status.h"
#include "node/pod.h"
#include "node/tokens.h"
#include "node/volumes.h"

#define MIN_GRACE_S     2
#define DELETE_RETRY_MS (5 * 1000)

/* Seconds of the grace that the hook has taken. */
static int64_t kill_pre_stop(struct pod *p, struct arena *a, const struct json *pod,
			     const struct rt_container *rc, int64_t grace)
{
	const struct json *c = pod_spec_container(pod, rc->name, NULL);
	const struct json *handler = json_path(c, "lifecycle", "preStop", NULL);
	struct mono begin = mono_now();
	struct hook h = { .pod = p, .spec = pod, .container = c, .container_id = rc->id };
	struct err *e;

	if (!handler || grace <= 0)
		return 0;
	h.pod_ip = json_str_at(pod, "status.podIP");
	e = hook_run(&h, a, handler, grace * 1000);
	if (e) {
		agent_event(p->agent, pod, "Warning", "FailedPreStopHook", "PreStopHook failed");
		err_log(&p->log, LOG_INFO, "preStop hook failed", e);
	}
	return mono_ms_since(begin) / 1000;
}

void pod_container_kill(struct pod *p, struct arena *a, const struct json *pod,
			const struct rt_container *rc, int64_t grace, const char *why)
{
	struct pod_container *c = pod_container_get(p, rc->name);
	int64_t left = grace;

	if (pod)
		agent_event(p->agent, pod, "Normal", "Killing", "%s",
			    why ? why : arena_fmt(a, "Stopping container %s", c->name).p);
	if (pod)
		left -= kill_pre_stop(p, a, pod, rc, grace);
	if (grace > 0)
		left = MAX(left, MIN_GRACE_S);
	pod_probes_stop(c);
	err_log(&p->log, LOG_WARN, "cannot stop a container",
		cri_stop_container(p->agent->cri, a, rc->id, MAX(left, 0)));
}

/* all of them */

struct kill_one {
	struct pod *pod;
	const struct json *spec;
	const struct rt_container *rc;
	int64_t grace;
};

static struct err *kill_one_main(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kill_one *k = arg;

	pod_container_kill(k->pod, a, k->spec, k->rc, k->grace, NULL);
	return fiber_check();
}

static bool kill_is_sidecar(const struct json *pod, const struct rt_container *rc)
{
	bool init = false;
	const struct json *c = pod ? pod_spec_container(pod, rc->name, &init) : NULL;

	return c && init && container_is_sidecar(c);
}

static bool kill_needed(const struct rt_container *rc)
{
	return rc->state == RT_RUNNING || rc->state == RT_UNKNOWN;
}

void pod_kill_all(struct pod *p, struct arena *a, const struct json *pod, const struct rt_pod *rt,
		  int64_t grace)
{
	struct fiber_group *g = fiber_group_new();
	struct mono begin = mono_now();
	const struct json *init = json_at(pod, "spec.initContainers");

	for (size_t i = 0; i < rt->n_containers; i++) {
		struct kill_one *k;

		if (!kill_needed(&rt->containers[i]) || kill_is_sidecar(pod, &rt->containers[i]))
			continue;
		k = arena_new_obj(a, struct kill_one);
		*k = (struct kill_one){ p, pod, &rt->containers[i], grace };
		fiber_group_add(g, "kill", kill_one_main, k);
	}
	err_ignore(fiber_group_join(g), "each kill logs its own");
	for (size_t i = json_len(init); i-- > 0;) {
		const struct rt_container *rc =
			rt_pod_container(rt, json_str_at(json_idx(init, i), "name"), 0);
		int64_t left = grace - mono_ms_since(begin) / 1000;

		if (rc && kill_needed(rc) && kill_is_sidecar(pod, rc))
			pod_container_kill(p, a, pod, rc, MAX(left, MIN(grace, MIN_GRACE_S)), NULL);
	}
}

/* the Pod */

static void end_stop_probes(struct pod *p)
{
	struct pod_container *c;

	list_for_each(c, &p->containers, link)
		pod_probes_stop(c);
}

static struct err *end_stop_sandboxes(struct pod *p, struct arena *a, const struct rt_pod *rt)
{
	for (size_t i = 0; i < rt->n_sandboxes; i++)
		if (rt->sandboxes[i].ready || !p->ended)
			TRY(cri_stop_sandbox(p->agent->cri, a, rt->sandboxes[i].id));
	return NULL;
}

static struct err *end_remove_all(struct pod *p, struct arena *a, const struct json *pod,
				  const struct rt_pod *rt)
{
	struct str uid = str_from(p->uid);

	for (size_t i = 0; i < rt->n_sandboxes; i++)
		TRY(cri_remove_sandbox(p->agent->cri, a, rt->sandboxes[i].id));
	TRY(volumes_tear_down(p->agent, a, uid));
	cgroup_remove_pod(a, p->agent->cfg.cgroup_root, uid);
	devices_release(p->agent->devices, uid);
	tokens_forget(uid);
	if (pod)
		return file_remove_tree(agent_pod_log_dir(p->agent, a, pod).p);
	return NULL;
}

static struct err *end_delete_in_api(struct pod *p, struct arena *a, const struct json *pod)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	if (p->gone || !pod || !meta_deleting(pod))
		return NULL;
	opts.grace_seconds = 0;
	opts.uid = str_from(p->uid);
	e = client_delete(p->agent->client, a, GVR("", "v1", "pods"), str_from(p->ns),
			  str_from(p->name), &opts);
	pod_due(p, DELETE_RETRY_MS);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone, or another pod of that name by now");
		return NULL;
	}
	return e;
}

struct err *pod_end(struct pod *p, struct arena *a, const struct json *pod)
{
	struct rt_pod rt;
	struct err *e = NULL;

	TRY(rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt));
	if (pod && rt_pod_any_running(&rt) && !p->gone)
		TRY(pod_report(p, a, pod, &rt));
	pod_kill_all(p, a, pod, &rt, p->end_grace);
	TRY(fiber_check());
	end_stop_probes(p);
	TRY(end_stop_sandboxes(p, a, &rt));
	TRY(rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt));
	if (rt_pod_any_running(&rt))
		return err_new(ERR_INTERNAL, "a container is still running");
	p->ended = true;
	if (pod && !p->gone) {
		e = pod_report(p, a, pod, &rt);
		if (e && !err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_CONFLICT))
			return e;
		err_ignore(e, "deleted meanwhile");
	}
	fiber_mask_cancel();
	e = end_remove_all(p, a, pod, &rt);
	fiber_unmask_cancel();
	TRY(e);
	return end_delete_in_api(p, a, pod);
}

struct err *pod_rest(struct pod *p, struct arena *a, const struct json *pod)
{
	struct rt_pod rt;

	TRY(rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt));
	end_stop_probes(p);
	if (rt_pod_any_running(&rt)) {
		pod_kill_all(p, a, pod, &rt,
			     json_int_at(pod, "spec.terminationGracePeriodSeconds", 30));
		TRY(fiber_check());
	}
	for (size_t i = 0; i < rt.n_sandboxes; i++)
		if (rt.sandboxes[i].ready)
			TRY(cri_stop_sandbox(p->agent->cri, a, rt.sandboxes[i].id));
	devices_release(p->agent->devices, str_from(p->uid));
	TRY(rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt));
	return pod_report(p, a, pod, &rt);
}
