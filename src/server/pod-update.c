/* SPDX-License-Identifier: Apache-2.0 */

/* What of a Pod may change, by whom. */

#include "server/pod-update.h"

#include "api/meta.h"
#include "base/arena.h"
#include "server/pod-spec.h"
#include "server/request.h"
#include "server/resource.h"
#include "server/valid.h"
#include "json/json.h"

#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"
#define DEADLINE_MAX      2147483647

static bool pod_sub(const struct api_request *rq, const char *name)
{
	return rq->subres && str_eqz(rq->subres->name, name);
}

static void take(struct arena *a, struct json *o, const struct json *from, const char *key)
{
	const struct json *v = json_get(from, key);

	if (v)
		json_set(a, o, key, json_copy(a, v));
	else
		json_delz(o, key);
}

/* ---- what subresources leave alone */

static bool same_names(const struct json *is, const struct json *was)
{
	if (json_len(is) != json_len(was))
		return false;
	json_for_each(it, is)
	{
		if (!str_eq(json_str_at(it.val, "name"), json_str_at(json_idx(was, it.i), "name")))
			return false;
	}
	return true;
}

/* The old containers with the new ones' resources; as they are when they are not the same. */
static struct json *resized(struct arena *a, const struct json *is, const struct json *was)
{
	struct json *list;

	if (!is || !same_names(is, was))
		return is ? json_copy(a, is) : NULL;
	list = json_copy(a, was);
	json_for_each(it, list)
	{
		take(a, it.val, json_idx(is, it.i), "resources");
		take(a, it.val, json_idx(is, it.i), "resizePolicy");
	}
	return list;
}

static void set_or_del(struct arena *a, struct json *o, const char *key, struct json *v)
{
	if (v)
		json_set(a, o, key, v);
	else
		json_delz(o, key);
}

void pod_isolate(struct api_request *rq, struct json *obj, const struct json *old)
{
	static const char *const meta[] = { "deletionTimestamp", "deletionGracePeriodSeconds",
					    "ownerReferences",   "finalizers",
					    "annotations",       "labels" };
	struct arena *a = rq->arena;
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	bool resize = pod_sub(rq, "resize");
	struct json *spec = json_copy(a, was);

	if (!resize && !pod_sub(rq, "ephemeralcontainers"))
		return;
	if (!resize) {
		take(a, spec, is, "ephemeralContainers");
	} else {
		/* who adds or removes containers is told so */
		if (json_len(json_get(is, "containers")) != json_len(json_get(was, "containers")) ||
		    json_len(json_get(is, "initContainers")) !=
			    json_len(json_get(was, "initContainers")))
			return;
		take(a, spec, is, "resources");
		set_or_del(a, spec, "containers",
			   resized(a, json_get(is, "containers"), json_get(was, "containers")));
		set_or_del(a, spec, "initContainers",
			   resized(a, json_get(is, "initContainers"),
				   json_get(was, "initContainers")));
	}
	json_set(a, obj, "spec", spec);
	take(a, obj, old, "status");
	for (size_t i = 0; i < ARRAY_LEN(meta); i++)
		take(a, json_sub(a, obj, "metadata"), json_get(old, "metadata"), meta[i]);
}

/* ---- ephemeralcontainers */

static void root_forbidden(const struct valid *v, const char *text)
{
	valid_forbidden(v, AT(NULL, ""), "%s", text);
}

static void ephemeral_update(const struct valid *v, const struct json *obj, const struct json *old)
{
	const struct json *is = json_at(obj, "spec.ephemeralContainers");
	const struct place *p = AT(AT(NULL, "spec"), "ephemeralContainers");

	if (json_get(meta_annotations(old), MIRROR_ANNOTATION)) {
		root_forbidden(v, "static pods do not support ephemeral containers");
		return;
	}
	json_for_each(it, json_at(old, "spec.ephemeralContainers"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct json *now = json_find_by(is, "name", name);

		if (!now)
			valid_forbidden(v, p,
					"existing ephemeral containers \"" STR_FMT
					"\" may not be removed\n",
					STR_ARG(name));
		else if (!json_equal(now, it.val))
			valid_forbidden(v, p,
					"existing ephemeral containers \"" STR_FMT
					"\" may not be changed\n",
					STR_ARG(name));
	}
}

/* ---- resize */

static bool resize_order(const struct valid *v, const struct json *is, const struct json *was,
			 const char *list, const struct place *spec)
{
	const struct json *now = json_get(is, list), *then = json_get(was, list);
	const struct place *p = AT(spec, list);
	bool ok = true;

	if (json_len(now) != json_len(then)) {
		valid_forbidden(v, p, "%s may not be added or removed on resize", list);
		return false;
	}
	json_for_each(it, then)
	{
		if (str_eq(json_str_at(it.val, "name"), json_str_at(json_idx(now, it.i), "name")))
			continue;
		valid_forbidden(v, AT(AT_IDX(p, it.i), "name"),
				"%s may not be renamed or reordered on resize", list);
		ok = false;
	}
	return ok;
}

static void resources_kept(const struct valid *v, const struct json *is, const struct json *was,
			   const char *what, const struct place *p)
{
	const struct json *now = json_get(is, what);

	json_for_each(it, json_get(was, what))
	{
		if (json_get_s(now, it.key))
			continue;
		valid_forbidden(v, AT(p, what), "resource %s cannot be removed", what);
		return;
	}
}

static bool resizable(struct str resource)
{
	return str_eqz(resource, "cpu") || str_eqz(resource, "memory");
}

/* Something but cpu and memory differs. */
static bool resources_differ(const struct json *is, const struct json *was, const char *what)
{
	const struct json *now = json_get(is, what), *then = json_get(was, what);

	json_for_each(it, now)
	{
		if (!resizable(it.key) && !json_equal(it.val, json_get_s(then, it.key)))
			return true;
	}
	json_for_each(it, then)
	{
		if (!resizable(it.key) && !json_get_s(now, it.key))
			return true;
	}
	return false;
}

static bool container_differs(struct arena *a, const struct json *is, const struct json *was)
{
	const struct json *now = json_get(is, "resources"), *then = json_get(was, "resources");
	struct json *rest = json_copy(a, is);

	take(a, rest, was, "resources");
	return !json_equal(rest, was) || resources_differ(now, then, "limits") ||
	       resources_differ(now, then, "requests") ||
	       !valid_same(json_get(now, "claims"), json_get(then, "claims"));
}

static void resize_init(const struct valid *v, const struct json *is, const struct json *was,
			const struct place *spec)
{
	json_for_each(it, json_get(was, "initContainers"))
	{
		const struct json *now = json_idx(json_get(is, "initContainers"), it.i);
		const struct place *p = AT_IDX(AT(spec, "initContainers"), it.i);
		bool sidecar = str_eqz(json_str_at(it.val, "restartPolicy"), "Always");

		if (sidecar && container_differs(v->a, now, it.val))
			valid_forbidden(v, p,
					"only cpu and memory resources for init or sidecar "
					"containers are mutable");
		else if (!sidecar && !json_equal(now, it.val))
			valid_forbidden(v, spec,
					"resources for non-sidecar init containers are immutable");
	}
}

static void resize_containers(const struct valid *v, const struct json *is, const struct json *was,
			      const struct place *spec)
{
	static const char *const lists[] = { "initContainers", "containers" };
	static const char *const whats[] = { "requests", "limits" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(was, lists[i]))
		{
			const struct json *now = json_idx(json_get(is, lists[i]), it.i);
			const struct place *p = AT(AT_IDX(AT(spec, lists[i]), it.i), "resources");

			if (!i && !str_eqz(json_str_at(it.val, "restartPolicy"), "Always"))
				continue;
			for (size_t k = 0; k < ARRAY_LEN(whats); k++)
				resources_kept(v, json_get(now, "resources"),
					       json_get(it.val, "resources"), whats[k], p);
		}
	}
	json_for_each(it, json_get(was, "containers"))
	{
		if (container_differs(v->a, json_idx(json_get(is, "containers"), it.i), it.val))
			valid_forbidden(v, spec, "only cpu and memory resources are mutable");
	}
	resize_init(v, is, was, spec);
}

/* A node too old for it says nothing of what its containers have. */
static bool node_resizes(const struct json *pod)
{
	json_for_each(it, json_at(pod, "status.containerStatuses"))
	{
		if (json_at(it.val, "state.running"))
			return json_get(it.val, "resources") != NULL;
	}
	return true;
}

static void resize_update(const struct valid *v, const struct json *obj, const struct json *old)
{
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	struct str class = json_str_at(old, "status.qosClass");
	const struct place *p = AT(NULL, "spec");
	bool ordered;

	if (json_get(meta_annotations(old), MIRROR_ANNOTATION)) {
		root_forbidden(v, "static pods cannot be resized");
		return;
	}
	if (str_eqz(json_str_at(was, "os.name"), "windows")) {
		root_forbidden(v, "windows pods cannot be resized");
		return;
	}
	if (str_empty(class))
		class = pod_qos_class(was);
	if (!str_eq(class, pod_qos_class(is)))
		valid_invalid_str(v, p, class,
				  "Pod QOS Class may not change as a result of resizing");
	if (!node_resizes(old))
		valid_forbidden(v, p, "Pod running on node without support for resize");
	ordered = resize_order(v, is, was, "containers", p);
	ordered = resize_order(v, is, was, "initContainers", p) && ordered;
	if (ordered)
		resize_containers(v, is, was, p);
}

/* ---- the Pod itself */

static bool containers_update(const struct valid *v, const struct json *is, const struct json *was,
			      const char *list, const struct place *spec)
{
	const struct place *p = AT(spec, list);

	if (json_len(json_get(is, list)) != json_len(json_get(was, list))) {
		valid_forbidden(v, p, "pod updates may not add or remove containers");
		return false;
	}
	json_for_each(it, json_get(is, list))
	{
		struct str image = json_str_at(it.val, "image");

		if (str_empty(image))
			valid_required(v, AT(AT_IDX(p, it.i), "image"), NULL);
		if (str_trim(image).n != image.n)
			valid_invalid_str(v, AT(AT_IDX(p, it.i), "image"), image,
					  "must not have leading or trailing whitespace");
	}
	return true;
}

static bool deadline_update(const struct valid *v, const struct json *is, const struct json *was,
			    const struct place *spec)
{
	const struct json *now = json_get(is, "activeDeadlineSeconds"),
			  *then = json_get(was, "activeDeadlineSeconds");
	const struct place *p = AT(spec, "activeDeadlineSeconds");
	int64_t n = json_as_int(now, 0);

	if (!now && then)
		valid_invalid(v, p, NULL, "must not update from a positive integer to nil value");
	if (!now)
		return true;
	if (n < 0 || n > DEADLINE_MAX) {
		valid_invalid(v, p, now, "must be between 0 and %d, inclusive", DEADLINE_MAX);
		return false;
	}
	if (then && json_as_int(then, 0) < n) {
		valid_invalid(v, p, now, "must be less than or equal to previous value");
		return false;
	}
	return true;
}

static bool toleration_kept(const struct json *was, const struct json *is)
{
	static const char *const keys[] = { "key", "operator", "value", "effect" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!str_eq(json_str_at(was, keys[i]), json_str_at(is, keys[i])))
			return false;
	}
	return true;
}

static void tolerations_update(const struct valid *v, const struct json *is, const struct json *was,
			       const struct place *spec)
{
	json_for_each(w, json_get(was, "tolerations"))
	{
		bool kept = false;

		json_for_each(n, json_get(is, "tolerations")) kept |= toleration_kept(w.val, n.val);
		if (kept)
			continue;
		valid_forbidden(v, AT(spec, "tolerations"),
				"existing toleration can not be modified except its "
				"tolerationSeconds");
		return;
	}
}

static void gates_update(const struct valid *v, const struct json *is, const struct json *was,
			 const struct place *spec)
{
	const struct place *p = AT(spec, "schedulingGates");

	json_for_each(it, json_get(is, "schedulingGates"))
	{
		struct str name = json_str_at(it.val, "name");

		if (!json_find_by(json_get(was, "schedulingGates"), "name", name))
			valid_forbidden(v, AT(AT_IDX(p, it.i), "name"),
					"only deletion is allowed, but found new scheduling gate "
					"'" STR_FMT "'",
					STR_ARG(name));
	}
}

static void take_images(struct arena *a, struct json *spec, const struct json *old,
			const char *list)
{
	json_for_each(it, json_get(spec, list))
		take(a, it.val, json_idx(json_get(old, list), it.i), "image");
}

/* Nodes may be narrowed down as long as a Pod is not for the scheduler yet. */
static void gated_update(const struct valid *v, struct json *spec, const struct json *was,
			 const struct place *p)
{
	const struct json *now = json_get(spec, "nodeSelector"), *affinity;

	json_for_each(it, json_get(was, "nodeSelector"))
	{
		if (json_equal(it.val, json_get_s(now, it.key)))
			continue;
		valid_invalid(v, AT(p, "nodeSelector"), now,
			      "only additions to spec.nodeSelector are allowed (no mutations or "
			      "deletions)");
		break;
	}
	take(v->a, spec, was, "nodeSelector");
	affinity = json_get(was, "affinity");
	if (json_get(spec, "affinity") && affinity)
		take(v->a, json_get(spec, "affinity"), affinity, "nodeAffinity");
	else if (!json_at(spec, "affinity.podAffinity") &&
		 !json_at(spec, "affinity.podAntiAffinity"))
		take(v->a, spec, was, "affinity");
}

static void spec_update(const struct valid *v, const struct json *is, const struct json *was,
			const struct place *p)
{
	static const char *const free[] = { "activeDeadlineSeconds", "schedulingGates",
					    "tolerations" };
	struct json *spec = json_copy(v->a, is);

	take_images(v->a, spec, was, "containers");
	take_images(v->a, spec, was, "initContainers");
	for (size_t i = 0; i < ARRAY_LEN(free); i++)
		take(v->a, spec, was, free[i]);
	if (json_int_at(spec, "terminationGracePeriodSeconds", 0) == 1 &&
	    json_int_at(was, "terminationGracePeriodSeconds", 0) < 0)
		take(v->a, spec, was, "terminationGracePeriodSeconds");
	if (json_len(json_get(was, "schedulingGates")))
		gated_update(v, spec, was, p);
	if (!json_equal(spec, was))
		valid_forbidden(
			v, p,
			"pod updates may not change fields other than "
			"`spec.containers[*].image`,`spec.initContainers[*].image`,"
			"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
			"existing tolerations),`spec.terminationGracePeriodSeconds` (allow it "
			"to be set to 1 if it was previously negative)");
}

void pod_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	const struct place *p = AT(NULL, "spec");

	if (pod_sub(rq, "ephemeralcontainers"))
		ephemeral_update(&v, obj, old);
	else if (pod_sub(rq, "resize"))
		resize_update(&v, obj, old);
	if (rq->subres) /* binding is how a Pod gets its node */
		return;
	if (!containers_update(&v, is, was, "containers", p) ||
	    !containers_update(&v, is, was, "initContainers", p) ||
	    !deadline_update(&v, is, was, p))
		return;
	tolerations_update(&v, is, was, p);
	gates_update(&v, is, was, p);
	if (!json_equal(is, was))
		spec_update(&v, is, was, p);
}
