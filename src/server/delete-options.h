/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DeleteOptions: from the body when there is one, otherwise from the query. */

#include "base/base.h"

struct api_request;
struct err;

/* Fills rq->opt in. */
MUST_USE SUSPENDS struct err *delete_options_read(struct api_request *rq);
