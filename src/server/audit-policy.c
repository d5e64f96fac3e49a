/* SPDX-License-Identifier: Apache-2.0 */
#include "server/audit-policy.h"

#include "api/names.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"
#include "json/yaml.h"

#define MAX_RULES 10000

const char *const audit_level_names[] = { "None", "Metadata", "Request", "RequestResponse" };
const char *const audit_stage_names[STAGE_N_] = { "RequestReceived", "ResponseStarted",
						  "ResponseComplete", "Panic" };

struct audit_rule {
	struct audit_verdict verdict;
	const struct json *users, *groups, *verbs, *namespaces, *resources, *urls;
};

struct audit_policy {
	struct arena *arena;
	struct audit_rule *rules;
	size_t n;
};

/* checks */
static const char *const level_list[] = { "None", "Metadata", "Request", "RequestResponse", NULL };

static void policy_check_level(struct arena *a, struct str path, struct str level, struct err **e)
{
	struct str field = arena_cat(a, path, STR(".level"));

	if (str_empty(level)) {
		cause_required(e, field, NULL);
		return;
	}
	for (size_t i = 0; level_list[i]; i++) {
		if (str_eqz(level, level_list[i]))
			return;
	}
	cause_not_supported(e, field, level, level_list);
}

static void policy_check_urls(struct arena *a, struct str path, const struct json *urls,
			      struct err **e)
{
	json_for_each(it, urls)
	{
		struct str url = json_as_str(it.val);
		struct str field =
			arena_fmt(a, STR_FMT ".nonResourceURLs[%zu]", STR_ARG(path), it.i);

		if (str_eqz(url, "*"))
			continue;
		if (!str_has_prefix(url, STR("/")))
			cause_invalid_str(e, field, url,
					  "non-resource URL rules must begin with a '/' character");
		if (url.n && str_find_char(url, '*', 0) < url.n - 1)
			cause_invalid_str(e, field, url,
					  "non-resource URL wildcards '*' must be the final "
					  "character of the rule");
	}
}

static void policy_check_resources(struct arena *a, struct str path, const struct json *list,
				   struct err **e)
{
	json_for_each(it, list)
	{
		struct str group = json_str_at(it.val, "group");
		const struct json *names = json_get(it.val, "resourceNames");
		const char *bad = NULL;

		if (!str_empty(group) && !str_eqz(group, "*"))
			bad = name_check_dns_subdomain(group);
		if (bad)
			cause_invalid_str(e, arena_cat(a, path, STR(".resources.group")), group,
					  "%s", bad);
		if (json_len(names) && !json_len(json_get(it.val, "resources")))
			cause_invalid(e, arena_cat(a, path, STR(".resources.resourceNames")), names,
				      "using resourceNames requires at least one resource");
	}
}

static unsigned policy_stages(struct arena *a, struct str path, const struct json *list,
			      struct err **e)
{
	unsigned bits = 0;

	json_for_each(it, list)
	{
		struct str stage = json_as_str(it.val);
		size_t i = 0;

		while (i < STAGE_N_ && !str_eqz(stage, audit_stage_names[i]))
			i++;
		if (i < STAGE_N_)
			bits |= 1u << i;
		else
			cause_invalid_str(e, arena_fmt(a, STR_FMT "[%zu]", STR_ARG(path), it.i),
					  stage,
					  "allowed stages are RequestReceived,ResponseStarted,"
					  "ResponseComplete,Panic");
	}
	return bits;
}

/* reading */
static enum audit_level level_of(struct str s)
{
	for (int i = AUDIT_RESPONSE; i > AUDIT_NONE; i--) {
		if (str_eqz(s, audit_level_names[i]))
			return (enum audit_level)i;
	}
	return AUDIT_NONE;
}

static void policy_rule(struct audit_policy *p, const struct json *j, bool omit_managed,
			unsigned omit, struct err **e)
{
	struct arena *a = p->arena;
	struct str path = arena_fmt(a, "rules[%zu]", p->n);
	struct audit_rule *r = &p->rules[p->n++];
	const struct json *managed = json_get(j, "omitManagedFields");

	policy_check_level(a, path, json_str_at(j, "level"), e);
	policy_check_urls(a, path, json_get(j, "nonResourceURLs"), e);
	policy_check_resources(a, path, json_get(j, "resources"), e);
	*r = (struct audit_rule){
		.verdict.level = level_of(json_str_at(j, "level")),
		.users = json_get(j, "users"),
		.groups = json_get(j, "userGroups"),
		.verbs = json_get(j, "verbs"),
		.namespaces = json_get(j, "namespaces"),
		.resources = json_get(j, "resources"),
		.urls = json_get(j, "nonResourceURLs"),
	};
	r->verdict.omit = omit | policy_stages(a, arena_cat(a, path, STR(".omitStages")),
					       json_get(j, "omitStages"), e);
	r->verdict.omit_managed_fields = json_as_bool(managed, omit_managed);
	if (json_len(r->urls) && (json_len(r->resources) || json_len(r->namespaces)))
		cause_invalid(e, arena_cat(a, path, STR(".nonResourceURLs")), r->urls,
			      "rules cannot apply to both regular resources and non-resource URLs");
}

static struct err *policy_load(struct audit_policy *p, struct str text)
{
	struct json *doc = NULL;
	const struct json *rules;
	struct err *e = NULL;
	unsigned omit;

	TRY(err_wrap(yaml_parse(p->arena, text, &doc), "failed decoding"));
	if (!str_eqz(json_str_at(doc, "apiVersion"), "audit.k8s.io/v1") ||
	    !str_eqz(json_str_at(doc, "kind"), "Policy"))
		return err_new(
			ERR_INVALID,
			"unknown group version field " STR_FMT ", Kind=" STR_FMT " in policy",
			STR_ARG(json_str_at(doc, "apiVersion")), STR_ARG(json_str_at(doc, "kind")));
	rules = json_get(doc, "rules");
	if (!json_len(rules))
		return err_new(ERR_INVALID, "loaded illegal policy with 0 rules");
	if (json_len(rules) > MAX_RULES)
		return err_new(ERR_INVALID, "a policy has at most %d rules", MAX_RULES);
	omit = policy_stages(p->arena, STR("omitStages"), json_get(doc, "omitStages"), &e);
	p->rules = arena_array(p->arena, json_len(rules), sizeof(*p->rules));
	json_for_each(it, rules)
		policy_rule(p, it.val, json_bool_at(doc, "omitManagedFields", false), omit, &e);
	return error_invalid(e, STR("audit.k8s.io"), STR("Policy"), STR_EMPTY);
}

struct err *audit_policy_parse(struct str text, struct audit_policy **ret)
{
	struct audit_policy *p = mem_new(struct audit_policy);
	struct err *e;

	p->arena = arena_new();
	e = policy_load(p, text);
	if (e) {
		audit_policy_free(p);
		return e;
	}
	*ret = p;
	return NULL;
}

struct audit_policy *audit_policy_free(struct audit_policy *p)
{
	if (p) {
		arena_free(p->arena);
		free(p);
	}
	return NULL;
}

/* deciding */
static bool list_has(const struct json *list, struct str s)
{
	json_for_each(it, list)
	{
		if (str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

static bool list_has_group(const struct json *list, const struct user_info *u)
{
	for (size_t i = 0; i < u->n_groups; i++) {
		if (list_has(list, u->groups[i]))
			return true;
	}
	return false;
}

/* "pods", "pods/log", "*", "*" with "/log", "pods/" with a star */
static bool resource_fits(struct str want, const struct authz_attrs *at)
{
	struct str rest = want, res;

	if (str_eqz(want, "*"))
		return true;
	if (!str_cut(&rest, '/', &res))
		return str_empty(at->sub) && str_eq(want, at->resource);
	if (str_eqz(rest, "*") && str_eq(res, at->resource))
		return true;
	return !str_empty(at->sub) && str_eq(rest, at->sub) &&
	       (str_eqz(res, "*") || str_eq(res, at->resource));
}

static bool group_fits(const struct json *gr, const struct authz_attrs *at)
{
	struct str group = json_str_at(gr, "group");
	const struct json *resources = json_get(gr, "resources");
	const struct json *names = json_get(gr, "resourceNames");

	if (!str_eq(group, at->group) && !str_eqz(group, "*"))
		return false;
	if (!json_len(resources))
		return true;
	if (json_len(names) && !list_has(names, at->name))
		return false;
	json_for_each(it, resources)
	{
		if (resource_fits(json_as_str(it.val), at))
			return true;
	}
	return false;
}

static bool rule_fits_resource(const struct audit_rule *r, const struct authz_attrs *at)
{
	if (!at->is_resource)
		return false;
	if (json_len(r->namespaces) && !list_has(r->namespaces, at->ns))
		return false;
	if (!json_len(r->resources))
		return true;
	json_for_each(it, r->resources)
	{
		if (group_fits(it.val, at))
			return true;
	}
	return false;
}

static bool rule_fits_url(const struct audit_rule *r, const struct authz_attrs *at)
{
	json_for_each(it, r->urls)
	{
		struct str spec = json_as_str(it.val);

		if (at->is_resource)
			return false;
		if (str_eqz(spec, "*") || str_eq(spec, at->path))
			return true;
		if (str_strip_suffix(&spec, STR("*")) && str_has_prefix(at->path, spec))
			return true;
	}
	return false;
}

static bool rule_fits(const struct audit_rule *r, const struct authz_attrs *at)
{
	if (json_len(r->users) && !list_has(r->users, at->user->name))
		return false;
	if (json_len(r->groups) && !list_has_group(r->groups, at->user))
		return false;
	if (json_len(r->verbs) && !list_has(r->verbs, at->verb))
		return false;
	if (json_len(r->namespaces) || json_len(r->resources))
		return rule_fits_resource(r, at);
	return !json_len(r->urls) || rule_fits_url(r, at);
}

struct audit_verdict audit_policy_decide(const struct audit_policy *p, const struct authz_attrs *at)
{
	for (size_t i = 0; i < p->n; i++) {
		if (rule_fits(&p->rules[i], at))
			return p->rules[i].verdict;
	}
	return (struct audit_verdict){ .level = AUDIT_NONE };
}
