/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "server/admission.h"
#include "server/errors.h"
#include "server/hook-match.h"
#include "server/mirror.h"
#include "server/object.h"
#include "server/policy-expr.h"
#include "server/server.h"
#include "server/webhook-review.h"
#include "json/json.h"
#include "json/patch.h"

#define MUTATING   "mutatingwebhookconfigurations.admissionregistration.k8s.io"
#define VALIDATING "validatingwebhookconfigurations.admissionregistration.k8s.io"

/* ---- configurations, prepared */

struct hook {
	const struct json *json;
	struct hook_selectors selectors;
	struct policy_conditions conditions;
	struct str key; /* CONFIGURATION/NAME */
	bool equivalent, again, ignore;
};

/* One object. Requests that are under way hold it while it changes. */
struct hooks {
	unsigned refs;
	struct arena *arena;
	const struct obj *obj;
	struct cel_env *env; /* of match conditions; NULL: there are none */
	struct hook *v;
	size_t n;
};

/* All objects of one kind. */
struct hook_set {
	struct mirror mirror;
	struct map configs; /* name -> struct hooks */
	struct hook_cache cache;
};

static struct webhooks {
	struct admission_plugin plugin;
	struct hook_set mutating, validating;
} webhooks;

static void hooks_unref(void *p)
{
	struct hooks *h = p;

	if (!h || --h->refs)
		return;
	for (size_t i = 0; i < h->n; i++)
		policy_conditions_fini(&h->v[i].conditions);
	if (h->env)
		cel_env_unref(h->env);
	obj_unref(h->obj);
	arena_free(h->arena);
	free(h);
}

static struct err *hook_prepare(struct hooks *h, struct hook *k, const struct json *json)
{
	struct str name = json_str_at(json, "name");

	k->json = json;
	k->key = arena_fmt(h->arena, STR_FMT "/" STR_FMT, STR_ARG(h->obj->name), STR_ARG(name));
	k->equivalent = !str_eqz(json_str_at(json, "matchPolicy"), "Exact");
	k->again = str_eqz(json_str_at(json, "reinvocationPolicy"), "IfNeeded");
	k->ignore = str_eqz(json_str_at(json, "failurePolicy"), "Ignore");
	TRY(hook_selectors_parse(h->arena, json, &k->selectors));
	if (!json_len(json_get(json, "matchConditions")))
		return NULL;
	if (!h->env)
		h->env = cel_env_admission(CEL_WITH_AUTHORIZER);
	k->conditions =
		policy_conditions_compile(h->env, h->arena, json_get(json, "matchConditions"));
	return NULL;
}

static struct hooks *hooks_new(const struct obj *o)
{
	const struct json *list = json_get(obj_tree(o), "webhooks");
	struct hooks *h = mem_new(struct hooks);

	h->refs = 1;
	h->arena = arena_new();
	h->obj = obj_ref(o);
	h->v = arena_array(h->arena, json_len(list) + 1, sizeof(*h->v));
	json_for_each(it, list)
	{
		struct err *e = hook_prepare(h, &h->v[h->n], it.val);

		if (e)
			err_log(NULL, LOG_WARN, "a stored webhook cannot be used", e);
		else
			h->n++;
	}
	return h;
}

static void hook_set_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	struct hook_set *s = container_of(m, struct hook_set, mirror);

	if (old)
		hooks_unref(map_del(&s->configs, old->name));
	if (new)
		map_put(&s->configs, new->name, hooks_new(new));
	hook_cache_clear(&s->cache);
}

static int hooks_by_name(const void *x, const void *y)
{
	const struct hooks *const *a = x, *const *b = y;

	return str_cmp((*a)->obj->name, (*b)->obj->name);
}

/* By name, held by the arena: they may change while we wait for an answer. */
static struct hooks **hook_set_list(const struct hook_set *s, struct arena *a, size_t *ret_n)
{
	struct hooks **v = arena_array(a, s->configs.n + 1, sizeof(*v));
	size_t n = 0;

	map_for_each(e, &s->configs) {
		v[n] = e->val;
		v[n]->refs++;
		arena_defer(a, hooks_unref, v[n++]);
	}
	if (n)
		qsort(v, n, sizeof(struct hooks *), hooks_by_name);
	*ret_n = n;
	return v;
}

/* ---- whether to call */

static struct err *hook_dry_run(const struct admission *ad, const struct json *hook)
{
	struct str effects = json_str_at(hook, "sideEffects");

	if (!ad->dry_run || str_eqz(effects, "None") || str_eqz(effects, "NoneOnDryRun"))
		return NULL;
	return err_new(ERR_BAD_REQUEST,
		       "admission webhook \"" STR_FMT "\" does not support dry run",
		       STR_ARG(json_str_at(hook, "name")));
}

static struct err *hook_objects(struct webhook_call *c)
{
	struct json *obj = NULL, *old = NULL;

	TRY(hook_view_obj(c->ad, &c->view, c->ad->obj, &obj));
	TRY(hook_view_obj(c->ad, &c->view, c->ad->old, &old));
	c->obj = obj;
	c->old = old;
	return NULL;
}

/* Match conditions: all must hold. */
static struct err *hook_conditions(struct webhook_call *c, const struct hook *k, bool *ret_call)
{
	const struct policy_input in = { .view = &c->view, .obj = c->obj, .old = c->old };
	struct policy_run *r = arena_new_obj(c->ad->rq->arena, struct policy_run);
	struct str text = STR_EMPTY;

	policy_run_init(r, c->ad, &in, CONDITIONS_BUDGET);
	if (policy_conditions_match(r, &k->conditions, k->ignore, ret_call, &text) == POLICY_OK)
		return NULL;
	return error_forbidden(c->ad->res, c->ad->name, STR_FMT, STR_ARG(text));
}

/* Fills in the call; *ret_call: it is to be made. */
static struct err *hook_should_call(struct admission *ad, const struct hook *k,
				    struct webhook_call *c, bool *ret_call)
{
	*ret_call = false;
	c->ad = ad;
	c->hook = k->json;
	c->view = hook_match_rules(json_get(k->json, "rules"), ad, k->equivalent, false);
	if (!c->view.v)
		return NULL;
	TRY(hook_selected(ad, &k->selectors, ret_call));
	if (!*ret_call)
		return NULL;
	TRY(hook_objects(c));
	return k->conditions.n ? hook_conditions(c, k, ret_call) : NULL;
}

/* ---- mutating: one after the other */

/* What a request remembers between its two passes. */
struct mutation {
	struct json *called; /* keys of those that may be called again, once something changed */
	struct json *again;  /* keys of those that must be */
	const struct json *output;
};

static struct mutation *mutation_of(struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct mutation *m = ad->webhooks;

	if (m)
		return m;
	m = ad->webhooks = arena_new_obj(a, struct mutation);
	m->called = json_object(a);
	m->again = json_object(a);
	return m;
}

static void mutation_recall(struct arena *a, struct mutation *m)
{
	json_for_each(it, m->called) json_set_s(a, m->again, it.key, json_null(a));
	m->called = json_object(a);
}

static struct err *mutation_apply(const struct webhook_call *c, const struct json *patch,
				  bool *ret_changed)
{
	struct admission *ad = c->ad;
	struct arena *a = ad->rq->arena;
	struct json *next = NULL;
	struct err *e;

	if (!json_len(patch))
		return NULL;
	if (!c->obj)
		return webhook_internal(a,
					"admission webhook \"" STR_FMT
					"\" attempted to modify the object, which is not supported "
					"for this operation",
					STR_ARG(json_str_at(c->hook, "name")));
	e = json_patch_apply_why(a, c->obj, patch, &next);
	if (e) {
		struct str text = arena_str(a, err_msg(e));

		err_free(e);
		return webhook_internal(a, STR_FMT, STR_ARG(text));
	}
	if (!json_is(next, JSON_OBJECT))
		return webhook_internal(a, "the patch of webhook \"" STR_FMT "\" left no object",
					STR_ARG(json_str_at(c->hook, "name")));
	/* what it is, is not the webhook's to say */
	json_set(a, next, "kind", json_copy(a, json_get(c->obj, "kind")));
	json_set(a, next, "apiVersion", json_copy(a, json_get(c->obj, "apiVersion")));
	*ret_changed = !json_equal(next, c->obj);
	if (!*ret_changed)
		return NULL;
	/* what the webhook added gets the treatment of what a client sent */
	hook_renew(ad, &c->view, next);
	return hook_unview(ad, &c->view, next, &ad->obj);
}

static struct err *mutation_call(struct admission *ad, struct mutation *m, struct webhook_call *c,
				 const struct hook *k)
{
	struct arena *a = ad->rq->arena;
	struct json *patch = NULL;
	bool changed = false;
	struct err *e;

	TRY(hook_dry_run(ad, k->json));
	c->mutating = true;
	e = webhook_review(c, &patch);
	if (!e && patch)
		e = mutation_apply(c, patch, &changed);
	webhook_audit_mutation(c, e ? NULL : patch, changed);
	if (changed) {
		mutation_recall(a, m);
		ad->reinvoke = true;
	}
	if (k->again)
		json_set_s(a, m->called, k->key, json_null(a));
	return e;
}

static struct err *webhook_mutate(struct admission_plugin *pl UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct mutation *m;
	struct hooks **v;
	size_t n, index = 0;

	v = hook_set_list(&webhooks.mutating, a, &n);
	if (!n)
		return NULL;
	m = mutation_of(ad);
	if (ad->reinvoked && !json_equal(ad->obj, m->output))
		mutation_recall(a, m);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < v[i]->n; j++) {
			struct webhook_call c = { .config = v[i]->obj->name, .index = index++ };
			const struct hook *k = &v[i]->v[j];
			bool call = false;

			TRY(hook_should_call(ad, k, &c, &call));
			/* nobody is called for the first time in the second pass */
			if (!call || (ad->reinvoked && !json_get_s(m->again, k->key)))
				continue;
			TRY(mutation_call(ad, m, &c, k));
		}
	}
	m->output = ad->obj ? json_copy(a, ad->obj) : NULL;
	return NULL;
}

/* ---- validating: all at once */

struct validation {
	struct webhook_call call;
	struct err *e;
	struct validation *next;
};

static struct err *validation_run(void *arg)
{
	struct validation *v = arg;
	struct json *patch = NULL;

	v->e = hook_dry_run(v->call.ad, v->call.hook);
	if (!v->e)
		v->e = webhook_review(&v->call, &patch);
	return NULL;
}

static struct err *validation_add(struct admission *ad, const struct hooks *h, const struct hook *k,
				  struct validation ***tail, size_t *index)
{
	struct webhook_call c = { .config = h->obj->name, .index = *index };
	struct validation *v;
	bool call = false;

	TRY(hook_should_call(ad, k, &c, &call));
	if (!call)
		return NULL;
	++*index;
	v = arena_new_obj(ad->rq->arena, struct validation);
	v->call = c;
	**tail = v;
	*tail = &v->next;
	return NULL;
}

/* The first denial in the order of their names; the others are dropped. */
static struct err *validation_result(struct validation *first, struct err *joined)
{
	struct err *e = joined;

	for (struct validation *v = first; v; v = v->next) {
		if (!e)
			e = v->e;
		else
			err_free(v->e);
		v->e = NULL;
	}
	return e;
}

static struct err *validation_all(struct validation *first)
{
	struct fiber_group *g;

	if (!first->next) {
		err_ignore(validation_run(first), "it never fails");
		return validation_result(first, NULL);
	}
	g = fiber_group_new();
	for (struct validation *v = first; v; v = v->next)
		fiber_group_add(g, "webhook", validation_run, v);
	return validation_result(first, fiber_group_join(g));
}

static struct err *webhook_validate(struct admission_plugin *pl UNUSED, struct admission *ad)
{
	struct validation *first = NULL, **tail = &first;
	struct hooks **v;
	size_t n, index = 0;

	v = hook_set_list(&webhooks.validating, ad->rq->arena, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < v[i]->n; j++)
			TRY(validation_add(ad, v[i], &v[i]->v[j], &tail, &index));
	return first ? validation_all(first) : NULL;
}

/* ---- the plugin */

static bool hook_set_any(const struct admission *ad, void *ctx)
{
	const struct hook_set *s = ctx;

	map_for_each(e, &s->configs) {
		const struct hooks *h = e->val;

		for (size_t i = 0; i < h->n; i++)
			if (hook_match_rules(json_get(h->v[i].json, "rules"), ad,
					     h->v[i].equivalent, false)
				    .v)
				return true;
	}
	return false;
}

static bool hook_set_wants(struct hook_set *s, const struct admission *ad)
{
	return s->configs.n && hook_cache_wants(&s->cache, ad, hook_set_any, s);
}

static bool webhook_wants(struct admission_plugin *pl UNUSED, const struct admission *ad)
{
	/* never the configurations themselves: one could lock everybody out */
	if (hook_exempt(ad))
		return false;
	return hook_set_wants(&webhooks.mutating, ad) || hook_set_wants(&webhooks.validating, ad);
}

struct err *webhook_init(struct apiserver *s)
{
	webhooks.plugin = (struct admission_plugin){
		.name = "webhooks",
		.wants = webhook_wants,
		.mutate = webhook_mutate,
		.validate = webhook_validate,
	};
	webhooks.mutating.mirror.changed = hook_set_changed;
	webhooks.validating.mirror.changed = hook_set_changed;
	admission_add(s, &webhooks.plugin);
	return NULL;
}

struct err *webhook_start(struct apiserver *s)
{
	TRY(mirror_start(&webhooks.mutating.mirror, s, MUTATING));
	return mirror_start(&webhooks.validating.mirror, s, VALIDATING);
}
