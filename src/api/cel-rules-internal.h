/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What compiled rules are; for cel-rules*.c only. */

#include "api/cel-rules.h"
#include "api/cel.h"
#include "api/schema-internal.h"

struct cel_rule {
	struct str rule, message, reason, field_path; /* field_path as causes show it */
	struct str error;                             /* why it did not compile */
	struct cel_prog *prog, *message_prog;
	bool uses_old, optional_old;
};

struct cel_rules_node {
	const struct schema *s;
	struct cel_rule *rules;
	size_t n_rules;
	bool resource_root;
	struct {
		struct str name;
		struct cel_rules_node *node;
	} * props;
	size_t n_props;
	struct cel_rules_node *items, *additional, **all_of;
	size_t n_all_of;
};

struct cel_rules {
	struct arena *arena;
	struct cel_rules_node *root;
	struct cel_prog **progs; /* to release */
	size_t n_progs, cap_progs;
};

/*
 * "a.b['c d']" relative to s, as causes show it; false with the reason when it leads nowhere.
 */
bool cel_rules_field_path(struct arena *a, const struct schema *s, struct str path,
			  struct str *ret_shown, struct str *ret_why);
