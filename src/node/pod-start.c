/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One container: back-off, image, environment, mounts, devices, create, start, postStart. What
 * fails is an event and a waiting reason; the next sync tries again.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/container-config.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/env.h"
#include "node/hosts.h"
#include "node/images.h"
#include "node/pod-status.h"
#include "node/pod.h"
#include "node/volumes.h"

#define BACKOFF_FIRST_MS  (10 * 1000)
#define BACKOFF_MAX_MS    (300 * 1000)
#define CONFIG_RETRY_MS   (10 * 1000)
#define DEVICE_RETRY_MS   1000
#define POST_START_MAX_MS (10 * 60 * 1000)

/* Notes why it does not run; false for the caller to return. */
static bool start_fail(struct pod_start *st, struct pod_container *c, const char *reason,
		       struct err *e, int64_t retry_ms)
{
	agent_event(st->pod->agent, st->spec, "Warning", "Failed", "Error: %.*s",
		    STR_ARG(err_msg(e)));
	pod_container_wait(c, reason, err_msg(e));
	err_ignore(e, "told in the status and an event");
	c->retry_at = mono_add_ms(mono_now(), retry_ms);
	pod_due(st->pod, retry_ms);
	return false;
}

/* As Go prints a duration: "10s", "2m40s". */
static struct str start_duration(struct arena *a, int64_t ms)
{
	long long s = (long long)ms / 1000;

	return s < 60 ? arena_fmt(a, "%llds", s) : arena_fmt(a, "%lldm%llds", s / 60, s % 60);
}

/* The first restart is at once, the next ones wait 10 s doubling to 5 min after the last end. */
static bool start_backing_off(struct pod_start *st, struct pod_container *c,
			      const struct rt_container *last)
{
	int64_t since, left;

	if (!last || last->state != RT_EXITED)
		return false;
	if (c->backoff_ms && mono_ms_since(c->backoff_set) > 2 * BACKOFF_MAX_MS)
		c->backoff_ms = 0;
	since = (wall_now().ns - last->finished.ns) / NS_PER_MS;
	left = c->backoff_ms - since;
	if (c->backoff_ms && left > 0) {
		struct str full = pod_full_name(st->arena, st->pod);

		agent_event(st->pod->agent, st->spec, "Warning", "BackOff",
			    "Back-off restarting failed container %s in pod %.*s", c->name,
			    STR_ARG(full));
		pod_container_wait(
			c, "CrashLoopBackOff",
			arena_fmt(st->arena,
				  "back-off %.*s restarting failed container=%s pod=%.*s",
				  STR_ARG(start_duration(st->arena, c->backoff_ms)), c->name,
				  STR_ARG(full)));
		pod_due(st->pod, left);
		return true;
	}
	c->backoff_ms = c->backoff_ms ? MIN(c->backoff_ms * 2, BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
	c->backoff_set = mono_now();
	return false;
}

/* The newest dead one stays for lastState and `logs --previous`. */
static void start_collect_dead(struct pod_start *st, const struct pod_container *c)
{
	const struct rt_container *rc;
	struct agent *ag = st->pod->agent;

	/* one that was made and never started holds the name of the next one */
	rc = rt_pod_container(st->rt, str_from(c->name), 0);
	if (rc && rc->state == RT_CREATED)
		err_log(&st->pod->log, LOG_WARN, "cannot remove a container that never ran",
			cri_remove_container(ag->cri, st->arena, rc->id));
	for (size_t i = 1; (rc = rt_pod_container(st->rt, str_from(c->name), i)); i++) {
		err_log(&st->pod->log, LOG_WARN, "cannot remove an old container",
			cri_remove_container(ag->cri, st->arena, rc->id));
		if (rc->log_path.n)
			unlink(arena_strz(st->arena, rc->log_path));
	}
}

/* mounts */

static const struct {
	const char *name;
	int value;
} propagations[] = {
	{ "HostToContainer", RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER },
	{ "Bidirectional", RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL },
};

static int start_propagation(struct str s)
{
	for (size_t i = 0; i < ARRAY_LEN(propagations); i++)
		if (str_eqz(s, propagations[i].name))
			return propagations[i].value;
	return RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
}

struct start_work {
	struct mount_spec *mounts;
	size_t n_mounts;
	struct device_spec *devices;
	size_t n_devices, cap_devices;
	struct device_allocation plugins;
	struct str termination_file;
	struct env_list env;
	struct image_result image;
	bool image_has_uid;
	int64_t image_uid;
	struct str image_user;
};

static struct err *start_volume_mounts(struct pod_start *st, const struct json *container,
				       struct start_work *w)
{
	struct volume_ctx ctx = {
		.agent = st->pod->agent,
		.arena = st->arena,
		.pod = st->spec,
		.env = st->env,
		.fs_group = (gid_t)json_int_at(st->spec, "spec.securityContext.fsGroup", -1),
	};
	size_t i = 0;

	json_for_each(it, json_get(container, "volumeMounts"))
	{
		struct str name = json_str_at(it.val, "name");
		struct str path = json_str_at(it.val, "mountPath");
		const struct volume *v = volume_find(st->volumes, name);
		struct mount_spec *m = &w->mounts[w->n_mounts];

		if (!v)
			return err_new(ERR_INVALID, "volume '%.*s' is not mounted on this node",
				       STR_ARG(name));
		TRY(volume_mount_source(&ctx, v, container, it.val, i++, &w->env, &m->host_path));
		m->container_path = path.n && path.p[0] == '/'
					    ? path
					    : arena_fmt(st->arena, "/%.*s", STR_ARG(path));
		m->read_only = v->read_only || json_bool_at(it.val, "readOnly", false);
		m->propagation = start_propagation(json_str_at(it.val, "mountPropagation"));
		w->n_mounts++;
	}
	return NULL;
}

static bool start_mounts_at(const struct start_work *w, const char *path)
{
	for (size_t i = 0; i < w->n_mounts; i++)
		if (str_eqz(w->mounts[i].container_path, path))
			return true;
	return false;
}

/* A world-writable file of its own for each instance. */
static struct err *start_termination_file(struct pod_start *st, const struct json *container,
					  struct start_work *w)
{
	struct str path = json_str_at(container, "terminationMessagePath");
	struct str pod_dir = agent_pod_dir(st->pod->agent, st->arena, str_from(st->pod->uid));
	struct str dir, file;
	int fd;

	if (!path.n)
		return NULL;
	dir = arena_fmt(st->arena, "%.*s/containers/%.*s", STR_ARG(pod_dir),
			STR_ARG(json_str_at(container, "name")));
	TRY(file_mkdir_p(dir.p, 0750));
	file = arena_fmt(st->arena, "%.*s/%.*s", STR_ARG(dir), STR_ARG(rand_suffix(st->arena, 8)));
	fd = open(file.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0) {
		int rc = errno;

		if (fd >= 0)
			close(fd);
		return err_errno(rc, "create %s", file.p);
	}
	close(fd);
	w->termination_file = file;
	w->mounts[w->n_mounts++] = (struct mount_spec){ .host_path = file, .container_path = path };
	return NULL;
}

static struct err *start_mounts(struct pod_start *st, const struct json *container,
				struct start_work *w)
{
	w->mounts = arena_array(st->arena, json_len(json_get(container, "volumeMounts")) + 2,
				sizeof(*w->mounts));
	TRY(start_volume_mounts(st, container, w));
	if (!start_mounts_at(w, "/etc/hosts"))
		w->mounts[w->n_mounts++] = (struct mount_spec){
			.host_path = hosts_path(st->pod->agent, st->arena, st->spec),
			.container_path = STR("/etc/hosts"),
		};
	return start_termination_file(st, container, w);
}

/* devices */

static struct device_spec *start_device_add(struct pod_start *st, struct start_work *w)
{
	if (w->n_devices == w->cap_devices) {
		size_t cap = w->cap_devices ? w->cap_devices * 2 : 8;
		struct device_spec *v = arena_array(st->arena, cap, sizeof(*v));

		if (w->n_devices)
			memcpy(v, w->devices, w->n_devices * sizeof(*v));
		w->devices = v;
		w->cap_devices = cap;
	}
	return &w->devices[w->n_devices++];
}

static struct err *start_block_volumes(struct pod_start *st, const struct json *container,
				       struct start_work *w)
{
	json_for_each(it, json_get(container, "volumeDevices"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct volume *v = volume_find(st->volumes, name);

		if (!v || !v->block)
			return err_new(ERR_INVALID, "volume '%.*s' is no block device",
				       STR_ARG(name));
		*start_device_add(st, w) = (struct device_spec){
			.host_path = v->path,
			.container_path = json_str_at(it.val, "devicePath"),
			.permissions = v->read_only ? STR("mr") : STR("mrw"),
		};
	}
	return NULL;
}

/* What device plugins gave, beside what the container's own spec asks for. */
static void start_plugin_add(struct pod_start *st, struct start_work *w)
{
	const struct device_allocation *al = &w->plugins;
	struct mount_spec *mounts;

	for (size_t i = 0; i < al->n_devices; i++)
		*start_device_add(st, w) = al->devices[i];
	for (size_t i = 0; i < al->n_envs; i++)
		env_set(st->arena, &w->env, al->envs[i].name, al->envs[i].value);
	if (!al->n_mounts)
		return;
	mounts = arena_array(st->arena, w->n_mounts + al->n_mounts, sizeof(*mounts));
	if (w->n_mounts)
		memcpy(mounts, w->mounts, w->n_mounts * sizeof(*mounts));
	memcpy(mounts + w->n_mounts, al->mounts, al->n_mounts * sizeof(*mounts));
	w->mounts = mounts;
	w->n_mounts += al->n_mounts;
}

/* create and start */

static struct err *start_image_user(struct pod_start *st, struct start_work *w)
{
	const CRI(Image) * img;

	TRY(cri_image_status(st->pod->agent->cri, st->arena, w->image.id, &img));
	if (!img)
		return err_new(ERR_NOT_FOUND, "image vanished");
	w->image_has_uid = img->uid != NULL;
	w->image_uid = img->uid ? img->uid->value : 0;
	w->image_user = str_from(img->username);
	return NULL;
}

static struct err *start_config(struct pod_start *st, const struct json *container,
				struct start_work *w, int restarts, CRI(ContainerConfig) * *ret)
{
	struct agent *ag = st->pod->agent;
	struct container_opts o = {
		.pod = st->spec,
		.container = container,
		.restarts = restarts,
		.kubelet_root = ag->cfg.kubelet_root,
		.memory_capacity = ag->memory_capacity,
	};

	TRY(env_of_container(st->arena, st->env, container, &w->env));
	TRY(start_mounts(st, container, w));
	TRY(start_block_volumes(st, container, w));
	start_plugin_add(st, w);
	TRY(start_image_user(st, w));
	o.image_id = w->image.id;
	o.image_has_uid = w->image_has_uid;
	o.image_uid = w->image_uid;
	o.image_user = w->image_user;
	o.env = &w->env;
	o.mounts = w->mounts;
	o.n_mounts = w->n_mounts;
	o.devices = w->devices;
	o.n_devices = w->n_devices;
	o.annotations = &w->plugins.annotations;
	o.termination_file = w->termination_file;
	return container_config_render(st->arena, &o, ret);
}

/* By the runtime's records; when it has none, by what the API remembers. */
static int start_restarts(struct pod_start *st, const struct json *container,
			  const struct rt_container *last)
{
	static const char *const lists[] = { "status.containerStatuses",
					     "status.initContainerStatuses" };

	if (last)
		return last->restarts + (last->state != RT_CREATED);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *old = json_find_by(json_at(st->spec, lists[i]), "name",
						      json_str_at(container, "name"));

		if (json_at(old, "state.running") || json_at(old, "state.terminated"))
			return (int)json_int_at(old, "restartCount", 0) + 1;
		if (old)
			return (int)json_int_at(old, "restartCount", 0);
	}
	return 0;
}

static bool start_post_start(struct pod_start *st, struct pod_container *c,
			     const struct json *container, struct str id)
{
	const struct json *handler = json_path(container, "lifecycle", "postStart", NULL);
	struct hook h = { .pod = st->pod,
			  .spec = st->spec,
			  .container = container,
			  .container_id = id,
			  .pod_ip = st->env->pod_ip };
	struct rt_container rc = { .id = id, .name = str_from(c->name), .state = RT_RUNNING };
	struct err *e;

	if (!handler)
		return true;
	e = hook_run(&h, st->arena, handler, POST_START_MAX_MS);
	if (!e)
		return true;
	agent_event(st->pod->agent, st->spec, "Warning", "FailedPostStartHook",
		    "PostStartHook failed");
	err_log(&st->pod->log, LOG_INFO, "postStart hook failed", e);
	pod_container_kill(st->pod, st->arena, st->spec, &rc,
			   json_int_at(st->spec, "spec.terminationGracePeriodSeconds", 30),
			   "FailedPostStartHook");
	return false;
}

static struct err *start_create(struct pod_start *st, CRI(ContainerConfig) * cfg, struct str *ret)
{
	struct agent *ag = st->pod->agent;
	CRI(PodSandboxConfig) *sandbox_config = st->sandbox_config;
	struct err *e;

	TRY(file_mkdir_p(
		arena_fmt(st->arena, "%s/%s", sandbox_config->log_directory, cfg->metadata->name).p,
		0755));
	fiber_mask_cancel();
	e = cri_create_container(ag->cri, st->arena, st->sandbox->id, cfg, sandbox_config, ret);
	fiber_unmask_cancel();
	return e;
}

static bool start_run(struct pod_start *st, struct pod_container *c, const struct json *container,
		      CRI(ContainerConfig) * cfg)
{
	struct agent *ag = st->pod->agent;
	struct str id;
	struct err *e = start_create(st, cfg, &id);

	if (e)
		return start_fail(st, c, "CreateContainerError", e, BACKOFF_FIRST_MS);
	agent_event(ag, st->spec, "Normal", "Created", "Created container: %s", c->name);
	fiber_mask_cancel();
	e = cri_start_container(ag->cri, st->arena, id);
	fiber_unmask_cancel();
	if (e)
		return start_fail(st, c, "RunContainerError", e, 1000);
	agent_event(ag, st->spec, "Normal", "Started", "Started container %s", c->name);
	pod_container_wait(c, NULL, STR_EMPTY);
	return start_post_start(st, c, container, id);
}

/* A Pod that asks for devices this node does not have is refused, as upstream's admission does. */
static bool start_no_devices(struct pod_start *st, struct pod_container *c, struct err *e)
{
	if (err_is(e, ERR_INVALID)) {
		pod_fail(st->pod, "UnexpectedAdmissionError",
			 arena_fmt(st->arena, "Pod was rejected: %.*s", STR_ARG(err_msg(e))));
		agent_event(st->pod->agent, st->spec, "Warning", "UnexpectedAdmissionError", "%.*s",
			    STR_ARG(err_msg(e)));
		err_ignore(e, "the Pod fails with it");
		return false;
	}
	return start_fail(st, c, "CreateContainerError", e, DEVICE_RETRY_MS);
}

bool pod_container_start(struct pod_start *st, struct pod_container *c,
			 const struct json *container)
{
	const struct rt_container *last = rt_pod_container(st->rt, str_from(c->name), 0);
	struct image_request rq = {
		.pod = st->spec,
		.container = container,
		.image = json_str_at(container, "image"),
		.policy = json_str_at(container, "imagePullPolicy"),
	};
	struct start_work w = { 0 };
	CRI(ContainerConfig) * cfg;
	struct err *e;

	if (c->retry_at.ns > mono_now().ns) {
		pod_due(st->pod, (c->retry_at.ns - mono_now().ns) / NS_PER_MS);
		return false;
	}
	if (start_backing_off(st, c, last))
		return false;
	if (!images_ensure(st->pod->agent->images, st->arena, &rq, &w.image)) {
		pod_container_wait(c, w.image.reason, w.image.message);
		pod_due(st->pod, w.image.retry_ms);
		return false;
	}
	start_collect_dead(st, c);
	e = devices_allocate(st->pod->agent->devices, st->arena, st->spec, container, &w.plugins);
	if (e)
		return start_no_devices(st, c, e);
	e = start_config(st, container, &w, start_restarts(st, container, last), &cfg);
	if (e)
		return start_fail(st, c, "CreateContainerConfigError", e, CONFIG_RETRY_MS);
	return start_run(st, c, container, cfg);
}
