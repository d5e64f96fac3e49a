/* SPDX-License-Identifier: Apache-2.0 */

/* PodSecurity: what a namespace's labels let its Pods do. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/audit.h"
#include "server/builtin-admission.h"
#include "server/errors.h"
#include "server/pod-security.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

/* Of a namespace whose level is raised. */
#define MAX_CHECKED 3000

/* Where a kind has its Pod; "" is the object itself. */
static const struct {
	const char *store_name, *pod;
} templates[] = {
	{ "pods", "" },
	{ "replicationcontrollers", "spec.template" },
	{ "podtemplates", "template" },
	{ "replicasets.apps", "spec.template" },
	{ "deployments.apps", "spec.template" },
	{ "statefulsets.apps", "spec.template" },
	{ "daemonsets.apps", "spec.template" },
	{ "jobs.batch", "spec.template" },
	{ "cronjobs.batch", "spec.jobTemplate.spec.template" },
};

static const char *template_of(const struct admission *ad)
{
	for (size_t i = 0; i < ARRAY_LEN(templates); i++)
		if (str_eqz(ad->res->store_name, templates[i].store_name))
			return templates[i].pod;
	return NULL;
}

static bool is_pod(const struct admission *ad)
{
	return str_eqz(ad->res->store_name, "pods");
}

static bool is_namespace(const struct admission *ad)
{
	return str_eqz(ad->res->store_name, "namespaces");
}

static bool security_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	if (ad->op != ADMISSION_CREATE && ad->op != ADMISSION_UPDATE)
		return false;
	if (is_pod(ad))
		return !ad->sub.n || str_eqz(ad->sub, "ephemeralcontainers") ||
		       str_eqz(ad->sub, "resize");
	return !ad->sub.n && (is_namespace(ad) || template_of(ad));
}

/* ---- Pods and what makes them */

/* The labels that matter; NULL: none, so everything goes. */
static struct err *security_labels(const struct admission *ad, struct json **ret)
{
	struct arena *a = ad->rq->arena;
	_cleanup_obj_ const struct obj *ns = NULL;

	*ret = NULL;
	TRY(local_get(ad->rq->server, "namespaces", STR_EMPTY, ad->ns, &ns));
	for (size_t i = 0; ns && i < ns->n_labels; i++) {
		if (!str_has_prefix(ns->labels[i].key, STR(POD_SECURITY_PREFIX)))
			continue;
		if (!*ret)
			*ret = json_object(a);
		json_set_s(a, *ret, arena_str(a, ns->labels[i].key),
			   json_strcpy(a, ns->labels[i].val));
	}
	return NULL;
}

static bool images_differ(const struct json *now, const struct json *was, bool by_name)
{
	json_for_each(it, now)
	{
		const struct json *old =
			by_name ? json_find_by(was, "name", json_str_at(it.val, "name"))
				: json_idx(was, it.i);

		if (!old || !str_eq(json_str_at(it.val, "image"), json_str_at(old, "image")))
			return true;
	}
	return false;
}

/* Of a living Pod only images change, and ephemeral containers come. */
static bool pod_changed(const struct json *pod, const struct json *old)
{
	static const char *const lists[] = { "containers", "initContainers" };
	const struct json *spec = json_get(pod, "spec"), *was = json_get(old, "spec");

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *x = json_get(spec, lists[i]), *y = json_get(was, lists[i]);

		if (json_len(x) != json_len(y) || images_differ(x, y, false))
			return true;
	}
	return images_differ(json_get(spec, "ephemeralContainers"),
			     json_get(was, "ephemeralContainers"), true);
}

static void security_warn(struct admission *ad, struct pod_security p, struct str bad)
{
	request_warn(ad->rq, "would violate PodSecurity \"" STR_FMT "\": " STR_FMT,
		     STR_ARG(pod_security_text(ad->rq->arena, p)), STR_ARG(bad));
}

static void security_audit(struct admission *ad, struct pod_security p, struct str bad)
{
	struct arena *a = ad->rq->arena;

	if (!bad.n)
		return;
	audit_annotate(ad->rq, POD_SECURITY_PREFIX "audit-violations",
		       arena_fmt(a, "would violate PodSecurity \"" STR_FMT "\": " STR_FMT,
				 STR_ARG(pod_security_text(a, p)), STR_ARG(bad)));
}

static struct err *security_check_pod(struct admission *ad, struct json *labels)
{
	struct arena *a = ad->rq->arena;
	struct pod_security_policy p = pod_security_policy(a, labels, NULL);
	const struct json *pod = ad->obj, *meta, *spec;
	const char *at = template_of(ad);
	struct err *denied = NULL;
	struct str bad;

	if (*at)
		pod = json_at(ad->obj, at);
	meta = json_get(pod, "metadata");
	spec = json_get(pod, "spec");
	if (!spec)
		return NULL;
	if (is_pod(ad)) {
		audit_annotate(ad->rq, POD_SECURITY_PREFIX "enforce-policy",
			       pod_security_text(a, p.enforce));
		bad = pod_security_check(a, p.enforce, meta, spec, true);
		if (bad.n)
			denied = admission_deny(
				ad, "violates PodSecurity \"" STR_FMT "\": " STR_FMT,
				STR_ARG(pod_security_text(a, p.enforce)), STR_ARG(bad));
	}
	if (ad->rq->audit)
		security_audit(ad, p.audit, pod_security_check(a, p.audit, meta, spec, true));
	if (denied)
		return denied;
	bad = pod_security_check(a, p.warn, meta, spec, true);
	if (bad.n)
		security_warn(ad, p.warn, bad);
	return NULL;
}

/* ---- namespaces */

/* Pods of a namespace by what is wrong with them. */
struct relabel {
	struct arena *a;
	struct pod_security p;
	struct json *found; /* text -> [first name, number] */
	size_t n, checked;
};

static void relabel_pod(const struct obj *o, void *ctx)
{
	struct relabel *r = ctx;
	const struct json *t;
	struct str bad;
	struct json *e;

	if (r->n++ >= MAX_CHECKED)
		return;
	r->checked++;
	t = obj_tree(o);
	bad = pod_security_check(r->a, r->p, json_get(t, "metadata"), json_get(t, "spec"), false);
	obj_forget_tree(o);
	if (!bad.n)
		return;
	e = json_get_s(r->found, bad);
	if (e) {
		json_replace_idx(e, 1, json_int(r->a, json_as_int(json_idx(e, 1), 0) + 1));
		return;
	}
	e = json_array(r->a);
	json_push(e, json_strcpy(r->a, o->name));
	json_push(e, json_int(r->a, 1));
	json_set_s(r->a, r->found, bad, e);
}

static struct str relabel_line(struct arena *a, struct str text, const struct json *e)
{
	struct str name = json_as_str(json_idx(e, 0));
	int64_t n = json_as_int(json_idx(e, 1), 0);

	if (n == 1)
		return arena_fmt(a, STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(text));
	if (n == 2)
		return arena_fmt(a, STR_FMT " (and 1 other pod): " STR_FMT, STR_ARG(name),
				 STR_ARG(text));
	return arena_fmt(a, STR_FMT " (and %lld other pods): " STR_FMT, STR_ARG(name),
			 (long long)n - 1, STR_ARG(text));
}

static void relabel_report(struct admission *ad, const struct relabel *r)
{
	struct json *lines = json_array(r->a);

	if (r->checked < r->n)
		request_warn(ad->rq,
			     "new PodSecurity enforce level only checked against the first %zu of "
			     "%zu existing pods",
			     r->checked, r->n);
	if (!json_len(r->found))
		return;
	request_warn(ad->rq,
		     "existing pods in namespace \"" STR_FMT
		     "\" violate the new PodSecurity enforce level \"" STR_FMT "\"",
		     STR_ARG(ad->name), STR_ARG(pod_security_text(r->a, r->p)));
	json_for_each(it, r->found)
	{
		struct str line = relabel_line(r->a, it.key, it.val);
		size_t i = 0;

		while (i < json_len(lines) && str_cmp(json_as_str(json_idx(lines, i)), line) < 0)
			i++;
		json_insert_idx(lines, i, json_str(r->a, line));
	}
	json_for_each(it, lines) request_warn(ad->rq, STR_FMT, STR_ARG(json_as_str(it.val)));
}

static bool relabel_raises(struct pod_security now, struct pod_security was)
{
	if (pod_security_same(now, was) || now.level == POD_PRIVILEGED)
		return false;
	return now.minor != was.minor || now.level > was.level;
}

static bool causes_equal(const struct err *x, const struct err *y)
{
	if (!y || err_n_causes(x) != err_n_causes(y))
		return false;
	for (size_t i = 0; i < err_n_causes(x); i++)
		if (!str_eq(err_get_cause(x, i).message, err_get_cause(y, i).message) ||
		    !str_eq(err_get_cause(x, i).field, err_get_cause(y, i).field))
			return false;
	return true;
}

static struct err *security_check_namespace(struct admission *ad)
{
	struct relabel r = { .a = ad->rq->arena };
	struct pod_security_policy now, was;
	struct err *e = NULL;
	_cleanup_err_ struct err *old = NULL;

	now = pod_security_policy(r.a, meta_labels(ad->obj), &e);
	was = pod_security_policy(r.a, meta_labels(ad->old), &old);
	if (e && (ad->op == ADMISSION_CREATE || !causes_equal(e, old)))
		return error_invalid(e, STR_EMPTY, STR("Namespace"), ad->name);
	err_free(e);
	if (ad->op == ADMISSION_CREATE || !relabel_raises(now.enforce, was.enforce))
		return NULL;
	r.p = now.enforce;
	r.found = json_object(r.a);
	TRY(local_list(ad->rq->server, "pods", ad->name, relabel_pod, &r));
	relabel_report(ad, &r);
	return NULL;
}

static struct err *security_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct json *labels = NULL;

	if (is_namespace(ad))
		return security_check_namespace(ad);
	TRY(security_labels(ad, &labels));
	if (!labels && ad->rq->audit && is_pod(ad))
		audit_annotate(ad->rq, POD_SECURITY_PREFIX "enforce-policy",
			       STR("privileged:latest"));
	if (!labels || (is_pod(ad) && ad->old && !pod_changed(ad->obj, ad->old)))
		return NULL;
	return security_check_pod(ad, labels);
}

struct admission_plugin pod_security_plugin = {
	.name = "PodSecurity",
	.wants = security_wants,
	.validate = security_validate,
};
