/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An API object as immutable reference-counted bytes. What is kept is everything after
 *     {"kind":K,"apiVersion":V,"metadata":{"resourceVersion":"N",
 * so that another served version, or the revision known only after the commit, costs a
 * new head and no parsing. metadata comes first and holds no resourceVersion in the tail.
 *
 *     head  {"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7",
 *     tail  "name":"a","namespace":"b","uid":"..."},"spec":{...}}
 *
 * Labels and selectable fields are kept decoded-cheap beside it, so selectors never parse.
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;

struct rev {
	uint64_t n;
};

struct obj_pair {
	struct str key, val;
};

/* Objects that are kept until the arena ends. */
struct obj_list {
	struct arena *arena;
	const struct obj **v;
	size_t n, cap;
};

struct obj {
	uint32_t refs;
	uint32_t schema_gen; /* generation of the schema it was defaulted with */
	struct rev rev;      /* 0 until committed */
	struct str ns, name, uid;
	struct str tail;
	const struct obj_pair *labels; /* sorted by key */
	size_t n_labels;
	const struct obj_pair *fields; /* selectable fields, by the resource's order */
	size_t n_fields;
	bool deleting; /* has a deletionTimestamp */
	/* private */
	size_t size;
	struct json *tree;
	struct arena *tree_arena;
};

/* TOO_LARGE: more labels, or longer names of fields, than an object can have. */
MUST_USE struct err *obj_fits(const struct json *tree, const struct obj_pair *fields,
			      size_t n_fields);
/*
 * From a tree with metadata (kind, apiVersion, resourceVersion are dropped). fields are the
 * values for field selectors (metadata.name and metadata.namespace need not be among them).
 * One reference to the caller.
 */
struct obj *obj_new(const struct json *tree, struct rev rev, uint32_t schema_gen,
		    const struct obj_pair *fields, size_t n_fields);
const struct obj *obj_ref(const struct obj *o);
const struct obj *obj_unref(const struct obj *o); /* returns NULL */
void obj_unrefp(const struct obj **o);
#define _cleanup_obj_ _cleanup_(obj_unrefp)
/* Keeps o until the arena ends; returns it. */
const struct obj *obj_hold(struct arena *a, const struct obj *o);
void obj_list_add(struct obj_list *l, const struct obj *o);
/* The same object at another revision (shares nothing; used when the commit assigns it). */
struct obj *obj_with_rev(const struct obj *o, struct rev rev);

/* the stored form: header with labels and fields, then the tail */
void obj_encode(struct buf *b, const struct obj *o);
/* Copies bytes; CORRUPT on anything malformed. */
MUST_USE struct err *obj_decode(struct str bytes, struct rev rev, const struct obj **ret);

/*
 * The stored form looked at in place, to decide whether it is worth a copy. obj borrows from the
 * bytes and from the view; it must not be referenced, only copied.
 */
struct obj_view {
	struct obj obj;
	/* private */
	struct obj_pair pairs[32], *more;
};

MUST_USE struct err *obj_view_init(struct obj_view *v, struct str bytes, struct rev rev);
void obj_view_fini(struct obj_view *v);
const struct obj *obj_copy(const struct obj *o);

/* the JSON text: kind empty leaves kind and apiVersion out (items of typed lists) */
void obj_write(struct buf *b, const struct obj *o, struct str api_version, struct str kind);
/* A tree of its own in the arena, with kind, apiVersion and resourceVersion. */
MUST_USE struct err *obj_parse(struct arena *a, const struct obj *o, struct str api_version,
			       struct str kind, struct json **ret);
/*
 * A shared, cached, read-only tree without kind and apiVersion but with
 * metadata.resourceVersion; lives as long as the object. For informer caches.
 */
const struct json *obj_tree(const struct obj *o);
/* Drops the cached tree. */
void obj_forget_tree(const struct obj *o);
struct str obj_label(const struct obj *o, struct str key); /* p NULL when absent */
struct str obj_field(const struct obj *o, struct str key); /* knows metadata.name/namespace */
