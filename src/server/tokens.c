/* SPDX-License-Identifier: Apache-2.0 */
#include "server/tokens.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "server/jwt.h"
#include "json/json.h"

#define COORD 32
/* An ES256 check costs 100 us, and clients send the same few tokens again and again. */
#define CHECKED_MAX       1024
#define CHECKED_MAX_BYTES 8192 /* those that are longer are checked each time */
/* how far clocks may be apart */
#define LEEWAY_S 60

struct tokens {
	EVP_PKEY *key;
	struct arena *arena;
	struct str kid;
	/* tokens whose signature was checked -> their claims (malloc'd text) */
	struct map checked;
	uint8_t x[COORD], y[COORD];
};

static bool tokens_coord(EVP_PKEY *key, const char *name, uint8_t *ret)
{
	BIGNUM *bn = NULL;
	bool ok =
		EVP_PKEY_get_bn_param(key, name, &bn) == 1 && BN_bn2binpad(bn, ret, COORD) == COORD;

	BN_free(bn);
	return ok;
}

/* The key's id: base64url(sha256(DER of the public key)), as upstream names keys. */
static bool tokens_kid(struct tokens *t)
{
	unsigned char *der = NULL;
	uint8_t digest[32];
	int n = i2d_PUBKEY(t->key, &der);

	if (n <= 0)
		return false;
	sha256(str_make((char *)der, (size_t)n), digest);
	OPENSSL_free(der);
	t->kid = base64url_encode(t->arena, str_make((char *)digest, sizeof(digest)));
	return true;
}

struct err *tokens_new(struct str private_pem, struct tokens **ret)
{
	BIO *bio = BIO_new_mem_buf(private_pem.p, (int)private_pem.n);
	struct tokens *t = mem_new(struct tokens);

	t->arena = arena_new();
	t->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (!t->key || !tokens_coord(t->key, OSSL_PKEY_PARAM_EC_PUB_X, t->x) ||
	    !tokens_coord(t->key, OSSL_PKEY_PARAM_EC_PUB_Y, t->y) || !tokens_kid(t)) {
		tokens_free(t);
		return err_new(ERR_CORRUPT, "the token signing key is not a P-256 key");
	}
	*ret = t;
	return NULL;
}

static void tokens_forget(struct tokens *t)
{
	map_for_each(e, &t->checked)
		free(e->val);
	map_clear(&t->checked);
}

struct tokens *tokens_free(struct tokens *t)
{
	if (!t)
		return NULL;
	tokens_forget(t);
	map_fini(&t->checked);
	EVP_PKEY_free(t->key);
	arena_free(t->arena);
	free(t);
	return NULL;
}

/* DER signature <-> the fixed 64 bytes of a JWT */
static bool signature_to_raw(const unsigned char *der, size_t n, uint8_t *raw)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, COORD) == COORD &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + COORD, COORD) == COORD;

	ECDSA_SIG_free(sig);
	return ok;
}

static int signature_to_der(const uint8_t *raw, unsigned char **ret)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	int n = -1;

	if (ECDSA_SIG_set0(sig, BN_bin2bn(raw, COORD, NULL), BN_bin2bn(raw + COORD, COORD, NULL)))
		n = i2d_ECDSA_SIG(sig, ret);
	ECDSA_SIG_free(sig);
	return n;
}

static bool tokens_sign_raw(struct tokens *t, struct str text, uint8_t *raw)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char der[128];
	size_t n = sizeof(der);
	bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, t->key) == 1 &&
		  EVP_DigestSign(ctx, der, &n, (const unsigned char *)text.p, text.n) == 1 &&
		  signature_to_raw(der, n, raw);

	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool tokens_verify_raw(struct tokens *t, struct str text, const uint8_t *raw)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	int n = signature_to_der(raw, &der);
	bool ok = n > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, t->key) == 1 &&
		  EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)text.p, text.n) == 1;

	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	return ok;
}

struct err *tokens_sign_claims(struct tokens *t, struct arena *a, const struct json *claims,
			       struct str *ret)
{
	struct json *head = json_object(a);
	uint8_t raw[2 * COORD];
	struct str text;

	json_set_str(a, head, "alg", STR("ES256"));
	json_set_str(a, head, "kid", t->kid);
	text = arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(base64url_encode(a, json_text(a, head))),
			 STR_ARG(base64url_encode(a, json_text(a, claims))));
	if (!tokens_sign_raw(t, text, raw))
		return err_new(ERR_INTERNAL, "cannot sign a token");
	*ret = arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(text),
			 STR_ARG(base64url_encode(a, str_make((char *)raw, sizeof(raw)))));
	return NULL;
}

struct err *tokens_sign(struct tokens *t, struct arena *a, struct json *claims, struct wall now,
			int64_t seconds, struct str *ret)
{
	int64_t sec = now.ns / NS_PER_SEC;

	json_set_str(a, claims, "iss", STR(TOKEN_ISSUER));
	json_set_int(a, claims, "iat", sec);
	json_set_int(a, claims, "nbf", sec);
	json_set_int(a, claims, "exp", sec + seconds);
	json_set_str(a, claims, "jti", rand_uuid(a));
	return tokens_sign_claims(t, a, claims, ret);
}

struct err *tokens_check_times(const struct json *claims, struct wall now)
{
	int64_t sec = now.ns / NS_PER_SEC;

	if (json_int_at(claims, "nbf", 0) > sec + LEEWAY_S)
		return err_new(ERR_UNAUTHORIZED, "service account token is not valid yet");
	if (json_get(claims, "exp") && json_int_at(claims, "exp", 0) < sec - LEEWAY_S)
		return err_new(ERR_UNAUTHORIZED, "service account token has expired");
	if (json_int_at(claims, "iat", 0) > sec + LEEWAY_S)
		return err_new(ERR_UNAUTHORIZED, "service account token is issued in the future");
	return NULL;
}

static bool issuer_known(const struct json *claims)
{
	struct str iss = json_str_at(claims, "iss");

	return str_eqz(iss, TOKEN_ISSUER) || str_eqz(iss, TOKEN_LEGACY_ISSUER);
}

static struct err *jwt_check(struct tokens *t, const struct jwt *j)
{
	struct str kid = json_str_at(j->head, "kid");

	if (!str_empty(kid) && !str_eq(kid, t->kid))
		return err_new(ERR_UNAUTHORIZED, "invalid signature, no keys found");
	if (!str_eqz(json_str_at(j->head, "alg"), "ES256") || j->sig.n != 2 * (size_t)COORD ||
	    !tokens_verify_raw(t, j->signed_part, (const uint8_t *)j->sig.p))
		return err_new(ERR_UNAUTHORIZED,
			       "go-jose/go-jose: error in cryptographic primitive");
	return NULL;
}

struct err *tokens_verify(struct tokens *t, struct arena *a, struct str token,
			  struct json **ret_claims)
{
	const char *known = map_find(&t->checked, token);
	struct jwt j = { .head = NULL };

	*ret_claims = NULL;
	if (known)
		return json_parse(a, str_from(known), ret_claims);
	if (!jwt_split(a, token, &j) || !issuer_known(j.claims))
		return NULL;
	TRY(jwt_check(t, &j));
	*ret_claims = j.claims;
	if (token.n > CHECKED_MAX_BYTES)
		return NULL;
	if (t->checked.n >= CHECKED_MAX)
		tokens_forget(t);
	map_put(&t->checked, token, mem_strdup(j.claims_text));
	return NULL;
}

struct json *tokens_jwks(struct tokens *t, struct arena *a)
{
	struct json *doc = json_object(a), *k = json_object(a);

	json_set_str(a, k, "use", STR("sig"));
	json_set_str(a, k, "kty", STR("EC"));
	json_set_str(a, k, "kid", t->kid);
	json_set_str(a, k, "crv", STR("P-256"));
	json_set_str(a, k, "alg", STR("ES256"));
	json_set_str(a, k, "x", base64url_encode(a, str_make((char *)t->x, COORD)));
	json_set_str(a, k, "y", base64url_encode(a, str_make((char *)t->y, COORD)));
	json_push(json_sub_array(a, doc, "keys"), k);
	return doc;
}
