/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tokens to a tree, by precedence, as cel-go's grammar has it. The first syntax error ends the
 * parse: what ANTLR reports after its recoveries is of no use to a reader.
 */

#include <errno.h>
#include <stdlib.h>

#include "api/cel-value.h"
#include "base/arena.h"

#define CEL_MAX_DEPTH 250
#define CEL_MAX_TEXT  100000
#define CEL_MAX_TERMS 100000

/* what upstream counts the depth of, rule by rule */
enum { RULE_EXPR, RULE_RELATION, RULE_CALC, RULE_MEMBER, RULE_N_ };

struct parser {
	struct arena *arena;
	struct cel_issues *is;
	const struct cel_token *tok;
	bool failed;
	unsigned depth[RULE_N_];
};

static const char start_set[] =
	"{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "
	"STRING, BYTES, IDENTIFIER}";

static struct cel_node *cel_parse_expr(struct parser *p);

/* ---- nodes */

struct cel_node *cel_node_new(struct arena *a, enum cel_node_kind k, uint32_t pos)
{
	struct cel_node *n = arena_new_obj(a, struct cel_node);

	n->kind = (uint8_t)k;
	n->pos = pos;
	n->depth = 1;
	return n;
}

struct cel_node *cel_node_ident(struct arena *a, uint32_t pos, const char *name)
{
	struct cel_node *n = cel_node_new(a, CEL_N_IDENT, pos);

	n->name = str_from(name);
	return n;
}

static void cel_node_deeper(struct cel_node *n, const struct cel_node *child)
{
	if (child && child->depth >= n->depth)
		n->depth = (uint16_t)MIN(child->depth + 1, UINT16_MAX);
}

/* Sets the depth from the children's. */
void cel_node_measure(struct cel_node *n)
{
	cel_node_deeper(n, n->target);
	for (uint32_t i = 0; i < n->n_args; i++)
		cel_node_deeper(n, n->args[i]);
	if (n->fold) {
		cel_node_deeper(n, n->fold->range);
		cel_node_deeper(n, n->fold->init);
		cel_node_deeper(n, n->fold->cond);
		cel_node_deeper(n, n->fold->step);
		cel_node_deeper(n, n->fold->result);
	}
}

struct cel_node *cel_node_call(struct arena *a, uint32_t pos, const char *fn, size_t n, ...)
{
	struct cel_node *c = cel_node_new(a, CEL_N_CALL, pos);
	va_list ap;

	c->name = str_from(fn);
	c->n_args = (uint32_t)n;
	c->args = arena_array(a, n, sizeof(struct cel_node *));
	va_start(ap, n);
	for (size_t i = 0; i < n; i++)
		c->args[i] = va_arg(ap, struct cel_node *);
	va_end(ap);
	cel_node_measure(c);
	return c;
}

/* ---- errors */

static struct cel_node *cel_parse_fail(struct parser *p, uint32_t pos, const char *msg)
{
	if (!p->failed)
		cel_issue_add(p->is, pos, "%s", msg);
	p->failed = true;
	return cel_node_new(p->arena, CEL_N_LITERAL, pos);
}

static struct cel_node *cel_parse_unexpected(struct parser *p, const char *how, const char *wanted)
{
	return cel_parse_fail(p, p->tok->pos,
			      arena_fmt(p->arena,
					"Syntax error: %s input '" STR_FMT "' expecting %s", how,
					STR_ARG(p->tok->text), wanted)
				      .p);
}

static bool cel_parse_deep(struct parser *p, int rule)
{
	if (++p->depth[rule] <= CEL_MAX_DEPTH)
		return false;
	if (!p->failed)
		cel_issue_add_nowhere(p->is, "expression recursion limit exceeded: %d",
				      CEL_MAX_DEPTH);
	p->failed = true;
	return true;
}

static bool cel_parse_accept(struct parser *p, enum cel_tok k)
{
	if (p->failed || p->tok->kind != k)
		return false;
	p->tok++;
	return true;
}

static void cel_parse_expect(struct parser *p, enum cel_tok k, const char *name)
{
	if (!p->failed && !cel_parse_accept(p, k))
		cel_parse_unexpected(p, "mismatched", name);
}

/* ---- lists of children */

struct children {
	struct cel_node **v;
	bool *optional, any_optional;
	uint32_t *pos;
	struct str *names;
	size_t n, cap;
};

static void cel_children_add(struct parser *p, struct children *c, struct cel_node *n, bool opt,
			     uint32_t pos, struct str name)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 4;
		struct children b = { arena_array(p->arena, cap, sizeof(*b.v)),
				      arena_array(p->arena, cap, sizeof(*b.optional)),
				      c->any_optional,
				      arena_array(p->arena, cap, sizeof(*b.pos)),
				      arena_array(p->arena, cap, sizeof(*b.names)),
				      c->n,
				      cap };

		if (c->n) {
			memcpy(b.v, c->v, c->n * sizeof(*b.v));
			memcpy(b.optional, c->optional, c->n * sizeof(*b.optional));
			memcpy(b.pos, c->pos, c->n * sizeof(*b.pos));
			memcpy(b.names, c->names, c->n * sizeof(*b.names));
		}
		*c = b;
	}
	c->v[c->n] = n;
	c->optional[c->n] = opt;
	c->any_optional |= opt;
	c->pos[c->n] = pos;
	c->names[c->n++] = name;
}

static void cel_children_give(struct cel_node *n, const struct children *c)
{
	n->args = c->v;
	n->n_args = (uint32_t)c->n;
	n->optional = c->any_optional ? c->optional : NULL;
	n->entry_pos = c->pos;
	n->fields = c->names;
	cel_node_measure(n);
}

/* ---- literals */

static struct cel_node *cel_parse_number(struct parser *p, bool negative, uint32_t pos)
{
	const struct cel_token *t = p->tok++;
	struct cel_node *n = cel_node_new(p->arena, CEL_N_LITERAL, pos);
	struct str s = t->text;
	bool hex = str_has_prefix(s, STR("0x"));
	unsigned long long u;
	const char *z;

	if (t->kind == CEL_T_FLOAT) {
		n->lit = cel_double(strtod(arena_strz(p->arena, s), NULL) * (negative ? -1 : 1));
		if (__builtin_isinf(n->lit.d))
			return cel_parse_fail(p, pos, "invalid double literal");
		return n;
	}
	if (t->kind == CEL_T_UINT)
		s.n--;
	z = arena_strz(p->arena, hex ? str_skip(s, 2) : s);
	errno = 0;
	u = strtoull(z, NULL, hex ? 16 : 10);
	if (t->kind == CEL_T_UINT) {
		n->lit = cel_uint(u);
		return errno ? cel_parse_fail(p, pos, "invalid uint literal") : n;
	}
	if (errno || u > (unsigned long long)INT64_MAX + (negative ? 1 : 0))
		return cel_parse_fail(p, pos, "invalid int literal");
	n->lit = cel_int((int64_t)(negative ? 0 - u : u));
	return n;
}

static struct cel_node *cel_parse_text(struct parser *p)
{
	const struct cel_token *t = p->tok++;
	struct cel_node *n = cel_node_new(p->arena, CEL_N_LITERAL, t->pos);
	bool bytes = t->kind == CEL_T_BYTES;
	struct str s;
	const char *why = cel_unquote(p->arena, t->text, bytes, &s);

	if (why)
		return cel_parse_fail(p, t->pos, why);
	n->lit = bytes ? cel_bytes(s) : cel_val_str(s);
	return n;
}

/* ---- primaries */

static void cel_parse_args(struct parser *p, struct children *c)
{
	if (cel_parse_accept(p, CEL_T_RPAREN))
		return;
	do {
		cel_children_add(p, c, cel_parse_expr(p), false, 0, STR_EMPTY);
	} while (cel_parse_accept(p, CEL_T_COMMA));
	cel_parse_expect(p, CEL_T_RPAREN, "')'");
}

static struct cel_node *cel_parse_macro(struct parser *p, struct cel_node *call)
{
	struct cel_node *m = p->failed ? NULL : cel_macro_expand(p->arena, p->is, call);

	return m ? m : call;
}

static struct cel_node *cel_parse_list(struct parser *p)
{
	struct cel_node *n = cel_node_new(p->arena, CEL_N_LIST, p->tok++->pos);
	struct children c = { 0 };

	while (!p->failed && p->tok->kind != CEL_T_RBRACKET) {
		bool opt;

		if (!c.n && cel_parse_accept(p, CEL_T_COMMA))
			break;
		opt = cel_parse_accept(p, CEL_T_QUESTION);
		cel_children_add(p, &c, cel_parse_expr(p), opt, 0, STR_EMPTY);
		if (!cel_parse_accept(p, CEL_T_COMMA))
			break;
	}
	cel_parse_expect(p, CEL_T_RBRACKET, "']'");
	cel_children_give(n, &c);
	return n;
}

static struct cel_node *cel_parse_map(struct parser *p)
{
	struct cel_node *n = cel_node_new(p->arena, CEL_N_MAP, p->tok++->pos), *key;
	struct children c = { 0 };

	while (!p->failed && p->tok->kind != CEL_T_RBRACE) {
		uint32_t pos;
		bool opt;

		if (!c.n && cel_parse_accept(p, CEL_T_COMMA))
			break;
		opt = cel_parse_accept(p, CEL_T_QUESTION);
		key = cel_parse_expr(p);
		pos = p->tok->pos;
		cel_parse_expect(p, CEL_T_COLON, "':'");
		cel_children_add(p, &c, key, opt, pos, STR_EMPTY);
		cel_children_add(p, &c, cel_parse_expr(p), opt, pos, STR_EMPTY);
		if (!cel_parse_accept(p, CEL_T_COMMA))
			break;
	}
	cel_parse_expect(p, CEL_T_RBRACE, "'}'");
	cel_children_give(n, &c);
	return n;
}

static struct cel_node *cel_parse_struct(struct parser *p, struct str name)
{
	struct cel_node *n = cel_node_new(p->arena, CEL_N_STRUCT, p->tok++->pos);
	struct children c = { 0 };

	n->name = name;
	while (!p->failed && p->tok->kind != CEL_T_RBRACE) {
		struct str field;
		uint32_t pos;
		bool opt;

		if (!c.n && cel_parse_accept(p, CEL_T_COMMA))
			break;
		opt = cel_parse_accept(p, CEL_T_QUESTION);
		if (p->tok->kind != CEL_T_IDENT && p->tok->kind != CEL_T_ESC_IDENT)
			return cel_parse_unexpected(p, "mismatched", "{'}', ',', '?', IDENTIFIER}");
		if (p->tok->kind == CEL_T_ESC_IDENT)
			return cel_parse_fail(p, p->tok->pos, "unsupported syntax: '`'");
		field = p->tok++->text;
		pos = p->tok->pos;
		cel_parse_expect(p, CEL_T_COLON, "':'");
		cel_children_add(p, &c, cel_parse_expr(p), opt, pos, field);
		if (!cel_parse_accept(p, CEL_T_COMMA))
			break;
	}
	cel_parse_expect(p, CEL_T_RBRACE, "'}'");
	cel_children_give(n, &c);
	return n;
}

static bool cel_word_reserved(struct str s)
{
	static const char *const reserved[] = { "as",   "break",    "const",     "continue", "else",
						"for",  "function", "if",        "import",   "let",
						"loop", "package",  "namespace", "return",   "var",
						"void", "while" };

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if (str_eqz(s, reserved[i]))
			return true;
	return false;
}

/* Whether a.b.c at the token is followed by '{'; then its last token. */
static const struct cel_token *cel_parse_message_name(const struct cel_token *t)
{
	for (;; t += 2) {
		if (t->kind != CEL_T_IDENT)
			return NULL;
		if (t[1].kind == CEL_T_LBRACE)
			return t;
		if (t[1].kind != CEL_T_DOT)
			return NULL;
	}
}

static struct cel_node *cel_parse_name(struct parser *p)
{
	uint32_t start = p->tok->pos;
	bool dot = cel_parse_accept(p, CEL_T_DOT);
	const struct cel_token *t = p->tok, *last = cel_parse_message_name(t);
	struct children c = { 0 };
	struct cel_node *n;

	if (t->kind != CEL_T_IDENT)
		return cel_parse_fail(
			p, t->pos,
			arena_fmt(p->arena,
				  "Syntax error: no viable alternative at input '." STR_FMT "'",
				  STR_ARG(t->text))
				.p);
	if (last) {
		struct str name = { t->text.p, (size_t)(last->text.p + last->text.n - t->text.p) };

		p->tok = last + 1;
		return cel_parse_struct(p, name);
	}
	p->tok++;
	if (cel_word_reserved(t->text))
		return cel_parse_fail(
			p, start,
			arena_fmt(p->arena, "reserved identifier: " STR_FMT, STR_ARG(t->text)).p);
	(void)dot; /* there is one container only, the root */
	if (p->tok->kind != CEL_T_LPAREN) {
		n = cel_node_new(p->arena, CEL_N_IDENT, t->pos);
		n->name = t->text;
		return n;
	}
	n = cel_node_new(p->arena, CEL_N_CALL, p->tok++->pos);
	n->name = t->text;
	cel_parse_args(p, &c);
	cel_children_give(n, &c);
	return cel_parse_macro(p, n);
}

static bool cel_tok_starts(enum cel_tok k)
{
	return (k >= CEL_T_INT && k <= CEL_T_IDENT) || (k >= CEL_T_TRUE && k <= CEL_T_NULL) ||
	       k == CEL_T_LBRACKET || k == CEL_T_LBRACE || k == CEL_T_LPAREN || k == CEL_T_DOT ||
	       k == CEL_T_MINUS || k == CEL_T_NOT;
}

static struct cel_node *cel_parse_primary(struct parser *p)
{
	const struct cel_token *t = p->tok;
	struct cel_node *n;

	if (t->kind == CEL_T_LPAREN) {
		p->tok++;
		n = cel_parse_expr(p);
		if (!p->failed && p->tok->kind == CEL_T_EOF)
			return cel_parse_fail(p, p->tok->pos,
					      "Syntax error: missing ')' at '<EOF>'");
		cel_parse_expect(p, CEL_T_RPAREN, "')'");
		return n;
	}
	if (t->kind == CEL_T_LBRACKET)
		return cel_parse_list(p);
	if (t->kind == CEL_T_LBRACE)
		return cel_parse_map(p);
	if (t->kind == CEL_T_INT || t->kind == CEL_T_UINT || t->kind == CEL_T_FLOAT)
		return cel_parse_number(p, false, t->pos);
	if (t->kind == CEL_T_STRING || t->kind == CEL_T_BYTES)
		return cel_parse_text(p);
	if (t->kind == CEL_T_IDENT || t->kind == CEL_T_DOT)
		return cel_parse_name(p);
	if (t->kind == CEL_T_TRUE || t->kind == CEL_T_FALSE || t->kind == CEL_T_NULL) {
		p->tok++;
		n = cel_node_new(p->arena, CEL_N_LITERAL, t->pos);
		n->lit = t->kind == CEL_T_NULL ? cel_null() : cel_val_bool(t->kind == CEL_T_TRUE);
		return n;
	}
	/* ANTLR drops one token when that helps */
	return cel_parse_unexpected(
		p, t->kind != CEL_T_EOF && cel_tok_starts(t[1].kind) ? "extraneous" : "mismatched",
		start_set);
}

/* ---- members: a.b, a.f(), a[0] */

static struct cel_node *cel_parse_select(struct parser *p, struct cel_node *operand)
{
	uint32_t dot = p->tok++->pos;
	bool opt = cel_parse_accept(p, CEL_T_QUESTION);
	const struct cel_token *t = p->tok;
	struct children c = { 0 };
	struct cel_node *n;

	if (t->kind == CEL_T_ESC_IDENT)
		return cel_parse_fail(p, t->pos, "unsupported syntax: '`'");
	if (t->kind != CEL_T_IDENT && (t->kind != CEL_T_IN || t->text.n == 0))
		return cel_parse_fail(
			p, t->pos,
			arena_fmt(
				p->arena,
				t->kind == CEL_T_EOF
					? "Syntax error: mismatched input '" STR_FMT
					  "' expecting {'?', IDENTIFIER, ESC_IDENTIFIER}"
					: "Syntax error: no viable alternative at input '." STR_FMT
					  "'",
				STR_ARG(t->text))
				.p);
	if (t->kind == CEL_T_IN)
		return cel_parse_fail(p, t->pos,
				      "Syntax error: mismatched input 'in' expecting IDENTIFIER");
	p->tok++;
	if (!opt && p->tok->kind == CEL_T_LPAREN) {
		n = cel_node_new(p->arena, CEL_N_CALL, p->tok++->pos);
		n->name = t->text;
		n->member = true;
		n->target = operand;
		cel_parse_args(p, &c);
		cel_children_give(n, &c);
		return cel_parse_macro(p, n);
	}
	if (opt) {
		struct cel_node *name = cel_node_new(p->arena, CEL_N_LITERAL, t->pos);

		name->lit = cel_val_str(t->text);
		return cel_node_call(p->arena, dot, "_?._", 2, operand, name);
	}
	n = cel_node_new(p->arena, CEL_N_SELECT, dot);
	n->name = t->text;
	n->target = operand;
	cel_node_measure(n);
	return n;
}

static struct cel_node *cel_parse_member(struct parser *p)
{
	struct cel_node *n = cel_parse_primary(p);
	unsigned depth = p->depth[RULE_MEMBER];

	while (!p->failed) {
		uint32_t pos = p->tok->pos;

		if (p->tok->kind == CEL_T_DOT) {
			if (!cel_parse_deep(p, RULE_MEMBER))
				n = cel_parse_select(p, n);
		} else if (p->tok->kind == CEL_T_LBRACKET) {
			bool opt;

			if (cel_parse_deep(p, RULE_MEMBER))
				break;
			p->tok++;
			opt = cel_parse_accept(p, CEL_T_QUESTION);
			n = cel_node_call(p->arena, pos, opt ? "_[?_]" : "_[_]", 2, n,
					  cel_parse_expr(p));
			cel_parse_expect(p, CEL_T_RBRACKET, "']'");
		} else {
			break;
		}
	}
	p->depth[RULE_MEMBER] = depth;
	return n;
}

static bool cel_tok_number(enum cel_tok k)
{
	return k == CEL_T_INT || k == CEL_T_FLOAT;
}

static struct cel_node *cel_parse_unary(struct parser *p)
{
	const struct cel_token *first = p->tok;
	size_t n = 0;

	if (first->kind == CEL_T_MINUS && cel_tok_number(first[1].kind)) {
		struct cel_node *lit;

		/* the sign belongs to the number, and members may follow it */
		p->tok++;
		lit = cel_parse_number(p, true, first->pos);
		(void)lit;
		return lit;
	}
	if (first->kind != CEL_T_MINUS && first->kind != CEL_T_NOT)
		return cel_parse_member(p);
	while (p->tok->kind == first->kind) {
		p->tok++;
		n++;
	}
	if (n % 2 == 0)
		return cel_parse_member(p);
	return cel_node_call(p->arena, first->pos, first->kind == CEL_T_NOT ? "!_" : "-_", 1,
			     cel_parse_member(p));
}

/* ---- binary operators */

static const char *cel_calc_op(enum cel_tok k, bool product)
{
	if (product)
		return k == CEL_T_STAR      ? "_*_"
		       : k == CEL_T_SLASH   ? "_/_"
		       : k == CEL_T_PERCENT ? "_%_"
					    : NULL;
	return k == CEL_T_PLUS ? "_+_" : k == CEL_T_MINUS ? "_-_" : NULL;
}

static struct cel_node *cel_parse_calc(struct parser *p, bool product)
{
	struct cel_node *n = product ? cel_parse_unary(p) : cel_parse_calc(p, true);
	unsigned depth = p->depth[RULE_CALC];
	const char *op;

	while (!p->failed && (op = cel_calc_op(p->tok->kind, product))) {
		uint32_t pos = p->tok++->pos;

		if (cel_parse_deep(p, RULE_CALC))
			break;
		n = cel_node_call(p->arena, pos, op, 2, n,
				  product ? cel_parse_unary(p) : cel_parse_calc(p, true));
	}
	p->depth[RULE_CALC] = depth;
	return n;
}

static const char *cel_relation_op(enum cel_tok k)
{
	return k == CEL_T_LT   ? "_<_"
	       : k == CEL_T_LE ? "_<=_"
	       : k == CEL_T_GE ? "_>=_"
	       : k == CEL_T_GT ? "_>_"
	       : k == CEL_T_EQ ? "_==_"
	       : k == CEL_T_NE ? "_!=_"
	       : k == CEL_T_IN ? "@in"
			       : NULL;
}

static struct cel_node *cel_parse_relation(struct parser *p)
{
	struct cel_node *n = cel_parse_calc(p, false);
	unsigned depth = p->depth[RULE_RELATION];
	const char *op;

	while (!p->failed && (op = cel_relation_op(p->tok->kind))) {
		uint32_t pos = p->tok++->pos;

		if (cel_parse_deep(p, RULE_RELATION))
			break;
		n = cel_node_call(p->arena, pos, op, 2, n, cel_parse_calc(p, false));
	}
	p->depth[RULE_RELATION] = depth;
	return n;
}

/* a && b && c as a balanced tree, so that long chains are not deep ones */
static struct cel_node *cel_balance(struct parser *p, const struct children *c, const char *op,
				    size_t lo, size_t hi)
{
	size_t mid = (lo + hi + 1) / 2;
	struct cel_node *l, *r;

	l = mid == lo ? c->v[mid] : cel_balance(p, c, op, lo, mid - 1);
	r = mid == hi ? c->v[mid + 1] : cel_balance(p, c, op, mid + 1, hi);
	return cel_node_call(p->arena, c->pos[mid], op, 2, l, r);
}

static struct cel_node *cel_parse_logic(struct parser *p, bool or)
{
	struct children c = { 0 };
	enum cel_tok k = or ? CEL_T_OR : CEL_T_AND;

	for (;;) {
		struct cel_node *n = or ? cel_parse_logic(p, false) : cel_parse_relation(p);

		cel_children_add(p, &c, n, false, p->tok->pos, STR_EMPTY);
		if (!cel_parse_accept(p, k))
			break;
	}
	if (c.n == 1 || p->failed)
		return c.v[0];
	return cel_balance(p, &c, or ? "_||_" : "_&&_", 0, c.n - 2);
}

static struct cel_node *cel_parse_expr(struct parser *p)
{
	struct cel_node *n, *yes, *no;
	uint32_t pos;

	if (p->failed || cel_parse_deep(p, RULE_EXPR))
		return cel_node_new(p->arena, CEL_N_LITERAL, 0);
	n = cel_parse_logic(p, true);
	pos = p->tok->pos;
	if (cel_parse_accept(p, CEL_T_QUESTION)) {
		yes = cel_parse_logic(p, true);
		cel_parse_expect(p, CEL_T_COLON, "':'");
		no = cel_parse_expr(p);
		n = cel_node_call(p->arena, pos, "_?_:_", 3, n, yes, no);
	}
	p->depth[RULE_EXPR]--;
	return n;
}

struct cel_node *cel_parse(struct arena *a, struct str text, struct cel_issues *is)
{
	struct parser p = { .arena = a, .is = is };
	struct cel_node *n;
	size_t n_tokens, points = 0;

	for (size_t i = 0; i < text.n; i++)
		points += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	if (points > CEL_MAX_TEXT) {
		cel_issue_add_nowhere(
			is, "expression code point size exceeds limit: size: %zu, limit %d", points,
			CEL_MAX_TEXT);
		return NULL;
	}
	p.tok = cel_lex(a, text, is, &n_tokens);
	n = cel_parse_expr(&p);
	if (!p.failed && p.tok->kind != CEL_T_EOF)
		cel_parse_unexpected(&p, p.tok[1].kind == CEL_T_EOF ? "extraneous" : "mismatched",
				     "<EOF>");
	return is->total ? NULL : n;
}
