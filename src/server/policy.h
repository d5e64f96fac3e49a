/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admission policies: MutatingAdmissionPolicy runs before mutating webhooks,
 * ValidatingAdmissionPolicy before validating ones.
 */

#include "base/base.h"

struct apiserver;
struct err;
struct strategy;

/* policy-config.c */
extern const struct strategy validating_policy_strategy;
extern const struct strategy mutating_policy_strategy;
extern const struct strategy validating_policy_binding_strategy;
extern const struct strategy mutating_policy_binding_strategy;

/* Adds the plugins: after the built-in ones, before webhooks. */
MUST_USE struct err *policy_init(struct apiserver *s);
/* SUSPENDS */
MUST_USE struct err *policy_start(struct apiserver *s);

/* for policy.c */
struct admission_plugin;
extern struct admission_plugin validating_policy_plugin;
extern struct admission_plugin mutating_policy_plugin;
MUST_USE struct err *validating_policy_start(struct apiserver *s);
MUST_USE struct err *mutating_policy_start(struct apiserver *s);
/* Reports what type checking says of each ValidatingAdmissionPolicy in its status. */
MUST_USE struct err *policy_status_start(struct apiserver *s);
