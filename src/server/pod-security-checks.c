/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/buf.h"
#include "server/pod-security-internal.h"
#include "json/json.h"

#define APPARMOR_ANNOTATION "container.apparmor.security.beta.kubernetes.io/"
#define SECCOMP_POD         "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP_CONTAINER   "container.seccomp.security.alpha.kubernetes.io/"

/* ---- helpers */

/* All containers: init, ordinary, ephemeral. */
struct containers {
	const struct json *spec;
	size_t list;
	struct json_iter it;
};

static struct containers containers_of(const struct pod_check *c)
{
	return (struct containers){ c->spec, 0, json_iter(json_get(c->spec, "initContainers")) };
}

static const struct json *containers_next(struct containers *cs)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };

	while (!json_next(&cs->it)) {
		if (++cs->list >= ARRAY_LEN(lists))
			return NULL;
		cs->it = json_iter(json_get(cs->spec, lists[cs->list]));
	}
	return cs->it.val;
}

#define for_each_container(one, c)                                                      \
	for (struct containers cs_ = containers_of(c), *run_ = &cs_; run_; run_ = NULL) \
		for (const struct json *one; (one = containers_next(&cs_));)

static struct json *names_new(struct pod_check *c)
{
	return json_array(c->a);
}

static void names_push(struct pod_check *c, struct json *names, const struct json *container)
{
	json_push(names, json_str(c->a, json_str_at(container, "name")));
}

/* A sorted set. */
static void set_add(struct pod_check *c, struct json *set, struct str v)
{
	size_t i = 0;

	while (i < json_len(set) && str_cmp(json_as_str(json_idx(set, i)), v) < 0)
		i++;
	if (i == json_len(set) || !str_eq(json_as_str(json_idx(set, i)), v))
		json_insert_idx(set, i, json_str(c->a, v));
}

static struct str joined(struct arena *a, const struct json *v, const char *quote)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, v) buf_addf(&b, "%s%s" STR_FMT "%s", it.i ? ", " : "", quote,
				      STR_ARG(json_as_str(it.val)), quote);
	return buf_to_arena(&b, a);
}

static struct str quoted(struct arena *a, const struct json *v)
{
	return joined(a, v, "\"");
}

static const char *plural(const struct json *v, const char *one, const char *many)
{
	return json_len(v) == 1 ? one : many;
}

/* `container "a"`, `containers "a", "b"` */
static struct str named(struct pod_check *c, const struct json *names)
{
	return arena_fmt(c->a, "%s " STR_FMT, plural(names, "container", "containers"),
			 STR_ARG(quoted(c->a, names)));
}

/* `pod and container "a"`: who set something; empty: nobody. */
static struct str setters(struct pod_check *c, bool pod, const struct json *names)
{
	if (!json_len(names))
		return pod ? STR("pod") : STR_EMPTY;
	return arena_fmt(c->a, "%s" STR_FMT, pod ? "pod and " : "", STR_ARG(named(c, names)));
}

static bool PRINTF_LIKE(3, 4) fails(struct pod_check *c, const char *reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	c->detail = arena_vfmt(c->a, fmt, ap);
	va_end(ap);
	c->reason = str_from(reason);
	return false;
}

static const struct json *security(const struct json *x)
{
	return json_get(x, "securityContext");
}

static bool one_of(struct str s, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(s, names[i]))
			return true;
	return false;
}

static bool is_windows(const struct pod_check *c)
{
	return c->minor >= 25 && str_eqz(json_str_at(c->spec, "os.name"), "windows");
}

/* Root in a user namespace of its own is nobody outside. */
static bool in_user_namespace(const struct pod_check *c)
{
	return c->minor >= 35 && !json_bool_at(c->spec, "hostUsers", true);
}

/* ---- baseline */

static bool profile_ok(struct str type)
{
	return str_eqz(type, "RuntimeDefault") || str_eqz(type, "Localhost");
}

/* Collects who set member.type to something that is not allowed. */
static struct str bad_profiles(struct pod_check *c, const char *member, struct json *values)
{
	const struct json *p = json_get(security(c->spec), member);
	struct json *names = names_new(c);
	bool pod = p && !profile_ok(json_str_at(p, "type"));

	if (pod)
		set_add(c, values, json_str_at(p, "type"));
	for_each_container(one, c)
	{
		p = json_get(security(one), member);
		if (!p || profile_ok(json_str_at(p, "type")))
			continue;
		names_push(c, names, one);
		set_add(c, values, json_str_at(p, "type"));
	}
	return setters(c, pod, names);
}

bool pod_check_apparmor(struct pod_check *c)
{
	struct json *values = names_new(c), *annotations = names_new(c);
	struct str who = bad_profiles(c, "appArmorProfile", values);

	json_for_each(it, json_get(c->meta, "annotations"))
	{
		struct str v = json_as_str(it.val);

		if (str_has_prefix(it.key, STR(APPARMOR_ANNOTATION)) && v.n &&
		    !str_eqz(v, "runtime/default") && !str_has_prefix(v, STR("localhost/")))
			set_add(c, annotations,
				arena_fmt(c->a, STR_FMT "=" STR_FMT, STR_ARG(it.key),
					  STR_ARG(json_text(c->a, it.val))));
	}
	if (json_len(annotations))
		who = arena_fmt(c->a, STR_FMT "%s%s", STR_ARG(who), who.n ? " and " : "",
				plural(annotations, "annotation", "annotations"));
	if (!who.n)
		return true;
	json_for_each(it, annotations) json_push(values, json_copy(c->a, it.val));
	return fails(c, plural(values, "forbidden AppArmor profile", "forbidden AppArmor profiles"),
		     STR_FMT " must not set AppArmor profile type to " STR_FMT, STR_ARG(who),
		     STR_ARG(quoted(c->a, values)));
}

bool pod_check_capabilities(struct pod_check *c)
{
	static const char *const allowed[] = {
		"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
		"KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
		"SETPCAP",     "SETUID", "SYS_CHROOT"
	};
	struct json *names = names_new(c), *caps = names_new(c);

	for_each_container(one, c)
	{
		bool bad = false;

		json_for_each(it, json_at(security(one), "capabilities.add"))
		{
			if (one_of(json_as_str(it.val), allowed, ARRAY_LEN(allowed)))
				continue;
			bad = true;
			set_add(c, caps, json_as_str(it.val));
		}
		if (bad)
			names_push(c, names, one);
	}
	if (!json_len(names))
		return true;
	return fails(c, "non-default capabilities",
		     STR_FMT " must not include " STR_FMT " in securityContext.capabilities.add",
		     STR_ARG(named(c, names)), STR_ARG(quoted(c->a, caps)));
}

bool pod_check_host_namespaces(struct pod_check *c)
{
	static const char *const fields[] = { "hostNetwork", "hostPID", "hostIPC" };
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (json_bool_at(c->spec, fields[i], false))
			buf_addf(&b, "%s%s=true", b.n ? ", " : "", fields[i]);
	return b.n ? fails(c, "host namespaces", "%s", b.p) : true;
}

bool pod_check_host_path(struct pod_check *c)
{
	struct json *names = names_new(c);

	json_for_each(it, json_get(c->spec, "volumes")) if (json_get(it.val, "hostPath"))
		names_push(c, names, it.val);
	if (!json_len(names))
		return true;
	return fails(c, "hostPath volumes", "%s " STR_FMT, plural(names, "volume", "volumes"),
		     STR_ARG(quoted(c->a, names)));
}

bool pod_check_host_ports(struct pod_check *c)
{
	struct json *names = names_new(c), *ports = names_new(c);

	for_each_container(one, c)
	{
		bool bad = false;

		json_for_each(it, json_get(one, "ports"))
		{
			int64_t port = json_int_at(it.val, "hostPort", 0);

			if (!port)
				continue;
			bad = true;
			set_add(c, ports, arena_fmt(c->a, "%lld", (long long)port));
		}
		if (bad)
			names_push(c, names, one);
	}
	if (!json_len(names))
		return true;
	return fails(c, "hostPort", STR_FMT " %s %s " STR_FMT, STR_ARG(named(c, names)),
		     plural(names, "uses", "use"), plural(ports, "hostPort", "hostPorts"),
		     STR_ARG(joined(c->a, ports, "")));
}

static bool handler_hosts(struct pod_check *c, const struct json *handler, struct json *hosts)
{
	static const char *const paths[] = { "httpGet.host", "tcpSocket.host" };
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct str host = json_str_at(handler, paths[i]);

		if (!host.n)
			continue;
		set_add(c, hosts, host);
		any = true;
	}
	return any;
}

bool pod_check_probe_hosts(struct pod_check *c)
{
	static const char *const handlers[] = { "livenessProbe", "readinessProbe", "startupProbe",
						"lifecycle.postStart", "lifecycle.preStop" };
	struct json *names = names_new(c), *hosts = names_new(c);

	for_each_container(one, c)
	{
		for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
			if (handler_hosts(c, json_at(one, handlers[i]), hosts))
				set_add(c, names, json_str_at(one, "name"));
	}
	if (!json_len(names))
		return true;
	return fails(c, "probe or lifecycle host", STR_FMT " %s %s " STR_FMT,
		     STR_ARG(named(c, names)), plural(names, "uses", "use"),
		     plural(hosts, "probe or lifecycle host", "probe or lifecycle hosts"),
		     STR_ARG(quoted(c->a, hosts)));
}

bool pod_check_privileged(struct pod_check *c)
{
	struct json *names = names_new(c);

	for_each_container(one, c)
	{
		if (json_bool_at(security(one), "privileged", false))
			names_push(c, names, one);
	}
	if (!json_len(names))
		return true;
	return fails(c, "privileged", STR_FMT " must not set securityContext.privileged=true",
		     STR_ARG(named(c, names)));
}

bool pod_check_proc_mount_always(struct pod_check *c)
{
	struct json *names = names_new(c), *types = names_new(c);

	for_each_container(one, c)
	{
		const struct json *t = json_get(security(one), "procMount");

		if (json_is_null(t) || str_eqz(json_as_str(t), "Default"))
			continue;
		names_push(c, names, one);
		set_add(c, types, json_as_str(t));
	}
	if (!json_len(names))
		return true;
	return fails(c, "procMount", STR_FMT " must not set securityContext.procMount to " STR_FMT,
		     STR_ARG(named(c, names)), STR_ARG(quoted(c->a, types)));
}

bool pod_check_proc_mount(struct pod_check *c)
{
	return in_user_namespace(c) || pod_check_proc_mount_always(c);
}

struct selinux {
	struct json *types;
	bool user, role;
};

static bool selinux_ok(struct pod_check *c, const struct json *o, struct selinux *bad)
{
	static const char *const allowed[] = { "", "container_t", "container_init_t",
					       "container_kvm_t", "container_engine_t" };
	struct str type = json_str_at(o, "type");
	bool ok = true;

	if (!o)
		return true;
	if (!one_of(type, allowed, ARRAY_LEN(allowed) - (c->minor < 31))) {
		set_add(c, bad->types, type);
		ok = false;
	}
	if (json_str_at(o, "user").n)
		ok = !(bad->user = true);
	if (json_str_at(o, "role").n)
		ok = !(bad->role = true);
	return ok;
}

bool pod_check_selinux(struct pod_check *c)
{
	struct json *names = names_new(c);
	struct selinux bad = { .types = names_new(c) };
	bool pod = !selinux_ok(c, json_get(security(c->spec), "seLinuxOptions"), &bad);
	_cleanup_buf_ struct buf b = { 0 };
	struct str who;

	for_each_container(one, c)
	{
		if (!selinux_ok(c, json_get(security(one), "seLinuxOptions"), &bad))
			names_push(c, names, one);
	}
	who = setters(c, pod, names);
	if (!who.n)
		return true;
	if (json_len(bad.types))
		buf_addf(&b, "%s " STR_FMT, plural(bad.types, "type", "types"),
			 STR_ARG(quoted(c->a, bad.types)));
	if (bad.user)
		buf_addf(&b, "%suser may not be set", b.n ? "; " : "");
	if (bad.role)
		buf_addf(&b, "%srole may not be set", b.n ? "; " : "");
	return fails(c, "seLinuxOptions",
		     STR_FMT " set forbidden securityContext.seLinuxOptions: %s", STR_ARG(who),
		     b.p);
}

static void seccomp_annotation(struct pod_check *c, struct str key, struct json *bad)
{
	const struct json *v = json_get_s(json_get(c->meta, "annotations"), key);

	if (!v || str_eqz(json_as_str(v), "runtime/default") ||
	    str_eqz(json_as_str(v), "docker/default") ||
	    str_has_prefix(json_as_str(v), STR("localhost/")))
		return;
	set_add(c, bad,
		arena_fmt(c->a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(json_text(c->a, v))));
}

bool pod_check_seccomp_annotations(struct pod_check *c)
{
	struct json *bad = names_new(c);

	seccomp_annotation(c, STR(SECCOMP_POD), bad);
	for_each_container(one, c) seccomp_annotation(
		c, arena_cat(c->a, STR(SECCOMP_CONTAINER), json_str_at(one, "name")), bad);
	if (!json_len(bad))
		return true;
	return fails(c, "seccompProfile", "forbidden %s " STR_FMT,
		     plural(bad, "annotation", "annotations"), STR_ARG(joined(c->a, bad, "")));
}

bool pod_check_seccomp(struct pod_check *c)
{
	struct json *values = names_new(c);
	struct str who = bad_profiles(c, "seccompProfile", values);

	if (!who.n)
		return true;
	return fails(c, "seccompProfile",
		     STR_FMT " must not set securityContext.seccompProfile.type to " STR_FMT,
		     STR_ARG(who), STR_ARG(quoted(c->a, values)));
}

bool pod_check_sysctls(struct pod_check *c)
{
	static const struct {
		const char *name;
		int since;
	} allowed[] = {
		{ "kernel.shm_rmid_forced", 0 },
		{ "net.ipv4.ip_local_port_range", 0 },
		{ "net.ipv4.tcp_syncookies", 0 },
		{ "net.ipv4.ping_group_range", 0 },
		{ "net.ipv4.ip_unprivileged_port_start", 0 },
		{ "net.ipv4.ip_local_reserved_ports", 27 },
		{ "net.ipv4.tcp_keepalive_time", 29 },
		{ "net.ipv4.tcp_fin_timeout", 29 },
		{ "net.ipv4.tcp_keepalive_intvl", 29 },
		{ "net.ipv4.tcp_keepalive_probes", 29 },
		{ "net.ipv4.tcp_rmem", 32 },
		{ "net.ipv4.tcp_wmem", 32 },
	};
	struct json *bad = names_new(c);

	json_for_each(it, json_get(security(c->spec), "sysctls"))
	{
		bool ok = false;

		for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
			ok |= str_eqz(json_str_at(it.val, "name"), allowed[i].name) &&
			      c->minor >= allowed[i].since;
		if (!ok)
			names_push(c, bad, it.val);
	}
	if (!json_len(bad))
		return true;
	return fails(c, "forbidden sysctls", STR_FMT, STR_ARG(joined(c->a, bad, "")));
}

bool pod_check_windows(struct pod_check *c)
{
	struct json *names = names_new(c);
	struct str who;

	for_each_container(one, c)
	{
		if (json_bool_at(security(one), "windowsOptions.hostProcess", false))
			names_push(c, names, one);
	}
	who = setters(c, json_bool_at(security(c->spec), "windowsOptions.hostProcess", false),
		      names);
	if (!who.n)
		return true;
	return fails(c, "hostProcess",
		     STR_FMT " must not set securityContext.windowsOptions.hostProcess=true",
		     STR_ARG(who));
}

/* ---- restricted */

bool pod_check_escalation(struct pod_check *c)
{
	struct json *names = names_new(c);

	if (is_windows(c))
		return true;
	for_each_container(one, c)
	{
		if (json_bool_at(security(one), "allowPrivilegeEscalation", true))
			names_push(c, names, one);
	}
	if (!json_len(names))
		return true;
	return fails(c, "allowPrivilegeEscalation != false",
		     STR_FMT " must set securityContext.allowPrivilegeEscalation=false",
		     STR_ARG(named(c, names)));
}

static bool drops_all(const struct json *caps)
{
	json_for_each(it, json_get(caps, "drop"))
	{
		if (str_eqz(json_as_str(it.val), "ALL"))
			return true;
	}
	return false;
}

bool pod_check_drop_all(struct pod_check *c)
{
	struct json *missing = names_new(c), *adding = names_new(c), *caps = names_new(c);
	_cleanup_buf_ struct buf b = { 0 };

	if (is_windows(c))
		return true;
	for_each_container(one, c)
	{
		const struct json *own = json_get(security(one), "capabilities");
		bool bad = false;

		if (!drops_all(own))
			names_push(c, missing, one);
		json_for_each(it, json_get(own, "add"))
		{
			if (str_eqz(json_as_str(it.val), "NET_BIND_SERVICE"))
				continue;
			bad = true;
			set_add(c, caps, json_as_str(it.val));
		}
		if (bad)
			names_push(c, adding, one);
	}
	if (json_len(missing))
		buf_addf(&b, STR_FMT " must set securityContext.capabilities.drop=[\"ALL\"]",
			 STR_ARG(named(c, missing)));
	if (json_len(adding))
		buf_addf(&b,
			 "%s" STR_FMT " must not include " STR_FMT
			 " in securityContext.capabilities.add",
			 b.n ? "; " : "", STR_ARG(named(c, adding)), STR_ARG(quoted(c->a, caps)));
	return b.n ? fails(c, "unrestricted capabilities", "%s", b.p) : true;
}

/* NULL: one of those that are allowed. */
static const char *volume_restricted(const struct json *v)
{
	static const char *const allowed[] = {
		"configMap", "csi",   "downwardAPI",           "emptyDir",
		"ephemeral", "image", "persistentVolumeClaim", "projected",
		"secret"
	};
	static const char *const known[] = {
		"hostPath",
		"gcePersistentDisk",
		"awsElasticBlockStore",
		"gitRepo",
		"nfs",
		"iscsi",
		"glusterfs",
		"rbd",
		"flexVolume",
		"cinder",
		"cephfs",
		"flocker",
		"fc",
		"azureFile",
		"vsphereVolume",
		"quobyte",
		"azureDisk",
		"photonPersistentDisk",
		"portworxVolume",
		"scaleIO",
		"storageos",
	};

	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (json_get(v, allowed[i]))
			return NULL;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (json_get(v, known[i]))
			return known[i];
	return "unknown";
}

bool pod_check_volumes(struct pod_check *c)
{
	struct json *names = names_new(c), *types = names_new(c);

	json_for_each(it, json_get(c->spec, "volumes"))
	{
		const char *type = volume_restricted(it.val);

		if (!type)
			continue;
		names_push(c, names, it.val);
		set_add(c, types, str_from(type));
	}
	if (!json_len(names))
		return true;
	return fails(c, "restricted volume types", "%s " STR_FMT " %s %s " STR_FMT,
		     plural(names, "volume", "volumes"), STR_ARG(quoted(c->a, names)),
		     plural(names, "uses", "use"),
		     plural(types, "restricted volume type", "restricted volume types"),
		     STR_ARG(quoted(c->a, types)));
}

bool pod_check_non_root(struct pod_check *c)
{
	const struct json *own = json_get(security(c->spec), "runAsNonRoot");
	struct json *bad = names_new(c), *silent = names_new(c);
	struct str who;

	if (in_user_namespace(c))
		return true;
	for_each_container(one, c)
	{
		const struct json *v = json_get(security(one), "runAsNonRoot");

		if (!json_is_null(v)) {
			if (!json_as_bool(v, false))
				names_push(c, bad, one);
		} else if (!json_as_bool(own, false)) {
			names_push(c, silent, one);
		}
	}
	who = setters(c, !json_is_null(own) && !json_as_bool(own, false), bad);
	if (who.n)
		return fails(c, "runAsNonRoot != true",
			     STR_FMT " must not set securityContext.runAsNonRoot=false",
			     STR_ARG(who));
	if (!json_len(silent))
		return true;
	return fails(c, "runAsNonRoot != true",
		     "pod or " STR_FMT " must set securityContext.runAsNonRoot=true",
		     STR_ARG(named(c, silent)));
}

bool pod_check_user(struct pod_check *c)
{
	struct json *names = names_new(c);
	struct str who;

	if (in_user_namespace(c))
		return true;
	for_each_container(one, c)
	{
		if (json_int_at(security(one), "runAsUser", 1) == 0)
			names_push(c, names, one);
	}
	who = setters(c, json_int_at(security(c->spec), "runAsUser", 1) == 0, names);
	if (!who.n)
		return true;
	return fails(c, "runAsUser=0", STR_FMT " must not set runAsUser=0", STR_ARG(who));
}

bool pod_check_seccomp_set(struct pod_check *c)
{
	const struct json *own = json_get(security(c->spec), "seccompProfile");
	struct json *silent = names_new(c);

	if (is_windows(c))
		return true;
	if (!pod_check_seccomp(c))
		return false;
	/* the Pod's own is a good one here */
	for_each_container(one, c)
	{
		if (!own && !json_get(security(one), "seccompProfile"))
			names_push(c, silent, one);
	}
	if (!json_len(silent))
		return true;
	return fails(c, "seccompProfile",
		     "pod or " STR_FMT
		     " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
		     "\"Localhost\"",
		     STR_ARG(named(c, silent)));
}
