/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of a Pod may change, by whom: its own endpoint, ephemeralcontainers, resize. */

struct api_request;
struct err;
struct json;

/* What those subresources do not let change is as it was. */
void pod_isolate(struct api_request *rq, struct json *obj, const struct json *old);
void pod_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e);
