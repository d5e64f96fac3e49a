/* SPDX-License-Identifier: Apache-2.0 */
#include "server/cidr.h"

#include <arpa/inet.h>

#include "api/names.h"
#include "base/arena.h"
#include "server/valid.h"
#include "json/json.h"

bool cidr_parse(struct str s, struct cidr *ret)
{
	char z[INET6_ADDRSTRLEN + 1];
	struct str ip;
	int64_t bits;

	if (!str_cut(&s, '/', &ip) || ip.n >= sizeof(z) || !s.n || s.p[0] == '+' || s.p[0] == '-' ||
	    !str_to_i64(s, &bits))
		return false;
	memcpy(z, ip.p, ip.n);
	z[ip.n] = '\0';
	*ret = (struct cidr){ .len = str_find_char(ip, ':', 0) < ip.n ? 16 : 4 };
	if (strlen(z) != ip.n || inet_pton(ret->len == 16 ? AF_INET6 : AF_INET, z, ret->bytes) != 1)
		return false;
	ret->bits = (int)bits;
	return bits >= 0 && bits <= ret->len * 8;
}

static bool cidr_bit(const struct cidr *c, int i)
{
	return c->bytes[i / 8] >> (7 - i % 8) & 1;
}

bool cidr_is_canonical(const struct cidr *c)
{
	for (int i = c->bits; i < c->len * 8; i++) {
		if (cidr_bit(c, i))
			return false;
	}
	return true;
}

bool cidr_has(const struct cidr *outer, const struct cidr *inner, bool strictly)
{
	if (outer->len != inner->len || inner->bits < outer->bits ||
	    (strictly && inner->bits == outer->bits))
		return false;
	for (int i = 0; i < outer->bits; i++) {
		if (cidr_bit(outer, i) != cidr_bit(inner, i))
			return false;
	}
	return true;
}

/* A number of 0 to 255, however many zeros it begins with. */
static bool ip_octet(struct str s, bool *zeros)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || (n = n * 10 + s.p[i] - '0') > 255)
			return false;
	}
	*zeros |= s.n > 1 && s.p[0] == '0';
	return s.n > 0;
}

bool ip_has_leading_zeros(struct str s)
{
	struct str part;
	bool zeros = false;

	for (int i = 0; i < 3; i++) {
		if (!str_cut(&s, '.', &part) || !ip_octet(part, &zeros))
			return false;
	}
	return ip_octet(s, &zeros) && zeros;
}

static bool ipv6_parse(struct str s, struct in6_addr *ret)
{
	char z[INET6_ADDRSTRLEN + 1];

	if (s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return strlen(z) == s.n && inet_pton(AF_INET6, z, ret) == 1;
}

bool ip_is_mapped(struct str s)
{
	struct in6_addr addr;

	return ipv6_parse(s, &addr) && IN6_IS_ADDR_V4MAPPED(&addr);
}

struct str ipv6_canonical(struct arena *a, struct str ip)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (!ipv6_parse(ip, &addr))
		return STR_EMPTY;
	/* the C library puts ::/96 as if it were IPv4 */
	if (IN6_IS_ADDR_V4COMPAT(&addr) && addr.s6_addr16[6])
		return arena_fmt(a, "::%x:%x", ntohs(addr.s6_addr16[6]), ntohs(addr.s6_addr16[7]));
	return arena_str(a, str_from(inet_ntop(AF_INET6, &addr, text, sizeof(text))));
}

/* Zeros before the address' numbers or the prefix' length. */
static bool cidr_has_leading_zeros(struct str s)
{
	struct str ip, bits = s;

	if (!str_cut(&bits, '/', &ip) || (!ip_is_valid(ip) && !ip_has_leading_zeros(ip)))
		return false;
	return ip_has_leading_zeros(ip) || (bits.n > 1 && bits.p[0] == '0');
}

bool cidr_validate(const struct valid *v, struct str s, const struct place *p, struct cidr *ret)
{
	bool zeros = cidr_has_leading_zeros(s);

	if (zeros)
		valid_invalid_str(v, p, s, "must not have leading 0s in IP or prefix length");
	else if (!cidr_parse(s, ret))
		valid_invalid_str(
			v, p, s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	else if (ip_is_mapped(str_sub(s, 0, str_find_char(s, '/', 0))))
		valid_invalid_str(v, p, s, "must not have an IPv4-mapped IPv6 address");
	else if (!cidr_is_canonical(ret))
		valid_invalid_str(v, p, s, "must not have bits set beyond the prefix length");
	else
		return true;
	return false;
}
