/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API's standard errors, worded and detailed as upstream's, and the causes of an Invalid one.
 */

#include "base/err.h"

struct api_request;
struct arena;
struct json;
struct resource;

/* `configmaps "x" not found` */
MUST_USE struct err *error_not_found(const struct resource *res, struct str name);
MUST_USE struct err *error_exists(const struct resource *res, struct str name);
/* `Operation cannot be fulfilled on pods "p": TEXT` */
MUST_USE struct err *error_conflict(const struct resource *res, struct str name, const char *fmt,
				    ...) PRINTF_LIKE(3, 4);
/* "the object has been modified; please apply your changes to the latest version and try again" */
MUST_USE struct err *error_modified(const struct resource *res, struct str name);
/* `pods "p" is forbidden: TEXT` */
MUST_USE struct err *error_forbidden(const struct resource *res, struct str name, const char *fmt,
				     ...) PRINTF_LIKE(3, 4);
/* "the server could not find the requested resource" */
MUST_USE struct err *error_no_path(void);
MUST_USE struct err *error_bad_method(void);

/* causes: each makes *e (INVALID) when it is NULL; field is a path like "spec.containers[0].image"
 */
void cause_required(struct err **e, struct str field, const char *detail);
/* val is printed as JSON; NULL prints null. */
void cause_invalid(struct err **e, struct str field, const struct json *val, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void cause_invalid_str(struct err **e, struct str field, struct str val, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void cause_not_supported(struct err **e, struct str field, struct str val,
			 const char *const *supported);
void cause_forbidden(struct err **e, struct str field, const char *fmt, ...) PRINTF_LIKE(3, 4);
void cause_duplicate(struct err **e, struct str field, const struct json *val);
void cause_not_found(struct err **e, struct str field, struct str val);
void cause_too_long(struct err **e, struct str field, int64_t max);
void cause_too_many(struct err **e, struct str field, size_t n, size_t max);

/*
 * `Pod "p" is invalid: [...]`: words the message from the causes collected in e (NULL stays NULL)
 * and fills in details. Takes e.
 */
MUST_USE struct err *error_invalid(struct err *e, struct str group, struct str kind,
				   struct str name);
