/* SPDX-License-Identifier: Apache-2.0 */

/* What a call cost, once its arguments and result are known. */

#include <math.h>

#include "api/cel-value.h"

static uint64_t cel_actual_size(const struct cel_val *v)
{
	if (v->kind == CEL_OPTIONAL && v->p)
		return cel_actual_size(v->p);
	if (v->kind == CEL_OPAQUE && (v->aux == CEL_O_IP || v->aux == CEL_O_CIDR))
		return cel_net_size(v);
	return cel_size(v);
}

static uint64_t cel_tenth(uint64_t n)
{
	return (uint64_t)ceil((double)n * 0.1);
}

static uint64_t cel_fifth(uint64_t n)
{
	return (uint64_t)ceil((double)n * 2 * 0.1);
}

static uint64_t cel_regex_cost(const struct cel_val *s, uint64_t pattern)
{
	return (uint64_t)ceil((1.0 + (double)cel_actual_size(s)) * 0.1) *
	       (uint64_t)ceil((double)pattern * 0.25);
}

#define TRAVERSAL_DEPTH 100

static uint64_t cel_traversal(struct cel_ctx *c, const struct cel_val *v, int depth)
{
	struct cel_iter it;
	struct cel_val k, e;
	uint64_t sum = 0;

	if (v->kind == CEL_STRING || v->kind == CEL_BYTES)
		return (uint64_t)((double)v->s.n * 0.1);
	if ((v->kind != CEL_LIST && v->kind != CEL_MAP) || depth > TRAVERSAL_DEPTH)
		return 1;
	it = cel_iter(v);
	while (cel_iter_next(c, &it, &k, &e))
		sum += cel_traversal(c, &e, depth + 1) +
		       (v->kind == CEL_MAP ? cel_traversal(c, &k, depth + 1) : 0);
	return sum;
}

static uint64_t cel_cost_equal(const struct cel_val *a, bool eq)
{
	uint64_t x, y;

	if (eq && a[0].kind == CEL_OPAQUE)
		return 1;
	x = cel_actual_size(&a[0]);
	y = cel_actual_size(&a[1]);
	return cel_tenth(MIN(x, y));
}

static bool cel_textual(const struct cel_val *v)
{
	return v->kind == CEL_STRING || v->kind == CEL_BYTES;
}

static uint64_t cel_cost_self_compare(struct cel_ctx *c, const struct cel_val *l)
{
	uint64_t n = cel_actual_size(l);
	struct cel_val e;
	double factor = 2;

	if (l->kind != CEL_LIST)
		return 1;
	if (n) {
		e = cel_list_get(c, l, 0);
		factor += cel_textual(&e) ? 0.1 : 0;
	}
	return (uint64_t)((double)(n * n) * factor) + 11;
}

static uint64_t cel_cost_in(const struct cel_node *n, const struct cel_val *a)
{
	uint64_t size;

	if (a[1].kind != CEL_LIST)
		return 1;
	size = cel_actual_size(&a[1]);
	/* upstream has made a hash of a constant list, and charges nothing */
	return n->args[1]->is_const ? size / 64 : size;
}

static uint64_t cel_cost_contains_net(const struct cel_val *a, bool cidr)
{
	uint64_t size = cel_actual_size(&a[0]), cost = cel_tenth(size + size);

	if (cidr)
		cost += cel_tenth(size) + 1;
	if (a[1].kind == CEL_STRING)
		cost += cel_tenth(cel_actual_size(&a[1]));
	return cost;
}

static uint64_t cel_cost_lists(struct cel_ctx *c, const struct cel_node *n, const struct cel_val *a,
			       size_t n_args, const struct cel_val *res)
{
	double depth = n_args == 2 && a[1].kind == CEL_INT ? (double)a[1].i : 1;

	switch ((int)n->fn->row->cost) {
	case CEL_COST_FLATTEN:
		return (uint64_t)((double)cel_actual_size(&a[0]) * MAX(depth, 0)) + 11;
	case CEL_COST_DISTINCT:
		return cel_cost_self_compare(c, &a[0]);
	case CEL_COST_SORT:
		return cel_cost_self_compare(c, &a[n_args - 1]);
	default:
		return cel_actual_size(res) + 11;
	}
}

static uint64_t cel_cost_text(struct cel_ctx *c, const struct cel_node *n, const struct cel_val *a,
			      size_t n_args, const struct cel_val *res)
{
	(void)c;
	(void)n_args;
	switch ((int)n->fn->row->cost) {
	case CEL_COST_MATCHES:
	case CEL_COST_FIND:
		return cel_regex_cost(&a[0], cel_actual_size(&a[1]));
	case CEL_COST_CONTAINS:
		return cel_tenth(cel_actual_size(&a[0])) * cel_tenth(cel_actual_size(&a[1]));
	case CEL_COST_CONVERT:
		return (a[0].kind == CEL_STRING && res->kind == CEL_BYTES) ||
				       (a[0].kind == CEL_BYTES && res->kind == CEL_STRING)
			       ? cel_tenth(cel_actual_size(&a[0]))
			       : 1;
	case CEL_COST_PARSE:
		return a[0].kind == CEL_OPAQUE ? 1 : cel_tenth(cel_actual_size(&a[0]));
	case CEL_COST_PARSE_TWICE:
	case CEL_COST_REPLACE:
	case CEL_COST_SPLIT:
		return cel_fifth(cel_actual_size(&a[0]));
	case CEL_COST_JOIN:
		return cel_fifth(cel_actual_size(res));
	case CEL_COST_VALIDATE:
		return cel_regex_cost(&a[1], cel_format_regex_size(&a[0]));
	default: /* AFFIX, TRAVERSE, FORMAT, QUOTE, PARSE_SIZED */
		return cel_tenth(cel_actual_size(&a[0]));
	}
}

uint64_t cel_cost_call(struct cel_ctx *c, const struct cel_node *n, const struct cel_val *a,
		       size_t n_args, const struct cel_val *res)
{
	uint64_t size;

	switch ((int)n->fn->row->cost) {
	case CEL_COST_ONE:
	case CEL_COST_INDEX:
	case CEL_COST_LOGIC:
	case CEL_COST_CONDITIONAL:
	case CEL_COST_N_:
		return 1;
	case CEL_COST_EQUAL:
		return cel_cost_equal(a, str_eqz(n->fn->name, "_==_"));
	case CEL_COST_ORDER:
		return cel_textual(&a[0]) ? cel_cost_equal(a, false) : 1;
	case CEL_COST_ADD:
		return cel_textual(&a[0])
			       ? cel_tenth(cel_actual_size(&a[0]) + cel_actual_size(&a[1]))
			       : 1;
	case CEL_COST_IN:
		return cel_cost_in(n, a);
	case CEL_COST_LIST:
		return cel_traversal(c, &a[0], 0);
	case CEL_COST_CHECK:
		return 350000;
	case CEL_COST_SELECTOR:
		size = cel_actual_size(&a[1]);
		return 10 + cel_tenth(size) + (uint64_t)ceil((double)size * 0.5) * 50;
	case CEL_COST_CONTAINS_IP:
	case CEL_COST_CONTAINS_CIDR:
		return cel_cost_contains_net(a, n->fn->row->cost == CEL_COST_CONTAINS_CIDR);
	case CEL_COST_SETS:
		return 1 + cel_actual_size(&a[0]) * cel_actual_size(&a[1]) *
				   (str_eqz(n->fn->name, "sets.equivalent") ? 2 : 1);
	case CEL_COST_SLICE:
	case CEL_COST_FLATTEN:
	case CEL_COST_REVERSE:
	case CEL_COST_DISTINCT:
	case CEL_COST_SORT:
	case CEL_COST_RANGE:
		return cel_cost_lists(c, n, a, n_args, res);
	case CEL_COST_AFFIX:
	case CEL_COST_MATCHES:
	case CEL_COST_CONTAINS:
	case CEL_COST_CONVERT:
	case CEL_COST_TRAVERSE:
	case CEL_COST_FORMAT:
	case CEL_COST_QUOTE:
	case CEL_COST_PARSE:
	case CEL_COST_PARSE_SIZED:
	case CEL_COST_PARSE_TWICE:
	case CEL_COST_REPLACE:
	case CEL_COST_SPLIT:
	case CEL_COST_JOIN:
	case CEL_COST_FIND:
	case CEL_COST_VALIDATE:
		return cel_cost_text(c, n, a, n_args, res);
	}
	return 1;
}
