/* SPDX-License-Identifier: Apache-2.0 */
#include "server/object.h"

#include "api/cel-rules.h"
#include "api/gvk.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "server/crd-convert.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

static bool object_own_kind(const struct api_request *rq)
{
	return !rq->subres || str_empty(rq->subres->kind) ||
	       str_eq(rq->subres->kind, rq->res->kind);
}

struct str object_kind(const struct api_request *rq)
{
	if (!rq->res)
		return STR("Status");
	if (rq->verb & (VERB_DELETE | VERB_DELETECOLLECTION))
		return STR("DeleteOptions");
	return object_own_kind(rq) ? rq->res->kind : rq->subres->kind;
}

struct str object_version(const struct api_request *rq)
{
	if (!object_own_kind(rq) && !str_empty(rq->subres->kind_version))
		return rq->subres->kind_version;
	return rq->v->version;
}

struct str object_api_version(const struct api_request *rq)
{
	if (!object_own_kind(rq) && !str_empty(rq->subres->kind_version))
		return gv_format(rq->arena, rq->subres->kind_group, rq->subres->kind_version);
	return resource_api_version(rq->arena, rq->res, rq->v);
}

/* "io.k8s.api.policy.v1.Eviction" from "policy", "v1", "Eviction" */
static struct str object_type(const struct api_request *rq, struct str group, struct str version,
			      struct str kind)
{
	struct str first = group;

	if (str_empty(group))
		first = STR("core");
	else
		str_cut(&group, '.', &first);
	return arena_fmt(rq->arena, "io.k8s.api." STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(first),
			 STR_ARG(version), STR_ARG(kind));
}

struct str object_type_name(const struct api_request *rq)
{
	if (rq->verb & (VERB_DELETE | VERB_DELETECOLLECTION))
		return STR("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
	if (object_own_kind(rq))
		return rq->v->type;
	if (str_empty(rq->subres->kind_version))
		return object_type(rq, rq->res->group, rq->v->version, rq->subres->kind);
	return object_type(rq, rq->subres->kind_group, rq->subres->kind_version, rq->subres->kind);
}

const struct schema *object_schema(const struct api_request *rq)
{
	struct schema_registry *types = registry_types(rq->server->registry);

	if (object_own_kind(rq))
		return resource_schema(rq->server->registry, rq->res, rq->v);
	return types ? schema_registry_find(types, object_type_name(rq)) : NULL;
}

void object_prune(struct api_request *rq, struct json *obj, struct json *unknown)
{
	const struct schema *schema = object_schema(rq);

	if (schema)
		schema_prune(rq->arena, schema, obj, unknown);
}

void object_default(struct api_request *rq, struct json *obj)
{
	const struct schema *schema = object_schema(rq);

	if (schema)
		schema_default(rq->arena, schema, obj);
	if (object_own_kind(rq) && rq->res->strategy->set_defaults)
		rq->res->strategy->set_defaults(rq, obj);
}

static void object_check_rules(struct api_request *rq, const struct schema *schema,
			       const struct json *obj, const struct json *old, struct err **e)
{
	struct json *warnings = json_array(rq->arena);

	cel_rules_validate(rq->arena, schema, obj, old, warnings, e);
	json_for_each(it, warnings) request_warn(rq, STR_FMT, STR_ARG(json_as_str(it.val)));
}

void object_validate(struct api_request *rq, const struct json *obj, const struct json *old,
		     struct err **e)
{
	const struct schema *schema = resource_schema(rq->server->registry, rq->res, rq->v);

	if (schema)
		schema_validate_update(rq->arena, schema, obj, old, STR_EMPTY, e);
	if (schema && rq->res->custom && cel_rules_exist(schema))
		object_check_rules(rq, schema, obj, old, e);
}

bool object_is_current(const struct resource *res, const struct resource_version *v,
		       const struct obj *o)
{
	/* built-in schemas come with the binary and only gain fields */
	return !v->from_stored && (!res->custom || o->schema_gen == res->schema_gen);
}

struct err *object_tree_v(struct registry *reg, struct arena *a, const struct resource *res,
			  const struct resource_version *v, const struct obj *o, struct json **ret)
{
	const struct schema *schema;

	TRY(obj_parse(a, o, resource_api_version(a, res, v), res->kind, ret));
	if (v->from_stored)
		TRY(v->from_stored(res, v, a, ret));
	if (!res->custom || o->schema_gen == res->schema_gen)
		return NULL;
	schema = resource_schema(reg, res, v);
	if (schema) {
		schema_prune(a, schema, *ret, NULL);
		schema_default(a, schema, *ret);
	}
	return NULL;
}

/* Who only reads metadata needs no conversion; what is written does. */
static bool object_converts(const struct api_request *rq)
{
	return rq->res->conversion && !(rq->out.form == OUTPUT_METADATA &&
					(rq->verb & (VERB_GET | VERB_LIST | VERB_WATCH)));
}

struct err *object_in_version(struct api_request *rq, const struct obj **o)
{
	if (!object_converts(rq))
		return NULL;
	return crd_convert_objs(rq->server, rq->res, rq->v, o, 1);
}

struct err *object_tree(struct api_request *rq, const struct obj *o, struct json **ret)
{
	_cleanup_obj_ const struct obj *in = NULL;

	/* without a webhook o may be a view, which nobody can refer to */
	if (object_converts(rq)) {
		in = obj_ref(o);
		TRY(object_in_version(rq, &in));
		o = in;
	}
	return object_tree_v(rq->server->registry, rq->arena, rq->res, rq->v, o, ret);
}

static struct str object_field(struct arena *a, const struct json *tree, const struct selectable *f)
{
	const struct json *v;

	v = json_at(tree, arena_strz(a, f->path));
	if (f->or_path.n && str_empty(json_as_str(v)))
		v = json_at(tree, arena_strz(a, f->or_path));
	if (json_is(v, JSON_STR))
		return str_empty(json_as_str(v)) ? f->dflt : json_as_str(v);
	return json_is_null(v) ? f->dflt : json_text(a, v);
}

/* Fields of one version, from a tree in it; those another version has too are there already. */
static size_t object_add_fields(struct arena *a, struct obj_pair *fields, size_t n,
				const struct resource_version *v, const struct json *tree)
{
	for (size_t i = 0; i < v->n_fields; i++) {
		const struct selectable *f = &v->fields[i];
		struct str key = f->key.n ? f->key : f->name;
		size_t k = 0;

		while (k < n && !str_eq(fields[k].key, key))
			k++;
		if (k == n)
			fields[n++] = (struct obj_pair){ key, object_field(a, tree, f) };
	}
	return n;
}

/*
 * A custom resource: selectable by the fields of each version, and knowing which it is stored in.
 * SUSPENDS when a webhook converts.
 */
static struct err *object_make_custom(struct api_request *rq, struct json *tree, struct obj **ret)
{
	const struct resource *res = rq->res;
	const struct resource_version *sv = &res->versions[res->storage];
	struct json *stored = tree;
	struct obj_pair *fields;
	size_t n = 1, max = 1;

	for (size_t i = 0; i < res->n_versions; i++)
		max += res->versions[i].n_fields;
	fields = arena_array(rq->arena, max, sizeof(*fields));
	fields[0] = (struct obj_pair){ CRD_VERSION_FIELD, sv->version };
	if (res->conversion && rq->v != sv)
		TRY(crd_convert_trees(rq->server, rq->arena, res, sv, &stored, 1));
	for (size_t i = 0; i < res->n_versions; i++) {
		const struct resource_version *v = &res->versions[i];
		struct json *seen = v == rq->v ? tree : stored;

		if (!v->n_fields)
			continue;
		if (res->conversion && v != rq->v && v != sv) {
			struct err *e = crd_convert_trees(rq->server, rq->arena, res, v, &seen, 1);

			if (e && err_is(e, ERR_CANCELED))
				return e;
			err_log(NULL, LOG_WARN, "an object cannot be selected in a version", e);
			if (e)
				continue;
		}
		n = object_add_fields(rq->arena, fields, n, v, seen);
	}
	TRY(obj_fits(stored, fields, n));
	*ret = obj_new(stored, (struct rev){ 0 }, res->schema_gen, fields, n);
	return NULL;
}

struct err *object_make(struct api_request *rq, const struct json *tree, struct obj **ret)
{
	const struct resource *res =
		rq->res->view ? registry_find_stored(rq->server->registry, rq->res->store_name)
			      : rq->res;
	const struct resource_version *sv = &res->versions[res->storage];
	struct obj_pair *fields;
	struct json *stored = NULL;

	if (rq->res->custom)
		return object_make_custom(rq, (struct json *)(uintptr_t)tree, ret);
	fields = arena_array(rq->arena, sv->n_fields + 1, sizeof(*fields));
	if (rq->v->to_stored) {
		stored = json_dup(rq->arena, tree);
		TRY(rq->v->to_stored(rq->res, rq->v, rq->arena, &stored));
		tree = stored;
	}
	for (size_t i = 0; i < sv->n_fields; i++) {
		fields[i].key = sv->fields[i].name;
		fields[i].val = object_field(rq->arena, tree, &sv->fields[i]);
	}
	TRY(obj_fits(tree, fields, sv->n_fields));
	*ret = obj_new(tree, (struct rev){ 0 }, rq->res->schema_gen, fields, sv->n_fields);
	return NULL;
}

struct err *object_write(struct registry *reg, struct arena *a, struct buf *b,
			 const struct resource *res, const struct resource_version *v,
			 const struct obj *o, bool kind)
{
	struct json *tree = NULL;

	if (object_is_current(res, v, o)) {
		obj_write(b, o, kind ? resource_api_version(a, res, v) : STR_EMPTY,
			  kind ? res->kind : STR_EMPTY);
		return NULL;
	}
	TRY(object_tree_v(reg, a, res, v, o, &tree));
	if (!kind) {
		json_delz(tree, "kind");
		json_delz(tree, "apiVersion");
	}
	json_write(b, tree);
	return NULL;
}

struct store_key object_key(const struct api_request *rq)
{
	return (struct store_key){
		.resource = rq->res->store_name,
		.ns = rq->res->namespaced ? rq->ns : STR_EMPTY,
		.name = rq->name,
	};
}
