/* SPDX-License-Identifier: Apache-2.0 */
#include "server/errors.h"

#include "api/gvk.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "server/resource.h"
#include "json/json.h"

/* "pods" or "replicasets.apps", into b */
static void error_resource(struct buf *b, const struct resource *res)
{
	buf_add(b, res->plural);
	if (!str_empty(res->group)) {
		buf_addc(b, '.');
		buf_add(b, res->group);
	}
}

struct err *error_not_found(const struct resource *res, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	error_resource(&b, res);
	return err_details(
		err_new(ERR_NOT_FOUND, "%s \"" STR_FMT "\" not found", b.p, STR_ARG(name)),
		res->group, res->plural, name);
}

struct err *error_exists(const struct resource *res, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	error_resource(&b, res);
	return err_details(err_new(ERR_ALREADY_EXISTS, "%s \"" STR_FMT "\" already exists", b.p,
				   STR_ARG(name)),
			   res->group, res->plural, name);
}

static struct str PRINTF_LIKE(2, 0) error_vfmt(struct buf *b, const char *fmt, va_list ap)
{
	_cleanup_arena_ struct arena *a = arena_new();

	buf_add(b, arena_vfmt(a, fmt, ap));
	return buf_str(b);
}

struct err *error_conflict(const struct resource *res, struct str name, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 }, text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	error_vfmt(&text, fmt, ap);
	va_end(ap);
	error_resource(&b, res);
	return err_details(err_new(ERR_CONFLICT,
				   "Operation cannot be fulfilled on %s \"" STR_FMT "\": %s", b.p,
				   STR_ARG(name), text.p),
			   res->group, res->plural, name);
}

struct err *error_modified(const struct resource *res, struct str name)
{
	return error_conflict(res, name,
			      "the object has been modified; please apply your changes to the "
			      "latest version and try again");
}

struct err *error_forbidden(const struct resource *res, struct str name, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 }, text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	error_vfmt(&text, fmt, ap);
	va_end(ap);
	error_resource(&b, res);
	if (!str_empty(name))
		buf_addf(&b, " \"" STR_FMT "\"", STR_ARG(name));
	return err_details(err_new(ERR_FORBIDDEN, "%s is forbidden: %s", b.p, text.p), res->group,
			   res->plural, name);
}

struct err *error_no_path(void)
{
	return err_details(
		err_new(ERR_NOT_FOUND, "the server could not find the requested resource"),
		STR_EMPTY, STR_EMPTY, STR_EMPTY);
}

struct err *error_bad_method(void)
{
	return err_details(err_new(ERR_METHOD_NOT_ALLOWED,
				   "the server does not allow this method on the requested "
				   "resource"),
			   STR_EMPTY, STR_EMPTY, STR_EMPTY);
}

static struct err *cause_base(struct err **e)
{
	if (!*e)
		*e = err_new(ERR_INVALID, "is invalid");
	return *e;
}

void cause_required(struct err **e, struct str field, const char *detail)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "Required value");
	if (detail && *detail)
		buf_addf(&b, ": %s", detail);
	err_add_cause(cause_base(e), field, STR("FieldValueRequired"), buf_str(&b));
}

static void cause_value(struct buf *b, const char *prefix, const struct json *val)
{
	buf_addf(b, "%s: ", prefix);
	if (val)
		json_write(b, val);
	else
		buf_addz(b, "null");
}

static void PRINTF_LIKE(4, 0) cause_invalid_text(struct err **e, struct str field, struct buf *b,
						 const char *fmt, va_list ap)
{
	buf_addz(b, ": ");
	error_vfmt(b, fmt, ap);
	err_add_cause(cause_base(e), field, STR("FieldValueInvalid"), buf_str(b));
}

void cause_invalid(struct err **e, struct str field, const struct json *val, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 };
	va_list ap;

	cause_value(&b, "Invalid value", val);
	va_start(ap, fmt);
	cause_invalid_text(e, field, &b, fmt, ap);
	va_end(ap);
}

void cause_invalid_str(struct err **e, struct str field, struct str val, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	va_list ap;

	cause_value(&b, "Invalid value", json_str(a, val));
	va_start(ap, fmt);
	cause_invalid_text(e, field, &b, fmt, ap);
	va_end(ap);
}

void cause_not_supported(struct err **e, struct str field, struct str val,
			 const char *const *supported)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };

	cause_value(&b, "Unsupported value", json_str(a, val));
	buf_addz(&b, ": supported values: ");
	for (size_t i = 0; supported[i]; i++)
		buf_addf(&b, "%s\"%s\"", i ? ", " : "", supported[i]);
	err_add_cause(cause_base(e), field, STR("FieldValueNotSupported"), buf_str(&b));
}

void cause_forbidden(struct err **e, struct str field, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 };
	va_list ap;

	buf_addz(&b, "Forbidden: ");
	va_start(ap, fmt);
	error_vfmt(&b, fmt, ap);
	va_end(ap);
	err_add_cause(cause_base(e), field, STR("FieldValueForbidden"), buf_str(&b));
}

void cause_duplicate(struct err **e, struct str field, const struct json *val)
{
	_cleanup_buf_ struct buf b = { 0 };

	cause_value(&b, "Duplicate value", val);
	err_add_cause(cause_base(e), field, STR("FieldValueDuplicate"), buf_str(&b));
}

void cause_not_found(struct err **e, struct str field, struct str val)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };

	cause_value(&b, "Not found", json_str(a, val));
	err_add_cause(cause_base(e), field, STR("FieldValueNotFound"), buf_str(&b));
}

void cause_too_many(struct err **e, struct str field, size_t n, size_t max)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "Too many: %zu: must have at most %zu item%s", n, max, max == 1 ? "" : "s");
	err_add_cause(cause_base(e), field, STR("FieldValueTooMany"), buf_str(&b));
}

void cause_too_long(struct err **e, struct str field, int64_t max)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "Too long: may not be more than %lld bytes", (long long)max);
	err_add_cause(cause_base(e), field, STR("FieldValueTooLong"), buf_str(&b));
}

/* Notes what the cause says; whether it has been said. */
static bool error_cause_repeated(struct map *said, const struct err_cause *c)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_add(&b, c->field);
	buf_addc(&b, 0);
	buf_add(&b, c->message);
	return map_put(said, buf_str(&b), said);
}

struct err *error_invalid(struct err *e, struct str group, struct str kind, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 }, list = { 0 };
	_cleanup_map_ struct map said = { 0 };
	size_t n = 0;

	if (!e)
		return NULL;
	for (size_t i = 0; i < err_n_causes(e); i++) {
		struct err_cause c = err_get_cause(e, i);

		if (error_cause_repeated(&said, &c))
			continue;
		if (n++)
			buf_addz(&list, ", ");
		if (!str_empty(c.field))
			buf_addf(&list, STR_FMT ": ", STR_ARG(c.field));
		buf_add(&list, c.message);
	}
	buf_add(&b, kind);
	if (!str_empty(group))
		buf_addf(&b, "." STR_FMT, STR_ARG(group));
	buf_addf(&b, " \"" STR_FMT "\" is invalid: ", STR_ARG(name));
	buf_addf(&b, "%s%s%s", n > 1 ? "[" : "", list.p ? list.p : "", n > 1 ? "]" : "");
	return err_details(err_remsg(e, "%s", b.p), group, kind, name);
}
