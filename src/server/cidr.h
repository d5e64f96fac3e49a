/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Address ranges: "10.0.0.0/8", "2001:db8::/64". */

#include "base/str.h"

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
/* Says what is wrong with a CIDR; NULL ret does not matter. */
bool cidr_validate(const struct valid *v, struct str s, const struct place *p, struct cidr *ret);
