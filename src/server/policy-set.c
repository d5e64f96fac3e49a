/* SPDX-License-Identifier: Apache-2.0 */
#include "server/policy-set.h"

#include <stdlib.h>

#include "api/gvk.h"
#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/object.h"
#include "server/policy-prepare.h"
#include "server/server.h"
#include "json/json.h"

/* Parameters that one binding may bring to a request. */
#define PARAMS_MAX 1000

/* ---- keeping them */

static void policies_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	struct policy_set *s = container_of(m, struct policy_set, policies);

	if (old)
		policy_unref(map_del(&s->by_name, old->name));
	if (new)
		map_put(&s->by_name, new->name, policy_prepare(new));
	hook_cache_clear(&s->cache);
}

static void bindings_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	struct policy_set *s = container_of(m, struct policy_set, bindings);

	if (old)
		policy_binding_unref(map_del(&s->bindings_by_name, old->name));
	if (new)
		map_put(&s->bindings_by_name, new->name, policy_binding_prepare(new));
	hook_cache_clear(&s->cache);
}

struct err *policy_set_start(struct policy_set *s, struct apiserver *server)
{
	s->policies.changed = policies_changed;
	s->bindings.changed = bindings_changed;
	TRY(mirror_start(&s->policies, server, s->policies_gr));
	return mirror_start(&s->bindings, server, s->bindings_gr);
}

static bool policy_bound(const struct policy_set *s, struct str name)
{
	map_for_each(e, &s->bindings_by_name) {
		const struct policy_binding *b = e->val;

		if (str_eq(b->policy, name))
			return true;
	}
	return false;
}

static bool match_could(const struct policy_match *m, const struct admission *ad)
{
	return !json_len(m->rules) || hook_match_rules(m->rules, ad, m->equivalent, false).v;
}

static bool set_any(const struct admission *ad, void *ctx)
{
	const struct policy_set *s = ctx;

	map_for_each(e, &s->by_name) {
		const struct policy *p = e->val;

		if (match_could(&p->match, ad) && policy_bound(s, p->obj->name))
			return true;
	}
	return false;
}

bool policy_set_wants(struct policy_set *s, const struct admission *ad)
{
	if (!s->by_name.n || !s->bindings_by_name.n || hook_exempt(ad))
		return false;
	return hook_cache_wants(&s->cache, ad, set_any, s);
}

/* ---- matching */

static struct err *match_fits(const struct policy_match *m, const struct admission *ad,
			      struct hook_view *ret)
{
	struct hook_view none = { .v = NULL }, view = { ad->res, ad->v };
	bool selected = false;

	*ret = none;
	if (json_len(m->exclude) && hook_match_rules(m->exclude, ad, m->equivalent, true).v)
		return NULL;
	if (json_len(m->rules))
		view = hook_match_rules(m->rules, ad, m->equivalent, true);
	if (!view.v)
		return NULL;
	TRY(hook_selected(ad, &m->selectors, &selected));
	if (selected)
		*ret = view;
	return NULL;
}

/* ---- parameters */

struct params {
	struct admission *ad;
	const struct resource *res;
	const struct resource_version *v;
	struct json *found; /* array of objects */
	struct err *e;
};

static bool params_add(const struct obj *o, void *ctx)
{
	struct params *p = ctx;
	struct json *tree = NULL;

	if (p->e)
		return false;
	p->e = object_tree_v(p->ad->rq->server->registry, p->ad->rq->arena, p->res, p->v, o, &tree);
	if (tree)
		json_push(p->found, tree);
	return tree != NULL;
}

static struct err *params_select(struct params *p, const struct json *ref, struct str ns)
{
	struct store_list_opts o = { .resource = p->res->store_name,
				     .ns = ns,
				     .limit = PARAMS_MAX };
	struct store_list_result r;
	struct selector *sel = NULL;

	TRY(label_selector_from_json(p->ad->rq->arena, json_get(ref, "selector"), &sel));
	o.labels = selector_empty(sel) ? NULL : sel;
	TRY(store_list(p->ad->rq->server->store, &o, params_add, p, &r));
	return TAKE(p->e);
}

static struct err *params_get(struct params *p, struct str name, struct str ns)
{
	struct store_key key = { p->res->store_name, ns, name };
	_cleanup_obj_ const struct obj *o = NULL;

	TRY(store_get(p->ad->rq->server->store, &key, &o));
	if (o)
		params_add(o, p);
	return TAKE(p->e);
}

/* Where namespaced parameters are looked for. */
static struct err *params_namespace(const struct params *p, const struct json *ref, struct str *ret)
{
	const struct admission *ad = p->ad;
	struct str ns = json_str_at(ref, "namespace");

	*ret = STR_EMPTY;
	if (!p->res->namespaced)
		return ns.n ? err_new(ERR_INVALID, "paramRef.namespace must not be provided for a "
						   "cluster-scoped `paramKind`")
			    : NULL;
	if (!ns.n)
		ns = str_eqz(ad->res->store_name, "namespaces") ? ad->name : ad->ns;
	if (!ns.n)
		return err_new(ERR_INVALID, "cannot use namespaced paramRef in policy binding that "
					    "matches cluster-scoped resources");
	*ret = ns;
	return NULL;
}

/* NULL in ret: evaluated without parameters, once. */
static struct err *params_collect(struct params *p, const struct json *ref, struct json **ret)
{
	struct str ns;

	*ret = NULL;
	if (!p->res || json_is_null(ref))
		return NULL;
	TRY(params_namespace(p, ref, &ns));
	p->found = json_array(p->ad->rq->arena);
	if (json_str_at(ref, "name").n)
		TRY(params_get(p, json_str_at(ref, "name"), ns));
	else
		TRY(params_select(p, ref, ns));
	if (!json_len(p->found) && str_eqz(json_str_at(ref, "parameterNotFoundAction"), "Deny"))
		return err_new(ERR_INVALID, "no params found for policy binding with `Deny` "
					    "parameterNotFoundAction");
	*ret = p->found;
	return NULL;
}

static struct err *params_find_kind(struct params *p, const struct policy *policy)
{
	struct str group = STR_EMPTY, version = STR_EMPTY, api, kind;

	if (!policy->param_kind)
		return NULL;
	api = json_str_at(policy->param_kind, "apiVersion");
	kind = json_str_at(policy->param_kind, "kind");
	gv_parse(api, &group, &version);
	p->res = registry_find_kind(p->ad->rq->server->registry, group, version, kind, &p->v);
	if (p->res)
		return NULL;
	return err_new(ERR_INVALID,
		       "failed to find resource referenced by paramKind: '" STR_FMT "/" STR_FMT
		       ", Kind=" STR_FMT "'",
		       STR_ARG(group), STR_ARG(version), STR_ARG(kind));
}

/* ---- calls */

struct calls {
	struct admission *ad;
	struct policy_call *v;
	size_t n, cap;
};

static struct policy_call *calls_add(struct calls *c)
{
	if (c->n == c->cap) {
		struct policy_call *v;

		c->cap = c->cap ? c->cap * 2 : 8;
		v = arena_array(c->ad->rq->arena, c->cap, sizeof(*v));
		if (c->n)
			memcpy(v, c->v, c->n * sizeof(*v));
		c->v = v;
	}
	c->v[c->n] = (struct policy_call){ .policy = NULL };
	return &c->v[c->n++];
}

/* Takes e; cancellation is no problem of the policy. */
static struct err *calls_problem(struct calls *c, const struct policy *p,
				 const struct policy_binding *b, struct err *e)
{
	struct policy_call *call;

	if (err_is(e, ERR_CANCELED) || err_is(e, ERR_TIMEOUT))
		return e;
	call = calls_add(c);
	call->policy = p;
	call->binding = b;
	call->problem = arena_fmt(c->ad->rq->arena, "failed to configure %s: " STR_FMT,
				  b ? "binding" : "policy", STR_ARG(err_msg(e)));
	err_free(e);
	return NULL;
}

static void calls_one(struct calls *c, const struct policy *p, const struct policy_binding *b,
		      struct hook_view view, const struct json *param)
{
	struct policy_call *call = calls_add(c);

	call->policy = p;
	call->binding = b;
	call->view = view;
	call->param = param;
	call->param_key = arena_fmt(c->ad->rq->arena, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT,
				    STR_ARG(p->obj->name), STR_ARG(b->obj->name),
				    STR_ARG(meta_namespace(param)), STR_ARG(meta_name(param)));
}

static struct err *calls_binding(struct calls *c, const struct policy *p,
				 const struct policy_binding *b, struct hook_view view)
{
	struct params params = { .ad = c->ad };
	struct hook_view own = view;
	struct json *found = NULL;
	struct err *e = NULL;

	if (!b->everything)
		e = match_fits(&b->match, c->ad, &own);
	if (!e && !own.v)
		return NULL;
	if (!e)
		e = params_find_kind(&params, p);
	if (!e)
		e = params_collect(&params, b->param_ref, &found);
	if (e)
		return calls_problem(c, p, b, e);
	if (!found)
		calls_one(c, p, b, view, NULL);
	json_for_each(it, found) calls_one(c, p, b, view, it.val);
	return NULL;
}

static int binding_cmp(const void *x, const void *y)
{
	const struct policy_binding *const *a = x, *const *b = y;

	return str_cmp((*a)->obj->name, (*b)->obj->name);
}

static int policy_cmp(const void *x, const void *y)
{
	const struct policy *const *a = x, *const *b = y;

	return str_cmp((*a)->obj->name, (*b)->obj->name);
}

/* Those of one policy, held by the arena. */
static struct policy_binding **bindings_of(const struct policy_set *s, struct arena *a,
					   struct str policy, size_t *ret_n)
{
	struct policy_binding **v = arena_array(a, s->bindings_by_name.n + 1, sizeof(*v));
	size_t n = 0;

	map_for_each(e, &s->bindings_by_name) {
		struct policy_binding *b = e->val;

		if (!str_eq(b->policy, policy))
			continue;
		b->refs++;
		arena_defer(a, policy_binding_unref, b);
		v[n++] = b;
	}
	if (n)
		qsort(v, n, sizeof(struct policy_binding *), binding_cmp);
	*ret_n = n;
	return v;
}

static struct err *calls_policy(struct calls *c, const struct policy_set *s, const struct policy *p)
{
	struct params params = { .ad = c->ad };
	struct policy_binding **b;
	struct hook_view view;
	struct err *e;
	size_t n;

	b = bindings_of(s, c->ad->rq->arena, p->obj->name, &n);
	if (!n)
		return NULL;
	e = match_fits(&p->match, c->ad, &view);
	if (!e && !view.v)
		return NULL;
	if (!e)
		e = params_find_kind(&params, p);
	if (e)
		return calls_problem(c, p, NULL, e);
	for (size_t i = 0; i < n; i++)
		TRY(calls_binding(c, p, b[i], view));
	return NULL;
}

struct err *policy_set_calls(const struct policy_set *s, struct admission *ad,
			     struct policy_call **ret, size_t *ret_n)
{
	struct arena *a = ad->rq->arena;
	struct policy **v = arena_array(a, s->by_name.n + 1, sizeof(*v));
	struct calls c = { .ad = ad };
	size_t n = 0;

	map_for_each(e, &s->by_name) {
		v[n] = e->val;
		v[n]->refs++;
		arena_defer(a, policy_unref, v[n++]);
	}
	if (n)
		qsort(v, n, sizeof(struct policy *), policy_cmp);
	for (size_t i = 0; i < n; i++)
		TRY(calls_policy(&c, s, v[i]));
	*ret = c.v;
	*ret_n = c.n;
	return NULL;
}
