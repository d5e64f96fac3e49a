/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From a service account's token to its user: what it is bound to (its ServiceAccount, a Pod, a
 * Secret, a Node) must still exist, with the same uid. Tokens kept in Secrets name their Secret and
 * must equal what it holds.
 */

#include <openssl/crypto.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "server/authn.h"
#include "server/request.h"
#include "server/server.h"
#include "server/tokens.h"
#include "json/json.h"

#define LEGACY          "kubernetes.io/serviceaccount/"
#define INVALID_SINCE   "kubernetes.io/legacy-token-invalid-since"
#define LAST_USED       "kubernetes.io/legacy-token-last-used"
#define DELETED_GRACE_S 60

struct token_account {
	struct token_query *q;
	const struct json *claims;
	struct str ns, name, uid;
};

static struct err *token_refuse(const char *text)
{
	return err_new(ERR_UNAUTHORIZED, "%s", text);
}

/* Gone for longer than clocks may be apart, though something still holds it. */
static bool token_deleted(const struct obj *o)
{
	struct wall t;

	return o->deleting &&
	       (!wall_parse(json_str_at(obj_tree(o), "metadata.deletionTimestamp"), &t) ||
		t.ns < wall_now().ns - DELETED_GRACE_S * NS_PER_SEC);
}

static struct err *token_check_account(struct token_account *t)
{
	_cleanup_obj_ const struct obj *o = NULL;

	TRY(local_get(t->q->server, "serviceaccounts", t->ns, t->name, &o));
	if (!o)
		return err_new(ERR_UNAUTHORIZED, "serviceaccounts \"" STR_FMT "\" not found",
			       STR_ARG(t->name));
	if (!str_eq(o->uid, t->uid))
		return err_new(ERR_UNAUTHORIZED,
			       "service account UID (" STR_FMT ") does not match claim (" STR_FMT
			       ")",
			       STR_ARG(o->uid), STR_ARG(t->uid));
	if (token_deleted(o))
		return err_new(ERR_UNAUTHORIZED,
			       "service account " STR_FMT "/" STR_FMT " has been deleted",
			       STR_ARG(t->ns), STR_ARG(t->name));
	return NULL;
}

static const struct bound_row {
	const char *claim, *gr;
	bool namespaced;
} bound_rows[] = {
	{ "secret", "secrets", true },
	{ "pod", "pods", true },
	{ "node", "nodes", false },
};

static struct err *token_check_bound(struct token_account *t, const struct bound_row *row)
{
	const struct json *ref = json_path(t->claims, "kubernetes.io", row->claim, NULL);
	_cleanup_obj_ const struct obj *o = NULL;
	struct str uid = json_str_at(ref, "uid");

	if (json_is_null(ref))
		return NULL;
	TRY(local_get(t->q->server, row->gr, row->namespaced ? t->ns : STR_EMPTY,
		      json_str_at(ref, "name"), &o));
	if (!o)
		return token_refuse("service account token has been invalidated");
	if (!str_eq(o->uid, uid))
		return err_new(ERR_UNAUTHORIZED,
			       "%s UID (" STR_FMT ") does not match service account %s ref claim "
			       "(" STR_FMT ")",
			       row->claim, STR_ARG(o->uid), row->claim, STR_ARG(uid));
	if (token_deleted(o))
		return token_refuse("service account token has been invalidated");
	return NULL;
}

static struct err *token_check_bounds(struct token_account *t)
{
	const struct json *k8s = json_get(t->claims, "kubernetes.io");

	for (size_t i = 0; i < ARRAY_LEN(bound_rows); i++) {
		/* a token of a Pod names its node for information only */
		if (!bound_rows[i].namespaced && !json_is_null(json_get(k8s, "pod")))
			continue;
		TRY(token_check_bound(t, &bound_rows[i]));
	}
	return NULL;
}

/* the user */
static const struct {
	const char *key, *member, *path;
} extra_rows[] = {
	{ "authentication.kubernetes.io/node-name", "node", "name" },
	{ "authentication.kubernetes.io/node-uid", "node", "uid" },
	{ "authentication.kubernetes.io/pod-name", "pod", "name" },
	{ "authentication.kubernetes.io/pod-uid", "pod", "uid" },
};

static void token_user_extra(struct token_account *t, struct user_info *u)
{
	struct arena *a = t->q->arena;
	struct user_extra *x = arena_array(a, ARRAY_LEN(extra_rows) + 1, sizeof(*x));
	struct str *v = arena_array(a, ARRAY_LEN(extra_rows) + 1, sizeof(*v));
	const struct json *k8s = json_get(t->claims, "kubernetes.io");
	struct str jti = json_str_at(t->claims, "jti");
	size_t n = 0;

	if (!str_empty(jti)) {
		v[n] = arena_cat(a, STR("JTI="), jti);
		x[n] = (struct user_extra){ STR("authentication.kubernetes.io/credential-id"),
					    &v[n], 1 };
		n++;
	}
	for (size_t i = 0; i < ARRAY_LEN(extra_rows); i++) {
		struct str s =
			json_as_str(json_path(k8s, extra_rows[i].member, extra_rows[i].path, NULL));

		if (str_empty(s))
			continue;
		v[n] = s;
		x[n] = (struct user_extra){ str_from(extra_rows[i].key), &v[n], 1 };
		n++;
	}
	u->extra = x;
	u->n_extra = n;
}

static void token_user(struct token_account *t, struct token_result *ret)
{
	struct arena *a = t->q->arena;
	struct user_info *u = arena_new_obj(a, struct user_info);
	struct str *groups = arena_array(a, 3, sizeof(*groups));

	groups[0] = STR("system:serviceaccounts");
	groups[1] = arena_cat(a, STR("system:serviceaccounts:"), t->ns);
	groups[2] = STR("system:authenticated");
	*u = (struct user_info){
		.name = arena_fmt(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(t->ns),
				  STR_ARG(t->name)),
		.uid = t->uid,
		.groups = groups,
		.n_groups = 3,
	};
	token_user_extra(t, u);
	ret->user = u;
}

/* tokens kept in Secrets */
static struct str legacy_claim(const struct json *claims, const char *name)
{
	char key[128];

	snprintf(key, sizeof(key), LEGACY "%s", name);
	return json_as_str(json_get(claims, key));
}

static struct err *legacy_claims(struct token_account *t, struct str *ret_secret)
{
	struct str ns, name;

	t->ns = legacy_claim(t->claims, "namespace");
	t->name = legacy_claim(t->claims, "service-account.name");
	t->uid = legacy_claim(t->claims, "service-account.uid");
	*ret_secret = legacy_claim(t->claims, "secret.name");
	if (str_empty(t->ns))
		return token_refuse("namespace claim is missing");
	if (str_empty(*ret_secret))
		return token_refuse("secretName claim is missing");
	if (str_empty(t->name))
		return token_refuse("serviceAccountName claim is missing");
	if (str_empty(t->uid))
		return token_refuse("serviceAccountUID claim is missing");
	if (!user_is_account(json_str_at(t->claims, "sub"), &ns, &name) || !str_eq(ns, t->ns) ||
	    !str_eq(name, t->name))
		return token_refuse("sub claim is invalid");
	return NULL;
}

/* Once a day the Secret learns that somebody still uses it. */
static struct err *legacy_note_use(struct token_account *t, struct json *secret)
{
	struct arena *a = t->q->arena;
	struct str today = str_sub(wall_format(a, wall_now()), 0, 10);

	if (str_eq(meta_label(secret, LAST_USED), today))
		return NULL;
	meta_set_label(a, secret, LAST_USED, today);
	return local_update(t->q->server, a, "secrets", "", secret, NULL);
}

static struct err *legacy_account(struct token_account *t, struct str secret,
				  struct token_result *ret)
{
	static struct str warning = STR_INIT(
		"Use tokens from the TokenRequest API or manually created secret-based tokens "
		"instead of auto-generated secret-based tokens.");
	struct json *sa = NULL;

	TRY(local_get_json(t->q->server, t->q->arena, "serviceaccounts", t->ns, t->name, &sa));
	if (!sa)
		return err_new(ERR_UNAUTHORIZED, "serviceaccounts \"" STR_FMT "\" not found",
			       STR_ARG(t->name));
	if (meta_deleting(sa))
		return err_new(ERR_UNAUTHORIZED,
			       "ServiceAccount " STR_FMT "/" STR_FMT " has been deleted",
			       STR_ARG(t->ns), STR_ARG(t->name));
	if (!str_eq(meta_uid(sa), t->uid))
		return err_new(ERR_UNAUTHORIZED,
			       "ServiceAccount UID (" STR_FMT ") does not match claim (" STR_FMT
			       ")",
			       STR_ARG(meta_uid(sa)), STR_ARG(t->uid));
	if (json_find_by(json_get(sa, "secrets"), "name", secret)) {
		ret->warnings = &warning;
		ret->n_warnings = 1;
	}
	return NULL;
}

static struct err *legacy_check(struct token_account *t, struct token_result *ret)
{
	struct arena *a = t->q->arena;
	struct json *secret = NULL;
	struct str name = STR_EMPTY, held = STR_EMPTY;

	TRY(legacy_claims(t, &name));
	TRY(local_get_json(t->q->server, a, "secrets", t->ns, name, &secret));
	if (!secret || meta_deleting(secret))
		return token_refuse("Token has been invalidated");
	if (!base64_decode(a, json_str_at(secret, "data.token"), &held) ||
	    held.n != t->q->token.n || CRYPTO_memcmp(held.p, t->q->token.p, held.n) != 0)
		return token_refuse("Token does not match server's copy");
	TRY(legacy_account(t, name, ret));
	err_log(NULL, LOG_WARN, "cannot note the use of a token", legacy_note_use(t, secret));
	if (!str_empty(meta_label(secret, INVALID_SINCE)))
		return err_new(ERR_UNAUTHORIZED,
			       "the token in secret " STR_FMT "/" STR_FMT
			       " for service account " STR_FMT "/" STR_FMT
			       " has been marked invalid. Use tokens from the TokenRequest API or "
			       "manually created secret-based tokens, or remove the '%s' label "
			       "from the secret to temporarily allow use of this token",
			       STR_ARG(t->ns), STR_ARG(name), STR_ARG(t->ns), STR_ARG(t->name),
			       INVALID_SINCE);
	return NULL;
}

/* ["a" "b"], as Go prints a list of strings */
static struct str audiences_text(struct arena *a, const struct json *list)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addc(&b, '[');
	json_for_each(it, list)
		buf_addf(&b, "%s\"" STR_FMT "\"", it.i ? " " : "", STR_ARG(json_as_str(it.val)));
	buf_addc(&b, ']');
	return buf_to_arena(&b, a);
}

static struct err *token_check_audience(struct token_query *q, const struct json *claims,
					struct json **ret)
{
	const struct json *aud = json_get(claims, "aud");
	struct json *have = json_array(q->arena), *wanted = json_array(q->arena);

	if (json_is(aud, JSON_STR))
		json_push(have, json_str(q->arena, json_as_str(aud)));
	json_for_each(it, aud) json_push(have, json_str(q->arena, json_as_str(it.val)));
	/* those without any are for the API alone */
	if (!json_len(have))
		json_push(have, json_strz(q->arena, API_AUDIENCE));
	*ret = audiences_common(q, have);
	if (json_len(*ret))
		return NULL;
	for (size_t i = 0; i < q->n_audiences; i++)
		json_push(wanted, json_str(q->arena, q->audiences[i]));
	return err_new(ERR_UNAUTHORIZED,
		       "token audiences " STR_FMT " is invalid for the target audiences " STR_FMT,
		       STR_ARG(audiences_text(q->arena, have)),
		       STR_ARG(audiences_text(q->arena, wanted)));
}

struct err *authn_account_token(struct token_query *q, struct token_result *ret)
{
	struct json *claims = NULL, *auds = NULL;
	struct token_account t = { .q = q };
	const struct json *k8s;

	TRY(tokens_verify(q->server->tokens, q->arena, q->token, &claims));
	if (!claims)
		return NULL;
	TRY(token_check_audience(q, claims, &auds));
	t.claims = claims;
	if (str_eqz(json_str_at(claims, "iss"), TOKEN_LEGACY_ISSUER)) {
		TRY(legacy_check(&t, ret));
	} else {
		k8s = json_get(claims, "kubernetes.io");
		t.ns = json_str_at(k8s, "namespace");
		t.name = json_str_at(k8s, "serviceaccount.name");
		t.uid = json_str_at(k8s, "serviceaccount.uid");
		TRY(tokens_check_times(claims, wall_now()));
		TRY(token_check_account(&t));
		TRY(token_check_bounds(&t));
	}
	token_user(&t, ret);
	ret->audiences = auds;
	return NULL;
}
