/* SPDX-License-Identifier: Apache-2.0 */

/* Environments: variables, the types of schemas, and the functions there are. */

#include "api/cel-names.h"
#include "api/cel-node.h"
#include "api/schema-internal.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"

/* what a request may have at most, as upstream counts it */
#define CEL_MAX_REQUEST INT64_C(3145728)

/* ---- functions */

static const struct cel_fn_row *const libraries[] = {
	cel_lib_operators, cel_lib_standard, cel_lib_time,  cel_lib_strings,  cel_lib_regex,
	cel_lib_lists,     cel_lib_sets,     cel_lib_net,   cel_lib_url,      cel_lib_quantity,
	cel_lib_semver,    cel_lib_format,   cel_lib_authz, cel_lib_optional, cel_lib_patch,
};

static size_t cel_fn_count(const char *sigs)
{
	size_t n = 1;

	for (; *sigs; sigs++)
		n += *sigs == ' ';
	return n;
}

static void cel_overload_parse(const char **p, struct cel_overload *o)
{
	const char *start = *p;

	o->member = **p == '.';
	if (o->member)
		(*p)++;
	while (**p != '>')
		o->args[o->n_args++] = cel_type_of_sig(p);
	(*p)++;
	o->result = cel_type_of_sig(p);
	for (; start < *p; start++)
		o->params |= *start == 'A' || *start == 'B';
}

static struct cel_fn *cel_fn_new(const struct cel_fn_row *row)
{
	struct arena *a = cel_static_arena();
	struct cel_fn *f = arena_new_obj(a, struct cel_fn);
	struct cel_overload *o = arena_array(a, cel_fn_count(row->sigs), sizeof(*o));
	const char *p = row->sigs;

	f->row = row;
	f->name = str_from(row->name);
	f->overloads = o;
	for (;; p++) {
		cel_overload_parse(&p, &o[f->n_overloads++]);
		if (!*p)
			break;
	}
	ASSERT(f->n_overloads <= 64);
	return f;
}

const struct cel_fn *cel_fn_find(struct str name)
{
	static struct map fns;

	if (!fns.n)
		for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
			for (const struct cel_fn_row *r = libraries[i]; r->name; r++) {
				struct cel_fn *f = cel_fn_new(r);

				f->patch_only = libraries[i] == cel_lib_patch;
				ASSERT(!map_put(&fns, f->name, f));
			}
	return map_find(&fns, name);
}

/* ---- names of properties */

static const struct {
	const char *plain, *escaped;
} escapes[] = {
	{ "__", "__underscores__" },
	{ ".", "__dot__" },
	{ "-", "__dash__" },
	{ "/", "__slash__" },
};

static const char *const keywords[] = { "true",     "false",     "null",     "in",   "as",
					"break",    "const",     "continue", "else", "for",
					"function", "if",        "import",   "let",  "loop",
					"package",  "namespace", "return",   "var",  "void",
					"while" };

static bool cel_keyword(struct str s)
{
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		if (str_eqz(s, keywords[i]))
			return true;
	return false;
}

bool cel_name_escape(struct arena *a, struct str name, struct str *ret)
{
	char *out;
	size_t n = 0;

	if (!name.n || (name.p[0] >= '0' && name.p[0] <= '9'))
		return false;
	if (cel_keyword(name)) {
		*ret = arena_fmt(a, "__" STR_FMT "__", STR_ARG(name));
		return true;
	}
	out = arena_alloc(a, name.n * 15 + 1);
	for (size_t i = 0; i < name.n;) {
		size_t k = 0;
		char c = name.p[i];

		for (; k < ARRAY_LEN(escapes); k++)
			if (str_has_prefix(str_skip(name, i), str_from(escapes[k].plain)))
				break;
		if (k < ARRAY_LEN(escapes)) {
			memcpy(out + n, escapes[k].escaped, strlen(escapes[k].escaped));
			n += strlen(escapes[k].escaped);
			i += strlen(escapes[k].plain);
			continue;
		}
		if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		      (c >= 'A' && c <= 'Z')))
			return false;
		out[n++] = c;
		i++;
	}
	*ret = str_make(out, n);
	return true;
}

bool cel_name_unescape(struct arena *a, struct str name, struct str *ret)
{
	struct str inner = name;
	char *out;
	size_t n = 0;

	if (!str_contains(name, STR("__"))) {
		*ret = name;
		return !cel_keyword(name);
	}
	if (str_strip_prefix(&inner, STR("__")) && str_strip_suffix(&inner, STR("__")) &&
	    cel_keyword(inner)) {
		*ret = inner;
		return true;
	}
	out = arena_alloc(a, name.n + 1);
	for (size_t i = 0; i < name.n;) {
		size_t k = 0;

		for (; k < ARRAY_LEN(escapes); k++)
			if (str_has_prefix(str_skip(name, i), str_from(escapes[k].escaped)))
				break;
		if (k < ARRAY_LEN(escapes)) {
			memcpy(out + n, escapes[k].plain, strlen(escapes[k].plain));
			n += strlen(escapes[k].plain);
			i += strlen(escapes[k].escaped);
			continue;
		}
		if (str_has_prefix(str_skip(name, i), STR("__")))
			return false;
		out[n++] = name.p[i++];
	}
	*ret = str_make(out, n);
	return true;
}

/* ---- types of schemas */

static struct cel_type *cel_type_sized(struct cel_env *e, enum cel_kind k, int64_t max)
{
	struct cel_type *t = arena_new_obj(e->arena, struct cel_type);

	t->kind = (uint8_t)k;
	t->has_max = true;
	t->max_elements = (uint64_t)MAX(max, 0);
	return t;
}

#define CEL_MIN_SIZE_DEPTH 16

/* The least that a value of the schema takes in JSON; -1 when it has no type here. */
static int64_t cel_schema_min_size(const struct schema *s, int depth)
{
	int64_t n = 2, m;

	s = schema_deref(s);
	if (s->int_or_string || depth > CEL_MIN_SIZE_DEPTH)
		return 1;
	if (s->types & SCHEMA_T_ARRAY)
		return s->items ? 2 : -1;
	if (s->types & SCHEMA_T_STRING) {
		if (s->format == SCHEMA_F_DURATION)
			return 3;
		if (s->format == SCHEMA_F_DATE)
			return 12;
		return s->format == SCHEMA_F_DATE_TIME ? 21 : 2;
	}
	if (s->types & SCHEMA_T_BOOLEAN)
		return 4;
	if (!(s->types & SCHEMA_T_OBJECT))
		return s->types ? 1 : -1;
	for (size_t i = 0; !s->additional && i < s->rules->n_required; i++) {
		const struct schema *p = schema_prop_find(s, s->rules->required[i]);

		if (!p || schema_deref(p)->rules->dflt)
			continue;
		m = cel_schema_min_size(p, depth + 1);
		if (m >= 0)
			n += (int64_t)s->rules->required[i].n + m + 4;
	}
	return n;
}

int64_t cel_schema_size(const struct schema *s)
{
	return cel_schema_min_size(s, 0);
}

static int64_t cel_schema_string_max(const struct schema *s)
{
	int64_t n = 0;

	if (s->rules->max_length >= 0)
		return s->rules->max_length > INT64_MAX / 4 ? INT64_MAX : s->rules->max_length * 4;
	if (s->rules->enumeration && json_len(s->rules->enumeration)) {
		json_for_each(it, s->rules->enumeration) n = MAX(n, (int64_t)json_as_str(it.val).n);
		return n;
	}
	return CEL_MAX_REQUEST - 2;
}

static const struct cel_type *cel_type_of_string(struct cel_env *e, const struct schema *s)
{
	switch (s->format) {
	case SCHEMA_F_BYTE:
		return cel_type_sized(e, CEL_BYTES,
				      s->rules->max_length >= 0 ? s->rules->max_length
								: CEL_MAX_REQUEST - 2);
	case SCHEMA_F_DURATION:
		return cel_type_sized(e, CEL_DURATION, 32);
	case SCHEMA_F_DATE:
		return cel_type_sized(e, CEL_TIMESTAMP, 12);
	case SCHEMA_F_DATE_TIME:
		return cel_type_sized(e, CEL_TIMESTAMP, 32);
	default:
		return cel_type_sized(e, CEL_STRING, cel_schema_string_max(s));
	}
}

static const struct cel_type *cel_type_of_schema(struct cel_env *e, const struct schema *s,
						 bool root);

static const struct cel_type *cel_type_of_list(struct cel_env *e, const struct schema *s)
{
	const struct cel_type *item;
	struct cel_type *t;
	int64_t max = s->rules->max_items;

	if (!s->items)
		return NULL;
	item = cel_type_schema(e, s->items, schema_deref(s->items)->embedded);
	if (!item)
		return NULL;
	if (max < 0)
		max = (CEL_MAX_REQUEST - 2) / (cel_schema_min_size(s->items, 0) + 1);
	t = cel_type_sized(e, CEL_LIST, max);
	t->a = item;
	t->schema = s;
	return t;
}

static const struct cel_type *cel_type_of_object(struct cel_env *e, const struct schema *s,
						 bool root)
{
	struct cel_type *t;
	int64_t max = s->rules->max_props;

	if (s->additional) {
		const struct cel_type *val =
			cel_type_schema(e, s->additional, schema_deref(s->additional)->embedded);

		if (!val)
			return NULL;
		if (max < 0)
			max = (CEL_MAX_REQUEST - 2) / (cel_schema_min_size(s->additional, 0) + 6);
		t = cel_type_sized(e, CEL_MAP, max);
		t->a = &cel_types[CEL_STRING];
		t->b = val;
		t->schema = s;
		return t;
	}
	t = arena_new_obj(e->arena, struct cel_type);
	t->kind = CEL_STRUCT;
	t->root = root;
	t->schema = s;
	t->name = s->type_name.n ? s->type_name : arena_fmt(e->arena, "object%u", e->next_name++);
	return t;
}

static const struct cel_type *cel_type_of_schema(struct cel_env *e, const struct schema *s,
						 bool root)
{
	if (s->int_or_string)
		return cel_type_sized(e, CEL_DYN,
				      s->rules->max_length >= 0 ? cel_schema_string_max(s)
								: CEL_MAX_REQUEST - 2);
	if (s->types & SCHEMA_T_ARRAY)
		return cel_type_of_list(e, s);
	if (root || s->types & SCHEMA_T_OBJECT)
		return cel_type_of_object(e, s, root);
	if (s->types & SCHEMA_T_STRING)
		return cel_type_of_string(e, s);
	if (s->types & SCHEMA_T_BOOLEAN)
		return &cel_types[CEL_BOOL];
	if (s->types & SCHEMA_T_NUMBER)
		return &cel_types[CEL_DOUBLE];
	return s->types & SCHEMA_T_INTEGER ? &cel_types[CEL_INT] : NULL;
}

struct cel_type_cache {
	struct map types; /* by the schema's address and whether it is a root */
};

const struct cel_type *cel_type_schema(struct cel_env *e, const struct schema *s, bool root)
{
	struct {
		const struct schema *s;
		uintptr_t root;
	} key = { schema_deref(s), root };
	struct str k = { (const char *)&key, sizeof(key) };
	const struct cel_type *t = map_find(&e->cache->types, k);

	if (t)
		return t;
	t = cel_type_of_schema(e, key.s, root);
	if (t)
		map_put(&e->cache->types, k, (void *)(uintptr_t)t);
	return t;
}

static const struct cel_type *cel_type_root_field(struct cel_env *e, struct str name)
{
	static const struct cel_member members[] = {
		{ STR_INIT("name"), &cel_types[CEL_STRING] },
		{ STR_INIT("generateName"), &cel_types[CEL_STRING] },
	};
	static const struct cel_type metadata = { .kind = CEL_STRUCT,
						  .name = STR_INIT("object.metadata"),
						  .members = members,
						  .n_members = ARRAY_LEN(members) };

	(void)e;
	if (str_eqz(name, "metadata"))
		return &metadata;
	return str_eqz(name, "kind") || str_eqz(name, "apiVersion") ? &cel_types[CEL_STRING] : NULL;
}

const struct cel_type *cel_type_field(struct cel_env *e, const struct cel_type *t, struct str name)
{
	const struct schema *prop;
	struct str plain;

	for (size_t i = 0; i < t->n_members; i++)
		if (str_eq(t->members[i].name, name))
			return t->members[i].type;
	if (t->any_fields)
		return &cel_types[CEL_DYN];
	if (t->root && cel_type_root_field(e, name))
		return cel_type_root_field(e, name);
	if (!t->schema || !cel_name_unescape(e->arena, name, &plain))
		return NULL;
	prop = schema_prop_find(t->schema, plain);
	return prop ? cel_type_schema(e, prop, schema_deref(prop)->embedded) : NULL;
}

const struct cel_type *cel_type_struct(struct cel_env *e, const char *name,
				       const struct cel_field *fields, size_t n)
{
	struct cel_type *t = arena_new_obj(e->arena, struct cel_type);
	struct cel_member *m = arena_array(e->arena, n, sizeof(*m));

	for (size_t i = 0; i < n; i++)
		m[i] = (struct cel_member){ str_from(fields[i].name), fields[i].type };
	t->kind = CEL_STRUCT;
	t->name = str_from(name);
	t->members = m;
	t->n_members = n;
	return t;
}

/* ---- environments */

struct cel_env *cel_env_new(void)
{
	struct cel_env *e = mem_new(struct cel_env);

	e->refs = 1;
	e->arena = arena_new();
	e->variables_slot = -1;
	e->cache = mem_new(struct cel_type_cache);
	return e;
}

struct cel_env *cel_env_ref(struct cel_env *e)
{
	e->refs++;
	return e;
}

struct cel_env *cel_env_unref(struct cel_env *e)
{
	if (!e || --e->refs)
		return NULL;
	for (size_t i = 0; i < e->n_composed; i++)
		cel_prog_unref(e->composed[i].prog);
	map_fini(&e->cache->types);
	free(e->cache);
	arena_free(e->arena);
	free(e);
	return NULL;
}

size_t cel_env_add_var(struct cel_env *e, const char *name, const struct cel_type *t)
{
	ASSERT(e->n_vars < CEL_MAX_VARS);
	e->vars[e->n_vars] = (struct cel_var){ str_from(name), t };
	return e->n_vars++;
}

void cel_env_set_var_type(struct cel_env *e, const char *name, const struct cel_type *t)
{
	for (size_t i = 0; i < e->n_vars; i++)
		if (str_eqz(e->vars[i].name, name))
			e->vars[i].type = t;
}

void cel_env_add_variable(struct cel_env *e, struct str name, struct cel_prog *prog, struct str why)
{
	struct cel_composed *c;

	if (e->n_composed == e->cap_composed) {
		size_t cap = e->cap_composed ? e->cap_composed * 2 : 8;

		c = arena_array(e->arena, cap, sizeof(*c));
		if (e->n_composed)
			memcpy(c, e->composed, e->n_composed * sizeof(*c));
		e->composed = c;
		e->cap_composed = cap;
	}
	c = &e->composed[e->n_composed++];
	c->name = arena_str(e->arena, name);
	c->why = arena_str(e->arena, why);
	c->type = prog ? cel_type_copy(e->arena, prog->type) : &cel_types[CEL_DYN];
	c->prog = prog;
	if (prog) {
		cel_prog_ref(prog);
		/* the environment owns the program now, not the other way round */
		prog->env_borrowed = true;
		cel_env_unref(prog->env);
	}
}

static const struct cel_type *cel_env_request_type(struct cel_env *e)
{
	const struct cel_type *s = cel_type_of(CEL_STRING), *b = cel_type_of(CEL_BOOL),
			      *strings = cel_type_list(e, s);
	const struct cel_field kind[] = { { "group", s }, { "version", s }, { "kind", s } };
	const struct cel_field res[] = { { "group", s }, { "version", s }, { "resource", s } };
	const struct cel_field user[] = { { "username", s },
					  { "uid", s },
					  { "groups", strings },
					  { "extra", cel_type_map(e, s, strings) } };
	const struct cel_type *gvk = cel_type_struct(e, "kubernetes.GroupVersionKind", kind, 3),
			      *gvr = cel_type_struct(e, "kubernetes.GroupVersionResource", res, 3);
	const struct cel_field fields[] = {
		{ "kind", gvk },
		{ "resource", gvr },
		{ "subResource", s },
		{ "requestKind", gvk },
		{ "requestResource", gvr },
		{ "requestSubResource", s },
		{ "name", s },
		{ "namespace", s },
		{ "operation", s },
		{ "userInfo", cel_type_struct(e, "kubernetes.UserInfo", user, 4) },
		{ "dryRun", b },
		{ "options", cel_type_of(CEL_DYN) },
	};

	return cel_type_struct(e, "kubernetes.AdmissionRequest", fields, ARRAY_LEN(fields));
}

static const struct cel_type *cel_env_namespace_type(struct cel_env *e)
{
	const struct cel_type *s = cel_type_of(CEL_STRING), *i = cel_type_of(CEL_INT),
			      *t = cel_type_of(CEL_TIMESTAMP), *strings = cel_type_list(e, s),
			      *labels = cel_type_map(e, s, s);
	const struct cel_field spec[] = { { "finalizers", strings } };
	const struct cel_field condition[] = { { "status", s },
					       { "type", s },
					       { "lastTransitionTime", t },
					       { "message", s },
					       { "reason", s } };
	const struct cel_field status[] = {
		{ "conditions", cel_type_list(e, cel_type_struct(e, "kubernetes.NamespaceCondition",
								 condition, 5)) },
		{ "phase", s },
	};
	const struct cel_field meta[] = {
		{ "name", s },
		{ "generateName", s },
		{ "namespace", s },
		{ "labels", labels },
		{ "annotations", labels },
		{ "UID", s },
		{ "creationTimestamp", t },
		{ "deletionGracePeriodSeconds", i },
		{ "deletionTimestamp", t },
		{ "generation", i },
		{ "resourceVersion", s },
		{ "finalizers", strings },
	};
	const struct cel_field fields[] = {
		{ "metadata",
		  cel_type_struct(e, "kubernetes.NamespaceMetadata", meta, ARRAY_LEN(meta)) },
		{ "spec", cel_type_struct(e, "kubernetes.NamespaceSpec", spec, 1) },
		{ "status", cel_type_struct(e, "kubernetes.NamespaceStatus", status, 2) },
	};

	return cel_type_struct(e, "kubernetes.Namespace", fields, 3);
}

struct cel_env *cel_env_admission(unsigned flags)
{
	struct cel_env *e = cel_env_new();
	const struct cel_type *dyn = cel_type_of(CEL_DYN);
	static const struct cel_type variables = { .kind = CEL_STRUCT,
						   .name = STR_INIT("kubernetes.variables") };

	e->n_vars = CEL_ADMISSION_VARS; /* those without a name are not declared */
	e->vars[CEL_VAR_OBJECT] = (struct cel_var){ STR("object"), dyn };
	e->vars[CEL_VAR_OLD_OBJECT] = (struct cel_var){ STR("oldObject"), dyn };
	e->vars[CEL_VAR_NAMESPACE] =
		(struct cel_var){ STR("namespaceObject"), cel_env_namespace_type(e) };
	e->vars[CEL_VAR_REQUEST] = (struct cel_var){ STR("request"), cel_env_request_type(e) };
	if (flags & CEL_WITH_PARAMS)
		e->vars[CEL_VAR_PARAMS] = (struct cel_var){ STR("params"), dyn };
	if (flags & CEL_WITH_AUTHORIZER) {
		e->vars[CEL_VAR_AUTHORIZER] =
			(struct cel_var){ STR("authorizer"), cel_type_opaque(CEL_O_AUTHORIZER) };
		e->vars[CEL_VAR_REQUEST_RESOURCE] =
			(struct cel_var){ STR("authorizer.requestResource"),
					  cel_type_opaque(CEL_O_RESOURCE_CHECK) };
	}
	if (flags & CEL_WITH_VARIABLES) {
		e->vars[CEL_VAR_VARIABLES] = (struct cel_var){ STR("variables"), &variables };
		e->variables_slot = CEL_VAR_VARIABLES;
	}
	e->patch = flags & CEL_WITH_PATCH;
	return e;
}
