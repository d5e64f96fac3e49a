/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Responses: objects by spans, trees, Statuses; media type, pretty printing, gzip, Warning headers.
 */

#include "base/str.h"

struct api_request;
struct body;
struct err;
struct http_exchange;
struct json;
struct obj;

/* TEXT and a line's end, as Go's servers say what is no API answer. */
void respond_plain_error(struct api_request *rq, int status, struct str text);
/* In the form the client asked for (plain, Table, PartialObjectMetadata). */
MUST_USE struct err *respond_obj(struct api_request *rq, int status, const struct obj *o);
/* The same for a tree that has kind and apiVersion. */
MUST_USE struct err *respond_tree(struct api_request *rq, int status, struct json *tree);
/* Any document as it is (Status, Scale, reviews). */
void respond_json(struct api_request *rq, int status, const struct json *doc);
void respond_text(struct api_request *rq, int status, const char *content_type, struct str body);
/* A body in pieces between two short ones. */
void respond_body(struct api_request *rq, int status, const char *content_type, struct str head,
		  struct body *body, struct str tail);
/* A body that is written as it is made, with http_body_write; only when respond_may_stream. */
bool respond_may_stream(const struct api_request *rq);
void respond_stream(struct api_request *rq, int status, const char *content_type);
/* Sends e as a Status; takes e. */
void respond_error(struct api_request *rq, struct err *e);
