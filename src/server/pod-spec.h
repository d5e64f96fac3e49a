/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pod specs, wherever they occur (Pods, templates): what schemas cannot say. */

#include "base/str.h"

struct arena;
struct err;
struct json;

/* Defaults that depend on other members (schemas/overlay.yaml has the constant ones). */
void pod_spec_default(struct arena *a, struct json *spec);
/* Cross-field rules; field is the spec's path. */
void pod_spec_validate(struct arena *a, const struct json *spec, struct str field, struct err **e);
/* "BestEffort", "Burstable", "Guaranteed" */
struct str pod_qos_class(const struct json *spec);
