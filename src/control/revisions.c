/* SPDX-License-Identifier: Apache-2.0 */

#include "control/revisions.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

#define NAME_MAX_PREFIX 223
#define MAX_COLLISIONS  100

/* ---- data */

static int revision_cmp_key(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct json *revision_sorted(struct arena *a, const struct json *v)
{
	struct json *out;
	struct str *keys;
	size_t n = 0;

	if (json_is(v, JSON_ARRAY)) {
		out = json_array(a);
		json_for_each(it, v) json_push(out, revision_sorted(a, it.val));
		return out;
	}
	if (!json_is(v, JSON_OBJECT))
		return json_copy(a, v);
	keys = arena_array(a, json_len(v) + 1, sizeof(*keys));
	json_for_each(it, v) keys[n++] = it.key;
	qsort(keys, n, sizeof(*keys), revision_cmp_key);
	out = json_object(a);
	for (size_t i = 0; i < n; i++)
		json_set_s(a, out, arena_str(a, keys[i]),
			   revision_sorted(a, json_get_s(v, keys[i])));
	return out;
}

struct json *revision_data(struct arena *a, const struct json *owner)
{
	const struct json *template = json_at(owner, "spec.template");
	struct json *data = json_object(a), *copy;

	copy = template ? json_copy(a, template) : json_object(a);
	json_set_str(a, copy, "$patch", STR("replace"));
	json_set(a, json_sub(a, data, "spec"), "template", revision_sorted(a, copy));
	return data;
}

static uint32_t revision_fnv32(struct str s)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < s.n; i++)
		h = (h * 16777619u) ^ (unsigned char)s.p[i];
	return h;
}

struct str revision_hash(struct arena *a, const struct json *data, int64_t collisions)
{
	/* no vowels, so that no words come out, as upstream */
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	struct str text = json_text(a, data), digits;
	_cleanup_buf_ struct buf b = { 0 };

	text = arena_fmt(a, STR_FMT "%lld", STR_ARG(text), (long long)collisions);
	digits = arena_fmt(a, "%u", revision_fnv32(text));
	for (size_t i = 0; i < digits.n; i++)
		buf_addc(&b, alphabet[(unsigned char)digits.p[i] % (sizeof(alphabet) - 1)]);
	return buf_to_arena(&b, a);
}

struct str revision_name(struct arena *a, const struct json *owner, struct str hash)
{
	return arena_fmt(a, STR_FMT "-" STR_FMT,
			 STR_ARG(str_sub(meta_name(owner), 0,
					 MIN(meta_name(owner).n, (size_t)NAME_MAX_PREFIX))),
			 STR_ARG(hash));
}

struct json *revision_template(struct arena *a, const struct json *revision)
{
	const struct json *t = json_at(revision, "data.spec.template");
	struct json *copy = t ? json_copy(a, t) : json_object(a);

	json_delz(copy, "$patch");
	return copy;
}

/* ---- order */

static int revision_cmp(const void *x, const void *y)
{
	const struct json *a = *(const struct json *const *)x, *b = *(const struct json *const *)y;
	int64_t na = json_int_at(a, "revision", 0), nb = json_int_at(b, "revision", 0);
	int r;

	if (na != nb)
		return na < nb ? -1 : 1;
	r = str_cmp(json_str_at(a, "metadata.creationTimestamp"),
		    json_str_at(b, "metadata.creationTimestamp"));
	return r ? r : str_cmp(meta_name(a), meta_name(b));
}

void revisions_sort(struct owned_list *list)
{
	if (list->n)
		qsort(list->v, list->n, sizeof(*list->v), revision_cmp);
}

static bool revision_is(const struct json *revision, const struct json *data)
{
	return json_equal(json_get(revision, "data"), data);
}

const struct json *revisions_find(const struct owned_list *list, const struct json *data)
{
	for (size_t i = list->n; i > 0; i--) {
		if (revision_is(list->v[i - 1], data))
			return list->v[i - 1];
	}
	return NULL;
}

int64_t revisions_next(const struct owned_list *list, const struct json *data)
{
	int64_t max = 0;

	for (size_t i = 0; i < list->n; i++) {
		if (!revision_is(list->v[i], data))
			max = MAX(max, json_int_at(list->v[i], "revision", 0));
	}
	return max + 1;
}

/* ---- requests */

struct err *revisions_claim(const struct revisions *r, struct arena *a, const struct json *owner,
			    struct owned_list *ret)
{
	TRY(owned_claim(&r->owned, a, owner, ret));
	revisions_sort(ret);
	return NULL;
}

static struct json *revision_make(const struct revisions *r, struct arena *a,
				  const struct json *owner, struct json *data, int64_t number)
{
	const struct json *labels = json_at(owner, "spec.template.metadata.labels");
	struct json *rev = json_object(a), *meta;

	json_set_str(a, rev, "apiVersion", STR("apps/v1"));
	json_set_str(a, rev, "kind", STR("ControllerRevision"));
	meta = json_sub(a, rev, "metadata");
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(owner)));
	if (labels)
		json_set(a, meta, "labels", json_copy(a, labels));
	if (meta_annotations(owner))
		json_set(a, meta, "annotations", json_copy(a, meta_annotations(owner)));
	meta_set_controller(a, rev, owner, r->owned.owner_api_version, r->owned.owner_kind);
	json_set(a, rev, "data", data);
	json_set_int(a, rev, "revision", number);
	return rev;
}

/* One that is there under the name counts when it says the same. */
static struct err *revision_create(const struct revisions *r, struct arena *a,
				   const struct json *owner, struct json *rev, int64_t *collisions,
				   struct json **ret)
{
	struct client *c = r->owned.client;

	for (int i = 0; i < MAX_COLLISIONS; i++) {
		struct str hash = revision_hash(a, json_get(rev, "data"), *collisions);
		struct str name = revision_name(a, owner, hash);
		struct err *e;

		json_set(a, json_sub(a, rev, "metadata"), "name", json_strcpy(a, name));
		meta_set_label(a, rev, r->hash_label, hash);
		e = client_create(c, a, gvr_controllerrevisions, meta_namespace(owner), rev, ret);
		if (!e || !err_is(e, ERR_ALREADY_EXISTS))
			return e;
		err_ignore(e, "what it says decides");
		TRY(client_get(c, a, gvr_controllerrevisions, meta_namespace(owner), name, ret));
		if (json_equal(json_get(*ret, "data"), json_get(rev, "data")))
			return NULL;
		(*collisions)++;
	}
	return err_new(ERR_CONFLICT, "no name is free for a revision of '" STR_FMT "'",
		       STR_ARG(meta_name(owner)));
}

static struct err *revision_renumber(const struct revisions *r, struct arena *a,
				     const struct json *rev, int64_t number, struct json **ret)
{
	struct json *copy = json_copy(a, rev);

	json_set_str(a, copy, "apiVersion", STR("apps/v1"));
	json_set_str(a, copy, "kind", STR("ControllerRevision"));
	json_set_int(a, copy, "revision", number);
	return client_update(r->owned.client, a, gvr_controllerrevisions, NULL, copy, ret);
}

struct err *revisions_current(const struct revisions *r, struct arena *a, const struct json *owner,
			      const struct owned_list *list, int64_t *collisions,
			      const struct json **ret)
{
	struct json *data = revision_data(a, owner), *made;
	const struct json *found = revisions_find(list, data);
	int64_t next = revisions_next(list, data);

	if (found && json_int_at(found, "revision", 0) >= next) {
		*ret = found;
		return NULL;
	}
	if (found)
		TRY(revision_renumber(r, a, found, next, &made));
	else
		TRY(revision_create(r, a, owner, revision_make(r, a, owner, data, next), collisions,
				    &made));
	*ret = made;
	return NULL;
}

struct err *revisions_trim(const struct revisions *r, struct arena *a, const struct json *owner,
			   const struct owned_list *list,
			   bool (*in_use)(const struct json *revision, void *ctx), void *ctx)
{
	int64_t limit = json_int_at(owner, "spec.revisionHistoryLimit", 10), unused = 0;

	for (size_t i = 0; i < list->n; i++)
		unused += !in_use(list->v[i], ctx);
	for (size_t i = 0; i < list->n && unused > limit; i++) {
		struct err *e;

		if (in_use(list->v[i], ctx))
			continue;
		unused--;
		e = client_delete(r->owned.client, a, gvr_controllerrevisions,
				  meta_namespace(owner), meta_name(list->v[i]), NULL);
		if (e && !err_is(e, ERR_NOT_FOUND))
			return e;
		err_ignore(e, "gone already");
	}
	return NULL;
}
