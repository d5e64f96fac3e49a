/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One call of one webhook: the AdmissionReview there and back. */

#include "base/str.h"
#include "server/hook-match.h"

struct admission;
struct err;
struct json;

struct webhook_call {
	struct admission *ad;
	const struct json *hook; /* the webhook's configuration */
	struct str config;       /* the name of the object it is in */
	struct hook_view view;   /* what it wants to see */
	const struct json *obj, *old;
	bool mutating;
	size_t index; /* mutating: among all hooks; validating: among those that are called */
};

/*
 * Asks. A denial is an error, and so is a failed call unless the webhook says failurePolicy Ignore.
 * *ret_patch: the JSON patch of a mutating webhook, NULL for none.
 */
MUST_USE SUSPENDS struct err *webhook_review(const struct webhook_call *c, struct json **ret_patch);
/* Tells the audit log what came of a mutating webhook; patch may be NULL. */
void webhook_audit_mutation(const struct webhook_call *c, const struct json *patch, bool changed);
/* `Internal error occurred: TEXT`, with TEXT as a cause. */
MUST_USE struct err *webhook_internal(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
