/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DeleteOptions: from the body when there is one, otherwise from the query. */

#include "base/base.h"

struct api_request;
struct err;
struct json;

/* The values of dryRun, into rq->opt. */
void options_check_dry_run(struct api_request *rq, const struct json *vals, struct err **e);
/* Fills rq->opt in. */
MUST_USE SUSPENDS struct err *delete_options_read(struct api_request *rq);
