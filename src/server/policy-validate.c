/* SPDX-License-Identifier: Apache-2.0 */

/* ValidatingAdmissionPolicy. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/audit.h"
#include "server/policy-set.h"
#include "server/policy.h"
#include "server/server.h"
#include "json/json.h"

#define MESSAGE_MAX    (5 * 1024)
#define ANNOTATION_MAX (10 * 1024)

static struct policy_set policies = {
	.policies_gr = "validatingadmissionpolicies.admissionregistration.k8s.io",
	.bindings_gr = "validatingadmissionpolicybindings.admissionregistration.k8s.io",
};

/* One policy, binding and parameter over one request. */
struct verdict {
	struct admission *ad;
	const struct policy_call *call;
	struct policy_run run;
	struct err *denied; /* the first of all calls */
};

/* ---- what a failed validation leads to */

static int deny_code(struct str reason)
{
	if (str_eqz(reason, "Forbidden"))
		return 403;
	if (str_eqz(reason, "Unauthorized"))
		return 401;
	return str_eqz(reason, "RequestEntityTooLarge") ? 413 : 422;
}

static void verdict_deny(struct verdict *v, struct str message, struct str reason)
{
	const struct policy_call *c = v->call;
	struct arena *a = v->ad->rq->arena;
	struct str text, with = STR_EMPTY;

	if (v->denied)
		return;
	if (!reason.n)
		reason = STR("Invalid");
	if (c->binding)
		with = arena_fmt(a, " with binding '" STR_FMT "'", STR_ARG(c->binding->obj->name));
	text = arena_fmt(
		a, "ValidatingAdmissionPolicy '" STR_FMT "'" STR_FMT " denied request: " STR_FMT,
		STR_ARG(c->policy->obj->name), STR_ARG(with), STR_ARG(message));
	v->denied = admission_deny(v->ad, STR_FMT, STR_ARG(text));
	v->denied = err_recode(v->denied, err_code_from_reason(reason, deny_code(reason)));
	v->denied = err_set_status(err_set_reason(v->denied, reason), deny_code(reason));
	err_add_cause(v->denied, STR_EMPTY, STR_EMPTY, text);
}

static void verdict_audit(struct verdict *v, size_t index, struct str message)
{
	const struct policy_call *c = v->call;
	struct arena *a = v->ad->rq->arena;
	struct json *list = json_array(a), *f = json_object(a);

	json_set_str(a, f, "message", message);
	json_set_str(a, f, "policy", c->policy->obj->name);
	json_set_str(a, f, "binding", c->binding->obj->name);
	json_set_int(a, f, "expressionIndex", (int64_t)index);
	json_set(a, f, "validationActions", json_copy(a, c->binding->actions));
	json_push(list, f);
	audit_annotate(v->ad->rq, "validation.policy.admission.k8s.io/validation_failure",
		       json_text(a, list));
}

static void verdict_act(struct verdict *v, size_t index, struct str message, struct str reason)
{
	json_for_each(it, v->call->binding->actions)
	{
		struct str action = json_as_str(it.val);

		if (str_eqz(action, "Deny"))
			verdict_deny(v, message, reason);
		else if (str_eqz(action, "Audit"))
			verdict_audit(v, index, message);
		else if (str_eqz(action, "Warn"))
			request_warn(v->ad->rq,
				     "Validation failed for ValidatingAdmissionPolicy '" STR_FMT
				     "' with binding '" STR_FMT "': " STR_FMT,
				     STR_ARG(v->call->policy->obj->name),
				     STR_ARG(v->call->binding->obj->name), STR_ARG(message));
	}
}

/* An error where failurePolicy decides. */
static void verdict_error(struct verdict *v, size_t index, struct str text)
{
	if (!v->call->policy->ignore)
		verdict_act(v, index, text, STR_EMPTY);
}

/* ---- validations */

static struct str message_of(struct verdict *v, const struct policy_validation *x)
{
	struct str text = STR_EMPTY, why;
	struct cel_val val;

	if (x->message_expr.text.n &&
	    policy_eval(&v->run, &x->message_expr, &val, &why) == POLICY_OK &&
	    val.kind == CEL_STRING)
		text = str_trim(val.s);
	if (text.n > MESSAGE_MAX || str_contains(text, STR("\n")))
		text = STR_EMPTY;
	if (!text.n)
		text = x->message;
	if (text.n)
		return text;
	return arena_fmt(v->run.a, "failed expression: " STR_FMT, STR_ARG(str_trim(x->expr.text)));
}

static void verdict_validations(struct verdict *v)
{
	const struct policy *p = v->call->policy;

	for (size_t i = 0; i < p->n_validations; i++) {
		const struct policy_validation *x = &p->validations[i];
		struct str text = STR_EMPTY;
		struct cel_val val;
		enum policy_outcome o = policy_eval(&v->run, &x->expr, &val, &text);

		if (o != POLICY_OK)
			verdict_error(v, i, text);
		else if (val.kind != CEL_BOOL || !val.b)
			verdict_act(v, i, message_of(v, x), x->reason);
		if (o == POLICY_OUT_OF_BUDGET)
			return;
	}
}

/* ---- audit annotations */

/* Of one policy, over its bindings and parameters: values by key, each once. */
static void annotation_add(struct arena *a, struct json *all, struct str key, struct str val)
{
	struct json *list = json_get_s(all, key);

	if (!list) {
		list = json_array(a);
		json_set_s(a, all, key, list);
	}
	json_for_each(it, list)
	{
		if (str_eq(json_as_str(it.val), val))
			return;
	}
	json_push(list, json_str(a, val));
}

static void verdict_annotations(struct verdict *v, struct json *all)
{
	const struct policy *p = v->call->policy;

	v->run.budget = POLICY_BUDGET;
	for (size_t i = 0; i < p->n_annotations; i++) {
		const struct policy_annotation *x = &p->annotations[i];
		struct str text = STR_EMPTY, val_text;
		struct cel_val val;
		enum policy_outcome o = policy_eval(&v->run, &x->expr, &val, &text);

		if (o != POLICY_OK) {
			if (!p->ignore)
				verdict_deny(v, text, STR_EMPTY);
			continue;
		}
		val_text = val.kind == CEL_STRING ? str_trim(val.s) : STR_EMPTY;
		if (val_text.n)
			annotation_add(v->run.a, all, x->key, str_sub(val_text, 0, ANNOTATION_MAX));
	}
}

static void annotations_publish(struct admission *ad, struct str policy, const struct json *all)
{
	struct arena *a = ad->rq->arena;

	json_for_each(it, all)
	{
		_cleanup_buf_ struct buf b = { 0 };

		json_for_each(v, it.val)
			buf_addf(&b, "%s" STR_FMT, v.i ? ", " : "", STR_ARG(json_as_str(v.val)));
		audit_annotate(
			ad->rq,
			arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(policy), STR_ARG(it.key)).p,
			buf_to_arena(&b, a));
	}
}

/* ---- one call, and all of them */

static struct err *verdict_run(struct verdict *v, const struct json *ns, struct json *all)
{
	const struct policy_call *c = v->call;
	struct policy_input in = { .view = &c->view, .params = c->param, .ns = ns };
	struct json *obj = NULL, *old = NULL;
	struct str text = STR_EMPTY;
	bool match = false;

	TRY(hook_view_obj(v->ad, &c->view, v->ad->obj, &obj));
	TRY(hook_view_obj(v->ad, &c->view, v->ad->old, &old));
	in.obj = obj;
	in.old = old;
	policy_run_init(&v->run, v->ad, &in, CONDITIONS_BUDGET);
	if (policy_conditions_match(&v->run, &c->policy->conditions, c->policy->ignore, &match,
				    &text) != POLICY_OK) {
		verdict_error(v, 0, text);
		return NULL;
	}
	if (!match)
		return NULL;
	v->run.budget = POLICY_BUDGET;
	verdict_validations(v);
	verdict_annotations(v, all);
	return NULL;
}

static struct err *validate_calls(struct admission *ad, struct policy_call *v, size_t n,
				  struct verdict *ver)
{
	struct json *all = json_object(ad->rq->arena);
	const struct json *ns = NULL;

	TRY(policy_namespace(ad, &ns));
	for (size_t i = 0; i < n; i++) {
		ver->call = &v[i];
		if (!v[i].problem.n)
			TRY(verdict_run(ver, ns, all));
		else if (!v[i].policy->ignore)
			verdict_deny(ver, v[i].problem, STR_EMPTY);
		if (i + 1 < n && v[i + 1].policy == v[i].policy)
			continue;
		annotations_publish(ad, v[i].policy->obj->name, all);
		all = json_object(ad->rq->arena);
	}
	return NULL;
}

static struct err *validating_run(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct verdict *ver = arena_new_obj(ad->rq->arena, struct verdict);
	struct policy_call *v = NULL;
	struct err *e;
	size_t n = 0;

	TRY(policy_set_calls(&policies, ad, &v, &n));
	if (!n)
		return NULL;
	ver->ad = ad;
	e = validate_calls(ad, v, n, ver);
	if (!e)
		return ver->denied;
	err_free(ver->denied);
	return e;
}

static bool validating_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return policy_set_wants(&policies, ad);
}

struct admission_plugin validating_policy_plugin = {
	.name = "ValidatingAdmissionPolicy",
	.wants = validating_wants,
	.validate = validating_run,
};

struct err *validating_policy_start(struct apiserver *s)
{
	return policy_set_start(&policies, s);
}
