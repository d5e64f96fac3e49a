/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Validation, worded as upstream words it. Two dialects share the walk:
 *   CRDs        every OpenAPI keyword; type errors are causes; unchanged subtrees of an update pass
 *   built-ins   required members, enumerations and the rules of schemas/overlay.yaml; types were
 *               checked when the body was decoded
 */

#include "api/schema-internal.h"

#include <math.h>

#include "api/names.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"

/* Texts are made where something is wrong, and only there. */
#define TEXT(path)      schema_path_text(c->a, path)
#define MEMBER(up_, n_) ((const struct schema_path){ .up = (up_), .name = (n_) })
#define ITEM(up_, i_)   ((const struct schema_path){ .up = (up_), .index = (i_) })

struct validate {
	struct arena *a;
	struct err **e;
};

static void validate_node(const struct validate *c, const struct schema *s, const struct json *v,
			  const struct json *old, const struct schema_path *path);

/* ---- wording */

/* "... in body TEXT"; the value is printed as JSON. */
static void validate_in_body(const struct validate *c, const struct schema_path *path,
			     const struct json *v, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void validate_in_body(const struct validate *c, const struct schema_path *path,
			     const struct json *v, const char *fmt, ...)
{
	struct str text;
	va_list ap;

	va_start(ap, fmt);
	text = arena_vfmt(c->a, fmt, ap);
	va_end(ap);
	schema_cause_invalid(
		c->a, c->e, TEXT(path), v,
		arena_fmt(c->a, STR_FMT " in body " STR_FMT, STR_ARG(TEXT(path)), STR_ARG(text)));
}

static void validate_nowhere(const struct validate *c, struct str text)
{
	schema_cause(c->e, STR("<nil>"), "FieldValueInvalid",
		     arena_fmt(c->a, "Invalid value: \"\": " STR_FMT, STR_ARG(text)));
}

static void validate_required(const struct validate *c, const struct schema_path *path,
			      struct str name)
{
	schema_cause(c->e, schema_path_text(c->a, &MEMBER(path, name)), "FieldValueRequired",
		     STR("Required value"));
}

static void validate_type_error(const struct validate *c, const struct schema_path *path,
				const char *want, struct str shown)
{
	schema_cause(c->e, TEXT(path), "FieldValueTypeInvalid",
		     arena_fmt(c->a,
			       "Invalid value: " STR_FMT ": " STR_FMT
			       " in body must be of type %s: " STR_FMT,
			       STR_ARG(shown), STR_ARG(TEXT(path)), want, STR_ARG(shown)));
}

/* ---- types */

static const char *validate_want(const struct schema *s)
{
	if (s->int_or_string)
		return "integer,string";
	if (s->types & SCHEMA_T_OBJECT)
		return "object";
	if (s->types & SCHEMA_T_ARRAY)
		return "array";
	if (s->types & SCHEMA_T_STRING)
		return "string";
	if (s->types & SCHEMA_T_INTEGER)
		return "integer";
	if (s->types & SCHEMA_T_NUMBER)
		return "number";
	return "boolean";
}

static bool validate_whole(const struct json *v)
{
	double d = json_as_real(v, 0.5);

	return json_is(v, JSON_INT) || (json_is(v, JSON_REAL) && fabs(d) < 9e15 && d == floor(d));
}

static bool validate_type_ok(const struct schema *s, const struct json *v)
{
	if (s->int_or_string)
		return json_is(v, JSON_STR) || validate_whole(v);
	if (!s->types)
		return true;
	switch (json_type(v)) {
	case JSON_OBJECT:
		return s->types & SCHEMA_T_OBJECT;
	case JSON_ARRAY:
		return s->types & SCHEMA_T_ARRAY;
	case JSON_STR:
		return s->types & SCHEMA_T_STRING;
	case JSON_BOOL:
		return s->types & SCHEMA_T_BOOLEAN;
	case JSON_INT:
		return s->types & (SCHEMA_T_INTEGER | SCHEMA_T_NUMBER);
	case JSON_REAL:
		return (s->types & SCHEMA_T_NUMBER) ||
		       ((s->types & SCHEMA_T_INTEGER) && validate_whole(v));
	case JSON_NULL:
		break;
	}
	return s->nullable;
}

/* False when the value is of another type: nothing else makes sense then. */
static bool validate_type(const struct validate *c, const struct schema *s, const struct json *v,
			  const struct schema_path *path)
{
	if (validate_type_ok(s, v))
		return true;
	validate_type_error(c, path, validate_want(s),
			    arena_fmt(c->a, "\"%s\"", json_type_name(v)));
	if (json_is(v, JSON_REAL) && (s->types & SCHEMA_T_INTEGER))
		validate_nowhere(c, arena_fmt(c->a,
					      "Checked value must be of type integer (default "
					      "format) in " STR_FMT,
					      STR_ARG(TEXT(path))));
	return false;
}

/* ---- one kind of value each */

static size_t validate_runes(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void validate_string(const struct validate *c, const struct schema *s, const struct json *v,
			    const struct schema_path *path)
{
	const struct schema_rules *r = s->rules;
	struct str text = json_as_str(v);

	if (r->max_length >= 0 && validate_runes(text) > (size_t)r->max_length)
		schema_cause(c->e, TEXT(path), "FieldValueTooLong",
			     arena_fmt(c->a, "Too long: may not be more than %lld bytes",
				       (long long)r->max_length));
	if (r->min_length >= 0 && validate_runes(text) < (size_t)r->min_length)
		validate_in_body(c, path, v, "should be at least %lld chars long",
				 (long long)r->min_length);
	if (r->regex && !regex_matches(r->regex, text))
		validate_in_body(c, path, v, "should match '" STR_FMT "'", STR_ARG(r->pattern));
	if (!schema_format_ok((enum schema_format)s->format, text))
		validate_type_error(c, path, schema_format_name((enum schema_format)s->format),
				    json_text(c->a, v));
}

static struct str validate_number_text(const struct validate *c, double d)
{
	if (fabs(d) < 1e15 && d == floor(d))
		return arena_fmt(c->a, "%lld", (long long)d);
	return arena_fmt(c->a, "%.15g", d);
}

static void validate_number(const struct validate *c, const struct schema *s, const struct json *v,
			    const struct schema_path *path)
{
	const struct schema_rules *r = s->rules;
	double d = json_as_real(v, 0);

	if (s->format == SCHEMA_F_INT32 && (d < INT32_MIN || d > INT32_MAX))
		validate_nowhere(c, arena_fmt(c->a,
					      "Checked value must be of type integer with format "
					      "int32 in " STR_FMT,
					      STR_ARG(TEXT(path))));
	if (r->has_min && (r->exclusive_min ? d <= r->min : d < r->min))
		validate_in_body(c, path, v, "should be greater than %s" STR_FMT,
				 r->exclusive_min ? "" : "or equal to ",
				 STR_ARG(validate_number_text(c, r->min)));
	if (r->has_max && (r->exclusive_max ? d >= r->max : d > r->max))
		validate_in_body(c, path, v, "should be less than %s" STR_FMT,
				 r->exclusive_max ? "" : "or equal to ",
				 STR_ARG(validate_number_text(c, r->max)));
	if (r->has_multiple && r->multiple > 0 &&
	    fabs(remainder(d, r->multiple)) > 1e-9 * r->multiple)
		validate_in_body(c, path, v, "should be a multiple of " STR_FMT,
				 STR_ARG(validate_number_text(c, r->multiple)));
}

static void validate_too_many(const struct validate *c, const struct schema_path *path, size_t n,
			      int64_t max)
{
	schema_cause(c->e, TEXT(path), "FieldValueTooMany",
		     arena_fmt(c->a, "Too many: %zu: must have at most %lld item%s", n,
			       (long long)max, max == 1 ? "" : "s"));
}

static void validate_too_few(const struct validate *c, const struct schema_path *path, size_t n,
			     int64_t min, const char *what)
{
	validate_in_body(c, path, json_int(c->a, (int64_t)n), "should have at least %lld %s",
			 (long long)min, what);
}

static struct json *validate_list_key(struct arena *a, const struct schema *s,
				      const struct json *item)
{
	struct json *key = json_object(a);

	for (size_t i = 0; i < s->rules->n_list_keys; i++) {
		const struct json *k = json_get_s(item, s->rules->list_keys[i]);

		if (k)
			json_set_s(a, key, s->rules->list_keys[i], json_copy(a, k));
	}
	return key;
}

void schema_counterparts(struct arena *a, const struct schema *s, const struct json *old,
			 struct map *ret)
{
	if (!s->list_map)
		return;
	json_for_each(it, old)
	{
		struct str key = json_canonical(a, validate_list_key(a, s, it.val));

		if (!map_find(ret, key))
			map_put(ret, key, it.val);
	}
}

const struct json *schema_counterpart(struct arena *a, const struct schema *s,
				      const struct json *item, const struct map *counterparts)
{
	if (!counterparts->n)
		return NULL;
	return map_find(counterparts, json_canonical(a, validate_list_key(a, s, item)));
}

static void validate_array(const struct validate *c, const struct schema *s, const struct json *v,
			   const struct json *old, const struct schema_path *path)
{
	_cleanup_map_ struct map counterparts = { 0 };
	const struct schema_rules *r = s->rules;
	size_t n = json_len(v);

	if (r->max_items >= 0 && n > (size_t)r->max_items)
		validate_too_many(c, path, n, r->max_items);
	if (r->min_items >= 0 && n < (size_t)r->min_items)
		validate_too_few(c, path, n, r->min_items, "items");
	if (!s->items)
		return;
	schema_counterparts(c->a, s, old, &counterparts);
	json_for_each(it, v) validate_node(c, s->items, it.val,
					   schema_counterpart(c->a, s, it.val, &counterparts),
					   &ITEM(path, it.i));
}

/* ---- uniqueness */

static void validate_duplicate(const struct validate *c, const struct schema_path *path,
			       const struct json *v)
{
	schema_cause(c->e, TEXT(path), "FieldValueDuplicate",
		     arena_fmt(c->a, "Duplicate value: " STR_FMT, STR_ARG(json_text(c->a, v))));
}

/* Lists of CRDs that are sets or maps. */
static void validate_unique(const struct validate *c, const struct schema *s, const struct json *v,
			    const struct schema_path *path)
{
	struct json *seen;

	if (!s->list_set && !s->list_map)
		return;
	seen = json_object(c->a);
	json_for_each(it, v)
	{
		const struct json *key = s->list_map ? validate_list_key(c->a, s, it.val) : it.val;
		struct str text = json_canonical(c->a, key);

		if (json_get_s(seen, text))
			validate_duplicate(c, &ITEM(path, it.i), key);
		else
			json_set_s(c->a, seen, text, json_null(c->a));
	}
}

/* x-isoplane-unique: built-in lists whose items are told apart by one member. */
static void validate_unique_member(const struct validate *c, const struct schema *s,
				   const struct json *v, const struct schema_path *path)
{
	struct json *seen = json_object(c->a);
	struct str member = s->rules->unique;

	json_for_each(it, v)
	{
		const struct schema_path item = ITEM(path, it.i), at = MEMBER(&item, member);
		const struct json *key = json_get_s(it.val, member);

		if (!json_is(key, JSON_STR) || !json_as_str(key).n)
			continue;
		if (!json_get_s(seen, json_as_str(key)))
			json_set_s(c->a, seen, json_as_str(key), json_null(c->a));
		else if (str_eqz(member, "mountPath"))
			schema_cause_invalid(c->a, c->e, TEXT(&at), key, STR("must be unique"));
		else
			validate_duplicate(c, &at, key);
	}
}

/* ---- objects */

static bool validate_missing(const struct schema *s, const struct json *member)
{
	if (!member)
		return true;
	if (!s->root->builtin)
		return false;
	if (json_is(member, JSON_STR))
		return !json_as_str(member).n;
	return json_is(member, JSON_NULL) || (json_is(member, JSON_ARRAY) && !json_len(member));
}

static void validate_embedded(const struct validate *c, const struct json *v,
			      const struct schema_path *path)
{
	static const struct str names[] = { STR_INIT("apiVersion"), STR_INIT("kind") };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!json_as_str(json_get_s(v, names[i])).n)
			schema_cause(c->e, schema_path_text(c->a, &MEMBER(path, names[i])),
				     "FieldValueRequired",
				     STR("Required value: must not be empty"));
}

static void validate_object(const struct validate *c, const struct schema *s, const struct json *v,
			    const struct json *old, const struct schema_path *path)
{
	const struct schema_rules *r = s->rules;
	size_t n = json_len(v);

	if (r->max_props >= 0 && n > (size_t)r->max_props)
		validate_too_many(c, path, n, r->max_props);
	if (r->min_props >= 0 && n < (size_t)r->min_props)
		validate_too_few(c, path, n, r->min_props, "properties");
	if (s->embedded)
		validate_embedded(c, v, path);
	for (size_t i = 0; !s->lenient && i < r->n_required; i++)
		if (validate_missing(s, json_get_s(v, r->required[i])))
			validate_required(c, path, r->required[i]);
	json_for_each(it, v)
	{
		const struct schema *m = schema_prop_find(s, it.key);
		bool known = m;

		if (!m)
			m = s->additional;
		if (!m || (json_type(it.val) == JSON_NULL && known && s->root->builtin))
			continue;
		validate_node(c, m, it.val, json_get_s(old, it.key), &MEMBER(path, it.key));
	}
}

/* ---- combinations */

/* Whether v meets s, and with what errors if not. */
static bool validate_meets(const struct validate *c, const struct schema *s, const struct json *v,
			   const struct schema_path *path, struct err **ret_e)
{
	_cleanup_err_ struct err *e = NULL;
	const struct validate in = { .a = c->a, .e = &e };
	bool ok;

	validate_node(&in, s, v, NULL, path);
	ok = !e;
	if (ret_e && !*ret_e)
		*ret_e = TAKE(e);
	return ok;
}

static void validate_add_all(const struct validate *c, const struct err *e)
{
	for (size_t i = 0; e && i < err_n_causes(e); i++) {
		struct err_cause x = err_get_cause(e, i);

		if (!*c->e)
			*c->e = err_new(ERR_INVALID, "invalid");
		err_add_cause(*c->e, x.field, x.reason, x.message);
	}
}

static void validate_combined(const struct validate *c, const struct schema *s,
			      const struct json *v, const struct schema_path *path)
{
	const struct schema_rules *r = s->rules;
	_cleanup_err_ struct err *first = NULL;
	size_t ok = 0;

	for (size_t i = 0; i < r->n_all_of; i++)
		validate_node(c, r->all_of[i], v, NULL, path);
	for (size_t i = 0; i < r->n_any_of && !ok; i++)
		ok += validate_meets(c, r->any_of[i], v, path, &first);
	if (r->n_any_of && !ok) {
		validate_nowhere(c, arena_fmt(c->a,
					      "\"" STR_FMT
					      "\" must validate at least one schema (anyOf)",
					      STR_ARG(TEXT(path))));
		validate_add_all(c, first);
	}
	first = err_free(first);
	ok = 0;
	for (size_t i = 0; i < r->n_one_of; i++)
		ok += validate_meets(c, r->one_of[i], v, path, &first);
	if (r->n_one_of && ok != 1) {
		validate_nowhere(
			c, ok ? arena_fmt(c->a,
					  "\"" STR_FMT "\" must validate one and only one schema "
					  "(oneOf). Found %zu valid alternatives",
					  STR_ARG(TEXT(path)), ok)
			      : arena_fmt(c->a,
					  "\"" STR_FMT "\" must validate one and only one schema "
					  "(oneOf). Found none valid",
					  STR_ARG(TEXT(path))));
		if (!ok)
			validate_add_all(c, first);
	}
	if (r->not_ && validate_meets(c, r->not_, v, path, NULL))
		validate_nowhere(c, arena_fmt(c->a,
					      "\"" STR_FMT "\" must not validate the schema (not)",
					      STR_ARG(TEXT(path))));
}

static void validate_enum(const struct validate *c, const struct schema *s, const struct json *v,
			  const struct schema_path *path)
{
	_cleanup_buf_ struct buf b = { 0 };

	/* Go cannot tell "" from an optional member that was left out. */
	if (s->root->builtin && json_is(v, JSON_STR) && !json_as_str(v).n)
		return;
	json_for_each(it, s->rules->enumeration) if (json_equal(it.val, v)) return;
	buf_addz(&b, "Unsupported value: ");
	json_write(&b, v);
	buf_addz(&b, ": supported values: ");
	json_for_each(it, s->rules->enumeration)
	{
		if (it.i)
			buf_addz(&b, ", ");
		json_write(&b, it.val);
	}
	schema_cause(c->e, TEXT(path), "FieldValueNotSupported", buf_str(&b));
}

/* ---- x-isoplane-check */

static const char *validate_check_number(enum schema_check check, int64_t n)
{
	if (check == SCHEMA_C_PORT || (check == SCHEMA_C_PORT_OR_ZERO && n != 0))
		return n < 1 || n > 65535 ? "must be between 1 and 65535, inclusive" : NULL;
	if (check == SCHEMA_C_NONNEGATIVE)
		return n < 0 ? "must be greater than or equal to 0" : NULL;
	if (check == SCHEMA_C_POSITIVE)
		return n < 1 ? "must be greater than 0" : NULL;
	return NULL;
}

static const char *validate_check_text(enum schema_check check, struct str s)
{
	if (!s.n)
		return NULL;
	if (check == SCHEMA_C_DNS_LABEL)
		return name_check_dns_label(s);
	if (check == SCHEMA_C_DNS_SUBDOMAIN)
		return name_check_dns_subdomain(s);
	if (check == SCHEMA_C_PORT_NAME)
		return name_check_port_name(s);
	return NULL;
}

static void validate_check(const struct validate *c, const struct schema *s, const struct json *v,
			   const struct schema_path *path)
{
	enum schema_check check = (enum schema_check)s->check;
	const char *bad = NULL;

	if (json_is(v, JSON_INT))
		bad = validate_check_number(check, json_as_int(v, 0));
	else if (json_is(v, JSON_STR))
		bad = validate_check_text(check, json_as_str(v));
	if (bad)
		schema_cause_invalid(c->a, c->e, TEXT(path), v, str_from(bad));
}

/* ---- the walk */

static void validate_keywords(const struct validate *c, const struct schema *s,
			      const struct json *v, const struct schema_path *path)
{
	const struct schema_rules *r = s->rules;

	if (s->check)
		validate_check(c, s, v, path);
	if (r->enumeration)
		validate_enum(c, s, v, path);
	if (r->unique.n)
		validate_unique_member(c, s, v, path);
	if (r->n_all_of || r->n_any_of || r->n_one_of || r->not_)
		validate_combined(c, s, v, path);
}

static void validate_value(const struct validate *c, const struct schema *s, const struct json *v,
			   const struct json *old, const struct schema_path *path)
{
	switch (json_type(v)) {
	case JSON_OBJECT:
		validate_object(c, s, v, old, path);
		break;
	case JSON_ARRAY:
		validate_array(c, s, v, old, path);
		if (!s->root->builtin)
			validate_unique(c, s, v, path);
		break;
	case JSON_STR:
		if (!s->root->builtin)
			validate_string(c, s, v, path);
		break;
	case JSON_INT:
	case JSON_REAL:
		if (!s->root->builtin)
			validate_number(c, s, v, path);
		break;
	case JSON_NULL:
	case JSON_BOOL:
		break;
	}
}

static void validate_node(const struct validate *c, const struct schema *s, const struct json *v,
			  const struct json *old, const struct schema_path *path)
{
	const struct schema *t = schema_deref(s);

	if (!t || (old && !t->root->builtin && json_equal(v, old)))
		return;
	if (t != s) {
		validate_keywords(c, s, v, path); /* what stands beside the $ref */
		/* metadata of custom resources: types were checked, the rest is the engine's */
		if (!s->root->builtin) {
			if (s->rules->meta)
				validate_node(c, s->rules->meta, v, old, path);
			return;
		}
	}
	if (!t->root->builtin && !validate_type(c, t, v, path))
		return;
	if (json_type(v) == JSON_NULL && t->nullable)
		return;
	validate_value(c, t, v, old, path);
	validate_keywords(c, t, v, path);
}

void schema_validate_update(struct arena *a, const struct schema *s, const struct json *obj,
			    const struct json *old, struct str prefix, struct err **e)
{
	const struct validate c = { .a = a, .e = e };
	const struct schema_path root = { .name = prefix.p ? prefix : STR_EMPTY };

	validate_node(&c, s, obj, old, &root);
}

void schema_validate(struct arena *a, const struct schema *s, const struct json *obj,
		     struct str prefix, struct err **e)
{
	schema_validate_update(a, s, obj, NULL, prefix, e);
}
