/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What Go's types make of a body of a built-in kind when upstream decodes it: type errors, worded
 * as Go does (the innermost struct, the path of members without indices, Go's name of the type),
 * and times and quantities in the form in which Go writes them.
 */

#include "api/schema-internal.h"

#include "api/quantity.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/time-go.h"

struct types {
	struct arena *keep;             /* of the tree */
	struct arena **a;               /* made when it is needed: mostly for what is wrong */
	struct str owner;               /* the struct that has the member: "Container" */
	const struct schema_path *path; /* of members only; NULL: the root */
};

static struct arena *types_arena(const struct types *t)
{
	if (!*t->a)
		*t->a = arena_new();
	return *t->a;
}

/* "spec.template.spec.containers.name" */
static struct str types_path(struct arena *a, const struct schema_path *p)
{
	return p->up ? schema_path_member(a, types_path(a, p->up), p->name) : p->name;
}

static struct err *types_node(struct types t, const struct schema *s, struct json *v);

/* "io.k8s.api.core.v1.Pod": "Pod"; with package "v1.Pod". */
static struct str types_go_name(struct str type, bool package)
{
	size_t dots = package ? 2 : 1, i = type.n;

	while (i > 0 && (type.p[i - 1] != '.' || --dots > 0))
		i--;
	return str_skip(type, i);
}

static struct str types_go(struct arena *a, const struct schema *s)
{
	const struct schema *t = schema_deref(s);

	if (!t)
		return STR("interface {}");
	if (t->int_or_string)
		return STR("int32");
	if (t->types & SCHEMA_T_ARRAY)
		return arena_cat(a, STR("[]"), types_go(a, t->items));
	if (t->types & SCHEMA_T_OBJECT) {
		if (t->type_name.n)
			return types_go_name(t->type_name, true);
		return arena_cat(a, STR("map[string]"), types_go(a, t->additional));
	}
	if (t->types & SCHEMA_T_STRING)
		return t->format == SCHEMA_F_BYTE ? STR("[]uint8") : STR("string");
	if (t->types & SCHEMA_T_BOOLEAN)
		return STR("bool");
	if (t->types & SCHEMA_T_INTEGER)
		return t->format == SCHEMA_F_INT32 ? STR("int32") : STR("int64");
	if (t->types & SCHEMA_T_NUMBER)
		return STR("float64");
	return STR("interface {}");
}

static const char *types_go_value(const struct json *v)
{
	switch (json_type(v)) {
	case JSON_BOOL:
		return "bool";
	case JSON_INT:
	case JSON_REAL:
		return "number";
	case JSON_STR:
		return "string";
	case JSON_ARRAY:
		return "array";
	case JSON_OBJECT:
		return "object";
	case JSON_NULL:
		break;
	}
	return "null";
}

static struct err *types_bad(const struct types *t, const struct schema *s, const struct json *v,
			     bool show_number)
{
	struct arena *a = types_arena(t);
	struct str go = types_go(a, s);
	struct str num = show_number ? arena_cat(a, STR(" "), json_text(a, v)) : STR_EMPTY;

	if (!t->path)
		return err_new(ERR_BAD_REQUEST,
			       "json: cannot unmarshal %s" STR_FMT
			       " into Go value of type " STR_FMT,
			       types_go_value(v), STR_ARG(num), STR_ARG(go));
	return err_new(ERR_BAD_REQUEST,
		       "json: cannot unmarshal %s" STR_FMT " into Go struct field " STR_FMT
		       "." STR_FMT " of type " STR_FMT,
		       types_go_value(v), STR_ARG(num), STR_ARG(t->owner),
		       STR_ARG(types_path(a, t->path)), STR_ARG(go));
}

static void types_rewrite(const struct types *t, struct json *v, struct str text)
{
	if (!json_is(v, JSON_STR) || !str_eq(json_as_str(v), text))
		json_become(v, json_strcpy(t->keep, text));
}

/* UTC, and as many decimals as the type has; the year 1 begins with no time at all. */
static struct err *types_time(const struct types *t, const struct schema *s, struct json *v)
{
	const bool micro = str_has_suffix(s->type_name, STR(".MicroTime"));
	const struct str text = json_as_str(v);
	struct str why = STR_EMPTY;
	int64_t sec = 0, ns = 0;

	if (!time_parse_go(types_arena(t), text, micro, &sec, &ns, &why))
		return err_new(ERR_BAD_REQUEST, STR_FMT, STR_ARG(why));
	if (sec == UNIX_YEAR_1 && ns == 0)
		json_become(v, json_null(t->keep));
	else if (sec > UNIX_YEAR_1 && sec <= UNIX_YEAR_9999)
		types_rewrite(t, v, unix_format(types_arena(t), sec, ns, micro));
	return NULL;
}

static struct err *types_string(const struct types *t, const struct schema *s, struct json *v)
{
	struct str text = json_as_str(v), out;

	if (!json_is(v, JSON_STR))
		return types_bad(t, s, v, false);
	if (s->format == SCHEMA_F_DATE_TIME)
		return types_time(t, s, v);
	if (s->format == SCHEMA_F_BYTE && !base64_decode(types_arena(t), text, &out)) {
		size_t at = 0;

		while (at < text.n && (text.p[at] == '+' || text.p[at] == '/' ||
				       (text.p[at] >= '0' && text.p[at] <= '9') ||
				       (text.p[at] >= 'A' && text.p[at] <= 'Z') ||
				       (text.p[at] >= 'a' && text.p[at] <= 'z')))
			at++;
		return err_new(ERR_BAD_REQUEST, "illegal base64 data at input byte %zu", at);
	}
	return NULL;
}

static struct err *types_integer(const struct types *t, const struct schema *s,
				 const struct json *v)
{
	int64_t n = json_as_int(v, 0);

	if (!json_is(v, JSON_INT))
		return types_bad(t, s, v, json_is(v, JSON_REAL));
	if (s->format == SCHEMA_F_INT32 && (n < INT32_MIN || n > INT32_MAX))
		return types_bad(t, s, v, true);
	return NULL;
}

/* Whole numbers are written without decimals. */
static struct err *types_number(const struct types *t, const struct schema *s, struct json *v)
{
	double d = json_as_real(v, 0);

	if (json_is(v, JSON_INT))
		return NULL;
	if (!json_is(v, JSON_REAL))
		return types_bad(t, s, v, false);
	if (d > -1e15 && d < 1e15 && d == (double)(int64_t)d)
		json_become(v, json_int(t->keep, (int64_t)d));
	return NULL;
}

static struct err *types_object(struct types t, const struct schema *s, struct json *v)
{
	if (s->type_name.n)
		t.owner = types_go_name(s->type_name, false);
	json_for_each(it, v)
	{
		const struct schema_path at = { .up = t.path, .name = it.key };
		const struct schema *m = schema_prop_find(s, it.key);
		struct types in = t;

		if (m)
			in.path = &at;
		else
			m = s->additional;
		if (m)
			TRY(types_node(in, m, it.val));
	}
	return NULL;
}

static struct err *types_quantity(const struct types *t, struct json *v)
{
	struct str text = json_is(v, JSON_STR) ? json_as_str(v) : json_text(types_arena(t), v);
	struct quantity q;

	if (json_is(v, JSON_STR) || json_is(v, JSON_INT) || json_is(v, JSON_REAL)) {
		if (quantity_parse(str_trim(text), &q)) {
			types_rewrite(t, v, quantity_text(types_arena(t), q));
			return NULL;
		}
	}
	return err_new(ERR_BAD_REQUEST, "quantities must match the regular expression "
					"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static struct err *types_node(struct types t, const struct schema *s, struct json *v)
{
	s = schema_deref(s);
	if (!s || json_type(v) == JSON_NULL)
		return NULL;
	if (s->format == SCHEMA_F_QUANTITY)
		return types_quantity(&t, v);
	if (s->int_or_string)
		return json_is(v, JSON_INT) || json_is(v, JSON_STR) ? NULL
								    : types_bad(&t, s, v, false);
	if (s->types & SCHEMA_T_OBJECT)
		return json_is(v, JSON_OBJECT) ? types_object(t, s, v) : types_bad(&t, s, v, false);
	if (s->types & SCHEMA_T_ARRAY) {
		if (!json_is(v, JSON_ARRAY))
			return types_bad(&t, s, v, false);
		json_for_each(it, v) TRY(types_node(t, s->items, it.val));
		return NULL;
	}
	if (s->types & SCHEMA_T_STRING)
		return types_string(&t, s, v);
	if (s->types & SCHEMA_T_INTEGER)
		return types_integer(&t, s, v);
	if (s->types & SCHEMA_T_BOOLEAN)
		return json_is(v, JSON_BOOL) ? NULL : types_bad(&t, s, v, false);
	if (s->types & SCHEMA_T_NUMBER)
		return types_number(&t, s, v);
	return NULL;
}

struct err *schema_decode_types(struct arena *keep, const struct schema *s, struct json *obj)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct types t = { .keep = keep, .a = &a };

	return types_node(t, s, obj);
}

bool schema_keeps_empty(const struct schema *s, struct str name)
{
	const struct schema *prop;

	s = schema_deref(s);
	prop = s ? schema_prop_find(s, name) : NULL;
	return prop && prop->zero_kept;
}
