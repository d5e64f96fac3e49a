/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Values and their evaluation; for cel-*.c only. A list or map is either made (an array that grows
 * at its tip and is shared by values that see different lengths of it) or a JSON tree with the
 * schema that says what its parts are.
 */

#include "api/cel-node.h"
#include "json/json.h"

/* ---- stack */

#define CEL_SHALLOW 40

/* Runs fn(arg) on a large stack; must not nest, fn must not suspend. */
void cel_stack_call(void (*fn)(void *arg), void *arg);

/* ---- evaluating */

struct cel_ctx {
	struct cel_run *run;
	struct arena *arena;
	const struct cel_prog *prog;
	struct cel_val *locals;
	uint64_t cost, limit, bytes;
	bool exceeded;
	const struct cel_node *node; /* of the call that runs */
	struct str broken;           /* the first constant that is none */
};

#define CEL_MAX_BYTES (UINT64_C(32) << 20)

struct cel_val cel_eval_node(struct cel_ctx *c, const struct cel_node *n);
uint64_t cel_cost_call(struct cel_ctx *c, const struct cel_node *n, const struct cel_val *args,
		       size_t n_args, const struct cel_val *res);
/* False, once and for all, when the run made too much. */
bool cel_charge_bytes(struct cel_ctx *c, uint64_t n);
bool cel_charge(struct cel_ctx *c, uint64_t cost);

/* ---- values */

enum { CEL_REP_ARRAY, CEL_REP_JSON };

/* Values share the buffer; each sees its own length. */
struct cel_list {
	size_t n, cap;
	struct cel_val *v;
};

struct cel_pair {
	struct cel_val key, val;
	uint64_t hash;
};

struct cel_map {
	size_t n, cap;
	struct cel_pair *v;
	uint32_t *table; /* index + 1, open addressing; NULL while small */
	size_t n_table;
	const struct cel_type *type; /* of a struct */
};

static inline bool cel_is_error(const struct cel_val *v)
{
	return v->kind == CEL_ERROR;
}

struct cel_val cel_error(struct cel_ctx *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct cel_val cel_error_z(const char *text);
struct cel_val cel_no_overload(void);
struct cel_val cel_int(int64_t i);
struct cel_val cel_uint(uint64_t u);
struct cel_val cel_double(double d);
struct cel_val cel_null(void);
struct cel_val cel_bytes(struct str s);
struct cel_val cel_duration(int64_t ns);
struct cel_val cel_timestamp(int64_t sec, int32_t ns);
struct cel_val cel_type_val(const struct cel_type *t);
struct cel_val cel_opaque(enum cel_opaque o, const void *p);
struct cel_val cel_list_val(const struct cel_list *l);
struct cel_list *cel_list_new(struct arena *a, size_t cap);
void cel_list_add(struct arena *a, struct cel_list *l, struct cel_val v);
struct cel_map *cel_map_new(struct arena *a, size_t cap);
struct cel_val cel_map_val(const struct cel_map *m);
/* False when the key is there. */
bool cel_map_add(struct arena *a, struct cel_map *m, struct cel_val k, struct cel_val v);
/* The value at a key; false when absent. */
bool cel_map_find(struct cel_ctx *c, const struct cel_val *m, const struct cel_val *k,
		  struct cel_val *ret);
bool cel_map_find_field(struct cel_ctx *c, const struct cel_val *m, struct str name,
			struct cel_val *ret);
size_t cel_size(const struct cel_val *v);
struct cel_val cel_list_get(struct cel_ctx *c, const struct cel_val *l, size_t i);
/* A list or a map's pairs, one after another; a list's keys are its indexes. */
struct cel_iter {
	const struct cel_val *of;
	size_t i;
	struct json_iter json;
};
struct cel_iter cel_iter(const struct cel_val *v);
bool cel_iter_next(struct cel_ctx *c, struct cel_iter *it, struct cel_val *ret_key,
		   struct cel_val *ret_val);
struct cel_val cel_from_json(struct arena *a, const struct schema *s, const struct json *j);

/* Numbers by value; what cannot be equal is not. */
bool cel_equal(struct cel_ctx *c, const struct cel_val *x, const struct cel_val *y);
/* -1, 0, 1; 2: not ordered (NaN), 3: no overload. */
int cel_compare(const struct cel_val *x, const struct cel_val *y);
const struct cel_type *cel_type_of_val(const struct cel_val *v);
struct str cel_kind_name(const struct cel_val *v);

/* texts of values */
struct str cel_double_text(struct arena *a, double d);
struct str cel_duration_text(struct arena *a, int64_t ns);
struct str cel_timestamp_text(struct arena *a, int64_t sec, int32_t ns);
bool cel_timestamp_parse(struct str s, struct cel_val *ret);
bool cel_duration_parse(struct str s, int64_t *ret);

/* helpers of the libraries */
size_t cel_utf8_len(struct str s);
/* Bytes of the first n code points. */
size_t cel_utf8_offset(struct str s, size_t n);

/* ---- shared by the libraries */

/* string(v) of an opaque value */
struct cel_val cel_opaque_text(struct cel_ctx *c, const struct cel_val *v);
struct cel_val cel_list_first(struct cel_ctx *c, const struct cel_val *a, size_t n);
struct cel_val cel_list_last(struct cel_ctx *c, const struct cel_val *a, size_t n);
struct cel_val cel_string_format(struct cel_ctx *c, const struct cel_val *a, size_t n);
/* indexOf and lastIndexOf of strings */
struct cel_val cel_string_find(struct cel_ctx *c, const struct cel_val *a, size_t n, bool last);

/* ---- opaque values */

struct cel_authz_val {
	struct cel_authz_check check;
	struct cel_authz_answer answer;
};
/* authorizer, or authorizer.requestResource */
struct cel_val cel_authorizer_val(struct cel_ctx *c, bool request_resource);

bool cel_opaque_equal(const struct cel_val *x, const struct cel_val *y);
bool cel_net_equal(const struct cel_val *x, const struct cel_val *y);
struct str cel_net_text(struct arena *a, const struct cel_val *v);
size_t cel_net_size(const struct cel_val *v);
bool cel_url_equal(const struct cel_val *x, const struct cel_val *y);
bool cel_url_valid(struct str s);
/* of quantities and versions */
bool cel_ordered_equal(const struct cel_val *x, const struct cel_val *y);
/* What a named format's check is charged as; 0 when v is none. */
unsigned cel_format_regex_size(const struct cel_val *v);
