/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The spec of a HorizontalPodAutoscaler, in the form of v2. */

struct json;
struct place;
struct valid;

void hpa_spec_validate(const struct valid *v, const struct json *spec, const struct place *p);
