/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What all kinds that are questions have in common. */

#include "base/base.h"

struct api_request;
struct err;
struct json;

/*
 * Makes obj the beginning of its own answer: kind, apiVersion and metadata first, no status.
 * BAD_REQUEST when it names another namespace.
 */
MUST_USE struct err *review_begin(struct api_request *rq, struct json *obj);
