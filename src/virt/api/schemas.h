/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The schemas of our CRDs inside virt-api. The API server checks objects against them after the
 * mutating webhooks; defaults must not paper over a wrong type before that, so the webhooks look
 * first.
 */

#include "base/str.h"

struct causes;
struct json;
struct schemas;

struct schemas *schemas_new(void);
struct schemas *schemas_free(struct schemas *s);
/* Adds a cause for everything in obj that the schema of the resource ("virtualmachines") refuses.
 */
void schemas_check(struct schemas *s, struct str resource, const struct json *obj,
		   struct causes *c);
