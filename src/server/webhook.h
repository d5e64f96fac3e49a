/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admission webhooks: the last plugin of the chain. Configurations are mirrored and prepared once;
 * a change counts from the moment its commit is seen.
 */

#include "base/base.h"

struct apiserver;
struct err;
struct strategy;

/* Of both kinds of configuration; webhook-config.c. */
extern const struct strategy mutating_webhook_strategy;
extern const struct strategy validating_webhook_strategy;

/* Adds the plugin: after all others. */
MUST_USE struct err *webhook_init(struct apiserver *s);
/* SUSPENDS */
MUST_USE struct err *webhook_start(struct apiserver *s);
