/* SPDX-License-Identifier: Apache-2.0 */

/* Schemas as clients see them: those of the built-in types, and what a definition's become. */

#include "base/arena.h"
#include "server/crd.h"
#include "server/openapi-internal.h"
#include "server/resource.h"
#include "json/json.h"

#define API_VERSION_TEXT                                                                          \
	"APIVersion defines the version of the schema that this object follows. Servers convert " \
	"what they know to their newest form, and may refuse what they do not."
#define KIND_TEXT                                                                                \
	"Kind is the name of the REST resource that this object stands for, in CamelCase. It is" \
	" fixed, and servers may infer it from where the request goes."
#define METADATA_TEXT "Standard object's metadata."

void openapi_want(struct openapi *o, struct str type)
{
	if (map_find(&o->seen, type) || o->n == ARRAY_LEN(o->queue))
		return;
	map_put(&o->seen, type, o);
	o->queue[o->n++] = type;
}

struct json *openapi_ref(struct openapi *o, struct str type, const char *description)
{
	struct json *j = json_object(o->a);

	if (description)
		json_set_str(o->a, j, "description", str_from(description));
	json_set(o->a, j, "$ref", json_strf(o->a, OPENAPI_REF_V3 STR_FMT, STR_ARG(type)));
	return j;
}

static struct json *openapi_string(struct openapi *o, const char *description)
{
	struct json *j = json_object(o->a);

	json_set_str(o->a, j, "description", str_from(description));
	json_set_str(o->a, j, "type", STR("string"));
	return j;
}

static void openapi_type_meta(struct openapi *o, struct json *props)
{
	json_set(o->a, props, "apiVersion", openapi_string(o, API_VERSION_TEXT));
	json_set(o->a, props, "kind", openapi_string(o, KIND_TEXT));
}

/* ---- publishing */

/* v3 wants a reference alone, or within allOf beside what else is said. */
static void openapi_publish_ref(struct openapi *o, struct json *j)
{
	struct str type = json_as_str(json_get(j, "$ref"));
	struct json *ref, *all;

	if (!str_strip_prefix(&type, STR(OPENAPI_REF_V3)))
		return;
	openapi_want(o, type);
	if (o->v2) {
		json_set(o->a, j, "$ref", json_strf(o->a, OPENAPI_REF_V2 STR_FMT, STR_ARG(type)));
		return;
	}
	if (json_len(j) == 1)
		return;
	ref = openapi_ref(o, type, NULL);
	all = json_array(o->a);
	json_push(all, ref);
	json_delz(j, "$ref");
	json_set(o->a, j, "allOf", all);
}

static void openapi_drop_own(struct json *j)
{
	static const char *const words[] = { "x-isoplane-check",   "x-isoplane-unique",
					     "x-isoplane-lenient", "x-isoplane-proto",
					     "x-isoplane-zero",    "x-isoplane-default" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		json_delz(j, words[i]);
}

void openapi_publish(struct openapi *o, struct json *j)
{
	static const char *const junctors[] = { "allOf", "anyOf", "oneOf" };

	if (!json_is(j, JSON_OBJECT))
		return;
	openapi_drop_own(j);
	if (json_get(j, "x-kubernetes-group-version-kind") && json_at(j, "properties.apiVersion"))
		openapi_type_meta(o, json_get(j, "properties"));
	if (o->v2)
		json_delz(j, "default");
	for (size_t i = 0; i < ARRAY_LEN(junctors); i++)
		json_for_each(it, json_get(j, junctors[i])) openapi_publish(o, it.val);
	openapi_publish(o, json_get(j, "not"));
	json_for_each(it, json_get(j, "properties")) openapi_publish(o, it.val);
	openapi_publish(o, json_get(j, "items"));
	openapi_publish(o, json_get(j, "additionalProperties"));
	openapi_publish_ref(o, j);
}

/* ---- what a definition's schema becomes */

static bool schema_flag(const struct json *j, const char *word)
{
	return json_as_bool(json_get(j, word), false);
}

/* Members that may be null are not required in v2, which has no null. */
static void openapi_v2_required(struct openapi *o, struct json *j)
{
	struct json *required = json_get(j, "required"), *left = json_array(o->a);
	const struct json *props = json_get(j, "properties");

	if (schema_flag(json_get(j, "additionalProperties"), "nullable"))
		required = NULL;
	json_for_each(it, required)
	{
		if (!schema_flag(json_get_s(props, json_as_str(it.val)), "nullable"))
			json_push(left, json_copy(o->a, it.val));
	}
	json_delz(j, "required");
	if (json_len(left))
		json_set(o->a, j, "required", left);
}

/* kubectl refuses what it does not find in a v2 schema, so what is open there says nothing. */
static void openapi_v2_reduce(struct openapi *o, struct json *j)
{
	static const char *const junctors[] = { "allOf", "anyOf", "oneOf", "not" };
	bool nullable = schema_flag(j, "nullable");
	bool open = schema_flag(j, "x-kubernetes-preserve-unknown-fields");
	struct str type;

	for (size_t i = 0; i < ARRAY_LEN(junctors); i++)
		json_delz(j, junctors[i]);
	if (nullable || open) {
		json_delz(j, "items");
		json_delz(j, "properties");
	}
	type = json_as_str(json_get(j, "type"));
	if (nullable || (open && str_eqz(type, "object")) ||
	    (!json_get(j, "items") && str_eqz(type, "array")))
		json_delz(j, "type");
	openapi_v2_required(o, j);
}

static void openapi_int_or_string(struct openapi *o, struct json *j)
{
	static const char *const types[] = { "integer", "string" };
	struct json *any;

	if (json_len(json_get(j, "anyOf")) || json_len(json_get(j, "allOf")))
		return;
	any = json_sub_array(o->a, j, "anyOf");
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct json *one = json_object(o->a);

		json_set_str(o->a, one, "type", str_from(types[i]));
		json_push(any, one);
	}
}

static void openapi_embedded(struct openapi *o, struct json *j)
{
	static const char *const names[] = { "kind", "apiVersion" };
	struct json *props = json_sub(o->a, j, "properties");
	struct json *required = json_sub_array(o->a, j, "required");

	json_set(o->a, props, "apiVersion",
		 openapi_string(o, "apiVersion defines the version of the schema that this "
				   "representation of an object follows."));
	json_set(o->a, props, "kind",
		 openapi_string(o, "kind is the type of this object, in CamelCase."));
	json_set(o->a, props, "metadata",
		 openapi_ref(o, STR(OPENAPI_META_V1 "ObjectMeta"), METADATA_TEXT));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		bool have = false;

		json_for_each(it, required) have |= str_eqz(json_as_str(it.val), names[i]);
		if (!have)
			json_push(required, json_strz(o->a, names[i]));
	}
}

static void openapi_unfold(struct openapi *o, struct json *j)
{
	if (!json_is(j, JSON_OBJECT))
		return;
	if (schema_flag(j, "x-kubernetes-int-or-string"))
		openapi_int_or_string(o, j);
	if (o->v2)
		openapi_v2_reduce(o, j);
	json_for_each(it, json_get(j, "properties")) openapi_unfold(o, it.val);
	openapi_unfold(o, json_get(j, "items"));
	openapi_unfold(o, json_get(j, "additionalProperties"));
	/* last: its parents looked for it */
	if (o->v2)
		json_delz(j, "nullable");
	if (schema_flag(j, "x-kubernetes-embedded-resource") &&
	    !(o->v2 && schema_flag(j, "x-kubernetes-preserve-unknown-fields")))
		openapi_embedded(o, j);
}

static void openapi_add_extensions(struct openapi *o, struct json *j, const struct resource *res,
				   const struct resource_version *v, struct str kind)
{
	struct json *gvk = json_object(o->a);
	struct json *list = json_sub_array(o->a, j, "x-kubernetes-group-version-kind");

	json_set_str(o->a, gvk, "group", res->group);
	json_set_str(o->a, gvk, "kind", kind);
	json_set_str(o->a, gvk, "version", v->version);
	json_push(list, gvk);
	if (!res->custom || !v->n_fields)
		return;
	list = json_sub_array(o->a, j, "x-kubernetes-selectable-fields");
	for (size_t i = 0; i < v->n_fields; i++) {
		struct json *f = json_object(o->a);

		json_set_str(o->a, f, "fieldPath", v->fields[i].path);
		json_push(list, f);
	}
}

struct json *openapi_custom_schema(struct openapi *o, const struct resource *res,
				   const struct resource_version *v)
{
	const struct json *crd = crd_load(o->a, res->group, res->plural);
	const struct json *version =
		json_find_by(json_at(crd, "spec.versions"), "name", v->version);
	const struct json *have = json_at(version, "schema.openAPIV3Schema");
	struct json *j, *props;

	if (!have || (o->v2 && schema_flag(have, "x-kubernetes-preserve-unknown-fields"))) {
		j = json_object(o->a);
		json_set_str(o->a, j, "type", STR("object"));
	} else {
		j = json_copy(o->a, have);
		openapi_unfold(o, j);
		props = json_sub(o->a, j, "properties");
		openapi_type_meta(o, props);
		json_set(o->a, props, "metadata",
			 openapi_ref(o, STR(OPENAPI_META_V1 "ObjectMeta"), METADATA_TEXT));
	}
	openapi_add_extensions(o, j, res, v, res->kind);
	return j;
}

struct json *openapi_list_schema(struct openapi *o, const struct resource *res,
				 const struct resource_version *v, struct str type)
{
	struct json *j = json_object(o->a), *props, *items;

	json_set(o->a, j, "description",
		 json_strf(o->a, STR_FMT " is a list of " STR_FMT, STR_ARG(res->list_kind),
			   STR_ARG(res->kind)));
	json_set_str(o->a, j, "type", STR("object"));
	json_push(json_sub_array(o->a, j, "required"), json_strz(o->a, "items"));
	props = json_sub(o->a, j, "properties");
	openapi_type_meta(o, props);
	items = json_sub(o->a, props, "items");
	json_set(o->a, items, "description",
		 json_strf(o->a, "List of " STR_FMT ".", STR_ARG(res->plural)));
	json_set_str(o->a, items, "type", STR("array"));
	json_set(o->a, items, "items", openapi_ref(o, type, NULL));
	json_set(o->a, props, "metadata",
		 openapi_ref(o, STR(OPENAPI_META_V1 "ListMeta"), "Standard list metadata."));
	openapi_add_extensions(o, j, res, v, res->list_kind);
	return j;
}
