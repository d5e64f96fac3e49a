/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CEL inside: for cel-*.c only. An expression is parsed to a tree of nodes, macros expanded; the
 * checker gives each node its type, each name its slot and each call its function; the tree is
 * then evaluated as it is. All of it lives in the program's arena.
 *
 * Everything recurses over the tree, whose depth the parser bounds; what is deeper than
 * CEL_SHALLOW runs on a stack of its own (cel-stack.c).
 */

#include "api/cel.h"
#include "base/err.h"

struct cel_node;
struct regex;
struct schema;

/* ---- types */

enum cel_opaque {
	CEL_O_IP = 1,
	CEL_O_CIDR,
	CEL_O_URL,
	CEL_O_QUANTITY,
	CEL_O_SEMVER,
	CEL_O_FORMAT,
	CEL_O_AUTHORIZER,
	CEL_O_PATH_CHECK,
	CEL_O_GROUP_CHECK,
	CEL_O_RESOURCE_CHECK,
	CEL_O_DECISION,
	CEL_O_N_
};

struct cel_member {
	struct str name;
	const struct cel_type *type;
};

struct cel_type {
	uint8_t kind; /* enum cel_kind; CEL_TYPE's, CEL_LIST's and CEL_OPTIONAL's parameter is a */
	uint8_t opaque;
	bool root;       /* of a CEL_STRUCT of a schema: has apiVersion, kind, metadata */
	bool any_fields; /* Object of a mutating policy: every field, of the type NAME.FIELD */
	bool is_patch;   /* JSONPatch */
	bool nameless;   /* CEL_TYPE without a parameter */
	const struct cel_type *a, *b;
	struct str name;             /* of a struct or a type parameter */
	const struct schema *schema; /* of a struct, a list or a map: its sizes and fields */
	const struct cel_member *members;
	size_t n_members;
	uint64_t max_elements; /* of strings and the like by their schema; 0: unknown */
	bool has_max;
};

struct cel_subst; /* bindings of type parameters */

/* Types that are the same everywhere. */
extern const struct cel_type cel_types[CEL_STRUCT + 1];
const struct cel_type *cel_type_opaque(enum cel_opaque o);
const char *cel_opaque_name(enum cel_opaque o);
const struct cel_type *cel_type_new(struct arena *a, enum cel_kind k, const struct cel_type *p,
				    const struct cel_type *q);
bool cel_type_equal(const struct cel_type *x, const struct cel_type *y);
/* Whether a value of type y can stand where x is wanted; binds parameters when it can. */
bool cel_type_assign(struct cel_subst *m, const struct cel_type *x, const struct cel_type *y);
bool cel_type_assign_list(struct cel_subst *m, const struct cel_type *const *x,
			  const struct cel_type *const *y, size_t n);
const struct cel_type *cel_type_substitute(struct cel_subst *m, const struct cel_type *t,
					   bool to_dyn);
struct cel_subst *cel_subst_new(struct arena *a);
const struct cel_type *cel_subst_fresh(struct cel_subst *m);
/* Parameters of a signature become fresh ones, the same for the same letter. */
const struct cel_type *cel_type_instance(struct cel_subst *m, const struct cel_type *t,
					 const struct cel_type **fresh);
/* As type() values and messages name it: without parameters. */
struct str cel_type_name(struct arena *a, const struct cel_type *t);
/* A copy that needs nothing of where t lives, schemas excepted. */
const struct cel_type *cel_type_copy(struct arena *a, const struct cel_type *t);
const struct cel_type *cel_type_general(const struct cel_type *x, const struct cel_type *y);
/* NULL: there is no such field. */
const struct cel_type *cel_type_field(struct cel_env *e, const struct cel_type *t, struct str name);

/* ---- functions */

struct cel_ctx;
typedef struct cel_val (*cel_fn_impl)(struct cel_ctx *c, const struct cel_val *args, size_t n);

enum cel_cost_kind {
	CEL_COST_ONE,
	CEL_COST_EQUAL,
	CEL_COST_ORDER,
	CEL_COST_ADD,
	CEL_COST_IN,
	CEL_COST_AFFIX, /* startsWith, endsWith */
	CEL_COST_MATCHES,
	CEL_COST_CONTAINS,
	CEL_COST_LOGIC,
	CEL_COST_CONDITIONAL,
	CEL_COST_CONVERT,  /* string(bytes), bytes(string) */
	CEL_COST_TRAVERSE, /* the target, whose size the result has */
	CEL_COST_FORMAT,
	CEL_COST_QUOTE,
	CEL_COST_PARSE, /* the argument */
	CEL_COST_PARSE_SIZED,
	CEL_COST_PARSE_TWICE,
	CEL_COST_REPLACE,
	CEL_COST_SPLIT,
	CEL_COST_JOIN,
	CEL_COST_FIND,
	CEL_COST_LIST, /* isSorted, sum, indexOf ... */
	CEL_COST_CHECK,
	CEL_COST_SELECTOR,
	CEL_COST_CONTAINS_IP,
	CEL_COST_CONTAINS_CIDR,
	CEL_COST_VALIDATE,
	CEL_COST_SETS,
	CEL_COST_INDEX,
	CEL_COST_SLICE,
	CEL_COST_FLATTEN,
	CEL_COST_REVERSE,
	CEL_COST_DISTINCT,
	CEL_COST_SORT,
	CEL_COST_RANGE,
	CEL_COST_N_
};

struct cel_fn_row {
	const char *name;
	/*
	 * Overloads: "ss>b .ss>b": arguments, result; a dot marks members. b i u d s y(tes) n
	 * t(ime) D(uration) *(dyn) A B (parameters) [A] {AB} ?A TA(type); capitals: opaque types.
	 */
	const char *sigs;
	cel_fn_impl impl;
	enum cel_cost_kind cost;
};

#define CEL_MAX_ARGS 4

struct cel_overload {
	const struct cel_type *args[CEL_MAX_ARGS], *result;
	uint8_t n_args;
	bool member, params;
};

struct cel_fn {
	const struct cel_fn_row *row;
	struct str name;
	const struct cel_overload *overloads;
	size_t n_overloads;
	bool patch_only, variadic;
};

/* The tables of the cel-lib-*.c. */
extern const struct cel_fn_row cel_lib_operators[], cel_lib_standard[], cel_lib_strings[],
	cel_lib_regex[], cel_lib_lists[], cel_lib_sets[], cel_lib_net[], cel_lib_quantity[],
	cel_lib_semver[], cel_lib_format[], cel_lib_authz[], cel_lib_optional[], cel_lib_patch[],
	cel_lib_url[], cel_lib_time[];
const struct cel_fn *cel_fn_find(struct str name);
/* "A>B" in the process's type arena. */
const struct cel_type *cel_type_of_sig(const char **p);
struct arena *cel_static_arena(void);
