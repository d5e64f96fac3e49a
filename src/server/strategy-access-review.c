/* SPDX-License-Identifier: Apache-2.0 */

/* SubjectAccessReview and its kin: may somebody do something? */

#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/authz.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/review.h"
#include "server/strategies.h"
#include "json/json.h"

#define MAX_USER_EXTRA 256

/* validation */
static bool operator_is_in(struct str op)
{
	return str_eqz(op, "In") || str_eqz(op, "NotIn");
}

static bool operator_is_exists(struct str op)
{
	return str_eqz(op, "Exists") || str_eqz(op, "DoesNotExist");
}

static void access_check_values(struct arena *a, const struct json *req, struct str path,
				struct err **e)
{
	struct str op = json_str_at(req, "operator"), field = arena_cat(a, path, STR(".values"));
	size_t n = json_len(json_get(req, "values"));

	if (operator_is_in(op) && !n)
		cause_required(e, field, "must be specified when `operator` is 'In' or 'NotIn'");
	if (operator_is_exists(op) && n)
		cause_forbidden(e, field,
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
}

static void access_check_label(struct arena *a, const struct json *req, struct str path,
			       struct err **e)
{
	struct str key = json_str_at(req, "key");
	const char *bad = name_check_qualified(key);

	access_check_values(a, req, path, e);
	if (bad)
		cause_invalid_str(e, arena_cat(a, path, STR(".key")), key, "%s", bad);
	json_for_each(it, json_get(req, "values"))
	{
		bad = name_check_label_value(json_as_str(it.val));
		if (bad)
			cause_invalid_str(e,
					  arena_fmt(a, STR_FMT ".values[%zu]", STR_ARG(path), it.i),
					  json_as_str(it.val), "%s", bad);
	}
}

static void access_check_field(struct arena *a, const struct json *req, struct str path,
			       struct err **e)
{
	if (str_empty(json_str_at(req, "key")))
		cause_required(e, arena_cat(a, path, STR(".key")), "must be specified");
	access_check_values(a, req, path, e);
}

static void access_check_selector(struct arena *a, const struct json *ra, const char *name,
				  void (*check)(struct arena *, const struct json *, struct str,
						struct err **),
				  struct err **e)
{
	const struct json *sel = json_get(ra, name), *reqs = json_get(sel, "requirements");
	struct str path = arena_fmt(a, "spec.resourceAttributes.%s", name);
	struct str raw = json_str_at(sel, "rawSelector");

	if (json_is_null(sel))
		return;
	if (!str_empty(raw) && json_len(reqs))
		cause_invalid_str(e, arena_cat(a, path, STR(".rawSelector")), raw,
				  "may not specified at the same time as requirements");
	if (str_empty(raw) && !json_len(reqs))
		cause_required(e, arena_cat(a, path, STR(".requirements")),
			       arena_fmt(a,
					 "when " STR_FMT
					 " is specified, requirements or rawSelector is required",
					 STR_ARG(path))
				       .p);
	json_for_each(it, reqs) check(
		a, it.val, arena_fmt(a, STR_FMT ".requirements[%zu]", STR_ARG(path), it.i), e);
}

/* Upstream prints the Go struct: its own names. */
static struct json *non_resource_shown(struct arena *a, const struct json *na)
{
	struct json *j = json_object(a);

	json_set_str(a, j, "Path", json_str_at(na, "path"));
	json_set_str(a, j, "Verb", json_str_at(na, "verb"));
	return j;
}

/* True when metadata says more than it may. */
static bool access_has_meta(const struct json *obj, bool local)
{
	json_for_each(it, json_get(obj, "metadata"))
	{
		if (str_eqz(it.key, "managedFields") || (local && str_eqz(it.key, "namespace")))
			continue;
		return true;
	}
	return false;
}

static struct err *access_check(struct api_request *rq, const struct json *obj, bool self,
				bool local)
{
	const struct json *spec = json_get(obj, "spec");
	const struct json *ra = json_get(spec, "resourceAttributes");
	const struct json *na = json_get(spec, "nonResourceAttributes");
	struct arena *a = rq->arena;
	struct err *e = NULL;

	if (!json_is_null(ra) && !json_is_null(na))
		cause_invalid(&e, STR("spec.nonResourceAttributes"), non_resource_shown(a, na),
			      "cannot be specified in combination with resourceAttributes");
	if (json_is_null(ra) && json_is_null(na))
		cause_invalid(&e, STR("spec.resourceAttributes"), NULL,
			      "exactly one of nonResourceAttributes or resourceAttributes must be "
			      "specified");
	if (!self && str_empty(json_str_at(spec, "user")) && !json_len(json_get(spec, "groups")))
		cause_invalid_str(&e, STR("spec.user"), STR_EMPTY,
				  "at least one of user or group must be specified");
	access_check_selector(a, ra, "fieldSelector", access_check_field, &e);
	access_check_selector(a, ra, "labelSelector", access_check_label, &e);
	if (access_has_meta(obj, local))
		cause_invalid(&e, STR("metadata"), json_get(obj, "metadata"), "%s",
			      local ? "must be empty except for namespace" : "must be empty");
	if (local && !json_is_null(ra) && !str_eq(json_str_at(ra, "namespace"), rq->ns))
		cause_invalid_str(&e, STR("spec.resourceAttributes.namespace"),
				  json_str_at(ra, "namespace"), "must match metadata.namespace");
	if (local && !json_is_null(na))
		cause_invalid(&e, STR("spec.nonResourceAttributes"), non_resource_shown(a, na),
			      "disallowed on this kind of request");
	return error_invalid(e, STR("authorization.k8s.io"), STR_EMPTY, STR_EMPTY);
}

/* selectors: as the text a list would carry; what cannot be understood is left out */
struct access_selector {
	struct str text;
	bool ignored, partly;
};

static bool field_requirement(struct buf *b, const struct json *req)
{
	const struct json *values = json_get(req, "values");
	struct str op = json_str_at(req, "operator"), value = json_as_str(json_idx(values, 0));

	if (!operator_is_in(op) || json_len(values) != 1)
		return false;
	buf_addf(b, "%s" STR_FMT "%s", b->n ? "," : "", STR_ARG(json_str_at(req, "key")),
		 str_eqz(op, "In") ? "=" : "!=");
	for (size_t i = 0; i < value.n; i++) {
		if (strchr("\\,=", value.p[i]) && value.p[i])
			buf_addc(b, '\\');
		buf_addc(b, value.p[i]);
	}
	return true;
}

static bool label_requirement(struct buf *b, const struct json *req)
{
	struct str op = json_str_at(req, "operator"), key = json_str_at(req, "key");
	const char *sep = b->n ? "," : "";

	if (operator_is_exists(op)) {
		buf_addf(b, "%s%s" STR_FMT, sep, str_eqz(op, "Exists") ? "" : "!", STR_ARG(key));
		return true;
	}
	if (!operator_is_in(op))
		return false;
	buf_addf(b, "%s" STR_FMT " %s (", sep, STR_ARG(key), str_eqz(op, "In") ? "in" : "notin");
	json_for_each(it, json_get(req, "values"))
		buf_addf(b, "%s" STR_FMT, it.i ? "," : "", STR_ARG(json_as_str(it.val)));
	buf_addc(b, ')');
	return true;
}

static struct access_selector access_selector(struct arena *a, const struct json *sel, bool fields)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct access_selector r = { .text = json_str_at(sel, "rawSelector") };
	struct selector *parsed = NULL;
	struct err *e = NULL;

	if (!str_empty(r.text)) {
		e = fields ? field_selector_parse(a, r.text, &parsed)
			   : label_selector_parse(a, r.text, &parsed);
		r.ignored = e != NULL;
		err_free(e);
		if (r.ignored)
			r.text = STR_EMPTY;
		return r;
	}
	json_for_each(it, json_get(sel, "requirements"))
	{
		bool ok = fields ? field_requirement(&b, it.val) : label_requirement(&b, it.val);

		r.ignored |= !ok;
	}
	r.partly = r.ignored && b.n;
	r.text = buf_to_arena(&b, a);
	return r;
}

static void access_problem(struct buf *b, const struct access_selector *s, const char *name)
{
	if (s->ignored)
		buf_addf(b, "%sspec.resourceAttributes.%s %signored due to parse error",
			 b->n ? "; " : "", name, s->partly ? "partially " : "");
}

/* evaluation */
static struct str non_empty_version(struct str v)
{
	return str_empty(v) ? STR("*") : v;
}

static struct authz_attrs access_attrs(struct arena *a, const struct json *spec,
				       const struct user_info *user, struct buf *problems)
{
	const struct json *ra = json_get(spec, "resourceAttributes");
	const struct json *na = json_get(spec, "nonResourceAttributes");
	struct access_selector fields, labels;

	if (json_is_null(ra))
		return (struct authz_attrs){
			.user = user,
			.verb = json_str_at(na, "verb"),
			.path = json_str_at(na, "path"),
		};
	fields = access_selector(a, json_get(ra, "fieldSelector"), true);
	labels = access_selector(a, json_get(ra, "labelSelector"), false);
	access_problem(problems, &fields, "fieldSelector");
	access_problem(problems, &labels, "labelSelector");
	return (struct authz_attrs){
		.user = user,
		.verb = json_str_at(ra, "verb"),
		.is_resource = true,
		.group = json_str_at(ra, "group"),
		.version = non_empty_version(json_str_at(ra, "version")),
		.resource = json_str_at(ra, "resource"),
		.sub = json_str_at(ra, "subresource"),
		.ns = json_str_at(ra, "namespace"),
		.name = json_str_at(ra, "name"),
		.field_selector = fields.text,
		.label_selector = labels.text,
	};
}

static void access_evaluate(struct api_request *rq, struct json *obj, const struct user_info *user)
{
	_cleanup_buf_ struct buf problems = { 0 };
	struct arena *a = rq->arena;
	struct json *status = json_object(a);
	struct authz_attrs at = access_attrs(a, json_get(obj, "spec"), user, &problems);
	struct str reason;
	bool ok = authz_allowed(rq->server->authz, a, &at, &reason);

	json_set_bool(a, status, "allowed", ok);
	if (!str_empty(reason))
		json_set_str(a, status, "reason", reason);
	if (problems.n)
		json_set_str(a, status, "evaluationError", buf_to_arena(&problems, a));
	json_set(a, obj, "status", status);
}

static struct str *access_strs(struct arena *a, const struct json *arr, size_t *ret_n)
{
	struct str *v = arena_array(a, json_len(arr) + 1, sizeof(*v));

	*ret_n = 0;
	json_for_each(it, arr) v[(*ret_n)++] = json_as_str(it.val);
	return v;
}

static void access_user_extra(struct arena *a, const struct json *extra, struct user_info *u)
{
	struct user_extra *x = arena_array(a, json_len(extra) + 1, sizeof(*x));

	json_for_each(it, extra)
	{
		struct user_extra *one = &x[u->n_extra];

		if (u->n_extra++ == MAX_USER_EXTRA)
			break;
		one->key = it.key;
		one->values = access_strs(a, it.val, &one->n_values);
	}
	u->extra = x;
}

static struct err *subjectaccess_answer(struct api_request *rq, struct json *obj, struct json **ret)
{
	const struct json *spec = json_get(obj, "spec");
	struct user_info user = { .name = json_str_at(spec, "user"),
				  .uid = json_str_at(spec, "uid") };

	TRY(review_begin(rq, obj));
	TRY(access_check(rq, obj, false, rq->res->namespaced));
	user.groups = access_strs(rq->arena, json_get(spec, "groups"), &user.n_groups);
	access_user_extra(rq->arena, json_get(spec, "extra"), &user);
	access_evaluate(rq, obj, &user);
	*ret = obj;
	return NULL;
}

const struct strategy subjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = subjectaccess_answer,
};

const struct strategy localsubjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = subjectaccess_answer,
};

static struct err *selfsubjectaccess_answer(struct api_request *rq, struct json *obj,
					    struct json **ret)
{
	TRY(review_begin(rq, obj));
	TRY(access_check(rq, obj, true, false));
	access_evaluate(rq, obj, &rq->user);
	*ret = obj;
	return NULL;
}

const struct strategy selfsubjectaccessreview_strategy = {
	.virtual_kind = true,
	.answer = selfsubjectaccess_answer,
};
