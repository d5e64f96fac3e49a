/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The default roles and bindings, as tables. Lists are separated by spaces; "core" is the group "".
 */

#include <stddef.h>

struct rule_row {
	const char *verbs, *groups, *resources, *urls, *names;
};

#define ROLE_MAX_RULES 24

struct role_row {
	const char *name;
	const char *ns;        /* NULL: a ClusterRole */
	const char *aggregate; /* label value of rbac.authorization.k8s.io/aggregate-to-X: the X */
	const char *gathers;   /* aggregationRule: label aggregate-to-X, the X */
	struct rule_row rules[ROLE_MAX_RULES];
};

struct binding_row {
	const char *name, *ns;
	const char *role; /* ClusterRole, or Role when ns is set */
	const char *kind; /* of the subjects: Group, User, ServiceAccount (NAMESPACE:NAME) */
	const char *subjects;
};

extern const struct role_row bootstrap_roles[];
extern const size_t bootstrap_n_roles;
extern const struct binding_row bootstrap_bindings[];
extern const size_t bootstrap_n_bindings;
