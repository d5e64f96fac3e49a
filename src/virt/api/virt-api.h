/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virt-api: one HTTPS server for the webhooks of the virtualization kinds and for
 * subresources.kubevirt.io, which the API server reaches by aggregation.
 *
 *     main.c        certificates, listener, route table
 *     admission.c   AdmissionReview in and out; vmi-defaults.c and validate-*.c are behind it
 *     authz.c       who asks (front proxy's headers) and whether they may (SubjectAccessReview)
 *     subresource.c path to handler; lifecycle.c VMs; instance.c VMIs, by virt-handler
 *     discovery.c   what is served
 */

#include "base/str.h"
#include "io/fiber.h"
#include "virt/mapping/virt-config.h"

struct client;
struct err;
struct http_client;
struct http_exchange;
struct http_query;
struct informer;
struct json;
struct loop;
struct schemas;
struct tls_config;

struct virt_api {
	struct loop *loop;
	struct client *client;
	struct informer *kubevirts;
	struct schemas *schemas;
	struct str ns;
	struct tls_config
		*handler_tls; /* we as virt-handler's client; NULL until the Secret is there */
	const struct json *proxy_names; /* common names a front proxy may have; empty: any */
	struct arena *auth_arena;       /* of proxy_names */
};

/* The KubeVirt's configuration, in the arena. */
void virt_api_config(const struct virt_api *api, struct arena *a, struct virt_config *ret);

/* routes */
MUST_USE SUSPENDS struct err *admission_serve(struct virt_api *api, struct http_exchange *x);
MUST_USE SUSPENDS struct err *subresource_serve(struct virt_api *api, struct http_exchange *x);
/* Whether the path was one of discovery's; answers it then. */
bool discovery_serve(struct http_exchange *x);

/* One call of a subresource: /apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUB. */
struct subresource_call {
	struct virt_api *api;
	struct http_exchange *x;
	struct arena *a;
	struct str version, ns, resource, name, sub;
	struct json *body; /* NULL: none */
};

/* SUSPENDS: UNAUTHORIZED (plain text to the client) unless the caller may. */
MUST_USE SUSPENDS struct err *authz_check(const struct subresource_call *call);

/* Answers 202 or 200 without a body. */
void subresource_done(const struct subresource_call *call, int status);
/* 404, 409 and 400 as upstream words them; kind is "virtualmachine" or "virtualmachineinstance". */
MUST_USE struct err *subresource_not_found(const char *kind, struct str name);
MUST_USE struct err *subresource_conflict(const char *kind, struct str name, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
MUST_USE SUSPENDS struct err *subresource_get_vm(const struct subresource_call *call,
						 struct json **ret);
/* *ret is NULL when there is none and optional. */
MUST_USE SUSPENDS struct err *subresource_get_vmi(const struct subresource_call *call,
						  bool optional, struct json **ret);
bool subresource_dry_run(const struct subresource_call *call);

MUST_USE SUSPENDS struct err *vm_start_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vm_stop_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vm_restart_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_pause_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_unpause_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_softreboot_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_reset_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_console_request(const struct subresource_call *call);
MUST_USE SUSPENDS struct err *vmi_vnc_request(const struct subresource_call *call);
