/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bringing one object to its desired state: created when absent, patched where it differs. */

#include "io/fiber.h"

struct arena;
struct client;
struct err;
struct json;

/* Everything desired names is in have with the same value; have may hold more (defaults). */
bool json_covers(const struct json *have, const struct json *desired);
/* SUSPENDS. Kinds are those of the table in ensure.c. *ret_changed may be NULL. */
MUST_USE SUSPENDS struct err *ensure_object(struct client *c, struct arena *a,
					    const struct json *desired, bool *ret_changed);
