/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From stored policies and bindings to what evaluates them. */

#include "server/policy-set.h"

struct policy *policy_prepare(const struct obj *o);
void policy_unref(void *p);
struct policy_binding *policy_binding_prepare(const struct obj *o);
void policy_binding_unref(void *p);

/* What a spec's expressions may use: CEL_WITH_*. */
unsigned policy_env_flags(const struct json *spec, bool mutating);
