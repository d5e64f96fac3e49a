/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Service account tokens: JWTs signed with ES256, and the public side (JWKS). What a token is bound
 * to (its ServiceAccount, a Pod, a Secret, a Node) is checked against the store each time.
 */

#include "base/clock.h"
#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct json;
struct tokens;
struct user_info;

#define TOKEN_ISSUER "https://kubernetes.default.svc.cluster.local"

/* The private key signs and verifies. */
MUST_USE struct err *tokens_new(struct str private_pem, struct tokens **ret);
struct tokens *tokens_free(struct tokens *t);

/* Signs claims (changed: iss, iat, nbf, exp, jti are set). */
MUST_USE struct err *tokens_sign(struct tokens *t, struct arena *a, struct json *claims,
				 struct wall now, int64_t seconds, struct str *ret);
/* Signature, issuer and times; UNAUTHORIZED otherwise. */
MUST_USE struct err *tokens_verify(struct tokens *t, struct arena *a, struct str token,
				   struct wall now, struct json **ret_claims);
/* {"keys":[...]} */
struct json *tokens_jwks(struct tokens *t, struct arena *a);

/*
 * A bearer token to its user; UNAUTHORIZED unless one of audiences fits (n 0: the API's own).
 * ret_auds (may be NULL) receives an array of those of the wanted audiences it is for.
 */
MUST_USE struct err *tokens_authenticate(struct apiserver *s, struct arena *a, struct str token,
					 const struct str *audiences, size_t n_audiences,
					 struct user_info *ret, struct json **ret_auds);
