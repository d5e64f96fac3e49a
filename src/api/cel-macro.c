/* SPDX-License-Identifier: Apache-2.0 */

/* Macros: what the parser makes of calls like has() and all(), as cel-go expands them. */

#include "api/cel-value.h"
#include "base/arena.h"

#define ACCU "@result"

struct macro_ctx {
	struct arena *a;
	struct cel_issues *is;
	struct cel_node *call;
	uint32_t pos;
};

static struct cel_node *cel_macro_fail(struct macro_ctx *m, uint32_t pos, const char *msg)
{
	cel_issue_add(m->is, pos, "%s", msg);
	return m->call;
}

static struct cel_node *cel_macro_bool(struct macro_ctx *m, bool b)
{
	struct cel_node *n = cel_node_new(m->a, CEL_N_LITERAL, m->pos);

	n->lit = cel_val_bool(b);
	return n;
}

static struct cel_node *cel_macro_int(struct macro_ctx *m, int64_t i)
{
	struct cel_node *n = cel_node_new(m->a, CEL_N_LITERAL, m->pos);

	n->lit = cel_int(i);
	return n;
}

static struct cel_node *cel_macro_accu(struct macro_ctx *m)
{
	return cel_node_ident(m->a, m->pos, ACCU);
}

static struct cel_node *cel_macro_list(struct macro_ctx *m, struct cel_node *elem)
{
	struct cel_node *n = cel_node_new(m->a, CEL_N_LIST, m->pos);

	if (elem) {
		n->n_args = 1;
		n->args = arena_array(m->a, 1, sizeof(*n->args));
		n->args[0] = elem;
		cel_node_measure(n);
	}
	return n;
}

static struct cel_node *cel_macro_fold(struct macro_ctx *m, struct str iter, struct str iter2,
				       struct cel_node *init, struct cel_node *cond,
				       struct cel_node *step, struct cel_node *result)
{
	struct cel_node *n = cel_node_new(m->a, CEL_N_FOLD, m->pos);

	n->fold = arena_new_obj(m->a, struct cel_fold);
	*n->fold = (struct cel_fold){ .iter = iter,
				      .iter2 = iter2,
				      .accu = STR(ACCU),
				      .range = m->call->target,
				      .init = init,
				      .cond = cond,
				      .step = step,
				      .result = result };
	cel_node_measure(n);
	return n;
}

/* ---- has */

static struct cel_node *cel_macro_has(struct macro_ctx *m)
{
	struct cel_node *s = m->call->args[0];

	if (s->kind != CEL_N_SELECT || s->test_only)
		return cel_macro_fail(m, s->pos, "invalid argument to has() macro");
	s->test_only = true;
	s->pos = m->pos;
	return s;
}

/* ---- all, exists, exists_one over one or two variables */

struct quantifier_parts {
	struct str iter, iter2;
	struct cel_node *pred;
};

static struct cel_node *cel_macro_quantifier(struct macro_ctx *m, const char *name, struct str v,
					     struct str v2, struct cel_node *pred)
{
	struct cel_node *step;

	if (str_eqz(m->call->name, "all")) {
		step = cel_node_call(m->a, m->pos, "_&&_", 2, cel_macro_accu(m), pred);
		return cel_macro_fold(
			m, v, v2, cel_macro_bool(m, true),
			cel_node_call(m->a, m->pos, "@not_strictly_false", 1, cel_macro_accu(m)),
			step, cel_macro_accu(m));
	}
	if (str_eqz(m->call->name, "exists")) {
		step = cel_node_call(m->a, m->pos, "_||_", 2, cel_macro_accu(m), pred);
		return cel_macro_fold(
			m, v, v2, cel_macro_bool(m, false),
			cel_node_call(m->a, m->pos, "@not_strictly_false", 1,
				      cel_node_call(m->a, m->pos, "!_", 1, cel_macro_accu(m))),
			step, cel_macro_accu(m));
	}
	(void)name;
	step = cel_node_call(
		m->a, m->pos, "_?_:_", 3, pred,
		cel_node_call(m->a, m->pos, "_+_", 2, cel_macro_accu(m), cel_macro_int(m, 1)),
		cel_macro_accu(m));
	return cel_macro_fold(
		m, v, v2, cel_macro_int(m, 0), cel_macro_bool(m, true), step,
		cel_node_call(m->a, m->pos, "_==_", 2, cel_macro_accu(m), cel_macro_int(m, 1)));
}

/* The name of a variable; false (with an issue) when n is none. */
static bool cel_macro_var(struct macro_ctx *m, const struct cel_node *n, const char *why,
			  struct str *ret)
{
	if (n->kind != CEL_N_IDENT) {
		cel_macro_fail(m, n->pos, why);
		return false;
	}
	if (str_eqz(n->name, ACCU) || str_eqz(n->name, "__result__")) {
		cel_macro_fail(m, n->pos, "iteration variable overwrites accumulator variable");
		return false;
	}
	*ret = n->name;
	return true;
}

static struct cel_node *cel_macro_quantify(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args;
	struct str v, v2 = STR_EMPTY;
	bool two = m->call->n_args == 3;

	if (!cel_macro_var(m, args[0], "argument must be a simple name", &v))
		return m->call;
	if (two && !cel_macro_var(m, args[1], "argument must be a simple name", &v2))
		return m->call;
	if (two && str_eq(v, v2))
		return cel_macro_fail(
			m, args[1]->pos,
			arena_fmt(m->a, "duplicate variable name: " STR_FMT, STR_ARG(v)).p);
	return cel_macro_quantifier(m, NULL, v, v2, args[two ? 2 : 1]);
}

/* ---- map, filter */

static struct cel_node *cel_macro_append(struct macro_ctx *m, struct cel_node *filter,
					 struct cel_node *elem, struct str v, struct str v2)
{
	struct cel_node *step =
		cel_node_call(m->a, m->pos, "_+_", 2, cel_macro_accu(m), cel_macro_list(m, elem));

	if (filter)
		step = cel_node_call(m->a, m->pos, "_?_:_", 3, filter, step, cel_macro_accu(m));
	return cel_macro_fold(m, v, v2, cel_macro_list(m, NULL), cel_macro_bool(m, true), step,
			      cel_macro_accu(m));
}

static struct cel_node *cel_macro_map(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args;
	bool filter = m->call->n_args == 3;
	struct str v;

	if (!cel_macro_var(m, args[0], "argument is not an identifier", &v))
		return m->call;
	return cel_macro_append(m, filter ? args[1] : NULL, args[filter ? 2 : 1], v, STR_EMPTY);
}

static struct cel_node *cel_macro_filter(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args, *elem;
	struct str v;

	if (!cel_macro_var(m, args[0], "argument is not an identifier", &v))
		return m->call;
	elem = cel_node_new(m->a, CEL_N_IDENT, args[0]->pos);
	elem->name = v;
	return cel_macro_append(m, args[1], elem, v, STR_EMPTY);
}

/* ---- two-variable transforms */

static bool cel_macro_two_vars(struct macro_ctx *m, struct str *v, struct str *v2)
{
	struct cel_node **args = m->call->args;

	if (!cel_macro_var(m, args[0], "argument must be a simple name", v) ||
	    !cel_macro_var(m, args[1], "argument must be a simple name", v2))
		return false;
	if (!str_eq(*v, *v2))
		return true;
	cel_macro_fail(m, args[1]->pos,
		       arena_fmt(m->a, "duplicate variable name: " STR_FMT, STR_ARG(*v)).p);
	return false;
}

static struct cel_node *cel_macro_transform_list(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args;
	bool filter = m->call->n_args == 4;
	struct str v, v2;

	if (!cel_macro_two_vars(m, &v, &v2))
		return m->call;
	return cel_macro_append(m, filter ? args[2] : NULL, args[filter ? 3 : 2], v, v2);
}

static struct cel_node *cel_macro_transform_map(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args, *step, *key;
	bool filter = m->call->n_args == 4, entry = str_eqz(m->call->name, "transformMapEntry");
	struct str v, v2;

	if (!cel_macro_two_vars(m, &v, &v2))
		return m->call;
	key = cel_node_new(m->a, CEL_N_IDENT, args[0]->pos);
	key->name = v;
	step = entry ? cel_node_call(m->a, m->pos, "cel.@mapInsert", 2, cel_macro_accu(m),
				     args[filter ? 3 : 2])
		     : cel_node_call(m->a, m->pos, "cel.@mapInsert", 3, cel_macro_accu(m), key,
				     args[filter ? 3 : 2]);
	if (filter)
		step = cel_node_call(m->a, m->pos, "_?_:_", 3, args[2], step, cel_macro_accu(m));
	return cel_macro_fold(m, v, v2, cel_node_new(m->a, CEL_N_MAP, m->pos),
			      cel_macro_bool(m, true), step, cel_macro_accu(m));
}

/* ---- binding */

static struct cel_node *cel_macro_bind_node(struct macro_ctx *m, struct str name,
					    struct cel_node *init, struct cel_node *result)
{
	struct cel_node *n = cel_node_new(m->a, CEL_N_FOLD, m->pos), *accu;

	accu = cel_node_new(m->a, CEL_N_IDENT, m->pos);
	accu->name = name;
	n->fold = arena_new_obj(m->a, struct cel_fold);
	*n->fold = (struct cel_fold){ .iter = STR("#unused"),
				      .accu = name,
				      .range = cel_macro_list(m, NULL),
				      .init = init,
				      .cond = cel_macro_bool(m, false),
				      .step = accu,
				      .result = result,
				      .bind = true };
	cel_node_measure(n);
	return n;
}

/* optMap, optFlatMap: the target's value, when it has one, under a name */
static struct cel_node *cel_macro_opt_map(struct macro_ctx *m)
{
	struct cel_node **args = m->call->args, *target = m->call->target, *has, *value, *some;
	bool flat = str_eqz(m->call->name, "optFlatMap");

	if (args[0]->kind != CEL_N_IDENT)
		return cel_macro_fail(
			m, args[0]->pos,
			arena_fmt(m->a, STR_FMT "() variable name must be a simple identifier",
				  STR_ARG(m->call->name))
				.p);
	has = cel_node_call(m->a, m->pos, "hasValue", 0);
	has->member = true;
	has->target = target;
	cel_node_measure(has);
	value = cel_node_call(m->a, m->pos, "value", 0);
	value->member = true;
	value->target = target;
	cel_node_measure(value);
	some = cel_macro_bind_node(m, args[0]->name, value, args[1]);
	if (!flat)
		some = cel_node_call(m->a, m->pos, "optional.of", 1, some);
	return cel_node_call(m->a, m->pos, "_?_:_", 3, has, some,
			     cel_node_call(m->a, m->pos, "optional.none", 0));
}

/* sortBy(x, key): the list, under a name, sorted by what key makes of its elements */
static struct cel_node *cel_macro_sort_by(struct macro_ctx *m)
{
	static const char input[] = "@__sortBy_input__";
	struct cel_node **args = m->call->args, *target = m->call->target, *keys;
	struct macro_ctx inner = *m;
	struct cel_node call = *m->call;
	struct str v;

	if (target->kind == CEL_N_LITERAL || target->kind == CEL_N_MAP ||
	    target->kind == CEL_N_STRUCT)
		return cel_macro_fail(m, target->pos,
				      "sortBy can only be applied to a list, identifier, "
				      "comprehension, call or select expression");
	if (!cel_macro_var(m, args[0], "argument is not an identifier", &v))
		return m->call;
	call.target = cel_node_ident(m->a, m->pos, input);
	inner.call = &call;
	keys = cel_macro_append(&inner, NULL, args[1], v, STR_EMPTY);
	return cel_macro_bind_node(m, str_from(input), target,
				   cel_node_call(m->a, m->pos, "@sortByAssociatedKeys", 2,
						 cel_node_ident(m->a, m->pos, input), keys));
}

static const struct {
	const char *name;
	uint32_t n_args;
	bool member;
	struct cel_node *(*expand)(struct macro_ctx *m);
} macros[] = {
	{ "has", 1, false, cel_macro_has },
	{ "all", 2, true, cel_macro_quantify },
	{ "all", 3, true, cel_macro_quantify },
	{ "exists", 2, true, cel_macro_quantify },
	{ "exists", 3, true, cel_macro_quantify },
	{ "exists_one", 2, true, cel_macro_quantify },
	{ "existsOne", 2, true, cel_macro_quantify },
	{ "existsOne", 3, true, cel_macro_quantify },
	{ "map", 2, true, cel_macro_map },
	{ "map", 3, true, cel_macro_map },
	{ "filter", 2, true, cel_macro_filter },
	{ "transformList", 3, true, cel_macro_transform_list },
	{ "transformList", 4, true, cel_macro_transform_list },
	{ "transformMap", 3, true, cel_macro_transform_map },
	{ "transformMap", 4, true, cel_macro_transform_map },
	{ "transformMapEntry", 3, true, cel_macro_transform_map },
	{ "transformMapEntry", 4, true, cel_macro_transform_map },
	{ "sortBy", 2, true, cel_macro_sort_by },
	{ "optMap", 2, true, cel_macro_opt_map },
	{ "optFlatMap", 2, true, cel_macro_opt_map },
};

struct cel_node *cel_macro_expand(struct arena *a, struct cel_issues *is, struct cel_node *call)
{
	struct macro_ctx m = { a, is, call, call->pos };

	for (size_t i = 0; i < ARRAY_LEN(macros); i++)
		if (call->n_args == macros[i].n_args && call->member == macros[i].member &&
		    str_eqz(call->name, macros[i].name))
			return macros[i].expand(&m);
	return NULL;
}
