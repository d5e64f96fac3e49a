/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Defaults, where the parent object exists; values that are filled in get their own inner defaults.
 * A null where the schema does not allow one is dropped, or replaced by the default.
 */

#include "api/schema-internal.h"

#include "base/arena.h"

static void default_node(struct arena *a, const struct schema *s, struct json *v);

static bool default_drops_null(const struct schema *s)
{
	const struct schema *t = schema_deref(s);

	return t && !s->nullable && !t->nullable && !t->preserve;
}

static void default_members(struct arena *a, const struct schema *s, struct json *v)
{
	struct json *nulls = NULL;

	json_for_each(it, v)
	{
		const struct schema *m = schema_prop_find(s, it.key);

		if (!m)
			m = s->additional;
		if (!m)
			continue;
		if (json_type(it.val) == JSON_NULL && default_drops_null(m)) {
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
		if (s->items)
			json_for_each(it, v) default_node(a, s->items, it.val);
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
