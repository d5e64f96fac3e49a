/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Service account tokens: JWTs signed with ES256, and the public side (JWKS). What a token is bound
 * to (its ServiceAccount, a Pod, a Secret, a Node) is checked against the store each time.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct err;
struct json;
struct tokens;

#define TOKEN_ISSUER        "https://kubernetes.default.svc.cluster.local"
#define TOKEN_LEGACY_ISSUER "kubernetes/serviceaccount" /* of those kept in Secrets */

/* The private key signs and verifies. */
MUST_USE struct err *tokens_new(struct str private_pem, struct tokens **ret);
struct tokens *tokens_free(struct tokens *t);

/* Signs claims (changed: iss, iat, nbf, exp, jti are set). */
MUST_USE struct err *tokens_sign(struct tokens *t, struct arena *a, struct json *claims,
				 struct wall now, int64_t seconds, struct str *ret);
/* Signs them as they are. */
MUST_USE struct err *tokens_sign_claims(struct tokens *t, struct arena *a,
					const struct json *claims, struct str *ret);
/*
 * The claims of a token of ours; NULL, without an error, when it is no JWT or another's.
 * UNAUTHORIZED when the signature does not hold. Times are not checked.
 */
MUST_USE struct err *tokens_verify(struct tokens *t, struct arena *a, struct str token,
				   struct json **ret_claims);
/* nbf, exp and iat; UNAUTHORIZED in upstream's words. */
MUST_USE struct err *tokens_check_times(const struct json *claims, struct wall now);
/* {"keys":[...]} */
struct json *tokens_jwks(struct tokens *t, struct arena *a);
