/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one error type: what went wrong as a Kubernetes Status (code, reason, message,
 * details with causes), from the deepest layer to the response, condition, event or CLI
 * message at the edge. NULL is success. The holder of a struct err * disposes of it by
 * returning, wrapping, converting, logging (err_log) or err_ignore().
 */

#include <stdarg.h>

#include "base/err-codes.h"
#include "base/str.h"

enum err_code {
#define X(name, status, reason) ERR_##name,
	ERR_CODES(X)
#undef X
		ERR_N_
};

struct err;

/* One entry of details.causes; views are borrowed from the error. */
struct err_cause {
	struct str reason, message, field;
};

/* lifecycle */
MUST_USE NEVER_NULL struct err *err_new(enum err_code code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Picks the code from errno (ENOENT becomes NOT_FOUND, ...) and appends its text. */
MUST_USE NEVER_NULL struct err *err_errno(int errnum, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes e; the message becomes "new: old". Code and details are kept. NULL stays NULL. */
MUST_USE struct err *err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes e; replaces code or message, keeps the rest. NULL stays NULL. */
MUST_USE struct err *err_recode(struct err *e, enum err_code code);
MUST_USE struct err *err_remsg(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct err *err_free(struct err *e);
void err_freep(struct err **e);
#define _cleanup_err_ _cleanup_(err_freep)

static inline void err_ignore(struct err *e, const char *why UNUSED)
{
	err_free(e);
}

/* details; each returns e so that calls can be chained in a return */
NEVER_NULL struct err *err_details(struct err *e, struct str group, struct str kind,
				   struct str name);
NEVER_NULL struct err *err_uid(struct err *e, struct str uid);
/* Seconds a client should wait before it tries again. */
NEVER_NULL struct err *err_retry_after(struct err *e, int seconds);
/* Overrides the HTTP status (for ERR_UNKNOWN and odd upstream cases). */
NEVER_NULL struct err *err_set_status(struct err *e, int http_status);
/* Overrides the reason string (upstream's rarer reasons). */
NEVER_NULL struct err *err_set_reason(struct err *e, struct str reason);
/* Adds one cause: which field, why (FieldValueInvalid, ...), and the cause's message. */
void err_add_cause(struct err *e, struct str field, struct str reason, struct str msg);

/* queries: views are borrowed from e; safe on any non-NULL error */
enum err_code err_code(const struct err *e);
bool err_is(const struct err *e, enum err_code code);
int err_http_status(const struct err *e);
struct str err_reason(const struct err *e);
struct str err_msg(const struct err *e);
struct str err_detail_group(const struct err *e);
struct str err_detail_kind(const struct err *e);
struct str err_detail_name(const struct err *e);
struct str err_detail_uid(const struct err *e);
int err_get_retry_after(const struct err *e);
size_t err_n_causes(const struct err *e);
struct err_cause err_get_cause(const struct err *e, size_t i);

/* The code whose reason and status these are; ERR_UNKNOWN when none fits. */
enum err_code err_code_from_reason(struct str reason, int http_status);

#define TRY(expr)                              \
	do {                                   \
		struct err *try_err_ = (expr); \
		if (try_err_)                  \
			return try_err_;       \
	} while (0)
