/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rules that configurations of webhooks and of policies have in common: causes added to *e. */

#include "base/str.h"

struct arena;
struct err;
struct json;

/* Where in the object: "spec" and "failurePolicy" to "spec.failurePolicy". */
struct str hook_field(struct arena *a, struct str base, const char *name);
struct str hook_index(struct arena *a, struct str base, size_t i);

/* One of these strings, ending with NULL; what is absent is wrong when required says so. */
void hook_check_enum(struct err **e, struct arena *a, const struct json *of, const char *member,
		     struct str base, const char *const *allowed, bool required);
extern const char *const hook_failure_policies[], *const hook_match_policies[],
							  *const hook_reinvocation_policies[];

/* rules[], resourceRules[]; named: with resourceNames */
void hook_check_rules(struct err **e, struct arena *a, const struct json *rules, struct str base,
		      bool named);
/* A metav1.LabelSelector; NULL is fine. */
void hook_check_selector(struct err **e, struct arena *a, const struct json *sel, struct str base);
/* MatchResources of policies and bindings. */
void hook_check_match(struct err **e, struct arena *a, const struct json *match, struct str base);
/* Of policies that mutate: DELETE is not among the operations. */
void hook_check_no_delete(struct err **e, struct arena *a, const struct json *match,
			  struct str base);
/* Names and number of match conditions; their expressions are the caller's. */
void hook_check_condition_names(struct err **e, struct arena *a, const struct json *conditions,
				struct str base);
/* clientConfig: a url or a service. */
void hook_check_client(struct err **e, struct arena *a, const struct json *cc, struct str at);
