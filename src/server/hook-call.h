/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One HTTPS call of a webhook, of admission or of conversion: where to, and the errors in the words
 * of upstream's client. */

#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct json;

struct hook_call {
	struct apiserver *server;
	struct arena *arena;
	const struct json *client_config; /* url or service, and caBundle */
	int64_t timeout_s;
	const char *user_agent;
	struct str body;
};

/* *ret: the answer, parsed. */
MUST_USE SUSPENDS struct err *hook_post(const struct hook_call *c, struct json **ret);
