/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rules of ObjectMeta: what the server sets, keeps and checks on every write. */

#include "base/str.h"

struct api_request;
struct err;
struct json;

/* Namespace and name of a body against the path; drops what only the server sets. */
MUST_USE struct err *metadata_begin_create(struct api_request *rq, struct json *obj);
/* A name from generateName; for another try after a collision, too. */
void metadata_generate_name(struct api_request *rq, struct json *obj);
/* uid, creationTimestamp, generation. */
void metadata_stamp(struct api_request *rq, struct json *obj);
/* Name and namespace against the path. */
MUST_USE struct err *metadata_begin_update(struct api_request *rq, struct json *obj);
/* Carries over what clients cannot change; collects what they may not. */
void metadata_carry(struct api_request *rq, struct json *obj, const struct json *old,
		    struct err **e);
/* ownerReferences that are there twice go, with a warning. admitted: a webhook may have made them.
 */
void metadata_dedup_owners(struct api_request *rq, struct json *obj, bool admitted);
void metadata_validate(struct api_request *rq, const struct json *obj, struct err **e);
/* generation + 1 when anything but metadata and status changed. */
void metadata_bump_generation(struct api_request *rq, struct json *obj, const struct json *old);
/* No finalizer and no grace holds a deleted object any longer. */
bool metadata_may_go(const struct api_request *rq, const struct json *obj);
