/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* When Events and Leases of API servers have expired, as pure functions. */

#include "base/clock.h"

struct json;

/* An hour after its creation or the last write that its managedFields tell of. */
bool expiry_event(const struct json *event, struct wall now);
bool expiry_lease(const struct json *lease, struct wall now);
/* When a bootstrap token's Secret has to go, in ms; 0: now; -1: never. */
int64_t expiry_token_ms(const struct json *secret, struct wall now);
