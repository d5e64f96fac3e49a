/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who may do what: group system:masters everything, then the node authorizer, then RBAC. The first
 * that allows decides; nothing forbids. authz_allowed() is in server.h.
 */

#include "server/rbac.h"
#include "server/server.h"

struct authz *authz_new(struct apiserver *s);
struct authz *authz_free(struct authz *az);
/* Reads roles and bindings and follows them. SUSPENDS */
MUST_USE struct err *authz_start(struct authz *az);
struct rbac *authz_rbac(struct authz *az);
