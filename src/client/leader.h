/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Leader election on a coordination.k8s.io/v1 Lease: 15 s lease, 10 s renew deadline, 2 s retry. */

#include "base/str.h"

struct client;
struct err;

/* SUSPENDS until we hold the lease. Afterwards a background fiber renews it and calls lost once if
 * it cannot. */
MUST_USE SUSPENDS struct err *leader_acquire(struct client *c, struct str ns, struct str name,
					     struct str identity, void (*lost)(void *ctx),
					     void *ctx);

/*
 * SUSPENDS. Once nothing runs any more that the lease guards: lets the next one have it at once.
 * Does nothing if it is another's. c need not be the client that acquired it.
 */
MUST_USE SUSPENDS struct err *leader_release(struct client *c, struct str ns, struct str name,
					     struct str identity);
