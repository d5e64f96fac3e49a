/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A Pod that should run. Every sync looks at everything and does what is missing:
 *
 *     kill what must not run -> sandbox -> volumes -> init containers, one by one (sidecars go on
 *     running) -> app containers -> status
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/informer.h"
#include "client/rest.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cgroup.h"
#include "node/container-config.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/dns.h"
#include "node/env.h"
#include "node/hosts.h"
#include "node/pod-status.h"
#include "node/pod.h"
#include "node/volumes.h"

#define VOLUMES_REFRESH_MS       (15 * 1000)
#define SANDBOX_BACKOFF_FIRST_MS 500
#define SANDBOX_BACKOFF_MAX_MS   (30 * 1000)

/* what has to be looked up for environments and volumes */

static struct err *sync_lookup(void *ctx, struct arena *a, const char *resource, struct str name,
			       struct json **ret)
{
	const struct pod *p = ctx;
	struct gvr r = GVR("", "v1", "");
	struct err *e;

	*ret = NULL;
	r.resource = str_from(resource);
	e = client_get(p->agent->client, a, r, str_from(p->ns), name, ret);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "the caller knows what absence means");
		return NULL;
	}
	return e;
}

struct service_pick {
	struct arena *a;
	struct json *list;
	bool links;
};

static bool sync_pick_service(const struct obj *o, void *ctx)
{
	struct service_pick *pick = ctx;
	bool master = str_eqz(o->ns, "default") && str_eqz(o->name, "kubernetes");

	if (pick->links || master)
		json_push(pick->list, json_copy(pick->a, obj_tree(o)));
	return true;
}

/* Services of the Pod's namespace, and default/kubernetes always. */
static const struct json *sync_services(struct pod *p, struct arena *a, const struct json *pod)
{
	struct service_pick pick = { a, json_array(a), false };
	struct str ns = str_from(p->ns);

	if (!str_eqz(ns, "default"))
		informer_each(p->agent->services, STR("default"), sync_pick_service, &pick);
	pick.links = json_bool_at(pod, "spec.enableServiceLinks", true);
	informer_each(p->agent->services, ns, sync_pick_service, &pick);
	return pick.list;
}

static struct env_source sync_env_source(struct pod *p, struct arena *a, const struct json *pod,
					 const struct rt_sandbox *sb)
{
	bool host_net = json_bool_at(pod, "spec.hostNetwork", false);

	return (struct env_source){
		.pod = pod,
		.pod_ip = host_net ? p->agent->cfg.ip
			  : sb     ? sb->ip
				   : STR_EMPTY,
		.host_ip = p->agent->cfg.ip,
		.node_name = p->agent->cfg.name,
		.cpu_allocatable_milli = p->agent->cpu_capacity_milli,
		.memory_allocatable = p->agent->memory_capacity,
		.services = sync_services(p, a, pod),
		.lookup = sync_lookup,
		.lookup_ctx = p,
	};
}

/* volumes */

static bool sync_volumes_fresh(const struct pod *p)
{
	struct str rv = p->obj ? meta_rv(obj_tree(p->obj)) : STR_EMPTY;

	return p->volumes_at.ns && mono_ms_since(p->volumes_at) < VOLUMES_REFRESH_MS &&
	       str_eqz(rv, p->volumes_rv);
}

static gid_t sync_fs_group(const struct json *pod)
{
	return (gid_t)json_int_at(pod, "spec.securityContext.fsGroup", -1);
}

static bool sync_mounts_image(const struct json *pod, const struct json *container)
{
	json_for_each(it, json_get(container, "volumeMounts"))
	{
		const struct json *v = json_find_by(json_at(pod, "spec.volumes"), "name",
						    json_str_at(it.val, "name"));

		if (json_get(v, "image"))
			return true;
	}
	return false;
}

/* A container waits for the images of its volumes as for its own. reason NULL: not any more. */
static void sync_wait_for_images(struct pod *p, const struct json *pod, const char *reason,
				 struct str message)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			if (sync_mounts_image(pod, it.val))
				pod_container_wait(
					pod_container_get(p, json_str_at(it.val, "name")), reason,
					message);
		}
	}
}

static bool sync_is_image_error(const struct err *e)
{
	struct str reason = err_reason(e);

	return str_eqz(reason, "ErrImagePull") || str_eqz(reason, "ImagePullBackOff") ||
	       str_eqz(reason, "ErrImageNeverPull") || str_eqz(reason, "InvalidImageName");
}

static struct err *sync_volumes(struct pod *p, struct arena *a, const struct json *pod,
				const struct env_source *env, struct volume_set *ret)
{
	struct volume_ctx ctx = {
		.agent = p->agent,
		.arena = a,
		.pod = pod,
		.env = env,
		.fs_group = sync_fs_group(pod),
	};
	bool was_up = p->volumes_at.ns != 0;
	struct err *e = volumes_set_up(&ctx, ret);

	TRY(fiber_check());
	if (e && !was_up) {
		if (sync_is_image_error(e))
			sync_wait_for_images(p, pod, arena_strz(a, err_reason(e)), err_msg(e));
		agent_event(p->agent, pod, "Warning", "FailedMount", "%.*s", STR_ARG(err_msg(e)));
		return e;
	}
	if (!e && !was_up)
		sync_wait_for_images(p, pod, NULL, STR_EMPTY);
	if (e)
		err_log(&p->log, LOG_WARN, "cannot refresh volumes", e);
	for (size_t i = 0; !e && i < ret->n; i++)
		if (ret->v[i].image_ref.n)
			free(map_put(&p->image_refs, ret->v[i].name,
				     mem_strdup(ret->v[i].image_ref)));
	p->volumes_at = mono_now();
	free(p->volumes_rv);
	p->volumes_rv = mem_strdup(p->obj ? meta_rv(obj_tree(p->obj)) : STR_EMPTY);
	return NULL;
}

/* the sandbox */

static uint32_t sync_next_attempt(const struct rt_pod *rt)
{
	uint32_t next = 0;

	for (size_t i = 0; i < rt->n_sandboxes; i++)
		next = MAX(next, rt->sandboxes[i].attempt + 1);
	return next;
}

static CRI(PodSandboxConfig) * sync_sandbox_config(struct pod *p, struct arena *a,
						   const struct json *pod, uint32_t attempt)
{
	const struct sandbox_opts opts = {
		.pod = pod,
		.log_dir = agent_pod_log_dir(p->agent, a, pod),
		.cgroup_parent =
			cgroup_of_pod(a, p->agent->cfg.cgroup_root, qos_of_pod(pod), meta_uid(pod)),
		.attempt = attempt,
		.dns = dns_config_of_pod(p->agent, a, pod),
	};

	return sandbox_config_render(a, &opts);
}

/* Old sandboxes end, and init containers of old begin anew with the new one. */
static struct err *sync_end_old_sandboxes(struct pod *p, struct arena *a, const struct json *pod,
					  const struct rt_pod *rt)
{
	for (size_t i = 0; i < rt->n_sandboxes; i++)
		TRY(cri_stop_sandbox(p->agent->cri, a, rt->sandboxes[i].id));
	for (size_t i = 0; i < rt->n_containers; i++) {
		bool init;
		const struct json *c = pod_spec_container(pod, rt->containers[i].name, &init);

		if (c && init)
			TRY(cri_remove_container(p->agent->cri, a, rt->containers[i].id));
	}
	return NULL;
}

static void sync_sandbox_failed(struct pod *p, const struct json *pod, struct err *e)
{
	agent_event(p->agent, pod, "Warning", "FailedCreatePodSandBox",
		    "Failed to create pod sandbox: %.*s", STR_ARG(err_msg(e)));
	p->sandbox_backoff_ms = p->sandbox_backoff_ms
					? MIN(p->sandbox_backoff_ms * 2, SANDBOX_BACKOFF_MAX_MS)
					: SANDBOX_BACKOFF_FIRST_MS;
	p->sandbox_retry_at = mono_add_ms(mono_now(), p->sandbox_backoff_ms);
}

static struct err *sync_make_sandbox(struct pod *p, struct arena *a, const struct json *pod,
				     struct rt_pod *rt)
{
	CRI(PodSandboxConfig) *cfg = sync_sandbox_config(p, a, pod, sync_next_attempt(rt));
	struct str id;
	struct err *e;

	if (rt->n_containers)
		agent_event(p->agent, pod, "Normal", "SandboxChanged",
			    "Pod sandbox changed, it will be killed and re-created.");
	TRY(sync_end_old_sandboxes(p, a, pod, rt));
	TRY(cgroup_ensure_pod(a, p->agent->cfg.cgroup_root, pod));
	TRY(file_mkdir_p(cfg->log_directory, 0755));
	fiber_mask_cancel();
	e = cri_run_sandbox(p->agent->cri, a, cfg, &id);
	fiber_unmask_cancel();
	if (e) {
		sync_sandbox_failed(p, pod, e);
		return e;
	}
	p->sandbox_backoff_ms = 0;
	TRY(fiber_check());
	return rt_pod_read(p->agent->cri, a, str_from(p->uid), rt);
}

/* containers */

/* The last instance by the runtime; what only the API remembers counts as an end. */
static bool sync_wants(const struct json *pod, const struct json *container,
		       const struct rt_container *last)
{
	const struct json *old;
	bool never = str_eqz(json_str_at(pod, "spec.restartPolicy"), "Never");

	if (last || !never || container_is_sidecar(container))
		return container_should_restart(pod, container, last);
	old = json_find_by(json_at(pod, "status.containerStatuses"), "name",
			   json_str_at(container, "name"));
	if (!old)
		old = json_find_by(json_at(pod, "status.initContainerStatuses"), "name",
				   json_str_at(container, "name"));
	return !json_at(old, "state.running") && !json_at(old, "state.terminated");
}

/* A probe may have a grace of its own. */
static int64_t sync_kill_grace(const struct json *pod, const struct json *container,
			       const struct pod_container *pc)
{
	const char *member = pc->kill_kind == PROBE_STARTUP ? "startupProbe" : "livenessProbe";
	int64_t grace = json_int_at(pod, "spec.terminationGracePeriodSeconds", 30);

	if (!pc->kill)
		return grace;
	return json_int_at(json_get(container, member), "terminationGracePeriodSeconds", grace);
}

static void sync_kill_changed(struct pod *p, struct arena *a, const struct json *pod,
			      struct rt_pod *rt)
{
	for (size_t i = 0; i < rt->n_containers; i++) {
		struct rt_container *rc = &rt->containers[i];
		const struct json *c = pod_spec_container(pod, rc->name, NULL);
		struct pod_container *pc;
		const char *why = NULL;

		if (rc->state != RT_RUNNING || !c || rt_pod_container(rt, rc->name, 0) != rc)
			continue;
		pc = pod_container_get(p, rc->name);
		if (!str_eq(rc->hash, container_hash(a, c)))
			why = arena_fmt(a, "Container %s definition changed, will be restarted",
					pc->name)
				      .p;
		else if (pc->kill && str_eqz(rc->id, pc->id))
			why = arena_fmt(a, "Container %s failed %s probe, will be restarted",
					pc->name,
					pc->kill_kind == PROBE_STARTUP ? "startup" : "liveness")
				      .p;
		if (!why)
			continue;
		pod_container_kill(p, a, pod, rc, sync_kill_grace(pod, c, pc), why);
		rc->state = RT_EXITED;
		rc->finished = wall_now();
	}
}

/* Whether an init container lets the next one begin. */
static bool sync_init_done(struct pod *p, const struct rt_pod *rt, const struct json *container)
{
	struct str name = json_str_at(container, "name");
	const struct rt_container *rc = rt_pod_container(rt, name, 0);

	if (!rc)
		return false;
	if (container_is_sidecar(container))
		return rc->state == RT_RUNNING && pod_container_get(p, name)->started;
	return rc->state == RT_EXITED && rc->exit_code == 0;
}

/* Probes follow the container that runs now; without probes it counts as started and ready. */
static void sync_probes(struct pod *p, const struct json *pod, const struct rt_pod *rt)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			struct str name = json_str_at(it.val, "name");
			const struct rt_container *rc = rt_pod_container(rt, name, 0);

			pod_probes_sync(p, pod, it.val, pod_container_get(p, name),
					rc && rc->state == RT_RUNNING ? rc : NULL);
		}
	}
}

static bool sync_start(struct pod_start *st, const struct json *container)
{
	struct str name = json_str_at(container, "name");
	const struct rt_container *last = rt_pod_container(st->rt, name, 0);
	struct pod_container *c = pod_container_get(st->pod, name);

	if (last && last->state == RT_RUNNING) {
		pod_container_wait(c, NULL, STR_EMPTY);
		return true;
	}
	if (!sync_wants(st->spec, container, last)) {
		pod_container_wait(c, NULL, STR_EMPTY);
		return false;
	}
	return pod_container_start(st, c, container);
}

static bool sync_app_ran(const struct json *pod, const struct rt_pod *rt)
{
	json_for_each(it, json_at(pod, "spec.containers")) if (rt_pod_container(
								       rt,
								       json_str_at(it.val, "name"),
								       0)) return true;
	return false;
}

/* Whether the app containers may start. */
static struct err *sync_init_containers(struct pod_start *st, struct rt_pod *rt, bool *ret_done)
{
	const struct json *list = json_at(st->spec, "spec.initContainers");
	bool app_ran = sync_app_ran(st->spec, rt) && rt->n_sandboxes == 1;

	*ret_done = true;
	json_for_each(it, list)
	{
		bool sidecar = container_is_sidecar(it.val);

		if (!sidecar && (app_ran || sync_init_done(st->pod, rt, it.val)))
			continue;
		if (sync_start(st, it.val) && sidecar) {
			TRY(rt_pod_read(st->pod->agent->cri, st->arena, str_from(st->pod->uid),
					rt));
			sync_probes(st->pod, st->spec, rt);
		}
		if (!app_ran && !sync_init_done(st->pod, rt, it.val)) {
			*ret_done = false;
			return NULL;
		}
	}
	return NULL;
}

/* Something should run that does not. */
static bool sync_misses(const struct json *pod, const struct rt_pod *rt)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			const struct rt_container *rc =
				rt_pod_container(rt, json_str_at(it.val, "name"), 0);

			if (i == 0 && !container_is_sidecar(it.val))
				continue;
			if (!(rc && rc->state == RT_RUNNING) && sync_wants(pod, it.val, rc))
				return true;
		}
	}
	return false;
}

/* Is there anything left to run? A Pod whose containers all ended for good needs no sandbox. */
static bool sync_has_work(const struct json *pod, const struct rt_pod *rt)
{
	bool never = str_eqz(json_str_at(pod, "spec.restartPolicy"), "Never");

	json_for_each(it, json_at(pod, "spec.initContainers"))
	{
		const struct rt_container *rc =
			rt_pod_container(rt, json_str_at(it.val, "name"), 0);

		if (never && !container_is_sidecar(it.val) && rc && rc->state == RT_EXITED &&
		    rc->exit_code)
			return false;
	}
	json_for_each(it, json_at(pod, "spec.containers"))
	{
		const struct rt_container *rc =
			rt_pod_container(rt, json_str_at(it.val, "name"), 0);

		if ((rc && rc->state == RT_RUNNING) || sync_wants(pod, it.val, rc))
			return true;
	}
	return false;
}

static struct err *sync_run(struct pod *p, struct arena *a, const struct json *pod,
			    struct rt_pod *rt)
{
	struct volume_set volumes = { 0 };
	struct pod_start st = { .pod = p, .arena = a, .spec = pod, .rt = rt };
	struct env_source env;
	bool init_done = false;

	env = sync_env_source(p, a, pod, rt_pod_sandbox(rt));
	if (!rt_pod_sandbox(rt)) {
		int64_t wait = (p->sandbox_retry_at.ns - mono_now().ns) / NS_PER_MS;

		if (wait > 0) {
			pod_due(p, wait);
			return NULL;
		}
		TRY(sync_volumes(p, a, pod, &env, &volumes));
		TRY(sync_make_sandbox(p, a, pod, rt));
		pod_due(p, 1);
		TRY(pod_report(p, a, pod, rt));
	}
	env = sync_env_source(p, a, pod, rt_pod_sandbox(rt));
	if (!volumes.v)
		TRY(sync_volumes(p, a, pod, &env, &volumes));
	TRY(hosts_write(p->agent, a, pod, env.pod_ip));
	st.sandbox = rt_pod_sandbox(rt);
	if (!st.sandbox)
		return err_new(ERR_UNAVAILABLE, "the sandbox ended while it was set up");
	st.env = &env;
	st.volumes = &volumes;
	st.sandbox_config = sync_sandbox_config(p, a, pod, st.sandbox->attempt);
	TRY(sync_init_containers(&st, rt, &init_done));
	if (!init_done)
		return NULL;
	json_for_each(it, json_at(pod, "spec.containers"))
	{
		sync_start(&st, it.val);
		TRY(fiber_check());
	}
	return NULL;
}

/* Sandboxes that are over and whose containers have all been replaced. */
static void sync_collect(struct pod *p, struct arena *a, const struct rt_pod *rt)
{
	for (size_t i = 1; i < rt->n_sandboxes; i++) {
		bool used = false;

		for (size_t k = 0; k < rt->n_containers; k++)
			used = used || str_eq(rt->containers[k].sandbox, rt->sandboxes[i].id);
		if (!used)
			err_log(&p->log, LOG_WARN, "cannot remove an old sandbox",
				cri_remove_sandbox(p->agent->cri, a, rt->sandboxes[i].id));
	}
}

static void sync_check_deadline(struct pod *p, const struct json *pod)
{
	int64_t limit = json_int_at(pod, "spec.activeDeadlineSeconds", 0);
	struct wall start;
	int64_t left;

	if (!limit || !wall_parse(json_str_at(pod, "status.startTime"), &start))
		return;
	left = limit * 1000 - (wall_now().ns - start.ns) / NS_PER_MS;
	if (left <= 0) {
		agent_event(p->agent, pod, "Normal", "DeadlineExceeded",
			    "Pod was active on the node longer than the specified deadline");
		pod_fail(p, "DeadlineExceeded",
			 STR("Pod was active on the node longer than the specified deadline"));
	} else {
		pod_due(p, left);
	}
}

struct err *pod_sync(struct pod *p, struct arena *a, const struct json *pod)
{
	struct err *run = NULL, *e;
	struct rt_pod rt;

	TRY(rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt));
	sync_check_deadline(p, pod);
	sync_kill_changed(p, a, pod, &rt);
	if (!p->failed_reason && sync_has_work(pod, &rt) &&
	    (!rt_pod_sandbox(&rt) || sync_misses(pod, &rt) || !sync_volumes_fresh(p)))
		run = sync_run(p, a, pod, &rt);
	e = rt_pod_read(p->agent->cri, a, str_from(p->uid), &rt);
	if (!e) {
		sync_probes(p, pod, &rt);
		sync_collect(p, a, &rt);
		e = pod_report(p, a, pod, &rt);
	}
	if (run) {
		err_ignore(e, "the first error is the cause");
		return run;
	}
	return e;
}
