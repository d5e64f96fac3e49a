/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/http-server.h"
#include "virt/api/virt-api.h"
#include "json/json.h"

/*
 * The API server forwards as a front proxy: its client certificate vouches for the X-Remote-*
 * headers. Without that certificate the headers are anybody's claim and count for nothing.
 */

#define EXTRA_PREFIX "X-Remote-Extra-"

static const struct {
	const char *method, *verb;
} verbs[] = { { "GET", "get" },     { "HEAD", "get" },    { "PUT", "update" },
	      { "POST", "create" }, { "PATCH", "patch" }, { "DELETE", "delete" } };

static bool is_front_proxy(const struct virt_api *api, const struct http_request *req)
{
	if (!req->has_peer_cert)
		return false;
	if (!json_len(api->proxy_names))
		return true;
	json_for_each(it, api->proxy_names)
	{
		if (str_eq(json_as_str(it.val), req->peer.common_name))
			return true;
	}
	return false;
}

static void add_identity(struct arena *a, const struct http_request *req, struct json *spec)
{
	struct json *groups = json_array(a), *extra = json_object(a);

	json_set_str(a, spec, "user", http_headers_find(&req->headers, "X-Remote-User"));
	for (size_t i = 0; i < req->headers.n; i++) {
		const struct http_header *h = &req->headers.v[i];
		struct str prefix = str_sub(h->name, 0, sizeof(EXTRA_PREFIX) - 1);

		if (str_eq_nocase(h->name, STR("X-Remote-Group"))) {
			json_push(groups, json_strcpy(a, h->value));
		} else if (h->name.n > prefix.n && str_eq_nocase(prefix, STR(EXTRA_PREFIX))) {
			struct str key = http_url_decode(a, str_skip(h->name, prefix.n));
			struct json *list = json_sub_array(a, extra, arena_strz(a, key));

			json_push(list, json_strcpy(a, h->value));
		}
	}
	json_set(a, spec, "groups", groups);
	if (json_len(extra))
		json_set(a, spec, "extra", extra);
}

static const char *verb_of(struct str method)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (str_eqz(method, verbs[i].method))
			return verbs[i].verb;
	}
	return NULL;
}

static struct json *make_review(const struct subresource_call *call, const struct http_request *req,
				const char *verb)
{
	struct arena *a = call->a;
	struct json *review = json_object(a), *spec = json_sub(a, review, "spec");
	struct json *attrs = json_sub(a, spec, "resourceAttributes");

	json_set_str(a, review, "apiVersion", STR("authorization.k8s.io/v1"));
	json_set_str(a, review, "kind", STR("SubjectAccessReview"));
	add_identity(a, req, spec);
	json_set_str(a, attrs, "namespace", call->ns);
	json_set_str(a, attrs, "verb", str_from(verb));
	json_set_str(a, attrs, "group", STR("subresources.kubevirt.io"));
	json_set_str(a, attrs, "version", call->version);
	json_set_str(a, attrs, "resource", call->resource);
	json_set_str(a, attrs, "subresource", call->sub);
	json_set_str(a, attrs, "name", call->name);
	return review;
}

struct err *authz_check(const struct subresource_call *call)
{
	const struct http_request *req = http_request(call->x);
	const char *verb = verb_of(req->method);
	struct json *out = NULL;

	if (!is_front_proxy(call->api, req))
		return err_new(ERR_UNAUTHORIZED, "request is not authenticated");
	if (str_empty(http_headers_find(&req->headers, "X-Remote-User")))
		return err_new(ERR_UNAUTHORIZED,
			       "a valid user header is required for authorization");
	if (!verb)
		return err_new(ERR_UNAUTHORIZED, "unknown http verb in request: " STR_FMT,
			       STR_ARG(req->method));
	TRY(client_create(call->api->client, call->a,
			  GVR("authorization.k8s.io", "v1", "subjectaccessreviews"), STR_EMPTY,
			  make_review(call, req, verb), &out));
	if (json_bool_at(out, "status.allowed", false))
		return NULL;
	return err_new(ERR_UNAUTHORIZED, STR_FMT, STR_ARG(json_str_at(out, "status.reason")));
}
