/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Unknown members: removed, reported, or both. A node keeps what it does not know when it says
 * x-kubernetes-preserve-unknown-fields, has no properties to go by (a map of anything), or is
 * not an object schema at all.
 */

#include "api/schema-internal.h"

#include "base/arena.h"

struct prune {
	struct arena *a;
	struct json *unknown; /* may be NULL */
	bool remove;
};

static void prune_node(const struct prune *p, const struct schema *s, struct json *v,
		       const struct schema_path *path);

static bool prune_keeps(const struct schema *s)
{
	if (s->preserve || s->int_or_string || s->additional_any)
		return true;
	/* "type: object" alone knows no member, and so has none; no type at all says nothing. */
	return !s->types && !s->n_props && !s->additional;
}

static void prune_object(const struct prune *p, const struct schema *s, struct json *v,
			 const struct schema_path *path)
{
	struct json *gone = NULL;

	json_for_each(it, v)
	{
		const struct schema_path in = { .up = path, .name = it.key };
		const struct schema *m = schema_prop_find(s, it.key);

		if (!m)
			m = s->additional;
		if (m) {
			if (json_len(it.val))
				prune_node(p, m, it.val, &in);
			continue;
		}
		if (prune_keeps(s))
			continue;
		if (p->unknown)
			json_push(p->unknown, json_str(p->a, schema_path_text(p->a, &in)));
		if (!gone)
			gone = json_array(p->a);
		json_push(gone, json_str(p->a, it.key));
	}
	if (p->remove)
		json_del_all(v, gone);
}

static void prune_node(const struct prune *p, const struct schema *s, struct json *v,
		       const struct schema_path *path)
{
	s = schema_deref(s);
	if (!s)
		return;
	if (json_is(v, JSON_OBJECT)) {
		prune_object(p, s, v, path);
	} else if (json_is(v, JSON_ARRAY) && s->items) {
		json_for_each(it, v)
		{
			const struct schema_path in = { .up = path, .index = it.i };

			if (json_len(it.val))
				prune_node(p, s->items, it.val, &in);
		}
	}
}

void schema_prune(struct arena *a, const struct schema *s, struct json *obj, struct json *unknown)
{
	const struct prune p = { .a = a, .unknown = unknown, .remove = true };
	const struct schema_path root = { .name = STR_EMPTY };

	prune_node(&p, s, obj, &root);
}

void schema_find_unknown(struct arena *a, const struct schema *s, const struct json *obj,
			 struct json *unknown)
{
	const struct prune p = { .a = a, .unknown = unknown, .remove = false };
	const struct schema_path root = { .name = STR_EMPTY };
	union {
		const struct json *c;
		struct json *m;
	} u = { .c = obj }; /* not changed without remove */

	prune_node(&p, s, u.m, &root);
}
