/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Roles and bindings in memory (mirrors), the bindings indexed by namespace and subject: what an
 * authorization costs depends on the bindings that name its user, not on how many there are.
 *
 *     "NS/u:NAME" -> grants            NS empty: ClusterRoleBindings
 *     "NS/g:GROUP" -> grants           a grant is one subject of one binding
 */

#include "base/str.h"

struct apiserver;
struct arena;
struct authz_attrs;
struct err;
struct json;
struct rbac;
struct user_info;

struct rbac *rbac_new(struct apiserver *s);
struct rbac *rbac_free(struct rbac *r);
MUST_USE SUSPENDS struct err *rbac_start(struct rbac *r);

/* As authz_allowed(). ret_reason may be NULL. */
bool rbac_allowed(struct rbac *r, struct arena *a, const struct authz_attrs *at,
		  struct str *ret_reason);
/* A PolicyRule against a request. */
bool rule_allows(const struct json *rule, const struct authz_attrs *at);
/*
 * Calls fn with every rule the user has, each binding once: ns empty for cluster-wide ones. True
 * ends it. Roles that are missing are named in *ret_missing (may be NULL), "" when none is.
 */
void rbac_each_rule(struct rbac *r, struct arena *a, const struct user_info *user, struct str ns,
		    bool (*fn)(const struct json *rule, void *ctx), void *ctx,
		    struct str *ret_missing);
bool rbac_role_exists(struct rbac *r, struct str kind, struct str ns, struct str name);
/* The rules of a role a binding refers to; NULL when it has none, or does not exist. */
const struct json *rbac_role_rules(struct rbac *r, struct str kind, struct str ns, struct str name);

/* for tests: what mirrors tell */
void rbac_binding_set(struct rbac *r, struct str ns, struct str name, const struct json *binding);
void rbac_binding_del(struct rbac *r, struct str ns, struct str name);
