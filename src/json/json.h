/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON values: yyjson's mutable values, allocated in an arena, under a name of our own.
 * A value belongs to at most one container; json_copy() before adding it to another.
 * Const trees may be shared freely. Strings are views into the arena (or into literals).
 *
 * Numbers keep their kind (unsigned, signed, real). Objects keep insertion order; lookup
 * is linear in small ones, by hash in others; removal is linear. Elements of arrays are found at
 * once until the array changes. Depth is limited to JSON_MAX_DEPTH on the way in, so recursion is
 * safe on a fiber.
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;

#define JSON_MAX_DEPTH 128

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_INT, /* fits int64_t or uint64_t */
	JSON_REAL,
	JSON_STR,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* text */
/*
 * BAD_REQUEST with the offset on malformed input. Duplicate keys: the last one wins, as in Go;
 * when ret_dups is not NULL it receives an array of their paths ("spec.a").
 */
MUST_USE struct err *json_parse(struct arena *a, struct str text, struct json **ret);
MUST_USE struct err *json_parse_dups(struct arena *a, struct str text, struct json **ret,
				     struct json **ret_dups);
/* Each key of a well-formed text in the order of the text; again: not the first in its object. ctx
 * is not NULL. */
typedef void (*json_key_fn)(struct str path, bool again, void *ctx);
void json_each_key(struct arena *a, struct str text, json_key_fn fn, void *ctx);
void json_write(struct buf *b, const struct json *v);
/* "key":value */
void json_write_member(struct buf *b, struct str key, const struct json *v);
/* 2-space indent, as kubectl and the server's ?pretty=1. */
void json_write_pretty(struct buf *b, const struct json *v);
struct str json_text(struct arena *a, const struct json *v);
/* Equal values have equal texts: members are sorted, 3.0 is written as 3. */
struct str json_canonical(struct arena *a, const struct json *v);

/* making */
struct json *json_null(struct arena *a);
struct json *json_bool(struct arena *a, bool v);
struct json *json_int(struct arena *a, int64_t v);
struct json *json_real(struct arena *a, double v);
/* The bytes are borrowed (they must live as long as the arena); json_strcpy copies them. */
struct json *json_str(struct arena *a, struct str s);
struct json *json_strz(struct arena *a, const char *z);
struct json *json_strcpy(struct arena *a, struct str s);
struct json *json_strf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct json *json_array(struct arena *a);
struct json *json_object(struct arena *a);
struct json *json_copy(struct arena *a, const struct json *v);
/* A copy whose strings are those of v: for trees that live equally long. */
struct json *json_dup(struct arena *a, const struct json *v);

/* queries: every one accepts NULL, and answers as for a missing value */
enum json_type json_type(const struct json *v);
const char *
json_type_name(const struct json *v); /* null boolean integer number string array object */
bool json_is(const struct json *v, enum json_type t);        /* false on C NULL */
bool json_is_null(const struct json *v);                     /* true on C NULL and on JSON null */
bool json_equal(const struct json *a, const struct json *b); /* numbers by value */
struct str json_as_str(const struct json *v);                /* "" when not a string */
int64_t json_as_int(const struct json *v, int64_t dflt);
bool json_as_bool(const struct json *v, bool dflt);
double json_as_real(const struct json *v, double dflt);
/* Elements of an array, members of an object, else 0. */
size_t json_len(const struct json *v);

/* objects */
struct json *json_get(const struct json *obj, const char *key);
struct json *json_get_s(const struct json *obj, struct str key);
/* Walks members: json_path(o, "metadata", "labels", NULL). */
struct json *json_path(const struct json *obj, ...) __attribute__((sentinel));
/* Dots between member names, none inside: json_at(o, "spec.template.metadata"). */
struct json *json_at(const struct json *obj, const char *dotted);
struct str json_str_at(const struct json *obj, const char *dotted);
int64_t json_int_at(const struct json *obj, const char *dotted, int64_t dflt);
bool json_bool_at(const struct json *obj, const char *dotted, bool dflt);
/* Sets or replaces a member, keeping its place; key is borrowed. Takes v. */
void json_set(struct arena *a, struct json *obj, const char *key, struct json *v);
void json_set_s(struct arena *a, struct json *obj, struct str key, struct json *v);
/* Puts it first instead of last when it is new. */
void json_set_first(struct arena *a, struct json *obj, const char *key, struct json *v);
/* Creates the objects on the way. */
void json_set_at(struct arena *a, struct json *obj, const char *dotted, struct json *v);
void json_set_str(struct arena *a, struct json *obj, const char *key, struct str s);
void json_set_int(struct arena *a, struct json *obj, const char *key, int64_t v);
void json_set_bool(struct arena *a, struct json *obj, const char *key, bool v);
/* The member object, created when absent or not an object. */
struct json *json_sub(struct arena *a, struct json *obj, const char *key);
/* Likewise an array. */
struct json *json_sub_array(struct arena *a, struct json *obj, const char *key);
bool json_del(struct json *obj, struct str key);
bool json_delz(struct json *obj, const char *key);
/* Removes the members that names, an array, has; in their order. */
void json_del_all(struct json *obj, const struct json *names);

/* arrays */
struct json *json_idx(const struct json *arr, size_t i);
void json_push(struct json *arr, struct json *v);
bool json_remove_idx(struct json *arr, size_t i);
void json_insert_idx(struct json *arr, size_t i, struct json *v);
/* Replaces element i in place. */
void json_replace_idx(struct json *arr, size_t i, struct json *v);
/* Turns v, where it stands, into a scalar or an empty container like from. */
void json_become(struct json *v, const struct json *from);
/* The first element whose member key is the string val. */
struct json *json_find_by(const struct json *arr, const char *key, struct str val);
/*
 * Which elements of arr have the text of an earlier one: their member key's, or their own if key is
 * NULL; what is no text counts as "". An array as long as arr, or NULL if none has. Linear in the
 * length.
 */
const bool *json_repeats(struct arena *a, const struct json *arr, const char *key);
/* The elements of arr by such a text, for who asks often: good until arr changes. */
struct json_texts *json_texts_new(struct arena *a, const struct json *arr, const char *key);
/* The first one, like json_find_by(). */
const struct json *json_texts_find(const struct json_texts *t, struct str text);

/* iteration; arrays yield an empty key. Do not change the container meanwhile. */
struct json_iter {
	struct str key;
	struct json *val;
	size_t i;
	/* private */
	size_t left;
	bool keyed;
};

struct json_iter json_iter(const struct json *container);
bool json_next(struct json_iter *it);

#define json_for_each(it, container) \
	for (struct json_iter it = json_iter(container); json_next(&it);)
