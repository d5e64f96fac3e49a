/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One call of one webhook: the AdmissionReview there and back. */

#include "base/str.h"

struct admission;
struct err;
struct json;
struct resource_version;

struct webhook_call {
	struct admission *ad;
	const struct json *hook;          /* the webhook's configuration */
	const struct resource_version *v; /* the version it wants objects in */
	bool mutating;
};

/*
 * Asks. A denial is an error, and so is a failed call unless the webhook says failurePolicy Ignore.
 * *ret_patch: the JSON patch of a mutating webhook, NULL for none.
 */
MUST_USE SUSPENDS struct err *webhook_review(const struct webhook_call *c, struct json **ret_patch);
