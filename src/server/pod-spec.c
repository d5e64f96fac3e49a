/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-spec.h"

#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/errors.h"
#include "json/json.h"

static const char *const container_lists[] = { "initContainers", "containers" };

static void default_z(struct arena *a, struct json *obj, const char *key, const char *val)
{
	if (str_empty(json_as_str(json_get(obj, key))))
		json_set_str(a, obj, key, str_from(val));
}

/* "name", "name:latest": no tag but latest, and no digest. */
static bool image_is_latest(struct str image)
{
	size_t slash = 0;
	struct str last, tag;

	if (str_find_char(image, '@', 0) < image.n)
		return false;
	for (size_t i = 0; i < image.n; i++) {
		if (image.p[i] == '/')
			slash = i + 1;
	}
	last = str_skip(image, slash);
	tag = last;
	str_cut(&tag, ':', &last);
	return str_empty(tag) || str_eqz(tag, "latest");
}

static void container_default(struct arena *a, struct json *c, bool host_network)
{
	struct json *res = json_get(c, "resources");
	struct str image = json_str_at(c, "image");

	if (str_empty(json_str_at(c, "imagePullPolicy")) && !str_empty(image))
		json_set_str(a, c, "imagePullPolicy",
			     image_is_latest(image) ? STR("Always") : STR("IfNotPresent"));
	json_for_each(p, json_get(c, "ports"))
	{
		if (!json_is(p.val, JSON_OBJECT))
			continue;
		default_z(a, p.val, "protocol", "TCP");
		if (host_network && !json_int_at(p.val, "hostPort", 0) &&
		    json_get(p.val, "containerPort"))
			json_set_int(a, p.val, "hostPort", json_int_at(p.val, "containerPort", 0));
	}
	/* what is limited but not requested is requested up to its limit */
	json_for_each(l, json_get(res, "limits"))
	{
		struct json *req = json_sub(a, res, "requests");

		if (!json_get_s(req, l.key))
			json_set_s(a, req, l.key, json_copy(a, l.val));
	}
}

void pod_spec_default(struct arena *a, struct json *spec)
{
	bool host = json_bool_at(spec, "hostNetwork", false);
	struct json *sa = json_get(spec, "serviceAccountName");

	for (size_t i = 0; i < ARRAY_LEN(container_lists); i++) {
		json_for_each(it, json_get(spec, container_lists[i]))
		{
			if (json_is(it.val, JSON_OBJECT))
				container_default(a, it.val, host);
		}
	}
	/* the old name of the field mirrors the new one */
	if (sa)
		json_set(a, spec, "serviceAccount", json_copy(a, sa));
	json_for_each(it, json_get(spec, "volumes"))
	{
		if (json_is(it.val, JSON_OBJECT) && json_len(it.val) == 1)
			json_sub(a, it.val, "emptyDir");
	}
}

/* validation */
static void resource_check(struct arena *a, const struct json *res, struct str field,
			   struct err **e)
{
	json_for_each(it, json_get(res, "requests"))
	{
		const struct json *lim = json_get_s(json_get(res, "limits"), it.key);
		struct quantity q, l;

		if (!quantity_parse(json_as_str(it.val), &q))
			continue; /* the schema's business */
		if (q.nano < 0)
			cause_invalid(e,
				      arena_fmt(a, STR_FMT ".requests[" STR_FMT "]", STR_ARG(field),
						STR_ARG(it.key)),
				      it.val, "must be greater than or equal to 0");
		if (!lim || !quantity_parse(json_as_str(lim), &l) || quantity_cmp(q, l) <= 0)
			continue;
		cause_invalid(e, arena_fmt(a, STR_FMT ".requests", STR_ARG(field)), it.val,
			      "must be less than or equal to " STR_FMT " limit of " STR_FMT,
			      STR_ARG(it.key), STR_ARG(json_as_str(lim)));
	}
	/* extended resources cannot be overcommitted */
	json_for_each(it, json_get(res, "limits"))
	{
		const struct json *req = json_get_s(json_get(res, "requests"), it.key);

		if (str_find_char(it.key, '/', 0) == it.key.n || !req || json_equal(req, it.val))
			continue;
		cause_invalid(e, arena_fmt(a, STR_FMT ".requests", STR_ARG(field)), req,
			      "must be equal to " STR_FMT " limit of " STR_FMT, STR_ARG(it.key),
			      STR_ARG(json_as_str(it.val)));
	}
}

static void mounts_check(struct arena *a, const struct json *spec, const struct json *c,
			 struct str field, struct err **e)
{
	json_for_each(it, json_get(c, "volumeMounts"))
	{
		struct str name = json_str_at(it.val, "name");

		if (!str_empty(name) && !json_find_by(json_get(spec, "volumes"), "name", name))
			cause_not_found(e,
					arena_fmt(a, STR_FMT ".volumeMounts[%zu].name",
						  STR_ARG(field), it.i),
					name);
	}
	json_for_each(it, json_get(c, "volumeDevices"))
	{
		struct str name = json_str_at(it.val, "name");

		if (!str_empty(name) && !json_find_by(json_get(spec, "volumes"), "name", name))
			cause_not_found(e,
					arena_fmt(a, STR_FMT ".volumeDevices[%zu].name",
						  STR_ARG(field), it.i),
					name);
	}
}

static void env_check(struct arena *a, const struct json *c, struct str field, struct err **e)
{
	json_for_each(it, json_get(c, "env"))
	{
		const struct json *from = json_get(it.val, "valueFrom");

		if (from && json_len(from) == 0)
			cause_invalid_str(
				e,
				arena_fmt(a, STR_FMT ".env[%zu].valueFrom", STR_ARG(field), it.i),
				STR_EMPTY,
				"must specify one of: `fieldRef`, `resourceFieldRef`, "
				"`configMapKeyRef` or `secretKeyRef`");
		if (from && !str_empty(json_str_at(it.val, "value")))
			cause_invalid_str(
				e,
				arena_fmt(a, STR_FMT ".env[%zu].valueFrom", STR_ARG(field), it.i),
				STR_EMPTY, "may not be specified when `value` is not empty");
	}
}

static void host_ports_check(struct arena *a, const struct json *spec, const struct json *c,
			     struct str field, struct err **e)
{
	if (!json_bool_at(spec, "hostNetwork", false))
		return;
	json_for_each(it, json_get(c, "ports"))
	{
		const struct json *hp = json_get(it.val, "hostPort");

		if (hp && !json_equal(hp, json_get(it.val, "containerPort")))
			cause_invalid(
				e,
				arena_fmt(a, STR_FMT ".ports[%zu].hostPort", STR_ARG(field), it.i),
				hp, "must match `containerPort` when `hostNetwork` is true");
	}
}

static const char *const handlers[] = { "exec", "httpGet", "tcpSocket", "grpc" };

static void probe_check(struct arena *a, const struct json *probe, struct str field, bool liveness,
			struct err **e)
{
	size_t n = 0;

	if (!probe)
		return;
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		if (!json_get(probe, handlers[i]))
			continue;
		if (n++)
			cause_forbidden(e, arena_fmt(a, STR_FMT ".%s", STR_ARG(field), handlers[i]),
					"may not specify more than 1 handler type");
	}
	if (!n)
		cause_required(e, field, "must specify a handler type");
	if (liveness && json_int_at(probe, "successThreshold", 1) != 1)
		cause_invalid(e, arena_fmt(a, STR_FMT ".successThreshold", STR_ARG(field)),
			      json_get(probe, "successThreshold"), "must be 1");
}

static void container_check(struct arena *a, const struct json *spec, const struct json *c,
			    struct str field, struct err **e)
{
	resource_check(a, json_get(c, "resources"),
		       arena_fmt(a, STR_FMT ".resources", STR_ARG(field)), e);
	mounts_check(a, spec, c, field, e);
	env_check(a, c, field, e);
	host_ports_check(a, spec, c, field, e);
	probe_check(a, json_get(c, "livenessProbe"),
		    arena_fmt(a, STR_FMT ".livenessProbe", STR_ARG(field)), true, e);
	probe_check(a, json_get(c, "startupProbe"),
		    arena_fmt(a, STR_FMT ".startupProbe", STR_ARG(field)), true, e);
	probe_check(a, json_get(c, "readinessProbe"),
		    arena_fmt(a, STR_FMT ".readinessProbe", STR_ARG(field)), false, e);
}

static void names_check(struct arena *a, const struct json *spec, struct str field, struct err **e)
{
	json_for_each(it, json_get(spec, "initContainers"))
	{
		struct str name = json_str_at(it.val, "name");

		if (!str_empty(name) && json_find_by(json_get(spec, "containers"), "name", name))
			cause_duplicate(e,
					arena_fmt(a, STR_FMT ".initContainers[%zu].name",
						  STR_ARG(field), it.i),
					json_get(it.val, "name"));
	}
}

static void volumes_check(struct arena *a, const struct json *spec, struct str field,
			  struct err **e)
{
	json_for_each(it, json_get(spec, "volumes"))
	{
		size_t n = json_len(it.val) - (json_get(it.val, "name") ? 1 : 0);
		struct str f = arena_fmt(a, STR_FMT ".volumes[%zu]", STR_ARG(field), it.i);
		struct json_iter second;

		if (n == 0)
			cause_required(e, f, "must specify a volume type");
		if (n < 2)
			continue;
		second = json_iter(it.val);
		for (size_t seen = 0; json_next(&second);) {
			if (!str_eqz(second.key, "name") && seen++)
				cause_forbidden(e,
						arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(f),
							  STR_ARG(second.key)),
						"may not specify more than 1 volume type");
		}
	}
}

static void tolerations_check(struct arena *a, const struct json *spec, struct str field,
			      struct err **e)
{
	json_for_each(it, json_get(spec, "tolerations"))
	{
		struct str f = arena_fmt(a, STR_FMT ".tolerations[%zu]", STR_ARG(field), it.i);
		struct str op = json_str_at(it.val, "operator");

		if (str_empty(json_str_at(it.val, "key")) && !str_eqz(op, "Exists"))
			cause_invalid_str(
				e, arena_fmt(a, STR_FMT ".operator", STR_ARG(f)), op,
				"operator must be Exists when `key` is empty, which means "
				"\"match all values and all keys\"");
		if (str_eqz(op, "Exists") && !str_empty(json_str_at(it.val, "value")))
			cause_invalid_str(e, arena_fmt(a, STR_FMT ".operator", STR_ARG(f)), op,
					  "value must be empty when `operator` is 'Exists'");
		if (json_get(it.val, "tolerationSeconds") &&
		    !str_eqz(json_str_at(it.val, "effect"), "NoExecute"))
			cause_invalid_str(
				e, arena_fmt(a, STR_FMT ".effect", STR_ARG(f)),
				json_str_at(it.val, "effect"),
				"effect must be 'NoExecute' when `tolerationSeconds` is set");
	}
}

void pod_spec_validate(struct arena *a, const struct json *spec, struct str field, struct err **e)
{
	for (size_t i = 0; i < ARRAY_LEN(container_lists); i++) {
		json_for_each(it, json_get(spec, container_lists[i])) container_check(
			a, spec, it.val,
			arena_fmt(a, STR_FMT ".%s[%zu]", STR_ARG(field), container_lists[i], it.i),
			e);
	}
	names_check(a, spec, field, e);
	volumes_check(a, spec, field, e);
	tolerations_check(a, spec, field, e);
	if (str_eqz(json_str_at(spec, "dnsPolicy"), "None") &&
	    !json_len(json_at(spec, "dnsConfig.nameservers")))
		cause_required(e, arena_fmt(a, STR_FMT ".dnsConfig.nameservers", STR_ARG(field)),
			       "must provide at least one DNS nameserver when `dnsPolicy` is None");
}

/* quality of service */
static bool qos_positive(const struct json *map, const char *key, struct quantity *ret)
{
	return quantity_parse(json_as_str(json_get(map, key)), ret) && ret->nano > 0;
}

static void qos_container(const struct json *c, bool *any, bool *guaranteed)
{
	static const char *const counted[] = { "cpu", "memory" };
	const struct json *res = json_get(c, "resources");

	for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
		struct quantity req, lim;
		bool has_req = qos_positive(json_get(res, "requests"), counted[i], &req);
		bool has_lim = qos_positive(json_get(res, "limits"), counted[i], &lim);

		*any |= has_req || has_lim;
		if (!has_lim || (has_req && quantity_cmp(req, lim) != 0))
			*guaranteed = false;
	}
}

struct str pod_qos_class(const struct json *spec)
{
	bool any = false, guaranteed = true;

	for (size_t i = 0; i < ARRAY_LEN(container_lists); i++) {
		json_for_each(it, json_get(spec, container_lists[i]))
			qos_container(it.val, &any, &guaranteed);
	}
	if (!any)
		return STR("BestEffort");
	return guaranteed ? STR("Guaranteed") : STR("Burstable");
}
