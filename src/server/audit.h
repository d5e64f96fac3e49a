/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The audit trail: an event (audit.k8s.io/v1) per request and stage, as the policy wants it. A
 * request that nobody wants to know about has rq->audit NULL, and all of this costs one test.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct apiserver;
struct audit;
struct err;
struct json;
struct user_info;

/* Reads the policy and opens the log; nothing without both. */
MUST_USE struct err *audit_init(struct apiserver *s);
/* Blocks until what was said is written. */
void audit_flush(struct apiserver *s);

/* a request's way; rq->user is who authenticated */
void audit_begin(struct api_request *rq);
/* Instead of it when nobody did. */
void audit_begin_unauthenticated(struct api_request *rq);
/* constraint: the verb that allowed it; "" for plain impersonate. */
void audit_impersonated(struct api_request *rq, const struct user_info *u, struct str constraint);
void audit_request_object(struct api_request *rq, const struct json *obj);
/* What was sent as a patch: a document, not an object. */
void audit_request_patch(struct api_request *rq, const struct json *patch);
/* The JSON text of the response (in pieces), or NULL parts when it is no JSON. */
void audit_response(struct api_request *rq, const struct str *parts, size_t n);
/* A Status that is the response. */
void audit_response_status(struct api_request *rq, const struct json *status);
/* Whether what was sent is written: level Request and above. */
bool audit_has_bodies(const struct api_request *rq);
/* A value said twice is kept as it was first. */
void audit_annotate(struct api_request *rq, const char *key, struct str value);
