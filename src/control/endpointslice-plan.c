/* SPDX-License-Identifier: Apache-2.0 */

#include "control/endpointslice-plan.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/map.h"
#include "json/json.h"

/* The endpoints that share a list of ports. */
struct slice_group {
	struct json *ports;
	struct json *endpoints;
	struct slice_group *next;
};

struct slice_maker {
	struct arena *arena;
	const struct json *svc, *zones;
	struct slice_group *groups;
	struct slice_plan plan;
};

/* endpoints */

static struct str slice_pod_ip(const struct json *pod)
{
	return json_str_at(pod, "status.podIP");
}

static bool slice_wants_pod(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return !str_empty(slice_pod_ip(pod)) && !str_eqz(phase, "Failed") &&
	       !str_eqz(phase, "Succeeded");
}

static struct json *slice_endpoint(struct slice_maker *m, const struct json *pod)
{
	struct arena *a = m->arena;
	bool publish = json_bool_at(m->svc, "spec.publishNotReadyAddresses", false);
	bool serving = condition_is_true(json_get(pod, "status"), "Ready");
	bool going = meta_deleting(pod);
	struct str node = json_str_at(pod, "spec.nodeName");
	struct str zone = json_as_str(json_get_s(m->zones, node));
	struct json *e = json_object(a);
	struct json *c = json_sub(a, e, "conditions");
	struct json *ref;

	json_push(json_sub_array(a, e, "addresses"), json_strcpy(a, slice_pod_ip(pod)));
	json_set_bool(a, c, "ready", publish || (serving && !going));
	json_set_bool(a, c, "serving", serving);
	json_set_bool(a, c, "terminating", going);
	if (!str_empty(json_str_at(pod, "spec.hostname")) &&
	    str_eq(json_str_at(pod, "spec.subdomain"), meta_name(m->svc)))
		json_set(a, e, "hostname", json_strcpy(a, json_str_at(pod, "spec.hostname")));
	ref = json_sub(a, e, "targetRef");
	json_set_str(a, ref, "kind", STR("Pod"));
	json_set(a, ref, "namespace", json_strcpy(a, meta_namespace(pod)));
	json_set(a, ref, "name", json_strcpy(a, meta_name(pod)));
	json_set(a, ref, "uid", json_strcpy(a, meta_uid(pod)));
	if (!str_empty(node))
		json_set(a, e, "nodeName", json_strcpy(a, node));
	if (!str_empty(zone))
		json_set(a, e, "zone", json_strcpy(a, zone));
	return e;
}

/* ports */

static int64_t slice_named_port(const struct json *containers, struct str name, struct str protocol)
{
	json_for_each(c, containers)
	{
		json_for_each(p, json_get(c.val, "ports"))
		{
			struct str proto = json_as_str(json_get(p.val, "protocol"));

			if (str_eq(json_as_str(json_get(p.val, "name")), name) &&
			    str_eq(str_empty(proto) ? STR("TCP") : proto, protocol))
				return json_int_at(p.val, "containerPort", 0);
		}
	}
	return 0;
}

int64_t slice_target_port(const struct json *port, const struct json *pod)
{
	const struct json *target = json_get(port, "targetPort");
	struct str protocol = json_as_str(json_get(port, "protocol"));
	int64_t n;

	if (json_is(target, JSON_INT) && json_as_int(target, 0))
		return json_as_int(target, 0);
	if (!json_is(target, JSON_STR))
		return json_int_at(port, "port", 0);
	if (str_empty(protocol))
		protocol = STR("TCP");
	n = slice_named_port(json_at(pod, "spec.containers"), json_as_str(target), protocol);
	if (!n) {
		json_for_each(c, json_at(pod, "spec.initContainers"))
		{
			struct str restart = json_as_str(json_get(c.val, "restartPolicy"));

			if (n || !str_eqz(restart, "Always"))
				continue;
			json_for_each(p, json_get(c.val, "ports"))
			{
				if (str_eq(json_as_str(json_get(p.val, "name")),
					   json_as_str(target)))
					n = json_int_at(p.val, "containerPort", 0);
			}
		}
	}
	return n;
}

static struct json *slice_ports(struct slice_maker *m, const struct json *pod)
{
	struct arena *a = m->arena;
	struct json *ports = json_array(a);

	json_for_each(it, json_at(m->svc, "spec.ports"))
	{
		struct str protocol = json_as_str(json_get(it.val, "protocol"));
		const struct json *app = json_get(it.val, "appProtocol");
		int64_t n = slice_target_port(it.val, pod);
		struct json *p;

		if (!n)
			continue;
		p = json_object(a);
		json_set(a, p, "name", json_strcpy(a, json_as_str(json_get(it.val, "name"))));
		json_set(a, p, "protocol",
			 json_strcpy(a, str_empty(protocol) ? STR("TCP") : protocol));
		json_set_int(a, p, "port", n);
		if (app)
			json_set(a, p, "appProtocol", json_copy(a, app));
		json_push(ports, p);
	}
	return ports;
}

static struct slice_group *slice_group_for(struct slice_maker *m, struct json *ports)
{
	struct slice_group *g;

	for (g = m->groups; g; g = g->next)
		if (json_equal(g->ports, ports))
			return g;
	g = arena_new_obj(m->arena, struct slice_group);
	g->ports = ports;
	g->endpoints = json_array(m->arena);
	g->next = m->groups;
	m->groups = g;
	return g;
}

/* slices */

static struct json *slice_labels(struct slice_maker *m)
{
	struct arena *a = m->arena;
	const struct json *own = meta_labels(m->svc);
	struct json *labels = own ? json_copy(a, own) : json_object(a);

	if (str_eqz(json_str_at(m->svc, "spec.clusterIP"), "None"))
		json_set_str(a, labels, "service.kubernetes.io/headless", STR_EMPTY);
	else
		json_delz(labels, "service.kubernetes.io/headless");
	json_set_str(a, labels, "endpointslice.kubernetes.io/managed-by", STR(SLICE_MANAGED_BY));
	json_set(a, labels, "kubernetes.io/service-name", json_strcpy(a, meta_name(m->svc)));
	return labels;
}

static struct json *slice_new(struct slice_maker *m, const struct json *ports)
{
	struct arena *a = m->arena;
	struct json *s = json_object(a);
	struct json *meta;

	json_set_str(a, s, "apiVersion", STR("discovery.k8s.io/v1"));
	json_set_str(a, s, "kind", STR("EndpointSlice"));
	meta = json_sub(a, s, "metadata");
	json_set(a, meta, "generateName", json_strf(a, STR_FMT "-", STR_ARG(meta_name(m->svc))));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(m->svc)));
	json_set(a, meta, "labels", slice_labels(m));
	meta_set_controller(a, s, m->svc, STR("v1"), STR("Service"));
	json_set_str(a, s, "addressType", STR("IPv4"));
	json_set(a, s, "endpoints", json_array(a));
	json_set(a, s, "ports", json_copy(a, ports));
	return s;
}

static struct str slice_endpoint_key(const struct json *e)
{
	return json_str_at(e, "targetRef.uid");
}

/*
 * Fills one slice: first what it already has of the group, in its order, then others until it is
 * full. Endpoints taken leave the group.
 */
static struct json *slice_fill(struct slice_maker *m, struct slice_group *g,
			       const struct json *old_endpoints)
{
	struct arena *a = m->arena;
	struct json *kept = json_array(a);

	json_for_each(it, old_endpoints)
	{
		struct str key = slice_endpoint_key(it.val);

		for (size_t i = 0; i < json_len(g->endpoints); i++) {
			const struct json *e = json_idx(g->endpoints, i);

			if (!str_eq(slice_endpoint_key(e), key))
				continue;
			json_push(kept, json_copy(a, e));
			json_remove_idx(g->endpoints, i);
			break;
		}
	}
	return kept;
}

static void slice_top_up(struct slice_maker *m, struct slice_group *g, struct json *endpoints)
{
	while (json_len(endpoints) < SLICE_MAX_ENDPOINTS && json_len(g->endpoints)) {
		json_push(endpoints, json_copy(m->arena, json_idx(g->endpoints, 0)));
		json_remove_idx(g->endpoints, 0);
	}
}

static bool slice_is_v4(const struct json *s)
{
	return str_eqz(json_as_str(json_get(s, "addressType")), "IPv4");
}

/* A present slice either keeps endpoints of its group, and then the space left is used, or goes. */
static void slice_reconcile(struct slice_maker *m, struct json *slices)
{
	struct arena *a = m->arena;
	size_t n = json_len(slices);
	struct slice_group **groups = arena_array(a, n + 1, sizeof(struct slice_group *));
	struct json **filled = arena_array(a, n + 1, sizeof(struct json *));

	for (size_t i = 0; i < n; i++) {
		const struct json *s = json_idx(slices, i);

		for (struct slice_group *g = m->groups; g && slice_is_v4(s); g = g->next)
			if (json_equal(g->ports, json_get(s, "ports")))
				groups[i] = g;
		if (groups[i])
			filled[i] = slice_fill(m, groups[i], json_get(s, "endpoints"));
	}
	for (size_t i = 0; i < n; i++) {
		const struct json *old = json_idx(slices, i);
		struct json *s;

		if (groups[i])
			slice_top_up(m, groups[i], filled[i]);
		if (!groups[i] || (!json_len(filled[i]) && n > 1)) {
			json_push(m->plan.remove, json_strcpy(a, meta_name(old)));
			continue;
		}
		s = json_copy(a, old);
		json_set(a, s, "endpoints", filled[i]);
		json_set(a, json_sub(a, s, "metadata"), "labels", slice_labels(m));
		if (!json_equal(s, old))
			json_push(m->plan.update, s);
	}
}

static void slice_create_rest(struct slice_maker *m, size_t n_kept)
{
	for (struct slice_group *g = m->groups; g; g = g->next) {
		while (json_len(g->endpoints)) {
			struct json *s = slice_new(m, g->ports);

			slice_top_up(m, g, json_get(s, "endpoints"));
			json_push(m->plan.create, s);
			n_kept++;
		}
	}
	/* a Service without endpoints has one empty slice that says so */
	if (!n_kept)
		json_push(m->plan.create,
			  slice_new(m, m->groups ? m->groups->ports : json_array(m->arena)));
}

struct slice_plan slice_plan_make(struct arena *a, const struct json *svc, const struct json *pods,
				  const struct json *slices, const struct json *zones)
{
	struct slice_maker m = { .arena = a, .svc = svc, .zones = zones };
	struct json *copy = json_array(a);

	m.plan.create = json_array(a);
	m.plan.update = json_array(a);
	m.plan.remove = json_array(a);
	json_for_each(it, pods)
	{
		if (slice_wants_pod(it.val))
			json_push(slice_group_for(&m, slice_ports(&m, it.val))->endpoints,
				  slice_endpoint(&m, it.val));
	}
	if (!m.groups)
		slice_group_for(&m, json_array(a));
	json_for_each(it, slices) json_push(copy, json_copy(a, it.val));
	slice_reconcile(&m, copy);
	slice_create_rest(&m, json_len(copy) - json_len(m.plan.remove));
	return m.plan;
}
