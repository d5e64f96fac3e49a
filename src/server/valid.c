/* SPDX-License-Identifier: Apache-2.0 */
#include "server/valid.h"

#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/cidr.h"
#include "server/errors.h"
#include "json/json.h"

#define ANNOTATIONS_MAX 262144
#define SHORT_LIST      32

/* ---- places */

static void place_add(struct buf *b, const struct place *p)
{
	if (p->up)
		place_add(b, p->up);
	if (p->name)
		buf_addf(b, "%s%s", b->n ? "." : "", p->name);
	else if (p->key.p)
		buf_addf(b, "[" STR_FMT "]", STR_ARG(p->key));
	else
		buf_addf(b, "[%zu]", p->index);
}

struct str place_text(struct arena *a, const struct place *p)
{
	_cleanup_buf_ struct buf b = { 0 };

	place_add(&b, p);
	return buf_to_arena(&b, a);
}

/* ---- lookups */

struct valid_index {
	struct valid_index *next;
	const struct json *list;
	const char *key; /* a literal */
	struct json_texts *texts;
};

const struct json *valid_find(const struct valid *v, const struct json *list, const char *key,
			      struct str val)
{
	struct valid_index *ix;

	if (!v->index || str_empty(val) || json_len(list) <= SHORT_LIST)
		return json_find_by(list, key, val);
	for (ix = *v->index; ix; ix = ix->next)
		if (ix->list == list && !strcmp(ix->key, key))
			return json_texts_find(ix->texts, val);
	ix = arena_new_obj(v->a, struct valid_index);
	*ix = (struct valid_index){ *v->index, list, key, json_texts_new(v->a, list, key) };
	*v->index = ix;
	return json_texts_find(ix->texts, val);
}

/* ---- causes */

void valid_required(const struct valid *v, const struct place *p, const char *detail)
{
	cause_required(v->e, place_text(v->a, p), detail);
}

static const char *PRINTF_LIKE(2, 0) valid_text(struct arena *a, const char *fmt, va_list ap)
{
	return arena_strz(a, arena_vfmt(a, fmt, ap));
}

void valid_invalid(const struct valid *v, const struct place *p, const struct json *val,
		   const char *fmt, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = valid_text(v->a, fmt, ap);
	va_end(ap);
	cause_invalid(v->e, place_text(v->a, p), val, "%s", text);
}

void valid_invalid_str(const struct valid *v, const struct place *p, struct str val,
		       const char *fmt, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = valid_text(v->a, fmt, ap);
	va_end(ap);
	cause_invalid_str(v->e, place_text(v->a, p), val, "%s", text);
}

void valid_forbidden(const struct valid *v, const struct place *p, const char *fmt, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = valid_text(v->a, fmt, ap);
	va_end(ap);
	cause_forbidden(v->e, place_text(v->a, p), "%s", text);
}

void valid_duplicate(const struct valid *v, const struct place *p, const struct json *val)
{
	cause_duplicate(v->e, place_text(v->a, p), val);
}

void valid_not_found(const struct valid *v, const struct place *p, struct str val)
{
	cause_not_found(v->e, place_text(v->a, p), val);
}

void valid_unsupported(const struct valid *v, const struct place *p, struct str val,
		       const char *const *supported)
{
	cause_not_supported(v->e, place_text(v->a, p), val, supported);
}

static void valid_cause(const struct valid *v, const struct place *p, const char *reason,
			struct str text)
{
	if (!*v->e)
		*v->e = err_new(ERR_INVALID, "is invalid");
	err_add_cause(*v->e, place_text(v->a, p), str_from(reason), text);
}

void valid_unsupported_json(const struct valid *v, const struct place *p, const struct json *val,
			    const char *const *supported)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "Unsupported value: ");
	json_write(&b, val);
	buf_addz(&b, ": supported values: ");
	for (size_t i = 0; supported[i]; i++)
		buf_addf(&b, "%s\"%s\"", i ? ", " : "", supported[i]);
	valid_cause(v, p, "FieldValueNotSupported", buf_str(&b));
}

void valid_invalid_bare(const struct valid *v, const struct place *p, const struct json *val)
{
	valid_cause(
		v, p, "FieldValueInvalid",
		arena_cat(v->a, STR("Invalid value: "), val ? json_text(v->a, val) : STR("null")));
}

void valid_invalid_omit(const struct valid *v, const struct place *p, const char *text)
{
	valid_cause(v, p, "FieldValueInvalid",
		    arena_cat(v->a, STR("Invalid value: "), str_from(text)));
}

void valid_too_many(const struct valid *v, const struct place *p, size_t n, size_t max)
{
	cause_too_many(v->e, place_text(v->a, p), n, max);
}

void valid_too_long(const struct valid *v, const struct place *p, size_t max)
{
	cause_too_long(v->e, place_text(v->a, p), (int64_t)max);
}

/* ---- checks */

void valid_nonnegative(const struct valid *v, const struct place *p, const struct json *val)
{
	if (json_is(val, JSON_INT) && json_as_int(val, 0) < 0)
		valid_invalid(v, p, val, "must be greater than or equal to 0");
}

void valid_enum(const struct valid *v, const struct place *p, const struct json *val,
		const char *const *supported)
{
	struct str s = json_as_str(val);

	if (str_empty(s))
		return;
	for (size_t i = 0; supported[i]; i++) {
		if (str_eqz(s, supported[i]))
			return;
	}
	valid_unsupported(v, p, s, supported);
}

void valid_name(const struct valid *v, const struct place *p, struct str val,
		const char *(*check)(struct str s))
{
	const char *why = check(val);

	if (why)
		valid_invalid_str(v, p, val, "%s", why);
}

void valid_labels(const struct valid *v, const struct place *p, const struct json *map)
{
	json_for_each(it, map)
	{
		valid_name(v, p, it.key, name_check_qualified);
		valid_name(v, p, json_as_str(it.val), name_check_label_value);
	}
}

static const char *name_lower(struct arena *a, struct str s)
{
	char *lower = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++) {
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] + 32);
	}
	return lower;
}

void valid_annotations(const struct valid *v, const struct place *p, const struct json *map)
{
	size_t total = 0;

	json_for_each(it, map)
	{
		if (name_check_qualified(str_make(name_lower(v->a, it.key), it.key.n)))
			valid_name(v, p, it.key, name_check_qualified);
		total += it.key.n + json_as_str(it.val).n;
	}
	if (total > ANNOTATIONS_MAX)
		valid_too_long(v, p, ANNOTATIONS_MAX);
}

static void valid_requirement(const struct valid *v, const struct place *p, const struct json *x)
{
	struct str op = json_str_at(x, "operator");
	const struct json *values = json_get(x, "values");
	bool in = str_eqz(op, "In") || str_eqz(op, "NotIn");
	bool exists = str_eqz(op, "Exists") || str_eqz(op, "DoesNotExist");

	if (in && !json_len(values))
		valid_required(v, AT(p, "values"),
			       "must be specified when `operator` is 'In' or 'NotIn'");
	else if (exists && json_len(values))
		valid_forbidden(v, AT(p, "values"),
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
	else if (!in && !exists)
		valid_invalid_str(v, AT(p, "operator"), op, "not a valid selector operator");
	valid_name(v, AT(p, "key"), json_str_at(x, "key"), name_check_qualified);
	json_for_each(it, values)
	{
		const char *why = in ? name_check_label_value(json_as_str(it.val)) : NULL;

		if (why)
			valid_invalid(v, AT_IDX(AT(p, "values"), it.i), it.val, "%s", why);
	}
}

void valid_selector(const struct valid *v, const struct place *p, const struct json *sel)
{
	valid_labels(v, AT(p, "matchLabels"), json_get(sel, "matchLabels"));
	json_for_each(it, json_get(sel, "matchExpressions"))
		valid_requirement(v, AT_IDX(AT(p, "matchExpressions"), it.i), it.val);
}

void valid_port(const struct valid *v, const struct place *p, int64_t port)
{
	if (port < 1 || port > 65535)
		valid_invalid(v, p, json_int(v->a, port), "must be between 1 and 65535, inclusive");
}

bool valid_same(const struct json *is, const struct json *was)
{
	if (json_is_null(is) || json_is_null(was))
		return json_is_null(is) && json_is_null(was);
	return json_equal(is, was);
}

void valid_immutable(const struct valid *v, const struct place *p, const struct json *is,
		     const struct json *was)
{
	if (!valid_same(is, was))
		valid_invalid(v, p, is, "field is immutable");
}

bool path_has_dotdot(struct str path)
{
	struct str part;

	while (str_split_next(&path, '/', &part)) {
		if (str_eqz(part, ".."))
			return true;
	}
	return false;
}

bool valid_is_percent(struct str s, int64_t *ret)
{
	return str_strip_suffix(&s, STR("%")) && s.n && s.p[0] >= '0' && s.p[0] <= '9' &&
	       str_to_i64(s, ret);
}

void valid_int_or_percent(const struct valid *v, const struct place *p, const struct json *val)
{
	int64_t n;

	if (json_is(val, JSON_STR) && !valid_is_percent(json_as_str(val), &n))
		valid_invalid(v, p, val,
			      "a valid percent string must be a numeric string followed by an "
			      "ending '%%' (e.g. '1%%',  or '93%%', regex used for validation is "
			      "'[0-9]+%%')");
	else
		valid_nonnegative(v, p, val);
}

void valid_at_most_100_percent(const struct valid *v, const struct place *p, const struct json *val)
{
	int64_t n;

	if (json_is(val, JSON_STR) && valid_is_percent(json_as_str(val), &n) && n > 100)
		valid_invalid(v, p, val, "must not be greater than 100%%");
}

void valid_not_found_because(const struct valid *v, const struct place *p, struct str val,
			     const char *text)
{
	valid_cause(v, p, "FieldValueNotFound",
		    arena_fmt(v->a, "Not found: " STR_FMT ": %s",
			      STR_ARG(json_text(v->a, json_str(v->a, val))), text));
}

void valid_duplicate_because(const struct valid *v, const struct place *p, const struct json *val,
			     const char *text)
{
	valid_cause(v, p, "FieldValueDuplicate",
		    arena_fmt(v->a, "Duplicate value: " STR_FMT ": %s",
			      STR_ARG(json_text(v->a, val)), text));
}

static bool port_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

void valid_port_name(const struct valid *v, const struct place *p, struct str name)
{
	bool chars = true, letter = false;

	for (size_t i = 0; i < name.n; i++) {
		chars &= port_name_char(name.p[i]);
		letter |= name.p[i] >= 'a' && name.p[i] <= 'z';
	}
	if (name.n > 15)
		valid_invalid_str(v, p, name, "must be no more than 15 characters");
	if (!chars || !name.n)
		valid_invalid_str(v, p, name,
				  "must contain only alpha-numeric characters (a-z, 0-9), and "
				  "hyphens (-)");
	if (!letter)
		valid_invalid_str(v, p, name, "must contain at least one letter (a-z)");
	if (str_contains(name, STR("--")))
		valid_invalid_str(v, p, name, "must not contain consecutive hyphens");
	if (name.n && (name.p[0] == '-' || name.p[name.n - 1] == '-'))
		valid_invalid_str(v, p, name, "must not begin or end with a hyphen");
}

bool valid_ip(const struct valid *v, const struct place *p, struct str ip)
{
	if (ip_has_leading_zeros(ip))
		valid_invalid_str(v, p, ip, "must not have leading 0s");
	else if (!ip_is_valid(ip))
		valid_invalid_str(v, p, ip,
				  "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	else if (ip_is_mapped(ip))
		valid_invalid_str(v, p, ip, "must not be an IPv4-mapped IPv6 address");
	else
		return true;
	return false;
}

bool valid_ip_canonical(const struct valid *v, const struct place *p, struct str ip)
{
	struct str text = ipv6_canonical(v->a, ip);

	if (!valid_ip(v, p, ip))
		return false;
	if (str_empty(text) || str_eq(text, ip))
		return true;
	valid_invalid_str(v, p, ip, "must be in canonical form (\"" STR_FMT "\")", STR_ARG(text));
	return false;
}

void csi_driver_name_validate(const struct valid *v, struct str name, const struct place *p)
{
	const char *why;

	if (str_empty(name)) {
		valid_required(v, p, NULL);
		return;
	}
	if (name.n > 63)
		valid_too_long(v, p, 63);
	why = name_check_dns_subdomain(str_make(name_lower(v->a, name), name.n));
	if (why)
		valid_invalid_str(v, p, name, "%s", why);
}
