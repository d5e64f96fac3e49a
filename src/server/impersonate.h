/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Impersonate-* headers: asking as somebody else. Constrained modes are tried first
 * ("impersonate:user-info" on whom, "impersonate-on:user-info:list" on what), then the verb
 * "impersonate" that knows no limits. The mode that served a user last is tried first for the next
 * request.
 */

#include "base/base.h"

struct api_request;
struct err;

/* rq->user becomes who is impersonated. Nothing happens without the headers. */
MUST_USE struct err *impersonate(struct api_request *rq);
