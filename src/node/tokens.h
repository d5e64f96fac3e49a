/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ServiceAccount tokens for Pods, by TokenRequest, bound to the Pod: cached, and renewed at 80% of
 * their life or after a day.
 */

#include "base/str.h"

struct agent;
struct arena;
struct err;

struct token_request {
	struct str ns, service_account, audience;
	int64_t seconds;
	struct str pod_name, pod_uid;
};

MUST_USE SUSPENDS struct err *tokens_get(struct agent *ag, struct arena *a,
					 const struct token_request *rq, struct str *ret);
/* Forgets the tokens of a Pod. */
void tokens_forget(struct str pod_uid);
