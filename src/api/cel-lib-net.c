/* SPDX-License-Identifier: Apache-2.0 */

/* IP addresses and networks. */

#include <arpa/inet.h>

#include "api/cel-value.h"
#include "base/arena.h"

struct cel_ip {
	bool v6;
	unsigned char b[16];
};

struct cel_cidr {
	struct cel_ip ip;
	unsigned bits;
};

static unsigned cel_ip_size(const struct cel_ip *ip)
{
	return ip->v6 ? 16 : 4;
}

static struct str cel_ip_text(struct arena *a, const struct cel_ip *ip)
{
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->b, text, sizeof(text));
	return arena_str(a, str_from(text));
}

/* NULL, or what is wrong with it. */
static const char *cel_ip_parse(struct arena *a, struct str s, struct cel_ip *ret)
{
	char text[INET6_ADDRSTRLEN + 1];
	static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	*ret = (struct cel_ip){ .v6 = str_find_char(s, ':', 0) < s.n };
	if (ret->v6 && str_find_char(s, '%', 0) < s.n)
		return arena_fmt(a, "IP address \"" STR_FMT "\" with zone value is not allowed",
				 STR_ARG(s))
			.p;
	if (s.n && s.n < sizeof(text) && !memchr(s.p, 0, s.n)) {
		memcpy(text, s.p, s.n);
		text[s.n] = 0;
		if (inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->b) == 1) {
			if (ret->v6 && memcmp(ret->b, mapped, sizeof(mapped)) == 0)
				return arena_fmt(a,
						 "IPv4-mapped IPv6 address \"" STR_FMT
						 "\" is not allowed",
						 STR_ARG(s))
					.p;
			return NULL;
		}
	}
	return arena_fmt(a,
			 "IP Address \"" STR_FMT "\" parse error during conversion from string: "
			 "ParseAddr(\"" STR_FMT "\"): unable to parse IP",
			 STR_ARG(s), STR_ARG(s))
		.p;
}

static const char *cel_cidr_parse(struct arena *a, struct str s, struct cel_cidr *ret)
{
	struct str rest = s, head;
	uint64_t bits;
	const char *why;

	if (!str_cut(&rest, '/', &head))
		return arena_fmt(a,
				 "network address parse error during conversion from string: "
				 "netip.ParsePrefix(\"" STR_FMT "\"): no '/'",
				 STR_ARG(s))
			.p;
	why = cel_ip_parse(a, head, &ret->ip);
	if (why && str_has_prefix(str_from(why), STR("IPv4-mapped")))
		return arena_fmt(a, "IPv4-mapped IPv6 address \"" STR_FMT "\" is not allowed",
				 STR_ARG(s))
			.p;
	if (why)
		return arena_fmt(a,
				 "network address parse error during conversion from string: "
				 "netip.ParsePrefix(\"" STR_FMT "\"): ParseAddr(\"" STR_FMT
				 "\"): unable to parse IP",
				 STR_ARG(s), STR_ARG(head))
			.p;
	if (!rest.n || rest.n > 3 || (rest.n > 1 && rest.p[0] == '0') || !str_to_u64(rest, &bits))
		return arena_fmt(a,
				 "network address parse error during conversion from string: "
				 "netip.ParsePrefix(\"" STR_FMT
				 "\"): bad bits after slash: \"" STR_FMT "\"",
				 STR_ARG(s), STR_ARG(rest))
			.p;
	if (bits > cel_ip_size(&ret->ip) * 8)
		return arena_fmt(a,
				 "network address parse error during conversion from string: "
				 "netip.ParsePrefix(\"" STR_FMT "\"): prefix length out of range",
				 STR_ARG(s))
			.p;
	ret->bits = (unsigned)bits;
	return NULL;
}

static struct cel_val cel_ip_val(struct cel_ctx *c, const struct cel_ip *ip)
{
	struct cel_ip *copy = arena_new_obj(c->arena, struct cel_ip);

	*copy = *ip;
	return cel_opaque(CEL_O_IP, copy);
}

static struct cel_val cel_cidr_val(struct cel_ctx *c, const struct cel_cidr *n)
{
	struct cel_cidr *copy = arena_new_obj(c->arena, struct cel_cidr);

	*copy = *n;
	return cel_opaque(CEL_O_CIDR, copy);
}

static bool cel_is(const struct cel_val *v, enum cel_opaque o)
{
	return v->kind == CEL_OPAQUE && v->aux == o;
}

static struct cel_val cel_fn_ip(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_ip ip;
	const char *why;

	(void)n;
	if (cel_is(&a[0], CEL_O_CIDR))
		return cel_ip_val(c, &((const struct cel_cidr *)a[0].p)->ip);
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	why = cel_ip_parse(c->arena, a[0].s, &ip);
	return why ? cel_error_z(why) : cel_ip_val(c, &ip);
}

static struct cel_val cel_fn_is_ip(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_ip ip;

	(void)n;
	return a[0].kind == CEL_STRING ? cel_val_bool(!cel_ip_parse(c->arena, a[0].s, &ip))
				       : cel_no_overload();
}

static struct cel_val cel_fn_ip_canonical(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_ip ip;
	const char *why;

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	why = cel_ip_parse(c->arena, a[0].s, &ip);
	return why ? cel_error_z(why) : cel_val_bool(str_eq(cel_ip_text(c->arena, &ip), a[0].s));
}

static struct cel_val cel_fn_family(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (!cel_is(&a[0], CEL_O_IP))
		return cel_no_overload();
	return cel_int(((const struct cel_ip *)a[0].p)->v6 ? 6 : 4);
}

static bool cel_ip_all_zero(const struct cel_ip *ip, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ip->b[i])
			return false;
	return true;
}

static bool cel_ip_unspecified(const struct cel_ip *ip)
{
	return cel_ip_all_zero(ip, cel_ip_size(ip));
}

static bool cel_ip_loopback(const struct cel_ip *ip)
{
	return ip->v6 ? cel_ip_all_zero(ip, 15) && ip->b[15] == 1 : ip->b[0] == 127;
}

static bool cel_ip_link_multicast(const struct cel_ip *ip)
{
	return ip->v6 ? ip->b[0] == 0xff && (ip->b[1] & 0xf) == 2
		      : ip->b[0] == 224 && ip->b[1] == 0 && ip->b[2] == 0;
}

static bool cel_ip_link_unicast(const struct cel_ip *ip)
{
	return ip->v6 ? ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80
		      : ip->b[0] == 169 && ip->b[1] == 254;
}

static bool cel_ip_multicast(const struct cel_ip *ip)
{
	return ip->v6 ? ip->b[0] == 0xff : (ip->b[0] & 0xf0) == 224;
}

static bool cel_ip_global(const struct cel_ip *ip)
{
	static const unsigned char all[4] = { 255, 255, 255, 255 };

	if (!ip->v6 && memcmp(ip->b, all, 4) == 0)
		return false;
	return !cel_ip_unspecified(ip) && !cel_ip_loopback(ip) && !cel_ip_multicast(ip) &&
	       !cel_ip_link_unicast(ip);
}

#define IP_TEST(name)                                                                             \
	static struct cel_val cel_fn_##name(struct cel_ctx *c, const struct cel_val *a, size_t n) \
	{                                                                                         \
		(void)c;                                                                          \
		(void)n;                                                                          \
		return cel_is(&a[0], CEL_O_IP) ? cel_val_bool(cel_ip_##name(a[0].p))              \
					       : cel_no_overload();                               \
	}

IP_TEST(unspecified)
IP_TEST(loopback)
IP_TEST(link_multicast)
IP_TEST(link_unicast)
IP_TEST(global)

/* ---- networks */

static struct cel_val cel_fn_cidr(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_cidr net;
	const char *why;

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	why = cel_cidr_parse(c->arena, a[0].s, &net);
	if (why)
		return cel_error(c, "network address parse error during conversion from string: %s",
				 why);
	return cel_cidr_val(c, &net);
}

static struct cel_val cel_fn_is_cidr(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_cidr net;

	(void)n;
	return a[0].kind == CEL_STRING ? cel_val_bool(!cel_cidr_parse(c->arena, a[0].s, &net))
				       : cel_no_overload();
}

static bool cel_cidr_has(const struct cel_cidr *n, const struct cel_ip *ip)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (n->ip.v6 != ip->v6 || memcmp(n->ip.b, ip->b, whole) != 0)
		return false;
	return !rest || (n->ip.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

static struct cel_val cel_fn_contains_ip(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_ip ip;
	const char *why;

	(void)n;
	if (!cel_is(&a[0], CEL_O_CIDR))
		return cel_no_overload();
	if (cel_is(&a[1], CEL_O_IP))
		return cel_val_bool(cel_cidr_has(a[0].p, a[1].p));
	if (a[1].kind != CEL_STRING)
		return cel_no_overload();
	why = cel_ip_parse(c->arena, a[1].s, &ip);
	return why ? cel_error_z(why) : cel_val_bool(cel_cidr_has(a[0].p, &ip));
}

static struct cel_val cel_fn_contains_cidr(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_cidr *x, *y;
	struct cel_val v;

	(void)n;
	if (!cel_is(&a[0], CEL_O_CIDR))
		return cel_no_overload();
	v = a[1].kind == CEL_STRING ? cel_fn_cidr(c, &a[1], 1) : a[1];
	if (v.kind == CEL_ERROR)
		return v;
	if (!cel_is(&v, CEL_O_CIDR))
		return cel_no_overload();
	x = a[0].p;
	y = v.p;
	return cel_val_bool(x->bits <= y->bits && cel_cidr_has(x, &y->ip));
}

static struct cel_val cel_fn_prefix_length(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)c;
	(void)n;
	if (!cel_is(&a[0], CEL_O_CIDR))
		return cel_no_overload();
	return cel_int(((const struct cel_cidr *)a[0].p)->bits);
}

static struct cel_val cel_fn_masked(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_cidr net;

	(void)n;
	if (!cel_is(&a[0], CEL_O_CIDR))
		return cel_no_overload();
	net = *(const struct cel_cidr *)a[0].p;
	for (unsigned i = net.bits; i < cel_ip_size(&net.ip) * 8; i++)
		net.ip.b[i / 8] &= (unsigned char)~(0x80u >> i % 8);
	return cel_cidr_val(c, &net);
}

struct str cel_net_text(struct arena *a, const struct cel_val *v)
{
	const struct cel_cidr *n = v->p;
	struct str ip;

	if (v->aux == CEL_O_IP)
		return cel_ip_text(a, v->p);
	ip = cel_ip_text(a, &n->ip);
	return arena_fmt(a, STR_FMT "/%u", STR_ARG(ip), n->bits);
}

bool cel_net_equal(const struct cel_val *x, const struct cel_val *y)
{
	const struct cel_ip *i = x->p, *j = y->p;

	if (i->v6 != j->v6 || memcmp(i->b, j->b, cel_ip_size(i)) != 0)
		return false;
	return x->aux == CEL_O_IP ||
	       ((const struct cel_cidr *)x->p)->bits == ((const struct cel_cidr *)y->p)->bits;
}

size_t cel_net_size(const struct cel_val *v)
{
	if (v->aux == CEL_O_IP)
		return cel_ip_size(v->p);
	return (((const struct cel_cidr *)v->p)->bits + 7) / 8;
}

const struct cel_fn_row cel_lib_net[] = {
	{ "ip", "s>I .C>I", cel_fn_ip, CEL_COST_PARSE },
	{ "isIP", "s>b", cel_fn_is_ip, CEL_COST_PARSE },
	{ "ip.isCanonical", "s>b", cel_fn_ip_canonical, CEL_COST_PARSE_TWICE },
	{ "family", ".I>i", cel_fn_family, CEL_COST_ONE },
	{ "isUnspecified", ".I>b", cel_fn_unspecified, CEL_COST_ONE },
	{ "isLoopback", ".I>b", cel_fn_loopback, CEL_COST_ONE },
	{ "isLinkLocalMulticast", ".I>b", cel_fn_link_multicast, CEL_COST_ONE },
	{ "isLinkLocalUnicast", ".I>b", cel_fn_link_unicast, CEL_COST_ONE },
	{ "isGlobalUnicast", ".I>b", cel_fn_global, CEL_COST_ONE },
	{ "cidr", "s>C", cel_fn_cidr, CEL_COST_PARSE },
	{ "isCIDR", "s>b", cel_fn_is_cidr, CEL_COST_PARSE },
	{ "containsIP", ".Cs>b .CI>b", cel_fn_contains_ip, CEL_COST_CONTAINS_IP },
	{ "containsCIDR", ".Cs>b .CC>b", cel_fn_contains_cidr, CEL_COST_CONTAINS_CIDR },
	{ "prefixLength", ".C>i", cel_fn_prefix_length, CEL_COST_ONE },
	{ "masked", ".C>C", cel_fn_masked, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
