/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * RBAC: roles and bindings in memory (mirrors), indexed by subject. Group system:masters may do
 * everything. authz_allowed() is in server.h.
 */

#include "server/server.h"

struct authz *authz_new(struct apiserver *s);
struct authz *authz_free(struct authz *az);
/* Reads roles and bindings and follows them. SUSPENDS */
MUST_USE struct err *authz_start(struct authz *az);

/* A PolicyRule against a request; for tests, and for reviews. */
bool rule_allows(const struct json *rule, const struct authz_attrs *at);

/* Calls fn with every rule the user has: ns empty for cluster-wide ones. */
void authz_each_rule(struct authz *az, const struct user_info *user, struct str ns,
		     bool (*fn)(const struct json *rule, void *ctx), void *ctx);
/* The rules of a role a binding refers to; NULL when it does not exist. */
const struct json *authz_role_rules(struct authz *az, struct str kind, struct str ns,
				    struct str name);
