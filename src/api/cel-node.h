/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The tree of an expression, what makes it (lexer, parser, macros, checker) and what it ends in:
 * the program. For cel-*.c only.
 */

#include "api/cel-internal.h"

/* ---- the tree */

enum cel_node_kind {
	CEL_N_LITERAL,
	CEL_N_IDENT,
	CEL_N_SELECT,
	CEL_N_CALL,
	CEL_N_LIST,
	CEL_N_MAP,
	CEL_N_STRUCT,
	CEL_N_FOLD,
};

/* What the evaluator does at once, not through a function. */
enum cel_op {
	CEL_OP_CALL,
	CEL_OP_AND,
	CEL_OP_OR,
	CEL_OP_CONDITIONAL,
	CEL_OP_EQ,
	CEL_OP_NE,
	CEL_OP_NOT_STRICTLY_FALSE,
	CEL_OP_OPT_SELECT,
	CEL_OP_OR_ELSE, /* optional's or and orValue: lazy in the argument */
	CEL_OP_APPEND,
	CEL_OP_MATCHES, /* of a literal pattern */
};

enum { CEL_SLOT_GLOBAL, CEL_SLOT_LOCAL, CEL_SLOT_TYPE };

struct cel_fold {
	struct str iter, iter2, accu; /* iter2 may be empty */
	struct cel_node *range, *init, *cond, *step, *result;
	int iter_slot, iter2_slot, accu_slot;
	bool bind; /* evaluates only the result, with accu lazily bound to init */
};

struct cel_node {
	uint8_t kind, op, slot_kind;
	bool test_only, member, is_const, check_done, cost_done;
	bool opt; /* optional index */
	uint16_t depth;
	uint32_t pos; /* bytes from the start of the text */
	uint32_t n_args;
	int slot;
	const struct cel_type *type;
	struct str name;
	struct cel_node *target;
	struct cel_node **args; /* a map's: key, value, key ...; a struct's values */
	struct str *fields;     /* a struct's names */
	uint32_t *entry_pos;    /* a struct's or map's ':' */
	bool *optional;         /* elements' and entries' question marks; may be NULL */
	struct cel_fold *fold;
	const struct cel_fn *fn;
	struct regex *regex; /* of matches() with a literal */
	uint64_t overloads;  /* candidates, by bit */
	struct cel_val lit;
	struct cel_cost cost;
	struct cel_size *size;
};

/* The least that a value of the schema takes in JSON. */
int64_t cel_schema_size(const struct schema *s);

/* ---- issues: errors of parsing and checking */

struct cel_issue {
	struct str msg;
	uint32_t pos;
	bool nowhere;
};

struct cel_issues {
	struct arena *arena;
	struct str text;
	struct cel_issue *v;
	size_t n, total, cap;
};

void cel_issue_add(struct cel_issues *is, uint32_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* At no place in the text. */
void cel_issue_add_nowhere(struct cel_issues *is, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str cel_issues_text(struct arena *a, struct cel_issues *is);

/* ---- lexer */

enum cel_tok {
	CEL_T_EOF,
	CEL_T_INT,
	CEL_T_UINT,
	CEL_T_FLOAT,
	CEL_T_STRING,
	CEL_T_BYTES,
	CEL_T_IDENT,
	CEL_T_ESC_IDENT,
	CEL_T_EQ,
	CEL_T_NE,
	CEL_T_IN,
	CEL_T_LT,
	CEL_T_LE,
	CEL_T_GE,
	CEL_T_GT,
	CEL_T_AND,
	CEL_T_OR,
	CEL_T_LBRACKET,
	CEL_T_RBRACKET,
	CEL_T_LBRACE,
	CEL_T_RBRACE,
	CEL_T_LPAREN,
	CEL_T_RPAREN,
	CEL_T_DOT,
	CEL_T_COMMA,
	CEL_T_MINUS,
	CEL_T_NOT,
	CEL_T_QUESTION,
	CEL_T_COLON,
	CEL_T_PLUS,
	CEL_T_STAR,
	CEL_T_SLASH,
	CEL_T_PERCENT,
	CEL_T_TRUE,
	CEL_T_FALSE,
	CEL_T_NULL,
	CEL_T_N_
};

struct cel_token {
	enum cel_tok kind;
	uint32_t pos;
	struct str text;
};

/* Tokens until EOF, which is the last; issues for what is no token. */
struct cel_token *cel_lex(struct arena *a, struct str text, struct cel_issues *is, size_t *ret_n);
/* The value of a string or bytes token; NULL, or what is wrong. */
const char *cel_unquote(struct arena *a, struct str text, bool bytes, struct str *ret);

/* ---- compiling */

struct cel_node *cel_parse(struct arena *a, struct str text, struct cel_issues *is);
/* NULL when the call is no macro. */
struct cel_node *cel_macro_expand(struct arena *a, struct cel_issues *is, struct cel_node *call);
struct cel_node *cel_node_new(struct arena *a, enum cel_node_kind k, uint32_t pos);
struct cel_node *cel_node_ident(struct arena *a, uint32_t pos, const char *name);
struct cel_node *cel_node_call(struct arena *a, uint32_t pos, const char *fn, size_t n, ...);
void cel_node_measure(struct cel_node *n);

struct cel_var {
	struct str name;
	const struct cel_type *type;
};

struct cel_composed {
	struct str name;
	struct cel_prog *prog;
	struct str why;
	const struct cel_type *type;
};

#define CEL_MAX_VARS 16

struct cel_env {
	uint32_t refs;
	bool patch, estimate; /* estimate: the first variable's type gives sizes */
	struct arena *arena;
	struct cel_var vars[CEL_MAX_VARS];
	size_t n_vars;
	int variables_slot; /* of "variables"; -1 */
	struct cel_composed *composed;
	size_t n_composed, cap_composed;
	struct cel_type_cache *cache;
	unsigned next_name;
};

struct cel_prog {
	uint32_t refs;
	struct arena *arena;
	struct cel_env *env;
	struct cel_node *root;
	const struct cel_type *type;
	size_t n_locals;
	struct cel_cost cost;
	struct regex **regexes;
	size_t n_regexes, cap_regexes;
	uint64_t uses;     /* variables' slots, as bits */
	struct str broken; /* why it cannot be instantiated */
	bool env_borrowed; /* the environment owns the program */
};

/* Types and resolves the tree; issues when it does not fit. */
void cel_check(struct cel_prog *p, struct cel_issues *is);
void cel_cost_estimate(struct cel_prog *p);
/* Literals that cannot be what they are passed to: upstream's AST validators. */
void cel_validate(struct cel_prog *p, struct cel_node *n, struct cel_issues *is);
/* A format string and its arguments, both literals, that do not fit. */
void cel_format_check(struct arena *a, const struct cel_node *n, struct cel_issues *is);
struct regex *cel_prog_regex(struct cel_prog *p, struct str pattern, struct arena *a,
			     struct str *ret_why);
