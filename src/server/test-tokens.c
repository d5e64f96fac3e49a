/* SPDX-License-Identifier: Apache-2.0 */
#include "server/tokens.h"

#include "base/encode.h"
#include "io/pki.h"
#include "testkit/test.h"
#include "json/json.h"

static const struct wall now = { INT64_C(1700000000) * NS_PER_SEC };

static struct tokens *make(struct arena *a)
{
	struct str priv = STR_EMPTY, pub = STR_EMPTY;
	struct tokens *t = NULL;

	assert_no_err(pki_make_key(a, &priv, &pub));
	assert_no_err(tokens_new(priv, &t));
	return t;
}

static struct str sign(struct tokens *t, struct arena *a, int64_t seconds)
{
	struct json *claims = json_object(a);
	struct str token = STR_EMPTY;

	json_set_str(a, claims, "sub", STR("system:serviceaccount:a:b"));
	assert_no_err(tokens_sign(t, a, claims, now, seconds, &token));
	return token;
}

TEST(signed_tokens_verify)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tokens *t = make(a);
	struct json *claims = NULL;

	for (int i = 0; i < 20; i++) {
		assert_no_err(tokens_verify(t, a, sign(t, a, 600), now, &claims));
		assert_str(json_str_at(claims, "sub"), "system:serviceaccount:a:b");
		assert_str(json_str_at(claims, "iss"), TOKEN_ISSUER);
		assert_int_equal(json_int_at(claims, "exp", 0), 1700000600);
	}
	tokens_free(t);
}

TEST(what_does_not_verify)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tokens *t = make(a), *other = make(a);
	struct wall later = { now.ns + 601 * NS_PER_SEC }, before = { now.ns - 60 * NS_PER_SEC };
	struct str token = sign(t, a, 600);
	struct json *claims = NULL;

	assert_err(tokens_verify(t, a, token, later, &claims), ERR_UNAUTHORIZED);
	assert_err(tokens_verify(t, a, token, before, &claims), ERR_UNAUTHORIZED);
	assert_err(tokens_verify(other, a, token, now, &claims), ERR_UNAUTHORIZED);
	assert_err(tokens_verify(t, a, STR(""), now, &claims), ERR_UNAUTHORIZED);
	assert_err(tokens_verify(t, a, STR("a.b"), now, &claims), ERR_UNAUTHORIZED);
	for (size_t i = 0; i < token.n; i += 7) {
		char *bad = arena_strz(a, token);

		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		assert_err(tokens_verify(t, a, str_make(bad, token.n), now, &claims),
			   ERR_UNAUTHORIZED);
	}
	tokens_free(t);
	tokens_free(other);
}

/* "alg": "none" is the classic */
TEST(unsigned_tokens_are_refused)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tokens *t = make(a);
	struct str token = sign(t, a, 600), head, forged;
	struct json *claims = NULL;

	str_cut(&token, '.', &head);
	forged = arena_fmt(a, STR_FMT "." STR_FMT,
			   STR_ARG(base64url_encode(a, STR("{\"alg\":\"none\"}"))), STR_ARG(token));
	assert_err(tokens_verify(t, a, forged, now, &claims), ERR_UNAUTHORIZED);
	tokens_free(t);
}

TEST(jwks)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tokens *t = make(a);
	const struct json *key = json_idx(json_get(tokens_jwks(t, a), "keys"), 0);
	struct str x;

	assert_str(json_str_at(key, "crv"), "P-256");
	assert_true(base64url_decode(a, json_str_at(key, "x"), &x));
	assert_int_equal(x.n, 32);
	tokens_free(t);
}

TEST_MAIN(T(signed_tokens_verify), T(what_does_not_verify), T(unsigned_tokens_are_refused), T(jwks))
