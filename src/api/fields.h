/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sets of fields of an object, as managedFields records them: a trie of path elements, and what a
 * schema makes of objects in terms of such sets (merge, comparison, pruning) for server-side apply.
 *
 * A path element is kept as FieldsV1 writes it: "f:NAME" a member, `k:{"name":"c"}` an item of a
 * list with keys (sorted by name), `v:1` an item of a set, "i:0" an index. Sets live in an arena.
 * What union, difference and intersection return shares nodes with their operands: nothing of
 * them may be changed afterwards.
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;
struct schema;

struct fields {
	struct str pe; /* empty: the root */
	bool owned;    /* the node itself is in the set */
	/* private */
	struct fields **kids; /* sorted by pe */
	size_t n, cap;
};

/* sets */
struct fields *fields_new(struct arena *a);
/* Adds a node below f (not owned when it is new); pe is borrowed. */
struct fields *fields_sub(struct arena *a, struct fields *f, struct str pe);
void fields_drop(struct fields *f, struct str pe);
/* NULL when absent, and for f NULL. */
const struct fields *fields_find(const struct fields *f, struct str pe);
bool fields_empty(const struct fields *f);
bool fields_equal(const struct fields *x, const struct fields *y);
size_t fields_count(const struct fields *f);
struct fields *fields_union(struct arena *a, const struct fields *x, const struct fields *y);
/* Node by node: what is below a node of y stays. */
struct fields *fields_difference(struct arena *a, const struct fields *x, const struct fields *y);
struct fields *fields_intersection(struct arena *a, const struct fields *x, const struct fields *y);
/* Calls fn with the path of every node in the set: `.spec.containers[name="c"].image`. */
void fields_each(struct arena *a, const struct fields *f, void (*fn)(struct str path, void *ctx),
		 void *ctx);

/* FieldsV1; BAD_REQUEST on what is none */
MUST_USE struct err *fields_from_json(struct arena *a, const struct json *v, struct fields **ret);
struct json *fields_to_json(struct arena *a, const struct fields *f);

/*
 * Look-ups are linear, and walks recursive: containers with more members or further down than
 * this are leaves of a comparison, and objects that have such are not merged.
 */
#define FIELDS_MEMBERS_MAX 4096
#define FIELDS_DEPTH_MAX   64
bool fields_too_large(const struct json *obj);

/* What differs between two objects. */
struct fields_diff {
	struct fields *added, *modified, *removed;
};

/* objects: s NULL is no schema: maps are granular and lists atomic; objects are not changed */
/* The leaves, list items and map values of an applied object. */
struct fields *fields_of(struct arena *a, const struct schema *s, const struct json *v);
void fields_compare(struct arena *a, const struct schema *s, const struct json *old,
		    const struct json *obj, struct fields_diff *ret);
/* config over live. */
struct json *fields_merge(struct arena *a, const struct schema *s, const struct json *live,
			  const struct json *config);
/* Removes, in place, what is in last and no longer in owned. */
void fields_prune(struct arena *a, const struct schema *s, struct json *obj,
		  const struct fields *last, const struct fields *owned);
/*
 * Adds to errors (an array) what is wrong with an applied object: `.zz: field not declared in
 * schema`, wrong types, repeated or incomplete keys of list items.
 */
void fields_check(struct arena *a, const struct schema *s, const struct json *config,
		  struct json *errors);
