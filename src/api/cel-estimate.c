/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The static estimate of cost, as cel-go and Kubernetes' estimator make it: each node's cost from
 * its parts, sizes of data from the schema that self's parts are declared with. What is neither
 * computed nor declared is unbounded.
 */

#include <math.h>

#include "api/cel-value.h"
#include "base/arena.h"

struct range {
	uint64_t min, max;
};

struct cel_size {
	bool sized, has_entry, entry_map, has_path, done;
	struct range size, key, val;
	const struct cel_type *path; /* NULL with has_path: nowhere */
};

struct coster {
	struct cel_prog *prog;
	struct arena *arena;
	const struct cel_type *root; /* NULL: sizes are unknown */
	struct cel_size *locals;
};

static const struct range unknown = { 0, UINT64_MAX };

static struct cel_cost cel_estimate(struct coster *c, struct cel_node *n);

/* ---- arithmetic that saturates */

static uint64_t cel_sat_add(uint64_t x, uint64_t y)
{
	return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

static uint64_t cel_sat_mul(uint64_t x, uint64_t y)
{
	return y && x > UINT64_MAX / y ? UINT64_MAX : x * y;
}

static uint64_t cel_sat_factor(uint64_t x, double f)
{
	double d = ceil((double)x * f);

	return d >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)d;
}

static struct range cel_range_add(struct range x, struct range y)
{
	return (struct range){ cel_sat_add(x.min, y.min), cel_sat_add(x.max, y.max) };
}

static struct range cel_range_mul(struct range x, struct range y)
{
	return (struct range){ cel_sat_mul(x.min, y.min), cel_sat_mul(x.max, y.max) };
}

static struct range cel_range_union(struct range x, struct range y)
{
	return (struct range){ MIN(x.min, y.min), MAX(x.max, y.max) };
}

static struct range cel_range_factor(struct range x, double f)
{
	return (struct range){ cel_sat_factor(x.min, f), cel_sat_factor(x.max, f) };
}

static struct range cel_range_of(uint64_t n)
{
	return (struct range){ n, n };
}

static struct cel_cost cel_cost_of(struct range r)
{
	return (struct cel_cost){ r.min, r.max };
}

static struct cel_cost cel_cost_plus(struct cel_cost x, struct cel_cost y)
{
	return (struct cel_cost){ cel_sat_add(x.min, y.min), cel_sat_add(x.max, y.max) };
}

static struct cel_cost cel_cost_fixed(uint64_t n)
{
	return (struct cel_cost){ n, n };
}

/* ---- sizes */

static struct cel_size *cel_node_size(struct coster *c, struct cel_node *n)
{
	if (!n->size)
		n->size = arena_new_obj(c->arena, struct cel_size);
	return n->size;
}

static const struct cel_type *cel_path_step(struct coster *c, const struct cel_size *from,
					    const char *step, struct str field)
{
	const struct cel_type *t = from->path;

	if (!from->has_path)
		return c->root; /* as upstream: the first step of a path is not looked at */
	if (!t)
		return NULL;
	if (!step)
		return t->kind == CEL_STRUCT ? cel_type_field(c->prog->env, t, field) : NULL;
	if (!strcmp(step, "@keys"))
		return t->kind == CEL_MAP ? t->a : t->kind == CEL_LIST ? &cel_types[CEL_INT] : NULL;
	return t->kind == CEL_LIST ? t->a : t->kind == CEL_MAP ? t->b : NULL;
}

static void cel_path_set(struct coster *c, struct cel_size *to, const struct cel_size *from,
			 const char *step, struct str field)
{
	to->path = cel_path_step(c, from, step, field);
	to->has_path = true;
}

static bool cel_type_scalar(const struct cel_type *t)
{
	switch (t->kind) {
	case CEL_BOOL:
	case CEL_DOUBLE:
	case CEL_DURATION:
	case CEL_INT:
	case CEL_TIMESTAMP:
	case CEL_UINT:
		return true;
	case CEL_OPTIONAL:
		return cel_type_scalar(t->a);
	default:
		return false;
	}
}

static bool cel_compute_size(struct coster *c, struct cel_node *n, struct range *ret)
{
	struct cel_size *s = cel_node_size(c, n);

	if (s->sized) {
		*ret = s->size;
		return true;
	}
	if (n->kind == CEL_N_LITERAL) {
		*ret = cel_range_of(n->lit.kind == CEL_NULL ? 1 : cel_size(&n->lit));
		return true;
	}
	if (n->kind == CEL_N_LIST || n->kind == CEL_N_MAP) {
		*ret = cel_range_of(n->kind == CEL_N_LIST ? n->n_args : n->n_args / 2);
		return true;
	}
	if (c->root && s->has_path && s->path) {
		s->sized = true;
		*ret = s->size = (struct range){ 0, s->path->has_max ? s->path->max_elements : 0 };
		return true;
	}
	if (cel_type_scalar(n->type)) {
		*ret = cel_range_of(1);
		return true;
	}
	if (n->kind == CEL_N_IDENT && n->slot_kind == CEL_SLOT_LOCAL && c->locals[n->slot].sized) {
		*ret = c->locals[n->slot].size;
		return true;
	}
	return false;
}

static struct range cel_size_or_unknown(struct coster *c, struct cel_node *n)
{
	struct range r;

	return cel_compute_size(c, n, &r) ? r : unknown;
}

static void cel_size_set(struct coster *c, struct cel_node *n, struct range r)
{
	struct cel_size *s = cel_node_size(c, n);

	s->size = r;
	s->sized = true;
}

static const struct cel_size *cel_entry_of(struct coster *c, struct cel_node *n)
{
	struct cel_size *s = cel_node_size(c, n);

	if (s->has_entry)
		return s;
	if (n->kind == CEL_N_IDENT && n->slot_kind == CEL_SLOT_LOCAL &&
	    c->locals[n->slot].has_entry)
		return &c->locals[n->slot];
	return NULL;
}

static void cel_entry_set(struct coster *c, struct cel_node *n, const struct cel_size *e)
{
	struct cel_size *s = cel_node_size(c, n);

	if (!e)
		return;
	s->has_entry = true;
	s->entry_map = e->entry_map;
	s->key = e->key;
	s->val = e->val;
}

static void cel_entry_union(struct coster *c, struct cel_node *n, struct cel_node *x,
			    struct cel_node *y)
{
	const struct cel_size *a = cel_entry_of(c, x), *b = cel_entry_of(c, y);
	struct cel_size e;

	if (!a || !b)
		return;
	e = *a;
	e.key = cel_range_union(a->key, b->key);
	e.val = cel_range_union(a->val, b->val);
	cel_entry_set(c, n, &e);
}

/* The size of a list's elements, when they are strings or bytes. */
static struct range cel_elem_size(struct coster *c, struct cel_node *list)
{
	struct cel_size *s = cel_node_size(c, list);
	const struct cel_type *t;

	if (!c->root)
		return unknown;
	t = s->has_path ? cel_path_step(c, s, "@items", STR_EMPTY) : NULL;
	return t ? (struct range){ 0, t->has_max ? t->max_elements : 0 } : unknown;
}

/* ---- calls */

struct call {
	struct cel_node *n, *target, **args;
	uint32_t n_args;
	struct cel_cost argsum; /* of the arguments, the target not among them */
	const struct cel_overload *o;
	bool has_result;
	struct range result;
};

static struct range cel_call_size(struct coster *c, struct call *k, uint32_t i)
{
	/* 0 is the target of a member */
	if (k->target)
		return i ? cel_size_or_unknown(c, k->args[i - 1])
			 : cel_size_or_unknown(c, k->target);
	return cel_size_or_unknown(c, k->args[i]);
}

static struct cel_cost cel_call_result(struct call *k, struct range cost, struct range result)
{
	k->has_result = true;
	k->result = result;
	return cel_cost_of(cost);
}

static struct cel_cost cel_estimate_equal(struct coster *c, struct call *k)
{
	struct range x = cel_size_or_unknown(c, k->args[0]), y = cel_size_or_unknown(c, k->args[1]);
	const struct cel_type *t = k->args[0]->type;
	uint64_t least = MIN(x.max, y.max);

	if (t->kind == CEL_OPAQUE && k->args[1]->type->kind == CEL_OPAQUE &&
	    str_eqz(k->n->fn->name, "_==_")) {
		if (t->opaque == CEL_O_FORMAT)
			return cel_cost_of(cel_range_factor((struct range){ 1, 64 }, 0.1));
		if (t->opaque == CEL_O_URL)
			return cel_cost_of(
				cel_range_factor((struct range){ 1, MAX(y.max, 1) }, 0.1));
		return cel_cost_fixed(1);
	}
	return cel_cost_of(cel_range_factor((struct range){ least ? 1 : 0, least }, 0.1));
}

static struct cel_cost cel_estimate_add(struct coster *c, struct call *k)
{
	uint8_t kind = k->o->args[0]->kind;
	struct range sum;

	if (kind != CEL_STRING && kind != CEL_BYTES && kind != CEL_LIST)
		return cel_cost_fixed(1);
	sum = cel_range_add(cel_size_or_unknown(c, k->args[0]), cel_size_or_unknown(c, k->args[1]));
	cel_entry_union(c, k->n, k->args[0], k->args[1]);
	return cel_call_result(k, kind == CEL_LIST ? cel_range_of(1) : cel_range_factor(sum, 0.1),
			       sum);
}

static struct cel_cost cel_estimate_regex(struct coster *c, struct call *k, uint32_t pattern)
{
	struct range s = cel_range_factor(
		cel_range_add(cel_call_size(c, k, pattern - 1), cel_range_of(1)), 0.1);

	return cel_cost_of(cel_range_mul(s, cel_range_factor(cel_call_size(c, k, pattern), 0.25)));
}

static struct cel_cost cel_estimate_convert(struct coster *c, struct call *k)
{
	uint8_t from = k->o->args[0]->kind, to = k->o->result->kind;
	struct range s = cel_size_or_unknown(c, k->args[0]);

	if (from == CEL_STRING && to == CEL_BYTES)
		return cel_call_result(k, cel_range_factor(s, 0.1),
				       (struct range){ s.min, cel_sat_mul(s.max, 4) });
	if (from == CEL_BYTES && to == CEL_STRING)
		return cel_call_result(k, cel_range_factor(s, 0.1),
				       (struct range){ s.min / 4, s.max });
	return cel_cost_fixed(1);
}

static uint64_t cel_div_up(uint64_t x, uint64_t y)
{
	return (uint64_t)ceil((double)x / (double)y);
}

static struct cel_cost cel_estimate_replace(struct coster *c, struct call *k)
{
	struct range s = cel_call_size(c, k, 0), old = cel_call_size(c, k, 1),
		     new = cel_call_size(c, k, 2), count = { 0, 0 }, kept = { 0, 0 };

	if (!old.min) {
		count.max = cel_sat_add(s.max, 1);
		kept.max = s.max;
	} else if (new.max <= old.min) {
		kept.max = s.max;
	} else {
		count.max = cel_div_up(s.max, old.min);
	}
	if (!old.max) {
		count.min = cel_sat_add(s.min, 1);
		kept.min = s.min;
	} else if (old.max <= new.min) {
		kept.min = s.min;
	} else {
		count.min = cel_div_up(s.min, old.max);
	}
	return cel_call_result(k, cel_range_factor(s, 0.2),
			       cel_range_add(cel_range_mul(count, new), kept));
}

static struct cel_cost cel_estimate_split(struct coster *c, struct call *k)
{
	struct range s = cel_call_size(c, k, 0);
	uint64_t max = s.max;

	if (k->n_args > 1 && k->args[1]->kind == CEL_N_LITERAL && k->args[1]->lit.kind == CEL_INT)
		max = (uint64_t)k->args[1]->lit.i;
	return cel_call_result(k, cel_range_factor(s, 0.2), (struct range){ 0, max });
}

static struct cel_cost cel_estimate_join(struct coster *c, struct call *k)
{
	struct range list = cel_call_size(c, k, 0), s, seps;

	s = cel_range_mul(list, cel_elem_size(c, k->target));
	if (k->n_args) {
		seps = (struct range){ list.min ? list.min - 1 : 0, list.max ? list.max - 1 : 0 };
		s = cel_range_add(s, cel_range_mul(cel_call_size(c, k, 1), seps));
	}
	return cel_call_result(k, cel_range_factor(s, 0.1), s);
}

static struct cel_cost cel_estimate_list(struct coster *c, struct call *k)
{
	struct range s = cel_call_size(c, k, 0), each = cel_range_of(1);
	const struct cel_type *t = k->target->type;

	if (t->kind != CEL_LIST)
		return cel_cost_of(cel_range_factor(s, 0.1));
	if (t->a->kind == CEL_STRING || t->a->kind == CEL_BYTES)
		each = cel_range_add(each, cel_range_factor(cel_elem_size(c, k->target), 0.1));
	return cel_cost_of(cel_range_mul(s, each));
}

static struct cel_cost cel_estimate_contains_net(struct coster *c, struct call *k, bool cidr)
{
	struct range s = { 4, 16 }, cost = cel_range_factor(cel_range_add(s, s), 0.1);

	if (cidr)
		cost = cel_range_add(cel_range_add(cost, cel_range_factor(s, 0.1)),
				     cel_range_of(1));
	if (k->o->args[1]->kind == CEL_STRING)
		cost = cel_range_add(cost, cel_range_factor(cel_call_size(c, k, 1), 0.1));
	return cel_cost_of(cost);
}

static struct cel_cost cel_estimate_selector(struct coster *c, struct call *k)
{
	struct range s = cel_call_size(c, k, 1);

	return cel_cost_of(cel_range_add(
		cel_range_of(10), cel_range_add(cel_range_factor(s, 0.1),
						cel_range_factor(cel_range_factor(s, 0.5), 50))));
}

/* A list that is made: size times the factor, the call and the list. */
static struct cel_cost cel_estimate_made(struct call *k, double factor, struct range size)
{
	return cel_call_result(k, cel_range_add(cel_range_factor(size, factor), cel_range_of(11)),
			       size);
}

static uint64_t cel_literal_int(const struct cel_node *n, uint64_t dflt)
{
	if (n->kind != CEL_N_LITERAL || n->lit.kind != CEL_INT)
		return dflt;
	return n->lit.i < 0 ? 0 : (uint64_t)n->lit.i;
}

static struct cel_cost cel_estimate_sort(struct coster *c, struct call *k)
{
	struct cel_node *keys = k->target ? k->target : k->args[1];
	struct range s = cel_size_or_unknown(c, keys);
	uint8_t kind = k->o->args[k->target ? 0 : 1]->a->kind;

	return cel_estimate_made(k, kind == CEL_STRING || kind == CEL_BYTES ? 2.1 : 2.0,
				 cel_range_mul(s, s));
}

static struct cel_cost cel_estimate_ext_list(struct coster *c, struct call *k,
					     enum cel_cost_kind kind)
{
	struct range s;
	uint64_t from, to;

	if (kind == CEL_COST_RANGE)
		return cel_estimate_made(k, 1,
					 cel_range_of(cel_literal_int(k->args[0], UINT64_MAX)));
	s = cel_call_size(c, k, 0);
	switch ((int)kind) {
	case CEL_COST_SLICE:
		from = cel_literal_int(k->args[0], 0);
		to = cel_literal_int(k->args[1], s.max);
		return cel_estimate_made(k, 1, cel_range_of(to - from));
	case CEL_COST_FLATTEN:
		return cel_estimate_made(
			k, k->n_args ? (double)cel_literal_int(k->args[0], UINT64_MAX) : 1, s);
	case CEL_COST_DISTINCT:
		return cel_estimate_made(k, 2, cel_range_mul(s, s));
	default:
		return cel_estimate_made(k, 1, s);
	}
}

static struct cel_cost cel_estimate_index(struct coster *c, struct call *k)
{
	const struct cel_size *e = cel_entry_of(c, k->args[0]);
	bool list = k->o->args[0]->kind == CEL_LIST, map = k->o->args[0]->kind == CEL_MAP;

	if (str_eqz(k->n->fn->name, "_[_]") && (list || map)) {
		if (e) {
			k->has_result = true;
			k->result = e->val;
		}
		cel_path_set(c, cel_node_size(c, k->n), cel_node_size(c, k->args[0]), "@items",
			     STR_EMPTY);
	}
	return cel_cost_fixed(1);
}

static struct cel_cost cel_estimate_strings(struct coster *c, struct call *k,
					    enum cel_cost_kind kind)
{
	struct range s;

	switch ((int)kind) {
	case CEL_COST_AFFIX:
		return cel_cost_of(cel_range_factor(cel_call_size(c, k, 1), 0.1));
	case CEL_COST_CONTAINS:
		return cel_cost_of(cel_range_mul(cel_range_factor(cel_call_size(c, k, 0), 0.1),
						 cel_range_factor(cel_call_size(c, k, 1), 0.1)));
	case CEL_COST_MATCHES:
		return k->target ? cel_estimate_regex(c, k, 1) : cel_cost_fixed(1);
	case CEL_COST_FIND:
		k->has_result = true;
		k->result = (struct range){ 0, cel_call_size(c, k, 0).max };
		return cel_estimate_regex(c, k, 1);
	case CEL_COST_QUOTE:
		s = cel_call_size(c, k, 0);
		return cel_call_result(k, cel_range_factor(s, 0.1),
				       (struct range){ cel_sat_add(s.min, 2),
						       cel_sat_add(cel_sat_mul(s.max, 2), 2) });
	case CEL_COST_TRAVERSE:
	case CEL_COST_PARSE_SIZED:
		s = cel_call_size(c, k, 0);
		return cel_call_result(k, cel_range_factor(s, 0.1), s);
	case CEL_COST_FORMAT:
	case CEL_COST_PARSE:
		/* cidr.ip() only takes a part */
		if (k->target && k->o->args[0]->kind == CEL_OPAQUE)
			return cel_cost_fixed(1);
		return cel_cost_of(cel_range_factor(cel_call_size(c, k, 0), 0.1));
	case CEL_COST_PARSE_TWICE:
		return cel_cost_of(cel_range_factor(cel_call_size(c, k, 0), 0.2));
	default:
		return cel_cost_of(cel_range_factor(cel_range_factor(cel_call_size(c, k, 1), 0.1),
						    128 * 0.25));
	}
}

/* The cost of the call itself, by one overload. */
static struct cel_cost cel_estimate_fn(struct coster *c, struct call *k)
{
	enum cel_cost_kind kind = k->n->fn->row->cost;
	uint8_t first = k->o->n_args ? k->o->args[0]->kind : CEL_DYN;

	switch ((int)kind) {
	case CEL_COST_EQUAL:
		return cel_estimate_equal(c, k);
	case CEL_COST_ORDER:
		return first == CEL_STRING || first == CEL_BYTES ? cel_estimate_equal(c, k)
								 : cel_cost_fixed(1);
	case CEL_COST_ADD:
		return cel_estimate_add(c, k);
	case CEL_COST_IN:
		return k->o->args[1]->kind == CEL_LIST
			       ? cel_cost_of(cel_size_or_unknown(c, k->args[1]))
			       : cel_cost_fixed(1);
	case CEL_COST_CONVERT:
		return cel_estimate_convert(c, k);
	case CEL_COST_REPLACE:
		return cel_estimate_replace(c, k);
	case CEL_COST_SPLIT:
		return cel_estimate_split(c, k);
	case CEL_COST_JOIN:
		return cel_estimate_join(c, k);
	case CEL_COST_LIST:
		return cel_estimate_list(c, k);
	case CEL_COST_CHECK:
		return cel_cost_fixed(350000);
	case CEL_COST_SELECTOR:
		return cel_estimate_selector(c, k);
	case CEL_COST_CONTAINS_IP:
	case CEL_COST_CONTAINS_CIDR:
		return cel_estimate_contains_net(c, k, kind == CEL_COST_CONTAINS_CIDR);
	case CEL_COST_SETS:
		return cel_cost_of(cel_range_add(
			cel_range_factor(
				cel_range_mul(cel_call_size(c, k, 0), cel_call_size(c, k, 1)),
				str_eqz(k->n->fn->name, "sets.equivalent") ? 2 : 1),
			cel_range_of(1)));
	case CEL_COST_INDEX:
		return cel_estimate_index(c, k);
	case CEL_COST_SORT:
		return cel_estimate_sort(c, k);
	case CEL_COST_SLICE:
	case CEL_COST_FLATTEN:
	case CEL_COST_REVERSE:
	case CEL_COST_DISTINCT:
	case CEL_COST_RANGE:
		return cel_estimate_ext_list(c, k, kind);
	case CEL_COST_AFFIX:
	case CEL_COST_MATCHES:
	case CEL_COST_CONTAINS:
	case CEL_COST_TRAVERSE:
	case CEL_COST_FORMAT:
	case CEL_COST_QUOTE:
	case CEL_COST_PARSE:
	case CEL_COST_PARSE_SIZED:
	case CEL_COST_PARSE_TWICE:
	case CEL_COST_FIND:
	case CEL_COST_VALIDATE:
		return cel_estimate_strings(c, k, kind);
	case CEL_COST_ONE:
	case CEL_COST_LOGIC:
	case CEL_COST_CONDITIONAL:
	case CEL_COST_N_:
		break;
	}
	return cel_cost_fixed(1);
}

static struct cel_cost cel_estimate_logic(struct coster *c, struct cel_node *n)
{
	struct cel_cost l = cel_estimate(c, n->args[0]), r = cel_estimate(c, n->args[1]);

	return (struct cel_cost){ l.min, cel_sat_add(l.max, r.max) };
}

static struct cel_cost cel_estimate_conditional(struct coster *c, struct cel_node *n)
{
	struct cel_cost cond = cel_estimate(c, n->args[0]), yes = cel_estimate(c, n->args[1]),
			no = cel_estimate(c, n->args[2]);

	cel_entry_union(c, n, n->args[1], n->args[2]);
	cel_size_set(c, n,
		     cel_range_union(cel_size_or_unknown(c, n->args[1]),
				     cel_size_or_unknown(c, n->args[2])));
	return cel_cost_plus(cond, (struct cel_cost){ MIN(yes.min, no.min), MAX(yes.max, no.max) });
}

static struct cel_cost cel_estimate_call(struct coster *c, struct cel_node *n)
{
	struct call k = { .n = n, .args = n->args, .n_args = n->n_args };
	struct cel_cost target = { 0, 0 }, fn = { UINT64_MAX, 0 }, one;
	bool sized = false;
	struct range size = { 0, 0 }, r;

	if (n->op == CEL_OP_OPT_SELECT)
		return cel_cost_plus(cel_estimate(c, n->args[0]), cel_cost_fixed(1));
	if (n->fn->row->cost == CEL_COST_LOGIC)
		return cel_estimate_logic(c, n);
	if (n->fn->row->cost == CEL_COST_CONDITIONAL)
		return cel_estimate_conditional(c, n);
	for (uint32_t i = 0; i < n->n_args; i++)
		k.argsum = cel_cost_plus(k.argsum, cel_estimate(c, n->args[i]));
	if (n->member) {
		k.target = n->target;
		target = cel_estimate(c, n->target);
	}
	if (str_eqz(n->fn->name, "dyn")) {
		cel_entry_set(c, n, cel_entry_of(c, n->args[0]));
		if (cel_compute_size(c, n->args[0], &r))
			cel_size_set(c, n, r);
		return cel_cost_plus(k.argsum, cel_cost_fixed(1));
	}
	for (size_t i = 0; i < n->fn->n_overloads; i++) {
		if (!(n->overloads >> i & 1))
			continue;
		k.o = &n->fn->overloads[i];
		k.has_result = false;
		one = cel_estimate_fn(c, &k);
		fn = (struct cel_cost){ MIN(fn.min, one.min), MAX(fn.max, one.max) };
		if (k.has_result)
			size = sized ? cel_range_union(size, k.result) : k.result;
		sized |= k.has_result;
	}
	if (sized)
		cel_size_set(c, n, size);
	return cel_cost_plus(target, cel_cost_plus(k.argsum, fn));
}

/* ---- the other nodes */

static struct cel_cost cel_estimate_ident(struct coster *c, struct cel_node *n)
{
	struct cel_size *s = cel_node_size(c, n);

	if (n->slot_kind == CEL_SLOT_LOCAL) {
		s->has_path = c->locals[n->slot].has_path;
		s->path = c->locals[n->slot].path;
	} else {
		s->has_path = true;
		s->path = c->root;
	}
	return cel_cost_fixed(1);
}

static struct cel_cost cel_estimate_select(struct coster *c, struct cel_node *n)
{
	struct cel_cost cost = cel_estimate(c, n->target);
	uint8_t k = n->target->type->kind;

	if (n->test_only)
		return cost;
	cel_path_set(c, cel_node_size(c, n), cel_node_size(c, n->target), NULL, n->name);
	return k == CEL_MAP || k == CEL_STRUCT ? cel_cost_plus(cost, cel_cost_fixed(1)) : cost;
}

static struct cel_cost cel_estimate_container(struct coster *c, struct cel_node *n)
{
	struct cel_cost sum = { 0, 0 };
	struct cel_size e = { .has_entry = true, .entry_map = n->kind == CEL_N_MAP };
	struct range key = { n->n_args ? UINT64_MAX : 0, 0 }, val = key;

	for (uint32_t i = 0; i < n->n_args; i++) {
		sum = cel_cost_plus(sum, cel_estimate(c, n->args[i]));
		if (e.entry_map && i % 2 == 0)
			key = cel_range_union(key, cel_size_or_unknown(c, n->args[i]));
		else
			val = cel_range_union(val, cel_size_or_unknown(c, n->args[i]));
	}
	if (n->kind == CEL_N_STRUCT)
		return cel_cost_plus(sum, cel_cost_fixed(40));
	e.key = e.entry_map ? key : cel_range_of(1);
	e.val = val;
	cel_entry_set(c, n, &e);
	return cel_cost_plus(sum, cel_cost_fixed(e.entry_map ? 30 : 10));
}

static void cel_local_from(struct coster *c, int slot, struct cel_node *n)
{
	const struct cel_size *e = cel_entry_of(c, n);
	struct cel_size l = { .has_path = cel_node_size(c, n)->has_path,
			      .path = cel_node_size(c, n)->path };

	if (e) {
		l.has_entry = true;
		l.entry_map = e->entry_map;
		l.key = e->key;
		l.val = e->val;
	}
	l.sized = cel_compute_size(c, n, &l.size);
	c->locals[slot] = l;
}

static void cel_local_iter(struct coster *c, int slot, struct cel_node *range, bool key, bool two)
{
	const struct cel_size *e = cel_entry_of(c, range);
	bool map = e ? e->entry_map : range->type->kind != CEL_LIST;
	struct cel_size l = { 0 };

	if (!two)
		key = map;
	if (e) {
		l.sized = true;
		l.size = key ? e->key : e->val;
	}
	cel_path_set(c, &l, cel_node_size(c, range), key ? (map ? "@keys" : NULL) : "@items",
		     STR("@indices"));
	c->locals[slot] = l;
}

static struct cel_cost cel_estimate_fold(struct coster *c, struct cel_node *n)
{
	struct cel_fold *f = n->fold;
	struct cel_cost sum = cel_estimate(c, f->range), loop;
	struct range count, r;

	sum = cel_cost_plus(sum, cel_estimate(c, f->init));
	cel_local_from(c, f->accu_slot, f->init);
	if (f->bind) {
		sum = cel_cost_plus(sum, cel_estimate(c, f->result));
		cel_entry_set(c, n, cel_entry_of(c, f->result));
		if (cel_compute_size(c, f->result, &r))
			cel_size_set(c, n, r);
		return sum;
	}
	cel_local_iter(c, f->iter_slot, f->range, true, f->iter2.n);
	if (f->iter2.n)
		cel_local_iter(c, f->iter2_slot, f->range, false, true);
	loop = cel_cost_plus(cel_estimate(c, f->cond), cel_estimate(c, f->step));
	sum = cel_cost_plus(sum, cel_estimate(c, f->result));
	count = cel_size_or_unknown(c, f->range);
	sum = cel_cost_plus(sum, (struct cel_cost){ cel_sat_mul(count.min, loop.min),
						    cel_sat_mul(count.max, loop.max) });
	if (f->init->kind == CEL_N_LITERAL) {
		if (cel_compute_size(c, f->init, &r))
			cel_size_set(c, n, r);
	} else if (f->init->kind == CEL_N_LIST || f->init->kind == CEL_N_MAP) {
		cel_size_set(c, n, count);
		cel_entry_set(c, n, cel_entry_of(c, f->step));
	}
	return sum;
}

static struct cel_cost cel_estimate_any(struct coster *c, struct cel_node *n)
{
	switch ((enum cel_node_kind)n->kind) {
	case CEL_N_LITERAL:
		return cel_cost_fixed(0);
	case CEL_N_IDENT:
		return cel_estimate_ident(c, n);
	case CEL_N_SELECT:
		return cel_estimate_select(c, n);
	case CEL_N_CALL:
		return cel_estimate_call(c, n);
	case CEL_N_LIST:
	case CEL_N_MAP:
	case CEL_N_STRUCT:
		return cel_estimate_container(c, n);
	case CEL_N_FOLD:
		return cel_estimate_fold(c, n);
	}
	return cel_cost_fixed(0);
}

/* Once for each node: parts of the tree may be shared. */
static struct cel_cost cel_estimate(struct coster *c, struct cel_node *n)
{
	if (!n->cost_done) {
		n->cost = cel_estimate_any(c, n);
		n->cost_done = true;
	}
	return n->cost;
}

void cel_cost_estimate(struct cel_prog *p)
{
	struct coster c = { .prog = p, .arena = p->arena };

	c.locals = arena_array(p->arena, p->n_locals, sizeof(*c.locals));
	if (p->env->n_vars && p->env->estimate)
		c.root = p->env->vars[0].type;
	p->cost = cel_estimate(&c, p->root);
}
