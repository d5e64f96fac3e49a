/* SPDX-License-Identifier: Apache-2.0 */
#include "server/service-cidr.h"

#include <arpa/inet.h>

#include "base/arena.h"
#include "base/rand.h"

static bool ip_parse(struct str s, uint32_t *ret)
{
	char buf[INET_ADDRSTRLEN];
	struct in_addr in;

	if (s.n >= sizeof(buf))
		return false;
	memcpy(buf, s.p, s.n);
	buf[s.n] = 0;
	if (inet_pton(AF_INET, buf, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr);
	return true;
}

static struct str ip_format(struct arena *a, uint32_t ip)
{
	return arena_fmt(a, "%u.%u.%u.%u", ip >> 24, (ip >> 16) & 255, (ip >> 8) & 255, ip & 255);
}

static bool cidr_parse(struct str cidr, uint32_t *ret_base, uint32_t *ret_size)
{
	struct str ip;
	uint64_t bits;

	if (!str_cut(&cidr, '/', &ip) || !str_to_u64(cidr, &bits) || bits < 8 || bits > 29 ||
	    !ip_parse(ip, ret_base))
		return false;
	*ret_size = 1u << (32 - bits);
	*ret_base &= ~(*ret_size - 1);
	return true;
}

bool service_cidr_valid(struct str cidr)
{
	uint32_t base, size;

	return cidr_parse(cidr, &base, &size);
}

bool service_cidr_has(struct str cidr, struct str ip)
{
	uint32_t base, size, n;

	return cidr_parse(cidr, &base, &size) && ip_parse(ip, &n) && n > base &&
	       n < base + size - 1;
}

struct str service_cidr_first(struct arena *a, struct str cidr)
{
	uint32_t base = 0, size;

	cidr_parse(cidr, &base, &size);
	return ip_format(a, base + 1);
}

struct str service_cidr_pick(struct arena *a, struct str cidr)
{
	uint32_t base = 0, size = 8, low;

	cidr_parse(cidr, &base, &size);
	/* upstream's band: min(max(16, size / 16), 256) */
	low = MIN(MAX(16, size / 16), 256);
	if (low + 2 >= size)
		low = 1;
	return ip_format(a, base + low + (uint32_t)rand_below(size - 1 - low));
}
