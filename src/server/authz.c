/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authz.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/errors.h"
#include "server/mirror.h"
#include "server/request.h"
#include "json/json.h"

#define RBAC ".rbac.authorization.k8s.io"

enum { M_CLUSTERROLES, M_ROLES, M_CLUSTERBINDINGS, M_BINDINGS, M_N_ };

static const char *const mirrored[] = {
	[M_CLUSTERROLES] = "clusterroles" RBAC,
	[M_ROLES] = "roles" RBAC,
	[M_CLUSTERBINDINGS] = "clusterrolebindings" RBAC,
	[M_BINDINGS] = "rolebindings" RBAC,
};

/* One subject's share of one binding. */
struct grant {
	struct grant *next;
	const struct obj *binding;
	struct str ns; /* of a RoleBinding; empty: everywhere */
	struct str role_kind, role_name;
};

struct authz {
	struct apiserver *server;
	struct mirror mirrors[M_N_];
	/* by "u:NAME" or "g:GROUP"; rebuilt from the bindings after they changed */
	struct map grants;
	struct arena *grants_arena;
	bool stale;
};

static bool list_has(const struct json *arr, struct str s)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val);

		if (str_eqz(v, "*") || str_eq(v, s))
			return true;
	}
	return false;
}

/* "pods/log", "*", or a subresource of all: any of resources may be "*" followed by "/SUB" */
static bool rule_has_resource(const struct json *arr, const struct authz_attrs *at)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val), res;

		if (str_eqz(v, "*"))
			return true;
		if (str_empty(at->sub)) {
			if (str_eq(v, at->resource))
				return true;
			continue;
		}
		if (!str_cut(&v, '/', &res))
			continue;
		if (str_eq(v, at->sub) && (str_eqz(res, "*") || str_eq(res, at->resource)))
			return true;
	}
	return false;
}

static bool rule_has_path(const struct json *arr, struct str path)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val);

		if (str_eqz(v, "*") || str_eq(v, path))
			return true;
		if (str_strip_suffix(&v, STR("*")) && str_has_prefix(path, v))
			return true;
	}
	return false;
}

bool rule_allows(const struct json *rule, const struct authz_attrs *at)
{
	const struct json *names = json_get(rule, "resourceNames");

	if (!list_has(json_get(rule, "verbs"), at->verb))
		return false;
	if (!at->is_resource)
		return rule_has_path(json_get(rule, "nonResourceURLs"), at->path);
	if (!list_has(json_get(rule, "apiGroups"), at->group) ||
	    !rule_has_resource(json_get(rule, "resources"), at))
		return false;
	if (!json_len(names))
		return true;
	json_for_each(it, names)
	{
		if (!str_empty(at->name) && str_eq(json_as_str(it.val), at->name))
			return true;
	}
	return false;
}

/* the index */
static struct str grant_key(struct arena *a, const struct json *subject, struct str ns)
{
	struct str kind = json_str_at(subject, "kind"), name = json_str_at(subject, "name");
	struct str sns = json_str_at(subject, "namespace");

	if (str_eqz(kind, "Group"))
		return arena_fmt(a, "g:" STR_FMT, STR_ARG(name));
	if (str_eqz(kind, "ServiceAccount"))
		return arena_fmt(a, "u:system:serviceaccount:" STR_FMT ":" STR_FMT,
				 STR_ARG(str_empty(sns) ? ns : sns), STR_ARG(name));
	return arena_fmt(a, "u:" STR_FMT, STR_ARG(name));
}

static void grants_add(struct authz *az, const struct obj *binding)
{
	const struct json *b = obj_tree(binding);

	json_for_each(it, json_get(b, "subjects"))
	{
		struct grant *g = arena_new_obj(az->grants_arena, struct grant);
		struct str key = grant_key(az->grants_arena, it.val, binding->ns);

		g->binding = binding;
		g->ns = binding->ns;
		g->role_kind = json_str_at(b, "roleRef.kind");
		g->role_name = json_str_at(b, "roleRef.name");
		g->next = map_find(&az->grants, key);
		map_put(&az->grants, key, g);
	}
}

static void grants_build(struct authz *az)
{
	map_clear(&az->grants);
	arena_free(az->grants_arena);
	az->grants_arena = arena_new();
	map_for_each(e, &az->mirrors[M_CLUSTERBINDINGS].objs)
		grants_add(az, e->val);
	map_for_each(e, &az->mirrors[M_BINDINGS].objs)
		grants_add(az, e->val);
	az->stale = false;
}

static void authz_changed(struct mirror *m, const struct obj *old UNUSED,
			  const struct obj *new UNUSED)
{
	m->server->authz->stale = true;
}

struct authz *authz_new(struct apiserver *s)
{
	struct authz *az = mem_new(struct authz);

	az->server = s;
	az->grants_arena = arena_new();
	az->stale = true;
	return az;
}

struct authz *authz_free(struct authz *az)
{
	if (!az)
		return NULL;
	for (size_t i = 0; i < M_N_; i++)
		mirror_stop(&az->mirrors[i]);
	map_fini(&az->grants);
	arena_free(az->grants_arena);
	free(az);
	return NULL;
}

struct err *authz_start(struct authz *az)
{
	for (size_t i = 0; i < M_N_; i++) {
		az->mirrors[i].changed = authz_changed;
		TRY(mirror_start(&az->mirrors[i], az->server, mirrored[i]));
	}
	return NULL;
}

const struct json *authz_role_rules(struct authz *az, struct str kind, struct str ns,
				    struct str name)
{
	const struct obj *role;

	if (str_eqz(kind, "Role"))
		role = mirror_find(&az->mirrors[M_ROLES], ns, name);
	else
		role = mirror_find(&az->mirrors[M_CLUSTERROLES], STR_EMPTY, name);
	return role ? json_get(obj_tree(role), "rules") : NULL;
}

/* evaluation */
struct grant_visit {
	struct authz *az;
	struct str ns;
	bool (*fn)(const struct json *rule, const struct grant *g, void *ctx);
	void *ctx;
};

static bool grants_visit(struct grant_visit *v, char prefix, struct str name)
{
	char buf[512];
	struct str key = { buf, name.n + 2 };

	if (key.n > sizeof(buf))
		return false;
	buf[0] = prefix;
	buf[1] = ':';
	memcpy(buf + 2, name.p, name.n);
	for (const struct grant *g = map_find(&v->az->grants, key); g; g = g->next) {
		if (!str_empty(g->ns) && !str_eq(g->ns, v->ns))
			continue;
		json_for_each(it, authz_role_rules(v->az, g->role_kind, g->ns, g->role_name))
		{
			if (v->fn(it.val, g, v->ctx))
				return true;
		}
	}
	return false;
}

static bool grants_visit_user(struct grant_visit *v, const struct user_info *user)
{
	if (v->az->stale)
		grants_build(v->az);
	if (grants_visit(v, 'u', user->name))
		return true;
	for (size_t i = 0; i < user->n_groups; i++) {
		if (grants_visit(v, 'g', user->groups[i]))
			return true;
	}
	return false;
}

struct allow_ctx {
	const struct authz_attrs *at;
	const struct grant *by;
};

static bool allow_rule(const struct json *rule, const struct grant *g, void *ctx)
{
	struct allow_ctx *c = ctx;

	c->by = g;
	return rule_allows(rule, c->at);
}

static struct str allow_reason(struct arena *a, const struct grant *g, const struct user_info *u)
{
	if (str_empty(g->ns))
		return arena_fmt(a,
				 "RBAC: allowed by ClusterRoleBinding \"" STR_FMT "\" of " STR_FMT
				 " \"" STR_FMT "\" to User \"" STR_FMT "\"",
				 STR_ARG(g->binding->name), STR_ARG(g->role_kind),
				 STR_ARG(g->role_name), STR_ARG(u->name));
	return arena_fmt(a,
			 "RBAC: allowed by RoleBinding \"" STR_FMT "/" STR_FMT "\" of " STR_FMT
			 " \"" STR_FMT "\" to User \"" STR_FMT "\"",
			 STR_ARG(g->binding->name), STR_ARG(g->ns), STR_ARG(g->role_kind),
			 STR_ARG(g->role_name), STR_ARG(u->name));
}

bool authz_allowed(struct authz *az, struct arena *a, const struct authz_attrs *at,
		   struct str *ret_reason)
{
	struct allow_ctx c = { .at = at };
	struct grant_visit v = { az, at->is_resource ? at->ns : STR_EMPTY, allow_rule, &c };

	*ret_reason = STR_EMPTY;
	if (user_in_group(at->user, STR("system:masters")))
		return true;
	if (!grants_visit_user(&v, at->user))
		return false;
	*ret_reason = allow_reason(a, c.by, at->user);
	return true;
}

struct each_ctx {
	bool (*fn)(const struct json *rule, void *ctx);
	void *ctx;
};

static bool each_rule(const struct json *rule, const struct grant *g UNUSED, void *ctx)
{
	struct each_ctx *c = ctx;

	return c->fn(rule, c->ctx);
}

void authz_each_rule(struct authz *az, const struct user_info *user, struct str ns,
		     bool (*fn)(const struct json *rule, void *ctx), void *ctx)
{
	struct each_ctx c = { fn, ctx };
	struct grant_visit v = { az, ns, each_rule, &c };

	grants_visit_user(&v, user);
}
