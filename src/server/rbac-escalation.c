/* SPDX-License-Identifier: Apache-2.0 */
#include "server/rbac-escalation.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "server/authz.h"
#include "server/errors.h"
#include "server/request.h"
#include "json/json.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"
#define MAX_WISHES 50000 /* single permissions in one role that are looked at */

/* covering */
static bool has(const struct json *arr, struct str s)
{
	json_for_each(it, arr)
	{
		if (str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

static bool has_all(const struct json *set, const struct json *wanted)
{
	json_for_each(it, wanted)
	{
		if (!has(set, json_as_str(it.val)))
			return false;
	}
	return true;
}

/* "*" followed by "/SUB" */
static bool has_star_sub(const struct json *set, struct str sub)
{
	json_for_each(it, set)
	{
		struct str v = json_as_str(it.val);

		if (str_strip_prefix(&v, STR("*/")) && str_eq(v, sub))
			return true;
	}
	return false;
}

static bool covers_resources(const struct json *set, const struct json *wanted)
{
	if (has(set, STR("*")))
		return true;
	json_for_each(it, wanted)
	{
		struct str sub = json_as_str(it.val), base;

		if (has(set, sub))
			continue;
		if (!str_cut(&sub, '/', &base) || !has_star_sub(set, sub))
			return false;
	}
	return true;
}

static bool covers_url(const struct json *set, struct str url)
{
	json_for_each(it, set)
	{
		struct str v = json_as_str(it.val);

		if (str_eq(v, url))
			return true;
		if (!str_has_suffix(v, STR("*")))
			continue;
		while (str_strip_suffix(&v, STR("*")))
			continue;
		if (str_has_prefix(url, v))
			return true;
	}
	return false;
}

static bool covers_urls(const struct json *set, const struct json *wanted)
{
	json_for_each(it, wanted)
	{
		if (!covers_url(set, json_as_str(it.val)))
			return false;
	}
	return true;
}

static bool covers_list(const struct json *owner, const struct json *rule, const char *key)
{
	const struct json *set = json_get(owner, key);

	return has(set, STR("*")) || has_all(set, json_get(rule, key));
}

static bool covers_names(const struct json *set, const struct json *wanted)
{
	return !json_len(set) || (json_len(wanted) && has_all(set, wanted));
}

bool rule_covers(const struct json *owner, const struct json *rule)
{
	return covers_list(owner, rule, "verbs") && covers_list(owner, rule, "apiGroups") &&
	       covers_resources(json_get(owner, "resources"), json_get(rule, "resources")) &&
	       covers_names(json_get(owner, "resourceNames"), json_get(rule, "resourceNames")) &&
	       covers_urls(json_get(owner, "nonResourceURLs"), json_get(rule, "nonResourceURLs"));
}

/* what is missing: rules of one thing each, their verbs gathered */
struct escalation {
	struct api_request *rq;
	struct arena *a;
	const struct json **owned;
	size_t n_owned, cap_owned;
	struct map missing; /* by what, without the verbs -> rule */
	size_t wishes;
};

static bool owned_add(const struct json *rule, void *ctx)
{
	struct escalation *e = ctx;

	if (e->n_owned == e->cap_owned) {
		size_t cap = e->cap_owned ? e->cap_owned * 2 : 64;
		const struct json **v = arena_array(e->a, cap, sizeof(struct json *));

		for (size_t i = 0; i < e->n_owned; i++)
			v[i] = e->owned[i];
		e->owned = v;
		e->cap_owned = cap;
	}
	e->owned[e->n_owned++] = rule;
	return false;
}

static bool owned_covers(struct escalation *e, const struct json *rule)
{
	for (size_t i = 0; i < e->n_owned; i++) {
		if (rule_covers(e->owned[i], rule))
			return true;
	}
	return false;
}

struct wish {
	struct str verb, group, resource, name, url; /* p NULL: not part of it */
};

static void wish_set(struct arena *a, struct json *rule, const char *key, struct str val)
{
	if (val.p)
		json_push(json_sub_array(a, rule, key), json_str(a, val));
}

static struct json *wish_rule(struct arena *a, const struct wish *w)
{
	struct json *rule = json_object(a);

	wish_set(a, rule, "apiGroups", w->group);
	wish_set(a, rule, "resources", w->resource);
	wish_set(a, rule, "nonResourceURLs", w->url);
	wish_set(a, rule, "resourceNames", w->name);
	wish_set(a, rule, "verbs", w->verb);
	return rule;
}

static void escalation_wish(struct escalation *e, const struct wish *w)
{
	struct json *rule, *same;
	struct str key;

	if (e->wishes++ >= MAX_WISHES)
		return;
	rule = wish_rule(e->a, w);
	if (owned_covers(e, rule))
		return;
	key = arena_fmt(e->a, "%d" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT,
			w->name.p != NULL, STR_ARG(w->group), STR_ARG(w->resource),
			STR_ARG(w->name), STR_ARG(w->url), STR_ARG(w->url.p ? w->verb : w->url));
	same = map_find(&e->missing, key);
	if (same)
		json_push(json_get(same, "verbs"), json_str(e->a, w->verb));
	else
		map_put(&e->missing, key, rule);
}

static void escalation_names(struct escalation *e, const struct json *names, struct wish *w)
{
	w->name = (struct str){ 0 };
	if (!json_len(names))
		escalation_wish(e, w);
	json_for_each(it, names)
	{
		w->name = json_as_str(it.val);
		escalation_wish(e, w);
	}
}

static void escalation_rule(struct escalation *e, const struct json *rule)
{
	struct wish w = { .url = { NULL, 0 } };

	/* most roles are granted by those who hold everything */
	if (owned_covers(e, rule))
		return;
	json_for_each(g, json_get(rule, "apiGroups"))
	{
		w.group = json_as_str(g.val);
		json_for_each(r, json_get(rule, "resources"))
		{
			w.resource = json_as_str(r.val);
			json_for_each(v, json_get(rule, "verbs"))
			{
				w.verb = json_as_str(v.val);
				escalation_names(e, json_get(rule, "resourceNames"), &w);
			}
		}
	}
	w = (struct wish){ .url = { NULL, 0 } };
	json_for_each(u, json_get(rule, "nonResourceURLs"))
	{
		w.url = json_as_str(u.val);
		json_for_each(v, json_get(rule, "verbs"))
		{
			w.verb = json_as_str(v.val);
			escalation_wish(e, &w);
		}
	}
}

bool rules_cover(struct arena *a, const struct json *rules, const struct json *rule)
{
	struct escalation e = { .a = a };
	bool ok;

	json_for_each(it, rules) owned_add(it.val, &e);
	escalation_rule(&e, rule);
	ok = !e.missing.n && e.wishes < MAX_WISHES;
	map_fini(&e.missing);
	return ok;
}

/* {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]} */
static struct str rule_print(struct arena *a, const struct json *rule)
{
	static const struct {
		const char *key, *label;
	} parts[] = {
		{ "apiGroups", "APIGroups" },
		{ "resources", "Resources" },
		{ "nonResourceURLs", "NonResourceURLs" },
		{ "resourceNames", "ResourceNames" },
		{ "verbs", "Verbs" },
	};
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const struct json *arr = json_get(rule, parts[i].key);

		if (!json_len(arr))
			continue;
		buf_addf(&b, "%s%s:[", b.n ? ", " : "{", parts[i].label);
		json_for_each(it, arr) buf_addf(&b, "%s\"" STR_FMT "\"", it.i ? " " : "",
						STR_ARG(json_as_str(it.val)));
		buf_addc(&b, ']');
	}
	buf_addc(&b, '}');
	return buf_to_arena(&b, a);
}

static int line_cmp(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str missing_lines(struct escalation *e)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str *lines = arena_array(e->a, e->missing.n + 1, sizeof(*lines));
	size_t n = 0;

	map_for_each(m, &e->missing)
		lines[n++] = rule_print(e->a, m->val);
	qsort(lines, n, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < n; i++) {
		if (!i || !str_eq(lines[i], lines[i - 1]))
			buf_addf(&b, "%s" STR_FMT, i ? "\n" : "", STR_ARG(lines[i]));
	}
	return buf_to_arena(&b, e->a);
}

static struct str groups_print(struct arena *a, const struct user_info *u)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < u->n_groups; i++)
		buf_addf(&b, "%s\"" STR_FMT "\"", i ? " " : "", STR_ARG(u->groups[i]));
	return buf_to_arena(&b, a);
}

static struct err *escalation_refuse(struct escalation *e, struct str name, struct str unresolved)
{
	struct api_request *rq = e->rq;
	const char *more = "";

	if (e->wishes >= MAX_WISHES)
		return error_forbidden(rq->res, name,
				       "the rules name more than %d single permissions, which is "
				       "too many to check",
				       MAX_WISHES);
	if (!str_empty(unresolved))
		more = arena_fmt(e->a, "; resolution errors: [" STR_FMT "]", STR_ARG(unresolved)).p;
	return error_forbidden(rq->res, name,
			       "user \"" STR_FMT "\" (groups=[" STR_FMT
			       "]) is attempting to grant RBAC permissions not currently "
			       "held:\n" STR_FMT "%s",
			       STR_ARG(rq->user.name), STR_ARG(groups_print(e->a, &rq->user)),
			       STR_ARG(missing_lines(e)), more);
}

static struct err *escalation_check(struct api_request *rq, const struct json *rules,
				    struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct escalation e = { .rq = rq, .a = a };
	struct str unresolved;
	struct err *err = NULL;

	rbac_each_rule(authz_rbac(rq->server->authz), a, &rq->user, rq->ns, owned_add, &e,
		       &unresolved);
	json_for_each(it, rules) escalation_rule(&e, it.val);
	if (e.missing.n || e.wishes >= MAX_WISHES)
		err = escalation_refuse(&e, name, unresolved);
	map_fini(&e.missing);
	return err;
}

/* who need not be checked */
static bool escalation_trusted(const struct api_request *rq)
{
	return !rq->x || user_in_group(&rq->user, STR("system:masters"));
}

static bool escalation_may(struct api_request *rq, const char *verb, struct str resource,
			   struct str name)
{
	struct authz_attrs at = {
		.user = &rq->user,
		.verb = str_from(verb),
		.is_resource = true,
		.group = STR(RBAC_GROUP),
		.version = STR("*"),
		.resource = resource,
		.ns = rq->ns,
		.name = name,
	};

	return authz_allowed(rq->server->authz, rq->arena, &at, NULL);
}

/* The garbage collector's changes grant nothing. */
static bool only_gc_fields(struct arena *a, const struct json *obj, const struct json *old)
{
	static const char *const free_fields[] = { "ownerReferences", "finalizers", "selfLink",
						   "managedFields", "resourceVersion" };
	struct json *x = json_copy(a, obj), *y = json_copy(a, old);

	for (size_t i = 0; i < ARRAY_LEN(free_fields); i++) {
		json_delz(json_get(x, "metadata"), free_fields[i]);
		json_delz(json_get(y, "metadata"), free_fields[i]);
	}
	json_delz(x, "apiVersion");
	json_delz(y, "apiVersion");
	json_delz(x, "kind");
	json_delz(y, "kind");
	return json_equal(x, y);
}

/* Refusals do not tell a generated name: nothing has it. */
static struct str given_name(const struct json *obj)
{
	return str_empty(json_str_at(obj, "metadata.generateName")) ? meta_name(obj) : STR_EMPTY;
}

static bool has_aggregation(const struct json *role)
{
	return json_len(json_at(role, "aggregationRule.clusterRoleSelectors")) > 0;
}

static struct err *escalation_check_aggregation(struct api_request *rq, struct str name)
{
	static const char everything[] =
		"[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
		"{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
	struct json *rules = NULL;
	struct err *e;

	TRY(json_parse(rq->arena, str_from(everything), &rules));
	e = escalation_check(rq, rules, name);
	if (!e)
		return NULL;
	err_ignore(e, "said in other words");
	return error_forbidden(rq->res, name,
			       "must have cluster-admin privileges to use the aggregationRule");
}

struct err *escalation_check_role(struct api_request *rq, const struct json *obj,
				  const struct json *old)
{
	struct str name = rq->verb == VERB_CREATE ? STR_EMPTY : rq->name;

	if (escalation_trusted(rq) || escalation_may(rq, "escalate", rq->res->plural, name))
		return NULL;
	if (old && only_gc_fields(rq->arena, obj, old))
		return NULL;
	TRY(escalation_check(rq, json_get(obj, "rules"), given_name(obj)));
	if (has_aggregation(obj) || (old && has_aggregation(old)))
		return escalation_check_aggregation(rq, given_name(obj));
	return NULL;
}

/* Upstream looks the role up in the name of the binding. */
static struct err *escalation_no_role(struct api_request *rq, struct str kind, struct str name)
{
	if (!str_eqz(kind, "Role") && !str_eqz(kind, "ClusterRole"))
		return err_new(ERR_UNKNOWN, "unsupported role reference kind: \"" STR_FMT "\"",
			       STR_ARG(kind));
	return error_not_found(rq->res, name);
}

struct err *escalation_check_binding(struct api_request *rq, const struct json *obj,
				     const struct json *old)
{
	struct str kind = json_str_at(obj, "roleRef.kind"), name = json_str_at(obj, "roleRef.name");
	struct rbac *rbac = authz_rbac(rq->server->authz);
	const struct json *rules;
	bool role = str_eqz(kind, "Role");

	if (escalation_trusted(rq) || (old && only_gc_fields(rq->arena, obj, old)))
		return NULL;
	if ((role || str_eqz(kind, "ClusterRole")) &&
	    str_eqz(json_str_at(obj, "roleRef.apiGroup"), RBAC_GROUP) &&
	    escalation_may(rq, "bind", role ? STR("roles") : STR("clusterroles"), name))
		return NULL;
	if (!rbac_role_exists(rbac, kind, rq->ns, name))
		return escalation_no_role(rq, kind, name);
	rules = rbac_role_rules(rbac, kind, rq->ns, name);
	return escalation_check(rq, rules, given_name(obj));
}
