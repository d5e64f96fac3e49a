/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hooks that validate Services, Endpoints and EndpointSlices. */

struct api_request;
struct err;
struct json;
struct valid;

void service_validate(struct api_request *rq, const struct json *obj, struct err **e);
void service_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			     struct err **e);
/* status.loadBalancer, of Services and Ingresses. */
void load_balancer_status_validate(const struct valid *v, const struct json *obj);
void endpoints_validate(struct api_request *rq, const struct json *obj, struct err **e);
void endpointslice_validate(struct api_request *rq, const struct json *obj, struct err **e);
void endpointslice_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e);
