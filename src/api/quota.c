/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quota.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"

#define PODS          "pods"
#define SERVICES      "services"
#define CLAIMS        "persistentvolumeclaims"
#define DEVICE_CLAIMS "resourceclaims.resource.k8s.io"
#define BY_CLASS      ".storageclass.storage.k8s.io/"
#define BY_DEVICE     ".deviceclass.resource.k8s.io/devices"
#define ALL_DEVICES   32 /* what "All" may be at most */

static const struct quantity one = { .nano = 1000000000 };
static const struct quantity zero = { .nano = 0 };

/* ---- names */

static const char *const untracked[] = {
	"bindings",
	"componentstatuses",
	"events",
	"events.events.k8s.io",
	"tokenreviews.authentication.k8s.io",
	"selfsubjectreviews.authentication.k8s.io",
	"subjectaccessreviews.authorization.k8s.io",
	"selfsubjectaccessreviews.authorization.k8s.io",
	"localsubjectaccessreviews.authorization.k8s.io",
	"selfsubjectrulesreviews.authorization.k8s.io",
};

/* Names that are counted by their own rules; all others are "count/GR" or a Pod's resources. */
static const struct {
	const char *name, *gr;
} sources[] = {
	{ "pods", PODS },
	{ "cpu", PODS },
	{ "memory", PODS },
	{ "ephemeral-storage", PODS },
	{ "requests.cpu", PODS },
	{ "requests.memory", PODS },
	{ "requests.ephemeral-storage", PODS },
	{ "limits.cpu", PODS },
	{ "limits.memory", PODS },
	{ "limits.ephemeral-storage", PODS },
	{ "services", SERVICES },
	{ "services.nodeports", SERVICES },
	{ "services.loadbalancers", SERVICES },
	{ "persistentvolumeclaims", CLAIMS },
	{ "requests.storage", CLAIMS },
	{ "configmaps", "configmaps" },
	{ "secrets", "secrets" },
	{ "resourcequotas", "resourcequotas" },
	{ "replicationcontrollers", "replicationcontrollers" },
};

bool quota_tracks(struct str gr)
{
	for (size_t i = 0; i < ARRAY_LEN(untracked); i++)
		if (str_eqz(gr, untracked[i]))
			return false;
	return true;
}

struct str quota_source(struct str name)
{
	if (str_strip_prefix(&name, STR("count/")))
		return quota_tracks(name) ? name : STR_EMPTY;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (str_eqz(name, sources[i].name))
			return str_from(sources[i].gr);
	if (str_has_suffix(name, STR(BY_DEVICE)))
		return STR(DEVICE_CLAIMS);
	if (str_has_suffix(name, STR(BY_CLASS "requests.storage")) ||
	    str_has_suffix(name, STR(BY_CLASS "persistentvolumeclaims")))
		return STR(CLAIMS);
	if (str_has_prefix(name, STR("hugepages-")) ||
	    str_has_prefix(name, STR("requests.hugepages-")) ||
	    str_has_prefix(name, STR("requests.deviceclass.resource.kubernetes.io/")))
		return STR(PODS);
	if (str_has_prefix(name, STR("requests.")) && !resource_is_native(name))
		return STR(PODS);
	return STR_EMPTY;
}

bool quota_measures(struct str gr, struct str name)
{
	return str_eq(quota_source(name), gr);
}

/* ---- scopes */

static bool pod_terminating(const struct json *pod)
{
	return json_int_at(pod, "spec.activeDeadlineSeconds", -1) >= 0;
}

static bool list_asks_compute(const struct json *list)
{
	static const char *const names[] = { "cpu", "memory" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct quantity q;

		if (json_int_at(list, names[i], 0) > 0 ||
		    (quantity_parse(json_str_at(list, names[i]), &q) && q.nano > 0))
			return true;
	}
	return false;
}

static bool asks_compute(const struct json *resources)
{
	return list_asks_compute(json_get(resources, "requests")) ||
	       list_asks_compute(json_get(resources, "limits"));
}

static bool pod_best_effort(const struct json *pod)
{
	static const char *const lists[] = { "containers", "initContainers" };
	struct str class = json_str_at(pod, "status.qosClass");
	const struct json *spec = json_get(pod, "spec");

	if (class.n)
		return str_eqz(class, "BestEffort");
	if (json_get(spec, "resources"))
		return !asks_compute(json_get(spec, "resources"));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(spec, lists[i]))
		{
			if (asks_compute(json_get(it.val, "resources")))
				return false;
		}
	}
	return true;
}

static bool terms_cross(const struct json *terms, const char *member)
{
	json_for_each(it, terms)
	{
		const struct json *t = member ? json_get(it.val, member) : it.val;

		if (json_len(json_get(t, "namespaces")) || json_get(t, "namespaceSelector"))
			return true;
	}
	return false;
}

static bool pod_crosses(const struct json *pod)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *a = json_get(json_at(pod, "spec.affinity"), kinds[i]);

		if (terms_cross(json_get(a, "requiredDuringSchedulingIgnoredDuringExecution"),
				NULL) ||
		    terms_cross(json_get(a, "preferredDuringSchedulingIgnoredDuringExecution"),
				"podAffinityTerm"))
			return true;
	}
	return false;
}

static bool values_have(const struct json *values, struct str v)
{
	json_for_each(it, values)
	{
		if (str_eq(json_as_str(it.val), v))
			return true;
	}
	return false;
}

/* op: In, NotIn, Exists or DoesNotExist, on a name that may be empty (absent). */
static bool name_selected(struct str op, const struct json *values, struct str name)
{
	if (str_eqz(op, "Exists"))
		return name.n != 0;
	if (str_eqz(op, "DoesNotExist"))
		return name.n == 0;
	if (str_eqz(op, "NotIn"))
		return !name.n || !values_have(values, name);
	return name.n && values_have(values, name);
}

static bool pod_in_scope(const struct json *pod, struct str scope, struct str op,
			 const struct json *values)
{
	if (str_eqz(scope, "Terminating"))
		return pod_terminating(pod);
	if (str_eqz(scope, "NotTerminating"))
		return !pod_terminating(pod);
	if (str_eqz(scope, "BestEffort"))
		return pod_best_effort(pod);
	if (str_eqz(scope, "NotBestEffort"))
		return !pod_best_effort(pod);
	if (str_eqz(scope, "PriorityClass"))
		return name_selected(op, values, json_str_at(pod, "spec.priorityClassName"));
	return str_eqz(scope, "CrossNamespacePodAffinity") && pod_crosses(pod);
}

static bool claim_in_scope(const struct json *claim, struct str scope, struct str op,
			   const struct json *values)
{
	static const char *const paths[] = {
		"spec.volumeAttributesClassName",
		"status.currentVolumeAttributesClassName",
		"status.modifyVolumeStatus.targetVolumeAttributesClassName",
	};
	bool any = false;

	if (!str_eqz(scope, "VolumeAttributesClass"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct str name = json_str_at(claim, paths[i]);

		if (!name.n)
			continue;
		any = true;
		if (name_selected(op, values, name))
			return true;
	}
	return !any && name_selected(op, values, STR_EMPTY);
}

static bool scope_fits(struct str gr, const struct json *obj, struct str scope, struct str op,
		       const struct json *values)
{
	if (str_eqz(gr, PODS))
		return pod_in_scope(obj, scope, op, values);
	if (str_eqz(gr, CLAIMS))
		return claim_in_scope(obj, scope, op, values);
	return false;
}

bool quota_in_scope(struct str gr, const struct json *quota, const struct json *obj)
{
	json_for_each(it, json_at(quota, "spec.scopes"))
	{
		if (!scope_fits(gr, obj, json_as_str(it.val), STR("Exists"), NULL))
			return false;
	}
	json_for_each(it, json_at(quota, "spec.scopeSelector.matchExpressions"))
	{
		if (!scope_fits(gr, obj, json_str_at(it.val, "scopeName"),
				json_str_at(it.val, "operator"), json_get(it.val, "values")))
			return false;
	}
	return true;
}

/* ---- usage */

/* Finished, or past its grace period on a lost node: it counts as an object, no more. */
static bool pod_is_charged(const struct json *pod, struct wall now)
{
	struct str phase = json_str_at(pod, "status.phase");
	const struct json *grace = json_at(pod, "metadata.deletionGracePeriodSeconds");
	struct wall at;

	if (str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded"))
		return false;
	if (grace && wall_parse(json_str_at(pod, "metadata.deletionTimestamp"), &at))
		return now.ns <= at.ns + json_as_int(grace, 0) * NS_PER_SEC;
	return true;
}

static struct str prefixed(struct arena *a, const char *prefix, struct str name)
{
	return arena_cat(a, str_from(prefix), name);
}

/* The names by which a Pod's (or a container's) requests and limits are counted. */
static struct resource_list compute_usage(struct arena *a, const struct resource_list *requests,
					  const struct resource_list *limits)
{
	static const char *const basic[] = { "cpu", "memory", "ephemeral-storage" };
	struct resource_list l = { .a = a };

	resource_list_set(&l, STR("pods"), one);
	for (size_t i = 0; i < ARRAY_LEN(basic); i++) {
		struct str name = str_from(basic[i]);
		const struct quantity *q = resource_list_find(requests, name);

		if (q) {
			resource_list_set(&l, name, *q);
			resource_list_set(&l, prefixed(a, "requests.", name), *q);
		}
		q = resource_list_find(limits, name);
		if (q)
			resource_list_set(&l, prefixed(a, "limits.", name), *q);
	}
	for (size_t i = 0; i < requests->n; i++) {
		struct str name = requests->v[i].name;
		bool huge = str_has_prefix(name, STR("hugepages-"));

		if (huge)
			resource_list_set(&l, name, requests->v[i].q);
		if (huge || resource_is_extended(name) ||
		    str_has_prefix(name, STR("deviceclass.resource.kubernetes.io/")))
			resource_list_set(&l, prefixed(a, "requests.", name), requests->v[i].q);
	}
	return l;
}

static void pod_usage(struct arena *a, const struct json *pod, struct wall now,
		      struct resource_list *l)
{
	struct resource_list requests, limits, usage;

	if (!pod_is_charged(pod, now))
		return;
	requests = pod_requests(a, pod);
	limits = pod_limits(a, pod);
	usage = compute_usage(a, &requests, &limits);
	resource_list_add(l, &usage);
}

static void service_usage(const struct json *svc, struct resource_list *l)
{
	struct str type = json_str_at(svc, "spec.type");
	const struct json *ports = json_at(svc, "spec.ports");
	bool balanced = str_eqz(type, "LoadBalancer");
	int64_t n = 0;

	json_for_each(it, ports) n += json_int_at(it.val, "nodePort", 0) != 0;
	if (str_eqz(type, "NodePort") ||
	    (balanced && json_bool_at(svc, "spec.allocateLoadBalancerNodePorts", true)))
		n = (int64_t)json_len(ports);
	else if (!balanced)
		n = 0;
	resource_list_set(l, STR("services"), one);
	resource_list_set(l, STR("services.loadbalancers"), balanced ? one : zero);
	resource_list_set(l, STR("services.nodeports"),
			  quantity_from_value(n, QUANTITY_DECIMAL_SI));
}

static void claim_usage(struct arena *a, const struct json *claim, struct resource_list *l)
{
	struct str class = meta_annotation(claim, "volume.beta.kubernetes.io/storage-class");
	struct resource_list asked, given;
	const struct quantity *q, *g;
	struct quantity size;

	if (!class.n)
		class = json_str_at(claim, "spec.storageClassName");
	resource_list_set(l, STR(CLAIMS), one);
	if (class.n)
		resource_list_set(l, arena_cat(a, class, STR(BY_CLASS CLAIMS)), one);
	asked = resource_list_from_json(a, json_at(claim, "spec.resources.requests"));
	given = resource_list_from_json(a, json_at(claim, "status.allocatedResources"));
	q = resource_list_find(&asked, STR("storage"));
	g = resource_list_find(&given, STR("storage"));
	if (!q)
		return;
	if (g && quantity_cmp(*g, *q) > 0)
		q = g;
	/* whole bytes */
	size = quantity_from_value(quantity_value(*q), q->format);
	resource_list_set(l, STR("requests.storage"), size);
	if (class.n)
		resource_list_set(l, arena_cat(a, class, STR(BY_CLASS "requests.storage")), size);
}

static int64_t device_count(const struct json *request)
{
	struct str mode = json_str_at(request, "allocationMode");

	if (str_eqz(mode, "All"))
		return ALL_DEVICES;
	return !mode.n || str_eqz(mode, "ExactCount") ? json_int_at(request, "count", 1) : 0;
}

static struct resource_list device_one(struct arena *a, const struct json *request)
{
	struct resource_list l = { .a = a };

	resource_list_set(&l, arena_cat(a, json_str_at(request, "deviceClassName"), STR(BY_DEVICE)),
			  quantity_from_value(device_count(request), QUANTITY_DECIMAL_SI));
	return l;
}

static void device_usage(struct arena *a, const struct json *claim, struct resource_list *l)
{
	json_for_each(it, json_at(claim, "spec.devices.requests"))
	{
		const struct json *exactly = json_get(it.val, "exactly");
		struct resource_list worst = { .a = a }, d;

		/* of alternatives, the worst of each class */
		json_for_each(alt, json_get(it.val, "firstAvailable"))
		{
			d = device_one(a, alt.val);
			resource_list_max(&worst, &d);
		}
		if (exactly && !worst.n)
			worst = device_one(a, exactly);
		resource_list_add(l, &worst);
	}
}

struct resource_list quota_usage(struct arena *a, struct str gr, const struct json *obj,
				 struct wall now)
{
	struct resource_list l = { .a = a };

	resource_list_set(&l, prefixed(a, "count/", gr), one);
	if (str_eqz(gr, PODS))
		pod_usage(a, obj, now, &l);
	else if (str_eqz(gr, SERVICES))
		service_usage(obj, &l);
	else if (str_eqz(gr, CLAIMS))
		claim_usage(a, obj, &l);
	else if (str_eqz(gr, DEVICE_CLAIMS))
		device_usage(a, obj, &l);
	else if (quota_measures(gr, gr))
		resource_list_set(&l, gr, one);
	return l;
}

/* ---- one write against one quota */

static bool allocated_changed(const struct json *obj, const struct json *old)
{
	static const char *const paths[] = { "status.allocatedResources.storage",
					     "spec.volumeAttributesClassName",
					     "status.currentVolumeAttributesClassName",
					     ("status.modifyVolumeStatus."
					      "targetVolumeAttributesClassName") };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (!str_eq(json_str_at(obj, paths[i]), json_str_at(old, paths[i])))
			return true;
	return false;
}

bool quota_handles(const struct quota_request *rq)
{
	if (!quota_tracks(rq->gr))
		return false;
	if (str_eqz(rq->gr, PODS)) {
		if (rq->sub.n)
			return str_eqz(rq->sub, "resize") && !rq->create;
		return rq->create || pod_terminating(rq->obj) != pod_terminating(rq->old);
	}
	if (str_eqz(rq->gr, CLAIMS) && str_eqz(rq->sub, "status"))
		return allocated_changed(rq->obj, rq->old);
	if (rq->sub.n)
		return false;
	return rq->create || str_eqz(rq->gr, SERVICES) || str_eqz(rq->gr, CLAIMS) ||
	       str_eqz(rq->gr, DEVICE_CLAIMS);
}

/* Names that each container of a Pod must set once a quota has them. */
static const char *const must_set[] = { "cpu",    "limits.cpu",   "limits.memory",
					"memory", "requests.cpu", "requests.memory" };

static void missing_add(struct arena *a, const struct json *containers, struct str name,
			struct json *ret)
{
	json_for_each(it, containers)
	{
		struct resource_list r =
			resource_list_from_json(a, json_at(it.val, "resources.requests"));
		struct resource_list m =
			resource_list_from_json(a, json_at(it.val, "resources.limits"));
		struct resource_list u = compute_usage(a, &r, &m);
		struct str cname = json_str_at(it.val, "name");
		size_t i = 0;

		if (resource_list_has(&u, name))
			continue;
		/* sorted, once each */
		while (i < json_len(ret) && str_cmp(json_as_str(json_idx(ret, i)), cname) < 0)
			i++;
		if (!str_eq(json_as_str(json_idx(ret, i)), cname))
			json_insert_idx(ret, i, json_str(a, cname));
	}
}

static bool pod_sets_all(const struct quota_request *rq, const struct resource_list *hard,
			 struct str *ret_text)
{
	const struct json *spec = json_get(rq->obj, "spec");
	_cleanup_buf_ struct buf b = { 0 };

	if (pod_has_pod_level(spec))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(must_set); i++) {
		struct json *who = json_array(rq->a);

		if (!resource_list_has(hard, str_from(must_set[i])))
			continue;
		missing_add(rq->a, json_get(spec, "containers"), str_from(must_set[i]), who);
		missing_add(rq->a, json_get(spec, "initContainers"), str_from(must_set[i]), who);
		if (!json_len(who))
			continue;
		buf_addf(&b, "%s%s for: ", b.n ? "; " : "", must_set[i]);
		json_for_each(it, who)
			buf_addf(&b, "%s" STR_FMT, it.i ? "," : "", STR_ARG(json_as_str(it.val)));
	}
	*ret_text = buf_to_arena(&b, rq->a);
	return !b.n;
}

/* The names of hard that objects of this kind are measured in. */
static struct resource_list hard_of(const struct quota_request *rq, const struct json *quota)
{
	struct resource_list all = resource_list_from_json(rq->a, json_at(quota, "status.hard"));
	struct resource_list l = { .a = rq->a };

	for (size_t i = 0; i < all.n; i++)
		if (quota_measures(rq->gr, all.v[i].name))
			resource_list_set(&l, all.v[i].name, all.v[i].q);
	return l;
}

static struct str names_text(struct arena *a, const struct resource_list *l)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < l->n; i++)
		buf_addf(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(l->v[i].name));
	return buf_to_arena(&b, a);
}

static struct resource_list request_delta(const struct quota_request *rq, const struct json *quota)
{
	struct resource_list l = quota_usage(rq->a, rq->gr, rq->obj, rq->now), was;

	if (rq->create || !quota_in_scope(rq->gr, quota, rq->old))
		return l;
	was = quota_usage(rq->a, rq->gr, rq->old, rq->now);
	resource_list_sub_floor(&l, &was);
	return l;
}

static bool request_fits(const struct quota_request *rq, const struct json *quota,
			 const struct resource_list *hard, const struct resource_list *asked,
			 const struct resource_list *used, struct str *ret_text)
{
	struct resource_list xa = { .a = rq->a }, xu = { .a = rq->a }, xh = { .a = rq->a };

	for (size_t i = 0; i < asked->n; i++) {
		struct str name = asked->v[i].name;
		const struct quantity *u = resource_list_find(used, name);
		const struct quantity *h = resource_list_find(hard, name);
		struct quantity sum = quantity_add(u ? *u : zero, asked->v[i].q);

		if (!h || quantity_cmp(sum, *h) <= 0)
			continue;
		resource_list_set(&xa, name, asked->v[i].q);
		resource_list_set(&xu, name, u ? *u : zero);
		resource_list_set(&xh, name, *h);
	}
	if (!xa.n)
		return true;
	*ret_text = arena_fmt(rq->a,
			      "exceeded quota: " STR_FMT ", requested: " STR_FMT ", used: " STR_FMT
			      ", limited: " STR_FMT,
			      STR_ARG(meta_name(quota)), STR_ARG(resource_list_text(rq->a, &xa)),
			      STR_ARG(resource_list_text(rq->a, &xu)),
			      STR_ARG(resource_list_text(rq->a, &xh)));
	return false;
}

static bool request_negative(const struct quota_request *rq, struct str *ret_text)
{
	struct resource_list l = quota_usage(rq->a, rq->gr, rq->obj, rq->now);
	struct resource_list bad = { .a = rq->a };

	for (size_t i = 0; i < l.n; i++)
		if (l.v[i].q.nano < 0)
			resource_list_set(&bad, l.v[i].name, l.v[i].q);
	if (!bad.n)
		return false;
	*ret_text = arena_fmt(rq->a, "quota usage is negative for resource(s): " STR_FMT,
			      STR_ARG(names_text(rq->a, &bad)));
	return true;
}

bool quota_check(const struct quota_request *rq, const struct json *quota,
		 struct resource_list *ret_used, struct str *ret_text)
{
	struct resource_list hard = hard_of(rq, quota), delta, asked = { .a = rq->a }, used;
	struct str text = STR_EMPTY;

	*ret_used = (struct resource_list){ .a = rq->a };
	if (!hard.n || !quota_in_scope(rq->gr, quota, rq->obj))
		return true;
	if (str_eqz(rq->gr, PODS) && !pod_sets_all(rq, &hard, &text)) {
		*ret_text = arena_fmt(rq->a, "failed quota: " STR_FMT ": must specify " STR_FMT,
				      STR_ARG(meta_name(quota)), STR_ARG(text));
		return false;
	}
	used = resource_list_from_json(rq->a, json_at(quota, "status.used"));
	for (size_t i = 0; i < hard.n; i++) {
		if (resource_list_has(&used, hard.v[i].name))
			continue;
		*ret_text = arena_fmt(rq->a,
				      "status unknown for quota: " STR_FMT ", resources: " STR_FMT,
				      STR_ARG(meta_name(quota)), STR_ARG(names_text(rq->a, &hard)));
		return false;
	}
	if (request_negative(rq, ret_text))
		return false;
	delta = request_delta(rq, quota);
	for (size_t i = 0; i < delta.n; i++)
		if (delta.v[i].q.nano && resource_list_has(&hard, delta.v[i].name))
			resource_list_set(&asked, delta.v[i].name, delta.v[i].q);
	if (!asked.n)
		return true;
	if (!str_eqz(rq->sub, "status") && !request_fits(rq, quota, &hard, &asked, &used, ret_text))
		return false;
	resource_list_add(&used, &asked);
	*ret_used = used;
	return true;
}

/* ---- what the controller looks at */

static bool statuses_changed(const struct json *old, const struct json *obj)
{
	json_for_each(it, old)
	{
		const struct json *now = json_find_by(obj, "name", json_str_at(it.val, "name"));

		if (now && !json_equal(json_get(now, "resources"), json_get(it.val, "resources")) &&
		    (json_get(now, "resources") || json_get(it.val, "resources")))
			return true;
	}
	return false;
}

static struct str service_kind(const struct json *svc)
{
	struct str type = json_str_at(svc, "spec.type");

	return str_eqz(type, "NodePort") || str_eqz(type, "LoadBalancer") ? type : STR_EMPTY;
}

bool quota_change_matters(struct str gr, const struct json *old, const struct json *obj,
			  struct wall now)
{
	if (str_eqz(gr, PODS))
		return statuses_changed(json_at(old, "status.containerStatuses"),
					json_at(obj, "status.containerStatuses")) ||
		       statuses_changed(json_at(old, "status.initContainerStatuses"),
					json_at(obj, "status.initContainerStatuses")) ||
		       pod_terminating(old) != pod_terminating(obj) ||
		       (pod_is_charged(old, now) && !pod_is_charged(obj, now));
	if (str_eqz(gr, SERVICES))
		return !str_eq(service_kind(old), service_kind(obj));
	return str_eqz(gr, CLAIMS) && allocated_changed(obj, old);
}
