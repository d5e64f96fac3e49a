/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The checker: a type for each node, a slot for each variable, the overloads each call may take.
 * Types are inferred by unification; what stays open is dyn.
 */

#include "api/cel-names.h"
#include "api/cel-value.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"

struct scope {
	const struct scope *up;
	struct str name;
	const struct cel_type *type;
	int slot;
};

struct checker {
	struct cel_prog *prog;
	struct cel_env *env;
	struct arena *arena;
	struct cel_issues *is;
	struct cel_subst *subst;
	const struct scope *scope;
	size_t n_locals;
};

static const struct {
	const char *name;
	uint8_t kind, opaque;
} type_names[] = {
	{ "bool", CEL_BOOL, 0 },
	{ "int", CEL_INT, 0 },
	{ "uint", CEL_UINT, 0 },
	{ "double", CEL_DOUBLE, 0 },
	{ "string", CEL_STRING, 0 },
	{ "bytes", CEL_BYTES, 0 },
	{ "list", CEL_LIST, 0 },
	{ "map", CEL_MAP, 0 },
	{ "null_type", CEL_NULL, 0 },
	{ "type", CEL_TYPE, 0 },
	{ "optional_type", CEL_OPTIONAL, 0 },
	{ "google.protobuf.Timestamp", CEL_TIMESTAMP, 0 },
	{ "google.protobuf.Duration", CEL_DURATION, 0 },
	{ "net.IP", CEL_OPAQUE, CEL_O_IP },
	{ "net.CIDR", CEL_OPAQUE, CEL_O_CIDR },
	{ "kubernetes.URL", CEL_OPAQUE, CEL_O_URL },
	{ "kubernetes.Quantity", CEL_OPAQUE, CEL_O_QUANTITY },
	{ "kubernetes.Semver", CEL_OPAQUE, CEL_O_SEMVER },
	{ "kubernetes.NamedFormat", CEL_OPAQUE, CEL_O_FORMAT },
};

static void cel_check_node(struct checker *c, struct cel_node *n);

static const struct cel_type *cel_check_dyn(void)
{
	return &cel_types[CEL_DYN];
}

static const struct cel_type *cel_check_error(void)
{
	return &cel_types[CEL_ERROR];
}

static const struct cel_type *cel_check_subst(struct checker *c, const struct cel_type *t)
{
	return cel_type_substitute(c->subst, t, false);
}

static struct str cel_check_text(struct checker *c, const struct cel_type *t)
{
	return cel_type_text(c->arena, t);
}

static void cel_check_mismatch(struct checker *c, const struct cel_node *n,
			       const struct cel_type *want, const struct cel_type *is)
{
	cel_issue_add(c->is, n->pos, "expected type '" STR_FMT "' but found '" STR_FMT "'",
		      STR_ARG(cel_check_text(c, want)), STR_ARG(cel_check_text(c, is)));
}

/* ---- names */

static const struct cel_type *cel_check_type_name(struct checker *c, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		if (!str_eqz(name, type_names[i].name))
			continue;
		if (type_names[i].kind == CEL_OPAQUE)
			return cel_type_opaque((enum cel_opaque)type_names[i].opaque);
		return &cel_types[type_names[i].kind];
	}
	if (c->env->patch && str_eqz(name, "JSONPatch")) {
		static const struct cel_member members[] = {
			{ STR_INIT("op"), &cel_types[CEL_STRING] },
			{ STR_INIT("path"), &cel_types[CEL_STRING] },
			{ STR_INIT("from"), &cel_types[CEL_STRING] },
			{ STR_INIT("value"), &cel_types[CEL_DYN] },
		};
		static const struct cel_type patch = { .kind = CEL_STRUCT,
						       .is_patch = true,
						       .name = STR_INIT("JSONPatch"),
						       .members = members,
						       .n_members = ARRAY_LEN(members) };

		return &patch;
	}
	if (c->env->patch && (str_eqz(name, "Object") || str_has_prefix(name, STR("Object.")))) {
		struct cel_type *t = arena_new_obj(c->arena, struct cel_type);

		t->kind = CEL_STRUCT;
		t->any_fields = true;
		t->name = name;
		return t;
	}
	return NULL;
}

/* Gives the node what the name stands for; false when it stands for nothing. */
static bool cel_check_name(struct checker *c, struct cel_node *n, struct str name)
{
	const struct cel_type *t;

	for (const struct scope *s = c->scope; s; s = s->up)
		if (str_eq(s->name, name)) {
			n->slot_kind = CEL_SLOT_LOCAL;
			n->slot = s->slot;
			n->type = s->type;
			return true;
		}
	for (size_t i = 0; i < c->env->n_vars; i++)
		if (c->env->vars[i].name.n && str_eq(c->env->vars[i].name, name)) {
			n->slot_kind = CEL_SLOT_GLOBAL;
			n->slot = (int)i;
			n->type = c->env->vars[i].type;
			c->prog->uses |= UINT64_C(1) << i;
			return true;
		}
	t = cel_check_type_name(c, name);
	if (!t)
		return false;
	n->slot_kind = CEL_SLOT_TYPE;
	n->lit = cel_type_val(t);
	n->is_const = true;
	n->type = cel_type_new(c->arena, CEL_TYPE, t->kind == CEL_TYPE ? NULL : t, NULL);
	return true;
}

static void cel_check_undeclared(struct checker *c, struct cel_node *n, struct str name)
{
	cel_issue_add(c->is, n->pos, "undeclared reference to '" STR_FMT "' (in container '')",
		      STR_ARG(name));
	n->type = cel_check_error();
}

/* "a.b.c" of a chain of selects; empty when it is none. */
static struct str cel_check_qualified(struct checker *c, const struct cel_node *n)
{
	struct str up;

	if (n->kind == CEL_N_IDENT)
		return n->name;
	if (n->kind != CEL_N_SELECT || n->test_only)
		return STR_EMPTY;
	up = cel_check_qualified(c, n->target);
	return up.n && up.n < 256
		       ? arena_fmt(c->arena, STR_FMT "." STR_FMT, STR_ARG(up), STR_ARG(n->name))
		       : STR_EMPTY;
}

/* ---- fields */

static const struct cel_type *cel_check_composed(struct checker *c, struct str name, int *slot)
{
	for (size_t i = 0; i < c->env->n_composed; i++)
		if (str_eq(c->env->composed[i].name, name)) {
			*slot = (int)i;
			return c->env->composed[i].type;
		}
	return NULL;
}

static const struct cel_type *cel_check_struct_field(struct checker *c, struct cel_node *n,
						     const struct cel_node *operand,
						     const struct cel_type *t, struct str field)
{
	const struct cel_type *f;
	bool variables = operand->kind == CEL_N_IDENT && operand->slot_kind == CEL_SLOT_GLOBAL &&
			 operand->slot == c->env->variables_slot;

	f = variables ? cel_check_composed(c, field, &n->slot) : cel_type_field(c->env, t, field);
	if (f)
		return f;
	cel_issue_add(c->is, n->pos, "undefined field '" STR_FMT "'", STR_ARG(field));
	return cel_check_error();
}

static const struct cel_type *cel_check_field(struct checker *c, struct cel_node *n,
					      struct cel_node *operand, struct str field,
					      bool optional)
{
	const struct cel_type *t, *res;

	cel_check_node(c, operand);
	t = cel_check_subst(c, operand->type);
	if (t->kind == CEL_OPTIONAL) {
		optional = true;
		t = t->a;
	}
	n->opt = str_contains(field, STR("__"));
	switch (t->kind) {
	case CEL_MAP:
		res = t->b;
		break;
	case CEL_STRUCT:
		res = cel_check_struct_field(c, n, operand, t, field);
		break;
	case CEL_PARAM:
		(void)cel_type_assign(c->subst, cel_check_dyn(), t);
		res = cel_check_dyn();
		break;
	default:
		if (t->kind != CEL_DYN && t->kind != CEL_ERROR)
			cel_issue_add(c->is, n->pos,
				      "type '" STR_FMT "' does not support field selection",
				      STR_ARG(cel_check_text(c, t)));
		res = cel_check_dyn();
	}
	return optional ? cel_type_new(c->arena, CEL_OPTIONAL, res, NULL) : res;
}

static void cel_check_select(struct checker *c, struct cel_node *n)
{
	struct str name = cel_check_qualified(c, n);
	const struct cel_type *t;

	if (name.n && cel_check_name(c, n, name)) {
		n->kind = CEL_N_IDENT;
		n->name = name;
		n->target = NULL;
		return;
	}
	t = cel_check_field(c, n, n->target, n->name, false);
	n->type = n->test_only ? &cel_types[CEL_BOOL] : cel_check_subst(c, t);
}

/* ---- calls */

static const struct cel_fn *cel_check_fn(struct checker *c, struct str name)
{
	const struct cel_fn *f = cel_fn_find(name);

	return f && f->patch_only && !c->env->patch ? NULL : f;
}

static void cel_check_no_overload(struct checker *c, const struct cel_node *n,
				  const struct cel_type **args, size_t n_args)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t i = 0;

	if (n->member)
		buf_add(&b, cel_check_text(c, cel_type_substitute(c->subst, args[i++], true)));
	if (n->member)
		buf_addc(&b, '.');
	buf_addc(&b, '(');
	for (bool first = true; i < n_args; i++, first = false) {
		if (!first)
			buf_addz(&b, ", ");
		buf_add(&b, cel_check_text(c, cel_type_substitute(c->subst, args[i], true)));
	}
	buf_addc(&b, ')');
	cel_issue_add(c->is, n->pos,
		      "found no matching overload for '" STR_FMT "' applied to '" STR_FMT "'",
		      STR_ARG(n->fn->name), STR_ARG(buf_str(&b)));
}

static bool cel_check_logic(struct checker *c, struct cel_node *n)
{
	bool ok = true;

	for (uint32_t i = 0; i < n->n_args; i++)
		if (!cel_type_assign(c->subst, n->args[i]->type, &cel_types[CEL_BOOL])) {
			cel_check_mismatch(c, n->args[i], &cel_types[CEL_BOOL], n->args[i]->type);
			ok = false;
		}
	n->overloads = 1;
	n->type = ok ? &cel_types[CEL_BOOL] : cel_check_error();
	return ok;
}

/* The type that overload o makes of the arguments, NULL when it does not take them. */
static const struct cel_type *cel_check_overload(struct checker *c, const struct cel_overload *o,
						 const struct cel_type **args, size_t n)
{
	const struct cel_type *fresh[2] = { NULL, NULL }, *want[CEL_MAX_ARGS + 1], *res = o->result;

	for (size_t i = 0; i < n; i++)
		want[i] = o->params ? cel_type_instance(c->subst, o->args[i], fresh) : o->args[i];
	if (o->params)
		res = cel_type_instance(c->subst, res, fresh);
	return cel_type_assign_list(c->subst, args, want, n) ? cel_check_subst(c, res) : NULL;
}

static void cel_check_resolve(struct checker *c, struct cel_node *n)
{
	const struct cel_type *args[CEL_MAX_ARGS + 2] = { NULL }, *res = NULL, *r;
	size_t n_args = 0;

	if (str_eqz(n->fn->name, "_&&_") || str_eqz(n->fn->name, "_||_")) {
		cel_check_logic(c, n);
		return;
	}
	if (n->member)
		args[n_args++] = n->target->type;
	for (uint32_t i = 0; i < n->n_args && n_args < ARRAY_LEN(args); i++)
		args[n_args++] = n->args[i]->type;
	for (size_t i = 0; i < n->fn->n_overloads; i++) {
		const struct cel_overload *o = &n->fn->overloads[i];

		if (o->member != n->member || o->n_args != n_args)
			continue;
		r = cel_check_overload(c, o, args, n_args);
		if (!r)
			continue;
		n->overloads |= UINT64_C(1) << i;
		if (!res)
			res = r;
		else if (res->kind != CEL_DYN && !cel_type_equal(r, res))
			res = cel_check_dyn();
	}
	if (!res)
		cel_check_no_overload(c, n, args, n_args);
	n->type = res ? res : cel_check_error();
}

static void cel_check_opt_select(struct checker *c, struct cel_node *n)
{
	const struct cel_type *t;

	n->op = CEL_OP_OPT_SELECT;
	t = cel_check_field(c, n, n->args[0], n->args[1]->lit.s, true);
	n->args[1]->type = &cel_types[CEL_STRING];
	n->args[1]->check_done = true;
	n->type = cel_check_subst(c, t);
}

static const struct {
	const char *name;
	enum cel_op op;
} ops[] = {
	{ "_&&_", CEL_OP_AND },          { "_||_", CEL_OP_OR },
	{ "_?_:_", CEL_OP_CONDITIONAL }, { "_==_", CEL_OP_EQ },
	{ "_!=_", CEL_OP_NE },           { "@not_strictly_false", CEL_OP_NOT_STRICTLY_FALSE },
	{ "or", CEL_OP_OR_ELSE },        { "orValue", CEL_OP_OR_ELSE },
	{ "matches", CEL_OP_MATCHES },
};

static void cel_check_op(struct checker *c, struct cel_node *n)
{
	const struct cel_node *pattern;

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (str_eqz(n->fn->name, ops[i].name))
			n->op = (uint8_t)ops[i].op;
	if (n->op != CEL_OP_MATCHES)
		return;
	pattern = n->n_args ? n->args[n->n_args - 1] : NULL;
	if (!pattern || pattern->kind != CEL_N_LITERAL || pattern->lit.kind != CEL_STRING ||
	    !(n->regex = cel_prog_regex(c->prog, pattern->lit.s, c->arena, NULL)))
		n->op = CEL_OP_CALL;
}

static void cel_check_call(struct checker *c, struct cel_node *n)
{
	struct str prefix;

	if (!n->member && str_eqz(n->name, "_?._")) {
		cel_check_opt_select(c, n);
		return;
	}
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_check_node(c, n->args[i]);
	if (n->member) {
		prefix = cel_check_qualified(c, n->target);
		n->fn = prefix.n ? cel_check_fn(c, arena_fmt(c->arena, STR_FMT "." STR_FMT,
							     STR_ARG(prefix), STR_ARG(n->name)))
				 : NULL;
		if (n->fn)
			n->member = false;
		else
			cel_check_node(c, n->target);
	}
	if (!n->fn)
		n->fn = cel_check_fn(c, n->name);
	if (!n->fn) {
		cel_check_undeclared(c, n, n->name);
		return;
	}
	cel_check_resolve(c, n);
	cel_check_op(c, n);
}

/* ---- literals of lists, maps and structs */

/* Mixed literals are dyn here; cel_validate() refuses those that it should. */
static const struct cel_type *cel_check_join(struct checker *c, const struct cel_type *prev,
					     const struct cel_type *cur)
{
	if (!prev)
		return cur;
	if (cel_type_assign(c->subst, prev, cur))
		return cel_type_general(prev, cur);
	return cel_check_dyn();
}

/* The type inside an optional element. */
static const struct cel_type *cel_check_unwrap(struct checker *c, const struct cel_node *n)
{
	const struct cel_type *t = n->type;

	if (t->kind == CEL_OPTIONAL)
		return t->a;
	if (t->kind != CEL_DYN)
		cel_check_mismatch(c, n, cel_type_new(c->arena, CEL_OPTIONAL, t, NULL), t);
	return t;
}

static void cel_check_list(struct checker *c, struct cel_node *n)
{
	const struct cel_type *elem = NULL;

	for (uint32_t i = 0; i < n->n_args; i++) {
		struct cel_node *e = n->args[i];

		cel_check_node(c, e);
		elem = cel_check_join(
			c, elem, n->optional && n->optional[i] ? cel_check_unwrap(c, e) : e->type);
	}
	n->type = cel_type_new(c->arena, CEL_LIST, elem ? elem : cel_subst_fresh(c->subst), NULL);
}

static void cel_check_map(struct checker *c, struct cel_node *n)
{
	const struct cel_type *key = NULL, *val = NULL;

	for (uint32_t i = 0; i + 1 < n->n_args; i += 2) {
		struct cel_node *k = n->args[i], *v = n->args[i + 1];

		cel_check_node(c, k);
		key = cel_check_join(c, key, k->type);
		cel_check_node(c, v);
		val = cel_check_join(
			c, val, n->optional && n->optional[i] ? cel_check_unwrap(c, v) : v->type);
	}
	if (!key) {
		key = cel_subst_fresh(c->subst);
		val = cel_subst_fresh(c->subst);
	}
	n->type = cel_type_new(c->arena, CEL_MAP, key, val);
}

static void cel_check_entry(struct checker *c, struct cel_node *n, uint32_t i,
			    const struct cel_type *t)
{
	struct cel_node *v = n->args[i];
	const struct cel_type *want = cel_check_error(), *is;

	cel_check_node(c, v);
	if (t) {
		const struct cel_type *f = cel_type_field(c->env, t, n->fields[i]);

		if (f)
			want = f;
		else
			cel_issue_add(c->is, n->entry_pos[i], "undefined field '" STR_FMT "'",
				      STR_ARG(n->fields[i]));
	}
	is = n->optional && n->optional[i] ? cel_check_unwrap(c, v) : v->type;
	if (!cel_type_assign(c->subst, want, is))
		cel_issue_add(c->is, n->entry_pos[i],
			      "expected type of field '" STR_FMT "' is '" STR_FMT
			      "' but provided type is '" STR_FMT "'",
			      STR_ARG(n->fields[i]), STR_ARG(cel_check_text(c, want)),
			      STR_ARG(cel_check_text(c, is)));
}

static void cel_check_struct(struct checker *c, struct cel_node *n)
{
	const struct cel_type *t = NULL;

	if (!cel_check_name(c, n, n->name)) {
		cel_check_undeclared(c, n, n->name);
		return;
	}
	n->is_const = false;
	if (n->slot_kind != CEL_SLOT_TYPE) {
		cel_issue_add(c->is, n->pos, "'" STR_FMT "' is not a type",
			      STR_ARG(cel_check_text(c, n->type)));
	} else {
		t = n->lit.p;
		if (!t || t->kind != CEL_STRUCT) {
			cel_issue_add(c->is, n->pos, "'" STR_FMT "' is not a message type",
				      STR_ARG(n->name));
			t = NULL;
		}
	}
	n->type = t ? t : cel_check_error();
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_check_entry(c, n, i, t);
}

/* ---- comprehensions */

static void cel_check_range(struct checker *c, const struct cel_node *range, bool two,
			    const struct cel_type **v, const struct cel_type **v2)
{
	const struct cel_type *t = cel_check_subst(c, range->type);

	*v = *v2 = cel_check_dyn();
	switch (t->kind) {
	case CEL_LIST:
		*v = two ? &cel_types[CEL_INT] : t->a;
		*v2 = t->a;
		break;
	case CEL_MAP:
		*v = t->a;
		*v2 = t->b;
		break;
	case CEL_DYN:
	case CEL_ERROR:
	case CEL_PARAM:
		(void)cel_type_assign(c->subst, cel_check_dyn(), t);
		break;
	default:
		cel_issue_add(c->is, range->pos,
			      "expression of type '" STR_FMT "' cannot be range of a comprehension "
			      "(must be list, map, or dynamic)",
			      STR_ARG(cel_check_text(c, t)));
		*v = *v2 = cel_check_error();
	}
}

static void cel_check_want(struct checker *c, const struct cel_node *n, const struct cel_type *t)
{
	if (!cel_type_assign(c->subst, t, n->type))
		cel_check_mismatch(c, n, t, n->type);
}

/* accu + [x], where accu is the list that grows: appended to in place */
static void cel_check_append(struct cel_node *step, int accu_slot)
{
	if (step->kind == CEL_N_CALL && step->op == CEL_OP_CONDITIONAL)
		step = step->args[1];
	if (step->kind == CEL_N_CALL && step->fn && str_eqz(step->fn->name, "_+_") &&
	    step->args[0]->kind == CEL_N_IDENT && step->args[0]->slot_kind == CEL_SLOT_LOCAL &&
	    step->args[0]->slot == accu_slot && step->args[1]->kind == CEL_N_LIST &&
	    step->args[1]->n_args == 1 && !step->args[1]->optional)
		step->op = CEL_OP_APPEND;
}

static void cel_check_fold(struct checker *c, struct cel_node *n)
{
	struct cel_fold *f = n->fold;
	const struct cel_type *v, *v2;
	const struct scope *outer = c->scope;
	struct scope accu, iter, iter2;

	cel_check_node(c, f->range);
	cel_check_node(c, f->init);
	f->accu_slot = (int)c->n_locals++;
	accu = (struct scope){ outer, f->accu, f->init->type, f->accu_slot };
	c->scope = &accu;
	if (!f->bind) {
		cel_check_range(c, f->range, f->iter2.n, &v, &v2);
		f->iter_slot = (int)c->n_locals++;
		iter = (struct scope){ c->scope, f->iter, v, f->iter_slot };
		c->scope = &iter;
		if (f->iter2.n) {
			f->iter2_slot = (int)c->n_locals++;
			iter2 = (struct scope){ c->scope, f->iter2, v2, f->iter2_slot };
			c->scope = &iter2;
		}
		cel_check_node(c, f->cond);
		cel_check_want(c, f->cond, &cel_types[CEL_BOOL]);
		cel_check_node(c, f->step);
		cel_check_want(c, f->step, f->init->type);
		cel_check_append(f->step, f->accu_slot);
		c->scope = &accu;
	}
	cel_check_node(c, f->result);
	c->scope = outer;
	n->type = cel_check_subst(c, f->result->type);
}

/* ---- all nodes */

static void cel_check_node(struct checker *c, struct cel_node *n)
{
	if (n->check_done)
		return;
	n->check_done = true;
	switch (n->kind) {
	case CEL_N_LITERAL:
		n->type = &cel_types[n->lit.kind];
		n->is_const = true;
		break;
	case CEL_N_IDENT:
		if (!cel_check_name(c, n, n->name))
			cel_check_undeclared(c, n, n->name);
		break;
	case CEL_N_SELECT:
		cel_check_select(c, n);
		break;
	case CEL_N_CALL:
		cel_check_call(c, n);
		break;
	case CEL_N_LIST:
		cel_check_list(c, n);
		break;
	case CEL_N_MAP:
		cel_check_map(c, n);
		break;
	case CEL_N_STRUCT:
		cel_check_struct(c, n);
		break;
	case CEL_N_FOLD:
		cel_check_fold(c, n);
		break;
	}
}

/* Open type parameters become dyn, everywhere. */
static void cel_check_close(struct checker *c, struct cel_node *n)
{
	if (!n || !n->check_done)
		return;
	n->check_done = false;
	if (n->type)
		n->type = cel_type_substitute(c->subst, n->type, true);
	cel_check_close(c, n->target);
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_check_close(c, n->args[i]);
	if (!n->fold)
		return;
	cel_check_close(c, n->fold->range);
	cel_check_close(c, n->fold->init);
	cel_check_close(c, n->fold->cond);
	cel_check_close(c, n->fold->step);
	cel_check_close(c, n->fold->result);
}

void cel_check(struct cel_prog *p, struct cel_issues *is)
{
	struct checker c = { .prog = p, .env = p->env, .arena = p->arena, .is = is };

	c.subst = cel_subst_new(p->arena);
	cel_check_node(&c, p->root);
	p->n_locals = c.n_locals;
	cel_check_close(&c, p->root);
	p->type = p->root->type;
}

/* ---- literals that cannot be what they are made into */

static void cel_validate_call(struct cel_prog *p, struct cel_node *n, struct cel_issues *is)
{
	const struct cel_node *arg = n->n_args ? n->args[n->n_args - 1] : NULL;
	struct cel_val v;
	int64_t ns;

	if (n->fn && str_eqz(n->fn->name, "format"))
		cel_format_check(p->arena, n, is);
	if (!n->fn || !arg || arg->kind != CEL_N_LITERAL || arg->lit.kind != CEL_STRING)
		return;
	if (str_eqz(n->fn->name, "duration") && !cel_duration_parse(arg->lit.s, &ns))
		cel_issue_add(is, arg->pos, "invalid duration argument");
	if (str_eqz(n->fn->name, "timestamp") && !cel_timestamp_parse(arg->lit.s, &v))
		cel_issue_add(is, arg->pos, "invalid timestamp argument");
	if (str_eqz(n->fn->name, "matches") && !n->regex)
		cel_issue_add(is, arg->pos, "invalid matches argument");
}

static const struct cel_type *cel_validate_elem(const struct cel_node *n, uint32_t i)
{
	const struct cel_type *t = n->args[i]->type;

	return n->optional && n->optional[i] && t->kind == CEL_OPTIONAL ? t->a : t;
}

/* Literals of lists and maps have one type of element, but for the arguments of format(). */
static void cel_validate_mixed(struct cel_prog *p, const struct cel_node *n, uint32_t from,
			       uint32_t step, struct cel_issues *is)
{
	const struct cel_type *first, *t;

	for (uint32_t i = from + step; i < n->n_args; i += step) {
		first = cel_validate_elem(n, from);
		t = cel_validate_elem(n, i);
		if (cel_type_equal(first, t))
			continue;
		cel_issue_add(is, n->args[i]->pos,
			      "expected type '" STR_FMT "' but found '" STR_FMT "'",
			      STR_ARG(cel_type_text(p->arena, first)),
			      STR_ARG(cel_type_text(p->arena, t)));
		return;
	}
}

static void cel_validate_at(struct cel_prog *p, struct cel_node *n, struct cel_issues *is,
			    bool exempt)
{
	if (!n || n->check_done)
		return;
	n->check_done = true;
	if (n->kind == CEL_N_CALL)
		cel_validate_call(p, n, is);
	if (n->kind == CEL_N_LIST && !exempt)
		cel_validate_mixed(p, n, 0, 1, is);
	if (n->kind == CEL_N_MAP && !exempt) {
		cel_validate_mixed(p, n, 0, 2, is);
		cel_validate_mixed(p, n, 1, 2, is);
	}
	cel_validate_at(p, n->target, is, exempt);
	exempt |= n->kind == CEL_N_CALL && n->fn && str_eqz(n->fn->name, "format");
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_validate_at(p, n->args[i], is, exempt);
	if (!n->fold)
		return;
	cel_validate_at(p, n->fold->range, is, exempt);
	cel_validate_at(p, n->fold->init, is, exempt);
	cel_validate_at(p, n->fold->cond, is, exempt);
	cel_validate_at(p, n->fold->step, is, exempt);
	cel_validate_at(p, n->fold->result, is, exempt);
}

void cel_validate(struct cel_prog *p, struct cel_node *n, struct cel_issues *is)
{
	cel_validate_at(p, n, is, false);
}
