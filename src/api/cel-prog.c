/* SPDX-License-Identifier: Apache-2.0 */

/* Programs: compiling, evaluating, and what of them is constant. */

#include "api/cel-value.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/mem.h"

struct cel_prog *cel_prog_ref(struct cel_prog *p)
{
	p->refs++;
	return p;
}

struct cel_prog *cel_prog_unref(struct cel_prog *p)
{
	if (!p || --p->refs)
		return NULL;
	for (size_t i = 0; i < p->n_regexes; i++)
		regex_free(p->regexes[i]);
	free(p->regexes);
	if (!p->env_borrowed)
		cel_env_unref(p->env);
	arena_free(p->arena);
	free(p);
	return NULL;
}

const struct cel_type *cel_prog_type(const struct cel_prog *p)
{
	return p->type;
}

struct cel_cost cel_prog_cost(const struct cel_prog *p)
{
	return p->cost;
}

struct str cel_prog_broken(const struct cel_prog *p)
{
	return p->broken;
}

bool cel_prog_uses(const struct cel_prog *p, const char *var)
{
	for (size_t i = 0; i < p->env->n_vars; i++)
		if (str_eqz(p->env->vars[i].name, var))
			return p->uses >> i & 1;
	return false;
}

struct regex *cel_prog_regex(struct cel_prog *p, struct str pattern, struct arena *a,
			     struct str *ret_why)
{
	struct regex *r = regex_new(pattern, a, ret_why);

	if (!r)
		return NULL;
	if (p->n_regexes == p->cap_regexes) {
		p->cap_regexes = p->cap_regexes ? p->cap_regexes * 2 : 4;
		p->regexes = mem_realloc(p->regexes, p->cap_regexes, sizeof(struct regex *));
	}
	p->regexes[p->n_regexes++] = r;
	return r;
}

/* ---- constants: containers of literals, and conversions of one, are made once */

static bool cel_const_call(const struct cel_node *n)
{
	static const char *const conversions[] = { "bool", "bytes",  "double",    "duration",
						   "int",  "string", "timestamp", "uint" };

	if (!n->fn || n->member || n->n_args != 1 || n->args[0]->kind != CEL_N_LITERAL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(conversions); i++)
		if (str_eqz(n->fn->name, conversions[i]))
			return true;
	return false;
}

static bool cel_const_container(const struct cel_node *n)
{
	if ((n->kind != CEL_N_LIST && n->kind != CEL_N_MAP) || n->optional)
		return false;
	for (uint32_t i = 0; i < n->n_args; i++)
		if (n->args[i]->kind != CEL_N_LITERAL)
			return false;
	return true;
}

static void cel_fold_constants(struct cel_ctx *c, struct cel_node *n)
{
	struct cel_val v;

	if (!n || !n->check_done)
		return;
	n->check_done = false;
	cel_fold_constants(c, n->target);
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_fold_constants(c, n->args[i]);
	if (n->fold) {
		cel_fold_constants(c, n->fold->range);
		cel_fold_constants(c, n->fold->init);
		cel_fold_constants(c, n->fold->cond);
		cel_fold_constants(c, n->fold->step);
		cel_fold_constants(c, n->fold->result);
	}
	/* the element that is appended keeps its list */
	if (n->kind == CEL_N_CALL && n->op == CEL_OP_APPEND && n->args[1]->kind == CEL_N_LITERAL)
		n->op = CEL_OP_CALL;
	if (!cel_const_container(n) && (n->kind != CEL_N_CALL || !cel_const_call(n)))
		return;
	v = cel_eval_node(c, n);
	if (v.kind == CEL_ERROR && n->kind == CEL_N_CALL && !c->broken.n)
		c->broken = v.s;
	if (v.kind == CEL_ERROR)
		return;
	if (v.kind == CEL_LIST) /* never grown in place */
		((struct cel_list *)(uintptr_t)v.p)->n = SIZE_MAX;
	if (v.kind == CEL_MAP)
		((struct cel_map *)(uintptr_t)v.p)->n = SIZE_MAX;
	n->kind = CEL_N_LITERAL;
	n->is_const = true;
	n->lit = v;
}

/* ---- compiling */

struct compile_call {
	struct cel_prog *prog;
	struct str text;
	struct cel_issues issues;
};

static void cel_compile_here(void *arg)
{
	struct compile_call *call = arg;
	struct cel_prog *p = call->prog;
	struct cel_run run = { .arena = p->arena };
	struct cel_ctx c = { .run = &run, .arena = p->arena, .prog = p, .limit = UINT64_MAX };

	p->root = cel_parse(p->arena, call->text, &call->issues);
	if (!p->root || call->issues.total)
		return;
	cel_check(p, &call->issues);
	if (call->issues.total)
		return;
	cel_validate(p, p->root, &call->issues);
	if (call->issues.total)
		return;
	cel_cost_estimate(p);
	cel_fold_constants(&c, p->root);
	p->broken = c.broken;
}

struct cel_prog *cel_compile(struct cel_env *e, struct arena *a, struct str expr,
			     struct str *ret_issues)
{
	struct cel_prog *p = mem_new(struct cel_prog);
	struct compile_call call = { .prog = p };

	p->refs = 1;
	p->arena = arena_new();
	p->env = cel_env_ref(e);
	call.text = arena_str(p->arena, expr);
	call.issues.arena = p->arena;
	call.issues.text = call.text;
	cel_stack_call(cel_compile_here, &call);
	if (!call.issues.total)
		return p;
	if (ret_issues)
		*ret_issues = cel_issues_text(a, &call.issues);
	return cel_prog_unref(p);
}

/* ---- evaluating */

#define CEL_FEW_LOCALS 8

struct eval_call {
	const struct cel_prog *prog;
	struct cel_run *run;
	struct cel_val *ret;
};

static void cel_eval_here(void *arg)
{
	struct eval_call *call = arg;
	struct cel_val few[CEL_FEW_LOCALS];
	struct cel_ctx c = { .run = call->run,
			     .arena = call->run->arena,
			     .prog = call->prog,
			     .locals = few,
			     .limit = call->run->limit ? call->run->limit : CEL_PER_CALL_LIMIT };

	if (call->prog->n_locals > CEL_FEW_LOCALS)
		c.locals = arena_array(c.arena, call->prog->n_locals, sizeof(*c.locals));
	*call->ret = cel_eval_node(&c, call->prog->root);
	if (c.exceeded)
		*call->ret = cel_error_z("operation cancelled: actual cost limit exceeded");
	call->run->exceeded = c.exceeded;
	call->run->used = c.cost;
}

bool cel_eval(const struct cel_prog *p, struct cel_run *r, struct cel_val *ret)
{
	struct eval_call call = { p, r, ret };

	r->variables_cost = 0;
	if (p->root->depth <= CEL_SHALLOW &&
	    (p->env->variables_slot < 0 || !(p->uses >> p->env->variables_slot & 1)))
		cel_eval_here(&call);
	else
		cel_stack_call(cel_eval_here, &call);
	r->cost = r->used + r->variables_cost;
	return ret->kind != CEL_ERROR;
}

bool cel_run_exceeded(const struct cel_run *r)
{
	return r->exceeded;
}
