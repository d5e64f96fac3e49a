/* SPDX-License-Identifier: Apache-2.0 */
#include "server/hook-match.h"

#include "api/gvk.h"
#include "api/meta.h"
#include "api/schema.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/crd-convert.h"
#include "server/errors.h"
#include "server/server.h"
#include "json/json.h"

/* Clients choose the names of CRDs: not for ever. */
#define CACHE_MAX 4096

/* ---- rules */

static bool list_has(const struct json *list, struct str val)
{
	json_for_each(it, list)
	{
		if (str_eqz(json_as_str(it.val), "*") || str_eq(json_as_str(it.val), val))
			return true;
	}
	return false;
}

/* RESOURCE or RESOURCE/SUBRESOURCE, each of which may be a star; a star alone is no subresource. */
static bool resource_fits(struct str pattern, struct str resource, struct str sub)
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

static bool scope_fits(const struct json *rule, bool namespaced)
{
	struct str scope = json_str_at(rule, "scope");

	if (str_eqz(scope, "Namespaced"))
		return namespaced;
	if (str_eqz(scope, "Cluster"))
		return !namespaced;
	return true;
}

/* resourceNames is what policies have besides. */
static bool name_fits(const struct json *rule, const struct admission *ad)
{
	const struct json *names = json_get(rule, "resourceNames");

	json_for_each(it, names)
	{
		if (str_eq(json_as_str(it.val), ad->name))
			return true;
	}
	return !json_len(names);
}

static bool rule_fits(const struct json *rule, const struct admission *ad,
		      const struct hook_view *view, bool names)
{
	if (!list_has(json_get(rule, "operations"), admission_op_name(ad->op)) ||
	    !list_has(json_get(rule, "apiGroups"), view->res->group) ||
	    !list_has(json_get(rule, "apiVersions"), view->v->version) ||
	    !scope_fits(rule, view->res->namespaced) || (names && !name_fits(rule, ad)))
		return false;
	json_for_each(it, json_get(rule, "resources"))
	{
		if (resource_fits(json_as_str(it.val), view->res->plural, ad->sub))
			return true;
	}
	return false;
}

static bool versions_fit(const struct json *rule, const struct admission *ad,
			 struct hook_view *view, bool names)
{
	for (size_t i = 0; i < view->res->n_versions; i++) {
		view->v = &view->res->versions[i];
		if (view->v->served && view->v != ad->v && rule_fits(rule, ad, view, names))
			return true;
	}
	return false;
}

/* Other groups that serve the same objects (events) count as versions, too. */
static bool equivalent_fits(const struct json *rule, const struct admission *ad,
			    struct hook_view *view, bool names)
{
	const struct resource *res = NULL;

	view->res = ad->res;
	if (versions_fit(rule, ad, view, names))
		return true;
	if (ad->res->custom)
		return false;
	while ((res = registry_next(ad->rq->server->registry, res))) {
		if (res == ad->res || !str_eq(res->store_name, ad->res->store_name))
			continue;
		view->res = res;
		if (versions_fit(rule, ad, view, names))
			return true;
	}
	return false;
}

struct hook_view hook_match_rules(const struct json *rules, const struct admission *ad,
				  bool equivalent, bool names)
{
	struct hook_view view = { ad->res, ad->v };

	json_for_each(it, rules)
	{
		if (rule_fits(it.val, ad, &view, names))
			return view;
	}
	if (equivalent) {
		json_for_each(it, rules)
		{
			if (equivalent_fits(it.val, ad, &view, names))
				return view;
		}
	}
	view.v = NULL;
	return view;
}

bool hook_exempt(const struct admission *ad)
{
	return str_eqz(ad->res->group, "admissionregistration.k8s.io");
}

/* ---- selectors */

static struct err *selector_parse(struct arena *a, const struct json *sel,
				  const struct selector **ret)
{
	struct selector *s = NULL;

	*ret = NULL;
	if (!sel)
		return NULL;
	TRY(label_selector_from_json(a, sel, &s));
	if (!selector_empty(s))
		*ret = s;
	return NULL;
}

struct err *hook_selectors_parse(struct arena *a, const struct json *from,
				 struct hook_selectors *ret)
{
	TRY(selector_parse(a, json_get(from, "namespaceSelector"), &ret->namespaces));
	return selector_parse(a, json_get(from, "objectSelector"), &ret->objects);
}

static struct err *namespace_selected(const struct admission *ad, const struct selector *s,
				      bool *ret)
{
	bool is_ns = str_eqz(ad->res->store_name, "namespaces");
	struct registry *reg = ad->rq->server->registry;
	struct str name = is_ns ? ad->name : ad->ns;
	_cleanup_obj_ const struct obj *ns = NULL;

	*ret = true;
	if (!s || (!ad->res->namespaced && !is_ns))
		return NULL;
	if (is_ns && !ad->sub.n && (ad->op == ADMISSION_CREATE || ad->op == ADMISSION_UPDATE)) {
		*ret = selector_matches(s, meta_labels(ad->obj));
		return NULL;
	}
	TRY(local_get(ad->rq->server, "namespaces", STR_EMPTY, name, &ns));
	if (!ns)
		return error_not_found(registry_find_stored(reg, STR("namespaces")), name);
	*ret = selector_matches_obj_labels(s, ns);
	return NULL;
}

struct err *hook_selected(const struct admission *ad, const struct hook_selectors *s, bool *ret)
{
	*ret = false;
	if (s->objects && !(ad->obj && selector_matches(s->objects, meta_labels(ad->obj))) &&
	    !(ad->old && selector_matches(s->objects, meta_labels(ad->old))))
		return NULL;
	return namespace_selected(ad, s->namespaces, ret);
}

/* ---- views */

static const struct subresource *hook_sub(const struct admission *ad)
{
	return ad->sub.n ? subresource_find(ad->v, ad->sub) : NULL;
}

/* Whether the body is the resource's own kind: then it has versions. */
static bool hook_own_kind(const struct admission *ad)
{
	const struct subresource *sub = hook_sub(ad);

	return !sub || !sub->kind.n || str_eq(sub->kind, ad->res->kind);
}

struct hook_kind hook_kind(const struct admission *ad, const struct hook_view *view)
{
	const struct subresource *sub = hook_sub(ad);

	if (sub && sub->kind_version.n)
		return (struct hook_kind){ sub->kind_group, sub->kind_version, sub->kind };
	return (struct hook_kind){ view->res->group, view->v->version,
				   sub && sub->kind.n ? sub->kind : view->res->kind };
}

static struct json *hook_gvk(struct arena *a, struct str group, struct str version,
			     const char *last_name, struct str last)
{
	struct json *j = json_object(a);

	json_set_str(a, j, "group", group);
	json_set_str(a, j, "version", version);
	json_set_str(a, j, last_name, last);
	return j;
}

static struct json *hook_kind_json(const struct admission *ad, const struct hook_view *view)
{
	struct hook_kind k = hook_kind(ad, view);

	return hook_gvk(ad->rq->arena, k.group, k.version, "kind", k.kind);
}

static struct json *hook_resource_json(const struct admission *ad, const struct hook_view *view)
{
	return hook_gvk(ad->rq->arena, view->res->group, view->v->version, "resource",
			view->res->plural);
}

struct json *hook_request(const struct admission *ad, const struct hook_view *view, struct str uid)
{
	const struct hook_view own = { ad->res, ad->v };
	struct arena *a = ad->rq->arena;
	struct json *rq = json_object(a);
	struct str ns = ad->ns;

	json_set_str(a, rq, "uid", uid);
	json_set(a, rq, "kind", hook_kind_json(ad, view));
	json_set(a, rq, "resource", hook_resource_json(ad, view));
	if (ad->sub.n)
		json_set_str(a, rq, "subResource", ad->sub);
	json_set(a, rq, "requestKind", hook_kind_json(ad, &own));
	json_set(a, rq, "requestResource", hook_resource_json(ad, &own));
	if (ad->sub.n)
		json_set_str(a, rq, "requestSubResource", ad->sub);
	if (ad->name.n)
		json_set_str(a, rq, "name", ad->name);
	if (str_eqz(ad->res->store_name, "namespaces"))
		ns = ad->name;
	if (ns.n)
		json_set_str(a, rq, "namespace", ns);
	json_set_str(a, rq, "operation", admission_op_name(ad->op));
	json_set(a, rq, "userInfo", user_to_json(a, &ad->rq->user));
	return rq;
}

static bool hook_same_view(const struct admission *ad, const struct hook_view *view)
{
	return (view->v == ad->v && view->res == ad->res) || !hook_own_kind(ad);
}

static struct err *hook_convert(const struct admission *ad, const struct resource *from,
				const struct resource_version *fv, const struct resource *to,
				const struct resource_version *tv, struct json **obj)
{
	struct arena *a = ad->rq->arena;

	if (from->conversion && from == to)
		return crd_convert_trees(ad->rq->server, a, to, tv, obj, 1);
	if (fv->to_stored)
		TRY(fv->to_stored(from, fv, a, obj));
	json_set_str(a, *obj, "apiVersion", gv_format(a, to->group, tv->version));
	if (tv->from_stored)
		TRY(tv->from_stored(to, tv, a, obj));
	json_set_str(a, *obj, "apiVersion", gv_format(a, to->group, tv->version));
	return NULL;
}

struct err *hook_view_obj(const struct admission *ad, const struct hook_view *view,
			  const struct json *obj, struct json **ret)
{
	*ret = (struct json *)(uintptr_t)obj;
	if (!obj || hook_same_view(ad, view))
		return NULL;
	*ret = json_copy(ad->rq->arena, obj);
	return hook_convert(ad, ad->res, ad->v, view->res, view->v, ret);
}

struct err *hook_unview(const struct admission *ad, const struct hook_view *view, struct json *obj,
			struct json **ret)
{
	*ret = obj;
	if (hook_same_view(ad, view))
		return NULL;
	return hook_convert(ad, view->res, view->v, ad->res, ad->v, ret);
}

const struct schema *hook_schema(const struct admission *ad, const struct hook_view *view)
{
	struct registry *reg = ad->rq->server->registry;
	const struct subresource *sub = hook_sub(ad);
	struct schema_registry *types = registry_types(reg);
	struct str first, group;

	if (hook_own_kind(ad))
		return resource_schema(reg, view->res, view->v);
	group = sub->kind_version.n ? sub->kind_group : view->res->group;
	str_cut(&group, '.', &first);
	if (!first.n)
		first = STR("core");
	return types ? schema_registry_find(
			       types, arena_fmt(ad->rq->arena,
						"io.k8s.api." STR_FMT "." STR_FMT "." STR_FMT,
						STR_ARG(first),
						STR_ARG(sub->kind_version.n ? sub->kind_version
									    : view->v->version),
						STR_ARG(sub->kind)))
		     : NULL;
}

void hook_renew(const struct admission *ad, const struct hook_view *view, struct json *obj)
{
	const struct schema *schema = hook_schema(ad, view);

	if (schema) {
		schema_prune(ad->rq->arena, schema, obj, NULL);
		schema_default(ad->rq->arena, schema, obj);
	}
	if (hook_own_kind(ad) && view->res->strategy->set_defaults)
		view->res->strategy->set_defaults(ad->rq, obj);
}

/* ---- the cache */

void hook_cache_clear(struct hook_cache *c)
{
	map_clear(&c->known);
}

bool hook_cache_wants(struct hook_cache *c, const struct admission *ad,
		      bool (*any)(const struct admission *ad, void *ctx), void *ctx)
{
	static char yes, no;
	_cleanup_buf_ struct buf key = { 0 };
	void *v;

	buf_add(&key, ad->res->group);
	buf_addc(&key, '/');
	buf_add(&key, ad->v->version);
	buf_addc(&key, '/');
	buf_add(&key, ad->res->plural);
	buf_addc(&key, '/');
	buf_add(&key, ad->sub);
	buf_addc(&key, (char)('0' + ad->op));
	v = map_find(&c->known, buf_str(&key));
	if (!v) {
		v = any(ad, ctx) ? &yes : &no;
		if (c->known.n >= CACHE_MAX)
			map_clear(&c->known);
		map_put(&c->known, buf_str(&key), v);
	}
	return v == &yes;
}
