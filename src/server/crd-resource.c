/* SPDX-License-Identifier: Apache-2.0 */
#include "server/crd-resource.h"

#include <stdlib.h>

#include "api/cel-rules.h"
#include "api/gvk.h"
#include "api/meta.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/resource.h"
#include "json/json.h"

/* ---- what the engine asks of custom resources */

static struct err *crd_refuse_create(struct api_request *rq, struct json *obj)
{
	return error_forbidden(
		rq->res, meta_name(obj),
		"create not allowed while custom resource definition is terminating");
}

static const struct strategy crd_custom_strategy = {
	.generation = true,
	.needs_rv = true,
};

static const struct strategy crd_terminating_strategy = {
	.generation = true,
	.needs_rv = true,
	.prepare_create = crd_refuse_create,
};

/* ---- parts */

static const struct str *crd_strings(struct arena *a, const struct json *arr, size_t *ret_n)
{
	struct str *v = arena_array(a, json_len(arr) + 1, sizeof(*v));
	size_t n = 0;

	json_for_each(it, arr) v[n++] = arena_str(a, json_as_str(it.val));
	*ret_n = n;
	return v;
}

static struct str crd_text(struct arena *a, const struct json *obj, const char *at)
{
	return arena_str(a, json_str_at(obj, at));
}

static void crd_make_columns(struct arena *a, struct resource_version *v, const struct json *cols)
{
	struct column *c = arena_array(a, json_len(cols) + 1, sizeof(*c));

	json_for_each(it, cols)
	{
		struct str path = crd_text(a, it.val, "jsonPath");

		c[it.i] = (struct column){
			.name = crd_text(a, it.val, "name"),
			.type = crd_text(a, it.val, "type"),
			.format = crd_text(a, it.val, "format"),
			.description = crd_text(a, it.val, "description"),
			.priority = (int)json_int_at(it.val, "priority", 0),
			.path = path,
		};
		if (!c[it.i].description.n)
			c[it.i].description = arena_fmt(a,
							"Custom resource definition column (in "
							"JSONPath format): " STR_FMT,
							STR_ARG(path));
	}
	v->columns = c;
	v->n_columns = json_len(cols);
}

static void crd_make_subresources(struct arena *a, struct resource_version *v,
				  const struct json *sub, struct str kind)
{
	struct subresource *s = arena_array(a, 2, sizeof(*s));
	const struct json *scale = json_get(sub, "scale");
	size_t n = 0;

	if (json_get(sub, "status"))
		s[n++] = (struct subresource){ .name = STR("status"),
					       .kind = kind,
					       .verbs = VERBS_READ_WRITE };
	if (scale) {
		s[n++] = (struct subresource){ .name = STR("scale"),
					       .kind_group = STR("autoscaling"),
					       .kind_version = STR("v1"),
					       .kind = STR("Scale"),
					       .verbs = VERBS_READ_WRITE };
		v->scale = (struct scale_paths){
			.spec = crd_text(a, scale, "specReplicasPath"),
			.status = crd_text(a, scale, "statusReplicasPath"),
			.selector = crd_text(a, scale, "labelSelectorPath"),
		};
	}
	v->subresources = s;
	v->n_subresources = n;
}

static void crd_make_fields(struct arena *a, struct resource_version *v, const struct json *fields,
			    bool converts)
{
	struct selectable *f = arena_array(a, json_len(fields) + 1, sizeof(*f));

	json_for_each(it, fields)
	{
		struct str path = crd_text(a, it.val, "jsonPath");

		str_strip_prefix(&path, STR("."));
		f[it.i] = (struct selectable){ .name = path, .path = path, .dflt = STR_EMPTY };
		/* where versions differ in form, each has values of its own */
		if (converts)
			f[it.i].key = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(v->version),
						STR_ARG(path));
	}
	v->fields = f;
	v->n_fields = json_len(fields);
}

static struct str crd_deprecation(struct arena *a, const struct json *crd, const struct json *v)
{
	struct str text = json_str_at(v, "deprecationWarning"), newest = STR_EMPTY;

	if (!json_bool_at(v, "deprecated", false))
		return STR_EMPTY;
	if (text.n)
		return arena_str(a, text);
	json_for_each(it, json_at(crd, "spec.versions"))
	{
		struct str name = json_str_at(it.val, "name");

		if (json_bool_at(it.val, "served", false) &&
		    !json_bool_at(it.val, "deprecated", false) &&
		    (!newest.n || version_cmp(name, newest) > 0))
			newest = name;
	}
	text = arena_fmt(a, STR_FMT "/" STR_FMT " " STR_FMT " is deprecated",
			 STR_ARG(json_str_at(crd, "spec.group")), STR_ARG(json_str_at(v, "name")),
			 STR_ARG(json_str_at(crd, "spec.names.kind")));
	if (!newest.n)
		return text;
	return arena_fmt(a, STR_FMT "; use " STR_FMT "/" STR_FMT " " STR_FMT, STR_ARG(text),
			 STR_ARG(json_str_at(crd, "spec.group")), STR_ARG(newest),
			 STR_ARG(json_str_at(crd, "spec.names.kind")));
}

static void crd_unref_schema(void *p)
{
	schema_unref(p);
}

/* Versions with equal schemas share one. */
static struct err *crd_make_schema(struct schema_registry *types, struct arena *a,
				   struct resource_version *v, const struct json *openapi,
				   const struct resource_version *done, const struct json *versions,
				   size_t n_done)
{
	struct schema *s = NULL;

	for (size_t i = 0; i < n_done; i++)
		if (json_equal(json_at(json_idx(versions, i), "schema.openAPIV3Schema"), openapi)) {
			v->schema = done[i].schema;
			return NULL;
		}
	TRY(schema_compile(types, openapi, STR("spec.validation.openAPIV3Schema"), &s));
	cel_rules_compile(s, openapi, STR_EMPTY, NULL);
	v->schema = s;
	arena_defer(a, crd_unref_schema, s);
	return NULL;
}

static int crd_by_version(const void *x, const void *y)
{
	const struct resource_version *a = x, *b = y;

	return -version_cmp(a->version, b->version);
}

static struct err *crd_make_versions(struct schema_registry *types, struct arena *a,
				     const struct json *crd, struct resource *res)
{
	const struct json *versions = json_at(crd, "spec.versions");
	struct resource_version *v = arena_array(a, json_len(versions) + 1, sizeof(*v));
	struct str storage = STR_EMPTY;

	json_for_each(it, versions)
	{
		struct resource_version *one = &v[it.i];

		one->version = crd_text(a, it.val, "name");
		one->served = json_bool_at(it.val, "served", false);
		one->deprecation_warning = crd_deprecation(a, crd, it.val);
		if (json_bool_at(it.val, "storage", false))
			storage = one->version;
		TRY(crd_make_schema(types, a, one, json_at(it.val, "schema.openAPIV3Schema"), v,
				    versions, it.i));
		crd_make_columns(a, one, json_get(it.val, "additionalPrinterColumns"));
		crd_make_subresources(a, one, json_get(it.val, "subresources"), res->kind);
		crd_make_fields(a, one, json_get(it.val, "selectableFields"), res->conversion);
	}
	res->n_versions = json_len(versions);
	qsort(v, res->n_versions, sizeof(*v), crd_by_version);
	res->versions = v;
	for (size_t i = 0; i < res->n_versions; i++)
		if (str_eq(v[i].version, storage))
			res->storage = i;
	return NULL;
}

/* ---- the whole */

static void crd_release(struct resource *res)
{
	arena_free(res->release_ctx); /* res is in it */
}

struct err *crd_make_resource(struct schema_registry *types, const struct json *crd,
			      struct resource **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *names = json_at(crd, "spec.names");
	struct resource *res = arena_new_obj(a, struct resource);
	bool terminating = meta_deleting(crd);
	_cleanup_buf_ struct buf b = { 0 };

	res->group = crd_text(a, crd, "spec.group");
	res->plural = crd_text(a, names, "plural");
	res->singular = crd_text(a, names, "singular");
	res->kind = crd_text(a, names, "kind");
	res->list_kind = crd_text(a, names, "listKind");
	res->short_names = crd_strings(a, json_get(names, "shortNames"), &res->n_short_names);
	res->categories = crd_strings(a, json_get(names, "categories"), &res->n_categories);
	res->namespaced = str_eqz(json_str_at(crd, "spec.scope"), "Namespaced");
	res->custom = true;
	res->verbs = VERBS_ALL;
	res->store_name = gr_format(a, res->group, res->plural);
	/* a hash: what clients keep by it stays good over restarts */
	json_write(&b, json_at(crd, "spec.versions"));
	res->schema_gen = fnv32a(buf_str(&b));
	if (str_eqz(json_str_at(crd, "spec.conversion.strategy"), "Webhook"))
		res->conversion = json_copy(a, json_at(crd, "spec.conversion.webhook"));
	res->strategy = terminating ? &crd_terminating_strategy : &crd_custom_strategy;
	res->release = crd_release;
	TRY(crd_make_versions(types, a, crd, res));
	res->release_ctx = a;
	*ret = res;
	a = NULL;
	return NULL;
}
