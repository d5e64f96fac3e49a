/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What node agents (users system:node:NAME in group system:nodes) may do: read what their Pods
 * refer to, keep their own Node, Lease and CSINode, and what the role system:node says of all else.
 */

#include "base/base.h"
#include "base/str.h"

struct apiserver;
struct arena;
struct authz_attrs;
struct err;
struct node_authorizer;
struct user_info;

struct node_authorizer *node_authorizer_new(struct apiserver *s);
struct node_authorizer *node_authorizer_free(struct node_authorizer *na);
MUST_USE SUSPENDS struct err *node_authorizer_start(struct node_authorizer *na);

/* The node's name, "" for one without, p NULL for users that are none. */
struct str node_identity(const struct user_info *u);
/* As authz_allowed(); false, without a reason, for users that are no nodes. */
bool node_authorizer_allowed(struct node_authorizer *na, struct arena *a,
			     const struct authz_attrs *at, struct str *ret_reason);
