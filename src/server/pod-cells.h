/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The columns of a Pod's row: what kubectl get pods shows. */

#include "base/str.h"

struct arena;
struct json;

void pod_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells);
