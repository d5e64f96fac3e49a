/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Evaluation: a walk over the tree. Errors are values; && and || absorb them when the other side
 * decides. Each step is charged as cel-go does, and the run ends where the limit is passed.
 */

#include "api/cel-names.h"
#include "api/cel-value.h"
#include "api/regex.h"
#include "base/arena.h"

/* A local that is bound to an expression, not yet evaluated. */
#define CEL_LAZY CEL_PARAM

#define CEL_RUN_DEPTH 12000

struct cel_memo {
	bool done;
	struct cel_val val;
};

static struct cel_val cel_exceeded(struct cel_ctx *c)
{
	c->exceeded = true;
	return cel_error_z("operation cancelled: actual cost limit exceeded");
}

bool cel_charge(struct cel_ctx *c, uint64_t cost)
{
	c->cost += cost;
	if (c->cost > c->limit)
		c->exceeded = true;
	return !c->exceeded;
}

bool cel_charge_bytes(struct cel_ctx *c, uint64_t n)
{
	c->bytes += n;
	if (c->bytes > CEL_MAX_BYTES)
		c->exceeded = true;
	return !c->exceeded;
}

/* ---- names and fields */

static struct cel_val cel_eval_ident(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val *v;

	if (n->slot_kind == CEL_SLOT_TYPE)
		return n->lit;
	if (!cel_charge(c, 1))
		return cel_exceeded(c);
	if (n->slot_kind == CEL_SLOT_LOCAL) {
		v = &c->locals[n->slot];
		if (v->kind == CEL_LAZY)
			*v = cel_eval_node(c, v->p);
		return *v;
	}
	if (n->type->kind == CEL_OPAQUE)
		return cel_authorizer_val(c, n->type->opaque == CEL_O_RESOURCE_CHECK);
	return c->run->vars[n->slot];
}

/* variables.NAME */
static struct cel_val cel_eval_composed(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_env *e = c->prog->env;
	const struct cel_composed *v = &e->composed[n->slot];
	struct cel_run *r = c->run;
	struct cel_ctx sub;

	if (!cel_charge(c, 2))
		return cel_exceeded(c);
	if (!r->memos)
		r->memos = arena_array(r->arena, e->n_composed, sizeof(*r->memos));
	if (r->memos[n->slot].done)
		return r->memos[n->slot].val;
	if (!v->prog)
		return cel_error(c,
				 "composited variable \"" STR_FMT "\" fails to compile: " STR_FMT,
				 STR_ARG(v->name), STR_ARG(v->why));
	sub = (struct cel_ctx){ .run = r, .arena = r->arena, .prog = v->prog, .limit = c->limit };
	sub.bytes = c->bytes;
	sub.locals = arena_array(r->arena, v->prog->n_locals, sizeof(*sub.locals));
	r->memos[n->slot].val = cel_eval_node(&sub, v->prog->root);
	if (sub.exceeded)
		r->memos[n->slot].val = cel_exceeded(&sub);
	r->variables_cost += sub.cost;
	c->bytes = sub.bytes;
	if (r->memos[n->slot].val.kind == CEL_ERROR)
		r->memos[n->slot].val = cel_error(
			c, "composited variable \"" STR_FMT "\" fails to evaluate: " STR_FMT,
			STR_ARG(v->name), STR_ARG(r->memos[n->slot].val.s));
	r->memos[n->slot].done = true;
	return r->memos[n->slot].val;
}

static bool cel_field(struct cel_ctx *c, const struct cel_val *v, struct str name, bool escaped,
		      struct cel_val *ret)
{
	struct str plain;

	if (v->kind != CEL_MAP)
		return false;
	/* a schema's objects have escaped names; maps and plain data have not */
	if (escaped && v->rep == CEL_REP_JSON && v->q &&
	    cel_name_unescape(c->arena, name, &plain) && cel_map_find_field(c, v, plain, ret))
		return true;
	return cel_map_find_field(c, v, name, ret);
}

static struct cel_val cel_no_key(struct cel_ctx *c, struct str name)
{
	return cel_error(c, "no such key: " STR_FMT, STR_ARG(name));
}

/* optional.field: an optional again */
static struct cel_val cel_field_optional(struct cel_ctx *c, struct cel_val v, struct str name,
					 bool escaped)
{
	struct cel_val f;

	if (v.kind == CEL_OPTIONAL) {
		if (!v.p)
			return v;
		v = *(const struct cel_val *)v.p;
	}
	if (!cel_field(c, &v, name, escaped, &f))
		return cel_val_optional(c->arena, NULL);
	return f.kind == CEL_ERROR ? f : cel_val_optional(c->arena, &f);
}

static struct cel_val cel_eval_select(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_env *e = c->prog->env;
	struct cel_val v, f;

	if (e->variables_slot >= 0 && n->target->kind == CEL_N_IDENT &&
	    n->target->slot_kind == CEL_SLOT_GLOBAL && n->target->slot == e->variables_slot)
		return n->test_only ? cel_val_bool(true) : cel_eval_composed(c, n);
	v = cel_eval_node(c, n->target);
	if (v.kind == CEL_ERROR)
		return v;
	if (!n->test_only && !cel_charge(c, 1))
		return cel_exceeded(c);
	if (v.kind == CEL_OPTIONAL) {
		f = cel_field_optional(c, v, n->name, n->opt);
		return n->test_only && f.kind == CEL_OPTIONAL ? cel_val_bool(f.p) : f;
	}
	if (n->test_only) {
		if (v.kind != CEL_MAP)
			return cel_error_z("no such overload");
		return cel_val_bool(cel_field(c, &v, n->name, n->opt, &f));
	}
	return cel_field(c, &v, n->name, n->opt, &f) ? f : cel_no_key(c, n->name);
}

static struct cel_val cel_eval_opt_select(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val v = cel_eval_node(c, n->args[0]);

	if (v.kind == CEL_ERROR)
		return v;
	if (!cel_charge(c, 1))
		return cel_exceeded(c);
	return cel_field_optional(c, v, n->args[1]->lit.s, n->opt);
}

/* ---- logic */

static struct cel_val cel_eval_logic(struct cel_ctx *c, const struct cel_node *n, bool decides)
{
	struct cel_val l = cel_eval_node(c, n->args[0]), r;

	if (c->exceeded)
		return cel_exceeded(c);
	if (l.kind == CEL_BOOL && l.b == decides)
		return l;
	r = cel_eval_node(c, n->args[1]);
	if (c->exceeded)
		return cel_exceeded(c);
	if (r.kind == CEL_BOOL && (r.b == decides || l.kind == CEL_BOOL))
		return r;
	if (l.kind == CEL_ERROR)
		return l;
	if (r.kind == CEL_ERROR)
		return r;
	return cel_no_overload();
}

static struct cel_val cel_eval_conditional(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val v = cel_eval_node(c, n->args[0]);

	if (v.kind == CEL_ERROR)
		return v;
	if (v.kind != CEL_BOOL)
		return cel_no_overload();
	return cel_eval_node(c, n->args[v.b ? 1 : 2]);
}

static struct cel_val cel_eval_not_strictly_false(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val v = cel_eval_node(c, n->args[0]);

	if (!cel_charge(c, 1))
		return cel_exceeded(c);
	return cel_val_bool(v.kind != CEL_BOOL || v.b);
}

/* optional.or(o), optional.orValue(v): the argument only when there is no value */
static struct cel_val cel_eval_or_else(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val v = cel_eval_node(c, n->target);

	if (v.kind == CEL_ERROR)
		return v;
	if (v.kind != CEL_OPTIONAL)
		return cel_no_overload();
	if (!v.p)
		return cel_eval_node(c, n->args[0]);
	return n->name.n == 2 ? v : *(const struct cel_val *)v.p;
}

/* ---- calls */

static struct cel_val cel_call_done(struct cel_ctx *c, const struct cel_node *n,
				    const struct cel_val *args, size_t n_args, struct cel_val res)
{
	/* what an error cost is nobody's; the walk ends there, or && and || go on */
	if (!cel_charge(c, cel_cost_call(c, n, args, n_args, &res)))
		return cel_exceeded(c);
	return res;
}

static struct cel_val cel_eval_call(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val args[CEL_MAX_ARGS + 1];
	size_t n_args = 0;

	if (n->member) {
		args[n_args++] = cel_eval_node(c, n->target);
		if (args[0].kind == CEL_ERROR)
			return args[0];
	}
	for (uint32_t i = 0; i < n->n_args && n_args < ARRAY_LEN(args); i++) {
		args[n_args] = cel_eval_node(c, n->args[i]);
		if (args[n_args++].kind == CEL_ERROR)
			return args[n_args - 1];
	}
	c->node = n;
	return cel_call_done(c, n, args, n_args, n->fn->row->impl(c, args, n_args));
}

static struct cel_val cel_eval_equal(struct cel_ctx *c, const struct cel_node *n, bool want)
{
	struct cel_val args[2] = { cel_eval_node(c, n->args[0]) };

	if (args[0].kind == CEL_ERROR)
		return args[0];
	args[1] = cel_eval_node(c, n->args[1]);
	if (args[1].kind == CEL_ERROR)
		return args[1];
	return cel_call_done(c, n, args, 2, cel_val_bool(cel_equal(c, &args[0], &args[1]) == want));
}

static struct cel_val cel_eval_matches(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val args[2];

	args[0] = cel_eval_node(c, n->member ? n->target : n->args[0]);
	args[1] = n->args[n->n_args - 1]->lit;
	if (args[0].kind == CEL_ERROR)
		return args[0];
	if (args[0].kind != CEL_STRING)
		return cel_no_overload();
	/* charged before it is done: it is the dearest of all */
	if (!cel_charge(c, cel_cost_call(c, n, args, 2, NULL)))
		return cel_exceeded(c);
	return cel_val_bool(regex_matches(n->regex, args[0].s));
}

/* The list one longer; in place when v is all of its array. */
static struct cel_val cel_append(struct cel_ctx *c, const struct cel_val *v, struct cel_val x)
{
	struct cel_list *l = v->rep == CEL_REP_ARRAY ? (struct cel_list *)(uintptr_t)v->p : NULL;
	struct cel_val k, e;

	if (!l || l->n != (size_t)v->q) {
		struct cel_iter it = cel_iter(v);

		l = cel_list_new(c->arena, cel_size(v) + 4);
		while (cel_iter_next(c, &it, &k, &e))
			cel_list_add(c->arena, l, e);
	}
	cel_list_add(c->arena, l, x);
	return cel_list_val(l);
}

static struct cel_val cel_eval_append(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_val l = cel_eval_node(c, n->args[0]), x;

	if (l.kind == CEL_ERROR)
		return l;
	x = cel_eval_node(c, n->args[1]->args[0]);
	if (x.kind == CEL_ERROR)
		return x;
	if (l.kind != CEL_LIST)
		return cel_no_overload();
	/* the list of one costs 10, the concatenation 1 */
	if (!cel_charge(c, n->args[1]->args[0]->is_const ? 1 : 11) || !cel_charge_bytes(c, 32))
		return cel_exceeded(c);
	return cel_append(c, &l, x);
}

/* ---- literals of lists, maps and structs */

static struct cel_val cel_eval_list(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_list *l = cel_list_new(c->arena, n->n_args);
	bool constant = true;

	for (uint32_t i = 0; i < n->n_args; i++) {
		struct cel_val v = cel_eval_node(c, n->args[i]);

		constant &= n->args[i]->is_const;
		if (v.kind == CEL_ERROR)
			return v;
		if (n->optional && n->optional[i]) {
			if (v.kind != CEL_OPTIONAL)
				return cel_error_z("cannot initialize optional list element from "
						   "non-optional value");
			if (!v.p)
				continue;
			v = *(const struct cel_val *)v.p;
		}
		l->v[l->n++] = v;
	}
	if (!cel_charge(c, constant ? 0 : 10) || !cel_charge_bytes(c, l->n * sizeof(*l->v) + 64))
		return cel_exceeded(c);
	return cel_list_val(l);
}

static struct cel_val cel_key_text(struct cel_ctx *c, const struct cel_val *k, const char *fmt)
{
	struct str s = k->kind == CEL_STRING ? k->s
		       : k->kind == CEL_INT  ? arena_fmt(c->arena, "%lld", (long long)k->i)
		       : k->kind == CEL_BOOL ? str_from(k->b ? "true" : "false")
					     : STR("?");

	return cel_error(c, "%s" STR_FMT "%s", fmt, STR_ARG(s),
			 str_eqz(str_from(fmt), "insert failed: key ") ? " already exists" : "");
}

/* 1: skip the entry */
static int cel_eval_entry(struct cel_ctx *c, const struct cel_node *n, uint32_t i,
			  struct cel_val *v)
{
	*v = cel_eval_node(c, n->args[i]);
	if (v->kind == CEL_ERROR)
		return -1;
	if (!n->optional || !n->optional[i])
		return 0;
	if (v->kind != CEL_OPTIONAL) {
		*v = cel_error_z("cannot initialize optional entry from non-optional value");
		return -1;
	}
	if (!v->p)
		return 1;
	*v = *(const struct cel_val *)v->p;
	return 0;
}

static struct cel_val cel_eval_map(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_map *m = cel_map_new(c->arena, n->n_args / 2);
	bool constant = n->n_args > 0;

	for (uint32_t i = 0; i + 1 < n->n_args; i += 2) {
		struct cel_val k = cel_eval_node(c, n->args[i]), v;
		int r;

		if (k.kind == CEL_ERROR)
			return k;
		if (k.kind > CEL_STRING || k.kind == CEL_NULL)
			return cel_error_z("unsupported key type");
		constant &= n->args[i]->is_const && n->args[i + 1]->is_const;
		r = cel_eval_entry(c, n, i + 1, &v);
		if (r < 0)
			return v;
		if (!r && !cel_map_add(c->arena, m, k, v))
			return cel_key_text(c, &k, "Failed with repeated key: ");
	}
	(void)constant;
	if (!cel_charge(c, 30) || !cel_charge_bytes(c, m->n * sizeof(*m->v) + 64))
		return cel_exceeded(c);
	return cel_map_val(m);
}

static struct cel_val cel_eval_struct(struct cel_ctx *c, const struct cel_node *n)
{
	struct cel_map *m = cel_map_new(c->arena, n->n_args);

	m->type = n->type;
	for (uint32_t i = 0; i < n->n_args; i++) {
		struct cel_val v;
		int r = cel_eval_entry(c, n, i, &v);

		if (r < 0)
			return v;
		if (r)
			continue;
		if (n->type->is_patch && !str_eqz(n->fields[i], "value") && v.kind != CEL_STRING)
			return cel_error(c, "unexpected type for JSONPatchType '" STR_FMT "' field",
					 STR_ARG(n->fields[i]));
		(void)cel_map_add(c->arena, m, cel_val_str(n->fields[i]), v);
	}
	if (!cel_charge(c, 40) || !cel_charge_bytes(c, m->n * sizeof(*m->v) + 64))
		return cel_exceeded(c);
	return cel_map_val(m);
}

/* ---- comprehensions */

static struct cel_val cel_eval_loop(struct cel_ctx *c, const struct cel_fold *f,
				    const struct cel_val *range)
{
	struct cel_iter it = cel_iter(range);
	struct cel_val k, v, *accu = &c->locals[f->accu_slot];

	while (cel_iter_next(c, &it, &k, &v)) {
		if (v.kind == CEL_ERROR)
			return v;
		if (f->iter2.n) {
			c->locals[f->iter_slot] = k;
			c->locals[f->iter2_slot] = v;
		} else {
			c->locals[f->iter_slot] = range->kind == CEL_LIST ? v : k;
		}
		v = cel_eval_node(c, f->cond);
		if (c->exceeded)
			return cel_exceeded(c);
		if (v.kind != CEL_BOOL || !v.b)
			break;
		*accu = cel_eval_node(c, f->step);
		if (c->exceeded)
			return cel_exceeded(c);
	}
	return cel_null();
}

static struct cel_val cel_eval_fold(struct cel_ctx *c, const struct cel_node *n)
{
	const struct cel_fold *f = n->fold;
	struct cel_val range, r;

	if (f->bind) {
		c->locals[f->accu_slot] = (struct cel_val){ .kind = CEL_LAZY, .p = f->init };
		return cel_eval_node(c, f->result);
	}
	range = cel_eval_node(c, f->range);
	if (range.kind == CEL_ERROR)
		return range;
	if (range.kind != CEL_LIST && range.kind != CEL_MAP)
		return cel_no_overload();
	c->locals[f->accu_slot] = cel_eval_node(c, f->init);
	r = cel_eval_loop(c, f, &range);
	if (r.kind == CEL_ERROR)
		return r;
	return cel_eval_node(c, f->result);
}

/* ---- all nodes */

static struct cel_val cel_eval_op(struct cel_ctx *c, const struct cel_node *n)
{
	switch ((enum cel_op)n->op) {
	case CEL_OP_AND:
		return cel_eval_logic(c, n, false);
	case CEL_OP_OR:
		return cel_eval_logic(c, n, true);
	case CEL_OP_CONDITIONAL:
		return cel_eval_conditional(c, n);
	case CEL_OP_EQ:
		return cel_eval_equal(c, n, true);
	case CEL_OP_NE:
		return cel_eval_equal(c, n, false);
	case CEL_OP_NOT_STRICTLY_FALSE:
		return cel_eval_not_strictly_false(c, n);
	case CEL_OP_OPT_SELECT:
		return cel_eval_opt_select(c, n);
	case CEL_OP_OR_ELSE:
		return cel_eval_or_else(c, n);
	case CEL_OP_APPEND:
		return cel_eval_append(c, n);
	case CEL_OP_MATCHES:
		return cel_eval_matches(c, n);
	case CEL_OP_CALL:
		break;
	}
	return cel_eval_call(c, n);
}

struct cel_val cel_eval_node(struct cel_ctx *c, const struct cel_node *n)
{
	switch ((enum cel_node_kind)n->kind) {
	case CEL_N_LITERAL:
		return n->lit;
	case CEL_N_IDENT:
		return cel_eval_ident(c, n);
	case CEL_N_SELECT:
		return cel_eval_select(c, n);
	case CEL_N_CALL:
		return cel_eval_op(c, n);
	case CEL_N_LIST:
		return cel_eval_list(c, n);
	case CEL_N_MAP:
		return cel_eval_map(c, n);
	case CEL_N_STRUCT:
		return cel_eval_struct(c, n);
	case CEL_N_FOLD:
		return cel_eval_fold(c, n);
	}
	return cel_null();
}
