/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * schemas/ as the build embedded it: one JSON text per named type (sorted by name), and the table
 * of built-in resources. The texts are constant data; nothing is parsed before it is needed.
 */

#include "base/str.h"

struct schema_text {
	struct str name; /* "io.k8s.api.core.v1.Pod" */
	struct str json; /* OpenAPI v3, $ref "#/components/schemas/NAME" */
};

extern const struct schema_text schema_texts[];
extern const size_t schema_n_texts;
/* schemas/resources.yaml as a JSON array. */
extern const struct str schema_resources_text;
