/* SPDX-License-Identifier: Apache-2.0 */

/* Kinds that are questions: nothing is stored, the answer comes back in the status of what was
 * posted. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/authz.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/tokens.h"
#include "json/json.h"

/* kind and apiVersion of the answer, which a body may leave out */
static struct json *review_begin(struct api_request *rq, struct json *obj)
{
	json_delz(obj, "status");
	json_delz(obj, "kind");
	json_delz(obj, "apiVersion");
	json_sub(rq->arena, obj, "metadata");
	json_set_first(rq->arena, obj, "apiVersion", json_str(rq->arena, request_api_version(rq)));
	json_set_first(rq->arena, obj, "kind", json_str(rq->arena, rq->res->kind));
	return json_sub(rq->arena, obj, "status");
}

static struct str *strs_from(struct arena *a, const struct json *arr, size_t extra, size_t *ret_n)
{
	struct str *v = arena_array(a, json_len(arr) + extra + 1, sizeof(*v));

	*ret_n = 0;
	json_for_each(it, arr) v[(*ret_n)++] = json_as_str(it.val);
	return v;
}

/* TokenReview */
static struct err *tokenreview_answer(struct api_request *rq, struct json *obj, struct json **ret)
{
	struct arena *a = rq->arena;
	struct str token = json_str_at(obj, "spec.token");
	struct json *status = review_begin(rq, obj), *auds = NULL;
	struct user_info user = { 0 };
	struct str *want;
	struct err *e;
	size_t n;

	if (str_empty(token))
		return err_new(ERR_BAD_REQUEST,
			       "token is required for TokenReview in authentication");
	want = strs_from(a, json_at(obj, "spec.audiences"), 0, &n);
	e = tokens_authenticate(rq->server, a, token, want, n, &user, &auds);
	if (e && !err_is(e, ERR_UNAUTHORIZED))
		return e;
	if (e) {
		json_sub(a, status, "user");
		json_set(a, status, "error", json_strcpy(a, err_msg(e)));
		err_free(e);
	} else {
		json_set_bool(a, status, "authenticated", true);
		json_set(a, status, "user", user_to_json(a, &user));
		json_set(a, status, "audiences", auds);
	}
	*ret = obj;
	return NULL;
}

const struct strategy tokenreview_strategy = {
	.virtual_kind = true,
	.answer = tokenreview_answer,
};

/* SelfSubjectReview */
static struct err *selfsubjectreview_answer(struct api_request *rq, struct json *obj,
					    struct json **ret)
{
	struct json *status = review_begin(rq, obj);

	json_set_str(rq->arena, json_get(obj, "metadata"), "creationTimestamp",
		     wall_format(rq->arena, rq->now));
	json_set(rq->arena, status, "userInfo", user_to_json(rq->arena, &rq->user));
	*ret = obj;
	return NULL;
}

const struct strategy selfsubjectreview_strategy = {
	.virtual_kind = true,
	.answer = selfsubjectreview_answer,
};

/* the access reviews */
static struct err *access_check(struct api_request *rq, const struct json *spec, bool self,
				bool local)
{
	const struct json *ra = json_get(spec, "resourceAttributes");
	const struct json *na = json_get(spec, "nonResourceAttributes");
	struct err *e = NULL;

	if (!ra == !na)
		cause_invalid(
			&e, STR("spec.resourceAttributes"), ra,
			ra ? "cannot be specified in combination with nonResourceAttributes"
			   : "exactly one of nonResourceAttributes or resourceAttributes must be "
			     "specified");
	if (!self && str_empty(json_str_at(spec, "user")) && !json_len(json_get(spec, "groups")))
		cause_invalid_str(&e, STR("spec.user"), STR_EMPTY,
				  "at least one of user or group must be specified");
	if (local && !str_eq(json_str_at(ra, "namespace"), rq->ns))
		cause_invalid_str(&e, STR("spec.resourceAttributes.namespace"),
				  json_str_at(ra, "namespace"), "must match metadata.namespace");
	return error_invalid(e, STR("authorization.k8s.io"), STR_EMPTY, STR_EMPTY);
}

static struct authz_attrs access_attrs(const struct json *spec, const struct user_info *user)
{
	const struct json *ra = json_get(spec, "resourceAttributes");
	const struct json *na = json_get(spec, "nonResourceAttributes");

	if (na)
		return (struct authz_attrs){
			.user = user,
			.verb = json_str_at(na, "verb"),
			.path = json_str_at(na, "path"),
		};
	return (struct authz_attrs){
		.user = user,
		.verb = json_str_at(ra, "verb"),
		.is_resource = true,
		.group = json_str_at(ra, "group"),
		.version = json_str_at(ra, "version"),
		.resource = json_str_at(ra, "resource"),
		.sub = json_str_at(ra, "subresource"),
		.ns = json_str_at(ra, "namespace"),
		.name = json_str_at(ra, "name"),
	};
}

static void access_evaluate(struct api_request *rq, struct json *obj, const struct user_info *user,
			    struct json *status)
{
	struct authz_attrs at = access_attrs(json_get(obj, "spec"), user);
	struct str reason;
	bool ok = authz_allowed(rq->server->authz, rq->arena, &at, &reason);

	json_set_bool(rq->arena, status, "allowed", ok);
	if (!str_empty(reason))
		json_set_str(rq->arena, status, "reason", reason);
}

static struct err *subjectaccess_answer(struct api_request *rq, struct json *obj, struct json **ret)
{
	const struct json *spec = json_get(obj, "spec");
	struct json *status = review_begin(rq, obj);
	struct user_info user = { .name = json_str_at(spec, "user"),
				  .uid = json_str_at(spec, "uid") };

	TRY(access_check(rq, spec, false, rq->res->namespaced));
	user.groups = strs_from(rq->arena, json_get(spec, "groups"), 0, &user.n_groups);
	access_evaluate(rq, obj, &user, status);
	*ret = obj;
	return NULL;
}

const struct strategy subjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = subjectaccess_answer,
};

const struct strategy localsubjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = subjectaccess_answer,
};

static struct err *selfsubjectaccess_answer(struct api_request *rq, struct json *obj,
					    struct json **ret)
{
	struct json *status = review_begin(rq, obj);

	TRY(access_check(rq, json_get(obj, "spec"), true, false));
	access_evaluate(rq, obj, &rq->user, status);
	*ret = obj;
	return NULL;
}

const struct strategy selfsubjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = selfsubjectaccess_answer,
};

/* SelfSubjectRulesReview */
struct rules_ctx {
	struct arena *a;
	struct json *resources, *urls;
};

static struct json *rule_part(struct arena *a, const struct json *rule, const char *const *keys)
{
	struct json *r = json_object(a);

	for (; *keys; keys++) {
		const struct json *v = json_get(rule, *keys);

		if (json_len(v))
			json_set(a, r, *keys, json_copy(a, v));
	}
	return r;
}

static bool rules_collect(const struct json *rule, void *ctx)
{
	static const char *const res_keys[] = { "verbs", "apiGroups", "resources", "resourceNames",
						NULL };
	static const char *const url_keys[] = { "verbs", "nonResourceURLs", NULL };
	struct rules_ctx *c = ctx;

	if (json_len(json_get(rule, "resources")))
		json_push(c->resources, rule_part(c->a, rule, res_keys));
	if (json_len(json_get(rule, "nonResourceURLs")))
		json_push(c->urls, rule_part(c->a, rule, url_keys));
	return false;
}

static void rules_everything(struct rules_ctx *c)
{
	static const char *const keys[] = { "verbs", "apiGroups", "resources" };
	struct json *r = json_object(c->a), *u = json_object(c->a);

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_push(json_sub_array(c->a, r, keys[i]), json_strz(c->a, "*"));
	json_push(json_sub_array(c->a, u, "verbs"), json_strz(c->a, "*"));
	json_push(json_sub_array(c->a, u, "nonResourceURLs"), json_strz(c->a, "*"));
	json_push(c->resources, r);
	json_push(c->urls, u);
}

static struct err *selfsubjectrules_answer(struct api_request *rq, struct json *obj,
					   struct json **ret)
{
	struct str ns = json_str_at(obj, "spec.namespace");
	struct json *status = review_begin(rq, obj);
	struct rules_ctx c = { rq->arena, json_sub_array(rq->arena, status, "resourceRules"),
			       json_sub_array(rq->arena, status, "nonResourceRules") };

	if (str_empty(ns))
		return err_new(ERR_BAD_REQUEST, "no namespace on request");
	if (user_in_group(&rq->user, STR("system:masters")))
		rules_everything(&c);
	authz_each_rule(rq->server->authz, &rq->user, ns, rules_collect, &c);
	json_set_bool(rq->arena, status, "incomplete", false);
	*ret = obj;
	return NULL;
}

const struct strategy selfsubjectrulesreview_strategy = {
	.virtual_kind = true,
	.answer = selfsubjectrules_answer,
};
