/* SPDX-License-Identifier: Apache-2.0 */
#include "server/oidc.h"

#include "base/encode.h"
#include "io/pki.h"
#include "server/authn-config.h"
#include "server/jwt.h"
#include "server/request.h"
#include "server/tokens.h"
#include "testkit/test.h"
#include "json/json.h"

#define NOW 1700000000

static const struct str audiences[] = { STR_INIT("me"), STR_INIT("us") };
static const struct claim_rule rules[] = { { STR_INIT("hd"), STR_INIT("example.com") } };
static const struct oidc_issuer issuer = {
	.url = STR_INIT("https://issuer.example"),
	.audiences = audiences,
	.n_audiences = 2,
	.username = { STR_INIT("email"), STR_INIT("u:") },
	.groups = { STR_INIT("groups"), STR_INIT("g:") },
	.required = rules,
	.n_required = 1,
};

#define GOOD "\"iss\":\"https://issuer.example\",\"exp\":1700000001,\"hd\":\"example.com\""

TEST(claims)
{
	static const struct {
		const char *claims;
		const char *error; /* NULL: fine */
	} rows[] = {
		{ "{" GOOD ",\"aud\":\"us\"}", NULL },
		{ "{" GOOD ",\"aud\":[\"x\",\"me\"]}", NULL },
		{ "{" GOOD ",\"aud\":[\"x\"]}",
		  "oidc: verify token: oidc: expected audience in [\"me\" \"us\"] got [\"x\"]" },
		{ "{\"iss\":\"https://issuer.example\",\"exp\":1699999999,\"aud\":\"me\"}",
		  "oidc: verify token: oidc: token is expired (Token Expiry: 1699999999)" },
		{ "{" GOOD ",\"aud\":\"me\",\"nbf\":1700000400}",
		  "oidc: verify token: oidc: current time is before the nbf (not before) time" },
		{ "{\"iss\":\"https://issuer.example\",\"exp\":1700000001,\"aud\":\"me\"}",
		  "oidc: required claim hd not present in ID token" },
		{ "{\"iss\":\"https://issuer.example\",\"exp\":1700000001,\"aud\":\"me\","
		  "\"hd\":\"x\"}",
		  "oidc: required claim hd value does not match. Got = x, want = example.com" },
		{ "{}", "oidc: verify token: oidc: id token issued by a different provider" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *c = NULL;
		struct err *e;

		assert_no_err(json_parse(a, str_from(rows[i].claims), &c));
		e = oidc_check_claims(a, &issuer, c, NOW);
		if (!e != !rows[i].error || (e && !str_eqz(err_msg(e), rows[i].error)))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(e ? err_msg(e) : STR("none")));
		err_free(e);
	}
}

TEST(users)
{
	static const struct {
		const char *claims;
		const char *name, *group; /* NULL: refused, none */
	} rows[] = {
		{ "{\"email\":\"a@b.c\",\"groups\":[\"x\"]}", "u:a@b.c", "g:x" },
		{ "{\"email\":\"a@b.c\",\"groups\":\"x\"}", "u:a@b.c", "g:x" },
		{ "{\"email\":\"a@b.c\",\"email_verified\":true}", "u:a@b.c", NULL },
		{ "{\"email\":\"a@b.c\",\"email_verified\":false}", NULL, NULL },
		{ "{\"email\":7}", NULL, NULL },
		{ "{}", NULL, NULL },
		{ "{\"email\":\"a\",\"groups\":[7]}", NULL, NULL },
		{ "{\"email\":\"a\",\"groups\":{}}", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct user_info u;
		struct json *c = NULL;
		struct err *e;

		assert_no_err(json_parse(a, str_from(rows[i].claims), &c));
		e = oidc_user(a, &issuer, c, &u);
		if (!e != (rows[i].name != NULL))
			fail_msg("row %zu", i);
		if (!e) {
			assert_str(u.name, rows[i].name);
			assert_true(user_in_group(&u, STR("system:authenticated")));
			if (rows[i].group)
				assert_true(user_in_group(&u, str_from(rows[i].group)));
		}
		err_free(e);
	}
}

TEST(key_sets)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str priv = STR_EMPTY, pub = STR_EMPTY, token = STR_EMPTY;
	struct json *claims = json_object(a);
	struct tokens *t = NULL;
	struct jwk_set *s = NULL;
	struct jwt j;

	assert_no_err(pki_make_key(a, &priv, &pub));
	assert_no_err(tokens_new(priv, &t));
	json_set_str(a, claims, "sub", STR("x"));
	assert_no_err(tokens_sign_claims(t, a, claims, &token));
	assert_no_err(jwk_set_parse(json_text(a, tokens_jwks(t, a)), &s));
	assert_true(jwt_split(a, token, &j));
	assert_true(jwk_set_has(s, json_str_at(j.head, "kid")));
	assert_true(jwk_set_verify(s, &j));
	json_set_str(a, j.head, "alg", STR("none"));
	assert_false(jwk_set_verify(s, &j));
	json_set_str(a, j.head, "alg", STR("RS256"));
	assert_false(jwk_set_verify(s, &j));
	json_set_str(a, j.head, "alg", STR("ES256"));
	j.signed_part.n--;
	assert_false(jwk_set_verify(s, &j));
	jwk_set_free(s);
	tokens_free(t);
	assert_err(jwk_set_parse(STR("{}"), &s), ERR_INVALID);
	assert_err(jwk_set_parse(STR("junk"), &s), ERR_INVALID);
}

#define CONFIG "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
#define ISSUER                                                                                     \
	"jwt:\n- issuer: {url: 'https://a', audiences: [x]}\n  claimMappings: {username: {claim: " \
	"sub, "                                                                                    \
	"prefix: ''}}\n"

TEST(config)
{
	static const struct {
		const char *text, *error; /* NULL: fine */
	} rows[] = {
		{ CONFIG, NULL },
		{ CONFIG ISSUER, NULL },
		{ "kind: Pod\napiVersion: v1\n", "it is no AuthenticationConfiguration" },
		{ CONFIG "jwt:\n- issuer: {url: 'http://a', audiences: [x]}\n",
		  "jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https" },
		{ CONFIG "jwt:\n- issuer: {url: 'https://a'}\n",
		  "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences "
		  "is required" },
		{ CONFIG "jwt:\n- issuer: {url: 'https://a', audiences: [x]}\n"
			 "  claimMappings: {username: {claim: sub}}\n",
		  "jwt[0].claimMappings.username.prefix: Required value: prefix is required when "
		  "claim is set. It can be set to an empty string to disable prefixing" },
		{ CONFIG "jwt:\n- issuer: {url: 'https://a', audiences: [x]}\n"
			 "  claimMappings: {username: {expression: 'claims.sub'}}\n",
		  "jwt[0].claimMappings.username.expression: Forbidden: expressions are not "
		  "supported" },
		{ CONFIG "anonymous: {enabled: false, conditions: [{path: /livez}]}\n",
		  "enabled should be set to true when conditions are defined" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct authn_config c;
		struct err *e = authn_config_parse(a, str_from(rows[i].text), &c);

		if (!e != !rows[i].error ||
		    (e && !str_contains(err_msg(e), str_from(rows[i].error))))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(e ? err_msg(e) : STR("none")));
		err_free(e);
	}
}

TEST_MAIN(T(claims), T(users), T(key_sets), T(config))
