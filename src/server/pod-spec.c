/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-spec.h"

#include "api/quantity.h"
#include "base/arena.h"
#include "json/json.h"

static const char *const container_lists[] = { "initContainers", "containers",
					       "ephemeralContainers" };

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

static void probe_default(struct arena *a, struct json *c, const char *name)
{
	static const struct {
		const char *member;
		int dflt;
	} rows[] = { { "timeoutSeconds", 1 },
		     { "periodSeconds", 10 },
		     { "successThreshold", 1 },
		     { "failureThreshold", 3 } };
	struct json *probe = json_get(c, name);

	if (!json_is(probe, JSON_OBJECT))
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!json_int_at(probe, rows[i].member, 0))
			json_set_int(a, probe, rows[i].member, rows[i].dflt);
	}
}

static void container_default(struct arena *a, struct json *c)
{
	struct str image = json_str_at(c, "image");

	if (str_empty(json_str_at(c, "imagePullPolicy")) && !str_empty(image))
		json_set_str(a, c, "imagePullPolicy",
			     image_is_latest(image) ? STR("Always") : STR("IfNotPresent"));
	default_z(a, c, "terminationMessagePath", "/dev/termination-log");
	default_z(a, c, "terminationMessagePolicy", "File");
	json_for_each(p, json_get(c, "ports"))
	{
		if (json_is(p.val, JSON_OBJECT))
			default_z(a, p.val, "protocol", "TCP");
	}
	probe_default(a, c, "livenessProbe");
	probe_default(a, c, "readinessProbe");
	probe_default(a, c, "startupProbe");
}

/* What only a Pod's own containers get, not those of templates. */
static void container_default_pod(struct arena *a, struct json *c, bool host_network)
{
	struct json *res = json_get(c, "resources");

	json_for_each(p, json_get(c, "ports"))
	{
		if (host_network && json_is(p.val, JSON_OBJECT) &&
		    !json_int_at(p.val, "hostPort", 0) && json_get(p.val, "containerPort"))
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

static void volume_default(struct arena *a, struct json *vol)
{
	struct json *image = json_get(vol, "image");

	if (json_len(vol) == 1 && json_get(vol, "name"))
		json_sub(a, vol, "emptyDir");
	if (json_is(image, JSON_OBJECT) && str_empty(json_str_at(image, "pullPolicy")))
		json_set_str(a, image, "pullPolicy",
			     image_is_latest(json_str_at(image, "reference"))
				     ? STR("Always")
				     : STR("IfNotPresent"));
}

void pod_spec_default(struct arena *a, struct json *spec)
{
	struct json *sa = json_get(spec, "serviceAccountName");

	/* what was sent empty; what is missing the schema fills in */
	default_z(a, spec, "restartPolicy", "Always");
	default_z(a, spec, "dnsPolicy", "ClusterFirst");
	default_z(a, spec, "schedulerName", "default-scheduler");
	for (size_t i = 0; i < ARRAY_LEN(container_lists); i++) {
		json_for_each(it, json_get(spec, container_lists[i]))
		{
			if (json_is(it.val, JSON_OBJECT))
				container_default(a, it.val);
		}
	}
	/* the old name of the field mirrors the new one */
	if (sa)
		json_set(a, spec, "serviceAccount", json_copy(a, sa));
	else if (json_get(spec, "serviceAccount"))
		json_set(a, spec, "serviceAccountName",
			 json_copy(a, json_get(spec, "serviceAccount")));
	json_for_each(it, json_get(spec, "volumes"))
	{
		if (json_is(it.val, JSON_OBJECT))
			volume_default(a, it.val);
	}
}

void pod_spec_default_pod(struct arena *a, struct json *spec)
{
	bool host = json_bool_at(spec, "hostNetwork", false);

	pod_spec_default(a, spec);
	for (size_t i = 0; i < 2; i++) {
		json_for_each(it, json_get(spec, container_lists[i]))
		{
			if (json_is(it.val, JSON_OBJECT))
				container_default_pod(a, it.val, host);
		}
	}
	if (!json_get(spec, "enableServiceLinks"))
		json_set_bool(a, spec, "enableServiceLinks", true);
	/* a template keeps it */
	if (json_int_at(spec, "terminationGracePeriodSeconds", 0) < 0)
		json_set_int(a, spec, "terminationGracePeriodSeconds", 1);
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

	for (size_t i = 0; i < 2; i++) {
		json_for_each(it, json_get(spec, container_lists[i]))
			qos_container(it.val, &any, &guaranteed);
	}
	if (!any)
		return STR("BestEffort");
	return guaranteed ? STR("Guaranteed") : STR("Burstable");
}
