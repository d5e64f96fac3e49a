/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

struct err_cause_owned {
	char *reason, *msg, *field;
};

struct err {
	enum err_code code;
	int http_status; /* 0: the code's own */
	int retry_after;
	char *msg;
	char *reason; /* NULL: the code's own */
	char *group, *kind, *name, *uid;
	struct err_cause_owned *causes;
	size_t n_causes;
};

static const struct err_row {
	int status;
	const char *reason;
} err_rows[] = {
#define X(name, http, text) [ERR_##name] = { http, text },
	ERR_CODES(X)
#undef X
};

_Static_assert(ARRAY_LEN(err_rows) == ERR_N_, "one row per code");

static struct err *err_make(enum err_code code, char *msg)
{
	struct err *e = mem_new(struct err);

	e->code = code;
	e->msg = msg;
	return e;
}

static PRINTF_LIKE(1, 0) char *err_vfmt(const char *fmt, va_list ap)
{
	char *p = NULL;

	if (vasprintf(&p, fmt, ap) < 0)
		abort();
	return p;
}

struct err *err_new(enum err_code code, const char *fmt, ...)
{
	va_list ap;
	char *msg;

	va_start(ap, fmt);
	msg = err_vfmt(fmt, ap);
	va_end(ap);
	return err_make(code, msg);
}

static enum err_code err_code_from_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_ALREADY_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_FORBIDDEN;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOSPC:
	case EDQUOT:
	case ECONNREFUSED:
		return ERR_UNAVAILABLE;
	case ECANCELED:
		return ERR_CANCELED;
	default:
		return ERR_IO;
	}
}

struct err *err_errno(int errnum, const char *fmt, ...)
{
	va_list ap;
	char text[128];
	char *what;
	struct err *e;

	va_start(ap, fmt);
	what = err_vfmt(fmt, ap);
	va_end(ap);
	e = err_make(err_code_from_errno(errnum),
		     mem_fmt("%s: %s", what, strerror_r(errnum, text, sizeof(text))));
	free(what);
	return e;
}

static void err_replace(char **p, char *with)
{
	free(*p);
	*p = with;
}

static void err_replace_str(char **p, struct str s)
{
	err_replace(p, s.n ? mem_strdup(s) : NULL);
}

struct err *err_wrap(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *what;

	if (!e)
		return NULL;
	va_start(ap, fmt);
	what = err_vfmt(fmt, ap);
	va_end(ap);
	err_replace(&e->msg, mem_fmt("%s: %s", what, e->msg));
	free(what);
	return e;
}

struct err *err_recode(struct err *e, enum err_code code)
{
	if (!e)
		return NULL;
	e->code = code;
	e->http_status = 0;
	err_replace(&e->reason, NULL);
	return e;
}

struct err *err_remsg(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *msg;

	if (!e)
		return NULL;
	va_start(ap, fmt);
	msg = err_vfmt(fmt, ap);
	va_end(ap);
	err_replace(&e->msg, msg);
	return e;
}

struct err *err_free(struct err *e)
{
	if (!e)
		return NULL;
	for (size_t i = 0; i < e->n_causes; i++) {
		free(e->causes[i].reason);
		free(e->causes[i].msg);
		free(e->causes[i].field);
	}
	free(e->causes);
	free(e->msg);
	free(e->reason);
	free(e->group);
	free(e->kind);
	free(e->name);
	free(e->uid);
	free(e);
	return NULL;
}

void err_freep(struct err **e)
{
	*e = err_free(*e);
}

struct err *err_details(struct err *e, struct str group, struct str kind, struct str name)
{
	err_replace_str(&e->group, group);
	err_replace_str(&e->kind, kind);
	err_replace_str(&e->name, name);
	return e;
}

struct err *err_uid(struct err *e, struct str uid)
{
	err_replace_str(&e->uid, uid);
	return e;
}

struct err *err_retry_after(struct err *e, int seconds)
{
	e->retry_after = seconds;
	return e;
}

struct err *err_set_status(struct err *e, int http_status)
{
	e->http_status = http_status;
	return e;
}

struct err *err_set_reason(struct err *e, struct str reason)
{
	err_replace(&e->reason, mem_strdup(reason));
	return e;
}

void err_add_cause(struct err *e, struct str field, struct str reason, struct str msg)
{
	/* Grows at powers of two. */
	if ((e->n_causes & (e->n_causes - 1)) == 0)
		e->causes = mem_realloc(e->causes, e->n_causes ? e->n_causes * 2 : 1,
					sizeof(*e->causes));
	e->causes[e->n_causes++] = (struct err_cause_owned){
		.reason = mem_strdup(reason),
		.msg = mem_strdup(msg),
		.field = mem_strdup(field),
	};
}

enum err_code err_code(const struct err *e)
{
	return e->code;
}

bool err_is(const struct err *e, enum err_code code)
{
	return e && e->code == code;
}

int err_http_status(const struct err *e)
{
	return e->http_status ? e->http_status : err_rows[e->code].status;
}

struct str err_reason(const struct err *e)
{
	return str_from(e->reason ? e->reason : err_rows[e->code].reason);
}

struct str err_msg(const struct err *e)
{
	return str_from(e->msg);
}

static struct str err_opt(const char *z)
{
	return z ? str_from(z) : STR_EMPTY;
}

struct str err_detail_group(const struct err *e)
{
	return err_opt(e->group);
}

struct str err_detail_kind(const struct err *e)
{
	return err_opt(e->kind);
}

struct str err_detail_name(const struct err *e)
{
	return err_opt(e->name);
}

struct str err_detail_uid(const struct err *e)
{
	return err_opt(e->uid);
}

int err_get_retry_after(const struct err *e)
{
	return e->retry_after;
}

size_t err_n_causes(const struct err *e)
{
	return e->n_causes;
}

struct err_cause err_get_cause(const struct err *e, size_t i)
{
	return (struct err_cause){
		.reason = str_from(e->causes[i].reason),
		.message = str_from(e->causes[i].msg),
		.field = str_from(e->causes[i].field),
	};
}

enum err_code err_code_from_reason(struct str reason, int http_status)
{
	for (size_t i = 0; i < ERR_UNKNOWN; i++)
		if (reason.n && str_eqz(reason, err_rows[i].reason))
			return (enum err_code)i;
	if (reason.n)
		return ERR_UNKNOWN;
	/* No reason: the first code with that status, Conflict for the ambiguous 409. */
	if (http_status == 409)
		return ERR_CONFLICT;
	for (size_t i = 0; i < ERR_UNKNOWN; i++)
		if (err_rows[i].status == http_status)
			return (enum err_code)i;
	return ERR_UNKNOWN;
}
