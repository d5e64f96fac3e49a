/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The audit policy (kind Policy of audit.k8s.io/v1): what is written of which request. The first
 * rule that matches decides; without one nothing is written.
 */

#include "base/base.h"
#include "base/str.h"

struct audit_policy;
struct authz_attrs;
struct err;

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_RESPONSE };
enum audit_stage { STAGE_RECEIVED, STAGE_STARTED, STAGE_COMPLETE, STAGE_PANIC, STAGE_N_ };

extern const char *const audit_level_names[];
extern const char *const audit_stage_names[STAGE_N_];

struct audit_verdict {
	enum audit_level level;
	unsigned omit; /* bits of stages */
	bool omit_managed_fields;
};

/* YAML or JSON; INVALID says what is wrong with it, in upstream's words. */
MUST_USE struct err *audit_policy_parse(struct str text, struct audit_policy **ret);
struct audit_policy *audit_policy_free(struct audit_policy *p);
/* at->user may have an empty name and no groups: somebody who failed to authenticate. */
struct audit_verdict audit_policy_decide(const struct audit_policy *p,
					 const struct authz_attrs *at);
