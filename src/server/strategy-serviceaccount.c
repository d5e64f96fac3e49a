/* SPDX-License-Identifier: Apache-2.0 */

/* ServiceAccounts and their tokens (TokenRequest). */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/tokens.h"
#include "json/json.h"

#define TOKEN_MIN_S     600
#define TOKEN_DEFAULT_S 3600
#define TOKEN_MAX_S     (INT64_C(1) << 32)
/* What the kubelet asks for, and how long such a token lives: clients that never re-read it go on.
 */
#define TOKEN_VOLUME_S      3607
#define TOKEN_VOLUME_LIFE_S (365 * 24 * 3600)

const struct strategy serviceaccount_strategy = {
	.delete_returns_obj = true,
};

/* TokenRequest */
static const struct {
	const char *kind, *api_version, *gr, *claim;
} bound_kinds[] = {
	{ "Pod", "v1", "pods", "pod" },
	{ "Secret", "v1", "secrets", "secret" },
	{ "Node", "v1", "nodes", "node" },
};

static struct json *claim_ref(struct arena *a, struct str name, struct str uid)
{
	struct json *r = json_object(a);

	json_set(a, r, "name", json_strcpy(a, name));
	json_set(a, r, "uid", json_strcpy(a, uid));
	return r;
}

static struct err *token_claim_node(struct api_request *rq, const struct obj *pod, struct json *k8s)
{
	struct str node = obj_field(pod, STR("spec.nodeName"));
	_cleanup_obj_ const struct obj *o = NULL;

	if (str_empty(node))
		return NULL;
	TRY(local_get(rq->server, "nodes", STR_EMPTY, node, &o));
	if (o)
		json_set(rq->arena, k8s, "node", claim_ref(rq->arena, o->name, o->uid));
	return NULL;
}

static struct err *token_claim_bound(struct api_request *rq, const struct json *ref,
				     struct json *k8s)
{
	struct str kind = json_str_at(ref, "kind"), name = json_str_at(ref, "name");
	struct str uid = json_str_at(ref, "uid");
	_cleanup_obj_ const struct obj *o = NULL;
	size_t i = 0;

	if (json_is_null(ref))
		return NULL;
	while (i < ARRAY_LEN(bound_kinds) && !str_eqz(kind, bound_kinds[i].kind))
		i++;
	if (i == ARRAY_LEN(bound_kinds)) {
		struct err *e = NULL;

		cause_invalid_str(&e, STR("spec.boundObjectRef.kind"), kind,
				  "cannot bind token to object of type " STR_FMT, STR_ARG(kind));
		return error_invalid(e, STR("authentication.k8s.io"), STR("TokenRequest"),
				     STR_EMPTY);
	}
	TRY(local_get(rq->server, bound_kinds[i].gr, str_eqz(kind, "Node") ? STR_EMPTY : rq->ns,
		      name, &o));
	if (!o)
		return error_not_found(
			registry_find_stored(rq->server->registry, str_from(bound_kinds[i].gr)),
			name);
	if (!str_empty(uid) && !str_eq(uid, o->uid))
		return error_conflict(
			registry_find_stored(rq->server->registry, str_from(bound_kinds[i].gr)),
			name,
			"the UID in the bound object reference (" STR_FMT
			") does not match the UID in record. The object might have been "
			"deleted and then recreated",
			STR_ARG(uid));
	if (str_eqz(kind, "Pod")) {
		if (!str_eq(obj_field(o, STR("spec.serviceAccountName")), rq->name))
			return err_new(ERR_BAD_REQUEST,
				       "cannot bind token for serviceaccount \"" STR_FMT
				       "\" to pod running with different serviceaccount name.",
				       STR_ARG(rq->name));
		TRY(token_claim_node(rq, o, k8s));
	}
	json_set(rq->arena, k8s, bound_kinds[i].claim, claim_ref(rq->arena, o->name, o->uid));
	return NULL;
}

static struct err *token_check(struct api_request *rq, const struct json *spec, int64_t *ret)
{
	struct err *e = NULL;

	*ret = json_int_at(spec, "expirationSeconds", TOKEN_DEFAULT_S);
	if (*ret < TOKEN_MIN_S)
		cause_invalid(&e, STR("spec.expirationSeconds"), json_int(rq->arena, *ret),
			      "may not specify a duration less than 10 minutes");
	else if (*ret > TOKEN_MAX_S)
		cause_invalid(&e, STR("spec.expirationSeconds"), json_int(rq->arena, *ret),
			      "may not specify a duration larger than 2^32 seconds");
	return error_invalid(e, STR("authentication.k8s.io"), STR("TokenRequest"), rq->name);
}

static struct err *token_claims(struct api_request *rq, const struct obj *sa, struct json *spec,
				struct json *claims)
{
	struct arena *a = rq->arena;
	struct json *k8s = json_sub(a, claims, "kubernetes.io"), *aud;

	aud = json_sub_array(a, spec, "audiences");
	if (!json_len(aud))
		json_push(aud, json_strz(a, TOKEN_ISSUER));
	json_set(a, claims, "aud", json_copy(a, aud));
	json_set(a, claims, "sub",
		 json_strf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(rq->ns),
			   STR_ARG(rq->name)));
	json_set_str(a, k8s, "namespace", rq->ns);
	json_set(a, k8s, "serviceaccount", claim_ref(a, sa->name, sa->uid));
	return token_claim_bound(rq, json_get(spec, "boundObjectRef"), k8s);
}

struct err *serviceaccount_token(struct api_request *rq)
{
	struct store_key key = { STR("serviceaccounts"), rq->ns, rq->name };
	_cleanup_obj_ const struct obj *sa = NULL;
	struct json *body = NULL, *spec, *status, *claims = json_object(rq->arena);
	struct str token = STR_EMPTY;
	int64_t seconds, life;

	TRY(body_decode(rq, &body));
	TRY(store_get(rq->server->store, &key, &sa));
	if (!sa)
		return error_not_found(rq->res, rq->name);
	TRY(admission_run(rq, ADMISSION_CREATE, &body));
	spec = json_sub(rq->arena, body, "spec");
	TRY(token_check(rq, spec, &seconds));
	TRY(token_claims(rq, sa, spec, claims));
	life = seconds;
	if (seconds == TOKEN_VOLUME_S && json_len(json_get(spec, "audiences")) == 1 &&
	    str_eqz(json_as_str(json_idx(json_get(spec, "audiences"), 0)), TOKEN_ISSUER)) {
		life = TOKEN_VOLUME_LIFE_S;
		json_set_int(rq->arena, json_get(claims, "kubernetes.io"), "warnafter",
			     rq->now.ns / NS_PER_SEC + seconds);
	}
	TRY(tokens_sign(rq->server->tokens, rq->arena, claims, rq->now, life, &token));
	json_set_int(rq->arena, spec, "expirationSeconds", seconds);
	status = json_sub(rq->arena, body, "status");
	json_set_str(rq->arena, status, "token", token);
	json_set_str(rq->arena, status, "expirationTimestamp",
		     wall_format(rq->arena, (struct wall){ rq->now.ns + seconds * NS_PER_SEC }));
	json_set_str(rq->arena, body, "kind", STR("TokenRequest"));
	json_set_str(rq->arena, body, "apiVersion", STR("authentication.k8s.io/v1"));
	respond_json(rq, 201, body);
	return NULL;
}
