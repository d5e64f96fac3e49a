/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON Web Tokens in their compact form, and the key sets (JWKS) they are verified with. */

#include "base/base.h"
#include "base/str.h"

struct arena;
struct err;
struct json;
struct jwk_set;

/* signed_part is what the signature is over. All in the arena. */
struct jwt {
	struct json *head, *claims;
	struct str signed_part, claims_text, sig;
};

/* False when it is none. Nothing is verified. */
bool jwt_split(struct arena *a, struct str token, struct jwt *ret);

/* Public keys for signatures; others in the document are left out. INVALID when it is no key set.
 */
MUST_USE struct err *jwk_set_parse(struct str text, struct jwk_set **ret);
struct jwk_set *jwk_set_free(struct jwk_set *s);
bool jwk_set_has(const struct jwk_set *s, struct str kid);
/* RS*, PS* and ES*: whether one of the keys (the one the token names, if it names one) signed it.
 */
bool jwk_set_verify(const struct jwk_set *s, const struct jwt *j);
