/* SPDX-License-Identifier: Apache-2.0 */

/* A Pod's spec as a whole; its parts are in the files beside this one. */

#include "server/pod-validate.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/pod-spec.h"
#include "server/resource-names.h"
#include "server/valid.h"
#include "json/json.h"

#define INT32_LIMIT     2147483647
#define NAMESERVERS_MAX 3
#define SEARCHES_MAX    32

/* ---- DNS */

static void dns_validate(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *dns = json_get(spec, "dnsConfig"), *ns = json_get(dns, "nameservers");
	const struct place *p = AT(up, "dnsConfig");

	if (str_eqz(json_str_at(spec, "dnsPolicy"), "None") && !json_len(ns)) {
		if (!dns)
			valid_required(v, p, "must provide `dnsConfig` when `dnsPolicy` is None");
		else
			valid_required(v, AT(p, "nameservers"),
				       "must provide at least one DNS nameserver when `dnsPolicy` "
				       "is None");
		return;
	}
	if (json_len(ns) > NAMESERVERS_MAX)
		valid_invalid(v, AT(p, "nameservers"), ns, "must not have more than %d nameservers",
			      NAMESERVERS_MAX);
	json_for_each(it, ns) valid_ip(v, AT_IDX(AT(p, "nameservers"), it.i), json_as_str(it.val));
	if (json_len(json_get(dns, "searches")) > SEARCHES_MAX)
		valid_invalid(v, AT(p, "searches"), json_get(dns, "searches"),
			      "must not have more than %d search paths", SEARCHES_MAX);
	json_for_each(it, json_get(dns, "searches"))
	{
		struct str s = json_as_str(it.val);

		if (!str_eqz(s, ".")) {
			str_strip_suffix(&s, STR("."));
			valid_name(v, AT_IDX(AT(p, "searches"), it.i), s, name_check_dns_search);
		}
	}
	json_for_each(it, json_get(dns, "options"))
	{
		if (str_empty(json_str_at(it.val, "name")))
			valid_required(v, AT_IDX(AT(p, "options"), it.i), "must not be empty");
	}
}

static void host_aliases_validate(const struct valid *v, const struct json *list,
				  const struct place *p)
{
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);

		valid_ip(v, AT(at, "ip"), json_str_at(it.val, "ip"));
		json_for_each(h, json_get(it.val, "hostnames"))
			valid_name(v, AT_IDX(AT(at, "hostnames"), h.i), json_as_str(h.val),
				   name_check_dns_subdomain);
	}
}

/* ---- security */

static bool sysctl_name_ok(struct str s)
{
	bool start = true;

	if (str_empty(s) || s.n > 253)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		bool last = i + 1 == s.n || s.p[i + 1] == '.' || s.p[i + 1] == '/';

		if (c == '.' || c == '/') {
			if (start)
				return false;
			start = true;
			continue;
		}
		if (!alnum && ((c != '-' && c != '_') || start || last))
			return false;
		start = false;
	}
	return !start;
}

static void sysctls_validate(const struct valid *v, const struct json *list, const struct place *p)
{
	const bool *again = json_repeats(v->a, list, "name");

	json_for_each(it, list)
	{
		const struct place *at = AT(AT_IDX(p, it.i), "name");
		struct str name = json_str_at(it.val, "name");

		if (str_empty(name))
			continue; /* the schema says so */
		if (!sysctl_name_ok(name))
			valid_invalid_str(
				v, at, name,
				"must have at most 253 characters and match regex "
				"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*"
				"[a-z0-9])?$");
		else if (again && again[it.i])
			valid_duplicate(v, at, json_get(it.val, "name"));
	}
}

static void pod_security_validate(const struct valid *v, const struct json *spec,
				  const struct place *up)
{
	static const char *const changes[] = { "Always", "OnRootMismatch", NULL };
	static const char *const ids[] = { "fsGroup", "runAsUser", "runAsGroup" };
	const struct json *sc = json_get(spec, "securityContext");
	const struct place *p = AT(up, "securityContext");

	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		user_id_validate(v, sc, ids[i], p);
	json_for_each(it, json_get(sc, "supplementalGroups"))
	{
		int64_t n = json_as_int(it.val, 0);

		if (n < 0 || n > INT32_LIMIT)
			valid_invalid(v, AT_IDX(AT(p, "supplementalGroups"), it.i), it.val,
				      "must be between 0 and 2147483647, inclusive");
	}
	if (json_bool_at(spec, "shareProcessNamespace", false) &&
	    json_bool_at(spec, "hostPID", false))
		valid_invalid(v, AT(p, "shareProcessNamespace"), json_bool(v->a, true),
			      "ShareProcessNamespace and HostPID cannot both be enabled");
	sysctls_validate(v, json_get(sc, "sysctls"), AT(p, "sysctls"));
	valid_enum(v, AT(p, "fsGroupChangePolicy"), json_get(sc, "fsGroupChangePolicy"), changes);
	security_profiles_validate(v, sc, p);
}

static void host_users_validate(const struct valid *v, const struct json *spec,
				const struct place *p)
{
	static const struct {
		const char *member, *shown;
	} shared[] = { { "hostNetwork", "hostNetwork" },
		       { "hostPID", "HostPID" },
		       { "hostIPC", "HostIPC" } };

	if (json_bool_at(spec, "hostUsers", true))
		return;
	for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
		if (json_bool_at(spec, shared[i].member, false))
			valid_forbidden(v, AT(p, shared[i].shown), "when `hostUsers` is false");
	}
}

/* ---- gates and claims */

static void gates_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *gates = json_get(spec, "schedulingGates");
	const bool *again = json_repeats(v->a, gates, "name");

	json_for_each(it, json_get(spec, "readinessGates"))
		valid_name(v, AT(AT_IDX(AT(p, "readinessGates"), it.i), "conditionType"),
			   json_str_at(it.val, "conditionType"), name_check_qualified);
	json_for_each(it, gates)
	{
		const struct place *at = AT_IDX(AT(p, "schedulingGates"), it.i);
		struct str name = json_str_at(it.val, "name");

		valid_name(v, at, name, name_check_qualified);
		if (again && again[it.i])
			valid_duplicate(v, at, json_get(it.val, "name"));
	}
}

/* As Go prints the struct. */
static struct json *claim_shown(const struct valid *v, const struct json *claim)
{
	static const struct {
		const char *member, *shown;
	} names[] = { { "name", "Name" },
		      { "resourceClaimName", "ResourceClaimName" },
		      { "resourceClaimTemplateName", "ResourceClaimTemplateName" } };
	struct json *out = json_object(v->a);

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *x = json_get(claim, names[i].member);

		json_set(v->a, out, names[i].shown, x ? json_copy(v->a, x) : json_null(v->a));
	}
	return out;
}

static void resource_claims_validate(const struct valid *v, const struct json *list,
				     const struct place *p)
{
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);
		bool by_name = json_get(it.val, "resourceClaimName"),
		     by_template = json_get(it.val, "resourceClaimTemplateName");

		if (!str_empty(json_str_at(it.val, "name")))
			valid_name(v, AT(at, "name"), json_str_at(it.val, "name"),
				   name_check_dns_label);
		if (by_name && by_template)
			valid_invalid(v, at, claim_shown(v, it.val),
				      "at most one of `resourceClaimName` or "
				      "`resourceClaimTemplateName` may be specified");
		if (!by_name && !by_template)
			valid_invalid(v, at, claim_shown(v, it.val),
				      "must specify one of: `resourceClaimName`, "
				      "`resourceClaimTemplateName`");
	}
}

/* ---- the whole */

static void names_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const subdomains[] = { "serviceAccountName", "nodeName",
						  "priorityClassName", "runtimeClassName" };
	static const char *const labels[] = { "hostname", "subdomain" };

	for (size_t i = 0; i < ARRAY_LEN(subdomains); i++) {
		struct str s = json_str_at(spec, subdomains[i]);

		if (!str_empty(s))
			valid_name(v, AT(p, subdomains[i]), s, name_check_dns_subdomain);
	}
	for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
		struct str s = json_str_at(spec, labels[i]);

		if (!str_empty(s))
			valid_name(v, AT(p, labels[i]), s, name_check_dns_label);
	}
}

static void rest_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const systems[] = { "linux", "windows", NULL };
	const struct json *limit = json_get(spec, "activeDeadlineSeconds"),
			  *os = json_get(spec, "os");

	if (limit && (json_as_int(limit, 0) < 1 || json_as_int(limit, 0) > INT32_LIMIT))
		valid_invalid(v, AT(p, "activeDeadlineSeconds"), limit,
			      "must be between 1 and 2147483647, inclusive");
	overhead_validate(v, json_get(spec, "overhead"), AT(p, "overhead"));
	if (os && str_empty(json_str_at(os, "name")))
		valid_required(v, AT(AT(p, "os"), "name"), NULL);
	else if (os)
		valid_enum(v, AT(p, "os"), json_get(os, "name"), systems);
}

/* ---- annotations that mean something */

static void annotation_cost(const struct valid *v, struct str s, const struct place *p)
{
	int64_t n;

	/* no plus sign, no zeros to begin with */
	if (!s.n || s.p[0] == '+' || (s.p[0] == '0' && s.n > 1) || !str_to_i64(s, &n) ||
	    n > INT32_MAX || n < INT32_MIN)
		valid_invalid_str(v, p, s, "must be a 32bit integer");
}

static void annotation_seccomp(const struct valid *v, struct str s, const struct place *p)
{
	if (str_eqz(s, "runtime/default") || str_eqz(s, "docker/default") ||
	    str_eqz(s, "unconfined"))
		return;
	if (!str_strip_prefix(&s, STR("localhost/"))) {
		valid_invalid_str(v, p, s, "must be a valid seccomp profile");
		return;
	}
	if (s.n && s.p[0] == '/')
		valid_invalid_str(v, p, s, "must be a relative path");
	if (path_has_dotdot(s))
		valid_invalid_str(v, p, s, "must not contain '..'");
}

static bool spec_has_container(const struct valid *v, const struct json *spec, struct str name)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (valid_find(v, json_get(spec, lists[i]), "name", name))
			return true;
	}
	return false;
}

static void annotation_apparmor(const struct valid *v, const struct json *spec,
				struct str container, struct str profile, const struct place *p)
{
	if (!spec_has_container(v, spec, container))
		valid_invalid_str(v, p, container, "container not found");
	if (!str_empty(profile) && !str_eqz(profile, "runtime/default") &&
	    !str_eqz(profile, "unconfined") && !str_has_prefix(profile, STR("localhost/")))
		valid_invalid_str(v, p, profile, "invalid AppArmor profile name: \"" STR_FMT "\"",
				  STR_ARG(profile));
}

void pod_annotations_validate(const struct valid *v, const struct json *pod, const struct place *p)
{
	static const struct str apparmor =
		STR_INIT("container.apparmor.security.beta.kubernetes.io/");
	const struct json *spec = json_get(pod, "spec");

	json_for_each(it, json_at(pod, "metadata.annotations"))
	{
		struct str val = json_as_str(it.val), container = it.key;
		const struct place *at = AT_KEY(p, it.key);

		if (str_eqz(it.key, "kubernetes.io/config.mirror") &&
		    str_empty(json_str_at(spec, "nodeName")))
			valid_invalid_str(v, at, val,
					  "must set spec.nodeName if mirror pod annotation is set");
		else if (str_eqz(it.key, "controller.kubernetes.io/pod-deletion-cost"))
			annotation_cost(v, val, at);
		else if (str_eqz(it.key, "seccomp.security.alpha.kubernetes.io/pod") ||
			 str_has_prefix(it.key,
					STR("container.seccomp.security.alpha.kubernetes.io/")))
			annotation_seccomp(v, val, AT(p, arena_strz(v->a, it.key)));
		else if (str_strip_prefix(&container, apparmor))
			annotation_apparmor(v, spec, container, val, at);
	}
}

void pod_spec_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	pod_spec_validate_as(v, spec, p, false);
}

void pod_spec_validate_as(const struct valid *outer, const struct json *spec, const struct place *p,
			  bool pod)
{
	struct valid_index *index = NULL;
	const struct valid with_index = { outer->a, outer->e, outer->loopback_ok, &index };
	const struct valid *v = &with_index;

	if (!json_len(json_get(spec, "containers")))
		valid_required(v, AT(p, "containers"), NULL);
	pod_volumes_validate(v, spec, p);
	resource_claims_validate(v, json_get(spec, "resourceClaims"), AT(p, "resourceClaims"));
	pod_containers_validate(v, spec, p, pod);
	pod_init_containers_validate(v, spec, p, pod);
	pod_ephemeral_containers_validate(v, spec, p);
	valid_labels(v, AT(p, "nodeSelector"), json_get(spec, "nodeSelector"));
	pod_security_validate(v, spec, p);
	dns_validate(v, spec, p);
	gates_validate(v, spec, p);
	host_users_validate(v, spec, p);
	names_validate(v, spec, p);
	pod_affinity_validate(v, spec, p);
	host_aliases_validate(v, json_get(spec, "hostAliases"), AT(p, "hostAliases"));
	rest_validate(v, spec, p);
}
