/* SPDX-License-Identifier: Apache-2.0 */

/* ServiceAccounts. Their tokens: token-request.c; how Pods get to them: admit-service-account.c. */

#include "server/strategies.h"

const struct strategy serviceaccount_strategy = {
	.delete_returns_obj = true,
};
