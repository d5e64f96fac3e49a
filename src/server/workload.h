/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the kinds that make Pods from a template have in common. */

#include "base/str.h"

struct arena;
struct json;

/* The cells Containers, Images and Selector; false: another column. */
bool template_cell(struct arena *a, const struct json *tmpl, const struct json *selector,
		   struct str column, struct json *cells);
