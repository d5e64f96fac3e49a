/* SPDX-License-Identifier: Apache-2.0 */
#include "server/openapi-merge.h"

#include "base/arena.h"
#include "json/json.h"

#define REF_PREFIX "#/definitions/"

/* "NAME_v2", "NAME_v3", ...: the first that is free or holds the same already. */
static struct str merge_new_name(struct arena *a, const struct json *have, struct str name,
				 const struct json *def)
{
	for (int i = 2;; i++) {
		struct str next = arena_fmt(a, STR_FMT "_v%d", STR_ARG(name), i);
		const struct json *other = json_get_s(have, next);

		if (!other || json_equal(other, def))
			return next;
	}
}

/* Old names to new ones. */
static struct json *merge_conflicts(struct arena *a, const struct json *have,
				    const struct json *more)
{
	struct json *renamed = json_object(a);

	json_for_each(it, more)
	{
		const struct json *mine = json_get_s(have, it.key);

		if (mine && !json_equal(mine, it.val))
			json_set_s(a, renamed, it.key,
				   json_str(a, merge_new_name(a, have, it.key, it.val)));
	}
	return renamed;
}

static void merge_rename_refs(struct arena *a, struct json *j, const struct json *renamed)
{
	struct str ref = json_as_str(json_get(j, "$ref"));
	const struct json *to;

	if (str_strip_prefix(&ref, STR(REF_PREFIX))) {
		to = json_get_s(renamed, ref);
		if (to)
			json_set(a, j, "$ref",
				 json_strf(a, REF_PREFIX STR_FMT, STR_ARG(json_as_str(to))));
	}
	if (!json_is(j, JSON_OBJECT) && !json_is(j, JSON_ARRAY))
		return;
	json_for_each(it, j) merge_rename_refs(a, it.val, renamed);
}

static void merge_add(struct arena *a, struct json *to, const struct json *from,
		      const struct json *renamed)
{
	json_for_each(it, from)
	{
		const struct json *name = json_get_s(renamed, it.key);
		struct str key = name ? json_as_str(name) : it.key;

		if (!json_get_s(to, key))
			json_set_s(a, to, key, json_copy(a, it.val));
	}
}

void openapi_merge_v2(struct arena *a, struct json *doc, struct json *more)
{
	struct json *definitions = json_sub(a, doc, "definitions");
	struct json *renamed = merge_conflicts(a, definitions, json_get(more, "definitions"));

	if (json_len(renamed))
		merge_rename_refs(a, more, renamed);
	merge_add(a, json_sub(a, doc, "paths"), json_get(more, "paths"), NULL);
	merge_add(a, definitions, json_get(more, "definitions"), renamed);
}
