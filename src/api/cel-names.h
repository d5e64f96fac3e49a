/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How names of properties that are no identifiers are written in CEL: "a-b" is a__dash__b. */

#include "base/str.h"

struct arena;

/* False when the name cannot be written at all. */
bool cel_name_escape(struct arena *a, struct str name, struct str *ret);
/* False when nothing is escaped so. */
bool cel_name_unescape(struct arena *a, struct str name, struct str *ret);
