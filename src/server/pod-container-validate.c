/* SPDX-License-Identifier: Apache-2.0 */

/* Containers of a Pod: what upstream checks of each of them. What a schema can say by itself
 * (names, enumerations, limits of probes) is in schemas/overlay.yaml. */

#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "server/pod-validate.h"
#include "server/resource-names.h"
#include "server/valid.h"
#include "json/json.h"

#define ID_MAX 2147483647

/* ---- environment */

/* "metadata.labels['key']": whether prefix is its part before the bracket. */
static bool field_subscripted(struct str path)
{
	return (str_has_prefix(path, STR("metadata.labels['")) ||
		str_has_prefix(path, STR("metadata.annotations['"))) &&
	       str_has_suffix(path, STR("']"));
}

void field_ref_validate(const struct valid *v, const struct json *ref, const struct place *p,
			bool volume)
{
	static const char *const known[] = { "metadata.annotations",
					     "metadata.labels",
					     "metadata.name",
					     "metadata.namespace",
					     "metadata.uid",
					     "spec.nodeName",
					     "spec.restartPolicy",
					     "spec.serviceAccountName",
					     "spec.schedulerName",
					     "status.phase",
					     "status.hostIP",
					     "status.hostIPs",
					     "status.podIP",
					     "status.podIPs",
					     "spec.host",
					     NULL };
	static const char *const env[] = { "metadata.name",
					   "metadata.namespace",
					   "metadata.uid",
					   "spec.nodeName",
					   "spec.serviceAccountName",
					   "status.hostIP",
					   "status.hostIPs",
					   "status.podIP",
					   "status.podIPs",
					   NULL };
	static const char *const vol[] = { "metadata.annotations", "metadata.labels",
					   "metadata.name",        "metadata.namespace",
					   "metadata.uid",         NULL };
	struct str path = json_str_at(ref, "fieldPath");
	const struct place *at = AT(p, "fieldPath");

	if (str_empty(path)) {
		valid_required(v, at, NULL);
	} else if (field_subscripted(path)) {
		return;
	} else if (!text_in(path, known)) {
		valid_invalid_str(v, at, path,
				  "error converting fieldPath: field label not supported: " STR_FMT,
				  STR_ARG(path));
	} else if (!text_in(path, volume ? vol : env)) {
		valid_unsupported(v, at, path, volume ? vol : env);
	}
}

void resource_ref_validate(const struct valid *v, const struct json *ref, const struct place *p,
			   bool volume)
{
	static const char *const known[] = { "limits.cpu",
					     "limits.ephemeral-storage",
					     "limits.memory",
					     "requests.cpu",
					     "requests.ephemeral-storage",
					     "requests.memory",
					     NULL };
	struct str res = json_str_at(ref, "resource");

	if (volume && str_empty(json_str_at(ref, "containerName")))
		valid_required(v, AT(p, "containerName"), NULL);
	else if (str_empty(res))
		valid_required(v, AT(p, "resource"), NULL);
	else if (!text_in(res, known) && !str_has_prefix(res, STR("limits.hugepages-")) &&
		 !str_has_prefix(res, STR("requests.hugepages-")))
		valid_unsupported(v, AT(p, "resource"), res, known);
}

static void key_ref_validate(const struct valid *v, const struct json *ref, const struct place *p)
{
	struct str key = json_str_at(ref, "key");

	valid_name(v, AT(p, "name"), json_str_at(ref, "name"), name_check_dns_subdomain);
	if (str_empty(key))
		valid_required(v, AT(p, "key"), NULL);
	else
		valid_name(v, AT(p, "key"), key, name_check_config_key);
}

static void env_source(const struct valid *v, const struct json *env, const struct place *p)
{
	const struct json *from = json_get(env, "valueFrom"), *one;
	size_t n = 0;

	if (!from)
		return;
	if ((one = json_get(from, "fieldRef")) && ++n)
		field_ref_validate(v, one, AT(p, "fieldRef"), false);
	if ((one = json_get(from, "resourceFieldRef")) && ++n)
		resource_ref_validate(v, one, AT(p, "resourceFieldRef"), false);
	if ((one = json_get(from, "configMapKeyRef")) && ++n)
		key_ref_validate(v, one, AT(p, "configMapKeyRef"));
	if ((one = json_get(from, "secretKeyRef")) && ++n)
		key_ref_validate(v, one, AT(p, "secretKeyRef"));
	if (json_get(from, "fileKeyRef"))
		n++;
	if (!n)
		valid_invalid_str(v, p, STR_EMPTY,
				  "must specify one of: `fieldRef`, `resourceFieldRef`, "
				  "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
	else if (!str_empty(json_str_at(env, "value")))
		valid_invalid_str(v, p, STR_EMPTY,
				  "may not be specified when `value` is not empty");
	else if (n > 1)
		valid_invalid_str(v, p, STR_EMPTY,
				  "may not have more than one field specified at a time");
}

static void env_validate(const struct valid *v, const struct json *c, const struct place *p)
{
	json_for_each(it, json_get(c, "env"))
	{
		const struct place *at = AT_IDX(AT(p, "env"), it.i);

		if (!str_empty(json_str_at(it.val, "name")))
			valid_name(v, AT(at, "name"), json_str_at(it.val, "name"),
				   name_check_env_var);
		env_source(v, it.val, AT(at, "valueFrom"));
	}
}

static void env_from_validate(const struct valid *v, const struct json *c, const struct place *p)
{
	static const char *const refs[] = { "configMapRef", "secretRef" };
	const struct place *list = AT(p, "envFrom");

	json_for_each(it, json_get(c, "envFrom"))
	{
		const struct place *at = AT_IDX(list, it.i);
		size_t n = 0;

		if (!str_empty(json_str_at(it.val, "prefix")))
			valid_name(v, AT(at, "prefix"), json_str_at(it.val, "prefix"),
				   name_check_env_var);
		for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
			const struct json *ref = json_get(it.val, refs[i]);
			const struct place *rp = AT(at, refs[i]);
			struct str name = json_str_at(ref, "name");

			if (!ref)
				continue;
			n++;
			if (str_empty(name))
				valid_required(v, AT(rp, "name"), NULL);
			else
				valid_name(v, AT(rp, "name"), name, name_check_dns_subdomain);
		}
		if (!n)
			valid_invalid_str(v, list, STR_EMPTY,
					  "must specify one of: `configMapRef` or `secretRef`");
		else if (n > 1)
			valid_invalid_str(v, list, STR_EMPTY,
					  "may not have more than one field specified at a time");
	}
}

/* ---- mounts */

static bool devices_have(const struct valid *v, const struct json *c, const char *member,
			 struct str val)
{
	return !str_empty(val) && valid_find(v, json_get(c, "volumeDevices"), member, val);
}

static void descending_path(const struct valid *v, const struct place *p, struct str path)
{
	if (str_has_prefix(path, STR("/")))
		valid_invalid_str(v, p, path, "must be a relative path");
	if (path_has_dotdot(path))
		valid_invalid_str(v, p, path, "must not contain '..'");
}

void local_path_validate(const struct valid *v, const struct place *p, struct str path)
{
	descending_path(v, p, path);
	if (str_has_prefix(path, STR("..")) && !path_has_dotdot(path))
		valid_invalid_str(v, p, path, "must not start with '..'");
}

static void mount_propagation(const struct valid *v, const struct json *c, const struct json *m,
			      const struct place *p)
{
	static const char *const supported[] = { "Bidirectional", "HostToContainer", "None", NULL };
	const struct json *mode = json_get(m, "mountPropagation");

	if (!mode)
		return;
	valid_enum(v, p, mode, supported);
	if (str_eqz(json_as_str(mode), "Bidirectional") &&
	    !json_bool_at(c, "securityContext.privileged", false))
		valid_forbidden(v, p,
				"Bidirectional mount propagation is available only to privileged "
				"containers");
}

static void mounts_validate(const struct valid *v, const struct json *spec, const struct json *c,
			    const struct place *p)
{
	const struct place *list = AT(p, "volumeMounts");

	json_for_each(it, json_get(c, "volumeMounts"))
	{
		const struct place *at = AT_IDX(list, it.i);
		struct str name = json_str_at(it.val, "name"), sub = json_str_at(it.val, "subPath"),
			   expr = json_str_at(it.val, "subPathExpr"),
			   path = json_str_at(it.val, "mountPath");

		if (!valid_find(v, json_get(spec, "volumes"), "name", name))
			valid_not_found(v, AT(at, "name"), name);
		if (devices_have(v, c, "name", name))
			valid_invalid_str(v, AT(at, "name"), name,
					  "must not already exist in volumeDevices");
		if (devices_have(v, c, "devicePath", path))
			valid_invalid_str(v, AT(at, "mountPath"), path,
					  "must not already exist as a path in volumeDevices");
		if (!str_empty(sub))
			descending_path(v, AT(list, "subPath"), sub);
		if (!str_empty(sub) && !str_empty(expr))
			valid_invalid_str(v, AT(at, "subPathExpr"), expr,
					  "subPathExpr and subPath are mutually exclusive");
		if (!str_empty(expr))
			descending_path(v, AT(list, "subPathExpr"), expr);
		mount_propagation(v, c, it.val, AT(list, "mountPropagation"));
	}
}

static void devices_validate(const struct valid *v, const struct json *spec, const struct json *c,
			     const struct place *p)
{
	const struct place *list = AT(p, "volumeDevices");

	json_for_each(it, json_get(c, "volumeDevices"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct json *vol = valid_find(v, json_get(spec, "volumes"), "name", name);
		const struct place *at = AT(AT_IDX(list, it.i), "name");

		if (!vol)
			valid_not_found(v, at, name);
		else if (!json_get(vol, "persistentVolumeClaim") && !json_get(vol, "ephemeral"))
			valid_invalid_str(v, at, name,
					  "can only use volume source type of "
					  "PersistentVolumeClaim or Ephemeral for block mode");
	}
}

/* ---- ports */

static void ports_validate(const struct valid *v, const struct json *spec, const struct json *c,
			   const struct place *p)
{
	const struct json *ports = json_get(c, "ports");
	const bool *again = json_repeats(v->a, ports, "name");
	bool host = json_bool_at(spec, "hostNetwork", false);

	json_for_each(it, ports)
	{
		const struct place *at = AT_IDX(AT(p, "ports"), it.i);
		struct str name = json_str_at(it.val, "name");
		int64_t port = json_int_at(it.val, "containerPort", 0);

		if (!str_empty(name)) {
			valid_port_name(v, AT(at, "name"), name);
			if (again && again[it.i])
				valid_duplicate(v, AT(at, "name"), json_get(it.val, "name"));
		}
		if (!port)
			valid_required(v, AT(at, "containerPort"), NULL);
		else
			valid_port(v, AT(at, "containerPort"), port);
		if (host && json_get(it.val, "hostPort") &&
		    json_int_at(it.val, "hostPort", 0) != port)
			valid_invalid(v, AT(at, "hostPort"), json_get(it.val, "hostPort"),
				      "must match `containerPort` when `hostNetwork` is true");
	}
}

/* ---- resources */

static void request_validate(const struct valid *v, struct str name, const struct json *val,
			     const struct json *limit, const struct place *p)
{
	struct quantity q, l;

	if (!limit) {
		if (!resource_overcommits(name))
			valid_required(v, AT(p, "limits"),
				       "Limit must be set for non overcommitable resources");
		return;
	}
	if (!valid_quantity(v, val, &q) || !valid_quantity(v, limit, &l))
		return;
	if (quantity_cmp(q, l) != 0 && !resource_overcommits(name))
		valid_invalid(v, AT(p, "requests"), valid_quantity_json(v, q),
			      "must be equal to " STR_FMT " limit of " STR_FMT, STR_ARG(name),
			      STR_ARG(quantity_text(v->a, l)));
	else if (quantity_cmp(q, l) > 0)
		valid_invalid(v, AT(p, "requests"), valid_quantity_json(v, q),
			      "must be less than or equal to " STR_FMT " limit of " STR_FMT,
			      STR_ARG(name), STR_ARG(quantity_text(v->a, l)));
}

static void claims_validate(const struct valid *v, const struct json *spec, const struct json *res,
			    const struct place *p)
{
	const struct json *known = json_get(spec, "resourceClaims");

	json_for_each(it, json_get(res, "claims"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct place *at = AT_IDX(AT(p, "claims"), it.i);

		if (!str_empty(name) && !valid_find(v, known, "name", name))
			valid_not_found_because(v, at, name,
						json_len(known)
							? "must be one of the names in "
							  "pod.spec.resourceClaims"
							: "must be one of the names in "
							  "pod.spec.resourceClaims which is empty");
	}
}

static void resources_validate(const struct valid *v, const struct json *spec, const struct json *c,
			       const struct place *p)
{
	static const char *const lists[] = { "limits", "requests" };
	const struct json *res = json_get(c, "resources"), *limits = json_get(res, "limits");
	bool huge = false, compute = false;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(res, lists[i]))
		{
			const struct place *at = AT_KEY(AT(p, lists[i]), it.key);

			container_resource_name_validate(v, it.key, at);
			resource_quantity_validate(v, it.key, it.val, at);
			if (i == 1)
				request_validate(v, it.key, it.val, json_get_s(limits, it.key), p);
			huge |= resource_is_huge(it.key);
			compute |= str_eqz(it.key, "cpu") || str_eqz(it.key, "memory");
		}
	}
	if (huge && !compute)
		valid_forbidden(v, p, "HugePages require cpu or memory");
	claims_validate(v, spec, res, p);
}

static void resize_policy_validate(const struct valid *v, const struct json *spec,
				   const struct json *c, const struct place *p)
{
	static const char *const names[] = { "cpu", "memory", NULL };
	static const char *const policies[] = { "NotRequired", "RestartContainer", NULL };
	const struct json *list = json_get(c, "resizePolicy");
	const bool *again = json_repeats(v->a, list, "resourceName");

	json_for_each(it, list)
	{
		if (again && again[it.i])
			valid_duplicate(v, AT_IDX(p, it.i), json_get(it.val, "resourceName"));
		valid_enum(v, p, json_get(it.val, "resourceName"), names);
		valid_enum(v, p, json_get(it.val, "restartPolicy"), policies);
		if (str_eqz(json_str_at(spec, "restartPolicy"), "Never") &&
		    str_eqz(json_str_at(it.val, "restartPolicy"), "RestartContainer"))
			valid_invalid(v, p, json_get(it.val, "restartPolicy"),
				      "must be 'NotRequired' when `restartPolicy` is 'Never'");
	}
}

/* ---- probes and hooks */

static void port_or_name(const struct valid *v, const struct place *p, const struct json *port)
{
	if (json_is(port, JSON_STR))
		valid_port_name(v, p, json_as_str(port));
	else if (port)
		valid_port(v, p, json_as_int(port, 0));
}

static const char *header_name_check(struct str s)
{
	for (size_t i = 0; i < s.n || !s.n; i++) {
		char c = s.n ? s.p[i] : ' ';

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-'))
			return "a valid HTTP header must consist of alphanumeric characters or '-' "
			       "(e.g. 'X-Header-Name', regex used for validation is "
			       "'[-A-Za-z0-9]+')";
	}
	return NULL;
}

static void handler_http(const struct valid *v, const struct json *h, const struct place *p)
{
	port_or_name(v, AT(p, "port"), json_get(h, "port"));
	json_for_each(it, json_get(h, "httpHeaders"))
		valid_name(v, AT(p, "httpHeaders"), json_str_at(it.val, "name"), header_name_check);
}

static void handler_one(const struct valid *v, const struct json *h, const char *kind,
			const struct place *p, int64_t grace)
{
	struct str name = str_from(kind);

	if (str_eqz(name, "exec") && !json_len(json_get(h, "command"))) {
		valid_required(v, AT(p, "command"), NULL);
	} else if (str_eqz(name, "httpGet")) {
		handler_http(v, h, p);
	} else if (str_eqz(name, "tcpSocket")) {
		port_or_name(v, AT(p, "port"), json_get(h, "port"));
	} else if (str_eqz(name, "sleep")) {
		int64_t n = json_int_at(h, "seconds", 0);

		if (n < 0 || n > grace)
			valid_invalid(v, p, json_get(h, "seconds"),
				      "must be non-negative and less than "
				      "terminationGracePeriodSeconds (%lld)",
				      (long long)grace);
	}
}

static void handlers_validate(const struct valid *v, const struct json *probe,
			      const struct place *p, int64_t grace)
{
	static const char *const kinds[] = { "exec", "httpGet", "tcpSocket", "grpc", "sleep" };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *h = json_get(probe, kinds[i]);

		if (!h)
			continue;
		if (n++)
			valid_forbidden(v, AT(p, kinds[i]),
					"may not specify more than 1 handler type");
		else
			handler_one(v, h, kinds[i], AT(p, kinds[i]), grace);
	}
	if (!n)
		valid_required(v, p, "must specify a handler type");
}

static void probe_validate(const struct valid *v, const struct json *c, const char *name,
			   const struct place *up, int64_t grace)
{
	const struct json *probe = json_get(c, name);
	const struct place *p = AT(up, name);
	bool readiness = str_eqz(str_from(name), "readinessProbe");

	if (!probe)
		return;
	handlers_validate(v, probe, p, grace);
	if (readiness && json_get(probe, "terminationGracePeriodSeconds"))
		valid_invalid(v, AT(p, "terminationGracePeriodSeconds"),
			      json_get(probe, "terminationGracePeriodSeconds"),
			      "must not be set for readinessProbes");
	if (!readiness && json_int_at(probe, "successThreshold", 1) != 1)
		valid_invalid(v, AT(p, "successThreshold"), json_get(probe, "successThreshold"),
			      "must be 1");
}

static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };

static void hooks_validate(const struct valid *v, const struct json *c, const struct place *up,
			   int64_t grace)
{
	static const char *const hooks[] = { "postStart", "preStop" };
	const struct json *life = json_get(c, "lifecycle");

	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		const struct json *h = json_get(life, hooks[i]);

		if (h)
			handlers_validate(v, h, AT(AT(up, "lifecycle"), hooks[i]), grace);
	}
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		probe_validate(v, c, probes[i], up, grace);
}

static void hooks_forbid(const struct valid *v, const struct json *c, const struct place *p,
			 const char *why)
{
	if (json_get(c, "lifecycle"))
		valid_forbidden(v, AT(p, "lifecycle"), "%s", why);
	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		if (json_get(c, probes[i]))
			valid_forbidden(v, AT(p, probes[i]), "%s", why);
	}
}

/* ---- security */

void user_id_validate(const struct valid *v, const struct json *sc, const char *member,
		      const struct place *p)
{
	const struct json *id = json_get(sc, member);

	if (id && (json_as_int(id, 0) < 0 || json_as_int(id, 0) > ID_MAX))
		valid_invalid(v, AT(p, member), id, "must be between 0 and 2147483647, inclusive");
}

void security_profiles_validate(const struct valid *v, const struct json *sc, const struct place *p)
{
	static const struct {
		const char *member, *what;
	} profiles[] = { { "seccompProfile", "seccomp" }, { "appArmorProfile", "AppArmor" } };

	for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
		const struct json *prof = json_get(sc, profiles[i].member),
				  *local = json_get(prof, "localhostProfile");
		const struct place *at = AT(AT(p, profiles[i].member), "localhostProfile");
		bool localhost = str_eqz(json_str_at(prof, "type"), "Localhost");

		if (!prof)
			continue;
		if (localhost && str_empty(json_as_str(local)))
			valid_required(v, at,
				       arena_fmt(v->a, "must be set when %s type is Localhost",
						 profiles[i].what)
					       .p);
		else if (!localhost && local && i == 0)
			valid_invalid_str(v, at, json_as_str(local),
					  "can only be set when seccomp type is Localhost");
		else if (!localhost && local)
			valid_invalid_str(v, at, json_as_str(local),
					  "can only be set when AppArmor type is Localhost");
		if (localhost && i == 0 && json_as_str(local).n)
			descending_path(v, at, json_as_str(local));
	}
}

static bool adds_sys_admin(const struct json *sc)
{
	json_for_each(it, json_at(sc, "capabilities.add"))
	{
		if (str_eqz(json_as_str(it.val), "CAP_SYS_ADMIN"))
			return true;
	}
	return false;
}

static void security_validate(const struct valid *v, const struct json *spec, const struct json *c,
			      const struct place *p)
{
	static const char *const mounts[] = { "Default", "Unmasked", NULL };
	const struct json *sc = json_get(c, "securityContext"), *mount = json_get(sc, "procMount");

	if (!sc)
		return;
	user_id_validate(v, sc, "runAsUser", p);
	user_id_validate(v, sc, "runAsGroup", p);
	valid_enum(v, AT(p, "procMount"), mount, mounts);
	if (json_bool_at(spec, "hostUsers", true) && str_eqz(json_as_str(mount), "Unmasked"))
		valid_invalid(v, AT(p, "procMount"), mount,
			      "`hostUsers` must be false to use `Unmasked`");
	security_profiles_validate(v, sc, p);
	if (json_bool_at(sc, "allowPrivilegeEscalation", true))
		return;
	if (json_bool_at(sc, "privileged", false))
		valid_invalid(v, p, sc,
			      "cannot set `allowPrivilegeEscalation` to false and `privileged` to "
			      "true");
	if (adds_sys_admin(sc))
		valid_invalid(v, p, sc,
			      "cannot set `allowPrivilegeEscalation` to false and "
			      "`capabilities.Add` CAP_SYS_ADMIN");
}

/* ---- the whole */

static void container_common(const struct valid *v, const struct json *spec, const struct json *c,
			     const struct place *p)
{
	ports_validate(v, spec, c, p);
	env_validate(v, c, p);
	env_from_validate(v, c, p);
	mounts_validate(v, spec, c, p);
	devices_validate(v, spec, c, p);
	resources_validate(v, spec, c, AT(p, "resources"));
	resize_policy_validate(v, spec, c, AT(p, "resizePolicy"));
	security_validate(v, spec, c, AT(p, "securityContext"));
}

static void image_trimmed(const struct valid *v, const struct json *c, const struct place *p)
{
	struct str image = json_str_at(c, "image");

	if (!str_eq(image, str_trim(image)))
		valid_invalid_str(v, AT(p, "image"), image,
				  "must not have leading or trailing whitespace");
}

/* "TCP/IP/PORT" of one host port, as upstream tells them apart. */
static struct json *host_port_key(const struct valid *v, const struct json *port)
{
	return json_strf(v->a, STR_FMT "/" STR_FMT "/%lld", STR_ARG(json_str_at(port, "protocol")),
			 STR_ARG(json_str_at(port, "hostIP")),
			 (long long)json_int_at(port, "hostPort", 0));
}

static void host_ports_unique(const struct valid *v, const struct json *containers,
			      const struct place *p)
{
	_cleanup_map_ struct map seen = { 0 };

	json_for_each(c, containers)
	{
		json_for_each(port, json_get(c.val, "ports"))
		{
			struct json *key;

			if (!json_int_at(port.val, "hostPort", 0))
				continue;
			key = host_port_key(v, port.val);
			if (map_put(&seen, json_as_str(key), &seen))
				valid_duplicate(
					v,
					AT(AT_IDX(AT(AT_IDX(p, c.i), "ports"), port.i), "hostPort"),
					key);
		}
	}
}

void pod_containers_validate(const struct valid *v, const struct json *spec, const struct place *p,
			     bool pod)
{
	int64_t grace = json_int_at(spec, "terminationGracePeriodSeconds", 30);
	const struct json *all = json_get(spec, "containers");
	const struct place *list = AT(p, "containers");

	json_for_each(it, all)
	{
		const struct place *at = AT_IDX(list, it.i);

		container_common(v, spec, it.val, at);
		hooks_validate(v, it.val, at, grace);
		if (pod)
			image_trimmed(v, it.val, at);
	}
	host_ports_unique(v, all, list);
}

void pod_init_containers_validate(const struct valid *v, const struct json *spec,
				  const struct place *p, bool pod)
{
	int64_t grace = json_int_at(spec, "terminationGracePeriodSeconds", 30);
	const struct place *list = AT(p, "initContainers");

	json_for_each(it, json_get(spec, "initContainers"))
	{
		const struct place *at = AT_IDX(list, it.i);
		struct str name = json_str_at(it.val, "name");

		container_common(v, spec, it.val, at);
		if (!str_empty(name) && valid_find(v, json_get(spec, "containers"), "name", name))
			valid_duplicate(v, AT(at, "name"), json_get(it.val, "name"));
		if (str_eqz(json_str_at(it.val, "restartPolicy"), "Always"))
			hooks_validate(v, it.val, at, grace);
		else
			hooks_forbid(v, it.val, at,
				     "may not be set for init containers without "
				     "restartPolicy=Always");
		if (pod)
			image_trimmed(v, it.val, at);
	}
}

void pod_ephemeral_containers_validate(const struct valid *v, const struct json *spec,
				       const struct place *p)
{
	static const char *const forbidden[] = { "ports", "resources", "resizePolicy" };
	const struct place *list = AT(p, "ephemeralContainers");

	json_for_each(it, json_get(spec, "ephemeralContainers"))
	{
		const struct place *at = AT_IDX(list, it.i);
		struct str name = json_str_at(it.val, "name"),
			   target = json_str_at(it.val, "targetContainerName");

		container_common(v, spec, it.val, at);
		if (valid_find(v, json_get(spec, "containers"), "name", name) ||
		    valid_find(v, json_get(spec, "initContainers"), "name", name))
			valid_duplicate(v, AT(at, "name"), json_get(it.val, "name"));
		if (!str_empty(target) &&
		    !valid_find(v, json_get(spec, "containers"), "name", target) &&
		    !valid_find(v, json_get(spec, "initContainers"), "name", target))
			valid_not_found(v, AT(at, "targetContainerName"), target);
		hooks_forbid(v, it.val, at, "cannot be set for an Ephemeral Container");
		for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
			if (json_len(json_get(it.val, forbidden[i])))
				valid_forbidden(v, AT(at, forbidden[i]),
						"cannot be set for an Ephemeral Container");
		}
	}
}
