/* SPDX-License-Identifier: Apache-2.0 */

/* serviceaccounts/NAME/token: a signed token, bound to its account and maybe to one object more. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/audit.h"
#include "server/authn.h"
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

#define GROUP STR("authentication.k8s.io")

struct token_request {
	struct api_request *rq;
	struct arena *a;
	struct json *body, *spec, *claims, *k8s;
	bool pod; /* bound to one */
};

static const struct {
	const char *kind, *gr, *claim;
} bound_kinds[] = {
	{ "Pod", "pods", "pod" },
	{ "Secret", "secrets", "secret" },
	{ "Node", "nodes", "node" },
};

/* checks of the body */
static struct err *token_check_meta(struct token_request *t, const struct obj *sa)
{
	struct str uid = meta_uid(t->body);
	struct err *e;

	if (str_empty(uid) || str_eq(uid, sa->uid))
		return NULL;
	e = err_new(ERR_CONFLICT,
		    "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "
		    "\"" STR_FMT "\": the UID in the token request (" STR_FMT
		    ") does not match the UID of the service account (" STR_FMT ")",
		    STR_ARG(t->rq->name), STR_ARG(uid), STR_ARG(sa->uid));
	return err_details(e, GROUP, STR("TokenRequest"), t->rq->name);
}

static struct err *token_check_names(struct token_request *t)
{
	struct str name = meta_name(t->body), ns = meta_namespace(t->body);
	struct err *e = NULL;

	if (!str_empty(ns) && !str_eq(ns, t->rq->ns))
		return err_new(ERR_BAD_REQUEST,
			       "the namespace of the provided object does not match the namespace "
			       "sent on the request");
	if (!str_empty(name) && !str_eq(name, t->rq->name))
		cause_invalid_str(&e, STR("metadata.name"), name,
				  "must match the service account name if specified");
	return error_invalid(e, GROUP, STR("TokenRequest"), t->rq->name);
}

static struct err *token_check_seconds(struct token_request *t, int64_t *ret)
{
	struct err *e = NULL;

	*ret = json_int_at(t->spec, "expirationSeconds", TOKEN_DEFAULT_S);
	if (*ret < TOKEN_MIN_S)
		cause_invalid(&e, STR("spec.expirationSeconds"), json_int(t->a, *ret),
			      "may not specify a duration less than 10 minutes");
	else if (*ret > TOKEN_MAX_S)
		cause_invalid(&e, STR("spec.expirationSeconds"), json_int(t->a, *ret),
			      "may not specify a duration larger than 2^32 seconds");
	return error_invalid(e, GROUP, STR("TokenRequest"), STR_EMPTY);
}

/* what it is bound to */
static struct json *claim_ref(struct arena *a, struct str name, struct str uid)
{
	struct json *r = json_object(a);

	json_set(a, r, "name", json_strcpy(a, name));
	if (!str_empty(uid))
		json_set(a, r, "uid", json_strcpy(a, uid));
	return r;
}

static struct err *token_bind_pod(struct token_request *t, const struct obj *pod)
{
	struct str node = obj_field(pod, STR("spec.nodeName"));
	_cleanup_obj_ const struct obj *o = NULL;

	if (!str_eq(obj_field(pod, STR("spec.serviceAccountName")), t->rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "cannot bind token for serviceaccount \"" STR_FMT
			       "\" to pod running with different serviceaccount name.",
			       STR_ARG(t->rq->name));
	t->pod = true;
	if (str_empty(node))
		return NULL;
	TRY(local_get(t->rq->server, "nodes", STR_EMPTY, node, &o));
	json_set(t->a, t->k8s, "node", claim_ref(t->a, node, o ? o->uid : STR_EMPTY));
	return NULL;
}

static struct err *token_unknown_kind(const struct json *ref)
{
	struct str version = json_str_at(ref, "apiVersion"), group = STR_EMPTY;

	if (!str_cut(&version, '/', &group)) {
		version = group;
		group = STR_EMPTY;
	}
	return err_new(ERR_BAD_REQUEST,
		       "cannot bind token to object of type " STR_FMT "/" STR_FMT ", Kind=" STR_FMT,
		       STR_ARG(group), STR_ARG(version), STR_ARG(json_str_at(ref, "kind")));
}

static struct err *token_bound_conflict(const struct json *ref)
{
	struct str kind = json_str_at(ref, "kind"), name = json_str_at(ref, "name");
	struct err *e = err_new(
		ERR_CONFLICT,
		"Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT
		"\": the UID in the bound object reference (" STR_FMT
		") does not match the UID in record. The object might have been deleted and then "
		"recreated",
		STR_ARG(kind), STR_ARG(name), STR_ARG(json_str_at(ref, "uid")));

	return err_details(e, STR_EMPTY, kind, name);
}

static struct err *token_bind(struct token_request *t, const struct json *ref)
{
	struct str kind = json_str_at(ref, "kind"), name = json_str_at(ref, "name");
	struct str uid = json_str_at(ref, "uid");
	_cleanup_obj_ const struct obj *o = NULL;
	size_t i = 0;

	if (json_is_null(ref))
		return NULL;
	while (i < ARRAY_LEN(bound_kinds) && !str_eqz(kind, bound_kinds[i].kind))
		i++;
	if (i == ARRAY_LEN(bound_kinds) || str_contains(json_str_at(ref, "apiVersion"), STR("/")))
		return token_unknown_kind(ref);
	TRY(local_get(t->rq->server, bound_kinds[i].gr,
		      str_eqz(kind, "Node") ? STR_EMPTY : t->rq->ns, name, &o));
	if (!o)
		return error_not_found(
			registry_find_stored(t->rq->server->registry, str_from(bound_kinds[i].gr)),
			name);
	if (str_eqz(kind, "Pod"))
		TRY(token_bind_pod(t, o));
	if (!str_empty(uid) && !str_eq(uid, o->uid))
		return token_bound_conflict(ref);
	json_set(t->a, t->k8s, bound_kinds[i].claim, claim_ref(t->a, o->name, o->uid));
	return NULL;
}

static struct err *token_claims(struct token_request *t, const struct obj *sa)
{
	struct arena *a = t->a;
	struct json *aud = json_sub_array(a, t->spec, "audiences");

	if (!json_len(aud))
		json_push(aud, json_strz(a, API_AUDIENCE));
	json_set(a, t->claims, "aud", json_copy(a, aud));
	json_set(a, t->claims, "sub",
		 json_strf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(t->rq->ns),
			   STR_ARG(t->rq->name)));
	json_set_str(a, t->k8s, "namespace", t->rq->ns);
	json_set(a, t->k8s, "serviceaccount", claim_ref(a, sa->name, sa->uid));
	return token_bind(t, json_get(t->spec, "boundObjectRef"));
}

static bool audiences_are_ours(const struct json *aud)
{
	json_for_each(it, aud)
	{
		if (!str_eqz(json_as_str(it.val), API_AUDIENCE))
			return false;
	}
	return true;
}

/* What a volume's token is asked for is a wish: it lives longer, and is counted once it is stale.
 */
static int64_t token_life(struct token_request *t, int64_t seconds)
{
	if (!t->pod || seconds != TOKEN_VOLUME_S ||
	    !audiences_are_ours(json_get(t->spec, "audiences")))
		return seconds;
	json_set_int(t->a, t->k8s, "warnafter", t->rq->now.ns / NS_PER_SEC + seconds);
	return TOKEN_VOLUME_LIFE_S;
}

static void token_answer(struct token_request *t, const struct obj *sa, struct str token,
			 int64_t seconds)
{
	struct api_request *rq = t->rq;
	struct json *meta = json_sub(t->a, t->body, "metadata");
	struct json *status = json_object(t->a), *ref = json_get(t->spec, "boundObjectRef");

	json_set_str(t->a, meta, "name", rq->name);
	json_set_str(t->a, meta, "namespace", rq->ns);
	json_set(t->a, meta, "uid", json_strcpy(t->a, sa->uid));
	json_set_str(t->a, meta, "creationTimestamp", wall_format(t->a, rq->now));
	json_set_int(t->a, t->spec, "expirationSeconds", seconds);
	if (!ref)
		json_set(t->a, t->spec, "boundObjectRef", json_null(t->a));
	json_set_str(t->a, status, "token", token);
	json_set_str(t->a, status, "expirationTimestamp",
		     wall_format(t->a, (struct wall){ rq->now.ns + seconds * NS_PER_SEC }));
	json_set(t->a, t->body, "status", status);
	json_set_str(t->a, t->body, "kind", STR("TokenRequest"));
	json_set_str(t->a, t->body, "apiVersion", STR("authentication.k8s.io/v1"));
	respond_json(rq, 201, t->body);
}

struct err *serviceaccount_token(struct api_request *rq)
{
	struct token_request t = { .rq = rq, .a = rq->arena, .claims = json_object(rq->arena) };
	struct store_key key = { STR("serviceaccounts"), rq->ns, rq->name };
	_cleanup_obj_ const struct obj *sa = NULL;
	struct str token = STR_EMPTY;
	int64_t seconds;

	TRY(body_decode(rq, &t.body));
	t.spec = json_sub(rq->arena, t.body, "spec");
	t.k8s = json_sub(rq->arena, t.claims, "kubernetes.io");
	TRY(token_check_names(&t));
	TRY(store_get(rq->server->store, &key, &sa));
	if (!sa)
		return error_not_found(rq->res, rq->name);
	TRY(token_check_meta(&t, sa));
	TRY(token_check_seconds(&t, &seconds));
	TRY(admission_run(rq, ADMISSION_CREATE, &t.body));
	t.spec = json_sub(rq->arena, t.body, "spec");
	TRY(token_check_seconds(&t, &seconds));
	TRY(token_claims(&t, sa));
	TRY(tokens_sign(rq->server->tokens, rq->arena, t.claims, rq->now, token_life(&t, seconds),
			&token));
	audit_annotate(rq, "authentication.kubernetes.io/issued-credential-id",
		       arena_cat(rq->arena, STR("JTI="), json_str_at(t.claims, "jti")));
	token_answer(&t, sa, token, seconds);
	return NULL;
}
