/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * gRPC over HTTP/2, client and server, Unix sockets first. Messages are protobuf-c structs.
 * A non-OK grpc-status becomes an error (NOT_FOUND, ALREADY_EXISTS, UNAVAILABLE, TIMEOUT, ...).
 */

#include <protobuf-c/protobuf-c.h>

#include "base/str.h"

struct arena;
struct err;
struct grpc_client;
struct grpc_call;
struct grpc_server;
struct loop;

/* client */
/* address as for stream_connect. Connects lazily, reconnects by itself. */
struct grpc_client *grpc_client_new(struct str address);
struct grpc_client *grpc_client_free(struct grpc_client *c);
/* Metadata sent with every call (one pair; both are static). */
void grpc_client_set_header(struct grpc_client *c, const char *name, const char *value);
/*
 * Unary. method is "/runtime.v1.RuntimeService/RunPodSandbox". The response is allocated in the
 * arena (never protobuf_c_message_free_unpacked it).
 */
MUST_USE SUSPENDS struct err *grpc_unary(struct grpc_client *c, struct arena *a, const char *method,
					 const ProtobufCMessage *req,
					 const ProtobufCMessageDescriptor *resp_type,
					 void *ret_resp);
/* Server streaming: *ret_resp is NULL at the end. */
MUST_USE SUSPENDS struct err *grpc_stream_start(struct grpc_client *c, const char *method,
						const ProtobufCMessage *req,
						struct grpc_call **ret);
MUST_USE SUSPENDS struct err *grpc_stream_send(struct grpc_call *call, const ProtobufCMessage *m);
MUST_USE SUSPENDS struct err *grpc_stream_next(struct grpc_call *call, struct arena *a,
					       const ProtobufCMessageDescriptor *type,
					       void *ret_resp);
struct grpc_call *grpc_call_free(struct grpc_call *call);

/* server */
struct grpc_method {
	const char *path;
	const ProtobufCMessageDescriptor *req_type;
	/* Unary: fills *ret_resp (arena). Streaming: calls grpc_reply any number of times, leaves
	 * it NULL. */
	MUST_USE struct err *(*fn)(struct grpc_call *call, struct arena *a, const void *req,
				   ProtobufCMessage **ret_resp, void *ctx); /* SUSPENDS */
};

/* methods end with a NULL path and must outlive the server. Takes listen_fd. */
struct grpc_server *grpc_server_new(struct loop *l, int listen_fd,
				    const struct grpc_method *methods, void *ctx);
struct grpc_server *grpc_server_free(struct grpc_server *s);
MUST_USE SUSPENDS struct err *grpc_reply(struct grpc_call *call, const ProtobufCMessage *m);
