/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of FlowSchemas and PriorityLevelConfigurations. */

#include "server/flow-validate.h"

#include <math.h>
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/clock.h"
#include "server/bootstrap-flow.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

#define PRECEDENCE_MAX 10000
#define QUEUES_MAX     10000000
#define HASH_BITS      60

static const char *const flow_verbs[] = {
	"create", "delete", "deletecollection", "get",   "list",
	"patch",  "proxy",  "update",           "watch", NULL,
};

static bool has_star(const struct json *list)
{
	json_for_each(it, list)
	{
		if (str_eqz(json_as_str(it.val), "*"))
			return true;
	}
	return false;
}

static bool in_list(struct str s, const char *const *list)
{
	for (; *list; list++) {
		if (str_eqz(s, *list))
			return true;
	}
	return false;
}

/* A list that must have something, and nothing beside "*". */
static bool star_list(const struct valid *v, const struct json *list, const struct place *p,
		      const char *required, const char *others)
{
	if (!json_len(list)) {
		valid_required(v, p, required);
		return false;
	}
	if (!has_star(list))
		return true;
	if (json_len(list) > 1)
		valid_invalid(v, p, list, "if '*' is present, must not specify other %s", others);
	return false;
}

static void flow_verbs_validate(const struct valid *v, const struct json *rule,
				const struct place *at)
{
	const struct json *list = json_get(rule, "verbs");
	const struct place *p = AT(at, "verbs");
	bool all = true;

	if (!star_list(v, list, p, "verbs must contain at least one value", "verbs"))
		return;
	json_for_each(it, list) all &= in_list(json_as_str(it.val), flow_verbs);
	if (!all)
		valid_unsupported_json(v, p, list, flow_verbs);
}

static const char *url_wrong(struct str url)
{
	size_t star = str_find_char(url, '*', 0);

	if (str_empty(url))
		return "must not be empty";
	if (url.p[0] != '/')
		return "must start with slash";
	if (str_find_char(url, ' ', 0) < url.n)
		return "must not contain white-space";
	for (size_t i = 1; i < url.n; i++) {
		if (url.p[i] == '/' && url.p[i - 1] == '/')
			return "must not contain double slash";
	}
	if (star < url.n && (star != url.n - 1 || url.p[star - 1] != '/'))
		return "wildcard can only do suffix matching";
	return NULL;
}

static void non_resource_rule(const struct valid *v, const struct json *rule,
			      const struct place *at)
{
	const struct json *urls = json_get(rule, "nonResourceURLs");
	const struct place *p = AT(at, "nonResourceURLs");

	flow_verbs_validate(v, rule, at);
	if (!star_list(v, urls, p, "nonResourceURLs must contain at least one value",
		       "non-resource URLs"))
		return;
	json_for_each(it, urls)
	{
		const char *why = url_wrong(json_as_str(it.val));

		if (why)
			valid_invalid(v, AT_IDX(p, it.i), it.val, "%s", why);
	}
}

static void resource_rule(const struct valid *v, const struct json *rule, const struct place *at)
{
	const struct json *ns = json_get(rule, "namespaces");
	const struct place *p = AT(at, "namespaces");

	flow_verbs_validate(v, rule, at);
	star_list(v, json_get(rule, "apiGroups"), AT(at, "apiGroups"),
		  "resource rules must supply at least one api group", "api groups");
	star_list(v, json_get(rule, "resources"), AT(at, "resources"),
		  "resource rules must supply at least one resource", "resources");
	if (!json_len(ns) && json_bool_at(rule, "clusterScope", false))
		return;
	if (!star_list(v, ns, p,
		       "resource rules that are not cluster scoped must supply at least one "
		       "namespace",
		       "namespaces"))
		return;
	json_for_each(it, ns)
	{
		const char *why = name_check_dns_label(json_as_str(it.val));

		if (why)
			valid_invalid(v, AT_IDX(p, it.i), it.val,
				      "each member of this list must be '*' or a DNS-1123 label; "
				      "%s",
				      why);
	}
}

static const struct {
	const char *kind, *member, *required, *forbidden;
} flow_subjects[] = {
	{ "ServiceAccount", "serviceAccount",
	  "serviceAccount is required when subject kind is 'ServiceAccount'",
	  "serviceAccount is forbidden when subject kind is not 'ServiceAccount'" },
	{ "User", "user", "user is required when subject kind is 'User'",
	  "user is forbidden when subject kind is not 'User'" },
	{ "Group", "group", "group is required when subject kind is 'Group'",
	  "group is forbidden when subject kind is not 'Group'" },
};

static void account_subject(const struct valid *v, const struct json *sa, const struct place *p)
{
	struct str name = json_str_at(sa, "name"), ns = json_str_at(sa, "namespace");

	if (!str_empty(name) && !str_eqz(name, "*"))
		valid_name(v, AT(p, "name"), name, name_check_dns_subdomain);
	if (str_empty(ns))
		valid_required(v, AT(p, "namespace"), "must specify namespace for service account");
	else
		valid_name(v, AT(p, "namespace"), ns, name_check_dns_label);
}

static void subject_validate(const struct valid *v, const struct json *s, const struct place *p)
{
	static const char *const kinds[] = { "Group", "ServiceAccount", "User", NULL };
	struct str kind = json_str_at(s, "kind");

	if (!in_list(kind, kinds)) {
		valid_unsupported(v, AT(p, "kind"), kind, kinds);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(flow_subjects); i++) {
		const struct json *m = json_get(s, flow_subjects[i].member);
		const struct place *at = AT(p, flow_subjects[i].member);

		if (!str_eqz(kind, flow_subjects[i].kind))
			continue;
		if (!m) {
			valid_required(v, at, flow_subjects[i].required);
			continue;
		}
		if (str_empty(json_str_at(m, "name")))
			valid_required(v, AT(at, "name"), NULL);
		if (i == 0)
			account_subject(v, m, at);
	}
	for (size_t i = 0; i < ARRAY_LEN(flow_subjects); i++) {
		if (!str_eqz(kind, flow_subjects[i].kind) && json_get(s, flow_subjects[i].member))
			valid_forbidden(v, AT(p, flow_subjects[i].member), "%s",
					flow_subjects[i].forbidden);
	}
}

static void flow_rule(const struct valid *v, const struct json *rule, const struct place *p)
{
	const struct json *subjects = json_get(rule, "subjects"),
			  *res = json_get(rule, "resourceRules"),
			  *non = json_get(rule, "nonResourceRules");

	if (!json_len(subjects))
		valid_required(v, AT(p, "subjects"), "subjects must contain at least one value");
	json_for_each(it, subjects) subject_validate(v, it.val, AT_IDX(AT(p, "subjects"), it.i));
	if (!json_len(res) && !json_len(non))
		valid_required(v, p,
			       "at least one of resourceRules and nonResourceRules has to be "
			       "non-empty");
	json_for_each(it, res) resource_rule(v, it.val, AT_IDX(AT(p, "resourceRules"), it.i));
	json_for_each(it, non)
		non_resource_rule(v, it.val, AT_IDX(AT(p, "nonResourceRules"), it.i));
}

/* A status' conditions have a type, each another. */
static void conditions_validate(const struct valid *v, const struct json *obj)
{
	const struct json *list = json_at(obj, "status.conditions");
	const struct place *p = AT(AT(NULL, "status"), "conditions");

	json_for_each(it, list)
	{
		const struct json *type = json_get(it.val, "type");

		for (size_t k = 0; k < it.i; k++) {
			if (!str_eq(json_str_at(json_idx(list, k), "type"), json_as_str(type)))
				continue;
			valid_duplicate(v, AT(AT_IDX(p, it.i), "type"), type);
			break;
		}
		if (str_empty(json_as_str(type)))
			valid_required(v, AT(AT_IDX(p, it.i), "type"), NULL);
	}
}

/* The object of that name every cluster has, when the API would not have it otherwise. */
static struct json *mandatory(struct arena *a, const char *resource, struct str name)
{
	const struct wall never = { 0 };

	if (!str_eqz(name, "exempt") && !str_eqz(name, "catch-all"))
		return NULL;
	for (size_t i = 0; i < bootstrap_n_flow_objects(); i++) {
		const char *gr;
		struct str is;
		struct json *o = bootstrap_flow_object(a, i, never, &gr, &is);

		if (!strcmp(gr, resource) && str_eq(is, name))
			return o;
	}
	return NULL;
}

void flowschema_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const methods[] = { "ByNamespace", "ByUser", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *m = json_get(spec, "distinguisherMethod"),
			  *precedence = json_get(spec, "matchingPrecedence"), *must;
	int64_t n = json_as_int(precedence, 0);
	const struct place *p = AT(NULL, "spec");
	struct str level = json_str_at(spec, "priorityLevelConfiguration.name");

	if (n <= 0)
		valid_invalid(&v, AT(p, "matchingPrecedence"), precedence,
			      "must be a positive value");
	if (n > PRECEDENCE_MAX)
		valid_invalid(&v, AT(p, "matchingPrecedence"), precedence,
			      "must not be greater than %d", PRECEDENCE_MAX);
	if (n == 1 && !str_eqz(rq->name, "exempt"))
		valid_invalid(&v, AT(p, "matchingPrecedence"), precedence,
			      "only the schema named 'exempt' may have matchingPrecedence 1");
	if (m && !in_list(json_str_at(m, "type"), methods)) {
		struct json *shown = json_object(rq->arena);

		json_set_str(rq->arena, shown, "Type", json_str_at(m, "type"));
		valid_unsupported_json(&v, AT(AT(p, "distinguisherMethod"), "type"), shown,
				       methods);
	}
	if (str_empty(level))
		valid_required(&v, AT(AT(p, "priorityLevelConfiguration"), "name"),
			       "must reference a priority level");
	else
		valid_name(&v, AT(AT(p, "priorityLevelConfiguration"), "name"), level,
			   name_check_dns_subdomain);
	json_for_each(it, json_get(spec, "rules"))
		flow_rule(&v, it.val, AT_IDX(AT(p, "rules"), it.i));
	must = mandatory(rq->arena, "flowschemas.flowcontrol.apiserver.k8s.io", rq->name);
	if (must && !json_equal(spec, json_get(must, "spec")))
		valid_invalid(&v, p, spec, "spec of '" STR_FMT "' must equal the fixed value",
			      STR_ARG(rq->name));
	conditions_validate(&v, obj);
}

/* ---- PriorityLevelConfiguration */

static void not_negative(const struct valid *v, const struct json *n, const struct place *p,
			 const char *text)
{
	if (json_as_int(n, 0) < 0)
		valid_invalid(v, p, n, "%s", text);
}

static void percent(const struct valid *v, const struct json *n, const struct place *p)
{
	if (json_as_int(n, 0) < 0 || json_as_int(n, 0) > 100)
		valid_invalid(v, p, n, "must be between 0 and 100, inclusive");
}

static void queuing_validate(const struct valid *v, const struct json *q, const struct place *p)
{
	const struct json *limit = json_get(q, "queueLengthLimit"), *queues = json_get(q, "queues"),
			  *hand = json_get(q, "handSize");
	int64_t n = json_as_int(queues, 0), h = json_as_int(hand, 0);

	if (json_as_int(limit, 0) <= 0)
		valid_invalid(v, AT(p, "queueLengthLimit"), limit, "must be positive");
	if (n <= 0)
		valid_invalid(v, AT(p, "queues"), queues, "must be positive");
	else if (n > QUEUES_MAX)
		valid_invalid(v, AT(p, "queues"), queues, "must not be greater than %d",
			      QUEUES_MAX);
	if (h <= 0)
		valid_invalid(v, AT(p, "handSize"), hand, "must be positive");
	else if (h > n)
		valid_invalid(v, AT(p, "handSize"), hand,
			      "should not be greater than queues (%lld)", (long long)n);
	else if (ceil(log2((double)n) * (double)h) > HASH_BITS)
		valid_invalid(v, AT(p, "handSize"), hand,
			      "required entropy bits of deckSize %lld and handSize %lld should not "
			      "be greater than %d",
			      (long long)n, (long long)h, HASH_BITS);
}

static void limit_response(const struct valid *v, const struct json *r, const struct place *p)
{
	static const char *const types[] = { "Queue", "Reject", NULL };
	struct str type = json_str_at(r, "type");
	const struct json *q = json_get(r, "queuing");

	if (!in_list(type, types))
		valid_unsupported(v, AT(p, "type"), type, types);
	else if (str_eqz(type, "Reject") && q)
		valid_forbidden(v, AT(p, "queuing"),
				"must be nil if limited.limitResponse.type is not Limited");
	else if (str_eqz(type, "Queue") && !q)
		valid_required(v, AT(p, "queuing"),
			       "must not be empty if limited.limitResponse.type is Limited");
	else if (q)
		queuing_validate(v, q, AT(p, "queuing"));
}

static void limited_validate(const struct valid *v, const struct json *l, const struct place *p)
{
	not_negative(v, json_get(l, "nominalConcurrencyShares"), AT(p, "nominalConcurrencyShares"),
		     "must be a non-negative integer");
	limit_response(v, json_get(l, "limitResponse"), AT(p, "limitResponse"));
	percent(v, json_get(l, "lendablePercent"), AT(p, "lendablePercent"));
	not_negative(v, json_get(l, "borrowingLimitPercent"), AT(p, "borrowingLimitPercent"),
		     "if specified, must be a non-negative integer");
}

static void level_by_type(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const types[] = { "Exempt", "Limited", NULL };
	const struct json *limited = json_get(spec, "limited"), *exempt = json_get(spec, "exempt");
	struct str type = json_str_at(spec, "type");

	if (!in_list(type, types)) {
		valid_unsupported(v, AT(p, "type"), type, types);
		return;
	}
	if (str_eqz(type, "Exempt")) {
		if (limited)
			valid_forbidden(v, AT(p, "limited"),
					"must be nil if the type is not Limited");
		not_negative(v, json_get(exempt, "nominalConcurrencyShares"),
			     AT(AT(p, "exempt"), "nominalConcurrencyShares"),
			     "must be a non-negative integer");
		percent(v, json_get(exempt, "lendablePercent"),
			AT(AT(p, "exempt"), "lendablePercent"));
		return;
	}
	if (exempt)
		valid_forbidden(v, AT(p, "exempt"), "must be nil if the type is Limited");
	if (limited)
		limited_validate(v, limited, AT(p, "limited"));
	else
		valid_required(v, AT(p, "limited"), "must not be empty when type is Limited");
}

/* What the name fixes. */
static void level_fixed(const struct api_request *rq, const struct valid *v,
			const struct json *spec, const struct place *p)
{
	struct json *must = mandatory(
		rq->arena, "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", rq->name);
	bool exempt = str_eqz(rq->name, "exempt");
	struct json *is;

	if (!must)
		return;
	is = json_copy(rq->arena, spec);
	if (exempt) {
		json_delz(is, "exempt");
		json_delz(json_get(must, "spec"), "exempt");
	}
	if (!json_equal(is, json_get(must, "spec")))
		valid_invalid(v, p, spec, "spec of '" STR_FMT "' %smust equal the fixed value",
			      STR_ARG(rq->name), exempt ? "except the 'spec.exempt' field " : "");
}

void prioritylevel_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *type = json_get(spec, "type");
	const struct place *p = AT(NULL, "spec");

	if (str_eqz(rq->name, "exempt") != str_eqz(json_as_str(type), "Exempt"))
		valid_invalid(&v, AT(p, "type"), type,
			      "must be 'Exempt' if and only if `name` is 'exempt'");
	level_by_type(&v, spec, p);
	level_fixed(rq, &v, spec, p);
	conditions_validate(&v, obj);
}
