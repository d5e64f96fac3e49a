/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one resource engine: what happens to an object between its decoding and its response, the
 * same for every kind. Each call takes a routed request; results are committed objects (a new
 * reference), so callers within the server and the HTTP side share them.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct err;
struct json;
struct obj;

/*
 * Makes obj (decoded and defaulted; changed by it). On dry run *ret is an object without revision.
 * Sets rq->created.
 */
MUST_USE SUSPENDS struct err *engine_create(struct api_request *rq, struct json *obj,
					    const struct obj **ret);

/* How an update turns the present tree (not to be changed) into the wanted one, per attempt. */
struct engine_change {
	MUST_USE struct err *(*apply)(struct engine_change *c, struct api_request *rq,
				      const struct json *old, struct json **ret);
	/* PUT may create: what with; NULL: cannot */
	struct json *create;
	/* An apply always may: what with; NULL: cannot */
	MUST_USE struct err *(*make)(struct engine_change *c, struct api_request *rq,
				     struct json **ret);
	bool owns; /* apply() says by itself what managedFields shall be */
	/* What admission sees instead of the object (Scale), and what of it goes back; NULL: none
	 */
	struct json *(*show)(struct engine_change *c, struct api_request *rq,
			     const struct json *obj);
	void (*take)(struct engine_change *c, struct api_request *rq, const struct json *shown,
		     struct json *obj);
};

/* Any change of one object: PUT, PATCH, status, scale, binding. rq->subres decides what may change.
 */
MUST_USE SUSPENDS struct err *engine_update(struct api_request *rq, struct engine_change *c,
					    const struct obj **ret);
/* A change of the whole object by fn, bypassing what a subresource may touch. */
MUST_USE SUSPENDS struct err *engine_put(struct api_request *rq, struct json *obj,
					 const struct obj **ret);

/* *ret_gone: really removed; *ret: the object deleted, or as it remains. */
MUST_USE SUSPENDS struct err *engine_delete(struct api_request *rq, const struct obj **ret,
					    bool *ret_gone);

/* CONFLICT when what a delete asks for is not what is there. */
MUST_USE struct err *engine_delete_preconditions(struct api_request *rq, struct str uid,
						 uint64_t rv);

/* NOT_FOUND when absent. */
MUST_USE SUSPENDS struct err *engine_get(struct api_request *rq, const struct obj **ret);
/* Waits a while for rv to be reached: TIMEOUT with upstream's cause when it is not. */
MUST_USE SUSPENDS struct err *engine_wait_rv(struct api_request *rq, uint64_t rv);

/* The HTTP side of each verb: reads the body, calls the above, responds. */
MUST_USE SUSPENDS struct err *serve_get(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_list(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_watch(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_create(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_update(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_patch(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_delete(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_deletecollection(struct api_request *rq);
MUST_USE SUSPENDS struct err *serve_scale(struct api_request *rq);

/* Admission options as a body: {"kind":"CreateOptions",...}. */
struct json *engine_options_json(struct api_request *rq, const char *kind);
/* PATCH with the type of server-side apply. */
bool patch_is_apply(const struct api_request *rq);
/* The patch's content type; UNSUPPORTED_MEDIA_TYPE unless we know it for this kind. */
MUST_USE struct err *patch_read_type(struct api_request *rq, struct str *ret);
/* Applies a patch document of the request's content type to a tree. */
MUST_USE struct err *patch_apply(struct api_request *rq, struct str type, const struct json *doc,
				 const struct json *patch, struct json **ret);
