/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Questions for the host's resolvers. Each goes out from a socket and under an id of its own, and
 * only an answer to the same question from the asked address counts.
 */

#include "base/str.h"

struct arena;
struct dns_query;
struct err;

/* The IPv4 and IPv6 nameservers of a resolv.conf's text without own, at most max of them. */
size_t dns_forward_servers(struct arena *a, struct str text, struct str own, struct str *ret,
			   size_t max);
/*
 * SUSPENDS: asks one server after the other. *ret is an answer with the query's id in the arena;
 * empty when none came.
 */
MUST_USE SUSPENDS struct err *dns_forward(struct arena *a, struct str own, struct str query,
					  const struct dns_query *q, bool tcp, struct str *ret);
