/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a node's agent listens, and connections to it with our client certificate. */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct err;
struct http_client;

struct kubelet {
	struct str host;    /* of the Node's addresses */
	struct str address; /* "HOST:PORT" */
};

/* By the Node object. NOT_FOUND in the name of the request's resource, as upstream says it. */
MUST_USE SUSPENDS struct err *kubelet_find(struct api_request *rq, struct str node,
					   struct kubelet *ret);
/* For one exchange; http_client_free() it. */
struct http_client *kubelet_client(struct api_request *rq, const struct kubelet *k);
