/* SPDX-License-Identifier: Apache-2.0 */
#include "server/hook-config.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/errors.h"
#include "json/json.h"

#define CONDITIONS_MAX 64

const char *const hook_failure_policies[] = { "Fail", "Ignore", NULL };
const char *const hook_match_policies[] = { "Equivalent", "Exact", NULL };
const char *const hook_reinvocation_policies[] = { "IfNeeded", "Never", NULL };

struct str hook_field(struct arena *a, struct str base, const char *name)
{
	return arena_fmt(a, STR_FMT "%s%s", STR_ARG(base), base.n ? "." : "", name);
}

struct str hook_index(struct arena *a, struct str base, size_t i)
{
	return arena_fmt(a, STR_FMT "[%zu]", STR_ARG(base), i);
}

static bool among(struct str s, const char *const *names)
{
	for (; *names; names++)
		if (str_eqz(s, *names))
			return true;
	return false;
}

void hook_check_enum(struct err **e, struct arena *a, const struct json *of, const char *member,
		     struct str base, const char *const *allowed, bool required)
{
	const struct json *v = json_get(of, member);

	if (!json_as_str(v).n) {
		if (required)
			cause_required(e, hook_field(a, base, member), NULL);
	} else if (!among(json_as_str(v), allowed)) {
		cause_not_supported(e, hook_field(a, base, member), json_as_str(v), allowed);
	}
}

/* ---- rules */

static bool has_star(const struct json *list)
{
	json_for_each(it, list)
	{
		if (str_eqz(json_as_str(it.val), "*"))
			return true;
	}
	return false;
}

/* Not empty, and a star stands alone; empty strings are wrong when filled says so. */
static void check_list(struct err **e, struct arena *a, const struct json *list, struct str at,
		       const char *what, bool filled)
{
	if (!json_len(list))
		cause_required(e, at, NULL);
	if (json_len(list) > 1 && has_star(list))
		cause_invalid(e, at, list, "if '*' is present, must not specify other %s", what);
	json_for_each(it, list)
	{
		if (filled && !json_as_str(it.val).n)
			cause_required(e, hook_index(a, at, it.i), NULL);
	}
}

static void check_operations(struct err **e, struct arena *a, const struct json *ops, struct str at)
{
	static const char *const allowed[] = { "*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL };

	check_list(e, a, ops, at, "operations", false);
	json_for_each(it, ops)
	{
		if (!among(json_as_str(it.val), allowed))
			cause_not_supported(e, hook_index(a, at, it.i), json_as_str(it.val),
					    allowed);
	}
}

/* What the items of resources[] said so far. */
struct resources_seen {
	struct json *all_subs;      /* X of "X/STAR" */
	struct json *all_resources; /* Y of "STAR/Y" */
	bool everything, star, plain;
};

static void check_resource(struct err **e, struct arena *a, struct str r, struct str at,
			   struct resources_seen *s)
{
	struct str sub = r, res;

	if (!r.n) {
		cause_required(e, at, NULL);
		return;
	}
	s->everything |= str_eqz(r, "*/*");
	s->star |= str_eqz(r, "*");
	if (!str_contains(r, STR("/"))) {
		s->plain = !str_eqz(r, "*");
		return;
	}
	str_cut(&sub, '/', &res);
	if (json_get_s(s->all_subs, res))
		cause_invalid_str(e, at, r,
				  "if '" STR_FMT "/*' is present, must not specify " STR_FMT,
				  STR_ARG(res), STR_ARG(r));
	if (json_get_s(s->all_resources, sub))
		cause_invalid_str(e, at, r,
				  "if '*/" STR_FMT "' is present, must not specify " STR_FMT,
				  STR_ARG(sub), STR_ARG(r));
	if (str_eqz(sub, "*"))
		json_set_s(a, s->all_subs, res, json_bool(a, true));
	if (str_eqz(res, "*"))
		json_set_s(a, s->all_resources, sub, json_bool(a, true));
}

static void check_resources(struct err **e, struct arena *a, const struct json *list, struct str at)
{
	struct resources_seen s = { .all_subs = json_object(a), .all_resources = json_object(a) };

	if (!json_len(list))
		cause_required(e, at, NULL);
	json_for_each(it, list)
		check_resource(e, a, json_as_str(it.val), hook_index(a, at, it.i), &s);
	if (json_len(list) > 1 && s.everything)
		cause_invalid(e, at, list, "if '*/*' is present, must not specify other resources");
	if (s.star && s.plain)
		cause_invalid(e, at, list,
			      "if '*' is present, must not specify other resources without "
			      "subresources");
}

static void check_names(struct err **e, struct arena *a, const struct json *names, struct str at)
{
	const bool *again = json_repeats(a, names, NULL);

	json_for_each(it, names)
	{
		struct str name = json_as_str(it.val);
		const char *bad = name_check_path_segment(name);

		if (bad)
			cause_invalid_str(e, hook_index(a, at, it.i), name, "%s", bad);
		if (again && again[it.i])
			cause_duplicate(e, hook_index(a, at, it.i), it.val);
	}
}

static void check_rule(struct err **e, struct arena *a, const struct json *rule, struct str at,
		       bool named)
{
	static const char *const scopes[] = { "*", "Cluster", "Namespaced", NULL };

	if (named)
		check_names(e, a, json_get(rule, "resourceNames"),
			    hook_field(a, at, "resourceNames"));
	check_operations(e, a, json_get(rule, "operations"), hook_field(a, at, "operations"));
	check_list(e, a, json_get(rule, "apiGroups"), hook_field(a, at, "apiGroups"), "API groups",
		   false);
	check_list(e, a, json_get(rule, "apiVersions"), hook_field(a, at, "apiVersions"),
		   "API versions", true);
	check_resources(e, a, json_get(rule, "resources"), hook_field(a, at, "resources"));
	hook_check_enum(e, a, rule, "scope", at, scopes, false);
}

void hook_check_rules(struct err **e, struct arena *a, const struct json *rules, struct str base,
		      bool named)
{
	json_for_each(it, rules) check_rule(e, a, it.val, hook_index(a, base, it.i), named);
}

/* ---- selectors */

static void check_labels(struct err **e, struct arena *a, const struct json *labels, struct str at)
{
	json_for_each(it, labels)
	{
		const char *bad = name_check_qualified(it.key);

		if (bad)
			cause_invalid_str(e, at, it.key, "%s", bad);
		bad = name_check_label_value(json_as_str(it.val));
		if (bad)
			cause_invalid_str(e, at, json_as_str(it.val), "%s", bad);
	}
}

static void check_requirement(struct err **e, struct arena *a, const struct json *r, struct str at)
{
	struct str op = json_str_at(r, "operator"), key = json_str_at(r, "key");
	const struct json *values = json_get(r, "values");
	const char *bad;

	if (str_eqz(op, "In") || str_eqz(op, "NotIn")) {
		if (!json_len(values))
			cause_required(e, hook_field(a, at, "values"),
				       "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (str_eqz(op, "Exists") || str_eqz(op, "DoesNotExist")) {
		if (json_len(values))
			cause_forbidden(e, hook_field(a, at, "values"),
					"may not be specified when `operator` is 'Exists' or "
					"'DoesNotExist'");
	} else {
		cause_invalid_str(e, hook_field(a, at, "operator"), op,
				  "not a valid selector operator");
	}
	bad = name_check_qualified(key);
	if (bad)
		cause_invalid_str(e, hook_field(a, at, "key"), key, "%s", bad);
	json_for_each(it, values)
	{
		bad = name_check_label_value(json_as_str(it.val));
		if (bad)
			cause_invalid_str(e, hook_index(a, hook_field(a, at, "values"), it.i),
					  json_as_str(it.val), "%s", bad);
	}
}

void hook_check_selector(struct err **e, struct arena *a, const struct json *sel, struct str base)
{
	struct str at = hook_field(a, base, "matchExpressions");

	check_labels(e, a, json_get(sel, "matchLabels"), hook_field(a, base, "matchLabels"));
	json_for_each(it, json_get(sel, "matchExpressions"))
		check_requirement(e, a, it.val, hook_index(a, at, it.i));
}

/* ---- MatchResources */

void hook_check_match(struct err **e, struct arena *a, const struct json *match, struct str base)
{
	static const char *const selectors[] = { "namespaceSelector", "objectSelector" };

	if (!match)
		return;
	hook_check_enum(e, a, match, "matchPolicy", base, hook_match_policies, true);
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++) {
		const struct json *sel = json_get(match, selectors[i]);

		if (json_is_null(sel))
			cause_required(e, hook_field(a, base, selectors[i]), NULL);
		else
			hook_check_selector(e, a, sel, hook_field(a, base, selectors[i]));
	}
	hook_check_rules(e, a, json_get(match, "resourceRules"),
			 hook_field(a, base, "resourceRules"), true);
	hook_check_rules(e, a, json_get(match, "excludeResourceRules"),
			 hook_field(a, base, "excludeResourceRules"), true);
}

void hook_check_no_delete(struct err **e, struct arena *a, const struct json *match,
			  struct str base)
{
	static const char *const allowed[] = { "*", "CONNECT", "CREATE", "UPDATE", NULL };
	struct str at = hook_field(a, base, "resourceRules.operations");

	json_for_each(rule, json_get(match, "resourceRules"))
	{
		json_for_each(op, json_get(rule.val, "operations"))
		{
			if (!among(json_as_str(op.val), allowed))
				cause_not_supported(e, at, json_as_str(op.val), allowed);
		}
	}
}

/* ---- match conditions */

static void check_condition(struct err **e, struct arena *a, const struct json *all, size_t i,
			    struct str at)
{
	const struct json *c = json_idx(all, i);
	struct str name = json_str_at(c, "name");
	const char *bad;

	if (!str_trim(json_str_at(c, "expression")).n)
		cause_required(e, hook_field(a, at, "expression"), NULL);
	if (!name.n) {
		cause_required(e, hook_field(a, at, "name"), NULL);
		return;
	}
	bad = name_check_qualified(name);
	if (bad)
		cause_invalid_str(e, hook_field(a, at, "name"), name, "%s", bad);
	for (size_t k = 0; k < i; k++) {
		if (!str_eq(json_str_at(json_idx(all, k), "name"), name))
			continue;
		cause_duplicate(e, hook_field(a, at, "name"), json_get(c, "name"));
		return;
	}
}

void hook_check_condition_names(struct err **e, struct arena *a, const struct json *conditions,
				struct str base)
{
	size_t n = json_len(conditions);

	if (n > CONDITIONS_MAX)
		cause_too_many(e, base, n, CONDITIONS_MAX);
	for (size_t i = 0; i < n; i++)
		check_condition(e, a, conditions, i, hook_index(a, base, i));
}

/* ---- where it is */

struct hook_checker {
	struct err **e;
	struct arena *a;
};

#define URL_FORM "; desired format: https://host[/path]"

static void check_url(const struct hook_checker *c, struct str url, struct str at)
{
	struct str rest = url, scheme = STR_EMPTY, host, query, fragment = STR_EMPTY;
	size_t colon = str_find(url, STR("://"));

	if (colon < url.n) {
		scheme = str_sub(url, 0, colon);
		rest = str_skip(url, colon + 3);
	}
	if (!str_eqz(scheme, "https"))
		cause_invalid_str(c->e, at, scheme,
				  "'https' is the only allowed URL scheme" URL_FORM);
	host = colon < url.n ? str_sub(rest, 0, str_find_char(rest, '/', 0)) : STR_EMPTY;
	host = str_sub(host, 0, MIN(str_find_char(host, '?', 0), str_find_char(host, '#', 0)));
	if (!host.n)
		cause_invalid_str(c->e, at, host, "host must be specified" URL_FORM);
	if (str_contains(host, STR("@")))
		cause_invalid_str(c->e, at, str_sub(host, 0, str_find_char(host, '@', 0)),
				  "user information is not permitted in the URL");
	query = rest;
	if (str_contains(query, STR("#"))) {
		fragment = query;
		str_cut(&fragment, '#', &query);
	}
	if (fragment.n)
		cause_invalid_str(c->e, at, fragment, "fragments are not permitted in the URL");
	query = str_skip(query, MIN(str_find_char(query, '?', 0) + 1, query.n));
	if (query.n)
		cause_invalid_str(c->e, at, query, "query parameters are not permitted in the URL");
}

static void check_path(const struct hook_checker *c, struct str path, struct str at)
{
	struct str rest, step;
	size_t i = 0;

	if (!path.n || str_eqz(path, "/"))
		return;
	if (str_eqz(path, "//")) {
		cause_invalid_str(c->e, at, path, "segment[0] may not be empty");
		return;
	}
	if (path.p[0] != '/')
		cause_invalid_str(c->e, at, path, "must start with a '/'");
	rest = str_skip(path, 1);
	str_strip_suffix(&rest, STR("/"));
	while (str_split_next(&rest, '/', &step)) {
		const char *bad = step.n ? name_check_dns_subdomain(step) : NULL;

		if (!step.n)
			cause_invalid_str(c->e, at, path, "segment[%zu] may not be empty", i);
		else if (bad)
			cause_invalid_str(c->e, at, path, "segment[%zu]: %s", i, bad);
		i++;
	}
}

static void check_service(const struct hook_checker *c, const struct json *svc, struct str at)
{
	int64_t port = json_int_at(svc, "port", 443);

	/* upstream mixes the two up: a missing name is reported as the namespace's */
	if (!json_str_at(svc, "namespace").n)
		cause_required(c->e, hook_field(c->a, at, "name"), NULL);
	if (!json_str_at(svc, "name").n)
		cause_required(c->e, hook_field(c->a, at, "namespace"), NULL);
	if (port < 1 || port > 65535)
		cause_invalid(c->e, hook_field(c->a, at, "port"), json_get(svc, "port"),
			      "port is not valid: must be between 1 and 65535, inclusive");
	check_path(c, json_str_at(svc, "path"), hook_field(c->a, at, "path"));
}

void hook_check_client(struct err **e, struct arena *a, const struct json *cc, struct str at)
{
	const struct hook_checker checker = { e, a }, *c = &checker;
	const struct json *url = json_get(cc, "url"), *svc = json_get(cc, "service");

	if (json_is_null(url) == json_is_null(svc))
		cause_required(c->e, at, "exactly one of url or service is required");
	else if (!json_is_null(url))
		check_url(c, json_as_str(url), hook_field(c->a, at, "url"));
	else
		check_service(c, svc, hook_field(c->a, at, "service"));
}
