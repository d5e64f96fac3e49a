/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Validation of the kinds of resource.k8s.io. */

struct api_request;
struct err;
struct json;

void deviceclass_validate(struct api_request *rq, const struct json *obj, struct err **e);
void resourceclaim_validate(struct api_request *rq, const struct json *obj, struct err **e);
void resourceclaim_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e);
void resourceclaimtemplate_validate(struct api_request *rq, const struct json *obj, struct err **e);
void resourceclaimtemplate_validate_update(struct api_request *rq, const struct json *obj,
					   const struct json *old, struct err **e);
void resourceslice_validate(struct api_request *rq, const struct json *obj, struct err **e);
void resourceslice_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e);
