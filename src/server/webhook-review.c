/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook-review.h"

#include "api/gvk.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "server/admission.h"
#include "server/backend.h"
#include "server/object.h"
#include "server/server.h"
#include "json/json.h"

#define REVIEW_MAX_BODY    (6 * 1024 * 1024)
#define WARNING_MAX_BYTES  256
#define WARNING_MAX_NUMBER 16

static struct str webhook_name(const struct webhook_call *c)
{
	return json_str_at(c->hook, "name");
}

/* ---- the question */

static struct json *webhook_gvk(struct arena *a, struct str group, struct str version,
				const char *last_name, struct str last)
{
	struct json *j = json_object(a);

	json_set_str(a, j, "group", group);
	json_set_str(a, j, "version", version);
	json_set_str(a, j, last_name, last);
	return j;
}

/* The body's kind: a subresource may have one of its own. */
static struct json *webhook_kind(const struct admission *ad, struct arena *a,
				 const struct resource_version *v)
{
	const struct subresource *sub = ad->sub.n ? subresource_find(ad->v, ad->sub) : NULL;

	if (sub && sub->kind_version.n)
		return webhook_gvk(a, sub->kind_group, sub->kind_version, "kind", sub->kind);
	return webhook_gvk(a, ad->res->group, v->version, "kind",
			   sub && sub->kind.n ? sub->kind : ad->res->kind);
}

/* A copy in the version that the webhook asked for; conversion is None: only the name changes. */
static struct json *webhook_object(const struct webhook_call *c, const struct json *obj)
{
	struct arena *a = c->ad->rq->arena;
	struct json *copy;

	if (!obj)
		return json_null(a);
	copy = json_copy(a, obj);
	if (c->v != c->ad->v)
		json_set_str(a, copy, "apiVersion", gv_format(a, c->ad->res->group, c->v->version));
	return copy;
}

static struct json *webhook_question(const struct webhook_call *c, struct str uid)
{
	const struct admission *ad = c->ad;
	struct arena *a = ad->rq->arena;
	struct json *review = json_object(a), *rq;

	json_set_str(a, review, "kind", STR("AdmissionReview"));
	json_set_str(a, review, "apiVersion", STR("admission.k8s.io/v1"));
	rq = json_sub(a, review, "request");
	json_set_str(a, rq, "uid", uid);
	json_set(a, rq, "kind", webhook_kind(ad, a, c->v));
	json_set(a, rq, "resource",
		 webhook_gvk(a, ad->res->group, c->v->version, "resource", ad->res->plural));
	if (ad->sub.n)
		json_set_str(a, rq, "subResource", ad->sub);
	json_set(a, rq, "requestKind", webhook_kind(ad, a, ad->v));
	json_set(a, rq, "requestResource",
		 webhook_gvk(a, ad->res->group, ad->v->version, "resource", ad->res->plural));
	if (ad->sub.n)
		json_set_str(a, rq, "requestSubResource", ad->sub);
	json_set_str(a, rq, "name", ad->name);
	if (ad->res->namespaced || str_eqz(ad->res->store_name, "namespaces"))
		json_set_str(a, rq, "namespace", ad->res->namespaced ? ad->ns : ad->name);
	json_set_str(a, rq, "operation", admission_op_name(ad->op));
	json_set(a, rq, "userInfo", user_to_json(a, &ad->rq->user));
	json_set(a, rq, "object", webhook_object(c, ad->obj));
	json_set(a, rq, "oldObject", webhook_object(c, ad->old));
	json_set_bool(a, rq, "dryRun", ad->dry_run);
	json_set(a, rq, "options", ad->options ? json_copy(a, ad->options) : json_null(a));
	return review;
}

/* ---- where to */

/* "https://host:port/path": host, port and path apart. */
static void webhook_url(struct arena *a, struct str url, struct backend *b, struct str *ret_path)
{
	struct str host, name;

	str_strip_prefix(&url, STR("https://"));
	host = str_sub(url, 0, str_find_char(url, '/', 0));
	*ret_path = host.n < url.n ? str_skip(url, host.n) : STR("/");
	name = host;
	if (str_has_prefix(host, STR("["))) {
		name = str_sub(host, 1, str_find_char(host, ']', 0));
		b->address = str_find_char(host, ']', 0) + 1 < host.n
				     ? host
				     : arena_cat(a, host, STR(":443"));
	} else if (str_contains(host, STR(":"))) {
		name = str_sub(host, 0, str_find_char(host, ':', 0));
		b->address = host;
	} else {
		b->address = arena_cat(a, host, STR(":443"));
	}
	b->server_name = name;
}

static struct err *webhook_target(const struct webhook_call *c, struct backend *b,
				  struct str *ret_path, struct str *ret_url)
{
	const struct json *cc = json_get(c->hook, "clientConfig"), *svc = json_get(cc, "service");
	struct arena *a = c->ad->rq->arena;
	int64_t port = json_int_at(svc, "port", 443);
	struct str bundle = json_str_at(cc, "caBundle");

	if (bundle.n && !base64_decode(a, bundle, &b->ca_pem))
		return err_new(ERR_INTERNAL, "caBundle is not base64");
	if (!svc) {
		*ret_url = json_str_at(cc, "url");
		webhook_url(a, *ret_url, b, ret_path);
		return NULL;
	}
	*ret_path = json_str_at(svc, "path");
	if (!ret_path->n)
		*ret_path = STR("/");
	b->server_name =
		backend_service_name(a, json_str_at(svc, "namespace"), json_str_at(svc, "name"));
	*ret_url = arena_fmt(a, "https://" STR_FMT ":%lld" STR_FMT, STR_ARG(b->server_name),
			     (long long)port, STR_ARG(*ret_path));
	return backend_resolve(c->ad->rq->server, a, json_str_at(svc, "namespace"),
			       json_str_at(svc, "name"), port, &b->address, NULL);
}

/* ---- the exchange */

static struct err *webhook_post(const struct webhook_call *c, struct json *review,
				struct json **ret)
{
	struct arena *a = c->ad->rq->arena;
	int64_t timeout = json_int_at(c->hook, "timeoutSeconds", 10);
	struct http_client_response resp = { 0 };
	struct str path = STR_EMPTY, url = STR_EMPTY;
	struct backend_ref *client = NULL;
	struct backend b = { 0 };
	struct mono old;
	struct err *e = webhook_target(c, &b, &path, &url);

	if (!e)
		e = backend_get(c->ad->rq->server, &b, &client);
	if (e)
		return e;
	struct http_client_request req = {
		.method = "POST",
		.target = arena_fmt(a, STR_FMT "?timeout=%llds", STR_ARG(path), (long long)timeout),
		.body = json_text(a, review),
		.has_body = true,
	};
	http_headers_add(a, &req.headers, STR("Content-Type"), STR("application/json"));
	http_headers_add(a, &req.headers, STR("Accept"), STR("application/json, */*"));
	http_headers_add(a, &req.headers, STR("User-Agent"), STR("kube-apiserver-admission"));
	old = fiber_limit_ms(timeout * 1000);
	e = http_client_do(backend_client(client), a, &req, REVIEW_MAX_BODY, &resp);
	fiber_restore_deadline(old);
	backend_put(client);
	if (e && err_is(e, ERR_TIMEOUT))
		e = err_remsg(e, "context deadline exceeded");
	if (e)
		return err_wrap(e, "Post \"" STR_FMT "?timeout=%llds\"", STR_ARG(url),
				(long long)timeout);
	if (resp.status != 200)
		return err_new(ERR_INTERNAL,
			       "the server responded with the status code %d but did "
			       "not return more information",
			       resp.status);
	return json_parse(a, resp.body, ret);
}

/* ---- the answer */

static struct err *webhook_check_answer(const struct json *review, struct str uid)
{
	struct str api = json_str_at(review, "apiVersion"), kind = json_str_at(review, "kind");
	const struct json *r = json_get(review, "response");
	struct str group = STR_EMPTY, version = STR_EMPTY;

	if (!str_eqz(api, "admission.k8s.io/v1") || !str_eqz(kind, "AdmissionReview")) {
		if (api.n)
			gv_parse(api, &group, &version);
		return err_new(ERR_INTERNAL,
			       "received invalid webhook response: expected webhook response of "
			       "admission.k8s.io/v1, Kind=AdmissionReview, got " STR_FMT "/" STR_FMT
			       ", Kind=" STR_FMT,
			       STR_ARG(group), STR_ARG(version), STR_ARG(kind));
	}
	if (!json_is(r, JSON_OBJECT))
		return err_new(ERR_INTERNAL,
			       "received invalid webhook response: webhook response was absent");
	if (!str_eq(json_str_at(r, "uid"), uid))
		return err_new(ERR_INTERNAL,
			       "received invalid webhook response: expected response.uid=\"" STR_FMT
			       "\", got \"" STR_FMT "\"",
			       STR_ARG(uid), STR_ARG(json_str_at(r, "uid")));
	if (json_str_at(r, "patch").n && !json_str_at(r, "patchType").n)
		return err_new(ERR_INTERNAL, "received invalid webhook response: webhook returned "
					     "response.patch but not response.patchType");
	if (json_str_at(r, "patchType").n && !json_str_at(r, "patch").n)
		return err_new(ERR_INTERNAL, "received invalid webhook response: webhook returned "
					     "response.patchType but not response.patch");
	if (json_str_at(r, "patchType").n && !str_eqz(json_str_at(r, "patchType"), "JSONPatch"))
		return err_new(ERR_INTERNAL,
			       "received invalid webhook response: webhook returned invalid "
			       "response.patchType of \"" STR_FMT "\"",
			       STR_ARG(json_str_at(r, "patchType")));
	return NULL;
}

static struct err *webhook_denied(const struct webhook_call *c, const struct json *status)
{
	struct str text = json_str_at(status, "message"), reason = json_str_at(status, "reason");
	int64_t code = json_int_at(status, "code", 0);
	struct str name = webhook_name(c);
	struct err *e;

	if (!text.n)
		text = reason;
	if (text.n)
		e = err_new(ERR_BAD_REQUEST,
			    "admission webhook \"" STR_FMT "\" denied the request: " STR_FMT,
			    STR_ARG(name), STR_ARG(text));
	else
		e = err_new(ERR_BAD_REQUEST,
			    "admission webhook \"" STR_FMT
			    "\" denied the request without explanation",
			    STR_ARG(name));
	if (code < 400 || code > 599)
		code = 400;
	e = err_recode(e, err_code_from_reason(reason, (int)code));
	e = err_set_status(err_set_reason(e, reason), (int)code);
	json_for_each(it, json_at(status, "details.causes"))
		err_add_cause(e, json_str_at(it.val, "field"), json_str_at(it.val, "reason"),
			      json_str_at(it.val, "message"));
	return e;
}

static void webhook_warnings(const struct webhook_call *c, const struct json *warnings)
{
	json_for_each(it, warnings)
	{
		struct str w = json_as_str(it.val);

		if (it.i == WARNING_MAX_NUMBER)
			break;
		w.n = MIN(w.n, WARNING_MAX_BYTES);
		request_warn(c->ad->rq, STR_FMT, STR_ARG(w));
	}
}

static struct err *webhook_patch(const struct webhook_call *c, const struct json *r,
				 struct json **ret)
{
	struct arena *a = c->ad->rq->arena;
	struct str text = json_str_at(r, "patch"), ops;

	if (!text.n)
		return NULL;
	if (!base64_decode(a, text, &ops))
		return err_new(ERR_INTERNAL, "received invalid webhook response: the patch is not "
					     "base64");
	return json_parse(a, ops, ret);
}

/* A failed call: let through, or refuse as upstream words it. */
static struct err *webhook_failed(const struct webhook_call *c, struct err *e, bool called)
{
	struct str name = webhook_name(c);
	struct arena *a = c->ad->rq->arena;
	struct str text;

	if (err_is(e, ERR_CANCELED))
		return e;
	if (str_eqz(json_str_at(c->hook, "failurePolicy"), "Ignore")) {
		err_log(NULL, LOG_WARN, "webhook failed, its failurePolicy lets the request pass",
			e);
		return NULL;
	}
	text = arena_fmt(a, "failed calling webhook \"" STR_FMT "\": %s" STR_FMT, STR_ARG(name),
			 called ? "" : "failed to call webhook: ", STR_ARG(err_msg(e)));
	err_free(e);
	e = err_new(ERR_INTERNAL, "Internal error occurred: " STR_FMT, STR_ARG(text));
	err_add_cause(e, STR_EMPTY, STR_EMPTY, text);
	return e;
}

struct err *webhook_review(const struct webhook_call *c, struct json **ret_patch)
{
	struct arena *a = c->ad->rq->arena;
	struct str uid = rand_uuid(a);
	struct json *review = NULL;
	const struct json *r;
	struct err *e;

	*ret_patch = NULL;
	e = webhook_post(c, webhook_question(c, uid), &review);
	if (e)
		return webhook_failed(c, e, false);
	e = webhook_check_answer(review, uid);
	r = json_get(review, "response");
	if (!e && c->mutating)
		e = webhook_patch(c, r, ret_patch);
	if (e)
		return webhook_failed(c, e, true);
	webhook_warnings(c, json_get(r, "warnings"));
	if (!json_bool_at(r, "allowed", false))
		return webhook_denied(c, json_get(r, "status"));
	return NULL;
}
