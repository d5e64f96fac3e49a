/* SPDX-License-Identifier: Apache-2.0 */

/* Types: making, printing, unification. */

#include "api/cel-node.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"

const struct cel_type cel_types[CEL_STRUCT + 1] = {
	[CEL_NULL] = { .kind = CEL_NULL },
	[CEL_BOOL] = { .kind = CEL_BOOL },
	[CEL_INT] = { .kind = CEL_INT },
	[CEL_UINT] = { .kind = CEL_UINT },
	[CEL_DOUBLE] = { .kind = CEL_DOUBLE },
	[CEL_STRING] = { .kind = CEL_STRING },
	[CEL_BYTES] = { .kind = CEL_BYTES },
	[CEL_DURATION] = { .kind = CEL_DURATION },
	[CEL_TIMESTAMP] = { .kind = CEL_TIMESTAMP },
	[CEL_LIST] = { .kind = CEL_LIST, .a = &cel_types[CEL_DYN] },
	[CEL_MAP] = { .kind = CEL_MAP, .a = &cel_types[CEL_DYN], .b = &cel_types[CEL_DYN] },
	[CEL_TYPE] = { .kind = CEL_TYPE },
	[CEL_OPTIONAL] = { .kind = CEL_OPTIONAL, .a = &cel_types[CEL_DYN] },
	[CEL_OPAQUE] = { .kind = CEL_OPAQUE },
	[CEL_ERROR] = { .kind = CEL_ERROR },
	[CEL_DYN] = { .kind = CEL_DYN },
	[CEL_PARAM] = { .kind = CEL_PARAM },
	[CEL_STRUCT] = { .kind = CEL_STRUCT },
};

static const struct {
	const char *name;
	struct cel_type type;
} opaques[CEL_O_N_] = {
#define OPAQUE(o, text) [o] = { text, { .kind = CEL_OPAQUE, .opaque = o } }
	OPAQUE(CEL_O_IP, "net.IP"),
	OPAQUE(CEL_O_CIDR, "net.CIDR"),
	OPAQUE(CEL_O_URL, "kubernetes.URL"),
	OPAQUE(CEL_O_QUANTITY, "kubernetes.Quantity"),
	OPAQUE(CEL_O_SEMVER, "kubernetes.Semver"),
	OPAQUE(CEL_O_FORMAT, "kubernetes.NamedFormat"),
	OPAQUE(CEL_O_AUTHORIZER, "kubernetes.authorization.Authorizer"),
	OPAQUE(CEL_O_PATH_CHECK, "kubernetes.authorization.PathCheck"),
	OPAQUE(CEL_O_GROUP_CHECK, "kubernetes.authorization.GroupCheck"),
	OPAQUE(CEL_O_RESOURCE_CHECK, "kubernetes.authorization.ResourceCheck"),
	OPAQUE(CEL_O_DECISION, "kubernetes.authorization.Decision"),
};

static const char *const kind_names[CEL_STRUCT + 1] = {
	[CEL_NULL] = "null",
	[CEL_BOOL] = "bool",
	[CEL_INT] = "int",
	[CEL_UINT] = "uint",
	[CEL_DOUBLE] = "double",
	[CEL_STRING] = "string",
	[CEL_BYTES] = "bytes",
	[CEL_DURATION] = "duration",
	[CEL_TIMESTAMP] = "timestamp",
	[CEL_LIST] = "list",
	[CEL_MAP] = "map",
	[CEL_TYPE] = "type",
	[CEL_OPTIONAL] = "optional_type",
	[CEL_OPAQUE] = "",
	[CEL_ERROR] = "!error!",
	[CEL_DYN] = "dyn",
	[CEL_PARAM] = "",
	[CEL_STRUCT] = "",
};

const struct cel_type *cel_type_of(enum cel_kind k)
{
	return &cel_types[k];
}

const struct cel_type *cel_type_opaque(enum cel_opaque o)
{
	return &opaques[o].type;
}

const char *cel_opaque_name(enum cel_opaque o)
{
	return opaques[o].name;
}

const struct cel_type *cel_type_new(struct arena *a, enum cel_kind k, const struct cel_type *p,
				    const struct cel_type *q)
{
	struct cel_type *t = arena_new_obj(a, struct cel_type);

	t->kind = (uint8_t)k;
	t->a = p;
	t->b = q;
	return t;
}

const struct cel_type *cel_type_list(struct cel_env *e, const struct cel_type *elem)
{
	return cel_type_new(e->arena, CEL_LIST, elem, NULL);
}

const struct cel_type *cel_type_map(struct cel_env *e, const struct cel_type *key,
				    const struct cel_type *val)
{
	return cel_type_new(e->arena, CEL_MAP, key, val);
}

const struct cel_type *cel_type_copy(struct arena *a, const struct cel_type *t)
{
	struct cel_type *c;

	if (!t || (t >= cel_types && t < cel_types + ARRAY_LEN(cel_types)) ||
	    t->kind == CEL_OPAQUE || t->kind == CEL_STRUCT)
		return t;
	c = arena_new_obj(a, struct cel_type);
	*c = *t;
	c->a = cel_type_copy(a, t->a);
	c->b = cel_type_copy(a, t->b);
	return c;
}

bool cel_type_is(const struct cel_type *t, enum cel_kind k)
{
	return t && t->kind == k;
}

/* ---- text */

#define CEL_TYPE_TEXT_DEPTH 16
#define CEL_TYPE_TEXT_MAX   4096

static void cel_type_print(struct buf *b, const struct cel_type *t, int depth)
{
	if (depth > CEL_TYPE_TEXT_DEPTH || b->n > CEL_TYPE_TEXT_MAX) {
		buf_addz(b, "...");
		return;
	}
	if (t->kind == CEL_OPAQUE) {
		buf_addz(b, opaques[t->opaque].name);
		return;
	}
	if (t->kind == CEL_PARAM || t->kind == CEL_STRUCT) {
		buf_add(b, t->name);
		return;
	}
	buf_addz(b, kind_names[t->kind]);
	if (!t->a || (t->kind != CEL_LIST && t->kind != CEL_MAP && t->kind != CEL_TYPE &&
		      t->kind != CEL_OPTIONAL))
		return;
	buf_addc(b, '(');
	cel_type_print(b, t->a, depth + 1);
	if (t->kind == CEL_MAP) {
		buf_addz(b, ", ");
		cel_type_print(b, t->b, depth + 1);
	}
	buf_addc(b, ')');
}

struct str cel_type_text(struct arena *a, const struct cel_type *t)
{
	_cleanup_buf_ struct buf b = { 0 };

	cel_type_print(&b, t, 0);
	return buf_to_arena(&b, a);
}

struct str cel_type_name(struct arena *a, const struct cel_type *t)
{
	switch (t->kind) {
	case CEL_LIST:
	case CEL_MAP:
	case CEL_TYPE:
	case CEL_OPTIONAL:
		return str_from(kind_names[t->kind]);
	case CEL_NULL:
		return STR("null_type");
	case CEL_TIMESTAMP:
		return STR("google.protobuf.Timestamp");
	case CEL_DURATION:
		return STR("google.protobuf.Duration");
	default:
		return cel_type_text(a, t);
	}
}

/* ---- signatures of the function tables */

struct arena *cel_static_arena(void)
{
	static struct arena *a;

	if (!a)
		a = arena_new();
	return a;
}

static const struct cel_type *cel_type_of_letter(char c)
{
	static const struct {
		char c;
		uint8_t kind, opaque;
	} letters[] = {
		{ 'b', CEL_BOOL, 0 },
		{ 'i', CEL_INT, 0 },
		{ 'u', CEL_UINT, 0 },
		{ 'd', CEL_DOUBLE, 0 },
		{ 's', CEL_STRING, 0 },
		{ 'y', CEL_BYTES, 0 },
		{ 'n', CEL_NULL, 0 },
		{ 't', CEL_TIMESTAMP, 0 },
		{ 'D', CEL_DURATION, 0 },
		{ '*', CEL_DYN, 0 },
		{ 'I', CEL_OPAQUE, CEL_O_IP },
		{ 'C', CEL_OPAQUE, CEL_O_CIDR },
		{ 'L', CEL_OPAQUE, CEL_O_URL },
		{ 'Q', CEL_OPAQUE, CEL_O_QUANTITY },
		{ 'V', CEL_OPAQUE, CEL_O_SEMVER },
		{ 'F', CEL_OPAQUE, CEL_O_FORMAT },
		{ 'Z', CEL_OPAQUE, CEL_O_AUTHORIZER },
		{ 'P', CEL_OPAQUE, CEL_O_PATH_CHECK },
		{ 'G', CEL_OPAQUE, CEL_O_GROUP_CHECK },
		{ 'R', CEL_OPAQUE, CEL_O_RESOURCE_CHECK },
		{ 'E', CEL_OPAQUE, CEL_O_DECISION },
	};

	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].c == c)
			return letters[i].kind == CEL_OPAQUE
				       ? cel_type_opaque((enum cel_opaque)letters[i].opaque)
				       : &cel_types[letters[i].kind];
	return NULL;
}

const struct cel_type *cel_type_of_sig(const char **p)
{
	static const struct cel_type params[] = {
		{ .kind = CEL_PARAM, .name = STR_INIT("A"), .max_elements = 0 },
		{ .kind = CEL_PARAM, .name = STR_INIT("B"), .max_elements = 1 },
	};
	struct arena *st = cel_static_arena();
	const struct cel_type *x, *y;
	char c = *(*p)++;

	switch (c) {
	case 'A':
	case 'B':
		return &params[c - 'A'];
	case '[':
		x = cel_type_of_sig(p);
		(*p)++;
		return cel_type_new(st, CEL_LIST, x, NULL);
	case '{':
		x = cel_type_of_sig(p);
		y = cel_type_of_sig(p);
		(*p)++;
		return cel_type_new(st, CEL_MAP, x, y);
	case '?':
		return cel_type_new(st, CEL_OPTIONAL, cel_type_of_sig(p), NULL);
	case 'T':
		return cel_type_new(st, CEL_TYPE, cel_type_of_sig(p), NULL);
	default:
		return cel_type_of_letter(c);
	}
}

/* ---- comparing */

bool cel_type_equal(const struct cel_type *x, const struct cel_type *y)
{
	if (x == y)
		return true;
	if (!x || !y || x->kind != y->kind)
		return false;
	switch (x->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
	case CEL_TYPE:
		return cel_type_equal(x->a, y->a);
	case CEL_MAP:
		return cel_type_equal(x->a, y->a) && cel_type_equal(x->b, y->b);
	case CEL_OPAQUE:
		return x->opaque == y->opaque;
	case CEL_STRUCT:
		return str_eq(x->name, y->name);
	case CEL_PARAM:
		return x->max_elements == y->max_elements;
	default:
		return true;
	}
}

/* ---- unification: parameters are numbered, and bound in a table with an undo list */

#define CEL_SUBST_STEPS 10000

struct cel_subst {
	struct arena *arena;
	const struct cel_type **bound;
	size_t n, cap;
	struct {
		size_t i;
		const struct cel_type *old;
	} * undo;
	size_t n_undo, cap_undo;
	size_t steps;
};

struct cel_subst *cel_subst_new(struct arena *a)
{
	struct cel_subst *m = arena_new_obj(a, struct cel_subst);

	m->arena = a;
	return m;
}

static void *cel_grow(struct arena *a, void *v, size_t n, size_t *cap, size_t size)
{
	void *bigger;

	if (n < *cap)
		return v;
	bigger = arena_array(a, *cap ? *cap * 2 : 16, size);
	if (n)
		memcpy(bigger, v, n * size);
	*cap = *cap ? *cap * 2 : 16;
	return bigger;
}

const struct cel_type *cel_subst_fresh(struct cel_subst *m)
{
	struct cel_type *t = arena_new_obj(m->arena, struct cel_type);

	m->bound = cel_grow(m->arena, m->bound, m->n, &m->cap, sizeof(*m->bound));
	m->bound[m->n] = NULL;
	t->kind = CEL_PARAM;
	t->max_elements = m->n++;
	t->name = arena_fmt(m->arena, "_var%zu", (size_t)t->max_elements);
	return t;
}

static const struct cel_type *cel_subst_find(struct cel_subst *m, const struct cel_type *t)
{
	return t->kind == CEL_PARAM ? m->bound[t->max_elements] : NULL;
}

static void cel_subst_bind(struct cel_subst *m, const struct cel_type *param,
			   const struct cel_type *to)
{
	m->undo = cel_grow(m->arena, m->undo, m->n_undo, &m->cap_undo, sizeof(*m->undo));
	m->undo[m->n_undo].i = (size_t)param->max_elements;
	m->undo[m->n_undo++].old = m->bound[param->max_elements];
	m->bound[param->max_elements] = to;
}

static void cel_subst_rollback(struct cel_subst *m, size_t to)
{
	while (m->n_undo > to) {
		m->n_undo--;
		m->bound[m->undo[m->n_undo].i] = m->undo[m->n_undo].old;
	}
}

static bool cel_type_dynamic(const struct cel_type *t)
{
	return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

/* Whether param occurs nowhere in t. */
static bool cel_type_absent(struct cel_subst *m, const struct cel_type *param,
			    const struct cel_type *t)
{
	const struct cel_type *to;

	if (!t || ++m->steps > CEL_SUBST_STEPS)
		return true;
	if (cel_type_equal(param, t))
		return false;
	if (t->kind == CEL_PARAM) {
		to = cel_subst_find(m, t);
		return !to || cel_type_absent(m, param, to);
	}
	return cel_type_absent(m, param, t->a) && cel_type_absent(m, param, t->b);
}

static bool cel_type_less_specific(const struct cel_type *x, const struct cel_type *y)
{
	if (x->kind == CEL_DYN || x->kind == CEL_PARAM)
		return true;
	if (y->kind == CEL_DYN || y->kind == CEL_PARAM || x->kind != y->kind)
		return false;
	if (x->kind == CEL_LIST || x->kind == CEL_OPTIONAL)
		return cel_type_less_specific(x->a, y->a);
	if (x->kind == CEL_MAP)
		return cel_type_less_specific(x->a, y->a) && cel_type_less_specific(x->b, y->b);
	return x->kind == CEL_TYPE || cel_type_equal(x, y);
}

const struct cel_type *cel_type_general(const struct cel_type *x, const struct cel_type *y)
{
	return cel_type_less_specific(x, y) ? x : y;
}

static bool cel_type_unify(struct cel_subst *m, const struct cel_type *x, const struct cel_type *y);

/* Whether x may be what the parameter stands for. */
static bool cel_type_bind(struct cel_subst *m, const struct cel_type *x,
			  const struct cel_type *param, bool *has)
{
	const struct cel_type *to = cel_subst_find(m, param), *general;

	*has = true;
	if (cel_type_equal(x, param))
		return true;
	if (to) {
		if (cel_type_equal(x, to))
			return true;
		if (!cel_type_unify(m, x, to))
			return false;
		general = cel_type_general(x, to);
		if (cel_type_absent(m, param, general))
			cel_subst_bind(m, param, general);
		return true;
	}
	*has = false;
	if (!cel_type_absent(m, param, x))
		return false;
	cel_subst_bind(m, param, x);
	return true;
}

static bool cel_type_nullable(const struct cel_type *t)
{
	return t->kind == CEL_NULL || t->kind == CEL_OPAQUE || t->kind == CEL_OPTIONAL ||
	       t->kind == CEL_STRUCT || t->kind == CEL_DURATION || t->kind == CEL_TIMESTAMP;
}

static bool cel_type_unify(struct cel_subst *m, const struct cel_type *x, const struct cel_type *y)
{
	bool has;

	if (++m->steps > CEL_SUBST_STEPS)
		return false;
	if (y->kind == CEL_PARAM) {
		if (cel_type_bind(m, x, y, &has))
			return true;
		if (has)
			return false;
	}
	if (x->kind == CEL_PARAM)
		return cel_type_bind(m, y, x, &has);
	if (cel_type_dynamic(x) || cel_type_dynamic(y))
		return true;
	if (x->kind == CEL_NULL)
		return cel_type_nullable(y);
	if (y->kind == CEL_NULL)
		return cel_type_nullable(x);
	if (x->kind != y->kind)
		return false;
	if (x->kind == CEL_LIST || x->kind == CEL_OPTIONAL)
		return cel_type_unify(m, x->a, y->a);
	if (x->kind == CEL_MAP)
		return cel_type_unify(m, x->a, y->a) && cel_type_unify(m, x->b, y->b);
	return x->kind == CEL_TYPE || cel_type_equal(x, y);
}

bool cel_type_assign(struct cel_subst *m, const struct cel_type *x, const struct cel_type *y)
{
	return cel_type_assign_list(m, &x, &y, 1);
}

bool cel_type_assign_list(struct cel_subst *m, const struct cel_type *const *x,
			  const struct cel_type *const *y, size_t n)
{
	size_t at = m->n_undo;

	m->steps = 0;
	for (size_t i = 0; i < n; i++)
		if (!cel_type_unify(m, x[i], y[i])) {
			cel_subst_rollback(m, at);
			return false;
		}
	return true;
}

static const struct cel_type *cel_type_subst(struct cel_subst *m, const struct cel_type *t,
					     bool to_dyn)
{
	const struct cel_type *to = cel_subst_find(m, t), *p, *q;

	if (++m->steps > CEL_SUBST_STEPS)
		return &cel_types[CEL_DYN];
	if (to)
		return cel_type_subst(m, to, to_dyn);
	if (t->kind == CEL_PARAM)
		return to_dyn ? &cel_types[CEL_DYN] : t;
	if (!t->a)
		return t;
	p = cel_type_subst(m, t->a, to_dyn);
	q = t->b ? cel_type_subst(m, t->b, to_dyn) : NULL;
	if (p == t->a && q == t->b)
		return t;
	return cel_type_new(m->arena, (enum cel_kind)t->kind, p, q);
}

const struct cel_type *cel_type_substitute(struct cel_subst *m, const struct cel_type *t,
					   bool to_dyn)
{
	m->steps = 0;
	return cel_type_subst(m, t, to_dyn);
}

const struct cel_type *cel_type_instance(struct cel_subst *m, const struct cel_type *t,
					 const struct cel_type **fresh)
{
	const struct cel_type *p, *q;

	if (t->kind == CEL_PARAM) {
		if (!fresh[t->max_elements])
			fresh[t->max_elements] = cel_subst_fresh(m);
		return fresh[t->max_elements];
	}
	if (!t->a)
		return t;
	p = cel_type_instance(m, t->a, fresh);
	q = t->b ? cel_type_instance(m, t->b, fresh) : NULL;
	if (p == t->a && q == t->b)
		return t;
	return cel_type_new(m->arena, (enum cel_kind)t->kind, p, q);
}
