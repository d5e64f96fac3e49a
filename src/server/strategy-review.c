/* SPDX-License-Identifier: Apache-2.0 */

/* Kinds that are questions: nothing is stored, the answer comes back in the status of what was
 * posted. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/authn.h"
#include "server/authz.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/review.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

struct err *review_begin(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *meta = json_get(obj, "metadata");
	struct str ns = json_str_at(meta, "namespace");

	meta = json_is(meta, JSON_OBJECT) ? json_copy(a, meta) : json_object(a);
	if (!str_empty(ns) && rq->res->namespaced && !str_eq(ns, rq->ns))
		return err_new(ERR_BAD_REQUEST,
			       "the namespace of the provided object does not match the namespace "
			       "sent on the request");
	json_delz(obj, "status");
	json_delz(obj, "metadata");
	json_delz(obj, "kind");
	json_delz(obj, "apiVersion");
	json_set_first(a, obj, "metadata", meta);
	json_set_first(a, obj, "apiVersion", json_str(a, request_api_version(rq)));
	json_set_first(a, obj, "kind", json_str(a, rq->res->kind));
	return NULL;
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
	struct token_query q = {
		.server = rq->server,
		.arena = a,
		.token = json_str_at(obj, "spec.token"),
	};
	struct token_result r = { .user = NULL };
	struct json *status;
	struct err *e;

	TRY(review_begin(rq, obj));
	status = json_sub(a, obj, "status");
	if (str_empty(q.token))
		return err_new(ERR_BAD_REQUEST,
			       "token is required for TokenReview in authentication");
	q.audiences = strs_from(a, json_at(obj, "spec.audiences"), 0, &q.n_audiences);
	e = authn_bearer(&q, &r);
	if (e && !err_is(e, ERR_UNAUTHORIZED))
		return e;
	if (e) {
		json_sub(a, status, "user");
		json_set(a, status, "error", json_strcpy(a, err_msg(e)));
		err_free(e);
	} else {
		json_set_bool(a, status, "authenticated", true);
		json_set(a, status, "user", user_to_json(a, r.user));
		json_set(a, status, "audiences", r.audiences);
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
	struct json *status;

	TRY(review_begin(rq, obj));
	status = json_sub(rq->arena, obj, "status");
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

static struct err *selfsubjectrules_answer(struct api_request *rq, struct json *obj,
					   struct json **ret)
{
	struct arena *a = rq->arena;
	struct str ns = json_str_at(obj, "spec.namespace"), missing;
	struct json *status = json_object(a);
	struct rules_ctx c = { a, json_sub_array(a, status, "resourceRules"),
			       json_sub_array(a, status, "nonResourceRules") };

	TRY(review_begin(rq, obj));
	if (str_empty(ns))
		return err_new(ERR_BAD_REQUEST, "no namespace on request");
	rbac_each_rule(authz_rbac(rq->server->authz), a, &rq->user, ns, rules_collect, &c,
		       &missing);
	json_set_bool(a, status, "incomplete", false);
	if (!str_empty(missing))
		json_set_str(a, status, "evaluationError", missing);
	/* the answer is a new object upstream: it repeats nothing */
	json_set(a, obj, "metadata", json_object(a));
	json_set(a, obj, "spec", json_object(a));
	json_set(a, obj, "status", status);
	*ret = obj;
	return NULL;
}

const struct strategy selfsubjectrulesreview_strategy = {
	.virtual_kind = true,
	.answer = selfsubjectrules_answer,
};
