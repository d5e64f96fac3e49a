/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Addresses, and ranges of them: "10.0.0.0/8", "2001:db8::/64". */

#include "base/str.h"

struct arena;
struct place;
struct valid;

struct cidr {
	uint8_t bytes[16];
	int len;  /* bytes of an address: 4 or 16 */
	int bits; /* of the prefix */
};

bool cidr_parse(struct str s, struct cidr *ret);
/* Nothing beyond the prefix is set. */
bool cidr_is_canonical(const struct cidr *c);
/* inner is in outer; strictly: and smaller. */
bool cidr_has(const struct cidr *outer, const struct cidr *inner, bool strictly);
/* IPv4 written as older parsers took it: "010.1.2.3". */
bool ip_has_leading_zeros(struct str s);
/* "::ffff:1.2.3.4" */
bool ip_is_mapped(struct str s);
/* As RFC 5952 writes it; empty when it is no IPv6 address. */
struct str ipv6_canonical(struct arena *a, struct str ip);
/* Says what is wrong with a CIDR; bits beyond the prefix are, too. */
bool cidr_validate(const struct valid *v, struct str s, const struct place *p, struct cidr *ret);
