/* SPDX-License-Identifier: Apache-2.0 */

#include "node/container-config.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "node/atomic-writer.h"
#include "node/pod-runtime.h"
#include "node/resources.h"
#include "json/json.h"

#define HOSTNAME_MAX 63

static const char *const masked_paths[] = {
	"/proc/asound",
	"/proc/acpi",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static char **config_strings(struct arena *a, const char *const *v, size_t n)
{
	char **ret = arena_array(a, n + 1, sizeof(char *));

	for (size_t i = 0; i < n; i++)
		ret[i] = cri_z(a, str_from(v[i]));
	return ret;
}

static char **config_string_list(struct arena *a, const struct json *list,
				 const struct env_list *env, size_t *ret_n)
{
	char **v = arena_array(a, json_len(list) + 1, sizeof(char *));
	size_t n = 0;

	json_for_each(it, list)
	{
		struct str s = json_as_str(it.val);

		v[n++] = cri_z(a, env ? env_expand(a, env, s) : s);
	}
	*ret_n = n;
	return v;
}

static void config_map(struct arena *a, struct cri_pairs *p, const struct json *map)
{
	json_for_each(it, map) cri_pair_add(a, p, it.key, json_as_str(it.val));
}

static void config_pod_labels(struct arena *a, struct cri_pairs *p, const struct json *pod)
{
	cri_pair_add(a, p, STR(LABEL_POD_NAME), meta_name(pod));
	cri_pair_add(a, p, STR(LABEL_POD_NAMESPACE), meta_namespace(pod));
	cri_pair_add(a, p, STR(LABEL_POD_UID), meta_uid(pod));
}

/* namespaces, groups, seccomp: what sandbox and containers have in common */

static CRI(NamespaceOption) * config_namespaces(struct arena *a, const struct json *pod)
{
	CRI(NamespaceOption) *ns = arena_new_obj(a, CRI(NamespaceOption));

	runtime__v1__namespace_option__init(ns);
	ns->pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
	if (json_bool_at(pod, "spec.hostNetwork", false))
		ns->network = RUNTIME__V1__NAMESPACE_MODE__NODE;
	if (json_bool_at(pod, "spec.hostIPC", false))
		ns->ipc = RUNTIME__V1__NAMESPACE_MODE__NODE;
	if (json_bool_at(pod, "spec.hostPID", false))
		ns->pid = RUNTIME__V1__NAMESPACE_MODE__NODE;
	else if (json_bool_at(pod, "spec.shareProcessNamespace", false))
		ns->pid = RUNTIME__V1__NAMESPACE_MODE__POD;
	return ns;
}

static int64_t *config_groups(struct arena *a, const struct json *pod, size_t *ret_n)
{
	const struct json *sc = json_at(pod, "spec.securityContext");
	const struct json *more = json_get(sc, "supplementalGroups");
	int64_t *v = arena_array(a, json_len(more) + 1, sizeof(*v));
	int64_t fs_group = json_int_at(sc, "fsGroup", -1);
	size_t n = 0;

	if (fs_group >= 0)
		v[n++] = fs_group;
	json_for_each(it, more) v[n++] = json_as_int(it.val, 0);
	*ret_n = n;
	return v;
}

static CRI(SecurityProfile) *
	config_seccomp(struct arena *a, const struct json *profile, struct str kubelet_root)
{
	CRI(SecurityProfile) *p = arena_new_obj(a, CRI(SecurityProfile));
	struct str type = json_str_at(profile, "type");

	runtime__v1__security_profile__init(p);
	p->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
	if (str_eqz(type, "RuntimeDefault"))
		p->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
	if (str_eqz(type, "Localhost")) {
		struct str file = json_str_at(profile, "localhostProfile");

		/* out of the directory leads nowhere: the runtime refuses what is no file */
		if (!atomic_path_ok(file))
			file = STR_EMPTY;

		p->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
		p->localhost_ref = cri_z(
			a, arena_fmt(a, "%.*s/seccomp/%.*s", STR_ARG(kubelet_root), STR_ARG(file)));
	}
	return p;
}

/* the sandbox */

static bool pod_any_privileged(const struct json *pod)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_for_each(it,
			      json_at(pod, lists[i])) if (json_bool_at(it.val,
								       "securityContext.privileged",
								       false)) return true;
	return false;
}

static CRI(LinuxPodSandboxConfig) * sandbox_linux(struct arena *a, const struct sandbox_opts *o)
{
	CRI(LinuxPodSandboxConfig) *lx = arena_new_obj(a, CRI(LinuxPodSandboxConfig));
	CRI(LinuxSandboxSecurityContext) *sc = arena_new_obj(a, CRI(LinuxSandboxSecurityContext));
	const struct json *psc = json_at(o->pod, "spec.securityContext");
	struct cri_pairs sysctls = { 0 };

	runtime__v1__linux_pod_sandbox_config__init(lx);
	runtime__v1__linux_sandbox_security_context__init(sc);
	lx->cgroup_parent = cri_z(a, o->cgroup_parent);
	lx->security_context = sc;
	sc->namespace_options = config_namespaces(a, o->pod);
	sc->privileged = pod_any_privileged(o->pod);
	sc->supplemental_groups = config_groups(a, o->pod, &sc->n_supplemental_groups);
	sc->seccomp = arena_new_obj(a, CRI(SecurityProfile));
	runtime__v1__security_profile__init(sc->seccomp);
	if (json_get(psc, "runAsUser"))
		sc->run_as_user = cri_int64(a, json_int_at(psc, "runAsUser", 0));
	if (json_get(psc, "runAsGroup") && json_get(psc, "runAsUser"))
		sc->run_as_group = cri_int64(a, json_int_at(psc, "runAsGroup", 0));
	json_for_each(it, json_get(psc, "sysctls")) cri_pair_add(
		a, &sysctls, json_str_at(it.val, "name"), json_str_at(it.val, "value"));
	lx->sysctls = sysctls.v;
	lx->n_sysctls = sysctls.n;
	return lx;
}

static int config_protocol(struct str s)
{
	if (str_eqz(s, "UDP"))
		return RUNTIME__V1__PROTOCOL__UDP;
	return str_eqz(s, "SCTP") ? RUNTIME__V1__PROTOCOL__SCTP : RUNTIME__V1__PROTOCOL__TCP;
}

static void sandbox_ports(struct arena *a, const struct json *pod, CRI(PodSandboxConfig) * cfg)
{
	const struct json *containers = json_at(pod, "spec.containers");
	size_t cap = 0;

	json_for_each(c, containers) cap += json_len(json_get(c.val, "ports"));
	cfg->port_mappings = arena_array(a, cap + 1, sizeof(*cfg->port_mappings));
	json_for_each(c, containers)
	{
		json_for_each(p, json_get(c.val, "ports"))
		{
			CRI(PortMapping) * m;

			if (!json_int_at(p.val, "hostPort", 0))
				continue;
			m = arena_new_obj(a, CRI(PortMapping));
			runtime__v1__port_mapping__init(m);
			m->protocol = config_protocol(json_str_at(p.val, "protocol"));
			m->container_port = (int32_t)json_int_at(p.val, "containerPort", 0);
			m->host_port = (int32_t)json_int_at(p.val, "hostPort", 0);
			m->host_ip = cri_z(a, json_str_at(p.val, "hostIP"));
			cfg->port_mappings[cfg->n_port_mappings++] = m;
		}
	}
}

CRI(PodSandboxConfig) * sandbox_config_render(struct arena *a, const struct sandbox_opts *o)
{
	CRI(PodSandboxConfig) *cfg = arena_new_obj(a, CRI(PodSandboxConfig));
	struct cri_pairs labels = { 0 }, annotations = { 0 };
	struct str hostname = json_str_at(o->pod, "spec.hostname");
	bool host_net = json_bool_at(o->pod, "spec.hostNetwork", false);

	runtime__v1__pod_sandbox_config__init(cfg);
	cfg->metadata = arena_new_obj(a, CRI(PodSandboxMetadata));
	runtime__v1__pod_sandbox_metadata__init(cfg->metadata);
	cfg->metadata->name = cri_z(a, meta_name(o->pod));
	cfg->metadata->uid = cri_z(a, meta_uid(o->pod));
	cfg->metadata->namespace_ = cri_z(a, meta_namespace(o->pod));
	cfg->metadata->attempt = o->attempt;
	if (!hostname.n)
		hostname = meta_name(o->pod);
	hostname = str_sub(hostname, 0, MIN(hostname.n, (size_t)HOSTNAME_MAX));
	while (hostname.n && strchr("-.", hostname.p[hostname.n - 1]))
		hostname.n--;
	if (!host_net)
		cfg->hostname = cri_z(a, hostname);
	cfg->log_directory = cri_z(a, o->log_dir);
	cfg->dns_config = o->dns;
	if (!host_net)
		sandbox_ports(a, o->pod, cfg);
	config_map(a, &labels, meta_labels(o->pod));
	config_pod_labels(a, &labels, o->pod);
	config_map(a, &annotations, meta_annotations(o->pod));
	cfg->labels = labels.v;
	cfg->n_labels = labels.n;
	cfg->annotations = annotations.v;
	cfg->n_annotations = annotations.n;
	cfg->linux_config = sandbox_linux(a, o);
	return cfg;
}

/* containers */

/* A member of the container's securityContext, else of the Pod's. */
static const struct json *security_get(const struct container_opts *o, const char *key)
{
	const struct json *v = json_path(o->container, "securityContext", key, NULL);

	return v ? v : json_path(o->pod, "spec", "securityContext", key, NULL);
}

static struct err *security_check_non_root(const struct container_opts *o)
{
	const struct json *user = security_get(o, "runAsUser");

	if (!json_as_bool(security_get(o, "runAsNonRoot"), false))
		return NULL;
	if (user)
		return json_as_int(user, 0) != 0
			       ? NULL
			       : err_new(ERR_INVALID,
					 "container's runAsUser breaks non-root policy");
	if (o->image_has_uid && o->image_uid != 0)
		return NULL;
	if (o->image_user.n && !str_eqz(o->image_user, "root"))
		return err_new(ERR_INVALID,
			       "container has runAsNonRoot and image has non-numeric user (%.*s), "
			       "cannot verify user is non-root",
			       STR_ARG(o->image_user));
	return err_new(ERR_INVALID, "container has runAsNonRoot and image will run as root");
}

static CRI(Capability) * security_capabilities(struct arena *a, const struct container_opts *o)
{
	const struct json *caps = json_path(o->container, "securityContext", "capabilities", NULL);
	CRI(Capability) *c = arena_new_obj(a, CRI(Capability));

	runtime__v1__capability__init(c);
	c->add_capabilities =
		config_string_list(a, json_get(caps, "add"), NULL, &c->n_add_capabilities);
	c->drop_capabilities =
		config_string_list(a, json_get(caps, "drop"), NULL, &c->n_drop_capabilities);
	return c;
}

static CRI(LinuxContainerSecurityContext) *
	container_security(struct arena *a, const struct container_opts *o)
{
	CRI(LinuxContainerSecurityContext) *s =
		arena_new_obj(a, CRI(LinuxContainerSecurityContext));
	const struct json *sc = json_get(o->container, "securityContext");
	const struct json *user = security_get(o, "runAsUser");
	const struct json *group = security_get(o, "runAsGroup");
	const struct json *escalate = json_get(sc, "allowPrivilegeEscalation");

	runtime__v1__linux_container_security_context__init(s);
	s->capabilities = security_capabilities(a, o);
	s->privileged = json_bool_at(sc, "privileged", false);
	s->namespace_options = config_namespaces(a, o->pod);
	if (user)
		s->run_as_user = cri_int64(a, json_as_int(user, 0));
	else if (group && o->image_has_uid)
		s->run_as_user = cri_int64(a, o->image_uid);
	else if (group)
		s->run_as_username = cri_z(a, o->image_user.n ? o->image_user : STR("0"));
	if (group)
		s->run_as_group = cri_int64(a, json_as_int(group, 0));
	s->readonly_rootfs = json_bool_at(sc, "readOnlyRootFilesystem", false);
	s->supplemental_groups = config_groups(a, o->pod, &s->n_supplemental_groups);
	s->no_new_privs = escalate && !json_as_bool(escalate, true);
	if (!str_eqz(json_str_at(sc, "procMount"), "Unmasked")) {
		s->masked_paths = config_strings(a, masked_paths, ARRAY_LEN(masked_paths));
		s->n_masked_paths = ARRAY_LEN(masked_paths);
		s->readonly_paths = config_strings(a, readonly_paths, ARRAY_LEN(readonly_paths));
		s->n_readonly_paths = ARRAY_LEN(readonly_paths);
	}
	s->seccomp = config_seccomp(a, security_get(o, "seccompProfile"), o->kubelet_root);
	return s;
}

static CRI(LinuxContainerResources) *
	container_resources(struct arena *a, const struct container_opts *o)
{
	CRI(LinuxContainerResources) *r = arena_new_obj(a, CRI(LinuxContainerResources));
	struct resource_amounts n = resources_of_container(o->container);

	runtime__v1__linux_container_resources__init(r);
	r->cpu_shares = cpu_shares(n.cpu_request);
	if (n.cpu_limit) {
		r->cpu_period = CPU_PERIOD_US;
		r->cpu_quota = cpu_quota_us(n.cpu_limit);
	}
	r->memory_limit_in_bytes = n.memory_limit;
	r->oom_score_adj = oom_score_adj(o->pod, o->container, o->memory_capacity);
	return r;
}

static void container_env(struct arena *a, const struct container_opts *o,
			  CRI(ContainerConfig) * cfg)
{
	cfg->envs = arena_array(a, o->env->n + 1, sizeof(*cfg->envs));
	for (size_t i = 0; i < o->env->n; i++) {
		CRI(KeyValue) *kv = arena_new_obj(a, CRI(KeyValue));
		struct str value = o->env->v[i].value;

		runtime__v1__key_value__init(kv);
		kv->key = cri_z(a, o->env->v[i].name);
		kv->value.data = (uint8_t *)cri_z(a, value);
		kv->value.len = value.n;
		cfg->envs[cfg->n_envs++] = kv;
	}
}

static void container_mounts(struct arena *a, const struct container_opts *o,
			     CRI(ContainerConfig) * cfg)
{
	cfg->mounts = arena_array(a, o->n_mounts + 1, sizeof(*cfg->mounts));
	for (size_t i = 0; i < o->n_mounts; i++) {
		CRI(Mount) *m = arena_new_obj(a, CRI(Mount));

		runtime__v1__mount__init(m);
		m->host_path = cri_z(a, o->mounts[i].host_path);
		m->container_path = cri_z(a, o->mounts[i].container_path);
		m->readonly = o->mounts[i].read_only;
		m->propagation = (CRI(MountPropagation))o->mounts[i].propagation;
		cfg->mounts[cfg->n_mounts++] = m;
	}
	cfg->devices = arena_array(a, o->n_devices + 1, sizeof(*cfg->devices));
	for (size_t i = 0; i < o->n_devices; i++) {
		CRI(Device) *d = arena_new_obj(a, CRI(Device));

		runtime__v1__device__init(d);
		d->host_path = cri_z(a, o->devices[i].host_path);
		d->container_path = cri_z(a, o->devices[i].container_path);
		d->permissions = cri_z(a, o->devices[i].permissions);
		cfg->devices[cfg->n_devices++] = d;
	}
}

static void container_metadata(struct arena *a, const struct container_opts *o,
			       CRI(ContainerConfig) * cfg)
{
	struct str name = json_str_at(o->container, "name");
	struct str path = json_str_at(o->container, "terminationMessagePath");
	struct str policy = json_str_at(o->container, "terminationMessagePolicy");
	struct cri_pairs labels = { 0 }, ann = { 0 };

	cfg->metadata = arena_new_obj(a, CRI(ContainerMetadata));
	runtime__v1__container_metadata__init(cfg->metadata);
	cfg->metadata->name = cri_z(a, name);
	cfg->metadata->attempt = (uint32_t)o->restarts;
	config_pod_labels(a, &labels, o->pod);
	cri_pair_add(a, &labels, STR(LABEL_CONTAINER_NAME), name);
	if (o->annotations)
		for (size_t i = 0; i < o->annotations->n; i++)
			cri_pair_add(a, &ann, str_from(o->annotations->v[i]->key),
				     str_from(o->annotations->v[i]->value));
	cri_pair_add(a, &ann, STR(ANNOTATION_HASH), container_hash(a, o->container));
	cri_pair_add(a, &ann, STR(ANNOTATION_RESTARTS), arena_fmt(a, "%d", o->restarts));
	cri_pair_add(a, &ann, STR(ANNOTATION_GRACE),
		     arena_fmt(a, "%lld",
			       (long long)json_int_at(o->pod, "spec.terminationGracePeriodSeconds",
						      30)));
	cri_pair_add(a, &ann, STR(ANNOTATION_TERMINATION_PATH), path);
	cri_pair_add(a, &ann, STR(ANNOTATION_TERMINATION_POLICY), policy);
	cri_pair_add(a, &ann, STR(ANNOTATION_TERMINATION_FILE), o->termination_file);
	cfg->labels = labels.v;
	cfg->n_labels = labels.n;
	cfg->annotations = ann.v;
	cfg->n_annotations = ann.n;
	cfg->log_path = cri_z(a, arena_fmt(a, "%.*s/%d.log", STR_ARG(name), o->restarts));
}

struct err *container_config_render(struct arena *a, const struct container_opts *o,
				    CRI(ContainerConfig) * *ret)
{
	CRI(ContainerConfig) *cfg = arena_new_obj(a, CRI(ContainerConfig));

	TRY(security_check_non_root(o));
	runtime__v1__container_config__init(cfg);
	container_metadata(a, o, cfg);
	cfg->image = arena_new_obj(a, CRI(ImageSpec));
	runtime__v1__image_spec__init(cfg->image);
	cfg->image->image = cri_z(a, o->image_id);
	cfg->command =
		config_string_list(a, json_get(o->container, "command"), o->env, &cfg->n_command);
	cfg->args = config_string_list(a, json_get(o->container, "args"), o->env, &cfg->n_args);
	cfg->working_dir = cri_z(a, json_str_at(o->container, "workingDir"));
	container_env(a, o, cfg);
	container_mounts(a, o, cfg);
	cfg->has_stdin = json_bool_at(o->container, "stdin", false);
	cfg->stdin_once = json_bool_at(o->container, "stdinOnce", false);
	cfg->tty = json_bool_at(o->container, "tty", false);
	cfg->linux_config = arena_new_obj(a, CRI(LinuxContainerConfig));
	runtime__v1__linux_container_config__init(cfg->linux_config);
	cfg->linux_config->resources = container_resources(a, o);
	cfg->linux_config->security_context = container_security(a, o);
	*ret = cfg;
	return NULL;
}

struct str container_hash(struct arena *a, const struct json *container)
{
	struct str key = arena_fmt(a, "%.*s\n%.*s", STR_ARG(json_str_at(container, "name")),
				   STR_ARG(json_str_at(container, "image")));

	return arena_fmt(a, "%08x", fnv32a(key));
}
