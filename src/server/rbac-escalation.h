/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Nobody grants what they do not hold: each permission of a new role, or of the role a new binding
 * refers to, must be among those of the one who asks, unless they have the verb "escalate" or
 * "bind".
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct json;

/* For a Role or ClusterRole that is created (old NULL) or changed. */
MUST_USE struct err *escalation_check_role(struct api_request *rq, const struct json *obj,
					   const struct json *old);
/* For a RoleBinding or ClusterRoleBinding. */
MUST_USE struct err *escalation_check_binding(struct api_request *rq, const struct json *obj,
					      const struct json *old);
/* Whether owner (a PolicyRule) holds all that rule, one verb on one thing, asks for. */
bool rule_covers(const struct json *owner, const struct json *rule);
/* Whether rules together hold all that rule asks for. */
bool rules_cover(struct arena *a, const struct json *rules, const struct json *rule);
