/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admission policies and their bindings, prepared when they change: which of them a request
 * concerns, and the parameters each binding brings.
 */

#include "server/mirror.h"
#include "server/policy-expr.h"

struct policy_validation {
	struct policy_expr expr, message_expr; /* message_expr.text empty: none */
	struct str message, reason;
};

struct policy_annotation {
	struct str key;
	struct policy_expr expr;
};

struct policy_mutation {
	bool apply; /* ApplyConfiguration; else JSONPatch */
	struct policy_expr expr;
};

/* matchConstraints or matchResources */
struct policy_match {
	const struct json *rules, *exclude; /* rules empty: everything */
	struct hook_selectors selectors;
	bool equivalent;
};

struct policy {
	unsigned refs;
	struct arena *arena;
	const struct obj *obj;
	struct policy_match match;
	bool ignore; /* failurePolicy */
	bool again;  /* reinvocationPolicy IfNeeded */
	const struct json *param_kind;
	struct policy_conditions conditions;
	struct policy_validation *validations;
	struct policy_annotation *annotations;
	struct policy_mutation *mutations;
	size_t n_validations, n_annotations, n_mutations;
	/* private */
	struct cel_env *env, *message_env;
	struct policy_expr *variables;
	size_t n_variables;
};

struct policy_binding {
	unsigned refs;
	struct arena *arena;
	const struct obj *obj;
	struct str policy;
	bool everything; /* no matchResources */
	struct policy_match match;
	const struct json *param_ref, *actions;
};

struct policy_set {
	const char *policies_gr, *bindings_gr;
	/* private */
	struct mirror policies, bindings;
	struct map by_name, bindings_by_name;
	struct hook_cache cache;
};

MUST_USE SUSPENDS struct err *policy_set_start(struct policy_set *s, struct apiserver *server);
bool policy_set_wants(struct policy_set *s, const struct admission *ad);

/* A policy, one of its bindings, and one of the binding's parameters. */
struct policy_call {
	const struct policy *policy;
	const struct policy_binding *binding; /* NULL: the policy itself is wrong */
	struct hook_view view;
	const struct json *param;
	struct str param_key;
	struct str problem; /* it cannot be evaluated: why */
};

/* Held by the request's arena, in the order of their names. */
MUST_USE SUSPENDS struct err *policy_set_calls(const struct policy_set *s, struct admission *ad,
					       struct policy_call **ret, size_t *ret_n);
