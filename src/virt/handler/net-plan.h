/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a VMI's interfaces are wired in its Pod's network namespace, worked out from the VMI and from
 * what CNI left there. Pure: net.c reads and applies.
 *
 * masquerade:  eth0 -- nftables NAT -- k6t-eth0 (10.0.2.1) -- tap0 -- guest (10.0.2.2)
 * bridge:      eth0, renamed eth0-nic -- k6t-eth0 -- tap0 -- guest (the Pod's MAC and address)
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;

/*
 * addrs and routes are `ip -j addr` and `ip -j route` of the namespace. *ret is
 *   {"interfaces":[{"name","tap","mac","mtu","podInterface","ips":[...]}],"dhcp":[...]}
 * (the arrays are the launcher's options.interfaces and options.dhcp); script is for sh -e, and
 * may be run again. INVALID for a binding there is not; NOT_FOUND when a NIC is missing.
 */
MUST_USE struct err *net_plan(struct arena *a, const struct json *vmi, const struct json *addrs,
			      const struct json *routes, struct buf *script, struct json **ret);
