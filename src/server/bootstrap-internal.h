/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Objects of the first start are made in a few big transactions, without admission: what starts an
 * empty store must fit in 50 ms, and nobody but us is there yet.
 */

#include "server/server.h"

#define BATCH 64

struct batch {
	struct apiserver *s;
	struct arena *a;
	struct store_op ops[BATCH];
	size_t n;
};

/* Makes obj (changed: defaulted, stamped) unless it is there already. */
MUST_USE SUSPENDS struct err *batch_add(struct batch *b, const char *gr, struct str ns,
					struct str name, struct json *obj);
/* The default roles and bindings: missing ones are made, present ones gain what they lack. */
MUST_USE SUSPENDS struct err *bootstrap_rbac(struct batch *b);
