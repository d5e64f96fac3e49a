/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"

#include <openssl/sha.h>

#include "base/arena.h"

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static struct str b64_encode(struct arena *a, struct str s, const char *alphabet, bool pad)
{
	char *out = arena_alloc(a, (s.n + 2) / 3 * 4 + 1);
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = 0;

	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			     (left > 2 ? p[i + 2] : 0);

		out[n++] = alphabet[v >> 18];
		out[n++] = alphabet[v >> 12 & 63];
		if (left > 1)
			out[n++] = alphabet[v >> 6 & 63];
		else if (pad)
			out[n++] = '=';
		if (left > 2)
			out[n++] = alphabet[v & 63];
		else if (pad)
			out[n++] = '=';
	}
	return str_make(out, n);
}

struct str base64_encode(struct arena *a, struct str s)
{
	return b64_encode(a, s, b64_std, true);
}

struct str base64url_encode(struct arena *a, struct str s)
{
	return b64_encode(a, s, b64_url, false);
}

static int b64_digit(char c, const char *alphabet)
{
	const char *q = c ? memchr(alphabet, c, 64) : NULL;

	return q ? (int)(q - alphabet) : -1;
}

static bool b64_decode(struct arena *a, struct str s, const char *alphabet, bool pad,
		       struct str *ret)
{
	char *out = arena_alloc(a, s.n / 4 * 3 + 4);
	uint32_t v = 0;
	size_t n = 0, digits = 0, pads = 0;

	for (size_t i = 0; i < s.n; i++) {
		int d;

		if (pad && (s.p[i] == '\n' || s.p[i] == '\r'))
			continue;
		if (pad && s.p[i] == '=') {
			pads++;
			continue;
		}
		d = b64_digit(s.p[i], alphabet);
		if (d < 0 || pads)
			return false;
		v = v << 6 | (uint32_t)d;
		if (++digits % 4 == 0) {
			out[n++] = (char)(v >> 16);
			out[n++] = (char)(v >> 8);
			out[n++] = (char)v;
			v = 0;
		}
	}
	if (digits % 4 == 1 || (pad ? (digits + pads) % 4 != 0 || pads > 2 : pads != 0))
		return false;
	if (digits % 4 == 2)
		out[n++] = (char)(v >> 4);
	if (digits % 4 == 3) {
		out[n++] = (char)(v >> 10);
		out[n++] = (char)(v >> 2);
	}
	*ret = str_make(out, n);
	return true;
}

bool base64_decode(struct arena *a, struct str s, struct str *ret)
{
	return b64_decode(a, s, b64_std, true, ret);
}

bool base64url_decode(struct arena *a, struct str s, struct str *ret)
{
	return b64_decode(a, s, b64_url, false, ret);
}

static struct str hex_with(struct arena *a, struct str s, const char *digits)
{
	char *out = arena_alloc(a, s.n * 2 + 1);

	for (size_t i = 0; i < s.n; i++) {
		out[2 * i] = digits[(unsigned char)s.p[i] >> 4];
		out[2 * i + 1] = digits[(unsigned char)s.p[i] & 15];
	}
	return str_make(out, s.n * 2);
}

struct str hex_encode(struct arena *a, struct str s)
{
	return hex_with(a, s, "0123456789abcdef");
}

void sha256(struct str s, uint8_t *ret)
{
	SHA256((const unsigned char *)(s.p ? s.p : ""), s.n, ret);
}

struct str sha256_hex(struct arena *a, struct str s)
{
	uint8_t d[32];

	sha256(s, d);
	return hex_encode(a, str_make((const char *)d, sizeof(d)));
}

struct str sha512_hex_upper(struct arena *a, struct str s)
{
	uint8_t d[64];

	SHA512((const unsigned char *)(s.p ? s.p : ""), s.n, d);
	return hex_with(a, str_make((const char *)d, sizeof(d)), "0123456789ABCDEF");
}

uint32_t fnv32a(struct str s)
{
	uint32_t h = 0x811c9dc5u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x01000193u;
	return h;
}
