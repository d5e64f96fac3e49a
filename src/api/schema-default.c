/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Defaults, where the parent object exists; values that are filled in get their own inner defaults.
 * A null where the schema does not allow one is dropped, or replaced by the default.
 */

#include "api/schema-internal.h"

#include "base/arena.h"

static void default_node(struct arena *a, const struct schema *s, struct json *v);

/* What typed clients leave out: empty lists and maps, and zeros that mean nothing. */
static bool default_drops_empty(const struct schema *s, struct str name, const struct json *v)
{
	const struct schema *t;

	/* an empty list of managedFields is a word of its own */
	if (!s->root->builtin || s->zero_kept || str_eqz(name, "managedFields"))
		return false;
	switch (json_type(v)) {
	case JSON_ARRAY:
		return !json_len(v);
	case JSON_OBJECT:
		t = schema_deref(s);
		return !json_len(v) && t && !t->n_props && !t->preserve && t->additional;
	case JSON_STR:
		/* bytes are a list, too */
		return (s->zero_absent || s->format == SCHEMA_F_BYTE) && str_empty(json_as_str(v));
	case JSON_BOOL:
		return s->zero_absent && !json_as_bool(v, true);
	case JSON_INT:
	case JSON_REAL:
		return s->zero_absent && json_as_real(v, 1) == 0;
	case JSON_NULL:
		break;
	}
	return false;
}

static bool default_drops_null(const struct schema *s)
{
	const struct schema *t = schema_deref(s);

	return t && !s->nullable && !t->nullable && !t->preserve;
}

/*
 * Typed clients' values cannot be null: in a list or a map of a built-in kind null is the zero of
 * its type. NULL: it stays.
 */
static struct json *default_zero(struct arena *a, const struct schema *s)
{
	const struct schema *t = schema_deref(s);

	if (!t || !t->root->builtin || t->preserve)
		return NULL;
	if (t->types & SCHEMA_T_STRING)
		return json_strz(a, "");
	if (t->types & (SCHEMA_T_INTEGER | SCHEMA_T_NUMBER))
		return json_int(a, 0);
	if (t->types & SCHEMA_T_BOOLEAN)
		return json_bool(a, false);
	return t->types & SCHEMA_T_OBJECT && t->n_props ? json_object(a) : NULL;
}

static void default_members(struct arena *a, const struct schema *s, struct json *v)
{
	struct json *nulls = NULL;

	json_for_each(it, v)
	{
		const struct schema *m = schema_prop_find(s, it.key);
		bool declared = m != NULL;
		struct json *zero;

		if (!m && s->additional && json_type(it.val) == JSON_NULL &&
		    (zero = default_zero(a, s->additional)))
			json_become(it.val, zero);
		if (!m)
			m = s->additional;
		if (!m)
			continue;
		if ((json_type(it.val) == JSON_NULL && default_drops_null(m)) ||
		    (declared && default_drops_empty(m, it.key, it.val))) {
			if (!nulls)
				nulls = json_array(a);
			json_push(nulls, json_str(a, it.key));
		} else if (json_is(it.val, JSON_OBJECT) || json_is(it.val, JSON_ARRAY)) {
			default_node(a, m, it.val);
		}
	}
	json_for_each(it, nulls) json_del(v, json_as_str(it.val));
}

static void default_node(struct arena *a, const struct schema *s, struct json *v)
{
	s = schema_deref(s);
	if (!s)
		return;
	if (json_is(v, JSON_ARRAY)) {
		json_for_each(it, s->items ? v : NULL)
		{
			struct json *zero = NULL;

			if (json_type(it.val) == JSON_NULL && (zero = default_zero(a, s->items)))
				json_become(it.val, zero);
			default_node(a, s->items, it.val);
		}
		return;
	}
	if (!json_is(v, JSON_OBJECT))
		return;
	default_members(a, s, v);
	for (size_t i = 0; i < s->rules->n_fills; i++) {
		const struct schema_fill *f = &s->rules->fills[i];
		struct json *val;

		if (json_get_s(v, f->name))
			continue;
		val = json_copy(a, f->val);
		json_set_s(a, v, f->name, val);
		default_node(a, schema_prop_find(s, f->name), val);
	}
}

void schema_default(struct arena *a, const struct schema *s, struct json *obj)
{
	default_node(a, s, obj);
}
