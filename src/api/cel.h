/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The Common Expression Language with Kubernetes' libraries: expressions are compiled in an
 * environment (which variables there are, and of what types) to programs, and programs are
 * evaluated over JSON trees.
 *
 * Environments are made, filled, then only used; programs are immutable and reference counted,
 * and keep their environment. Evaluation allocates in the run's arena only, never suspends
 * (the authorizer's callback must not either), and is stopped by its cost limit.
 */

#include "base/str.h"

struct arena;
struct cel_env;
struct cel_prog;
struct cel_type;
struct json;
struct schema;

enum cel_kind {
	CEL_NULL,
	CEL_BOOL,
	CEL_INT,
	CEL_UINT,
	CEL_DOUBLE,
	CEL_STRING,
	CEL_BYTES,
	CEL_DURATION,
	CEL_TIMESTAMP,
	CEL_LIST,
	CEL_MAP, /* and structs */
	CEL_TYPE,
	CEL_OPTIONAL,
	CEL_OPAQUE, /* url, ip, quantity, authorizer ... */
	CEL_ERROR,
	CEL_DYN, /* of types only, as are the following */
	CEL_PARAM,
	CEL_STRUCT,
};

/* A value. Besides kind and the scalars its members are for cel-*.c. */
struct cel_val {
	uint8_t kind;
	uint8_t rep;
	uint16_t aux;
	int32_t nanos; /* of a timestamp */
	union {
		bool b;
		int64_t i; /* also a duration's nanoseconds, a timestamp's seconds */
		uint64_t u;
		double d;
		struct str s; /* string, bytes; the text of an error */
		struct {
			const void *p;
			const void *q;
		};
	};
};

/* ---- types: immutable, they live as long as the environment */

/* A scalar type or CEL_DYN. */
const struct cel_type *cel_type_of(enum cel_kind k);
const struct cel_type *cel_type_list(struct cel_env *e, const struct cel_type *elem);
const struct cel_type *cel_type_map(struct cel_env *e, const struct cel_type *key,
				    const struct cel_type *val);
/* What rules see of a structural schema, which must live as long; NULL when it cannot be seen. */
const struct cel_type *cel_type_schema(struct cel_env *e, const struct schema *s,
				       bool resource_root);
struct cel_field {
	const char *name;
	const struct cel_type *type;
};
/* fields are copied, names borrowed. */
const struct cel_type *cel_type_struct(struct cel_env *e, const char *name,
				       const struct cel_field *fields, size_t n);
/* As upstream prints it: "map(string, int)". */
struct str cel_type_text(struct arena *a, const struct cel_type *t);
bool cel_type_is(const struct cel_type *t, enum cel_kind k);

/* ---- environments */

/* Kubernetes 1.36's libraries, no variables. One reference. */
struct cel_env *cel_env_new(void);
struct cel_env *cel_env_ref(struct cel_env *e);
struct cel_env *cel_env_unref(struct cel_env *e);
/* Returns the variable's slot in cel_run.vars, counted from 0. name is borrowed. */
size_t cel_env_add_var(struct cel_env *e, const char *name, const struct cel_type *t);

enum {
	CEL_WITH_PARAMS = 1,
	CEL_WITH_AUTHORIZER = 2,
	CEL_WITH_PATCH = 4, /* Object{}, JSONPatch{}, jsonpatch.escapeKey(): mutating policies */
	CEL_WITH_VARIABLES = 8,
};
/* Slots of an admission environment; which of the last four exist depends on the flags. */
enum cel_admission_var {
	CEL_VAR_OBJECT,
	CEL_VAR_OLD_OBJECT,
	CEL_VAR_NAMESPACE, /* namespaceObject */
	CEL_VAR_REQUEST,
	CEL_VAR_PARAMS,
	CEL_VAR_AUTHORIZER, /* bound by cel_run.authz */
	CEL_VAR_REQUEST_RESOURCE,
	CEL_VAR_VARIABLES, /* needs no binding */
	CEL_ADMISSION_VARS
};
/*
 * The environment of match conditions and policies, object and oldObject of type object (NULL:
 * dyn, as compiled for evaluation; type checking gives a schema's type), params likewise.
 */
struct cel_env *cel_env_admission(unsigned flags);
void cel_env_set_var_type(struct cel_env *e, const char *name, const struct cel_type *t);
/*
 * Makes `variables.NAME` of what prog yields; evaluated when first used in a run. prog, compiled in
 * e before, may be NULL for a variable that did not compile (its type is dyn then, and its use an
 * error with the text why).
 */
void cel_env_add_variable(struct cel_env *e, struct str name, struct cel_prog *prog,
			  struct str why);

/* ---- compiling */

struct cel_cost {
	uint64_t min, max;
};

/*
 * NULL when it does not compile; *ret_issues then is cel-go's text in a: "ERROR: <input>:1:5: ..."
 * without "compilation failed: ".
 */
struct cel_prog *cel_compile(struct cel_env *e, struct arena *a, struct str expr,
			     struct str *ret_issues);
struct cel_prog *cel_prog_ref(struct cel_prog *p);
struct cel_prog *cel_prog_unref(struct cel_prog *p);
/*
 * Upstream's second step may fail too, on constants that do not convert: int('x'). Empty, or the
 * text that belongs behind "program instantiation failed: ".
 */
struct str cel_prog_broken(const struct cel_prog *p);
/* The type of its result. */
const struct cel_type *cel_prog_type(const struct cel_prog *p);
/* The static estimate. */
struct cel_cost cel_prog_cost(const struct cel_prog *p);
bool cel_prog_uses(const struct cel_prog *p, const char *var);

/* ---- evaluating */

#define CEL_PER_CALL_LIMIT UINT64_C(1000000)

struct cel_authz_check {
	/* of the request's user unless a service account is named */
	struct str sa_namespace, sa_name;
	bool is_resource; /* else path */
	struct str path, group, resource, subresource, namespace, name, verb;
	bool has_field_selector, has_label_selector;
	struct str field_selector, label_selector; /* unparsed */
};

struct cel_authz_answer {
	bool allowed;
	struct str reason, error; /* error empty: none; in the arena or static */
};

struct cel_authz {
	void (*check)(void *arg, struct arena *a, const struct cel_authz_check *c,
		      struct cel_authz_answer *ret);
	void *arg;
	/* what authorizer.requestResource starts from (verb empty) */
	struct cel_authz_check request_resource;
};

/* The bindings and the budget; one run serves all expressions over the same bindings. */
struct cel_run {
	struct arena *arena;
	const struct cel_val *vars; /* by slot */
	const struct cel_authz *authz;
	uint64_t limit; /* per call; 0: CEL_PER_CALL_LIMIT */
	uint64_t cost;  /* set by cel_eval: of the last call, its variables included */
	/* private; zero at first */
	struct cel_memo *memos;
	struct cel_index *indexes;
	uint64_t used, variables_cost;
	bool exceeded;
};

/*
 * False on a run-time error: *ret then is of kind CEL_ERROR and its s the text ("no such key: y",
 * "operation cancelled: actual cost limit exceeded").
 */
bool cel_eval(const struct cel_prog *p, struct cel_run *r, struct cel_val *ret);
/* Whether the last call ended because of its cost. */
bool cel_run_exceeded(const struct cel_run *r);

/* ---- values */

/* j as dynamic data; NULL is null. Borrowed. */
struct cel_val cel_val_json(const struct json *j);
/* j as what s says of it: numbers, times, durations, bytes, list types. */
struct cel_val cel_val_schema(struct arena *a, const struct schema *s, const struct json *j);
struct cel_val cel_val_str(struct str s);
struct cel_val cel_val_bool(bool b);
struct cel_val cel_val_optional(struct arena *a, const struct cel_val *v); /* NULL: none */
/* The value as JSON, as upstream converts it; NULL with the reason when it has no JSON form. */
struct json *cel_val_to_json(struct arena *a, struct cel_val v, struct str *ret_error);
