/* SPDX-License-Identifier: Apache-2.0 */
#include "server/policy-prepare.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/json.h"

static void match_prepare(struct arena *a, const struct json *m, struct policy_match *ret)
{
	struct err *e;

	ret->rules = json_get(m, "resourceRules");
	ret->exclude = json_get(m, "excludeResourceRules");
	ret->equivalent = !str_eqz(json_str_at(m, "matchPolicy"), "Exact");
	e = hook_selectors_parse(a, m, &ret->selectors);
	if (e)
		err_log(NULL, LOG_WARN, "a stored policy's selector cannot be used", e);
}

unsigned policy_env_flags(const struct json *spec, bool mutating)
{
	unsigned flags = CEL_WITH_AUTHORIZER | CEL_WITH_VARIABLES;

	if (json_get(spec, "paramKind"))
		flags |= CEL_WITH_PARAMS;
	return mutating ? flags | CEL_WITH_PATCH : flags;
}

/* ---- variables: in both environments, since messages see no authorizer */

static void variables_prepare(struct policy *p, const struct json *list)
{
	p->n_variables = json_len(list);
	p->variables = arena_array(p->arena, 2 * p->n_variables + 1, sizeof(*p->variables));
	json_for_each(it, list)
	{
		struct str name = json_str_at(it.val, "name");
		struct str text = json_str_at(it.val, "expression");
		struct policy_expr *x = &p->variables[2 * it.i];

		policy_expr_compile(x, p->env, p->arena, text, POLICY_ANY);
		cel_env_add_variable(p->env, name, x->prog, x->issue);
		if (!p->message_env)
			continue;
		x++;
		policy_expr_compile(x, p->message_env, p->arena, text, POLICY_ANY);
		cel_env_add_variable(p->message_env, name, x->prog, x->issue);
	}
}

/* ---- what validates */

static void validations_prepare(struct policy *p, const struct json *list)
{
	p->n_validations = json_len(list);
	p->validations = arena_array(p->arena, p->n_validations + 1, sizeof(*p->validations));
	json_for_each(it, list)
	{
		struct policy_validation *v = &p->validations[it.i];
		struct str message = json_str_at(it.val, "messageExpression");

		policy_expr_compile(&v->expr, p->env, p->arena, json_str_at(it.val, "expression"),
				    POLICY_BOOL);
		if (str_trim(message).n)
			policy_expr_compile(&v->message_expr, p->message_env, p->arena, message,
					    POLICY_STRING);
		v->message = str_trim(json_str_at(it.val, "message"));
		v->reason = json_str_at(it.val, "reason");
	}
}

static void annotations_prepare(struct policy *p, const struct json *list)
{
	p->n_annotations = json_len(list);
	p->annotations = arena_array(p->arena, p->n_annotations + 1, sizeof(*p->annotations));
	json_for_each(it, list)
	{
		struct policy_annotation *x = &p->annotations[it.i];

		x->key = json_str_at(it.val, "key");
		policy_expr_compile(&x->expr, p->env, p->arena,
				    str_trim(json_str_at(it.val, "valueExpression")),
				    POLICY_STRING_OR_NULL);
	}
}

/* ---- what mutates */

static void mutations_prepare(struct policy *p, const struct json *list)
{
	p->n_mutations = json_len(list);
	p->mutations = arena_array(p->arena, p->n_mutations + 1, sizeof(*p->mutations));
	json_for_each(it, list)
	{
		struct policy_mutation *m = &p->mutations[it.i];
		const char *at;

		m->apply = str_eqz(json_str_at(it.val, "patchType"), "ApplyConfiguration");
		at = m->apply ? "applyConfiguration.expression" : "jsonPatch.expression";
		policy_expr_compile(&m->expr, p->env, p->arena, str_trim(json_str_at(it.val, at)),
				    m->apply ? POLICY_OBJECT : POLICY_PATCHES);
	}
}

/* ---- the whole */

struct policy *policy_prepare(const struct obj *o)
{
	struct policy *p = mem_new(struct policy);
	const struct json *spec = json_get(obj_tree(o), "spec");
	const struct json *mutations = json_get(spec, "mutations");
	unsigned flags = policy_env_flags(spec, mutations != NULL);

	p->refs = 1;
	p->arena = arena_new();
	p->obj = obj_ref(o);
	p->ignore = str_eqz(json_str_at(spec, "failurePolicy"), "Ignore");
	p->again = str_eqz(json_str_at(spec, "reinvocationPolicy"), "IfNeeded");
	p->param_kind = json_get(spec, "paramKind");
	match_prepare(p->arena, json_get(spec, "matchConstraints"), &p->match);
	p->env = cel_env_admission(flags);
	if (!mutations)
		p->message_env = cel_env_admission(flags & ~(unsigned)CEL_WITH_AUTHORIZER);
	variables_prepare(p, json_get(spec, "variables"));
	p->conditions =
		policy_conditions_compile(p->env, p->arena, json_get(spec, "matchConditions"));
	validations_prepare(p, json_get(spec, "validations"));
	annotations_prepare(p, json_get(spec, "auditAnnotations"));
	mutations_prepare(p, mutations);
	return p;
}

static void policy_fini(struct policy *p)
{
	policy_conditions_fini(&p->conditions);
	for (size_t i = 0; i < p->n_validations; i++) {
		policy_expr_fini(&p->validations[i].expr);
		policy_expr_fini(&p->validations[i].message_expr);
	}
	for (size_t i = 0; i < p->n_annotations; i++)
		policy_expr_fini(&p->annotations[i].expr);
	for (size_t i = 0; i < p->n_mutations; i++)
		policy_expr_fini(&p->mutations[i].expr);
	for (size_t i = 0; i < 2 * p->n_variables; i++)
		policy_expr_fini(&p->variables[i]);
	cel_env_unref(p->env);
	if (p->message_env)
		cel_env_unref(p->message_env);
}

void policy_unref(void *arg)
{
	struct policy *p = arg;

	if (!p || --p->refs)
		return;
	policy_fini(p);
	obj_unref(p->obj);
	arena_free(p->arena);
	free(p);
}

struct policy_binding *policy_binding_prepare(const struct obj *o)
{
	struct policy_binding *b = mem_new(struct policy_binding);
	const struct json *spec = json_get(obj_tree(o), "spec");
	const struct json *match = json_get(spec, "matchResources");

	b->refs = 1;
	b->arena = arena_new();
	b->obj = obj_ref(o);
	b->policy = json_str_at(spec, "policyName");
	b->param_ref = json_get(spec, "paramRef");
	b->actions = json_get(spec, "validationActions");
	b->everything = match == NULL;
	if (match)
		match_prepare(b->arena, match, &b->match);
	return b;
}

void policy_binding_unref(void *arg)
{
	struct policy_binding *b = arg;

	if (!b || --b->refs)
		return;
	obj_unref(b->obj);
	arena_free(b->arena);
	free(b);
}
