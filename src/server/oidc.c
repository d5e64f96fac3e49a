/* SPDX-License-Identifier: Apache-2.0 */
#include "server/oidc.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/tls.h"
#include "server/authn-config.h"
#include "server/authn.h"
#include "server/jwt.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define MAX_DOCUMENT ((size_t)1024 * 1024)
#define FETCH_MS     10000
#define REFETCH_MS   1000
#define NBF_LEEWAY_S 300
#define MAX_GROUPS   1024
#define ALL_ALGS     "RS256,RS384,RS512,ES256,ES384,ES512,PS256,PS384,PS512"

struct provider {
	const struct oidc_issuer *issuer;
	struct tls_config *tls;
	struct jwk_set *keys;
	struct mono fetched; /* or tried to; ns 0: never */
	bool busy;
	struct waitq done;
};

struct oidc {
	struct provider *providers;
	size_t n;
};

struct oidc *oidc_new(const struct oidc_issuer *issuers, size_t n)
{
	struct oidc *o = mem_new(struct oidc);

	o->n = n;
	o->providers = mem_zalloc(n + 1, sizeof(*o->providers));
	for (size_t i = 0; i < n; i++) {
		o->providers[i].issuer = &issuers[i];
		waitq_init(&o->providers[i].done);
	}
	return o;
}

/* fetching */
static struct err *provider_get(struct provider *p, struct arena *a, struct str url,
				struct str *ret)
{
	struct str rest = url, host, path;
	struct http_client_response resp;
	struct http_client *c;
	struct err *e;

	if (!str_strip_prefix(&rest, STR("https://")))
		return err_new(ERR_INVALID, "'" STR_FMT "' is no https URL", STR_ARG(url));
	host = str_sub(rest, 0, str_find_char(rest, '/', 0));
	path = str_skip(rest, host.n);
	c = http_client_new(&(struct http_client_opts){
		.address = str_find_char(host, ':', 0) < host.n ? host
								: arena_cat(a, host, STR(":443")),
		.host_header = host,
		.tls = p->tls,
	});
	e = http_client_do(
		c, a, &(struct http_client_request){ .target = str_empty(path) ? STR("/") : path },
		MAX_DOCUMENT, &resp);
	http_client_free(c);
	TRY(err_wrap(e, STR_FMT, STR_ARG(url)));
	if (resp.status != 200)
		return err_new(ERR_IO, STR_FMT ": status %d", STR_ARG(url), resp.status);
	*ret = resp.body;
	return NULL;
}

static struct err *provider_fetch(struct provider *p)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct oidc_issuer *i = p->issuer;
	const struct tls_opts tls = { .ca_pem = i->ca_pem, .no_h2 = true };
	struct str url = i->discovery_url, text = STR_EMPTY, issuer = i->url;
	struct jwk_set *keys = NULL;
	struct json *doc = NULL;

	if (!p->tls)
		TRY(tls_config_new(&tls, &p->tls));
	str_strip_suffix(&issuer, STR("/"));
	if (str_empty(url))
		url = arena_cat(a, issuer, STR("/.well-known/openid-configuration"));
	TRY(provider_get(p, a, url, &text));
	TRY(json_parse(a, text, &doc));
	if (!str_eq(json_str_at(doc, "issuer"), i->url))
		return err_new(ERR_INVALID,
			       "oidc: issuer did not match the issuer returned by provider, "
			       "expected \"" STR_FMT "\" got \"" STR_FMT "\"",
			       STR_ARG(i->url), STR_ARG(json_str_at(doc, "issuer")));
	TRY(provider_get(p, a, json_str_at(doc, "jwks_uri"), &text));
	TRY(jwk_set_parse(text, &keys));
	jwk_set_free(p->keys);
	p->keys = keys;
	return NULL;
}

/* One at a time; those who come meanwhile wait for it. */
static struct err *provider_refresh(struct provider *p)
{
	struct mono deadline;

	if (p->busy)
		return waitq_wait(&p->done);
	if (p->fetched.ns && mono_ms_since(p->fetched) < REFETCH_MS)
		return NULL;
	p->busy = true;
	deadline = fiber_limit_ms(FETCH_MS);
	err_log(NULL, LOG_WARN, "cannot fetch the keys of an OpenID Connect issuer",
		provider_fetch(p));
	fiber_restore_deadline(deadline);
	p->fetched = mono_now();
	p->busy = false;
	waitq_wake_all(&p->done);
	return NULL;
}

/* claims */
static bool list_or_one_has(const struct json *v, struct str s)
{
	if (json_is(v, JSON_STR))
		return str_eq(json_as_str(v), s);
	json_for_each(it, v)
	{
		if (str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

static struct err *check_audience(struct arena *a, const struct oidc_issuer *i,
				  const struct json *claims)
{
	const struct json *aud = json_get(claims, "aud");
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t k = 0; k < i->n_audiences; k++) {
		if (list_or_one_has(aud, i->audiences[k]))
			return NULL;
	}
	for (size_t k = 0; k < i->n_audiences; k++)
		buf_addf(&b, "%s\"" STR_FMT "\"", k ? " " : "", STR_ARG(i->audiences[k]));
	return err_new(ERR_UNAUTHORIZED,
		       "oidc: verify token: oidc: expected audience in [%s] got " STR_FMT, b.p,
		       STR_ARG(json_text(a, aud ? aud : json_array(a))));
}

static struct err *check_required(const struct oidc_issuer *i, const struct json *claims)
{
	for (size_t k = 0; k < i->n_required; k++) {
		const struct claim_rule *r = &i->required[k];
		const struct json *v = json_get_s(claims, r->claim);

		if (!v)
			return err_new(ERR_UNAUTHORIZED,
				       "oidc: required claim " STR_FMT " not present in ID token",
				       STR_ARG(r->claim));
		if (!str_eq(json_as_str(v), r->value))
			return err_new(ERR_UNAUTHORIZED,
				       "oidc: required claim " STR_FMT
				       " value does not match. Got = " STR_FMT ", want = " STR_FMT,
				       STR_ARG(r->claim), STR_ARG(json_as_str(v)),
				       STR_ARG(r->value));
	}
	return NULL;
}

struct err *oidc_check_claims(struct arena *a, const struct oidc_issuer *i,
			      const struct json *claims, int64_t now)
{
	double exp = json_as_real(json_get(claims, "exp"), 0);

	if (!str_eq(json_str_at(claims, "iss"), i->url))
		return err_new(ERR_UNAUTHORIZED, "oidc: verify token: oidc: id token issued by a "
						 "different provider");
	TRY(check_audience(a, i, claims));
	if (exp < (double)now)
		return err_new(ERR_UNAUTHORIZED,
			       "oidc: verify token: oidc: token is expired (Token Expiry: %.0f)",
			       exp);
	if (json_as_real(json_get(claims, "nbf"), 0) > (double)(now + NBF_LEEWAY_S))
		return err_new(ERR_UNAUTHORIZED, "oidc: verify token: oidc: current time is before "
						 "the nbf (not before) time");
	return check_required(i, claims);
}

static struct err *user_name(struct arena *a, const struct oidc_issuer *i,
			     const struct json *claims, struct user_info *ret)
{
	const struct json *v = json_get_s(claims, i->username.claim);
	const struct json *verified = json_get(claims, "email_verified");

	if (!json_is(v, JSON_STR))
		return err_new(ERR_UNAUTHORIZED, "oidc: parse username claims \"" STR_FMT "\": %s",
			       STR_ARG(i->username.claim),
			       v ? "it is no string" : "claim not present");
	/* an address is somebody's only when the issuer says so */
	if (str_eqz(i->username.claim, "email") && verified && !json_as_bool(verified, false))
		return err_new(ERR_UNAUTHORIZED, "oidc: email not verified");
	ret->name = arena_cat(a, i->username.prefix, json_as_str(v));
	return NULL;
}

static struct err *user_groups(struct arena *a, const struct oidc_issuer *i,
			       const struct json *claims, struct user_info *ret)
{
	const struct json *v = json_get_s(claims, i->groups.claim);
	struct str *groups;

	if (str_empty(i->groups.claim) || json_is_null(v))
		return NULL;
	if (!json_is(v, JSON_STR) && (!json_is(v, JSON_ARRAY) || json_len(v) > MAX_GROUPS))
		return err_new(ERR_UNAUTHORIZED,
			       "oidc: parse groups claim \"" STR_FMT
			       "\": it is neither a string nor a list of them",
			       STR_ARG(i->groups.claim));
	groups = arena_array(a, json_len(v) + 2, sizeof(*groups));
	if (json_is(v, JSON_STR) && !str_empty(json_as_str(v)))
		groups[ret->n_groups++] = arena_cat(a, i->groups.prefix, json_as_str(v));
	json_for_each(it, v)
	{
		if (!json_is(it.val, JSON_STR))
			return err_new(ERR_UNAUTHORIZED,
				       "oidc: parse groups claim \"" STR_FMT
				       "\": json: cannot unmarshal %s into Go value of type string",
				       STR_ARG(i->groups.claim), json_type_name(it.val));
		groups[ret->n_groups++] = arena_cat(a, i->groups.prefix, json_as_str(it.val));
	}
	ret->groups = groups;
	return NULL;
}

static void user_credential(struct arena *a, const struct json *claims, struct user_info *ret)
{
	struct user_extra *x;
	struct str *v;

	if (str_empty(json_str_at(claims, "jti")))
		return;
	x = arena_new_obj(a, struct user_extra);
	v = arena_new_obj(a, struct str);
	*v = arena_cat(a, STR("JTI="), json_str_at(claims, "jti"));
	*x = (struct user_extra){ STR("authentication.kubernetes.io/credential-id"), v, 1 };
	ret->extra = x;
	ret->n_extra = 1;
}

struct err *oidc_user(struct arena *a, const struct oidc_issuer *i, const struct json *claims,
		      struct user_info *ret)
{
	*ret = (struct user_info){ .name = STR_EMPTY };
	TRY(user_name(a, i, claims, ret));
	TRY(user_groups(a, i, claims, ret));
	if (!str_empty(i->uid.claim)) {
		const struct json *v = json_get_s(claims, i->uid.claim);

		if (!json_is(v, JSON_STR))
			return err_new(ERR_UNAUTHORIZED,
				       "oidc: parse uid claim \"" STR_FMT "\": claim not present",
				       STR_ARG(i->uid.claim));
		ret->uid = json_as_str(v);
	}
	user_credential(a, claims, ret);
	user_add_group(a, ret, STR("system:authenticated"));
	return NULL;
}

/* tokens */
static bool alg_allowed(const struct oidc_issuer *i, struct str alg)
{
	struct str rest = str_empty(i->algs) ? STR(ALL_ALGS) : i->algs, one;

	while (str_split_next(&rest, ',', &one)) {
		if (str_eq(str_trim(one), alg))
			return true;
	}
	return false;
}

static struct err *provider_verify(struct provider *p, const struct jwt *j)
{
	struct str kid = json_str_at(j->head, "kid"), alg = json_str_at(j->head, "alg");

	if (!alg_allowed(p->issuer, alg))
		return err_new(ERR_UNAUTHORIZED,
			       "oidc: verify token: oidc: id token signed with unsupported "
			       "algorithm, got \"" STR_FMT "\"",
			       STR_ARG(alg));
	if (!p->keys || (!str_empty(kid) && !jwk_set_has(p->keys, kid)))
		TRY(provider_refresh(p));
	if (!p->keys)
		return err_new(ERR_UNAUTHORIZED,
			       "oidc: authenticator for issuer \"" STR_FMT "\" is not initialized",
			       STR_ARG(p->issuer->url));
	if (!jwk_set_verify(p->keys, j))
		return err_new(ERR_UNAUTHORIZED,
			       "oidc: verify token: failed to verify signature: failed to verify "
			       "id token signature");
	return NULL;
}

static struct provider *provider_find(struct oidc *o, struct str issuer)
{
	for (size_t i = 0; o && i < o->n; i++) {
		if (str_eq(o->providers[i].issuer->url, issuer))
			return &o->providers[i];
	}
	return NULL;
}

struct err *authn_oidc_token(struct token_query *q, struct token_result *ret)
{
	struct oidc *o = authn_oidc(q->server);
	struct json *aud;
	struct provider *p;
	struct user_info *u;
	struct jwt j;

	if (!o || !o->n || !jwt_split(q->arena, q->token, &j))
		return NULL;
	p = provider_find(o, json_str_at(j.claims, "iss"));
	/* who these tokens stand for may use the API, whatever the tokens' own audience is */
	aud = audiences_common(q, json_strz(q->arena, API_AUDIENCE));
	if (!p || !json_len(aud))
		return NULL;
	TRY(provider_verify(p, &j));
	TRY(oidc_check_claims(q->arena, p->issuer, j.claims, wall_now().ns / NS_PER_SEC));
	u = arena_new_obj(q->arena, struct user_info);
	TRY(oidc_user(q->arena, p->issuer, j.claims, u));
	ret->user = u;
	ret->audiences = aud;
	return NULL;
}
