/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook.h"

#include <stdlib.h>

#include "api/gvk.h"
#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/errors.h"
#include "server/mirror.h"
#include "server/object.h"
#include "server/server.h"
#include "server/table.h"
#include "server/webhook-review.h"
#include "json/json.h"
#include "json/patch.h"

#define MUTATING   "mutatingwebhookconfigurations.admissionregistration.k8s.io"
#define VALIDATING "validatingwebhookconfigurations.admissionregistration.k8s.io"

static struct webhooks {
	struct admission_plugin plugin;
	struct mirror mutating, validating;
} webhooks;

/* ---- rules */

static bool webhook_list_has(const struct json *list, struct str val)
{
	json_for_each(it, list) if (str_eqz(json_as_str(it.val), "*") ||
				    str_eq(json_as_str(it.val), val)) return true;
	return false;
}

/* RESOURCE or RESOURCE/SUBRESOURCE, each of which may be a star; a star alone is no subresource. */
static bool webhook_resource_fits(struct str pattern, struct str resource, struct str sub)
{
	struct str res;
	bool has_sub = str_contains(pattern, STR("/"));

	str_cut(&pattern, '/', &res);
	if (!str_eqz(res, "*") && !str_eq(res, resource))
		return false;
	if (!has_sub)
		return !sub.n;
	return str_eqz(pattern, "*") || str_eq(pattern, sub);
}

static bool webhook_scope_fits(const struct json *rule, bool namespaced)
{
	struct str scope = json_str_at(rule, "scope");

	if (str_eqz(scope, "Namespaced"))
		return namespaced;
	if (str_eqz(scope, "Cluster"))
		return !namespaced;
	return true;
}

static bool webhook_rule_fits(const struct json *rule, const struct admission *ad,
			      struct str version)
{
	bool found = false;

	if (!webhook_list_has(json_get(rule, "operations"), admission_op_name(ad->op)) ||
	    !webhook_list_has(json_get(rule, "apiGroups"), ad->res->group) ||
	    !webhook_list_has(json_get(rule, "apiVersions"), version) ||
	    !webhook_scope_fits(rule, ad->res->namespaced))
		return false;
	json_for_each(it, json_get(rule, "resources")) found |=
		webhook_resource_fits(json_as_str(it.val), ad->res->plural, ad->sub);
	return found;
}

/* The version in which the webhook wants to see the object; NULL: not at all. */
static const struct resource_version *webhook_version(const struct json *hook,
						      const struct admission *ad)
{
	const struct json *rules = json_get(hook, "rules");

	json_for_each(it, rules) if (webhook_rule_fits(it.val, ad, ad->v->version)) return ad->v;
	if (str_eqz(json_str_at(hook, "matchPolicy"), "Exact"))
		return NULL;
	for (size_t i = 0; i < ad->res->n_versions; i++) {
		const struct resource_version *v = &ad->res->versions[i];

		if (!v->served || v == ad->v)
			continue;
		json_for_each(it, rules) if (webhook_rule_fits(it.val, ad, v->version)) return v;
	}
	return NULL;
}

/* ---- selectors */

static struct err *webhook_selector(const struct admission *ad, const struct json *hook,
				    const char *member, struct selector **ret)
{
	const struct json *sel = json_get(hook, member);
	struct json *empty = json_object(ad->rq->arena);

	return label_selector_from_json(ad->rq->arena, sel ? sel : empty, ret);
}

static struct err *webhook_namespace_labels(const struct admission *ad, const struct json **ret)
{
	bool is_ns = str_eqz(ad->res->store_name, "namespaces");
	struct json *ns = NULL;

	*ret = NULL;
	if (is_ns && ad->op != ADMISSION_DELETE) {
		*ret = meta_labels(ad->obj);
		return NULL;
	}
	TRY(local_get_json(ad->rq->server, ad->rq->arena, "namespaces", STR_EMPTY,
			   is_ns ? ad->name : ad->ns, &ns));
	*ret = meta_labels(ns);
	return NULL;
}

static struct err *webhook_selected(const struct admission *ad, const struct json *hook, bool *ret)
{
	struct selector *objects = NULL, *namespaces = NULL;
	const struct json *labels;

	*ret = false;
	TRY(webhook_selector(ad, hook, "objectSelector", &objects));
	if (!selector_empty(objects) &&
	    !(ad->obj && selector_matches(objects, meta_labels(ad->obj))) &&
	    !(ad->old && selector_matches(objects, meta_labels(ad->old))))
		return NULL;
	TRY(webhook_selector(ad, hook, "namespaceSelector", &namespaces));
	if (!selector_empty(namespaces) &&
	    (ad->res->namespaced || str_eqz(ad->res->store_name, "namespaces"))) {
		TRY(webhook_namespace_labels(ad, &labels));
		if (!selector_matches(namespaces, labels))
			return NULL;
	}
	*ret = true;
	return NULL;
}

/* ---- the chain */

static int webhook_by_name(const void *x, const void *y)
{
	const struct obj *const *a = x, *const *b = y;

	return str_cmp((*a)->name, (*b)->name);
}

/* Configurations by name, held by the arena: they may change while we wait for an answer. */
static void webhook_unref_obj(void *p)
{
	obj_unref(p);
}

static const struct obj **webhook_configs(struct arena *a, const struct mirror *m, size_t *ret_n)
{
	const struct obj **v = arena_array(a, m->objs.n + 1, sizeof(*v));
	size_t n = 0;

	map_for_each(e, &m->objs) {
		v[n++] = obj_ref(e->val);
		arena_defer(a, webhook_unref_obj, e->val);
	}
	if (n)
		qsort(v, n, sizeof(*v), webhook_by_name);
	*ret_n = n;
	return v;
}

static struct err *webhook_dry_run(const struct admission *ad, const struct json *hook)
{
	struct str effects = json_str_at(hook, "sideEffects");

	if (!ad->dry_run || str_eqz(effects, "None") || str_eqz(effects, "NoneOnDryRun"))
		return NULL;
	return err_new(ERR_BAD_REQUEST,
		       "admission webhook \"" STR_FMT "\" does not support dry run",
		       STR_ARG(json_str_at(hook, "name")));
}

static struct err *webhook_apply(struct admission *ad, const struct resource_version *v,
				 const struct json *patch, bool *ret_changed)
{
	struct arena *a = ad->rq->arena;
	struct json *next = NULL;
	struct str api_version = json_str_at(ad->obj, "apiVersion");
	struct err *e;

	e = json_patch_apply(a, ad->obj, patch, &next);
	if (e)
		return err_recode(err_wrap(e, "Internal error occurred"), ERR_INTERNAL);
	if (!json_is(next, JSON_OBJECT))
		return err_new(ERR_INTERNAL, "Internal error occurred: the patch left no object");
	if (api_version.n)
		json_set_str(a, next, "apiVersion", api_version);
	if (json_equal(next, ad->obj))
		return NULL;
	ad->obj = next;
	/* what the webhook added gets the treatment of what a client sent */
	if (!ad->sub.n) {
		object_prune(ad->rq, ad->obj, NULL);
		object_default(ad->rq, ad->obj);
	}
	*ret_changed = true;
	return NULL;
}

static struct err *webhook_call_one(struct admission *ad, const struct json *hook, bool mutating,
				    bool *ret_called, bool *ret_changed)
{
	struct webhook_call c = { .ad = ad, .hook = hook, .mutating = mutating };
	struct json *patch = NULL;
	bool selected = false;

	c.v = webhook_version(hook, ad);
	if (!c.v)
		return NULL;
	TRY(webhook_selected(ad, hook, &selected));
	if (!selected)
		return NULL;
	TRY(webhook_dry_run(ad, hook));
	*ret_called = true;
	TRY(webhook_review(&c, &patch));
	return patch && ad->obj ? webhook_apply(ad, c.v, patch, ret_changed) : NULL;
}

/* Which webhooks ran, and after which change: for the second pass. */
struct webhook_pass {
	struct json *called; /* [config, webhook] -> number of changes seen before its call ended */
	size_t changes;
};

static struct err *webhook_mutate_all(struct admission *ad, struct webhook_pass *p, bool again)
{
	struct arena *a = ad->rq->arena;
	const struct obj **v;
	size_t n;

	v = webhook_configs(a, &webhooks.mutating, &n);
	for (size_t i = 0; i < n; i++) {
		json_for_each(it, json_get(obj_tree(v[i]), "webhooks"))
		{
			struct str key = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(v[i]->name),
						   STR_ARG(json_str_at(it.val, "name")));
			const struct json *seen = json_get_s(p->called, key);
			bool called = false, changed = false;

			if (again &&
			    (!str_eqz(json_str_at(it.val, "reinvocationPolicy"), "IfNeeded") ||
			     !seen || json_as_int(seen, 0) == (int64_t)p->changes))
				continue;
			TRY(webhook_call_one(ad, it.val, true, &called, &changed));
			p->changes += changed;
			if (called)
				json_set_s(a, p->called, key, json_int(a, (int64_t)p->changes));
		}
	}
	return NULL;
}

static struct err *webhook_mutate(struct admission_plugin *pl UNUSED, struct admission *ad)
{
	struct webhook_pass p = { .called = json_object(ad->rq->arena) };

	if (!webhooks.mutating.objs.n)
		return NULL;
	TRY(webhook_mutate_all(ad, &p, false));
	return p.changes ? webhook_mutate_all(ad, &p, true) : NULL;
}

static struct err *webhook_validate(struct admission_plugin *pl UNUSED, struct admission *ad)
{
	const struct obj **v;
	size_t n;

	v = webhook_configs(ad->rq->arena, &webhooks.validating, &n);
	for (size_t i = 0; i < n; i++) {
		json_for_each(it, json_get(obj_tree(v[i]), "webhooks"))
		{
			bool called = false, changed = false;

			TRY(webhook_call_one(ad, it.val, false, &called, &changed));
		}
	}
	return NULL;
}

static bool webhook_mirror_wants(const struct mirror *m, const struct admission *ad)
{
	map_for_each(e, &m->objs)
		json_for_each(it,
			      json_get(obj_tree(e->val),
				       "webhooks")) if (webhook_version(it.val, ad)) return true;
	return false;
}

static bool webhook_wants(struct admission_plugin *pl UNUSED, const struct admission *ad)
{
	/* never the configurations themselves: one could lock everybody out */
	if (str_eqz(ad->res->group, "admissionregistration.k8s.io"))
		return false;
	return webhook_mirror_wants(&webhooks.mutating, ad) ||
	       webhook_mirror_wants(&webhooks.validating, ad);
}

/* ---- the configurations' own rules */

static void webhook_check_url(struct err **e, struct arena *a, const struct json *cc,
			      struct str base)
{
	struct str url = json_str_at(cc, "url");
	struct str at = arena_fmt(a, STR_FMT ".url", STR_ARG(base));

	if ((url.n != 0) == (json_get(cc, "service") != NULL)) {
		cause_required(e, base, "exactly one of url or service is required");
		return;
	}
	if (url.n && !str_has_prefix(url, STR("https://")))
		cause_invalid_str(e, at, url,
				  "'https' is the only allowed URL scheme; desired format: "
				  "https://host[/path]");
	else if (url.n && (str_contains(url, STR("?")) || str_contains(url, STR("@"))))
		cause_invalid_str(
			e, at, url,
			"query parameters and user information are not permitted in the URL");
}

static size_t webhook_labels(struct str name)
{
	size_t n = 1;

	for (size_t i = 0; i < name.n; i++)
		n += name.p[i] == '.';
	return n;
}

static void webhook_check_hook(struct err **e, struct arena *a, const struct json *hook,
			       struct str base)
{
	struct str name = json_str_at(hook, "name");
	int64_t timeout = json_int_at(hook, "timeoutSeconds", 10);
	struct str at = arena_fmt(a, STR_FMT ".name", STR_ARG(base));
	const char *bad = name.n ? name_check_dns_subdomain(name) : NULL;

	if (bad)
		cause_invalid_str(e, at, name, "%s", bad);
	else if (name.n && webhook_labels(name) < 3)
		cause_invalid_str(
			e, at, name,
			"should be a domain with at least three segments separated by dots");
	if (timeout < 1 || timeout > 30)
		cause_invalid(e, arena_fmt(a, STR_FMT ".timeoutSeconds", STR_ARG(base)),
			      json_get(hook, "timeoutSeconds"),
			      "the timeout value must be between 1 and 30 seconds");
	if (json_get(hook, "clientConfig"))
		webhook_check_url(e, a, json_get(hook, "clientConfig"),
				  arena_fmt(a, STR_FMT ".clientConfig", STR_ARG(base)));
	if (json_len(json_get(hook, "matchConditions")))
		cause_forbidden(e, arena_fmt(a, STR_FMT ".matchConditions", STR_ARG(base)),
				"match conditions are not supported by this server");
}

static void webhook_check(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct arena *a = rq->arena;
	const struct json *hooks = json_get(obj, "webhooks");

	json_for_each(it, hooks)
	{
		struct str base = arena_fmt(a, "webhooks[%zu]", it.i);

		webhook_check_hook(e, a, it.val, base);
		for (size_t k = 0; k < it.i; k++)
			if (json_equal(json_get(json_idx(hooks, k), "name"),
				       json_get(it.val, "name")))
				cause_duplicate(e, arena_fmt(a, STR_FMT ".name", STR_ARG(base)),
						json_get(it.val, "name"));
	}
}

static void webhook_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			 struct json *cells)
{
	cell_int(a, cells, (int64_t)json_len(json_get(obj, "webhooks")));
}

const struct strategy webhook_config_strategy = {
	.generation = true,
	.needs_rv = true,
	.validate = webhook_check,
	.cell = webhook_cell,
};

struct err *webhook_init(struct apiserver *s)
{
	webhooks.plugin = (struct admission_plugin){
		.name = "webhooks",
		.wants = webhook_wants,
		.mutate = webhook_mutate,
		.validate = webhook_validate,
	};
	admission_add(s, &webhooks.plugin);
	return NULL;
}

struct err *webhook_start(struct apiserver *s)
{
	TRY(mirror_start(&webhooks.mutating, s, MUTATING));
	return mirror_start(&webhooks.validating, s, VALIDATING);
}
