/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Validation of Events, in the shape they are stored in (core/v1). */

#include <stdbool.h>

struct api_request;
struct err;
struct json;

/* strict: as events.k8s.io has it on create, with rules that core/v1 came too early for. */
void event_validate_core(struct api_request *rq, const struct json *obj, bool strict,
			 struct err **e);
/* What events.k8s.io does not let change. */
void event_validate_core_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e);
