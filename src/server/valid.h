/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Validation of built-in kinds beyond their schemas: where a check is (a chain of places on the
 * stack, put into words only when something is wrong), and the checks many kinds share, in
 * upstream's words.
 */

#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct json;

struct valid {
	struct arena *a;
	struct err **e; /* causes are added to it */
	bool loopback_ok;
	struct valid_index **index; /* of valid_find(), or NULL */
};

/* One step: a member (name), a key in brackets, or an index. up NULL: the root. */
struct place {
	const struct place *up;
	const char *name;
	struct str key;
	size_t index;
};

#define AT(up_, name_)  (&(const struct place){ .up = (up_), .name = (name_) })
#define AT_KEY(up_, k_) (&(const struct place){ .up = (up_), .key = (k_) })
#define AT_IDX(up_, i_) (&(const struct place){ .up = (up_), .index = (i_) })

struct str place_text(struct arena *a, const struct place *p);

/*
 * json_find_by(), for lists that are asked once for each of many others: with an index a long one
 * is read once. list does not change meanwhile.
 */
const struct json *valid_find(const struct valid *v, const struct json *list, const char *key,
			      struct str val);

/* causes */
void valid_required(const struct valid *v, const struct place *p, const char *detail);
void valid_invalid(const struct valid *v, const struct place *p, const struct json *val,
		   const char *fmt, ...) PRINTF_LIKE(4, 5);
void valid_invalid_str(const struct valid *v, const struct place *p, struct str val,
		       const char *fmt, ...) PRINTF_LIKE(4, 5);
void valid_forbidden(const struct valid *v, const struct place *p, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
void valid_duplicate(const struct valid *v, const struct place *p, const struct json *val);
void valid_duplicate_because(const struct valid *v, const struct place *p, const struct json *val,
			     const char *text);
void valid_not_found(const struct valid *v, const struct place *p, struct str val);
/* `Not found: "x": TEXT` */
void valid_not_found_because(const struct valid *v, const struct place *p, struct str val,
			     const char *text);
void valid_unsupported(const struct valid *v, const struct place *p, struct str val,
		       const char *const *supported);
void valid_unsupported_json(const struct valid *v, const struct place *p, const struct json *val,
			    const char *const *supported);
/* Without a reason: `Invalid value: {...}`. */
void valid_invalid_bare(const struct valid *v, const struct place *p, const struct json *val);
/* Without the value: `Invalid value: TEXT`. */
void valid_invalid_omit(const struct valid *v, const struct place *p, const char *text);
void valid_too_many(const struct valid *v, const struct place *p, size_t n, size_t max);
void valid_too_long(const struct valid *v, const struct place *p, size_t max);

/* checks: nothing is said about a value that is not there */
/* Not below 0. */
void valid_nonnegative(const struct valid *v, const struct place *p, const struct json *val);
/* A text of the list; "" passes. supported ends with NULL. */
void valid_enum(const struct valid *v, const struct place *p, const struct json *val,
		const char *const *supported);
/* check: of api/names.h. */
void valid_name(const struct valid *v, const struct place *p, struct str val,
		const char *(*check)(struct str s));
/* Keys and values of a map of labels. */
void valid_labels(const struct valid *v, const struct place *p, const struct json *map);
/* Keys and size of annotations. */
void valid_annotations(const struct valid *v, const struct place *p, const struct json *map);
/* A metav1.LabelSelector. */
void valid_selector(const struct valid *v, const struct place *p, const struct json *sel);
void valid_port_name(const struct valid *v, const struct place *p, struct str name);
/* Says what is wrong with an address; true: nothing. */
bool valid_ip(const struct valid *v, const struct place *p, struct str ip);
/* The same, and it must be written as RFC 5952 says. */
bool valid_ip_canonical(const struct valid *v, const struct place *p, struct str ip);
void csi_driver_name_validate(const struct valid *v, struct str name, const struct place *p);
void valid_port(const struct valid *v, const struct place *p, int64_t port);
/* "field is immutable" unless both are equal; NULL and missing are the same. */
void valid_immutable(const struct valid *v, const struct place *p, const struct json *is,
		     const struct json *was);
bool valid_same(const struct json *is, const struct json *was);
/* An absolute path, or relative one, without "..". */
bool path_has_dotdot(struct str path);
/* "50%" */
bool valid_is_percent(struct str s, int64_t *ret);
/* IntOrString: a number not below 0 or a percentage (of at most 100 when capped). */
void valid_int_or_percent(const struct valid *v, const struct place *p, const struct json *val);
void valid_at_most_100_percent(const struct valid *v, const struct place *p,
			       const struct json *val);
