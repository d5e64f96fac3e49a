/* SPDX-License-Identifier: Apache-2.0 */
#include "server/rbac.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "server/authn.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define RBAC        ".rbac.authorization.k8s.io"
#define MAX_MISSING 32 /* roles named in a refusal */

enum { M_CLUSTERROLES, M_ROLES, M_CLUSTERBINDINGS, M_BINDINGS, M_N_ };

static const char *const mirrored[] = {
	[M_CLUSTERROLES] = "clusterroles" RBAC,
	[M_ROLES] = "roles" RBAC,
	[M_CLUSTERBINDINGS] = "clusterrolebindings" RBAC,
	[M_BINDINGS] = "rolebindings" RBAC,
};

/* Those who are the same subject in the same namespace. */
struct bucket {
	struct list grants;
	struct str key; /* owned */
};

struct grant {
	struct list link;
	struct binding *by;
	struct bucket *bucket;
	size_t index; /* of the subject */
};

/* What is needed of a binding; strings are owned. */
struct binding {
	struct str ns, name, role_kind, role_name;
	struct str *subjects; /* as reasons name them: Group "x" */
	struct grant *grants;
	size_t n;
};

struct rbac {
	struct apiserver *server;
	struct mirror mirrors[M_N_];
	struct map buckets;  /* by "NS/u:NAME" or "NS/g:GROUP" */
	struct map bindings; /* by "NS/NAME" */
};

/* the index */
static struct str str_own(struct str s)
{
	return str_make(mem_strdup(s), s.n);
}

static void str_disown(struct str s)
{
	free((void *)(uintptr_t)s.p);
}

static struct bucket *bucket_get(struct rbac *r, struct str key)
{
	struct bucket *b = map_find(&r->buckets, key);

	if (b)
		return b;
	b = mem_new(struct bucket);
	list_init(&b->grants);
	b->key = str_own(key);
	map_put(&r->buckets, key, b);
	return b;
}

static void bucket_release(struct rbac *r, struct bucket *b)
{
	if (!list_empty(&b->grants))
		return;
	map_del(&r->buckets, b->key);
	str_disown(b->key);
	free(b);
}

/* False for a subject that nobody is. */
static bool subject_key(struct buf *b, const struct json *subject, struct str ns)
{
	struct str kind = json_str_at(subject, "kind"), name = json_str_at(subject, "name");
	struct str sns = json_str_at(subject, "namespace");

	buf_addf(b, STR_FMT "/", STR_ARG(ns));
	if (str_eqz(kind, "Group")) {
		buf_addf(b, "g:" STR_FMT, STR_ARG(name));
		return true;
	}
	if (str_eqz(kind, "User")) {
		buf_addf(b, "u:" STR_FMT, STR_ARG(name));
		return true;
	}
	if (str_empty(sns))
		sns = ns;
	if (!str_eqz(kind, "ServiceAccount") || str_empty(sns))
		return false;
	buf_addf(b, "u:system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(sns), STR_ARG(name));
	return true;
}

static struct str subject_describe(const struct json *subject, struct str ns)
{
	struct str kind = json_str_at(subject, "kind"), name = json_str_at(subject, "name");
	struct str sns = json_str_at(subject, "namespace");
	char *text;

	if (str_eqz(kind, "ServiceAccount"))
		text = mem_fmt(STR_FMT " \"" STR_FMT "/" STR_FMT "\"", STR_ARG(kind), STR_ARG(name),
			       STR_ARG(str_empty(sns) ? ns : sns));
	else
		text = mem_fmt(STR_FMT " \"" STR_FMT "\"", STR_ARG(kind), STR_ARG(name));
	return str_from(text);
}

static void binding_free(struct rbac *r, struct binding *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++) {
		str_disown(b->subjects[i]);
		if (!b->grants[i].bucket)
			continue;
		list_unlink(&b->grants[i].link);
		bucket_release(r, b->grants[i].bucket);
	}
	str_disown(b->ns);
	str_disown(b->name);
	str_disown(b->role_kind);
	str_disown(b->role_name);
	free(b->subjects);
	free(b->grants);
	free(b);
}

static struct binding *binding_new(struct rbac *r, struct str ns, struct str name,
				   const struct json *j)
{
	const struct json *subjects = json_get(j, "subjects");
	struct binding *b = mem_new(struct binding);

	b->ns = str_own(ns);
	b->name = str_own(name);
	b->role_kind = str_own(json_str_at(j, "roleRef.kind"));
	b->role_name = str_own(json_str_at(j, "roleRef.name"));
	b->n = json_len(subjects);
	b->subjects = mem_zalloc(b->n + 1, sizeof(*b->subjects));
	b->grants = mem_zalloc(b->n + 1, sizeof(*b->grants));
	json_for_each(it, subjects)
	{
		_cleanup_buf_ struct buf key = { 0 };
		struct grant *g = &b->grants[it.i];

		b->subjects[it.i] = subject_describe(it.val, ns);
		if (!subject_key(&key, it.val, ns))
			continue;
		g->by = b;
		g->index = it.i;
		g->bucket = bucket_get(r, buf_str(&key));
		list_push_back(&g->bucket->grants, &g->link);
	}
	return b;
}

static struct str binding_key(struct buf *b, struct str ns, struct str name)
{
	buf_addf(b, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
	return buf_str(b);
}

void rbac_binding_set(struct rbac *r, struct str ns, struct str name, const struct json *binding)
{
	_cleanup_buf_ struct buf key = { 0 };

	binding_free(r, map_put(&r->bindings, binding_key(&key, ns, name),
				binding_new(r, ns, name, binding)));
}

void rbac_binding_del(struct rbac *r, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf key = { 0 };

	binding_free(r, map_del(&r->bindings, binding_key(&key, ns, name)));
}

static void rbac_binding_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	struct rbac *r = m->ctx;

	if (!new) {
		rbac_binding_del(r, old->ns, old->name);
		return;
	}
	rbac_binding_set(r, new->ns, new->name, obj_tree(new));
	obj_forget_tree(new);
}

struct rbac *rbac_new(struct apiserver *s)
{
	struct rbac *r = mem_new(struct rbac);

	r->server = s;
	return r;
}

struct rbac *rbac_free(struct rbac *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < M_N_; i++)
		mirror_stop(&r->mirrors[i]);
	map_for_each(e, &r->bindings)
		binding_free(r, e->val);
	map_fini(&r->bindings);
	map_fini(&r->buckets);
	free(r);
	return NULL;
}

struct err *rbac_start(struct rbac *r)
{
	r->mirrors[M_CLUSTERBINDINGS].changed = rbac_binding_changed;
	r->mirrors[M_BINDINGS].changed = rbac_binding_changed;
	for (size_t i = 0; i < M_N_; i++) {
		r->mirrors[i].ctx = r;
		TRY(mirror_start(&r->mirrors[i], r->server, mirrored[i]));
	}
	return NULL;
}

static const struct obj *role_find(struct rbac *r, struct str kind, struct str ns, struct str name)
{
	if (str_eqz(kind, "Role"))
		return mirror_find(&r->mirrors[M_ROLES], ns, name);
	if (str_eqz(kind, "ClusterRole"))
		return mirror_find(&r->mirrors[M_CLUSTERROLES], STR_EMPTY, name);
	return NULL;
}

bool rbac_role_exists(struct rbac *r, struct str kind, struct str ns, struct str name)
{
	return role_find(r, kind, ns, name) != NULL;
}

const struct json *rbac_role_rules(struct rbac *r, struct str kind, struct str ns, struct str name)
{
	const struct obj *role = role_find(r, kind, ns, name);

	return role ? json_get(obj_tree(role), "rules") : NULL;
}

/* evaluation */
struct visit {
	struct rbac *r;
	const struct user_info *user;
	bool once; /* each binding for its first subject only */
	bool (*fn)(const struct json *rule, const struct grant *g, void *ctx);
	void *ctx;
	struct arena *a;
	struct str missing[MAX_MISSING];
	size_t n_missing;
};

static void visit_missing(struct visit *v, const struct binding *b)
{
	struct str text;

	if (!v->a || v->n_missing == MAX_MISSING)
		return;
	text = arena_fmt(v->a, "%s.rbac.authorization.k8s.io \"" STR_FMT "\" not found",
			 str_eqz(b->role_kind, "Role") ? "role" : "clusterrole",
			 STR_ARG(b->role_name));
	for (size_t i = 0; i < v->n_missing; i++) {
		if (str_eq(v->missing[i], text))
			return;
	}
	v->missing[v->n_missing++] = text;
}

static bool grant_applies(const struct grant *g, const struct user_info *u)
{
	struct str key;

	if (!g->bucket)
		return false;
	key = g->bucket->key;
	/* behind the namespace: "u:NAME", "g:GROUP" */
	key = str_skip(key, str_find_char(key, '/', 0) + 1);
	if (key.p[0] == 'u')
		return str_eq(str_skip(key, 2), u->name);
	return user_in_group(u, str_skip(key, 2));
}

/* The first subject of the binding that the user is. */
static const struct grant *grant_first(const struct grant *g, const struct user_info *u)
{
	const struct binding *b = g->by;

	for (size_t i = 0; i < g->index; i++) {
		if (grant_applies(&b->grants[i], u))
			return &b->grants[i];
	}
	return g;
}

static bool visit_grant(struct visit *v, const struct grant *g)
{
	const struct binding *b = g->by;
	const struct obj *role;

	if (v->once && grant_first(g, v->user) != g)
		return false;
	role = role_find(v->r, b->role_kind, b->ns, b->role_name);
	if (!role) {
		visit_missing(v, b);
		return false;
	}
	json_for_each(it, json_get(obj_tree(role), "rules"))
	{
		if (v->fn(it.val, g, v->ctx))
			return true;
	}
	return false;
}

static bool visit_subject(struct visit *v, struct str ns, char kind, struct str name)
{
	char small[256];
	struct str key = { small, ns.n + name.n + 3 };
	_cleanup_free_ char *big = NULL;
	const struct bucket *bucket;
	const struct grant *g;
	char *p = small;

	if (key.n > sizeof(small))
		key.p = p = big = mem_alloc(key.n);
	if (ns.n)
		memcpy(p, ns.p, ns.n);
	p[ns.n] = '/';
	p[ns.n + 1] = kind;
	p[ns.n + 2] = ':';
	if (name.n)
		memcpy(p + ns.n + 3, name.p, name.n);
	bucket = map_find(&v->r->buckets, key);
	if (!bucket)
		return false;
	list_for_each(g, &bucket->grants, link) {
		if (visit_grant(v, g))
			return true;
	}
	return false;
}

static bool visit_ns(struct visit *v, struct str ns)
{
	if (visit_subject(v, ns, 'u', v->user->name))
		return true;
	for (size_t i = 0; i < v->user->n_groups; i++) {
		if (visit_subject(v, ns, 'g', v->user->groups[i]))
			return true;
	}
	return false;
}

static bool visit_all(struct visit *v, struct str ns)
{
	return visit_ns(v, STR_EMPTY) || (!str_empty(ns) && visit_ns(v, ns));
}

static struct str visit_missing_text(const struct visit *v)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (!v->n_missing)
		return STR_EMPTY;
	buf_addz(&b, v->n_missing > 1 ? "[" : "");
	for (size_t i = 0; i < v->n_missing; i++)
		buf_addf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(v->missing[i]));
	buf_addz(&b, v->n_missing > 1 ? "]" : "");
	return buf_to_arena(&b, v->a);
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
	const struct binding *b = g->by;
	struct str subject = b->subjects[grant_first(g, u)->index];

	if (str_empty(b->ns))
		return arena_fmt(a,
				 "RBAC: allowed by ClusterRoleBinding \"" STR_FMT "\" of " STR_FMT
				 " \"" STR_FMT "\" to " STR_FMT,
				 STR_ARG(b->name), STR_ARG(b->role_kind), STR_ARG(b->role_name),
				 STR_ARG(subject));
	return arena_fmt(a,
			 "RBAC: allowed by RoleBinding \"" STR_FMT "/" STR_FMT "\" of " STR_FMT
			 " \"" STR_FMT "\" to " STR_FMT,
			 STR_ARG(b->name), STR_ARG(b->ns), STR_ARG(b->role_kind),
			 STR_ARG(b->role_name), STR_ARG(subject));
}

bool rbac_allowed(struct rbac *r, struct arena *a, const struct authz_attrs *at,
		  struct str *ret_reason)
{
	struct allow_ctx c = { .at = at };
	struct visit v = { .r = r, .user = at->user, .fn = allow_rule, .ctx = &c };
	bool ok;

	if (ret_reason)
		v.a = a;
	ok = visit_all(&v, at->is_resource ? at->ns : STR_EMPTY);
	if (!ret_reason)
		return ok;
	if (ok) {
		*ret_reason = allow_reason(a, c.by, at->user);
		return true;
	}
	*ret_reason = visit_missing_text(&v);
	if (!str_empty(*ret_reason))
		*ret_reason = arena_cat(a, STR("RBAC: "), *ret_reason);
	return false;
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

void rbac_each_rule(struct rbac *r, struct arena *a, const struct user_info *user, struct str ns,
		    bool (*fn)(const struct json *rule, void *ctx), void *ctx,
		    struct str *ret_missing)
{
	struct each_ctx c = { fn, ctx };
	struct visit v = { .r = r, .user = user, .once = true, .fn = each_rule, .ctx = &c, .a = a };

	visit_all(&v, ns);
	if (ret_missing)
		*ret_missing = visit_missing_text(&v);
}
