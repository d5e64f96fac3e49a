/* SPDX-License-Identifier: Apache-2.0 */

/* From JSON to struct schema, and the registry of the built-in types. */

#include "api/schema-internal.h"

#include <stdlib.h>

#include "api/cel-rules.h"
#include "api/regex.h"
#include "api/schema-data.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

#define REF_PREFIX       STR("#/components/schemas/")
#define OBJECT_META_TYPE STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")

static const struct {
	struct str name;
	uint8_t bit;
} schema_types[] = {
	{ STR_INIT("object"), SCHEMA_T_OBJECT }, { STR_INIT("array"), SCHEMA_T_ARRAY },
	{ STR_INIT("string"), SCHEMA_T_STRING }, { STR_INIT("integer"), SCHEMA_T_INTEGER },
	{ STR_INIT("number"), SCHEMA_T_NUMBER }, { STR_INIT("boolean"), SCHEMA_T_BOOLEAN },
};

static const char *const schema_checks[SCHEMA_C_N_] = {
	[SCHEMA_C_NONE] = "",
	[SCHEMA_C_PORT] = "port",
	[SCHEMA_C_PORT_OR_ZERO] = "port-or-zero",
	[SCHEMA_C_NONNEGATIVE] = "nonnegative",
	[SCHEMA_C_POSITIVE] = "positive",
	[SCHEMA_C_DNS_LABEL] = "dns-label",
	[SCHEMA_C_DNS_SUBDOMAIN] = "dns-subdomain",
	[SCHEMA_C_PORT_NAME] = "port-name",
};

static const struct schema_rules schema_no_rules = {
	.min_length = -1,
	.max_length = -1,
	.min_items = -1,
	.max_items = -1,
	.min_props = -1,
	.max_props = -1,
};

/* ---- small parts */

static uint8_t schema_type_bits(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(schema_types); i++)
		if (str_eq(name, schema_types[i].name))
			return schema_types[i].bit;
	return 0;
}

static uint8_t schema_check_find(struct str name)
{
	for (uint8_t i = 1; i < SCHEMA_C_N_; i++)
		if (str_eqz(name, schema_checks[i]))
			return i;
	return SCHEMA_C_NONE;
}

static const struct str *schema_strings(struct arena *a, const struct json *arr, size_t *ret_n)
{
	size_t n = json_len(arr), k = 0;
	struct str *v;

	*ret_n = n;
	if (!n)
		return NULL;
	v = arena_array(a, n, sizeof(*v));
	json_for_each(it, arr) v[k++] = arena_str(a, json_as_str(it.val));
	return v;
}

static const struct schema **schema_branches(struct schema_root *root, const struct json *arr,
					     size_t *ret_n)
{
	size_t n = json_len(arr), k = 0;
	const struct schema **v;

	*ret_n = n;
	if (!n)
		return NULL;
	v = arena_array(root->arena, n, sizeof(*v));
	json_for_each(it, arr) v[k++] = schema_build(root, it.val);
	return v;
}

static void schema_regex_free(void *p)
{
	regex_free(p);
}

/* ---- rules */

static void schema_build_numbers(struct schema_rules *r, const struct json *j)
{
	const struct json *v;

	if ((v = json_get(j, "minimum"))) {
		r->has_min = true;
		r->min = json_as_real(v, 0);
	}
	if ((v = json_get(j, "maximum"))) {
		r->has_max = true;
		r->max = json_as_real(v, 0);
	}
	if ((v = json_get(j, "multipleOf"))) {
		r->has_multiple = true;
		r->multiple = json_as_real(v, 1);
	}
	r->exclusive_min = json_as_bool(json_get(j, "exclusiveMinimum"), false);
	r->exclusive_max = json_as_bool(json_get(j, "exclusiveMaximum"), false);
	r->min_length = json_as_int(json_get(j, "minLength"), -1);
	r->max_length = json_as_int(json_get(j, "maxLength"), -1);
	r->min_items = json_as_int(json_get(j, "minItems"), -1);
	r->max_items = json_as_int(json_get(j, "maxItems"), -1);
	r->min_props = json_as_int(json_get(j, "minProperties"), -1);
	r->max_props = json_as_int(json_get(j, "maxProperties"), -1);
}

static void schema_build_patch(struct schema_rules *r, struct arena *a, const struct json *j)
{
	struct str strategy = json_as_str(json_get(j, "x-kubernetes-patch-strategy")), one;

	r->merge_key = arena_str(a, json_as_str(json_get(j, "x-kubernetes-patch-merge-key")));
	while (str_split_next(&strategy, ',', &one)) {
		r->merge |= str_eqz(one, "merge");
		r->retain_keys |= str_eqz(one, "retainKeys");
	}
}

/* The value of a member that Go would always write: its zero. */
static struct json *schema_zero(struct arena *a, const struct json *prop)
{
	struct str type = json_as_str(json_get(prop, "type"));

	if (str_eqz(type, "string"))
		return json_strz(a, "");
	if (str_eqz(type, "boolean"))
		return json_bool(a, false);
	if (str_eqz(type, "integer"))
		return json_int(a, 0);
	return NULL;
}

/* A struct that typed clients hold by value: there even when it is empty. */
static bool schema_kept_struct(const struct json *prop)
{
	static const char *const leaves[] = { ".Time",        ".MicroTime",    ".Quantity",
					      ".IntOrString", ".RawExtension", ".FieldsV1",
					      ".JSON",        ".Duration" };
	struct str ref = json_as_str(json_get(prop, "$ref"));

	if (!ref.n || !str_eqz(json_as_str(json_get(prop, "x-isoplane-zero")), "kept"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
		if (str_has_suffix(ref, str_from(leaves[i])))
			return false;
	}
	return true;
}

static void schema_build_fills(struct schema_root *root, struct schema_rules *r,
			       const struct json *j)
{
	const struct json *props = json_get(j, "properties");
	struct arena *a = root->arena;
	struct schema_fill *fills;
	size_t n = 0;

	if (!json_len(props))
		return;
	fills = arena_array(a, json_len(props), sizeof(*fills));
	json_for_each(it, props)
	{
		const struct json *d = json_get(it.val, "default");

		fills[n].name = arena_str(a, it.key);
		if (d && json_type(d) != JSON_NULL)
			fills[n++].val = json_copy(a, d);
		else if (root->builtin && schema_kept_struct(it.val))
			fills[n++].val = json_object(a);
	}
	for (size_t i = 0; root->builtin && i < r->n_required; i++) {
		const struct json *p = json_get_s(props, r->required[i]);
		struct json *zero = schema_zero(a, p);

		if (zero && !json_get(p, "default"))
			fills[n++] = (struct schema_fill){ r->required[i], zero };
	}
	r->fills = n ? fills : NULL;
	r->n_fills = n;
}

static bool schema_has_rules(const struct json *j)
{
	static const char *const plain[] = { "type",
					     "format",
					     "properties",
					     "items",
					     "$ref",
					     "description",
					     "additionalProperties",
					     "nullable",
					     "x-kubernetes-group-version-kind",
					     "x-kubernetes-list-type",
					     "x-kubernetes-map-type",
					     "x-kubernetes-int-or-string",
					     "x-kubernetes-embedded-resource",
					     "x-kubernetes-preserve-unknown-fields",
					     "x-isoplane-check",
					     "x-isoplane-lenient",
					     "x-isoplane-proto",
					     "x-isoplane-zero" };

	json_for_each(it, j)
	{
		size_t i = 0;

		while (i < ARRAY_LEN(plain) && !str_eqz(it.key, plain[i]))
			i++;
		if (i == ARRAY_LEN(plain))
			return true;
	}
	json_for_each(it, json_get(j, "properties"))
	{
		if (json_get(it.val, "default") || schema_kept_struct(it.val))
			return true;
	}
	return false;
}

static const struct schema_rules *schema_build_rules(struct schema_root *root, const struct json *j)
{
	struct arena *a = root->arena;
	struct schema_rules *r;
	const struct json *v;

	if (!schema_has_rules(j))
		return &schema_no_rules;
	r = arena_new_obj(a, struct schema_rules);
	schema_build_numbers(r, j);
	schema_build_patch(r, a, j);
	r->required = schema_strings(a, json_get(j, "required"), &r->n_required);
	schema_build_fills(root, r, j);
	if ((v = json_get(j, "default")))
		r->dflt = json_copy(a, v);
	if (json_is(v = json_get(j, "enum"), JSON_ARRAY))
		r->enumeration = json_copy(a, v);
	r->pattern = arena_str(a, json_as_str(json_get(j, "pattern")));
	if (r->pattern.n && (r->regex = regex_new(r->pattern, a, NULL)))
		arena_defer(a, schema_regex_free, r->regex);
	r->unique = arena_str(a, json_as_str(json_get(j, "x-isoplane-unique")));
	r->list_keys =
		schema_strings(a, json_get(j, "x-kubernetes-list-map-keys"), &r->n_list_keys);
	r->all_of = schema_branches(root, json_get(j, "allOf"), &r->n_all_of);
	r->any_of = schema_branches(root, json_get(j, "anyOf"), &r->n_any_of);
	r->one_of = schema_branches(root, json_get(j, "oneOf"), &r->n_one_of);
	if ((v = json_get(j, "not")))
		r->not_ = schema_build(root, v);
	return r;
}

/* ---- nodes */

static int schema_prop_cmp(const void *x, const void *y)
{
	const struct schema_prop *a = x, *b = y;

	return str_cmp(a->name, b->name);
}

static void schema_build_props(struct schema_root *root, struct schema *s, const struct json *j)
{
	const struct json *props = json_get(j, "properties"), *more;
	struct schema_prop *v;
	size_t n = 0;

	if (json_len(props)) {
		v = arena_array(root->arena, json_len(props), sizeof(*v));
		json_for_each(it, props)
		{
			v[n].name = arena_str(root->arena, it.key);
			v[n++].s = schema_build(root, it.val);
		}
		qsort(v, n, sizeof(*v), schema_prop_cmp);
		s->props = v;
		s->n_props = n;
	}
	more = json_get(j, "additionalProperties");
	if (json_is(more, JSON_OBJECT))
		s->additional = schema_build(root, more);
	s->additional_any = json_as_bool(more, false);
	if (json_is(json_get(j, "items"), JSON_OBJECT))
		s->items = schema_build(root, json_get(j, "items"));
}

const struct schema *schema_build(struct schema_root *root, const struct json *j)
{
	struct schema *s = arena_new_obj(root->arena, struct schema);
	struct str ref = json_as_str(json_get(j, "$ref"));
	struct str list = json_as_str(json_get(j, "x-kubernetes-list-type"));

	s->root = root;
	s->is_ref = str_strip_prefix(&ref, REF_PREFIX);
	if (s->is_ref)
		s->type_name = arena_str(root->arena, ref);
	s->types = schema_type_bits(json_as_str(json_get(j, "type")));
	s->format = (uint8_t)schema_format_find(json_as_str(json_get(j, "format")));
	s->check = schema_check_find(json_as_str(json_get(j, "x-isoplane-check")));
	s->nullable = json_as_bool(json_get(j, "nullable"), false);
	s->preserve = json_as_bool(json_get(j, "x-kubernetes-preserve-unknown-fields"), false);
	s->embedded = json_as_bool(json_get(j, "x-kubernetes-embedded-resource"), false);
	s->int_or_string = json_as_bool(json_get(j, "x-kubernetes-int-or-string"), false);
	s->lenient = json_as_bool(json_get(j, "x-isoplane-lenient"), false);
	s->list_set = str_eqz(list, "set");
	s->list_map = str_eqz(list, "map");
	s->map_atomic = str_eqz(json_as_str(json_get(j, "x-kubernetes-map-type")), "atomic");
	s->zero_kept = str_eqz(json_as_str(json_get(j, "x-isoplane-zero")), "kept");
	s->zero_absent = str_eqz(json_as_str(json_get(j, "x-isoplane-zero")), "absent");
	schema_build_props(root, s, j);
	s->rules = schema_build_rules(root, j);
	return s;
}

/* ---- whole schemas */

static struct schema_root *schema_root_new(struct schema_registry *reg, bool builtin)
{
	struct arena *a = arena_new();
	struct schema_root *root = arena_new_obj(a, struct schema_root);

	root->refs = 1;
	root->arena = a;
	root->registry = reg;
	root->builtin = builtin;
	return root;
}

/* metadata of a CRD's root, and of embedded resources, is ObjectMeta; the rest constrains it. */
static const struct schema_prop *schema_implied_props(struct schema_root *root,
						      const struct schema *s, size_t *ret_n)
{
	static const struct str names[] = { STR_INIT("apiVersion"), STR_INIT("kind"),
					    STR_INIT("metadata") };
	struct schema_prop *v = arena_array(root->arena, s->n_props + 3, sizeof(*v));
	size_t n = s->n_props;

	if (n)
		memcpy(v, s->props, n * sizeof(*v));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct schema *p = arena_new_obj(root->arena, struct schema);
		struct schema_prop *old = NULL;

		p->root = root;
		p->rules = &schema_no_rules;
		p->types = SCHEMA_T_STRING;
		if (i == 2) {
			p->types = 0;
			p->is_ref = true;
			p->type_name = OBJECT_META_TYPE;
		}
		for (size_t k = 0; k < n; k++)
			if (str_eq(v[k].name, names[i]))
				old = &v[k];
		if (old && i < 2)
			continue;
		if (!old)
			old = &v[n++];
		else if (old->s->n_props) {
			struct schema_rules *r = arena_new_obj(root->arena, struct schema_rules);

			*r = schema_no_rules;
			r->meta = old->s;
			p->rules = r;
		}
		*old = (struct schema_prop){ names[i], p };
	}
	qsort(v, n, sizeof(*v), schema_prop_cmp);
	*ret_n = n;
	return v;
}

/* Nodes are shared by nobody else yet: the only place that takes their const away. */
static struct schema *schema_own(const struct schema *s)
{
	union {
		const struct schema *c;
		struct schema *m;
	} u = { .c = s };

	return u.m;
}

static void schema_imply(struct schema_root *root, struct schema *s)
{
	if (s->embedded || s->is_root)
		s->props = schema_implied_props(root, s, &s->n_props);
	for (size_t i = 0; i < s->n_props; i++)
		if (!s->props[i].s->is_ref)
			schema_imply(root, schema_own(s->props[i].s));
	if (s->additional)
		schema_imply(root, schema_own(s->additional));
	if (s->items)
		schema_imply(root, schema_own(s->items));
}

struct err *schema_compile(struct schema_registry *builtin, const struct json *openapi,
			   struct str path, struct schema **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e = NULL;
	struct schema_root *root;
	struct schema *s;

	schema_check_structural(a, openapi, path, &e);
	if (e)
		return e;
	root = schema_root_new(builtin, false);
	s = schema_own(schema_build(root, openapi));
	s->is_root = true;
	schema_imply(root, s);
	*ret = s;
	return NULL;
}

const struct schema *schema_ref(const struct schema *s)
{
	s->root->refs++;
	return s;
}

const struct schema *schema_unref(const struct schema *s)
{
	if (s && --s->root->refs == 0) {
		cel_rules_free(s->root->rules);
		arena_free(s->root->arena);
	}
	return NULL;
}

/* ---- the registry */

struct schema_registry {
	const struct schema_text *texts;
	size_t n;
	const struct schema **compiled;
	struct schema_root *root;
	const struct json **trees;
};

struct schema_registry *schema_registry_new(const struct schema_text *texts, size_t n)
{
	struct schema_registry *r = mem_new(struct schema_registry);

	r->texts = texts;
	r->n = n;
	r->compiled = mem_zalloc(n ? n : 1, sizeof(*r->compiled));
	r->trees = mem_zalloc(n ? n : 1, sizeof(*r->trees));
	r->root = schema_root_new(r, true);
	return r;
}

struct schema_registry *schema_registry_builtin(void)
{
	return schema_registry_new(schema_texts, schema_n_texts);
}

struct schema_registry *schema_registry_free(struct schema_registry *r)
{
	if (!r)
		return NULL;
	arena_free(r->root->arena);
	free(r->compiled);
	free(r->trees);
	free(r);
	return NULL;
}

static bool schema_registry_index(const struct schema_registry *r, struct str type, size_t *ret)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = str_cmp(r->texts[mid].name, type);

		if (c == 0) {
			*ret = mid;
			return true;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

const struct schema *schema_registry_find(struct schema_registry *r, struct str type)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct json *j = NULL;
	struct schema *s;
	struct err *e;
	size_t i;

	if (!schema_registry_index(r, type, &i))
		return NULL;
	if (r->compiled[i])
		return r->compiled[i];
	a = arena_new();
	e = json_parse(a, r->texts[i].json, &j);
	ASSERT(!e); /* written by the build */
	s = schema_own(schema_build(r->root, j));
	s->type_name = r->texts[i].name;
	/* whose bytes are somebody else's */
	s->map_atomic |= str_has_suffix(s->type_name, STR(".RawExtension"));
	r->compiled[i] = s;
	return s;
}

struct str schema_registry_text(const struct schema_registry *r, struct str type)
{
	size_t i;

	return schema_registry_index(r, type, &i) ? r->texts[i].json : STR_EMPTY;
}

const struct json *schema_registry_tree(struct schema_registry *r, struct str type)
{
	struct json *j = NULL;
	struct err *e;
	size_t i;

	if (!schema_registry_index(r, type, &i))
		return NULL;
	if (r->trees[i])
		return r->trees[i];
	e = json_parse(r->root->arena, r->texts[i].json, &j);
	ASSERT(!e);
	return r->trees[i] = j;
}

/* ---- walking */

const struct schema *schema_deref(const struct schema *s)
{
	while (s && s->is_ref) {
		if (!s->target && s->root->registry)
			schema_own(s)->target =
				schema_registry_find(s->root->registry, s->type_name);
		if (!s->target)
			return NULL;
		s = s->target;
	}
	return s;
}

const struct schema *schema_prop_find(const struct schema *s, struct str name)
{
	size_t lo = 0, hi = s->n_props;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = str_cmp(s->props[mid].name, name);

		if (c == 0)
			return s->props[mid].s;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct schema *schema_property(const struct schema *s, struct str name)
{
	const struct schema *p;

	s = schema_deref(s);
	if (!s)
		return NULL;
	p = schema_prop_find(s, name);
	return p ? p : s->additional;
}

const struct schema *schema_items(const struct schema *s)
{
	s = schema_deref(s);
	return s ? s->items : NULL;
}

enum schema_list schema_list_type(const struct schema *s)
{
	if (!s)
		return SCHEMA_LIST_ATOMIC;
	return s->list_map ? SCHEMA_LIST_MAP : s->list_set ? SCHEMA_LIST_SET : SCHEMA_LIST_ATOMIC;
}

const struct str *schema_list_keys(const struct schema *s, size_t *ret_n)
{
	*ret_n = s ? s->rules->n_list_keys : 0;
	return s ? s->rules->list_keys : NULL;
}

bool schema_map_atomic(const struct schema *s)
{
	const struct schema *t = schema_deref(s);

	return (s && s->map_atomic) || (t && t->map_atomic);
}

bool schema_keeps_unknown(const struct schema *s)
{
	s = schema_deref(s);
	return !s || s->preserve;
}
