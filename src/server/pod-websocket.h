/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Streams of Pods over WebSockets. v5.channel.k8s.io (exec, attach) is translated to the SPDY/3.1
 * that runtimes speak, one channel to one stream; SPDY/3.1+portforward.k8s.io carries SPDY itself
 * in binary messages. The older channel protocols know no half-closed stdin; runtimes speak them,
 * so they are passed on as they are.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct err;
struct http_client;

/* Which streams a session has. */
struct pod_channels {
	bool in, out, err, tty;
};

/* Whether the request is a WebSocket of a protocol that we translate. */
bool pod_websocket_translated(const struct api_request *rq);
/* Both answer rq->x; target is the kubelet's path and query. */
MUST_USE SUSPENDS struct err *pod_websocket_exec(struct api_request *rq,
						 struct http_client *kubelet, struct str target,
						 const struct pod_channels *ch);
MUST_USE SUSPENDS struct err *pod_websocket_forward(struct api_request *rq,
						    struct http_client *kubelet, struct str target);
