/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors as lists of requirements, all of which must hold. The label grammar is upstream's
 * (a lexer of words and operators, then recursive descent); its error texts depend on
 * where the lexer stood, so both are kept alike.
 */

#include "api/selector.h"

#include <stdlib.h>

#include "api/names.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

enum op { OP_EQ, OP_EQEQ, OP_NE, OP_IN, OP_NOTIN, OP_EXISTS, OP_NOT_EXISTS, OP_GT, OP_LT, OP_N_ };

struct req {
	struct str key;
	enum op op;
	size_t n;
	struct str *vals; /* sorted, no duplicates, once the requirement is read */
	int64_t num;      /* OP_GT, OP_LT */
};

struct selector {
	size_t n;
	struct req *reqs; /* sorted by key */
	bool nothing;
};

#define MAX_REQS 1024

/* ---- requirements ---- */

struct req_list {
	struct arena *a;
	struct req *p;
	size_t n, cap;
};

static struct req *req_push(struct req_list *l)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct req *p = arena_array(l->a, cap, sizeof(*p));

		if (l->n)
			memcpy(p, l->p, l->n * sizeof(*p));
		l->p = p;
		l->cap = cap;
	}
	return &l->p[l->n++];
}

static void req_add_value(struct arena *a, struct req *r, struct str v)
{
	struct str *p;

	/* full at 4, 8, 16, ... */
	if (r->n == 0 || (r->n >= 4 && (r->n & (r->n - 1)) == 0)) {
		p = arena_array(a, r->n ? r->n * 2 : 4, sizeof(*p));
		if (r->n)
			memcpy(p, r->vals, r->n * sizeof(*p));
		r->vals = p;
	}
	r->vals[r->n++] = v;
}

static int req_cmp_values(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The values become a set. */
static void req_sort_values(struct req *r)
{
	size_t n = 0;

	if (r->n > 1)
		qsort(r->vals, r->n, sizeof(*r->vals), req_cmp_values);
	for (size_t i = 0; i < r->n; i++) {
		if (!n || !str_eq(r->vals[n - 1], r->vals[i]))
			r->vals[n++] = r->vals[i];
	}
	r->n = n;
}

static int req_cmp(const void *a, const void *b)
{
	const struct req *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

static struct selector *selector_make(struct req_list *l)
{
	struct selector *s = arena_new_obj(l->a, struct selector);

	s->n = l->n;
	s->reqs = l->p;
	for (size_t i = 0; i < s->n; i++)
		req_sort_values(&s->reqs[i]);
	/* Stable for the few that share a key would be nicer, but matching does not care. */
	if (l->n > 1)
		qsort(s->reqs, s->n, sizeof(*s->reqs), req_cmp);
	return s;
}

static struct err *invalid(const char *path, struct str val, const char *why)
{
	return err_new(ERR_BAD_REQUEST, "%s: Invalid value: \"" STR_FMT "\": %s", path,
		       STR_ARG(val), why);
}

/* What upstream's NewRequirement checks; key_path is how its field is called. */
static struct err *req_check(struct arena *a, struct req *r, const char *key_path)
{
	const char *why = name_check_qualified(r->key);

	req_sort_values(r);
	if (why)
		return invalid(key_path, r->key, why);
	if ((r->op == OP_IN || r->op == OP_NOTIN) && r->n == 0)
		return err_new(ERR_BAD_REQUEST, "values: Invalid value: []: for 'in', 'notin' "
						"operators, values set can't be empty");
	if ((r->op == OP_EXISTS || r->op == OP_NOT_EXISTS) && r->n)
		return err_new(ERR_BAD_REQUEST,
			       "values: Invalid value: [\"" STR_FMT "\"]: values set must be empty "
			       "for exists and does not exist",
			       STR_ARG(r->vals[0]));
	if (r->op == OP_GT || r->op == OP_LT) {
		if (r->n != 1)
			return err_new(ERR_BAD_REQUEST,
				       "values: Invalid value: []: for 'Gt', 'Lt' operators, "
				       "exactly one value is required");
		if (!str_to_i64(r->vals[0], &r->num))
			return invalid("values[0]", r->vals[0],
				       "for 'Gt', 'Lt' operators, the value must be an integer");
	}
	for (size_t i = 0; i < r->n; i++) {
		why = name_check_label_value(r->vals[i]);
		if (why)
			return invalid(
				arena_fmt(a, "values[%zu][" STR_FMT "]", i, STR_ARG(r->key)).p,
				r->vals[i], why);
	}
	return NULL;
}

/* ---- the label grammar ---- */

enum tok {
	TOK_ERROR,
	TOK_END,
	TOK_ID,
	TOK_NOT,
	TOK_EQ,
	TOK_EQEQ,
	TOK_NE,
	TOK_IN,
	TOK_NOTIN,
	TOK_GT,
	TOK_LT,
	TOK_OPEN,
	TOK_CLOSE,
	TOK_COMMA,
};

static const struct {
	const char *text;
	enum tok tok;
} symbols[] = {
	{ "!", TOK_NOT },  { "=", TOK_EQ },    { "==", TOK_EQEQ },
	{ "!=", TOK_NE },  { ">", TOK_GT },    { "<", TOK_LT },
	{ "(", TOK_OPEN }, { ")", TOK_CLOSE }, { ",", TOK_COMMA },
};

struct parser {
	struct arena *a;
	struct str rest;
	/* one token of look-ahead */
	enum tok tok;
	struct str lit;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_symbol(char c)
{
	return c && strchr("=!(),><", c);
}

static enum tok symbol_find(struct str s)
{
	for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
		if (str_eqz(s, symbols[i].text))
			return symbols[i].tok;
	return TOK_ERROR;
}

static void parser_scan(struct parser *p)
{
	size_t n = 0;

	while (p->rest.n && is_space(p->rest.p[0]))
		p->rest = str_skip(p->rest, 1);
	if (!p->rest.n) {
		p->tok = TOK_END;
		p->lit = STR_EMPTY;
		return;
	}
	if (is_symbol(p->rest.p[0])) {
		/* The longest of one or two characters. */
		n = p->rest.n >= 2 && symbol_find(str_sub(p->rest, 0, 2)) ? 2 : 1;
		p->lit = str_sub(p->rest, 0, n);
		p->tok = symbol_find(p->lit);
	} else {
		while (n < p->rest.n && !is_space(p->rest.p[n]) && !is_symbol(p->rest.p[n]))
			n++;
		p->lit = str_sub(p->rest, 0, n);
		p->tok = str_eqz(p->lit, "in")      ? TOK_IN
			 : str_eqz(p->lit, "notin") ? TOK_NOTIN
						    : TOK_ID;
	}
	p->rest = str_skip(p->rest, n);
}

/* Where a value or key may stand, "in" and "notin" are ordinary words. */
static enum tok parser_value_tok(const struct parser *p)
{
	return p->tok == TOK_IN || p->tok == TOK_NOTIN ? TOK_ID : p->tok;
}

static struct err *expected(struct str found, const char *what)
{
	return err_new(ERR_BAD_REQUEST, "found '" STR_FMT "', expected: %s", STR_ARG(found), what);
}

static struct err *parse_list(struct parser *p, struct req *r)
{
	for (;;) {
		enum tok tok = parser_value_tok(p);
		struct str lit = p->lit;

		if (tok != TOK_ID && tok != TOK_COMMA)
			return expected(lit, "',', or identifier");
		parser_scan(p);
		if (tok == TOK_ID) {
			req_add_value(p->a, r, lit);
			if (parser_value_tok(p) == TOK_CLOSE)
				return NULL;
			if (parser_value_tok(p) != TOK_COMMA)
				return expected(p->lit, "',' or ')'");
			continue;
		}
		/* "(,a)", "(a,)" and "(a,,b)" hold the empty value too. */
		if (r->n == 0)
			req_add_value(p->a, r, STR_EMPTY);
		if (parser_value_tok(p) == TOK_CLOSE) {
			req_add_value(p->a, r, STR_EMPTY);
			return NULL;
		}
		if (parser_value_tok(p) == TOK_COMMA) {
			parser_scan(p);
			req_add_value(p->a, r, STR_EMPTY);
		}
	}
}

static struct err *parse_values(struct parser *p, struct req *r)
{
	struct str first;

	if (p->tok != TOK_OPEN)
		return err_new(ERR_BAD_REQUEST, "found '" STR_FMT "' expected: '('",
			       STR_ARG(p->lit));
	parser_scan(p);
	first = p->lit;
	switch (parser_value_tok(p)) {
	case TOK_ID:
	case TOK_COMMA:
		TRY(parse_list(p, r));
		if (p->tok != TOK_CLOSE)
			return expected(first, "')'");
		parser_scan(p);
		return NULL;
	case TOK_CLOSE:
		parser_scan(p);
		req_add_value(p->a, r, STR_EMPTY);
		return NULL;
	case TOK_ERROR:
	case TOK_END:
	case TOK_NOT:
	case TOK_EQ:
	case TOK_EQEQ:
	case TOK_NE:
	case TOK_IN:
	case TOK_NOTIN:
	case TOK_GT:
	case TOK_LT:
	case TOK_OPEN:
		break;
	}
	return expected(first, "',', ')' or identifier");
}

static struct err *parse_exact_value(struct parser *p, struct req *r)
{
	enum tok tok = parser_value_tok(p);

	if (tok == TOK_END || tok == TOK_COMMA) {
		req_add_value(p->a, r, STR_EMPTY);
		return NULL;
	}
	if (tok != TOK_ID)
		return expected(p->lit, "identifier");
	req_add_value(p->a, r, p->lit);
	parser_scan(p);
	return NULL;
}

static bool binary_op(enum tok tok, enum op *ret)
{
	static const struct {
		enum tok tok;
		enum op op;
	} ops[] = { { TOK_IN, OP_IN },     { TOK_NOTIN, OP_NOTIN }, { TOK_EQ, OP_EQ },
		    { TOK_EQEQ, OP_EQEQ }, { TOK_NE, OP_NE },       { TOK_GT, OP_GT },
		    { TOK_LT, OP_LT } };

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (ops[i].tok == tok) {
			*ret = ops[i].op;
			return true;
		}
	}
	return false;
}

static struct err *parse_requirement(struct parser *p, struct req *r)
{
	bool negated = p->tok == TOK_NOT;
	const char *why;

	if (negated)
		parser_scan(p);
	if (parser_value_tok(p) != TOK_ID)
		return expected(p->lit, "identifier");
	r->key = p->lit;
	why = name_check_qualified(r->key);
	if (why)
		return invalid("<nil>", r->key, why);
	parser_scan(p);
	if (negated || p->tok == TOK_END || p->tok == TOK_COMMA) {
		r->op = negated ? OP_NOT_EXISTS : OP_EXISTS;
		return NULL;
	}
	if (!binary_op(p->tok, &r->op))
		return expected(p->lit, "in, notin, =, ==, !=, gt, lt");
	parser_scan(p);
	if (r->op == OP_IN || r->op == OP_NOTIN)
		TRY(parse_values(p, r));
	else
		TRY(parse_exact_value(p, r));
	return req_check(p->a, r, "key");
}

static struct err *parse_labels(struct parser *p, struct req_list *l)
{
	parser_scan(p);
	for (;;) {
		enum tok tok = parser_value_tok(p);
		struct err *e;

		if (tok == TOK_END)
			return NULL;
		if (tok != TOK_ID && tok != TOK_NOT)
			return expected(p->lit, "!, identifier, or 'end of string'");
		if (l->n >= MAX_REQS)
			return err_new(ERR_BAD_REQUEST, "more than %d requirements", MAX_REQS);
		e = parse_requirement(p, req_push(l));
		if (e)
			return err_wrap(e, "unable to parse requirement");
		if (p->tok == TOK_END)
			return NULL;
		if (p->tok != TOK_COMMA)
			return expected(p->lit, "',' or 'end of string'");
		parser_scan(p);
		tok = parser_value_tok(p);
		if (tok != TOK_ID && tok != TOK_NOT)
			return expected(p->lit, "identifier after ','");
	}
}

struct err *label_selector_parse(struct arena *a, struct str text, struct selector **ret)
{
	struct req_list l = { .a = a };
	struct parser p = { .a = a, .rest = arena_str(a, text) };

	TRY(parse_labels(&p, &l));
	*ret = selector_make(&l);
	return NULL;
}

/* ---- from objects ---- */

static struct err *req_from_expression(struct arena *a, const struct json *x, bool numeric,
				       struct req *r)
{
	static const struct {
		const char *name;
		enum op op;
	} ops[] = { { "In", OP_IN },
		    { "NotIn", OP_NOTIN },
		    { "Exists", OP_EXISTS },
		    { "DoesNotExist", OP_NOT_EXISTS },
		    /* node selectors only */
		    { "Gt", OP_GT },
		    { "Lt", OP_LT } };
	struct str op = json_as_str(json_get(x, "operator"));
	size_t i = 0;

	while (i < ARRAY_LEN(ops) && !str_eqz(op, ops[i].name))
		i++;
	if (i == ARRAY_LEN(ops) || (!numeric && i > 3))
		return err_new(ERR_BAD_REQUEST,
			       "\"" STR_FMT "\" is not a valid label selector operator",
			       STR_ARG(op));
	r->op = ops[i].op;
	r->key = arena_str(a, json_as_str(json_get(x, "key")));
	json_for_each(it, json_get(x, "values"))
	{
		req_add_value(a, r, arena_str(a, json_as_str(it.val)));
	}
	return req_check(a, r, "key");
}

struct err *label_selector_from_json(struct arena *a, const struct json *sel, struct selector **ret)
{
	struct req_list l = { .a = a };

	if (json_is_null(sel)) {
		*ret = arena_new_obj(a, struct selector);
		(*ret)->nothing = true;
		return NULL;
	}
	json_for_each(it, json_get(sel, "matchLabels"))
	{
		struct req *r = req_push(&l);

		r->key = arena_str(a, it.key);
		r->op = OP_EQ;
		req_add_value(a, r, arena_str(a, json_as_str(it.val)));
		TRY(req_check(a, r, "key"));
	}
	json_for_each(it, json_get(sel, "matchExpressions"))
	{
		TRY(req_from_expression(a, it.val, false, req_push(&l)));
	}
	*ret = selector_make(&l);
	return NULL;
}

struct err *node_selector_from_json(struct arena *a, const struct json *expressions,
				    struct selector **ret)
{
	struct req_list l = { .a = a };

	json_for_each(it, expressions)
	{
		TRY(req_from_expression(a, it.val, true, req_push(&l)));
	}
	*ret = selector_make(&l);
	return NULL;
}

struct selector *label_selector_from_map(struct arena *a, const struct json *map)
{
	struct req_list l = { .a = a };

	json_for_each(it, map)
	{
		struct req *r = req_push(&l);

		r->key = arena_str(a, it.key);
		r->op = OP_EQ;
		req_add_value(a, r, arena_str(a, json_as_str(it.val)));
	}
	return selector_make(&l);
}

/* ---- field selectors ---- */

/* Cuts a term at the first comma without a backslash. */
static bool field_next_term(struct str *rest, struct str *ret)
{
	size_t i = 0;

	if (!rest->n)
		return false;
	while (i < rest->n && rest->p[i] != ',')
		i += rest->p[i] == '\\' ? 2 : 1;
	i = MIN(i, rest->n);
	*ret = str_sub(*rest, 0, i);
	*rest = str_skip(*rest, MIN(i + 1, rest->n));
	return true;
}

static struct err *field_unescape(struct arena *a, struct str s, struct str *ret)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '\\') {
			if (i + 1 == s.n || !strchr("\\,=", s.p[i + 1]))
				return err_new(
					ERR_BAD_REQUEST,
					"invalid field selector: invalid escape sequence: " STR_FMT,
					STR_ARG(str_sub(s, i, MIN(i + 2, s.n))));
			c = s.p[++i];
		} else if (c == ',' || c == '=') {
			return err_new(ERR_BAD_REQUEST,
				       "invalid field selector: unescaped character in value: %d",
				       c);
		}
		out[n++] = c;
	}
	*ret = str_make(out, n);
	return NULL;
}

static bool field_split_op(struct str term, struct str *ret_key, enum op *ret_op,
			   struct str *ret_val)
{
	for (size_t i = 0; i < term.n; i++) {
		struct str at = str_skip(term, i);
		size_t n = str_has_prefix(at, STR("!=")) || str_has_prefix(at, STR("==")) ? 2
			   : at.p[0] == '='                                               ? 1
											  : 0;

		if (!n)
			continue;
		*ret_key = str_sub(term, 0, i);
		*ret_op = at.p[0] == '!' ? OP_NE : OP_EQ;
		*ret_val = str_skip(at, n);
		return true;
	}
	return false;
}

struct err *field_selector_parse(struct arena *a, struct str text, struct selector **ret)
{
	struct req_list l = { .a = a };
	struct str rest = arena_str(a, text), term;

	while (field_next_term(&rest, &term)) {
		struct str val;
		struct req *r;

		if (str_empty(term))
			continue;
		if (l.n >= MAX_REQS)
			return err_new(ERR_BAD_REQUEST, "more than %d requirements", MAX_REQS);
		r = req_push(&l);
		if (!field_split_op(term, &r->key, &r->op, &val))
			return err_new(ERR_BAD_REQUEST,
				       "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT
				       "'",
				       STR_ARG(text), STR_ARG(term));
		TRY(field_unescape(a, val, &val));
		req_add_value(a, r, val);
	}
	*ret = selector_make(&l);
	return NULL;
}

/* ---- matching ---- */

static bool req_has_value(const struct req *r, struct str v)
{
	return r->n && bsearch(&v, r->vals, r->n, sizeof(v), req_cmp_values);
}

/* v.p NULL: the key is absent. */
static bool req_matches(const struct req *r, struct str v)
{
	int64_t num;

	switch (r->op) {
	case OP_EQ:
	case OP_EQEQ:
	case OP_IN:
		return v.p && req_has_value(r, v);
	case OP_NE:
	case OP_NOTIN:
		return !v.p || !req_has_value(r, v);
	case OP_EXISTS:
		return v.p;
	case OP_NOT_EXISTS:
		return !v.p;
	case OP_GT:
		return v.p && str_to_i64(v, &num) && num > r->num;
	case OP_LT:
		return v.p && str_to_i64(v, &num) && num < r->num;
	case OP_N_:
		break;
	}
	UNREACHABLE();
}

bool selector_empty(const struct selector *s)
{
	return !s || (s->n == 0 && !s->nothing);
}

static struct str json_label(const struct json *labels, struct str key)
{
	const struct json *v = json_get_s(labels, key);
	struct str s = json_as_str(v);

	if (!v)
		return (struct str){ 0 };
	return s.p ? s : STR_EMPTY;
}

bool selector_matches(const struct selector *s, const struct json *labels)
{
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (!req_matches(&s->reqs[i], json_label(labels, s->reqs[i].key)))
			return false;
	return true;
}

bool selector_matches_obj_labels(const struct selector *s, const struct obj *o)
{
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (!req_matches(&s->reqs[i], obj_label(o, s->reqs[i].key)))
			return false;
	return true;
}

bool selector_matches_obj_fields(const struct selector *s, const struct obj *o)
{
	for (size_t i = 0; i < s->n; i++) {
		struct str v = obj_field(o, s->reqs[i].key);

		/* Fields that are not set have the empty value. */
		if (!req_matches(&s->reqs[i], v.p ? v : STR_EMPTY))
			return false;
	}
	return true;
}

struct err *selector_each_key(const struct selector *s,
			      struct err *(*fn)(struct str key, void *ctx), void *ctx)
{
	for (size_t i = 0; i < s->n; i++)
		TRY(fn(s->reqs[i].key, ctx));
	return NULL;
}

void selector_rename_keys(struct selector *s, struct str (*fn)(struct str key, void *ctx),
			  void *ctx)
{
	for (size_t i = 0; i < s->n; i++)
		s->reqs[i].key = fn(s->reqs[i].key, ctx);
	if (s->n > 1)
		qsort(s->reqs, s->n, sizeof(*s->reqs), req_cmp);
}

struct str selector_required(const struct selector *s, struct str key)
{
	for (size_t i = 0; s && i < s->n; i++) {
		const struct req *r = &s->reqs[i];

		if (str_eq(r->key, key) && r->n == 1 &&
		    (r->op == OP_EQ || r->op == OP_EQEQ || r->op == OP_IN))
			return r->vals[0];
	}
	return (struct str){ 0 };
}

/* ---- text ---- */

static void req_format(struct buf *b, const struct req *r)
{
	static const char *const infix[OP_N_] = {
		[OP_EQ] = "=", [OP_EQEQ] = "==",  [OP_NE] = "!=",          [OP_GT] = ">",
		[OP_LT] = "<", [OP_IN] = " in (", [OP_NOTIN] = " notin (",
	};

	if (r->op == OP_NOT_EXISTS)
		buf_addc(b, '!');
	buf_add(b, r->key);
	if (infix[r->op])
		buf_addz(b, infix[r->op]);
	for (size_t i = 0; i < r->n; i++) {
		if (i)
			buf_addc(b, ',');
		buf_add(b, r->vals[i]);
	}
	if (r->op == OP_IN || r->op == OP_NOTIN)
		buf_addc(b, ')');
}

struct str selector_format(struct arena *a, const struct selector *s)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		if (i)
			buf_addc(&b, ',');
		req_format(&b, &s->reqs[i]);
	}
	return buf_to_arena(&b, a);
}
