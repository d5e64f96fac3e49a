/* SPDX-License-Identifier: Apache-2.0 */

/* Validating and mutating admission policies and their bindings, as objects. */

#include "api/gvk.h"
#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "server/errors.h"
#include "server/hook-config.h"
#include "server/policy-expr.h"
#include "server/policy-prepare.h"
#include "server/policy.h"
#include "server/request.h"
#include "server/table.h"
#include "server/warn.h"
#include "json/json.h"

#define ANNOTATIONS_MAX           20
#define ANNOTATION_EXPRESSION_MAX (5 * 1024)

struct policy_check {
	struct err **e;
	struct arena *a;
	struct str name; /* of the policy */
	const struct json *spec;
	const struct json *old; /* its spec, on an update */
	struct cel_env *env, *message_env;
};

static struct str at(const struct policy_check *c, const char *path, size_t i, const char *member)
{
	return arena_fmt(c->a, "spec.%s[%zu]%s%s", path, i, *member ? "." : "", member);
}

/* ---- expressions */

static void check_expr(struct policy_check *c, struct cel_env *env, struct str text,
		       enum policy_type type, struct str field)
{
	struct policy_expr x;

	policy_expr_compile(&x, env, c->a, text, type);
	if (!x.prog)
		cause_invalid_str(c->e, field, text, STR_FMT, STR_ARG(x.issue));
	policy_expr_fini(&x);
}

static bool cel_reserved(struct str s)
{
	static const char *const words[] = { "true",     "false",     "null",     "in",   "as",
					     "break",    "const",     "continue", "else", "for",
					     "function", "if",        "import",   "let",  "loop",
					     "package",  "namespace", "return",   "var",  "void",
					     "while" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eqz(s, words[i]))
			return true;
	return false;
}

static bool cel_identifier(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_';

		if (!letter && (i == 0 || ch < '0' || ch > '9'))
			return false;
	}
	return s.n && !cel_reserved(s);
}

/* Each is there for those after it. */
static void check_variable(struct policy_check *c, const struct json *v, size_t i)
{
	struct str name = json_str_at(v, "name"), text = json_str_at(v, "expression");
	struct policy_expr x;

	if (!str_trim(name).n)
		cause_required(c->e, at(c, "variables", i, "name"), "name is not specified");
	else if (!cel_identifier(name))
		cause_invalid_str(c->e, at(c, "variables", i, "name"), name,
				  "must be a valid CEL identifier");
	if (!str_trim(text).n) {
		cause_required(c->e, at(c, "variables", i, "expression"),
			       "expression is not specified");
		return;
	}
	policy_expr_compile(&x, c->env, c->a, text, POLICY_ANY);
	if (!x.prog)
		cause_invalid_str(c->e, at(c, "variables", i, "expression"), text, STR_FMT,
				  STR_ARG(x.issue));
	if (cel_identifier(name))
		cel_env_add_variable(c->env, name, x.prog, x.issue);
	policy_expr_fini(&x);
	if (!c->message_env || !cel_identifier(name))
		return;
	policy_expr_compile(&x, c->message_env, c->a, text, POLICY_ANY);
	cel_env_add_variable(c->message_env, name, x.prog, x.issue);
	policy_expr_fini(&x);
}

/* Conditions see no variables. */
static void check_conditions(struct policy_check *c, bool mutating)
{
	const struct json *list = json_get(c->spec, "matchConditions");
	unsigned flags = policy_env_flags(c->spec, false) & ~(unsigned)CEL_WITH_VARIABLES;
	struct cel_env *env;

	(void)mutating;
	if (c->old && json_equal(list, json_get(c->old, "matchConditions")) &&
	    json_equal(json_get(c->spec, "paramKind"), json_get(c->old, "paramKind")))
		return;
	hook_check_condition_names(c->e, c->a, list, STR("spec.matchConditions"));
	if (!json_len(list))
		return;
	env = cel_env_admission(flags);
	json_for_each(it, list)
	{
		struct str text = str_trim(json_str_at(it.val, "expression"));

		if (text.n)
			check_expr(c, env, text, POLICY_BOOL,
				   at(c, "matchConditions", it.i, "expression"));
	}
	cel_env_unref(env);
}

/* ---- validations */

static void check_message(struct policy_check *c, const struct json *v, size_t i)
{
	const struct json *message = json_get(v, "message");
	struct str text = json_as_str(message), trimmed = str_trim(text);

	if (text.n && !trimmed.n)
		cause_invalid_str(c->e, at(c, "validations", i, "message"), text,
				  "must be non-empty if specified");
	else if (str_contains(trimmed, STR("\n")) || str_contains(trimmed, STR("\r")))
		cause_invalid_str(c->e, at(c, "validations", i, "message"), text,
				  "must not contain line breaks");
}

static void check_validation(struct policy_check *c, const struct json *v, size_t i)
{
	static const char *const reasons[] = { "Forbidden", "Invalid", "RequestEntityTooLarge",
					       NULL };
	struct str text = json_str_at(v, "expression");
	struct str message = json_str_at(v, "messageExpression");

	if (!str_trim(text).n)
		cause_required(c->e, at(c, "validations", i, "expression"),
			       "expression is not specified");
	else
		check_expr(c, c->env, text, POLICY_BOOL, at(c, "validations", i, "expression"));
	if (message.n && !str_trim(message).n)
		cause_invalid_str(c->e, at(c, "validations", i, "messageExpression"), message,
				  "must be non-empty if specified");
	else if (message.n)
		check_expr(c, c->message_env, message, POLICY_STRING,
			   at(c, "validations", i, "messageExpression"));
	check_message(c, v, i);
	hook_check_enum(c->e, c->a, v, "reason", at(c, "validations", i, ""), reasons, false);
}

static void check_annotation(struct policy_check *c, const struct json *list, size_t i)
{
	const struct json *v = json_idx(list, i);
	struct str key = json_str_at(v, "key"), text = json_str_at(v, "valueExpression");
	struct str full = arena_fmt(c->a, STR_FMT "/" STR_FMT, STR_ARG(c->name), STR_ARG(key));
	const char *bad = name_check_qualified(full);

	if (bad)
		cause_invalid_str(c->e, at(c, "auditAnnotations", i, "key"), full, "%s", bad);
	if (!str_trim(text).n)
		cause_required(c->e, at(c, "auditAnnotations", i, "valueExpression"),
			       "valueExpression is not specified");
	else if (str_trim(text).n > ANNOTATION_EXPRESSION_MAX)
		cause_required(c->e, at(c, "auditAnnotations", i, "valueExpression"),
			       "must not exceed 5120 bytes in length");
	else
		check_expr(c, c->env, str_trim(text), POLICY_STRING_OR_NULL,
			   at(c, "auditAnnotations", i, "valueExpression"));
	for (size_t k = 0; k < i; k++) {
		if (!json_equal(json_get(json_idx(list, k), "key"), json_get(v, "key")))
			continue;
		cause_duplicate(c->e, at(c, "auditAnnotations", i, "key"), json_get(v, "key"));
		return;
	}
}

static void check_validating(struct policy_check *c)
{
	const struct json *validations = json_get(c->spec, "validations");
	const struct json *annotations = json_get(c->spec, "auditAnnotations");
	const char *none = "validations or auditAnnotations must contain at least one item";

	if (!json_len(validations) && !json_len(annotations)) {
		cause_required(c->e, STR("spec.validations"), none);
		cause_required(c->e, STR("spec.auditAnnotations"), none);
		return;
	}
	json_for_each(it, validations) check_validation(c, it.val, it.i);
	if (json_len(annotations) > ANNOTATIONS_MAX)
		cause_invalid(c->e, STR("spec.auditAnnotations"), annotations,
			      "must not have more than %d auditAnnotations", ANNOTATIONS_MAX);
	json_for_each(it, annotations) check_annotation(c, annotations, it.i);
}

/* ---- mutations */

static void check_patch(struct policy_check *c, const struct json *m, size_t i, const char *own,
			const char *other, const char *type)
{
	struct str text = str_trim(json_str_at(json_get(m, own), "expression"));
	bool apply = str_eqz(str_from(type), "ApplyConfiguration");

	if (!json_get(m, own))
		cause_required(c->e, at(c, "mutations", i, own),
			       arena_fmt(c->a, "must be specified when patchType is %s", type).p);
	else if (!text.n)
		cause_required(c->e, hook_field(c->a, at(c, "mutations", i, own), "expression"),
			       NULL);
	else
		check_expr(c, c->env, text, apply ? POLICY_OBJECT : POLICY_PATCHES,
			   hook_field(c->a, at(c, "mutations", i, own), "expression"));
	if (json_get(m, other))
		cause_invalid_str(c->e, at(c, "mutations", i, other),
				  arena_fmt(c->a, "{%s}", other),
				  "must not be specified when patchType is %s", type);
}

static void check_mutation(struct policy_check *c, const struct json *m, size_t i)
{
	static const char *const types[] = { "ApplyConfiguration", "JSONPatch", NULL };
	struct str type = json_str_at(m, "patchType");

	if (str_eqz(type, "JSONPatch"))
		check_patch(c, m, i, "jsonPatch", "applyConfiguration", "JSONPatch");
	else if (str_eqz(type, "ApplyConfiguration"))
		check_patch(c, m, i, "applyConfiguration", "jsonPatch", "ApplyConfiguration");
	else
		hook_check_enum(c->e, c->a, m, "patchType", at(c, "mutations", i, ""), types, true);
}

static void check_mutating(struct policy_check *c)
{
	const struct json *list = json_get(c->spec, "mutations");

	if (!json_len(list))
		cause_required(c->e, STR("spec.mutations"),
			       "mutations must contain at least one item");
	json_for_each(it, list) check_mutation(c, it.val, it.i);
	hook_check_enum(c->e, c->a, c->spec, "reinvocationPolicy", STR("spec"),
			hook_reinvocation_policies, true);
}

/* ---- both */

static void check_param_kind(struct policy_check *c, const struct json *kind)
{
	struct str api = json_str_at(kind, "apiVersion"), name = json_str_at(kind, "kind");
	struct str group = STR_EMPTY, version = STR_EMPTY, field = STR("spec.paramKind.apiVersion");
	const char *bad;

	if (!api.n) {
		cause_required(c->e, field, NULL);
	} else if (!gv_parse(api, &group, &version)) {
		cause_invalid_str(c->e, field, api, "unexpected GroupVersion string: " STR_FMT,
				  STR_ARG(api));
	} else {
		bad = group.n ? name_check_dns_subdomain(group) : NULL;
		if (bad)
			cause_invalid_str(c->e, field, group, "%s", bad);
		bad = version.n ? name_check_dns1035_label(version) : NULL;
		if (!version.n)
			cause_invalid_str(c->e, field, api, "version must be specified");
		else if (bad)
			cause_invalid_str(c->e, field, version, "%s", bad);
	}
	if (!name.n)
		cause_required(c->e, STR("spec.paramKind.kind"), NULL);
}

static void check_constraints(struct policy_check *c, bool mutating)
{
	const struct json *m = json_get(c->spec, "matchConstraints");
	struct str base = STR("spec.matchConstraints");

	if (json_is_null(m)) {
		cause_required(c->e, base, NULL);
		return;
	}
	hook_check_match(c->e, c->a, m, base);
	if (!json_len(json_get(m, "resourceRules")))
		cause_required(c->e, STR("spec.matchConstraints.resourceRules"), NULL);
	if (mutating)
		hook_check_no_delete(c->e, c->a, m, base);
}

static void check_policy(struct api_request *rq, const struct json *obj, const struct json *old,
			 bool mutating, struct err **e)
{
	struct policy_check c = {
		.e = e,
		.a = rq->arena,
		.name = rq->name,
		.spec = json_get(obj, "spec"),
		.old = json_get(old, "spec"),
	};
	unsigned flags = policy_env_flags(c.spec, mutating);

	c.env = cel_env_admission(flags);
	if (!mutating)
		c.message_env = cel_env_admission(flags & ~(unsigned)CEL_WITH_AUTHORIZER);
	hook_check_enum(e, c.a, c.spec, "failurePolicy", STR("spec"), hook_failure_policies, true);
	if (json_get(c.spec, "paramKind"))
		check_param_kind(&c, json_get(c.spec, "paramKind"));
	check_constraints(&c, mutating);
	check_conditions(&c, mutating);
	json_for_each(it, json_get(c.spec, "variables")) check_variable(&c, it.val, it.i);
	if (mutating)
		check_mutating(&c);
	else
		check_validating(&c);
	cel_env_unref(c.env);
	if (c.message_env)
		cel_env_unref(c.message_env);
}

/* On updates validate_update does it, which knows what was there. */
static struct err *policy_prepare_create(struct api_request *rq, struct json *obj UNUSED)
{
	rq->strategy_data = rq;
	return NULL;
}

static void validating_policy_validate(struct api_request *rq, const struct json *obj,
				       struct err **e)
{
	if (rq->strategy_data == rq)
		check_policy(rq, obj, NULL, false, e);
}

static void validating_policy_update(struct api_request *rq, const struct json *obj,
				     const struct json *old, struct err **e)
{
	if (!rq->subres && !json_equal(json_get(obj, "spec"), json_get(old, "spec")))
		check_policy(rq, obj, old, false, e);
}

static void mutating_policy_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	if (rq->strategy_data == rq)
		check_policy(rq, obj, NULL, true, e);
}

static void mutating_policy_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	if (!json_equal(json_get(obj, "spec"), json_get(old, "spec")))
		check_policy(rq, obj, old, true, e);
}

static void policy_cell(struct arena *a, const struct json *obj, struct str column,
			struct json *cells)
{
	const struct json *kind = json_at(obj, "spec.paramKind");

	if (str_eqz(column, "Validations"))
		cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.validations")));
	else if (str_eqz(column, "Mutations"))
		cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.mutations")));
	else if (kind)
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(kind, "apiVersion")),
				   STR_ARG(json_str_at(kind, "kind"))));
	else
		cell_str(a, cells, STR("<unset>"));
}

const struct strategy validating_policy_strategy = {
	.generation = true,
	.needs_rv = true,
	.prepare_create = policy_prepare_create,
	.validate = validating_policy_validate,
	.validate_update = validating_policy_update,
	.warn = static_name_warn,
	.cell = policy_cell,
};

const struct strategy mutating_policy_strategy = {
	.generation = true,
	.needs_rv = true,
	.prepare_create = policy_prepare_create,
	.validate = mutating_policy_validate,
	.validate_update = mutating_policy_update,
	.warn = static_name_warn,
	.cell = policy_cell,
};

/* ---- bindings */

static void check_param_ref(struct err **e, struct arena *a, const struct json *ref)
{
	static const char *const actions[] = { "Deny", "Allow", NULL };
	struct str base = STR("spec.paramRef"), name = json_str_at(ref, "name");
	const struct json *sel = json_get(ref, "selector");
	const char *bad = name.n ? name_check_path_segment(name) : NULL;

	if (!ref)
		return;
	if (bad)
		cause_invalid_str(e, hook_field(a, base, "name"), name, "%s", bad);
	if (name.n && sel)
		cause_forbidden(e, hook_field(a, base, "name"),
				"name and selector are mutually exclusive");
	hook_check_selector(e, a, sel, hook_field(a, base, "selector"));
	if (name.n && sel)
		cause_forbidden(e, hook_field(a, base, "selector"),
				"name and selector are mutually exclusive");
	if (!name.n && !sel)
		cause_required(e, base, "one of name or selector must be specified");
	hook_check_enum(e, a, ref, "parameterNotFoundAction", base, actions, true);
}

static void check_actions(struct err **e, struct arena *a, const struct json *list)
{
	static const char *const known[] = { "Audit", "Deny", "Warn", NULL };
	struct str base = STR("spec.validationActions");
	bool deny = false, warn = false;

	json_for_each(it, list)
	{
		struct str v = json_as_str(it.val);
		bool ok = false, seen = false;

		for (size_t i = 0; known[i]; i++)
			ok |= str_eqz(v, known[i]);
		if (!ok)
			cause_not_supported(e, hook_index(a, base, it.i), v, known);
		for (size_t k = 0; k < it.i; k++)
			seen |= json_equal(json_idx(list, k), it.val);
		if (seen)
			cause_duplicate(e, hook_index(a, base, it.i), it.val);
		deny |= str_eqz(v, "Deny");
		warn |= str_eqz(v, "Warn");
	}
	if (deny && warn)
		cause_invalid(e, base, list,
			      "must not contain both Deny and Warn (repeating the same validation "
			      "failure information in the API response and headers serves no "
			      "purpose)");
	if (!json_len(list))
		cause_required(e, base, "at least one validation action is required");
}

static void check_binding(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct str name = json_str_at(obj, "spec.policyName");
	const char *bad = name.n ? name_check_dns_subdomain(name) : NULL;

	if (!name.n)
		cause_required(e, STR("spec.policyName"), NULL);
	else if (bad)
		cause_invalid_str(e, STR("spec.policyName"), name, "%s", bad);
	check_param_ref(e, rq->arena, json_at(obj, "spec.paramRef"));
	hook_check_match(e, rq->arena, json_at(obj, "spec.matchResources"),
			 STR("spec.matchResources"));
}

static void validating_binding_validate(struct api_request *rq, const struct json *obj,
					struct err **e)
{
	check_binding(rq, obj, e);
	check_actions(e, rq->arena, json_at(obj, "spec.validationActions"));
}

static void mutating_binding_validate(struct api_request *rq, const struct json *obj,
				      struct err **e)
{
	check_binding(rq, obj, e);
	hook_check_no_delete(e, rq->arena, json_at(obj, "spec.matchResources"),
			     STR("spec.matchResources"));
}

static void binding_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			 struct json *cells)
{
	const struct json *ref = json_at(obj, "spec.paramRef");
	struct str name = json_str_at(ref, "name"), ns = json_str_at(ref, "namespace");

	if (str_empty(name))
		cell_str(a, cells, STR("<unset>"));
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(str_empty(ns) ? STR("*") : ns),
				   STR_ARG(name)));
}

const struct strategy validating_policy_binding_strategy = {
	.generation = true,
	.needs_rv = true,
	.validate = validating_binding_validate,
	.warn = static_name_warn,
	.cell = binding_cell,
};

const struct strategy mutating_policy_binding_strategy = {
	.generation = true,
	.needs_rv = true,
	.validate = mutating_binding_validate,
	.warn = static_name_warn,
	.cell = binding_cell,
};
