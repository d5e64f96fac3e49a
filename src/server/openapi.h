/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* /openapi/v2 and /openapi/v3, made from the schemas when asked for. */

#include "base/base.h"

struct apiserver;
struct err;

MUST_USE struct err *openapi_init(struct apiserver *s);
