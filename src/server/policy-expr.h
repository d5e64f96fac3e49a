/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CEL as admission uses it: expressions of match conditions, policies and webhooks, compiled once,
 * and evaluated over one request within a budget.
 */

#include "api/cel.h"
#include "server/hook-match.h"

/* Costs of all that one binding, or one webhook's conditions, may spend. */
#define POLICY_BUDGET     UINT64_C(10000000)
#define CONDITIONS_BUDGET UINT64_C(2500000)

struct policy_expr {
	struct str text;
	struct cel_prog *prog; /* NULL: not there, or it does not compile */
	struct str issue;      /* why not */
};

/* What an expression has to yield. */
enum policy_type {
	POLICY_BOOL,
	POLICY_STRING,
	POLICY_STRING_OR_NULL,
	POLICY_ANY,
	POLICY_OBJECT,  /* Object{} */
	POLICY_PATCHES, /* [JSONPatch{}] */
};

/* Everything is kept in a; progs are released by policy_expr_fini. */
void policy_expr_compile(struct policy_expr *x, struct cel_env *env, struct arena *a,
			 struct str text, enum policy_type type);
void policy_expr_fini(struct policy_expr *x);

/* match conditions */
struct policy_conditions {
	struct policy_expr *v;
	size_t n;
};

struct policy_conditions policy_conditions_compile(struct cel_env *env, struct arena *a,
						   const struct json *list);
void policy_conditions_fini(struct policy_conditions *c);

/* ---- evaluating */

/* The bindings over which expressions run. */
struct policy_run {
	struct admission *ad;
	struct arena *a;
	uint64_t budget;
	/* private */
	struct cel_run run;
	struct cel_authz authz;
	struct cel_val vars[CEL_ADMISSION_VARS];
};

struct policy_input {
	const struct hook_view *view;
	const struct json *obj, *old; /* of the view's version */
	const struct json *params, *ns;
};

void policy_run_init(struct policy_run *r, struct admission *ad, const struct policy_input *in,
		     uint64_t budget);
enum policy_outcome { POLICY_OK, POLICY_ERROR, POLICY_OUT_OF_BUDGET };
/* *ret_text: what went wrong. */
enum policy_outcome policy_eval(struct policy_run *r, const struct policy_expr *x,
				struct cel_val *ret, struct str *ret_text);
/*
 * POLICY_OK with *ret_match; a condition that is false decides, before any error. ignore is the
 * failurePolicy: then errors are no match.
 */
enum policy_outcome policy_conditions_match(struct policy_run *r, const struct policy_conditions *c,
					    bool ignore, bool *ret_match, struct str *ret_text);
/* namespaceObject of a request; NULL for what is in none. */
MUST_USE SUSPENDS struct err *policy_namespace(const struct admission *ad, const struct json **ret);
