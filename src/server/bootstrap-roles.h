/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The default roles and bindings, as tables. Lists are separated by spaces; "core" is the group "".
 */

#include <stddef.h>

struct arena;
struct json;

struct rule_row {
	const char *verbs, *groups, *resources, *names, *urls;
};

struct role_row {
	const char *name;
	const char *ns;               /* NULL: a ClusterRole */
	const char *aggregate;        /* label rbac.authorization.k8s.io/aggregate-to-X: the X */
	const char *gathers;          /* aggregationRule: label aggregate-to-X, the X */
	const struct rule_row *rules; /* end with NULL verbs */
};

struct binding_row {
	const char *name, *ns;
	const char *role;     /* ClusterRole, or Role when ns is set */
	const char *subjects; /* "group:NAME", "user:NAME", "sa:NAMESPACE:NAME" */
};

/* ClusterRole system:controller:NAME, bound to ServiceAccount kube-system/NAME */
struct controller_row {
	const char *name;
	const struct rule_row *rules;
};

extern const struct role_row bootstrap_roles[];
extern const size_t bootstrap_n_roles;
extern const struct binding_row bootstrap_bindings[];
extern const size_t bootstrap_n_bindings;
extern const struct controller_row bootstrap_controllers[];
extern const size_t bootstrap_n_controllers;

/* The rules of a row as PolicyRules. */
struct json *bootstrap_rules(struct arena *a, const struct rule_row *rows);
/* Of a default ClusterRole; empty when there is none of that name. */
struct json *bootstrap_role_rules(struct arena *a, const char *name);
