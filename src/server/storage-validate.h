/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hooks that validate volumes, claims, and the kinds of storage.k8s.io. */

struct api_request;
struct err;
struct json;
struct place;
struct valid;

void storageclass_validate(struct api_request *rq, const struct json *obj, struct err **e);
void storageclass_validate_update(struct api_request *rq, const struct json *obj,
				  const struct json *old, struct err **e);
void csidriver_validate(struct api_request *rq, const struct json *obj, struct err **e);
void csidriver_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e);
void csinode_validate(struct api_request *rq, const struct json *obj, struct err **e);
void csinode_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			     struct err **e);
void csistoragecapacity_validate(struct api_request *rq, const struct json *obj, struct err **e);
void csistoragecapacity_validate_update(struct api_request *rq, const struct json *obj,
					const struct json *old, struct err **e);
void volumeattachment_validate(struct api_request *rq, const struct json *obj, struct err **e);
void volumeattachment_validate_update(struct api_request *rq, const struct json *obj,
				      const struct json *old, struct err **e);
void volumeattributesclass_validate(struct api_request *rq, const struct json *obj, struct err **e);
void volumeattributesclass_validate_update(struct api_request *rq, const struct json *obj,
					   const struct json *old, struct err **e);
