/* SPDX-License-Identifier: Apache-2.0 */
#include "control/endpoints-plan.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "control/endpointslice-plan.h"
#include "json/json.h"

/* ---- subsets of a Service */

static bool endpoints_wants(const struct json *svc, const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	if (str_empty(json_str_at(pod, "status.podIP")) || str_eqz(phase, "Failed") ||
	    str_eqz(phase, "Succeeded"))
		return false;
	return !meta_deleting(pod) || json_bool_at(svc, "spec.publishNotReadyAddresses", false);
}

static struct json *endpoints_address(struct arena *a, const struct json *svc,
				      const struct json *pod)
{
	struct json *addr = json_object(a), *ref;
	struct str node = json_str_at(pod, "spec.nodeName");
	struct str host = json_str_at(pod, "spec.hostname");

	json_set(a, addr, "ip", json_strcpy(a, json_str_at(pod, "status.podIP")));
	if (!str_empty(host) && str_eq(json_str_at(pod, "spec.subdomain"), meta_name(svc)))
		json_set(a, addr, "hostname", json_strcpy(a, host));
	if (!str_empty(node))
		json_set(a, addr, "nodeName", json_strcpy(a, node));
	ref = json_sub(a, addr, "targetRef");
	json_set_str(a, ref, "kind", STR("Pod"));
	json_set(a, ref, "namespace", json_strcpy(a, meta_namespace(pod)));
	json_set(a, ref, "name", json_strcpy(a, meta_name(pod)));
	json_set(a, ref, "uid", json_strcpy(a, meta_uid(pod)));
	return addr;
}

/* Ports that the Pod has; NULL when the Service has some and the Pod none of them. */
static struct json *endpoints_ports(struct arena *a, const struct json *svc, const struct json *pod)
{
	struct json *ports = json_array(a);
	const struct json *all = json_at(svc, "spec.ports");

	json_for_each(it, all)
	{
		int64_t n = slice_target_port(it.val, pod);
		struct str name = json_str_at(it.val, "name");
		struct str protocol = json_str_at(it.val, "protocol");
		const struct json *app = json_get(it.val, "appProtocol");
		struct json *p;

		if (!n)
			continue;
		p = json_object(a);
		if (!str_empty(name))
			json_set(a, p, "name", json_strcpy(a, name));
		json_set_int(a, p, "port", n);
		json_set(a, p, "protocol",
			 json_strcpy(a, str_empty(protocol) ? STR("TCP") : protocol));
		if (app)
			json_set(a, p, "appProtocol", json_copy(a, app));
		json_push(ports, p);
	}
	return json_len(ports) || !json_len(all) ? ports : NULL;
}

static struct json *endpoints_subset(struct arena *a, struct json *subsets,
				     const struct json *ports)
{
	struct json *s;

	json_for_each(it, subsets)
	{
		const struct json *has = json_get(it.val, "ports");

		if (has ? json_equal(has, ports) : !json_len(ports))
			return it.val;
	}
	s = json_object(a);
	if (json_len(ports))
		json_set(a, s, "ports", json_copy(a, ports));
	json_push(subsets, s);
	return s;
}

static int endpoints_cmp_ip(const void *x, const void *y)
{
	const struct json *const *a = x, *const *b = y;

	return str_cmp(json_str_at(*a, "ip"), json_str_at(*b, "ip"));
}

/* By address, so that the order in which Pods are seen changes nothing. */
static struct json *endpoints_sorted(struct arena *a, const struct json *list)
{
	size_t n = json_len(list), i = 0;
	const struct json **v = arena_array(a, n + 1, sizeof(const struct json *));
	struct json *out = json_array(a);

	json_for_each(it, list) v[i++] = it.val;
	qsort(v, n, sizeof(const struct json *), endpoints_cmp_ip);
	for (i = 0; i < n && i < ENDPOINTS_MAX; i++)
		json_push(out, json_copy(a, v[i]));
	return out;
}

struct json *endpoints_subsets(struct arena *a, const struct json *svc, const struct json *pods)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses", "ports" };
	bool publish = json_bool_at(svc, "spec.publishNotReadyAddresses", false);
	struct json *subsets = json_array(a), *out = json_array(a);

	json_for_each(it, pods)
	{
		struct json *ports;
		bool ready;

		if (!endpoints_wants(svc, it.val))
			continue;
		ports = endpoints_ports(a, svc, it.val);
		if (!ports)
			continue;
		ready = publish || condition_is_true(json_get(it.val, "status"), "Ready");
		json_push(json_sub_array(a, endpoints_subset(a, subsets, ports),
					 lists[ready ? 0 : 1]),
			  endpoints_address(a, svc, it.val));
	}
	json_for_each(it, subsets)
	{
		struct json *s = json_object(a);

		for (size_t i = 0; i < 2; i++) {
			const struct json *list = json_get(it.val, lists[i]);

			if (list)
				json_set(a, s, lists[i], endpoints_sorted(a, list));
		}
		if (json_get(it.val, "ports"))
			json_set(a, s, "ports", json_copy(a, json_get(it.val, "ports")));
		json_push(out, s);
	}
	return out;
}

/* ---- mirrored slices */

static struct json *mirror_labels(struct arena *a, const struct json *endpoints)
{
	struct json *labels = meta_labels(endpoints);

	labels = labels ? json_copy(a, labels) : json_object(a);
	json_delz(labels, ENDPOINTS_MANAGED_BY);
	json_set_str(a, labels, "endpointslice.kubernetes.io/managed-by",
		     STR(ENDPOINTS_MIRROR_MANAGER));
	json_set(a, labels, "kubernetes.io/service-name", json_strcpy(a, meta_name(endpoints)));
	return labels;
}

static struct json *mirror_annotations(struct arena *a, const struct json *endpoints)
{
	struct json *from = meta_annotations(endpoints), *to = json_object(a);

	json_for_each(it, from)
	{
		if (!str_eqz(it.key, "kubectl.kubernetes.io/last-applied-configuration") &&
		    !str_eqz(it.key, ENDPOINTS_OVER_CAPACITY))
			json_set_s(a, to, it.key, json_copy(a, it.val));
	}
	return json_len(to) ? to : NULL;
}

/* NULL when the subset has no addresses of the family. */
static struct json *mirror_endpoints(struct arena *a, const struct json *subset, bool v6)
{
	static const char *const kept[] = { "hostname", "nodeName", "targetRef" };
	struct json *out = json_array(a);

	for (int ready = 1; ready >= 0; ready--) {
		json_for_each(it, json_get(subset, ready ? "addresses" : "notReadyAddresses"))
		{
			struct str ip = json_str_at(it.val, "ip");
			struct json *e;

			if ((str_find_char(ip, ':', 0) < ip.n) != v6 ||
			    json_len(out) == ENDPOINTS_MAX)
				continue;
			e = json_object(a);
			json_push(json_sub_array(a, e, "addresses"), json_strcpy(a, ip));
			json_set_bool(a, json_sub(a, e, "conditions"), "ready", ready);
			for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
				const struct json *v = json_get(it.val, kept[i]);

				if (v)
					json_set(a, e, kept[i], json_copy(a, v));
			}
			json_push(out, e);
		}
	}
	return json_len(out) ? out : NULL;
}

static struct json *mirror_ports(struct arena *a, const struct json *subset)
{
	struct json *ports = json_array(a);

	json_for_each(it, json_get(subset, "ports"))
	{
		struct json *p = json_copy(a, it.val);

		if (!json_get(p, "name"))
			json_set_str(a, p, "name", STR_EMPTY);
		json_push(ports, p);
	}
	return ports;
}

static struct json *mirror_slice(struct arena *a, const struct json *endpoints,
				 const struct json *subset, bool v6)
{
	struct json *list = mirror_endpoints(a, subset, v6), *annotations, *s, *meta;

	if (!list)
		return NULL;
	s = json_object(a);
	json_set_str(a, s, "apiVersion", STR("discovery.k8s.io/v1"));
	json_set_str(a, s, "kind", STR("EndpointSlice"));
	meta = json_sub(a, s, "metadata");
	json_set(a, meta, "generateName", json_strf(a, STR_FMT "-", STR_ARG(meta_name(endpoints))));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(endpoints)));
	json_set(a, meta, "labels", mirror_labels(a, endpoints));
	annotations = mirror_annotations(a, endpoints);
	if (annotations)
		json_set(a, meta, "annotations", annotations);
	meta_set_controller(a, s, endpoints, STR("v1"), STR("Endpoints"));
	json_set_str(a, s, "addressType", v6 ? STR("IPv6") : STR("IPv4"));
	json_set(a, s, "endpoints", list);
	json_set(a, s, "ports", mirror_ports(a, subset));
	return s;
}

/* What a present slice must become; false when it is that already. */
static bool mirror_differs(struct arena *a, const struct json *old, struct json *want)
{
	static const char *const members[] = { "endpoints", "ports" };
	struct json *meta = json_copy(a, json_get(old, "metadata"));
	const struct json *new_meta = json_get(want, "metadata");
	const struct json *annotations = json_get(new_meta, "annotations");
	bool differs = !json_equal(json_get(meta, "labels"), json_get(new_meta, "labels")) ||
		       !json_equal(json_get(meta, "annotations"), annotations);

	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		differs |= !json_equal(json_get(old, members[i]), json_get(want, members[i]));
	json_set(a, meta, "labels", json_copy(a, json_get(new_meta, "labels")));
	json_delz(meta, "annotations");
	if (annotations)
		json_set(a, meta, "annotations", json_copy(a, annotations));
	json_set(a, want, "metadata", meta);
	return differs;
}

struct slice_plan endpoints_mirror(struct arena *a, const struct json *endpoints,
				   const struct json *old)
{
	struct slice_plan plan = { json_array(a), json_array(a), json_array(a) };
	size_t n = json_len(old);
	bool *used = arena_array(a, n + 1, sizeof(bool));

	json_for_each(it, json_get(endpoints, "subsets"))
	{
		for (int v6 = 0; v6 < 2; v6++) {
			struct json *want = mirror_slice(a, endpoints, it.val, v6);
			size_t i = 0;

			if (!want)
				continue;
			/* one with the same ports, or else any of the family */
			while (i < n && (used[i] ||
					 !str_eq(json_str_at(json_idx(old, i), "addressType"),
						 json_str_at(want, "addressType")) ||
					 !json_equal(json_get(json_idx(old, i), "ports"),
						     json_get(want, "ports"))))
				i++;
			if (i == n) {
				json_push(plan.create, want);
				continue;
			}
			used[i] = true;
			if (mirror_differs(a, json_idx(old, i), want))
				json_push(plan.update, want);
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (!used[i])
			json_push(plan.remove, json_strcpy(a, meta_name(json_idx(old, i))));
	}
	return plan;
}
