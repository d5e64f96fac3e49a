/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a compiled schema is, for the schema-*.c files only. Nodes live in their root's arena and
 * never change after compilation, except that a $ref is resolved when it is first followed.
 */

#include "api/schema.h"
#include "json/json.h"

struct map;
struct regex;

/* Types as bits; 0: any. An integer is a number too. */
enum {
	SCHEMA_T_OBJECT = 1,
	SCHEMA_T_ARRAY = 2,
	SCHEMA_T_STRING = 4,
	SCHEMA_T_INTEGER = 8,
	SCHEMA_T_NUMBER = 16,
	SCHEMA_T_BOOLEAN = 32,
};

enum schema_format {
	SCHEMA_F_NONE,
	SCHEMA_F_INT32,
	SCHEMA_F_INT64,
	SCHEMA_F_BYTE,
	SCHEMA_F_DATE_TIME,
	SCHEMA_F_DATE,
	SCHEMA_F_DURATION,
	SCHEMA_F_IPV4,
	SCHEMA_F_IPV6,
	SCHEMA_F_CIDR,
	SCHEMA_F_MAC,
	SCHEMA_F_UUID,
	SCHEMA_F_URI,
	SCHEMA_F_EMAIL,
	SCHEMA_F_HOSTNAME,
	SCHEMA_F_QUANTITY, /* of ours: resource.Quantity */
	SCHEMA_F_N_
};

/* x-isoplane-check: rules of built-in fields by name */
enum schema_check {
	SCHEMA_C_NONE,
	SCHEMA_C_PORT,
	SCHEMA_C_PORT_OR_ZERO,
	SCHEMA_C_NONNEGATIVE,
	SCHEMA_C_POSITIVE,
	SCHEMA_C_DNS_LABEL,
	SCHEMA_C_DNS_SUBDOMAIN,
	SCHEMA_C_PORT_NAME,
	SCHEMA_C_N_
};

struct schema_prop {
	struct str name;
	const struct schema *s;
};

/* A member that is filled in when absent. */
struct schema_fill {
	struct str name;
	const struct json *val;
};

/* The rarer keywords. */
struct schema_rules {
	const struct json *dflt;        /* "default" of this node */
	const struct json *enumeration; /* array */
	const struct str *required;
	size_t n_required;
	const struct schema_fill *fills; /* members of this object with defaults */
	size_t n_fills;
	bool has_min, has_max, exclusive_min, exclusive_max, has_multiple;
	double min, max, multiple;
	int64_t min_length, max_length, min_items, max_items, min_props, max_props; /* -1: none */
	struct str pattern;
	struct regex *regex;
	struct str unique; /* x-isoplane-unique */
	const struct schema **all_of, **any_of, **one_of;
	size_t n_all_of, n_any_of, n_one_of;
	const struct schema *not_;
	const struct schema *meta; /* what a CRD adds to metadata */
	const struct str *list_keys;
	size_t n_list_keys;
	bool retain_keys, merge; /* x-kubernetes-patch-strategy */
	struct str merge_key;
};

struct schema_root {
	uint32_t refs;
	bool builtin;
	struct arena *arena;
	struct schema_registry *registry; /* for $ref; may be NULL */
	struct cel_rules *rules;          /* of a CRD; may be NULL */
};

struct schema {
	struct schema_root *root;
	struct str type_name;        /* of a named type, or what a $ref points to */
	const struct schema *target; /* of a $ref, once followed */
	bool is_ref;
	uint8_t types, format, check;
	bool nullable, preserve, embedded, int_or_string, lenient;
	bool list_set, list_map, map_atomic, is_root;
	bool zero_kept, zero_absent;     /* x-isoplane-zero */
	const struct schema_prop *props; /* sorted by name */
	size_t n_props;
	const struct schema *additional; /* of maps */
	bool additional_any;             /* additionalProperties: true */
	const struct schema *items;
	const struct schema_rules *rules; /* never NULL */
};

/* Follows $ref. A type that does not exist accepts anything. */
const struct schema *schema_deref(const struct schema *s);
/* The declared member, NULL when there is none (additionalProperties not considered). */
const struct schema *schema_prop_find(const struct schema *s, struct str name);
/* The items of old by their keys, for lists of maps: the first of each; of other lists none. */
void schema_counterparts(struct arena *a, const struct schema *s, const struct json *old,
			 struct map *ret);
/* The one with the same keys; NULL: none. */
const struct json *schema_counterpart(struct arena *a, const struct schema *s,
				      const struct json *item, const struct map *counterparts);

/* The node for one JSON schema. */
const struct schema *schema_build(struct schema_root *root, const struct json *j);
/* Causes of all that is not structural. */
void schema_check_structural(struct arena *a, const struct json *j, struct str path,
			     struct err **e);

/* Where a walk is: a chain on the stack. The root's name may be empty, an item's is NULL. */
struct schema_path {
	const struct schema_path *up; /* NULL: the root */
	struct str name;
	size_t index;
};

/* "spec.containers[0].image" */
struct str schema_path_text(struct arena *a, const struct schema_path *p);

/* paths: "a.b", "a[0]" */
struct str schema_path_member(struct arena *a, struct str path, struct str name);
struct str schema_path_index(struct arena *a, struct str path, size_t i);

/* Whether s is of format f; NONE and numeric ones accept everything. */
bool schema_format_ok(enum schema_format f, struct str s);
enum schema_format schema_format_find(struct str name);
const char *schema_format_name(enum schema_format f);

/* Adds a cause (and makes *e INVALID when it is NULL). */
void schema_cause(struct err **e, struct str field, const char *reason, struct str msg);
/* `Invalid value: VALUE: TEXT`; v NULL prints null. */
void schema_cause_invalid(struct arena *a, struct err **e, struct str field, const struct json *v,
			  struct str text);
