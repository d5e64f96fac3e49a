/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens and key sets: whatever comes in a header, or from an issuer. */

#include "base/arena.h"
#include "base/err.h"
#include "io/pki.h"
#include "server/authn-config.h"
#include "server/jwt.h"
#include "server/oidc.h"
#include "server/request.h"
#include "server/tokens.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0."
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2EiLCJhdWQiOlsieCJdfQ.AAAA",
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\","
	"\"x\":\"28UrfWi7l-I4HPVXg9cE_dYvlQjTcplUWYG8d67y3iE\","
	"\"y\":\"DTmLe0W-2MqvfSUYBvT3EH1KpY6WknC_IQYyN7cCIQE\"},"
	"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
	"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	"jwt:\n- issuer: {url: 'https://a', audiences: [x]}\n",
	NULL,
};

static struct tokens *keys(void)
{
	static struct tokens *t;
	static struct arena *a;
	struct str priv, pub;

	if (!a) {
		a = arena_new();
		err_ignore(pki_make_key(a, &priv, &pub), "cannot fail");
		err_ignore(tokens_new(priv, &t), "nor this");
	}
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct oidc_issuer issuer = {
		.url = STR_INIT("https://a"),
		.username = { STR_INIT("sub"), STR_INIT("") },
		.groups = { STR_INIT("groups"), STR_INIT("") },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct str in = str_make((const char *)data, n);
	struct authn_config config;
	struct json *claims = NULL;
	struct jwk_set *set = NULL;
	struct user_info u;
	struct jwt j;

	err_ignore(tokens_verify(keys(), a, in, &claims), "only crashes count");
	if (jwt_split(a, in, &j)) {
		err_ignore(oidc_check_claims(a, &issuer, j.claims, 0), "only crashes count");
		err_ignore(oidc_user(a, &issuer, j.claims, &u), "only crashes count");
		err_ignore(tokens_check_times(j.claims, (struct wall){ 0 }), "only crashes count");
	}
	err_ignore(jwk_set_parse(in, &set), "only crashes count");
	if (set && jwt_split(a, str_from(fuzz_seeds[0]), &j))
		(void)jwk_set_verify(set, &j);
	jwk_set_free(set);
	err_ignore(authn_config_parse(a, in, &config), "only crashes count");
	return 0;
}
