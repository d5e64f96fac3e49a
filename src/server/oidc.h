/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ID tokens of OpenID Connect issuers: signed by a key of the issuer's key set, for one of our
 * audiences, its claims turned into a user. Keys are fetched when the first token comes, and again
 * when a token names one that is not known, at most once a second.
 */

#include "base/base.h"
#include "base/str.h"

struct arena;
struct err;
struct json;
struct oidc;
struct oidc_issuer;
struct user_info;

struct oidc *oidc_new(const struct oidc_issuer *issuers, size_t n);
/* From verified claims; UNAUTHORIZED when they are not what the issuer is configured for. */
MUST_USE struct err *oidc_user(struct arena *a, const struct oidc_issuer *i,
			       const struct json *claims, struct user_info *ret);
/* exp, nbf, aud, required claims. now in seconds. */
MUST_USE struct err *oidc_check_claims(struct arena *a, const struct oidc_issuer *i,
				       const struct json *claims, int64_t now);
