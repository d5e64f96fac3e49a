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
		assert_no_err(tokens_verify(t, a, sign(t, a, 600), &claims));
		assert_str(json_str_at(claims, "sub"), "system:serviceaccount:a:b");
		assert_str(json_str_at(claims, "iss"), TOKEN_ISSUER);
		assert_int_equal(json_int_at(claims, "exp", 0), 1700000600);
	}
	tokens_free(t);
}

/* Refused with an error, or not taken for a token of ours at all. */
static bool refused(struct tokens *t, struct arena *a, struct str token)
{
	struct json *claims = NULL;
	struct err *e = tokens_verify(t, a, token, &claims);
	bool bad = err_is(e, ERR_UNAUTHORIZED);

	err_free(e);
	return bad || !claims;
}

TEST(what_does_not_verify)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tokens *t = make(a), *other = make(a);
	struct str token = sign(t, a, 600);

	assert_true(refused(other, a, token));
	assert_true(refused(t, a, STR("")));
	assert_true(refused(t, a, STR("a.b")));
	assert_true(refused(t, a, STR("a.b.c.d")));
	for (size_t i = 0; i < token.n; i += 7) {
		char *bad = arena_strz(a, token);

		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		assert_true(refused(t, a, str_make(bad, token.n)));
	}
	assert_false(refused(t, a, token));
	tokens_free(t);
	tokens_free(other);
}

TEST(times)
{
	static const struct {
		const char *claims;
		const char *error; /* NULL: fine */
	} rows[] = {
		{ "{}", NULL },
		{ "{\"exp\":1700000001}", NULL },
		{ "{\"exp\":1699999940}", NULL },
		{ "{\"exp\":1699999939}", "service account token has expired" },
		{ "{\"exp\":0}", "service account token has expired" },
		{ "{\"exp\":1700000600,\"nbf\":1700000060}", NULL },
		{ "{\"nbf\":1700000061}", "service account token is not valid yet" },
		{ "{\"iat\":1700000061}", "service account token is issued in the future" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *claims = NULL;
		struct err *e;

		assert_no_err(json_parse(a, str_from(rows[i].claims), &claims));
		e = tokens_check_times(claims, now);
		if (!e != !rows[i].error || (e && !str_eqz(err_msg(e), rows[i].error)))
			fail_msg("row %zu: %s", i, rows[i].claims);
		err_free(e);
	}
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
	assert_err(tokens_verify(t, a, forged, &claims), ERR_UNAUTHORIZED);
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

TEST_MAIN(T(signed_tokens_verify), T(what_does_not_verify), T(times),
	  T(unsigned_tokens_are_refused), T(jwks))
