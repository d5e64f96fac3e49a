/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The API server as one struct: its store, its resources, who may do what, and the hooks that
 * extensions (discovery, OpenAPI, CRDs, webhooks, aggregation) hang on. One per process, one loop.
 */

#include "api/obj.h"
#include "base/list.h"
#include "base/map.h"
#include "server/access-opts.h"
#include "server/resource.h"
#include "store/store.h"

struct api_request;
struct arena;
struct audit_trail;
struct authn;
struct authz;
struct err;
struct flow;
struct http_server;
struct json;
struct loop;
struct metrics;
struct registry;
struct selector;
struct tls_config;
struct tokens;
struct user_info;
struct watch_cache;

struct apiserver_opts {
	struct str data_dir;
	struct str advertise;     /* "IP:PORT": where Pods reach us; empty: the first listener */
	struct str service_cidr;  /* "10.96.0.0/16" */
	struct str kubeconfig;    /* file to write for the administrator; empty:
				     DATA_DIR/admin.kubeconfig */
	const struct str *listen; /* addresses */
	size_t n_listen;
	int64_t history_s; /* how long watches can resume and pages go on; 0: the store's default */
	const int *listen_fds;
	size_t n_listen_fds;
	unsigned max_read_only, max_mutating; /* requests running at once */
	int64_t request_timeout_s;
	bool access_log;
	struct audit_opts audit;
	struct authn_opts authn;
};

/* PEM texts of DATA_DIR/pki. */
struct server_pki {
	struct str ca_cert, ca_key;
	struct str server_cert, server_key;
	struct str sa_key, sa_pub;
	struct str proxy_ca_cert, proxy_client_cert, proxy_client_key; /* aggregation's identity */
	struct str kubelet_client_cert, kubelet_client_key;
	struct str admin_cert, admin_key;
};

struct apiserver {
	struct loop *loop;
	struct store *store;
	struct registry *registry;
	struct authn *authn;
	struct audit_trail *audit; /* NULL: none */
	struct authz *authz;
	struct tokens *tokens;
	struct apiserver_opts opts;
	struct server_pki pki;
	struct str advertise_ip;
	int advertise_port;
	struct http_server *http;
	struct tls_config *kubelet_tls; /* client side, trusts the cluster's CA */
	bool ready;
	struct flow *flow;
	struct metrics *metrics;
	struct arena *arena; /* lives as long as the server */
	/* private */
	struct list admission; /* admission.h */
	struct list paths, delegates;
	struct watch_cache *watches;
};

/*
 * Non-resource paths: "/openapi/v2", or with a trailing '*' everything below: "/openapi/v3*". One
 * with a type is a route as upstream has them: for GET alone, with or without a slash at its end,
 * and for clients that accept this type.
 */
struct path_handler {
	const char *path;
	const char *type;
	MUST_USE struct err *(*handle)(struct path_handler *h,
				       struct api_request *rq); /* SUSPENDS */
	/* private */
	struct list link;
};
void apiserver_add_path(struct apiserver *s, struct path_handler *h);
/* For "/" and the like: NULL ends. */
struct path_handler *apiserver_next_path(struct apiserver *s, struct path_handler *prev);

/*
 * A delegate may take whole requests after authorization, before routing: aggregation. rq has its
 * path parsed (group, version, ...). It answers through rq->x.
 */
struct delegate {
	bool (*claims)(struct delegate *d, struct api_request *rq);
	MUST_USE struct err *(*serve)(struct delegate *d, struct api_request *rq); /* SUSPENDS */
	/* private */
	struct list link;
};
void apiserver_add_delegate(struct apiserver *s, struct delegate *d);

/* who may do what */
struct authz_attrs {
	const struct user_info *user;
	struct str verb;
	bool is_resource;
	struct str group, resource, sub, ns, name; /* resource without the subresource */
	struct str version;
	struct str path; /* non-resource */
	/* of lists, watches and collections deleted: the selectors as text */
	struct str field_selector, label_selector;
};
/*
 * *ret_reason (may be NULL, which is cheaper) says why it is allowed, or what stood in the way;
 * often nothing. Never suspends.
 */
bool authz_allowed(struct authz *az, struct arena *a, const struct authz_attrs *at,
		   struct str *ret_reason);

/*
 * Extensions: each has init, called once before the server listens, and start, called once it
 * serves (both may be NULL; start may spawn fibers). The table is in modules.c.
 */
struct server_module {
	const char *name;
	MUST_USE struct err *(*init)(struct apiserver *s);
	MUST_USE struct err *(*start)(struct apiserver *s); /* SUSPENDS */
};
extern const struct server_module server_modules[]; /* ends with a NULL name */

/* from within: the whole way of a request, as system:apiserver. gr is "pods", "replicasets.apps".
 */
/* NULL when absent; a new reference. */
MUST_USE SUSPENDS struct err *local_get(struct apiserver *s, const char *gr, struct str ns,
					struct str name, const struct obj **ret);
/* A tree in the arena; NULL when absent. */
MUST_USE SUSPENDS struct err *local_get_json(struct apiserver *s, struct arena *a, const char *gr,
					     struct str ns, struct str name, struct json **ret);
/* ns empty: all. fn borrows o (it may take a reference). */
MUST_USE SUSPENDS struct err *local_list(struct apiserver *s, const char *gr, struct str ns,
					 void (*fn)(const struct obj *o, void *ctx), void *ctx);
/* ret may be NULL. obj is changed (defaulted). ALREADY_EXISTS, INVALID, ... */
MUST_USE SUSPENDS struct err *local_create(struct apiserver *s, struct arena *a, const char *gr,
					   struct str ns, struct json *obj, struct json **ret);
/* sub: "" or "status". Conditional when obj has a resourceVersion. */
MUST_USE SUSPENDS struct err *local_update(struct apiserver *s, struct arena *a, const char *gr,
					   const char *sub, struct json *obj, struct json **ret);
/* NOT_FOUND is no error. */
MUST_USE SUSPENDS struct err *local_delete(struct apiserver *s, struct arena *a, const char *gr,
					   struct str ns, struct str name);
