/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The lease in kube-node-lease by which the node-lifecycle controller sees that a node lives. */

#include "base/str.h"

struct arena;
struct client;
struct err;

#define LEASE_EVERY_MS (10 * 1000)

/* Renews it; made when it is absent, owned by the Node of that name and uid. */
MUST_USE SUSPENDS struct err *node_lease_renew(struct client *c, struct arena *a, struct str node,
					       struct str uid);
