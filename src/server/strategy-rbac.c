/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Roles and bindings. Nobody grants what they do not hold: each rule of a new role, or of the role
 * a new binding refers to, must be covered by the rules of the one who asks, unless they have the
 * verb "escalate" or "bind".
 */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/authz.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

static bool has(const struct json *arr, struct str s)
{
	json_for_each(it, arr)
	{
		if (str_eqz(json_as_str(it.val), "*") || str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

/* One combination of a rule, as something a rule may cover. */
struct wish {
	struct str verb, group, resource, name, url;
};

static bool wish_resource(const struct json *arr, struct str res)
{
	struct str sub = res, base;

	if (has(arr, res))
		return true;
	if (!str_cut(&sub, '/', &base))
		return false;
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val), star;

		if (str_cut(&v, '/', &star) && str_eqz(star, "*") && str_eq(v, sub))
			return true;
	}
	return false;
}

static bool wish_url(const struct json *arr, struct str url)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val);

		if (str_eqz(v, "*") || str_eq(v, url))
			return true;
		if (str_strip_suffix(&v, STR("*")) && str_has_prefix(url, v))
			return true;
	}
	return false;
}

static bool wish_covered(const struct json *rule, void *ctx)
{
	const struct wish *w = ctx;
	const struct json *names = json_get(rule, "resourceNames");

	if (!has(json_get(rule, "verbs"), w->verb))
		return false;
	if (w->url.p)
		return wish_url(json_get(rule, "nonResourceURLs"), w->url);
	if (!has(json_get(rule, "apiGroups"), w->group) ||
	    !wish_resource(json_get(rule, "resources"), w->resource))
		return false;
	if (!json_len(names))
		return true;
	return w->name.p && has(names, w->name);
}

struct covers_ctx {
	struct wish *wish;
	bool ok;
};

static bool covers_one(const struct json *rule, void *ctx)
{
	struct covers_ctx *c = ctx;

	c->ok |= wish_covered(rule, c->wish);
	return c->ok;
}

static bool wish_held(struct api_request *rq, struct wish *w)
{
	struct covers_ctx c = { w, false };

	authz_each_rule(rq->server->authz, &rq->user, rq->ns, covers_one, &c);
	return c.ok;
}

static bool rule_held_names(struct api_request *rq, const struct json *rule, struct wish *w)
{
	const struct json *names = json_get(rule, "resourceNames");

	if (!json_len(names)) {
		w->name = (struct str){ 0 };
		return wish_held(rq, w);
	}
	json_for_each(it, names)
	{
		w->name = json_as_str(it.val);
		if (!wish_held(rq, w))
			return false;
	}
	return true;
}

static bool rule_held(struct api_request *rq, const struct json *rule)
{
	struct wish w = { 0 };

	json_for_each(v, json_get(rule, "verbs"))
	{
		w.verb = json_as_str(v.val);
		json_for_each(u, json_get(rule, "nonResourceURLs"))
		{
			w.url = json_as_str(u.val);
			if (!wish_held(rq, &w))
				return false;
		}
		w.url = (struct str){ 0 };
		json_for_each(g, json_get(rule, "apiGroups"))
		{
			json_for_each(r, json_get(rule, "resources"))
			{
				w.group = json_as_str(g.val);
				w.resource = json_as_str(r.val);
				if (!rule_held_names(rq, rule, &w))
					return false;
			}
		}
	}
	return true;
}

/* {APIGroups:[""], Resources:["pods"], Verbs:["get"]} */
static void rule_print(struct buf *b, const struct json *rule)
{
	static const struct {
		const char *key, *label;
	} parts[] = {
		{ "apiGroups", "APIGroups" },
		{ "resources", "Resources" },
		{ "resourceNames", "ResourceNames" },
		{ "nonResourceURLs", "NonResourceURLs" },
		{ "verbs", "Verbs" },
	};
	size_t n = 0;

	buf_addc(b, '{');
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const struct json *arr = json_get(rule, parts[i].key);

		if (!json_len(arr))
			continue;
		buf_addf(b, "%s%s:[", n++ ? ", " : "", parts[i].label);
		json_for_each(it, arr) buf_addf(b, "%s\"" STR_FMT "\"", it.i ? " " : "",
						STR_ARG(json_as_str(it.val)));
		buf_addc(b, ']');
	}
	buf_addc(b, '}');
}

static struct err *escalation_check(struct api_request *rq, const struct json *rules)
{
	_cleanup_buf_ struct buf missing = { 0 }, groups = { 0 };

	json_for_each(it, rules)
	{
		if (rule_held(rq, it.val))
			continue;
		buf_addc(&missing, '\n');
		rule_print(&missing, it.val);
	}
	if (!missing.n)
		return NULL;
	for (size_t i = 0; i < rq->user.n_groups; i++)
		buf_addf(&groups, "%s\"" STR_FMT "\"", i ? " " : "", STR_ARG(rq->user.groups[i]));
	return error_forbidden(rq->res, rq->name,
			       "user \"" STR_FMT "\" (groups=[%s]) is attempting to grant RBAC "
			       "permissions not currently held:%s",
			       STR_ARG(rq->user.name), groups.p ? groups.p : "", missing.p);
}

static bool may(struct api_request *rq, const char *verb, const char *resource, struct str name)
{
	struct authz_attrs at = {
		.user = &rq->user,
		.verb = str_from(verb),
		.is_resource = true,
		.group = STR("rbac.authorization.k8s.io"),
		.version = STR("v1"),
		.resource = str_from(resource),
		.ns = rq->ns,
		.name = name,
	};
	struct str reason;

	return authz_allowed(rq->server->authz, rq->arena, &at, &reason);
}

/* Role, ClusterRole */
static struct err *role_check(struct api_request *rq, const struct json *obj,
			      const struct json *old)
{
	const struct json *rules = json_get(obj, "rules");

	if (old && json_equal(rules, json_get(old, "rules")))
		return NULL;
	if (!rq->x || user_in_group(&rq->user, STR("system:masters")) ||
	    may(rq, "escalate", rq->res->namespaced ? "roles" : "clusterroles", rq->name))
		return NULL;
	return escalation_check(rq, rules);
}

static struct err *role_prepare_create(struct api_request *rq, struct json *obj)
{
	if (!json_get(obj, "rules"))
		json_set(rq->arena, obj, "rules", json_null(rq->arena));
	return role_check(rq, obj, NULL);
}

static struct err *role_prepare_update(struct api_request *rq, struct json *obj,
				       const struct json *old)
{
	if (!json_get(obj, "rules"))
		json_set(rq->arena, obj, "rules", json_null(rq->arena));
	return role_check(rq, obj, old);
}

static void role_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	json_for_each(it, json_get(obj, "rules"))
	{
		struct arena *a = rq->arena;
		bool urls = json_len(json_get(it.val, "nonResourceURLs"));

		if (!json_len(json_get(it.val, "verbs")))
			cause_required(e, arena_fmt(a, "rules[%zu].verbs", it.i),
				       "verbs must contain at least one value");
		if (urls)
			continue;
		if (!json_len(json_get(it.val, "apiGroups")))
			cause_required(e, arena_fmt(a, "rules[%zu].apiGroups", it.i),
				       "resource rules must supply at least one api group");
		if (!json_len(json_get(it.val, "resources")))
			cause_required(e, arena_fmt(a, "rules[%zu].resources", it.i),
				       "resource rules must supply at least one resource");
	}
}

const struct strategy role_strategy = {
	.check_name = name_check_path_segment,
	.create_on_update = true,
	.prepare_create = role_prepare_create,
	.prepare_update = role_prepare_update,
	.validate = role_validate,
};

/* RoleBinding, ClusterRoleBinding */
static void binding_defaults(struct api_request *rq, struct json *obj)
{
	struct json *ref = json_get(obj, "roleRef");

	if (json_is(ref, JSON_OBJECT) && str_empty(json_str_at(ref, "apiGroup")))
		json_set_str(rq->arena, ref, "apiGroup", STR("rbac.authorization.k8s.io"));
	json_for_each(it, json_get(obj, "subjects"))
	{
		bool account = str_eqz(json_str_at(it.val, "kind"), "ServiceAccount");

		if (json_is(it.val, JSON_OBJECT) && str_empty(json_str_at(it.val, "apiGroup")) &&
		    !account)
			json_set_str(rq->arena, it.val, "apiGroup",
				     STR("rbac.authorization.k8s.io"));
	}
}

static struct err *binding_check(struct api_request *rq, const struct json *obj)
{
	struct str kind = json_str_at(obj, "roleRef.kind"), name = json_str_at(obj, "roleRef.name");
	const struct json *rules;

	if (!rq->x || user_in_group(&rq->user, STR("system:masters")) ||
	    may(rq, "bind", str_eqz(kind, "Role") ? "roles" : "clusterroles", name))
		return NULL;
	rules = authz_role_rules(rq->server->authz, kind, rq->ns, name);
	if (!rules)
		return error_not_found(
			registry_find_stored(rq->server->registry,
					     str_eqz(kind, "Role")
						     ? STR("roles.rbac.authorization.k8s.io")
						     : STR("clusterroles.rbac."
							   "authorization.k8s.io")),
			name);
	return escalation_check(rq, rules);
}

static struct err *binding_prepare_create(struct api_request *rq, struct json *obj)
{
	return binding_check(rq, obj);
}

static struct err *binding_prepare_update(struct api_request *rq, struct json *obj,
					  const struct json *old)
{
	if (json_equal(json_get(obj, "subjects"), json_get(old, "subjects")) &&
	    json_equal(json_get(obj, "roleRef"), json_get(old, "roleRef")))
		return NULL;
	return binding_check(rq, obj);
}

static void binding_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const kinds[] = { "ServiceAccount", "User", "Group", NULL };
	static const char *const both[] = { "ClusterRole", "Role", NULL };
	static const char *const cluster[] = { "ClusterRole", NULL };
	struct str ref = json_str_at(obj, "roleRef.kind");

	if (!str_eqz(ref, "ClusterRole") && !(rq->res->namespaced && str_eqz(ref, "Role")))
		cause_not_supported(e, STR("roleRef.kind"), ref,
				    rq->res->namespaced ? both : cluster);
	if (str_empty(json_str_at(obj, "roleRef.name")))
		cause_required(e, STR("roleRef.name"), NULL);
	json_for_each(it, json_get(obj, "subjects"))
	{
		struct str kind = json_str_at(it.val, "kind");
		struct arena *a = rq->arena;

		if (str_empty(json_str_at(it.val, "name")))
			cause_required(e, arena_fmt(a, "subjects[%zu].name", it.i), NULL);
		if (!str_eqz(kind, kinds[0]) && !str_eqz(kind, kinds[1]) &&
		    !str_eqz(kind, kinds[2]))
			cause_not_supported(e, arena_fmt(a, "subjects[%zu].kind", it.i), kind,
					    kinds);
		if (str_eqz(kind, "ServiceAccount") && !rq->res->namespaced &&
		    str_empty(json_str_at(it.val, "namespace")))
			cause_required(e, arena_fmt(a, "subjects[%zu].namespace", it.i), NULL);
	}
}

static void binding_validate_update(struct api_request *rq, const struct json *obj,
				    const struct json *old, struct err **e)
{
	const struct json *ref = json_get(obj, "roleRef");
	struct json *shown;

	if (json_equal(ref, json_get(old, "roleRef")))
		return;
	/* upstream prints the Go struct: its own names, in its own order */
	shown = json_object(rq->arena);
	json_set_str(rq->arena, shown, "APIGroup", json_str_at(ref, "apiGroup"));
	json_set_str(rq->arena, shown, "Kind", json_str_at(ref, "kind"));
	json_set_str(rq->arena, shown, "Name", json_str_at(ref, "name"));
	cause_invalid(e, STR("roleRef"), shown, "cannot change roleRef");
}

static void binding_subjects(struct buf *b, const struct json *obj, const char *kind)
{
	json_for_each(it, json_get(obj, "subjects"))
	{
		struct str ns = json_str_at(it.val, "namespace");

		if (!str_eqz(json_str_at(it.val, "kind"), kind))
			continue;
		buf_addz(b, b->n ? ", " : "");
		if (!str_empty(ns))
			buf_addf(b, STR_FMT "/", STR_ARG(ns));
		buf_add(b, json_str_at(it.val, "name"));
	}
}

static void binding_cell(struct arena *a, const struct json *obj, struct str column,
			 struct json *cells)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_eqz(column, "Role"))
		buf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(obj, "roleRef.kind")),
			 STR_ARG(json_str_at(obj, "roleRef.name")));
	else if (str_eqz(column, "Users"))
		binding_subjects(&b, obj, "User");
	else if (str_eqz(column, "Groups"))
		binding_subjects(&b, obj, "Group");
	else
		binding_subjects(&b, obj, "ServiceAccount");
	cell_str(a, cells, buf_to_arena(&b, a));
}

const struct strategy binding_strategy = {
	.check_name = name_check_path_segment,
	.create_on_update = true,
	.set_defaults = binding_defaults,
	.prepare_create = binding_prepare_create,
	.prepare_update = binding_prepare_update,
	.validate = binding_validate,
	.validate_update = binding_validate_update,
	.cell = binding_cell,
};
