/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The typed face of the API server for our components: what client-go's REST client is to Go.
 * Objects are JSON trees in the caller's arena. Status answers become errors (err_is(e,
 * ERR_NOT_FOUND)). Every call suspends and is bounded by the fiber's deadline (and by 30 s if it
 * has none).
 */

#include "api/gvk.h"
#include "base/str.h"

struct arena;
struct client;
struct err;
struct http_call;
struct http_client_response;
struct http_headers;
struct json;
struct stream;
struct websocket;

struct client_opts {
	const char *kubeconfig; /* path; or the members below */
	const char *context;    /* of the kubeconfig; NULL: its current one */
	struct str server;      /* "https://127.0.0.1:6443" */
	struct str ca_pem;
	struct str cert_pem, key_pem;
	const char *token_file; /* re-read when it changes */
	const char *user_agent;
};

struct client_delete_opts {
	int64_t grace_seconds;   /* -1: the object's own */
	const char *propagation; /* NULL, "Background", "Foreground", "Orphan" */
	struct str uid, rv;      /* preconditions, or empty */
};
#define CLIENT_DELETE_DEFAULT ((struct client_delete_opts){ .grace_seconds = -1 })

enum client_patch {
	CLIENT_PATCH_JSON,
	CLIENT_PATCH_MERGE,
	CLIENT_PATCH_STRATEGIC,
	CLIENT_PATCH_APPLY,
};

/* lifecycle */
MUST_USE struct err *client_new(const struct client_opts *opts, struct client **ret);
/* In a Pod: ServiceAccount files and KUBERNETES_SERVICE_HOST. */
MUST_USE struct err *client_new_in_cluster(const char *user_agent, struct client **ret);
struct client *client_free(struct client *c);
/* The certificates we verify the server by, as PEM; empty when it is plain or unverified. */
struct str client_ca_pem(const struct client *c);
/* "https://127.0.0.1:6443" */
struct str client_server(const struct client *c);
/* For the unusual: SPDY and other upgrades. */
MUST_USE SUSPENDS struct err *client_upgrade(struct client *c, struct arena *a, const char *method,
					     struct str path, const struct http_headers *headers,
					     struct http_client_response *resp,
					     struct stream **ret);

/* verbs; ns empty for cluster-scoped; sub is NULL or a subresource ("status", "scale") */
MUST_USE SUSPENDS struct err *client_get(struct client *c, struct arena *a, struct gvr r,
					 struct str ns, struct str name, struct json **ret);
/* query: "labelSelector=..." already encoded, may be empty. */
MUST_USE SUSPENDS struct err *client_list(struct client *c, struct arena *a, struct gvr r,
					  struct str ns, struct str query, struct json **ret);
MUST_USE SUSPENDS struct err *client_create(struct client *c, struct arena *a, struct gvr r,
					    struct str ns, const struct json *obj,
					    struct json **ret);
MUST_USE SUSPENDS struct err *client_create_sub(struct client *c, struct arena *a, struct gvr r,
						struct str ns, struct str name, const char *sub,
						const struct json *obj, struct json **ret);
/* Name and namespace come from obj. */
MUST_USE SUSPENDS struct err *client_update(struct client *c, struct arena *a, struct gvr r,
					    const char *sub, const struct json *obj,
					    struct json **ret);
MUST_USE SUSPENDS struct err *client_patch(struct client *c, struct arena *a, struct gvr r,
					   struct str ns, struct str name, const char *sub,
					   enum client_patch type, const struct json *patch,
					   struct json **ret);
MUST_USE SUSPENDS struct err *client_delete(struct client *c, struct arena *a, struct gvr r,
					    struct str ns, struct str name,
					    const struct client_delete_opts *opts);

/* raw access: path begins with "/"; ret may be NULL; body NULL for none */
MUST_USE SUSPENDS struct err *client_raw(struct client *c, struct arena *a, const char *method,
					 struct str path, const struct json *body,
					 struct json **ret);
/* Unparsed: whatever status and body came. */
MUST_USE SUSPENDS struct err *client_raw_http(struct client *c, struct arena *a, const char *method,
					      struct str path, const struct http_headers *headers,
					      struct str body, struct http_client_response *ret);
/*
 * A GET whose body is read piece by piece with http_call_read (watches, logs followed); the time
 * limits of the other calls end with the headers. accept may be NULL (application/json).
 */
MUST_USE SUSPENDS struct err *client_stream(struct client *c, struct arena *a, struct str path,
					    const char *accept, struct http_call **ret);
/* Like client_raw GET, with an Accept header of the caller's (Tables, PartialObjectMetadata). */
MUST_USE SUSPENDS struct err *client_get_as(struct client *c, struct arena *a, struct str path,
					    const char *accept, struct json **ret);
/* WebSocket on a subresource (console); protocols as in io/websocket.h. A refusal becomes the
 * Status' error. */
MUST_USE SUSPENDS struct err *client_websocket(struct client *c, struct str path,
					       const char *const *protocols,
					       struct websocket **ret);
/* The path of an object or collection (name and sub may be empty/NULL). */
struct str client_path(struct arena *a, struct gvr r, struct str ns, struct str name,
		       const char *sub);
