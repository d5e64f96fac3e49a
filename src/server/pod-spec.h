/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pod specs, wherever they occur (Pods, templates): what schemas cannot say. */

#include "base/str.h"

struct arena;
struct json;
struct place;
struct valid;

/* Defaults of templates and Pods (schemas/overlay.yaml has those that depend on nothing). */
void pod_spec_default(struct arena *a, struct json *spec);
/* The same and those of Pods alone. */
void pod_spec_default_pod(struct arena *a, struct json *spec);
/* Of a template. */
void pod_spec_validate(const struct valid *v, const struct json *spec, const struct place *p);
void pod_spec_validate_as(const struct valid *v, const struct json *spec, const struct place *p,
			  bool pod);
/* Annotations of a Pod or template that mean something; p: where they are. */
void pod_annotations_validate(const struct valid *v, const struct json *pod, const struct place *p);
/* "BestEffort", "Burstable", "Guaranteed" */
struct str pod_qos_class(const struct json *spec);
