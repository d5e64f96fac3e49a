/* SPDX-License-Identifier: Apache-2.0 */
/* ObjectMeta and conditions on JSON trees. */

#include "api/meta.h"

#include "base/arena.h"
#include "json/json.h"

static struct str meta_str(const struct json *obj, const char *key)
{
	return json_as_str(json_get(json_get(obj, "metadata"), key));
}

struct str meta_name(const struct json *obj)
{
	return meta_str(obj, "name");
}

struct str meta_namespace(const struct json *obj)
{
	return meta_str(obj, "namespace");
}

struct str meta_uid(const struct json *obj)
{
	return meta_str(obj, "uid");
}

struct str meta_rv(const struct json *obj)
{
	return meta_str(obj, "resourceVersion");
}

struct json *meta_labels(const struct json *obj)
{
	return json_get(json_get(obj, "metadata"), "labels");
}

struct json *meta_annotations(const struct json *obj)
{
	return json_get(json_get(obj, "metadata"), "annotations");
}

struct str meta_label(const struct json *obj, const char *key)
{
	return json_as_str(json_get(meta_labels(obj), key));
}

struct str meta_annotation(const struct json *obj, const char *key)
{
	return json_as_str(json_get(meta_annotations(obj), key));
}

bool meta_deleting(const struct json *obj)
{
	return !json_is_null(json_get(json_get(obj, "metadata"), "deletionTimestamp"));
}

static size_t meta_finalizer_index(const struct json *finalizers, struct str finalizer)
{
	size_t i = 0;

	json_for_each(it, finalizers)
	{
		if (str_eq(json_as_str(it.val), finalizer))
			break;
		i++;
	}
	return i;
}

bool meta_has_finalizer(const struct json *obj, struct str finalizer)
{
	const struct json *f = json_get(json_get(obj, "metadata"), "finalizers");

	return meta_finalizer_index(f, finalizer) < json_len(f);
}

const struct json *meta_controller(const struct json *obj)
{
	json_for_each(it, json_get(json_get(obj, "metadata"), "ownerReferences"))
	{
		if (json_as_bool(json_get(it.val, "controller"), false))
			return it.val;
	}
	return NULL;
}

bool meta_controlled_by(const struct json *obj, struct str uid)
{
	const struct json *ref = meta_controller(obj);

	return ref && str_eq(json_as_str(json_get(ref, "uid")), uid);
}

static void meta_set_in(struct arena *a, struct json *obj, const char *map, const char *key,
			struct str val)
{
	struct json *m = json_sub(a, json_sub(a, obj, "metadata"), map);

	json_set_s(a, m, arena_str(a, str_from(key)), json_strcpy(a, val));
}

void meta_set_label(struct arena *a, struct json *obj, const char *key, struct str val)
{
	meta_set_in(a, obj, "labels", key, val);
}

void meta_set_annotation(struct arena *a, struct json *obj, const char *key, struct str val)
{
	meta_set_in(a, obj, "annotations", key, val);
}

bool meta_add_finalizer(struct arena *a, struct json *obj, struct str finalizer)
{
	if (meta_has_finalizer(obj, finalizer))
		return false;
	json_push(json_sub_array(a, json_sub(a, obj, "metadata"), "finalizers"),
		  json_strcpy(a, finalizer));
	return true;
}

bool meta_del_finalizer(struct arena *a, struct json *obj, struct str finalizer)
{
	struct json *meta = json_get(obj, "metadata");
	struct json *f = json_get(meta, "finalizers");
	size_t i = meta_finalizer_index(f, finalizer);

	if (i >= json_len(f))
		return false;
	json_remove_idx(f, i);
	if (!json_len(f))
		json_delz(meta, "finalizers");
	return true;
}

void meta_set_controller(struct arena *a, struct json *obj, const struct json *owner,
			 struct str api_version, struct str kind)
{
	struct json *refs = json_sub_array(a, json_sub(a, obj, "metadata"), "ownerReferences");
	struct json *ref = json_find_by(refs, "uid", meta_uid(owner));

	if (!ref) {
		ref = json_object(a);
		json_push(refs, ref);
	}
	json_set(a, ref, "apiVersion", json_strcpy(a, api_version));
	json_set(a, ref, "kind", json_strcpy(a, kind));
	json_set(a, ref, "name", json_strcpy(a, meta_name(owner)));
	json_set(a, ref, "uid", json_strcpy(a, meta_uid(owner)));
	json_set_bool(a, ref, "controller", true);
	json_set_bool(a, ref, "blockOwnerDeletion", true);
}

const struct json *condition_find(const struct json *status, const char *type)
{
	return json_find_by(json_get(status, "conditions"), "type", str_from(type));
}

bool condition_is_true(const struct json *status, const char *type)
{
	return str_eqz(json_as_str(json_get(condition_find(status, type), "status")), "True");
}

/* Sets or, when empty, removes a text member. True when that changed it. */
static bool condition_put(struct arena *a, struct json *c, const char *key, struct str val)
{
	const struct json *old = json_get(c, key);

	if (str_empty(val))
		return json_delz(c, key);
	if (json_is(old, JSON_STR) && str_eq(json_as_str(old), val))
		return false;
	json_set(a, c, key, json_strcpy(a, val));
	return true;
}

bool condition_set(struct arena *a, struct json *status, const char *type, const char *value,
		   struct str reason, struct str message, struct wall now)
{
	struct json *conds = json_sub_array(a, status, "conditions");
	struct json *c = json_find_by(conds, "type", str_from(type));
	bool changed = false;

	if (!c) {
		c = json_object(a);
		json_set(a, c, "type", json_strcpy(a, str_from(type)));
		json_push(conds, c);
	}
	if (condition_put(a, c, "status", str_from(value))) {
		json_set(a, c, "lastTransitionTime", json_str(a, wall_format(a, now)));
		changed = true;
	}
	changed |= condition_put(a, c, "reason", reason);
	changed |= condition_put(a, c, "message", message);
	return changed;
}

bool condition_del(struct json *status, const char *type)
{
	struct json *conds = json_get(status, "conditions");

	for (size_t i = 0; i < json_len(conds); i++)
		if (str_eqz(json_as_str(json_get(json_idx(conds, i), "type")), type))
			return json_remove_idx(conds, i);
	return false;
}

struct str meta_key(struct arena *a, struct str ns, struct str name)
{
	if (str_empty(ns))
		return arena_str(a, name);
	return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
}

void meta_key_split(struct str key, struct str *ret_ns, struct str *ret_name)
{
	size_t slash = str_find_char(key, '/', 0);

	*ret_ns = slash < key.n ? str_sub(key, 0, slash) : STR_EMPTY;
	*ret_name = slash < key.n ? str_skip(key, slash + 1) : key;
}
