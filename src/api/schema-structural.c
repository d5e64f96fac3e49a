/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What makes a CRD's schema structural: every node has a type, and the logical junctors (allOf,
 * anyOf, oneOf, not) only constrain values that the skeleton around them describes.
 */

#include "api/schema-internal.h"

#include "api/regex.h"
#include "base/arena.h"
#include "base/err.h"

/* Checking and validating recurse, on stacks of 64 KB. */
#define STRUCTURAL_MAX_DEPTH 64

struct structural {
	struct arena *a;
	struct err **e;
};

enum structural_place {
	PLACE_ROOT,
	PLACE_FIELD,
	PLACE_ITEM,
};

static void structural_required(const struct structural *c, struct str path, const char *text)
{
	schema_cause(c->e, path, "FieldValueRequired",
		     text ? arena_fmt(c->a, "Required value: %s", text) : STR("Required value"));
}

static void structural_forbidden(const struct structural *c, struct str path, const char *text)
{
	schema_cause(c->e, path, "FieldValueForbidden", arena_fmt(c->a, "Forbidden: %s", text));
}

static struct str structural_sub(const struct structural *c, struct str path, const char *name)
{
	return schema_path_member(c->a, path, str_from(name));
}

static struct str structural_prop(const struct structural *c, struct str path, struct str name)
{
	return arena_fmt(c->a, STR_FMT ".properties[" STR_FMT "]", STR_ARG(path), STR_ARG(name));
}

static struct str structural_branch(const struct structural *c, struct str path,
				    const char *junctor, size_t i)
{
	return arena_fmt(c->a, STR_FMT ".%s[%zu]", STR_ARG(path), junctor, i);
}

static bool structural_flag(const struct json *j, const char *key)
{
	return json_as_bool(json_get(j, key), false);
}

/* ---- keywords that no node may have */

static void structural_unsupported(const struct structural *c, const struct json *j,
				   struct str path)
{
	static const char *const words[] = {
		"definitions",       "dependencies",    "deprecated", "discriminator", "id",
		"patternProperties", "additionalItems", "readOnly",   "writeOnly",     "xml"
	};
	const struct json *v;

	if (json_as_str(json_get(j, "$ref")).n)
		structural_forbidden(c, structural_sub(c, path, "$ref"), "$ref is not supported");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (json_get(j, words[i]))
			structural_forbidden(c, structural_sub(c, path, words[i]),
					     arena_fmt(c->a, "%s is not supported", words[i]).p);
	if (structural_flag(j, "uniqueItems"))
		structural_forbidden(c, structural_sub(c, path, "uniqueItems"),
				     "uniqueItems cannot be set to true since the runtime "
				     "complexity becomes quadratic");
	v = json_get(j, "x-kubernetes-preserve-unknown-fields");
	if (v && json_is(v, JSON_BOOL) && !json_as_bool(v, true))
		schema_cause_invalid(
			c->a, c->e, structural_sub(c, path, "x-kubernetes-preserve-unknown-fields"),
			v, STR("must be true or undefined"));
	if (json_is(json_get(j, "items"), JSON_ARRAY))
		structural_forbidden(c, structural_sub(c, path, "items"),
				     "items must be a schema object and not an array");
}

static void structural_pattern(const struct structural *c, const struct json *j, struct str path)
{
	struct str pattern = json_as_str(json_get(j, "pattern")), why = STR_EMPTY;
	struct regex *r;

	if (!pattern.n)
		return;
	r = regex_new(pattern, c->a, &why);
	if (!r)
		schema_cause_invalid(
			c->a, c->e, structural_sub(c, path, "pattern"), json_get(j, "pattern"),
			arena_fmt(c->a, "must be a valid regular expression, but isn't: " STR_FMT,
				  STR_ARG(why)));
	regex_free(r);
}

/* ---- inside allOf, anyOf, oneOf and not */

static void structural_value(const struct structural *c, const struct json *j,
			     const struct json *skeleton, struct str path, struct str skeleton_path,
			     int depth);

static bool structural_is_int_or_string(const struct json *j)
{
	/* the one use of type inside anyOf that is allowed */
	return structural_flag(j, "x-kubernetes-int-or-string");
}

static void structural_value_words(const struct structural *c, const struct json *j,
				   struct str path)
{
	static const char *const forbidden[] = { "type", "additionalProperties", "default", "title",
						 "description" };
	static const char *const extensions[] = { "nullable",
						  "x-kubernetes-preserve-unknown-fields",
						  "x-kubernetes-embedded-resource",
						  "x-kubernetes-int-or-string" };
	static const char *const texts[] = { "x-kubernetes-list-type", "x-kubernetes-map-type",
					     "x-kubernetes-list-map-keys" };

	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
		if (json_get(j, forbidden[i]))
			structural_forbidden(c, structural_sub(c, path, forbidden[i]),
					     i == 1 || i == 2 ? "must be undefined to be structural"
							      : "must be empty to be structural");
	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		if (structural_flag(j, extensions[i]))
			structural_forbidden(c, structural_sub(c, path, extensions[i]),
					     "must be false to be structural");
	if (json_len(json_get(j, "x-kubernetes-validations")))
		structural_forbidden(c, structural_sub(c, path, "x-kubernetes-validations"),
				     "must be empty to be structural");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (json_get(j, texts[i]))
			structural_forbidden(c, structural_sub(c, path, texts[i]),
					     "must be undefined to be structural");
}

static void structural_junctors(const struct structural *c, const struct json *j,
				const struct json *skeleton, struct str path, struct str sk_path,
				int depth)
{
	static const char *const junctors[] = { "allOf", "anyOf", "oneOf" };

	for (size_t i = 0; i < ARRAY_LEN(junctors); i++) {
		if (i == 1 && structural_is_int_or_string(j))
			continue;
		json_for_each(it, json_get(j, junctors[i])) structural_value(
			c, it.val, skeleton, structural_branch(c, path, junctors[i], it.i), sk_path,
			depth + 1);
	}
	if (json_get(j, "not"))
		structural_value(c, json_get(j, "not"), skeleton, structural_sub(c, path, "not"),
				 sk_path, depth + 1);
}

static void structural_value(const struct structural *c, const struct json *j,
			     const struct json *skeleton, struct str path, struct str skeleton_path,
			     int depth)
{
	const struct json *props = json_get(j, "properties"), *items = json_get(j, "items");

	if (depth > STRUCTURAL_MAX_DEPTH)
		return;
	structural_value_words(c, j, path);
	structural_unsupported(c, j, path);
	structural_pattern(c, j, path);
	json_for_each(it, props)
	{
		const struct json *have = json_get_s(json_get(skeleton, "properties"), it.key);
		struct str sub = structural_prop(c, skeleton_path, it.key);

		if (!have)
			structural_required(c, sub,
					    arena_fmt(c->a, "because it is defined in " STR_FMT,
						      STR_ARG(structural_prop(c, path, it.key)))
						    .p);
		else
			structural_value(c, it.val, have, structural_prop(c, path, it.key), sub,
					 depth + 1);
	}
	if (items) {
		const struct json *have = json_get(skeleton, "items");
		struct str sub = structural_sub(c, skeleton_path, "items");

		if (!have)
			structural_required(c, sub,
					    arena_fmt(c->a, "because it is defined in " STR_FMT,
						      STR_ARG(structural_sub(c, path, "items")))
						    .p);
		else
			structural_value(c, items, have, structural_sub(c, path, "items"), sub,
					 depth + 1);
	}
	structural_junctors(c, j, skeleton, path, skeleton_path, depth);
}

/* ---- the skeleton */

static void structural_type(const struct structural *c, const struct json *j, struct str path,
			    enum structural_place place)
{
	static const char *const missing[] = {
		[PLACE_ROOT] = "must not be empty at the root",
		[PLACE_FIELD] = "must not be empty for specified object fields",
		[PLACE_ITEM] = "must not be empty for specified array items",
	};
	static const char *const types[] = { "array",  "boolean", "integer",
					     "number", "object",  "string" };
	struct str type = json_as_str(json_get(j, "type")), at = structural_sub(c, path, "type");
	size_t i = 0;

	if (!type.n) {
		if (place == PLACE_ROOT ||
		    (!structural_flag(j, "x-kubernetes-int-or-string") &&
		     !structural_flag(j, "x-kubernetes-preserve-unknown-fields")))
			structural_required(c, at, missing[place]);
		return;
	}
	while (i < ARRAY_LEN(types) && !str_eqz(type, types[i]))
		i++;
	if (i == ARRAY_LEN(types))
		schema_cause(c->e, at, "FieldValueNotSupported",
			     arena_fmt(c->a,
				       "Unsupported value: " STR_FMT
				       ": supported values: \"array\", \"boolean\", \"integer\", "
				       "\"number\", \"object\", \"string\"",
				       STR_ARG(json_text(c->a, json_get(j, "type")))));
	else if (place == PLACE_ROOT && !str_eqz(type, "object"))
		schema_cause_invalid(c->a, c->e, at, json_get(j, "type"),
				     STR("must be object at the root"));
	if (structural_flag(j, "x-kubernetes-int-or-string"))
		schema_cause_invalid(c->a, c->e, at, json_get(j, "type"),
				     STR("must be empty if x-kubernetes-int-or-string is true"));
	if (structural_flag(j, "x-kubernetes-embedded-resource") && !str_eqz(type, "object"))
		schema_cause_invalid(
			c->a, c->e, at, json_get(j, "type"),
			STR("must be object if x-kubernetes-embedded-resource is true"));
}

static void structural_list(const struct structural *c, const struct json *j, struct str path)
{
	const struct json *keys = json_get(j, "x-kubernetes-list-map-keys");
	const struct json *items = json_get(j, "items"), *props = json_get(items, "properties");
	const struct json *type = json_get(j, "x-kubernetes-list-type");
	struct str kind = json_as_str(type);
	struct str keys_at = structural_sub(c, path, "x-kubernetes-list-map-keys");

	if (type && !str_eqz(kind, "atomic") && !str_eqz(kind, "set") && !str_eqz(kind, "map"))
		schema_cause(c->e, structural_sub(c, path, "x-kubernetes-list-type"),
			     "FieldValueNotSupported",
			     arena_fmt(c->a,
				       "Unsupported value: " STR_FMT
				       ": supported values: \"atomic\", \"map\", \"set\"",
				       STR_ARG(json_text(c->a, type))));
	if (type && !str_eqz(json_as_str(json_get(j, "type")), "array"))
		schema_cause_invalid(c->a, c->e, structural_sub(c, path, "type"),
				     json_get(j, "type"),
				     STR("must be array if x-kubernetes-list-type is specified"));
	if (!str_eqz(kind, "map"))
		return;
	if (!json_len(keys))
		structural_required(c, keys_at,
				    "must not be empty if x-kubernetes-list-type is map");
	json_for_each(it, keys)
	{
		const struct json *p = json_get_s(props, json_as_str(it.val));
		bool required = json_get(p, "default");

		if (!p) {
			schema_cause_invalid(c->a, c->e, schema_path_index(c->a, keys_at, it.i),
					     it.val,
					     STR("entries must all be names of item properties"));
			continue;
		}
		json_for_each(r, json_get(items, "required")) required |= json_equal(r.val, it.val);
		if (!required)
			structural_required(
				c,
				structural_sub(c,
					       structural_prop(c, structural_sub(c, path, "items"),
							       json_as_str(it.val)),
					       "default"),
				"this property is in x-kubernetes-list-map-keys, so it must have a "
				"default or be a required property");
	}
}

static void structural_embedded(const struct structural *c, const struct json *j, struct str path)
{
	if (!structural_flag(j, "x-kubernetes-embedded-resource") ||
	    structural_flag(j, "x-kubernetes-preserve-unknown-fields"))
		return;
	if (!json_len(json_get(j, "properties")))
		structural_required(c, structural_sub(c, path, "properties"),
				    "must not be empty if x-kubernetes-embedded-resource is true "
				    "without x-kubernetes-preserve-unknown-fields");
}

static void structural_metadata(const struct structural *c, const struct json *j, struct str path)
{
	const struct json *meta = json_get(json_get(j, "properties"), "metadata");
	struct str at = structural_prop(c, path, STR("metadata"));

	if (str_eqz(json_as_str(json_get(meta, "type")), "object") || !meta) {
		bool bad = false;

		json_for_each(it, json_get(meta, "properties")) bad |=
			!str_eqz(it.key, "name") && !str_eqz(it.key, "generateName");
		if (bad)
			structural_forbidden(c, at,
					     "must not specify anything other than name and "
					     "generateName, but metadata is implicitly specified");
		return;
	}
	schema_cause_invalid(c->a, c->e, structural_sub(c, at, "type"), json_get(meta, "type"),
			     STR("must be object"));
}

static void structural_node(const struct structural *c, const struct json *j, struct str path,
			    enum structural_place place, int depth)
{
	const struct json *props = json_get(j, "properties"), *more, *items = json_get(j, "items");
	struct str type = json_as_str(json_get(j, "type"));

	if (depth > STRUCTURAL_MAX_DEPTH) {
		structural_forbidden(c, path, "the schema is nested too deeply");
		return;
	}
	structural_unsupported(c, j, path);
	structural_pattern(c, j, path);
	structural_type(c, j, path, place);
	structural_list(c, j, path);
	structural_embedded(c, j, path);
	if (place == PLACE_ROOT || structural_flag(j, "x-kubernetes-embedded-resource"))
		structural_metadata(c, j, path);
	if (place == PLACE_ROOT && structural_flag(j, "nullable"))
		structural_forbidden(c, structural_sub(c, path, "nullable"),
				     "nullable cannot be true at the root");
	more = json_get(j, "additionalProperties");
	if (json_len(props) && more && (json_is(more, JSON_OBJECT) || json_as_bool(more, false)))
		structural_forbidden(c, structural_sub(c, path, "additionalProperties"),
				     "additionalProperties and properties are mutual exclusive");
	else if (more &&
		 (place == PLACE_ROOT || structural_flag(j, "x-kubernetes-embedded-resource")))
		structural_forbidden(
			c, structural_sub(c, path, "additionalProperties"),
			place == PLACE_ROOT
				? "must not be used at the root"
				: "must not be used if x-kubernetes-embedded-resource is set");
	if (str_eqz(type, "array") && !items)
		structural_required(c, structural_sub(c, path, "items"), "must be specified");
	json_for_each(it, props) structural_node(c, it.val, structural_prop(c, path, it.key),
						 PLACE_FIELD, depth + 1);
	if (json_is(more, JSON_OBJECT))
		structural_node(c, more, structural_sub(c, path, "additionalProperties"),
				PLACE_FIELD, depth + 1);
	if (json_is(items, JSON_OBJECT))
		structural_node(c, items, structural_sub(c, path, "items"), PLACE_ITEM, depth + 1);
	structural_junctors(c, j, j, path, path, depth);
}

/* ---- defaults, once the skeleton stands */

static void structural_default(const struct structural *c, struct schema_root *root,
			       const struct json *j, struct str path)
{
	const struct json *d = json_get(j, "default");
	struct str at = structural_sub(c, path, "default");
	struct json *copy, *unknown;

	if (d && json_type(d) != JSON_NULL) {
		const struct schema *s = schema_build(root, j);
		_cleanup_err_ struct err *e = NULL;

		copy = json_copy(c->a, d);
		unknown = json_array(c->a);
		schema_prune(c->a, s, copy, unknown);
		if (json_len(unknown))
			schema_cause_invalid(c->a, c->e, at, d,
					     STR("must not have unknown fields"));
		schema_default(c->a, s, copy);
		schema_validate(c->a, s, copy, STR_EMPTY, &e);
		for (size_t i = 0; e && i < err_n_causes(e); i++) {
			struct err_cause x = err_get_cause(e, i);

			err_add_cause(*c->e ? *c->e : (*c->e = err_new(ERR_INVALID, "invalid")),
				      x.field.n ? schema_path_member(c->a, at, x.field) : at,
				      x.reason, x.message);
		}
	}
	json_for_each(it, json_get(j, "properties"))
		structural_default(c, root, it.val, structural_prop(c, path, it.key));
	if (json_is(json_get(j, "additionalProperties"), JSON_OBJECT))
		structural_default(c, root, json_get(j, "additionalProperties"),
				   structural_sub(c, path, "additionalProperties"));
	if (json_is(json_get(j, "items"), JSON_OBJECT))
		structural_default(c, root, json_get(j, "items"), structural_sub(c, path, "items"));
}

void schema_check_structural(struct arena *a, const struct json *j, struct str path, struct err **e)
{
	const struct structural c = { .a = a, .e = e };
	struct schema_root root = { .arena = a };

	if (!json_is(j, JSON_OBJECT)) {
		structural_required(&c, path, NULL);
		return;
	}
	structural_node(&c, j, path, PLACE_ROOT, 0);
	if (!*e)
		structural_default(&c, &root, j, path);
}
