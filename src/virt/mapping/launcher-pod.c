/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/launcher-pod.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/launcher-api.h"
#include "virt/mapping/align.h"
#include "virt/mapping/launcher-volumes.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/* The launcher outlives the guest's grace by this much, the Pod by twice that (upstream's margins).
 */
#define GRACE_MARGIN 15
/* Probes start later than asked: the guest boots after the container. */
#define PROBE_MARGIN 10

static struct json *strings(struct arena *a, const char *const *v, size_t n)
{
	struct json *out = json_array(a);

	for (size_t i = 0; i < n; i++)
		json_push(out, json_strz(a, v[i]));
	return out;
}

/* metadata */

static void copy_labels(struct arena *a, const struct json *vmi, struct json *pod)
{
	struct json *labels = json_object(a);
	struct str name = meta_name(vmi);

	json_for_each(it, meta_labels(vmi)) json_set_s(a, labels, it.key, json_copy(a, it.val));
	json_set_str(a, labels, LABEL_VIRT, STR("virt-launcher"));
	json_set_str(a, labels, LABEL_CREATED_BY, meta_uid(vmi));
	json_set_str(a, labels, LABEL_VM_NAME, vmi_hostname(a, vmi));
	json_set_str(a, labels, LABEL_VMI_ID, vmi_id_label(a, name));
	json_set(a, json_get(pod, "metadata"), "labels", labels);
}

static bool annotation_travels(struct str key)
{
	return !str_has_prefix(key, STR("kubectl.kubernetes.io")) &&
	       !str_eqz(key, ANNO_LATEST_API) && !str_eqz(key, ANNO_STORAGE_API);
}

static struct str network_element(struct str network, const char **ret_ns_key, struct str *ret_ns)
{
	struct str rest = network, ns;

	*ret_ns_key = NULL;
	if (str_find_char(network, '/', 0) == network.n)
		return network;
	str_cut(&rest, '/', &ns);
	*ret_ns = ns;
	*ret_ns_key = "namespace";
	return rest;
}

/* The Multus convention's request for every secondary network, as a JSON list in text. */
static struct str networks_annotation(struct arena *a, const struct json *vmi,
				      struct str *ret_default)
{
	struct json *list = json_array(a);

	*ret_default = STR_EMPTY;
	json_for_each(it, json_at(vmi, "spec.networks"))
	{
		struct str target = json_str_at(it.val, "multus.networkName"), ns, bare, mac;
		struct str name = json_str_at(it.val, "name");
		const struct json *iface;
		const char *ns_key;
		struct json *e;

		if (str_empty(target))
			continue;
		if (json_bool_at(it.val, "multus.default", false)) {
			*ret_default = target;
			continue;
		}
		iface = json_find_by(json_at(vmi, "spec.domain.devices.interfaces"), "name", name);
		mac = json_str_at(iface, "macAddress");
		bare = network_element(target, &ns_key, &ns);
		e = json_object(a);
		json_set_str(a, e, "name", bare);
		json_set_str(a, e, "namespace", ns_key ? ns : meta_namespace(vmi));
		if (!str_empty(mac))
			json_set_str(a, e, "mac", mac);
		json_set_str(a, e, "interface", vmi_pod_interface_name(a, name));
		json_push(list, e);
	}
	return json_len(list) ? json_text(a, list) : STR_EMPTY;
}

static void copy_annotations(struct arena *a, const struct json *vmi, bool emulation,
			     struct json *pod)
{
	struct json *annos = json_object(a);
	struct str dflt, networks = networks_annotation(a, vmi, &dflt);

	json_for_each(it, meta_annotations(vmi))
	{
		if (annotation_travels(it.key))
			json_set_s(a, annos, it.key, json_copy(a, it.val));
	}
	json_set_str(a, annos, ANNO_DOMAIN, meta_name(vmi));
	json_set_str(a, annos, "kubectl.kubernetes.io/default-container", STR(LAUNCHER_CONTAINER));
	json_set_str(a, annos, "kubevirt.io/migrationTransportUnix", STR("true"));
	json_set_str(a, annos, "descheduler.alpha.kubernetes.io/request-evict-only", STR_EMPTY);
	json_set(a, annos, ANNO_MEMORY_OVERHEAD,
		 json_strf(a, "%lld", (long long)vmi_memory_overhead(vmi, emulation)));
	if (!str_empty(networks))
		json_set_str(a, annos, ANNO_NETWORKS, networks);
	if (!str_empty(dflt))
		json_set_str(a, annos, ANNO_DEFAULT_NETWORK, dflt);
	json_set(a, json_get(pod, "metadata"), "annotations", annos);
}

/* placement */

static void select_nodes(struct arena *a, const struct json *vmi, struct json *spec)
{
	struct json *sel = json_sub(a, spec, "nodeSelector");
	struct str arch = json_str_at(vmi, "spec.architecture");
	struct str machine = json_str_at(vmi, "spec.domain.machine.type");
	struct str model = json_str_at(vmi, "spec.domain.cpu.model");

	json_set_str(a, sel, LABEL_SCHEDULABLE, STR("true"));
	if (!str_empty(arch))
		json_set_str(a, sel, "kubernetes.io/arch", arch);
	if (!str_empty(machine))
		json_set_s(a, sel, arena_cat(a, STR(LABEL_MACHINE_TYPE), machine),
			   json_strz(a, "true"));
	if (!str_empty(model) && !str_eqz(model, "host-model") &&
	    !str_eqz(model, "host-passthrough"))
		json_set_s(a, sel, arena_cat(a, STR(LABEL_CPU_MODEL), model), json_strz(a, "true"));
	if (json_bool_at(vmi, "spec.domain.cpu.dedicatedCpuPlacement", false))
		json_set_str(a, sel, "kubevirt.io/cpumanager", STR("true"));
	json_for_each(it, json_at(vmi, "spec.domain.cpu.features"))
	{
		struct str policy = json_str_at(it.val, "policy");

		if (str_empty(policy) || str_eqz(policy, "require"))
			json_set_s(
				a, sel,
				arena_cat(a, STR(LABEL_CPU_FEATURE), json_str_at(it.val, "name")),
				json_strz(a, "true"));
	}
}

/* Adds one DoesNotExist expression to every required node selector term. */
static void forbid_node_label(struct arena *a, struct json *spec, struct str label)
{
	struct json *affinity = json_sub(a, json_sub(a, spec, "affinity"), "nodeAffinity");
	struct json *req = json_sub(a, affinity, "requiredDuringSchedulingIgnoredDuringExecution");
	struct json *terms = json_sub_array(a, req, "nodeSelectorTerms");

	if (!json_len(terms))
		json_push(terms, json_object(a));
	json_for_each(it, terms)
	{
		struct json *e = json_object(a);

		json_set_str(a, e, "key", label);
		json_set_str(a, e, "operator", STR("DoesNotExist"));
		json_push(json_sub_array(a, it.val, "matchExpressions"), e);
	}
}

static void avoid_nodes(struct arena *a, const struct json *vmi, struct json *spec)
{
	struct str model = json_str_at(vmi, "spec.domain.cpu.model");

	if (str_empty(model) || str_eqz(model, "host-model"))
		forbid_node_label(a, spec, STR(LABEL_OBSOLETE_HOST_MODEL));
	json_for_each(it, json_at(vmi, "spec.domain.cpu.features"))
	{
		if (str_eqz(json_str_at(it.val, "policy"), "forbid"))
			forbid_node_label(
				a, spec,
				arena_cat(a, STR(LABEL_CPU_FEATURE), json_str_at(it.val, "name")));
	}
}

/* the container */

static void add_args(struct arena *a, const struct json *vmi, bool emulation, struct json *c)
{
	struct json *args = json_array(a);

	json_push(args, json_strz(a, "--name"));
	json_push(args, json_strcpy(a, meta_name(vmi)));
	json_push(args, json_strz(a, "--uid"));
	json_push(args, json_strcpy(a, meta_uid(vmi)));
	json_push(args, json_strz(a, "--namespace"));
	json_push(args, json_strcpy(a, meta_namespace(vmi)));
	json_push(args, json_strz(a, "--grace-period-seconds"));
	json_push(args, json_strf(a, "%lld", (long long)vmi_grace_seconds(vmi) + GRACE_MARGIN));
	if (emulation)
		json_push(args, json_strz(a, "--allow-emulation"));
	json_set(a, c, "args", args);
}

static void add_security(struct arena *a, struct json *spec, struct json *c)
{
	static const char *const all[] = { "ALL" }, *const add[] = { "NET_BIND_SERVICE" };
	struct json *ctx = json_sub(a, spec, "securityContext");
	struct json *cc = json_sub(a, c, "securityContext");
	struct json *caps;

	json_set_int(a, ctx, "fsGroup", LAUNCHER_UID);
	json_set_int(a, ctx, "runAsUser", LAUNCHER_UID);
	json_set_int(a, ctx, "runAsGroup", LAUNCHER_UID);
	json_set_bool(a, ctx, "runAsNonRoot", true);

	json_set_bool(a, cc, "allowPrivilegeEscalation", false);
	json_set_int(a, cc, "runAsUser", LAUNCHER_UID);
	json_set_int(a, cc, "runAsGroup", LAUNCHER_UID);
	json_set_bool(a, cc, "runAsNonRoot", true);
	caps = json_sub(a, cc, "capabilities");
	json_set(a, caps, "add", strings(a, add, ARRAY_LEN(add)));
	json_set(a, caps, "drop", strings(a, all, ARRAY_LEN(all)));
}

static void add_ports(struct arena *a, const struct json *vmi, struct json *c)
{
	struct json *ports = json_array(a);

	json_for_each(it, json_at(vmi, "spec.domain.devices.interfaces"))
	{
		json_for_each(p, json_get(it.val, "ports"))
		{
			struct json *e = json_object(a);
			struct str name = json_str_at(p.val, "name");
			struct str protocol = json_str_at(p.val, "protocol");

			if (!str_empty(name))
				json_set_str(a, e, "name", name);
			json_set_int(a, e, "containerPort", json_int_at(p.val, "port", 0));
			json_set_str(a, e, "protocol", str_empty(protocol) ? STR("TCP") : protocol);
			json_push(ports, e);
		}
	}
	if (json_len(ports))
		json_set(a, c, "ports", ports);
}

/* exec runs in the guest, by the launcher's probe command; the others pass through. */
static void add_probe(struct arena *a, const struct json *vmi, const char *key, struct json *c)
{
	const struct json *src = json_path(vmi, "spec", key, NULL);
	struct json *probe, *command;
	int64_t timeout;

	if (!src)
		return;
	probe = json_copy(a, src);
	timeout = json_int_at(probe, "timeoutSeconds", 1);
	json_set_int(a, probe, "initialDelaySeconds",
		     json_int_at(probe, "initialDelaySeconds", 0) + PROBE_MARGIN);
	if (json_get(src, "exec") || json_get(src, "guestAgentPing")) {
		command = json_array(a);
		json_push(command, json_strz(a, LAUNCHER_PROBE_BINARY));
		json_push(command, json_strz(a, "--domainName"));
		json_push(command, json_strf(a, STR_FMT "_" STR_FMT, STR_ARG(meta_namespace(vmi)),
					     STR_ARG(meta_name(vmi))));
		json_push(command, json_strz(a, "--timeoutSeconds"));
		json_push(command, json_strf(a, "%lld", (long long)timeout));
		json_push(command,
			  json_strz(a, json_get(src, "exec") ? "--command" : "--guestAgentPing"));
		json_for_each(it, json_at(src, "exec.command"))
		{
			if (it.i == 1)
				json_push(command, json_strz(a, "--"));
			json_push(command, json_copy(a, it.val));
		}
		json_delz(probe, "guestAgentPing");
		json_set(a, json_sub(a, probe, "exec"), "command", command);
		json_set_int(a, probe, "timeoutSeconds", timeout + 1);
	}
	json_set(a, c, key, probe);
}

static void add_env(struct arena *a, struct json *c)
{
	static const char *const fixed[][2] = {
		{ "XDG_CACHE_HOME", LAUNCHER_PRIVATE_DIR },
		{ "XDG_CONFIG_HOME", LAUNCHER_PRIVATE_DIR },
		{ "XDG_RUNTIME_DIR", "/var/run" },
	};
	struct json *env = json_array(a), *e;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		e = json_object(a);
		json_set_str(a, e, "name", str_from(fixed[i][0]));
		json_set_str(a, e, "value", str_from(fixed[i][1]));
		json_push(env, e);
	}
	e = json_object(a);
	json_set_str(a, e, "name", STR("POD_NAME"));
	json_set_at(a, e, "valueFrom.fieldRef.fieldPath", json_strz(a, "metadata.name"));
	json_push(env, e);
	json_set(a, c, "env", env);
}

static struct json *compute_container(struct arena *a, const struct json *vmi,
				      const struct launcher_pod_opts *opts)
{
	static const char *const command[] = { LAUNCHER_BINARY };
	struct json *c = json_object(a);

	json_set_str(a, c, "name", STR(LAUNCHER_CONTAINER));
	json_set_str(a, c, "image",
		     str_empty(opts->image) ? STR(LAUNCHER_IMAGE_DEFAULT) : opts->image);
	json_set_str(a, c, "imagePullPolicy",
		     str_empty(opts->pull_policy) ? STR("IfNotPresent") : opts->pull_policy);
	json_set(a, c, "command", strings(a, command, ARRAY_LEN(command)));
	add_args(a, vmi, opts->costs.use_emulation, c);
	add_env(a, c);
	add_ports(a, vmi, c);
	json_set(a, c, "resources", vmi_container_resources(a, vmi, &opts->costs));
	add_probe(a, vmi, "livenessProbe", c);
	add_probe(a, vmi, "readinessProbe", c);
	json_set_str(a, c, "terminationMessagePolicy", STR("FallbackToLogsOnError"));
	return c;
}

/* The sidecar whose log is the guest's serial console. */
static void add_console_log(struct arena *a, const struct json *vmi,
			    const struct launcher_pod_opts *opts, struct json *spec)
{
	static const char *const command[] = { LAUNCHER_TAIL_BINARY }, *const all[] = { "ALL" };
	const struct json *devices = json_at(vmi, "spec.domain.devices");
	struct json *c = json_object(a), *args = json_array(a), *ctx, *m;

	if (!json_bool_at(devices, "autoattachSerialConsole", true) ||
	    !json_bool_at(devices, "logSerialConsole", true))
		return;
	json_set_str(a, c, "name", STR("guest-console-log"));
	json_set_str(a, c, "image",
		     str_empty(opts->image) ? STR(LAUNCHER_IMAGE_DEFAULT) : opts->image);
	json_set_str(a, c, "imagePullPolicy",
		     str_empty(opts->pull_policy) ? STR("IfNotPresent") : opts->pull_policy);
	json_set(a, c, "command", strings(a, command, ARRAY_LEN(command)));
	json_push(args, json_strz(a, "--logfile"));
	json_push(args, json_strf(a, LAUNCHER_PRIVATE_DIR "/" STR_FMT "/" LAUNCHER_SERIAL_LOG,
				  STR_ARG(meta_uid(vmi))));
	json_set(a, c, "args", args);
	json_set_str(a, c, "restartPolicy", STR("Always"));
	json_set_at(a, c, "resources.requests.cpu", json_strz(a, "5m"));
	json_set_at(a, c, "resources.requests.memory", json_strz(a, "35M"));
	json_set_at(a, c, "resources.limits.cpu", json_strz(a, "15m"));
	json_set_at(a, c, "resources.limits.memory", json_strz(a, "60M"));
	ctx = json_sub(a, c, "securityContext");
	json_set_bool(a, ctx, "allowPrivilegeEscalation", false);
	json_set_int(a, ctx, "runAsUser", LAUNCHER_UID);
	json_set_bool(a, ctx, "runAsNonRoot", true);
	json_set(a, json_sub(a, ctx, "capabilities"), "drop", strings(a, all, ARRAY_LEN(all)));
	m = json_object(a);
	json_set_str(a, m, "name", STR(LAUNCHER_VOL_PRIVATE));
	json_set_str(a, m, "mountPath", STR(LAUNCHER_PRIVATE_DIR));
	json_set_bool(a, m, "readOnly", true);
	json_push(json_sub_array(a, c, "volumeMounts"), m);
	json_set_str(a, c, "terminationMessagePolicy", STR("FallbackToLogsOnError"));
	json_push(json_sub_array(a, spec, "initContainers"), c);
}

static void add_spec(struct arena *a, const struct json *vmi, const struct launcher_pod_opts *opts,
		     struct json *pod)
{
	struct json *spec = json_sub(a, pod, "spec"), *c, *gate;

	align_render(a, vmi, pod);
	json_set_str(a, spec, "hostname", vmi_hostname(a, vmi));
	json_set_str(a, spec, "restartPolicy", STR("Never"));
	json_set_bool(a, spec, "enableServiceLinks", false);
	json_set_int(a, spec, "terminationGracePeriodSeconds",
		     vmi_grace_seconds(vmi) + 2 * GRACE_MARGIN);
	json_set_bool(a, spec, "automountServiceAccountToken", launcher_volumes_want_token(vmi));
	if (!str_empty(opts->runtime_class))
		json_set_str(a, spec, "runtimeClassName", opts->runtime_class);
	select_nodes(a, vmi, spec);
	avoid_nodes(a, vmi, spec);
	gate = json_object(a);
	json_set_str(a, gate, "conditionType", STR(LAUNCHER_GATE));
	json_push(json_sub_array(a, spec, "readinessGates"), gate);
	c = compute_container(a, vmi, opts);
	add_security(a, spec, c);
	json_push(json_sub_array(a, spec, "containers"), c);
	add_console_log(a, vmi, opts, spec);
	launcher_volumes_add(a, vmi, opts->block_claims, spec, c);
}

struct json *launcher_pod_render(struct arena *a, const struct json *vmi,
				 const struct launcher_pod_opts *opts)
{
	struct json *pod = json_object(a), *meta;

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	meta = json_sub(a, pod, "metadata");
	json_set(a, meta, "generateName",
		 json_strf(a, "virt-launcher-" STR_FMT "-", STR_ARG(meta_name(vmi))));
	json_set_str(a, meta, "namespace", meta_namespace(vmi));
	copy_labels(a, vmi, pod);
	copy_annotations(a, vmi, opts->costs.use_emulation, pod);
	meta_set_controller(a, pod, vmi, STR(VIRT_API_VERSION), STR("VirtualMachineInstance"));
	add_spec(a, vmi, opts, pod);
	return pod;
}

struct json *launcher_pod_render_binder(struct arena *a, const struct json *vmi,
					const struct launcher_pod_opts *opts)
{
	static const char *const command[] = { "/usr/bin/qemu-img", "--version" };
	struct json *pod = launcher_pod_render(a, vmi, opts);
	struct json *c = json_idx(json_at(pod, "spec.containers"), 0);

	meta_set_annotation(a, pod, ANNO_EPHEMERAL, STR("true"));
	json_set(a, c, "command", strings(a, command, ARRAY_LEN(command)));
	json_delz(c, "args");
	json_delz(c, "livenessProbe");
	json_delz(c, "readinessProbe");
	json_delz(json_get(pod, "spec"), "initContainers");
	return pod;
}
