/* SPDX-License-Identifier: Apache-2.0 */
#include "server/cidr.h"

#include <arpa/inet.h>

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

bool cidr_validate(const struct valid *v, struct str s, const struct place *p, struct cidr *ret)
{
	if (cidr_parse(s, ret))
		return true;
	valid_invalid_str(v, p, s,
			  "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	return false;
}
