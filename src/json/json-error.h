/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Why a text is no JSON, in the words of Go's encoding/json, which clients of the API know:
 * "invalid character 'x' after object key". For the way of errors only: it reads the text again.
 */

#include "base/str.h"

struct arena;

/* NULL: the text is well-formed (of any depth). In the arena, or a literal. */
const char *json_syntax_error(struct arena *a, struct str text);
