/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook-review.h"
#include "server/audit.h"

#include "api/gvk.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rand.h"
#include "server/admission.h"
#include "server/hook-call.h"
#include "server/object.h"
#include "server/server.h"
#include "json/json.h"

static struct str webhook_name(const struct webhook_call *c)
{
	return json_str_at(c->hook, "name");
}

static bool webhook_ignores(const struct webhook_call *c)
{
	return str_eqz(json_str_at(c->hook, "failurePolicy"), "Ignore");
}

struct err *webhook_internal(struct arena *a, const char *fmt, ...)
{
	struct str text;
	struct err *e;
	va_list ap;

	va_start(ap, fmt);
	text = arena_vfmt(a, fmt, ap);
	va_end(ap);
	e = err_new(ERR_INTERNAL, "Internal error occurred: " STR_FMT, STR_ARG(text));
	err_add_cause(e, STR_EMPTY, STR_EMPTY, text);
	return e;
}

/* ---- the question */

static void webhook_member(struct buf *b, const char *name, const struct json *v)
{
	buf_addf(b, ",\"%s\":", name);
	if (v)
		json_write(b, v);
	else
		buf_addz(b, "null");
}

/* Written by hand around the objects, which are not copied. */
static struct str webhook_question(const struct webhook_call *c, const char *version,
				   struct str uid)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/%s\",",
		 version);
	buf_addz(&b, "\"request\":");
	json_write(&b, hook_request(c->ad, &c->view, uid));
	b.n--; /* its closing brace comes at the end */
	webhook_member(&b, "object", c->obj);
	webhook_member(&b, "oldObject", c->old);
	buf_addf(&b, ",\"dryRun\":%s", c->ad->dry_run ? "true" : "false");
	webhook_member(&b, "options", c->ad->options);
	buf_addz(&b, "}}\n");
	return buf_to_arena(&b, c->ad->rq->arena);
}

/* The first of the versions it names that we know; NULL: none. */
static const char *webhook_version(const struct webhook_call *c)
{
	json_for_each(it, json_get(c->hook, "admissionReviewVersions"))
	{
		if (str_eqz(json_as_str(it.val), "v1"))
			return "v1";
		if (str_eqz(json_as_str(it.val), "v1beta1"))
			return "v1beta1";
	}
	return NULL;
}

/* ---- the answer */

static struct err *webhook_check_patch(const struct webhook_call *c, const struct json *r)
{
	const struct json *type = json_get(r, "patchType");
	bool patch = json_str_at(r, "patch").n != 0;

	if (!c->mutating && patch)
		return err_new(ERR_INTERNAL, "validating webhook may not return response.patch");
	if (!c->mutating && !json_is_null(type))
		return err_new(ERR_INTERNAL,
			       "validating webhook may not return response.patchType");
	if (patch && json_is_null(type))
		return err_new(ERR_INTERNAL,
			       "webhook returned response.patch but not response.patchType");
	if (!patch && !json_is_null(type))
		return err_new(ERR_INTERNAL,
			       "webhook returned response.patchType but not response.patch");
	if (patch && !json_as_str(type).n)
		return err_new(ERR_INTERNAL, "webhook returned invalid response.patchType of \"\"");
	return NULL;
}

/* Words for a group, version and kind as upstream prints them. */
static struct str webhook_gvk_text(struct arena *a, const struct json *review)
{
	struct str api = json_str_at(review, "apiVersion"), group = STR_EMPTY, version = STR_EMPTY;

	if (api.n)
		gv_parse(api, &group, &version);
	return arena_fmt(a, STR_FMT "/" STR_FMT ", Kind=" STR_FMT, STR_ARG(group), STR_ARG(version),
			 STR_ARG(json_str_at(review, "kind")));
}

static struct err *webhook_check_answer(const struct webhook_call *c, const char *version,
					const struct json *review, struct str uid)
{
	const struct json *r = json_get(review, "response");
	struct str got = webhook_gvk_text(c->ad->rq->arena, review);

	if (!json_is(r, JSON_OBJECT))
		return err_new(ERR_INTERNAL, "webhook response was absent");
	if (str_eqz(str_from(version), "v1beta1"))
		return NULL;
	if (!str_eq(json_str_at(r, "uid"), uid))
		return err_new(ERR_INTERNAL,
			       "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"",
			       STR_ARG(uid), STR_ARG(json_str_at(r, "uid")));
	if (!str_eqz(got, "admission.k8s.io/v1, Kind=AdmissionReview"))
		return err_new(ERR_INTERNAL,
			       "expected webhook response of admission.k8s.io/v1, "
			       "Kind=AdmissionReview, got " STR_FMT,
			       STR_ARG(got));
	return webhook_check_patch(c, r);
}

static void webhook_denied_details(struct err *e, const struct json *status)
{
	const struct json *d = json_get(status, "details");

	if (!d)
		return;
	err_details(e, json_str_at(d, "group"), json_str_at(d, "kind"), json_str_at(d, "name"));
	if (json_str_at(d, "uid").n)
		err_uid(e, json_str_at(d, "uid"));
	if (json_int_at(d, "retryAfterSeconds", 0) > 0)
		err_retry_after(e, (int)json_int_at(d, "retryAfterSeconds", 0));
	json_for_each(it, json_get(d, "causes"))
		err_add_cause(e, json_str_at(it.val, "field"), json_str_at(it.val, "reason"),
			      json_str_at(it.val, "message"));
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
	if (code < 400 || code > 999)
		code = 400;
	e = err_recode(e, err_code_from_reason(reason, (int)code));
	e = err_set_status(err_set_reason(e, reason), (int)code);
	webhook_denied_details(e, status);
	return e;
}

static struct err *webhook_patch(const struct webhook_call *c, const struct json *r,
				 struct json **ret)
{
	struct arena *a = c->ad->rq->arena;
	struct str text = json_str_at(r, "patch"), ops;

	if (!text.n)
		return NULL;
	if (!base64_decode(a, text, &ops))
		return err_new(ERR_INTERNAL, "illegal base64 data in the patch");
	TRY(json_parse(a, ops, ret));
	if (!json_is(*ret, JSON_ARRAY))
		return err_new(ERR_INTERNAL,
			       "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
			       json_type_name(*ret));
	if (!json_len(*ret))
		return NULL;
	if (!json_str_at(r, "patchType").n || str_eqz(json_str_at(r, "patchType"), "JSONPatch"))
		return NULL;
	return err_new(ERR_INTERNAL, "unsupported patch type \"" STR_FMT "\"",
		       STR_ARG(json_str_at(r, "patchType")));
}

/* ---- what the audit log is told */

static const char *webhook_audit_key(const struct webhook_call *c, const char *prefix)
{
	return arena_fmt(c->ad->rq->arena, "%s.webhook.admission.k8s.io/round_%d_index_%zu", prefix,
			 c->mutating && c->ad->reinvoked ? 1 : 0, c->index)
		.p;
}

static struct json *webhook_audit_value(const struct webhook_call *c)
{
	struct json *v = json_object(c->ad->rq->arena);

	json_set_str(c->ad->rq->arena, v, "configuration", c->config);
	json_set_str(c->ad->rq->arena, v, "webhook", webhook_name(c));
	return v;
}

static void webhook_audit_failure(const struct webhook_call *c)
{
	if (c->ad->rq->audit)
		audit_annotate(c->ad->rq,
			       webhook_audit_key(c, c->mutating ? "failed-open.mutation"
								: "failed-open.validating"),
			       webhook_name(c));
}

void webhook_audit_mutation(const struct webhook_call *c, const struct json *patch, bool changed)
{
	struct arena *a = c->ad->rq->arena;
	struct json *v;

	if (!c->ad->rq->audit)
		return;
	v = webhook_audit_value(c);
	json_set_bool(a, v, "mutated", changed);
	audit_annotate(c->ad->rq, webhook_audit_key(c, "mutation"), json_text(a, v));
	if (!patch || !audit_has_bodies(c->ad->rq))
		return;
	v = webhook_audit_value(c);
	json_set(a, v, "patch", json_copy(a, patch));
	json_set_str(a, v, "patchType", STR("JSONPatch"));
	audit_annotate(c->ad->rq, webhook_audit_key(c, "patch"), json_text(a, v));
}

/* The webhook's own annotations, under its name. */
static void webhook_audit_answer(const struct webhook_call *c, const struct json *r)
{
	struct arena *a = c->ad->rq->arena;

	if (!c->ad->rq->audit)
		return;
	json_for_each(it, json_get(r, "auditAnnotations"))
	{
		if (!it.key.n || str_find_char(it.key, '/', 0) < it.key.n ||
		    !json_is(it.val, JSON_STR))
			continue;
		audit_annotate(
			c->ad->rq,
			arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(webhook_name(c)), STR_ARG(it.key))
				.p,
			json_as_str(it.val));
	}
}

/* A failed call: let through, or refuse as upstream words it. */
static struct err *webhook_failed(const struct webhook_call *c, struct err *e, const char *how)
{
	struct arena *a = c->ad->rq->arena;
	struct str text;

	if (err_is(e, ERR_CANCELED))
		return e;
	if (webhook_ignores(c)) {
		err_log(NULL, LOG_WARN, "webhook failed, its failurePolicy lets the request pass",
			e);
		webhook_audit_failure(c);
		return NULL;
	}
	text = arena_fmt(a, "failed calling webhook \"" STR_FMT "\": %s" STR_FMT,
			 STR_ARG(webhook_name(c)), how, STR_ARG(err_msg(e)));
	err_free(e);
	return webhook_internal(a, STR_FMT, STR_ARG(text));
}

struct err *webhook_review(const struct webhook_call *c, struct json **ret_patch)
{
	struct arena *a = c->ad->rq->arena;
	const char *version = webhook_version(c);
	struct str uid = rand_uuid(a);
	struct hook_call call = { .server = c->ad->rq->server,
				  .arena = a,
				  .client_config = json_get(c->hook, "clientConfig"),
				  .timeout_s = json_int_at(c->hook, "timeoutSeconds", 10),
				  .user_agent = "kube-apiserver-admission" };
	struct json *review = NULL;
	const struct json *r;
	struct err *e;

	*ret_patch = NULL;
	if (!version)
		return webhook_failed(c,
				      err_new(ERR_INTERNAL,
					      "webhook does not accept known AdmissionReview "
					      "versions (v1, v1beta1)"),
				      "could not create admission objects: ");
	call.body = webhook_question(c, version, uid);
	e = hook_post(&call, &review);
	if (e)
		return webhook_failed(c, e, "failed to call webhook: ");
	e = webhook_check_answer(c, version, review, uid);
	if (e)
		return webhook_failed(c, e, "received invalid webhook response: ");
	r = json_get(review, "response");
	webhook_audit_answer(c, r);
	json_for_each(it, json_get(r, "warnings")) if (json_as_str(it.val).n)
		request_warn(c->ad->rq, STR_FMT, STR_ARG(json_as_str(it.val)));
	if (!json_bool_at(r, "allowed", false))
		return webhook_denied(c, json_get(r, "status"));
	if (c->mutating)
		e = webhook_patch(c, r, ret_patch);
	return e ? webhook_failed(c, e, "received undecodable patch in webhook response: ") : NULL;
}
