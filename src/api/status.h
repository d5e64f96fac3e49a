/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* metav1.Status <-> struct err. */

#include "base/base.h"

struct arena;
struct err;
struct json;

/* code 0: it is not in it. */
struct json *status_success(struct arena *a, int code);
struct json *status_from_err(struct arena *a, const struct err *e);
/* From a response body; http_status is used where the body is no Status. Never NULL. */
MUST_USE struct err *status_to_err(const struct json *status, int http_status);
