/* SPDX-License-Identifier: Apache-2.0 */
#include "server/jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "json/json.h"

#define MAX_KEYS     64
#define MAX_COORD    66
#define MIN_RSA_BITS 1024
#define MAX_RSA_BITS 8192

struct jwk {
	struct str kid, alg;
	EVP_PKEY *key;
	size_t coord; /* of EC keys */
};

struct jwk_set {
	struct arena *arena;
	struct jwk keys[MAX_KEYS];
	size_t n;
};

bool jwt_split(struct arena *a, struct str token, struct jwt *ret)
{
	struct str rest = token, head, body, text;
	struct err *e;

	*ret = (struct jwt){ 0 };
	if (!str_cut(&rest, '.', &head) || !str_cut(&rest, '.', &body) ||
	    str_find_char(rest, '.', 0) < rest.n)
		return false;
	ret->signed_part = str_make(token.p, head.n + 1 + body.n);
	if (!base64url_decode(a, head, &text) || !base64url_decode(a, body, &ret->claims_text) ||
	    !base64url_decode(a, rest, &ret->sig))
		return false;
	e = json_parse(a, text, &ret->head);
	if (!e)
		e = json_parse(a, ret->claims_text, &ret->claims);
	err_ignore(e, "then it is no token");
	return json_is(ret->head, JSON_OBJECT) && json_is(ret->claims, JSON_OBJECT);
}

/* keys */
static const struct {
	const char *crv, *group;
	size_t coord;
} curves[] = {
	{ "P-256", "prime256v1", 32 },
	{ "P-384", "secp384r1", 48 },
	{ "P-521", "secp521r1", 66 },
};

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	ERR_clear_error();
	return key;
}

static EVP_PKEY *key_rsa(struct arena *a, const struct json *j)
{
	OSSL_PARAM_BLD *bld;
	BIGNUM *n, *e;
	struct str ns, es;
	EVP_PKEY *key = NULL;

	if (!base64url_decode(a, json_str_at(j, "n"), &ns) ||
	    !base64url_decode(a, json_str_at(j, "e"), &es) || es.n > 8 ||
	    ns.n > MAX_RSA_BITS / 8 + 1 || ns.n < MIN_RSA_BITS / 8)
		return NULL;
	bld = OSSL_PARAM_BLD_new();
	n = BN_bin2bn((const unsigned char *)ns.p, (int)ns.n, NULL);
	e = BN_bin2bn((const unsigned char *)es.p, (int)es.n, NULL);
	if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
		key = key_from("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(e);
	return key;
}

static EVP_PKEY *key_ec(struct arena *a, const struct json *j, size_t *ret_coord)
{
	struct str crv = json_str_at(j, "crv"), x, y;
	unsigned char point[1 + 2 * MAX_COORD] = { 4 };
	OSSL_PARAM_BLD *bld;
	EVP_PKEY *key = NULL;
	size_t i = 0, n;

	while (i < ARRAY_LEN(curves) && !str_eqz(crv, curves[i].crv))
		i++;
	if (i == ARRAY_LEN(curves))
		return NULL;
	n = curves[i].coord;
	if (!base64url_decode(a, json_str_at(j, "x"), &x) ||
	    !base64url_decode(a, json_str_at(j, "y"), &y) || x.n != n || y.n != n)
		return NULL;
	memcpy(point + 1, x.p, n);
	memcpy(point + 1 + n, y.p, n);
	bld = OSSL_PARAM_BLD_new();
	if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * n))
		key = key_from("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	*ret_coord = n;
	return key;
}

static void jwk_add(struct jwk_set *s, const struct json *j)
{
	struct str kty = json_str_at(j, "kty"), use = json_str_at(j, "use");
	struct jwk k = { .kid = json_str_at(j, "kid"), .alg = json_str_at(j, "alg") };

	if (s->n == MAX_KEYS || (!str_empty(use) && !str_eqz(use, "sig")))
		return;
	if (str_eqz(kty, "RSA"))
		k.key = key_rsa(s->arena, j);
	else if (str_eqz(kty, "EC"))
		k.key = key_ec(s->arena, j, &k.coord);
	if (k.key)
		s->keys[s->n++] = k;
}

struct err *jwk_set_parse(struct str text, struct jwk_set **ret)
{
	struct jwk_set *s = mem_new(struct jwk_set);
	struct json *doc = NULL;
	struct err *e;

	s->arena = arena_new();
	e = json_parse(s->arena, arena_str(s->arena, text), &doc);
	if (!e && !json_is(json_get(doc, "keys"), JSON_ARRAY))
		e = err_new(ERR_INVALID, "it has no keys");
	if (e) {
		jwk_set_free(s);
		return err_recode(err_wrap(e, "key set"), ERR_INVALID);
	}
	json_for_each(it, json_get(doc, "keys")) jwk_add(s, it.val);
	*ret = s;
	return NULL;
}

struct jwk_set *jwk_set_free(struct jwk_set *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		EVP_PKEY_free(s->keys[i].key);
	arena_free(s->arena);
	free(s);
	return NULL;
}

bool jwk_set_has(const struct jwk_set *s, struct str kid)
{
	for (size_t i = 0; i < s->n; i++) {
		if (str_eq(s->keys[i].kid, kid))
			return true;
	}
	return false;
}

/* verifying */
static const struct alg_row {
	const char *name, *digest;
	bool pss;
	size_t coord; /* 0: RSA */
} algs[] = {
	{ "RS256", "SHA256", false, 0 },  { "RS384", "SHA384", false, 0 },
	{ "RS512", "SHA512", false, 0 },  { "PS256", "SHA256", true, 0 },
	{ "PS384", "SHA384", true, 0 },   { "PS512", "SHA512", true, 0 },
	{ "ES256", "SHA256", false, 32 }, { "ES384", "SHA384", false, 48 },
	{ "ES512", "SHA512", false, 66 },
};

/* The fixed form of a JWT to DER; to be freed with OPENSSL_free. */
static int ec_signature_der(struct str sig, size_t coord, unsigned char **ret)
{
	const unsigned char *raw = (const unsigned char *)sig.p;
	ECDSA_SIG *s = ECDSA_SIG_new();
	int n = -1;

	if (ECDSA_SIG_set0(s, BN_bin2bn(raw, (int)coord, NULL),
			   BN_bin2bn(raw + coord, (int)coord, NULL)))
		n = i2d_ECDSA_SIG(s, ret);
	ECDSA_SIG_free(s);
	return n;
}

static bool verify_raw(const struct jwk *k, const struct alg_row *alg, struct str text,
		       const unsigned char *sig, size_t n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, alg->digest, NULL, NULL, k->key, NULL) == 1;

	if (ok && alg->pss)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_AUTO) == 1;
	ok = ok && EVP_DigestVerify(ctx, sig, n, (const unsigned char *)text.p, text.n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

static bool verify_with(const struct jwk *k, const struct alg_row *alg, const struct jwt *j)
{
	unsigned char *der = NULL;
	bool ok;
	int n;

	if (k->coord != alg->coord || (!str_empty(k->alg) && !str_eqz(k->alg, alg->name)))
		return false;
	if (!alg->coord)
		return verify_raw(k, alg, j->signed_part, (const unsigned char *)j->sig.p,
				  j->sig.n);
	if (j->sig.n != 2 * alg->coord)
		return false;
	n = ec_signature_der(j->sig, alg->coord, &der);
	ok = n > 0 && verify_raw(k, alg, j->signed_part, der, (size_t)n);
	OPENSSL_free(der);
	return ok;
}

bool jwk_set_verify(const struct jwk_set *s, const struct jwt *j)
{
	struct str kid = json_str_at(j->head, "kid"), alg = json_str_at(j->head, "alg");
	size_t row = 0;

	while (row < ARRAY_LEN(algs) && !str_eqz(alg, algs[row].name))
		row++;
	if (row == ARRAY_LEN(algs))
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (!str_empty(kid) && !str_eq(kid, s->keys[i].kid))
			continue;
		if (verify_with(&s->keys[i], &algs[row], j))
			return true;
	}
	return false;
}
