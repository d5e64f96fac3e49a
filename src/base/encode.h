/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* base64, hex and digests. */

#include "base/str.h"

struct arena;

struct str base64_encode(struct arena *a, struct str s);
/* URL alphabet without padding, as in JWT. */
struct str base64url_encode(struct arena *a, struct str s);
/* Standard alphabet, padding required, line breaks allowed as in Go; false on anything else. */
bool base64_decode(struct arena *a, struct str s, struct str *ret);
bool base64url_decode(struct arena *a, struct str s, struct str *ret);
struct str hex_encode(struct arena *a, struct str s);
/* ret holds 32 bytes. */
void sha256(struct str s, uint8_t *ret);
struct str sha256_hex(struct arena *a, struct str s);
/* Upper-case hex of SHA-512, as upstream's ETags. */
struct str sha512_hex_upper(struct arena *a, struct str s);
uint32_t fnv32a(struct str s);
