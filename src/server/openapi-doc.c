/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OpenAPI documents: the types that the kinds of a group version reach by $ref, and paths that say
 * which operation is of which kind and what it takes. Nothing is kept after the response.
 */

#include <ctype.h>

#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "server/crd.h"
#include "server/discovery.h"
#include "server/openapi-internal.h"
#include "server/server.h"
#include "json/json.h"

/* What is not an object on the wire, said in each dialect's way. */
static const struct {
	struct str type;
	const char *v2, *v3;
} openapi_special[] = {
	{ STR_INIT("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
	  "{\"type\":\"string\",\"format\":\"int-or-string\"}",
	  "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]"
	  "}" },
	{ STR_INIT("io.k8s.apimachinery.pkg.api.resource.Quantity"), "{\"type\":\"string\"}",
	  "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}" },
	{ STR_INIT("io.k8s.apimachinery.pkg.runtime.RawExtension"), "{\"type\":\"object\"}",
	  "{\"type\":\"object\"}" },
	{ STR_INIT("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"), "{\"type\":\"object\"}",
	  "{\"type\":\"object\"}" },
	{ STR_INIT("io.k8s.apimachinery.pkg.apis.meta.v1.Patch"), "{\"type\":\"object\"}",
	  "{\"type\":\"object\"}" },
};

/* ---- paths */

static void openapi_gvk(struct buf *b, struct str group, struct str version, struct str kind)
{
	buf_addf(b,
		 "\"x-kubernetes-group-version-kind\":{\"group\":\"" STR_FMT
		 "\",\"kind\":\"" STR_FMT "\",\"version\":\"" STR_FMT "\"}",
		 STR_ARG(group), STR_ARG(kind), STR_ARG(version));
}

enum { ON_READ = 1, ON_LIST = 2, ON_WRITE = 4, ON_PATCH = 8, ON_DELETE = 16, ON_COLLECTION = 32 };

static const struct {
	const char *name, *type;
	unsigned on;
} openapi_query[] = {
	{ "allowWatchBookmarks", "boolean", ON_LIST },
	{ "continue", "string", ON_LIST | ON_COLLECTION },
	{ "dryRun", "string", ON_WRITE | ON_PATCH | ON_DELETE | ON_COLLECTION },
	{ "fieldManager", "string", ON_WRITE | ON_PATCH },
	{ "fieldSelector", "string", ON_LIST | ON_COLLECTION },
	{ "fieldValidation", "string", ON_WRITE | ON_PATCH },
	{ "force", "boolean", ON_PATCH },
	{ "gracePeriodSeconds", "integer", ON_DELETE | ON_COLLECTION },
	{ "labelSelector", "string", ON_LIST | ON_COLLECTION },
	{ "limit", "integer", ON_LIST | ON_COLLECTION },
	{ "orphanDependents", "boolean", ON_DELETE | ON_COLLECTION },
	{ "propagationPolicy", "string", ON_DELETE | ON_COLLECTION },
	{ "resourceVersion", "string", ON_READ | ON_LIST | ON_COLLECTION },
	{ "resourceVersionMatch", "string", ON_LIST | ON_COLLECTION },
	{ "sendInitialEvents", "boolean", ON_LIST | ON_COLLECTION },
	{ "timeoutSeconds", "integer", ON_LIST | ON_COLLECTION },
	{ "watch", "boolean", ON_LIST },
};

struct openapi_operation {
	enum verb verb;
	const char *method, *action, *id;
	bool item;
	unsigned on;
};

static const struct openapi_operation openapi_operations[] = {
	{ VERB_LIST, "get", "list", "list", false, ON_LIST },
	{ VERB_CREATE, "post", "post", "create", false, ON_WRITE },
	{ VERB_DELETECOLLECTION, "delete", "deletecollection", "delete", false, ON_COLLECTION },
	{ VERB_GET, "get", "get", "read", true, ON_READ },
	{ VERB_UPDATE, "put", "put", "replace", true, ON_WRITE },
	{ VERB_PATCH, "patch", "patch", "patch", true, ON_PATCH },
	{ VERB_DELETE, "delete", "delete", "delete", true, ON_DELETE },
};

static void openapi_parameter(const struct openapi *o, struct buf *b, const char *name,
			      const char *in, const char *type, bool first)
{
	const char *must = *in == 'p' ? "\"required\":true," : "";

	buf_addf(b,
		 o->v2 ? "%s{\"name\":\"%s\",\"in\":\"%s\",%s\"type\":\"%s\",\"uniqueItems\":true}"
		       : "%s{\"name\":\"%s\",\"in\":\"%s\",%s\"schema\":{\"type\":\"%s\","
			 "\"uniqueItems\":true}}",
		 first ? "" : ",", name, in, must, type);
}

/* What a request's body is of; v2 has it among the parameters. */
static void openapi_v2_body(struct buf *b, const struct openapi_operation *op, struct str type)
{
	if (op->on & (ON_DELETE | ON_COLLECTION))
		type = STR(OPENAPI_META_V1 "DeleteOptions");
	if (op->on & ON_PATCH)
		type = STR(OPENAPI_META_V1 "Patch");
	buf_addf(b,
		 "{\"name\":\"body\",\"in\":\"body\",%s\"schema\":{\"$ref\":\"" OPENAPI_REF_V2
			 STR_FMT "\"}}",
		 op->on & (ON_DELETE | ON_COLLECTION) ? "" : "\"required\":true,", STR_ARG(type));
}

static void openapi_parameters(const struct openapi *o, struct buf *b,
			       const struct openapi_operation *op, struct str type)
{
	bool first = true;

	buf_addz(b, "\"parameters\":[");
	if (o->v2 && !(op->on & (ON_READ | ON_LIST))) {
		openapi_v2_body(b, op, type);
		first = false;
	}
	for (size_t i = 0; i < ARRAY_LEN(openapi_query); i++) {
		if (!(openapi_query[i].on & op->on))
			continue;
		openapi_parameter(o, b, openapi_query[i].name, "query", openapi_query[i].type,
				  first);
		first = false;
	}
	buf_addz(b, "],");
}

/* The forms a patch may have. */
static void openapi_patches(const struct openapi *o, struct buf *b, bool custom)
{
	static const char *const forms[] = { "apply-patch+yaml", "json-patch+json",
					     "merge-patch+json", "strategic-merge-patch+json" };

	buf_addz(b, o->v2 ? "\"consumes\":[" : "\"requestBody\":{\"required\":true,\"content\":{");
	for (size_t i = 0; i < ARRAY_LEN(forms) - custom; i++)
		buf_addf(b,
			 o->v2 ? "%s\"application/%s\""
			       : "%s\"application/%s\":{\"schema\":{\"$ref\":\"" OPENAPI_REF_V3
					 OPENAPI_META_V1 "Patch\"}}",
			 i ? "," : "", forms[i]);
	buf_addz(b, o->v2 ? "]," : "}},");
}

static void openapi_body(const struct openapi *o, struct buf *b, const struct openapi_operation *op,
			 struct str type, bool custom)
{
	if (op->on & ON_PATCH)
		openapi_patches(o, b, custom);
	else if (o->v2)
		buf_addz(b, "\"consumes\":[\"*/*\"],");
	else if (op->on & ON_WRITE)
		buf_addf(b,
			 "\"requestBody\":{\"required\":true,\"content\":{\"*/*\":{\"schema\":{"
			 "\"$ref\":\"" OPENAPI_REF_V3 STR_FMT "\"}}}},",
			 STR_ARG(type));
	else if (op->on & (ON_DELETE | ON_COLLECTION))
		buf_addz(b, "\"requestBody\":{\"content\":{\"*/"
			    "*\":{\"schema\":{\"$ref\":\"" OPENAPI_REF_V3 OPENAPI_META_V1
			    "DeleteOptions\"}}}},");
}

/* Where the kind's type is named in a response. */
static void openapi_response(const struct openapi *o, struct buf *b, struct str type)
{
	if (o->v2)
		buf_addf(b,
			 "\"produces\":[\"application/json\",\"application/yaml\"],"
			 "\"responses\":{\"200\":{\"description\":\"OK\",\"schema\":{\"$ref\":"
			 "\"" OPENAPI_REF_V2 STR_FMT "\"}}",
			 STR_ARG(type));
	else
		buf_addf(b,
			 "\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{"
			 "\"application/json\":{\"schema\":{\"$ref\":\"" OPENAPI_REF_V3 STR_FMT
			 "\"}},\"application/yaml\":{\"schema\":{\"$ref\":\"" OPENAPI_REF_V3 STR_FMT
			 "\"}}}}",
			 STR_ARG(type), STR_ARG(type));
	buf_addz(b, ",\"401\":{\"description\":\"Unauthorized\"}},");
}

/* "rbac.authorization.k8s.io" is RbacAuthorization in names of operations. */
static void openapi_camel(struct buf *b, struct str s)
{
	bool up = true;

	if (!s.n)
		s = STR("core");
	str_strip_suffix(&s, STR(".k8s.io"));
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (isalnum(c))
			buf_addc(b, (char)(up ? toupper(c) : c));
		up = !isalnum(c);
	}
}

/* One path of a resource. */
struct openapi_where {
	const struct resource *res;
	const struct resource_version *v;
	const struct subresource *sub; /* NULL: the resource itself */
	struct str type, kind_group, kind_version, kind;
	bool item, everywhere; /* lists all namespaces */
};

static void openapi_operation_id(struct buf *b, const struct openapi_where *w,
				 const struct openapi_operation *op)
{
	buf_addf(b, "\"operationId\":\"%s", op->id);
	openapi_camel(b, w->res->group);
	openapi_camel(b, w->v->version);
	if (op->on & ON_COLLECTION)
		buf_addz(b, "Collection");
	if (w->res->namespaced && !w->everywhere)
		buf_addz(b, "Namespaced");
	buf_add(b, w->res->kind);
	if (w->sub)
		openapi_camel(b, w->sub->name);
	buf_addz(b, w->everywhere ? "ForAllNamespaces\"," : "\",");
}

static void openapi_operate(struct openapi *o, struct buf *b, const struct openapi_where *w,
			    const struct openapi_operation *op)
{
	struct str answer = w->type;

	if (op->on & ON_LIST)
		answer = arena_cat(o->a, w->type, STR("List"));
	if (op->on & (ON_DELETE | ON_COLLECTION))
		answer = STR(OPENAPI_META_V1 "Status");
	buf_addf(b, "\"%s\":{", op->method);
	openapi_operation_id(b, w, op);
	openapi_parameters(o, b, op, w->type);
	openapi_body(o, b, op, w->type, w->res->custom);
	openapi_response(o, b, answer);
	buf_addf(b, "\"x-kubernetes-action\":\"%s\",", op->action);
	openapi_gvk(b, w->kind_group, w->kind_version, w->kind);
	buf_addc(b, '}');
}

static void openapi_path(struct openapi *o, struct buf *b, const struct openapi_where *w,
			 bool *first)
{
	bool in_ns = w->res->namespaced && !w->everywhere;
	struct str gv = discovery_path(o->a, (struct discovery_gv){ w->res->group, w->v->version });
	unsigned verbs = w->sub ? w->sub->verbs : w->res->verbs;

	buf_addf(b, "%s\"" STR_FMT "%s/" STR_FMT "%s", *first ? "" : ",", STR_ARG(gv),
		 in_ns ? "/namespaces/{namespace}" : "", STR_ARG(w->res->plural),
		 w->item ? "/{name}" : "");
	if (w->sub)
		buf_addf(b, "/" STR_FMT, STR_ARG(w->sub->name));
	buf_addz(b, "\":{");
	*first = false;
	for (size_t i = 0; i < ARRAY_LEN(openapi_operations); i++) {
		struct openapi_operation op = openapi_operations[i];

		if (w->sub && op.verb == VERB_CREATE)
			op.item = true;
		if (op.item != w->item || !(verbs & op.verb) ||
		    (w->everywhere && op.verb != VERB_LIST))
			continue;
		openapi_operate(o, b, w, &op);
		buf_addc(b, ',');
	}
	buf_addz(b, "\"parameters\":[");
	if (w->item)
		openapi_parameter(o, b, "name", "path", "string", true);
	if (in_ns)
		openapi_parameter(o, b, "namespace", "path", "string", !w->item);
	buf_addz(b, "]}");
}

/* "io.k8s.api.policy.v1.Eviction" */
static struct str openapi_sub_type(struct openapi *o, const struct subresource *sub)
{
	struct str group = sub->kind_group, head = STR("core");

	if (group.n)
		str_cut(&group, '.', &head);
	return arena_fmt(o->a, "io.k8s.api." STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(head),
			 STR_ARG(sub->kind_version), STR_ARG(sub->kind));
}

static void openapi_sub_path(struct openapi *o, struct buf *b, const struct openapi_where *of,
			     const struct subresource *sub, bool *first)
{
	struct openapi_where w = *of;

	if (sub->connect || !sub->verbs)
		return;
	w.sub = sub;
	w.item = true;
	if (sub->kind_version.n) {
		w.type = openapi_sub_type(o, sub);
		if (!schema_registry_text(registry_types(o->s->registry), w.type).n)
			return;
		openapi_want(o, w.type);
		w.kind_group = sub->kind_group;
		w.kind_version = sub->kind_version;
		w.kind = sub->kind;
	}
	openapi_path(o, b, &w, first);
}

void openapi_paths(struct openapi *o, struct buf *b, const struct resource *res,
		   const struct resource_version *v, struct str type, bool *first)
{
	struct openapi_where w = { .res = res,
				   .v = v,
				   .type = type,
				   .kind_group = res->group,
				   .kind_version = v->version,
				   .kind = res->kind };

	openapi_path(o, b, &w, first);
	if (res->namespaced && (res->verbs & VERB_LIST)) {
		w.everywhere = true;
		openapi_path(o, b, &w, first);
		w.everywhere = false;
	}
	w.item = true;
	if (res->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE))
		openapi_path(o, b, &w, first);
	for (size_t i = 0; i < v->n_subresources; i++)
		openapi_sub_path(o, b, &w, &v->subresources[i], first);
}

/* ---- types */

static struct json *openapi_type(struct openapi *o, struct str type)
{
	struct str text = schema_registry_text(registry_types(o->s->registry), type);
	struct json *j = NULL;
	struct err *e;

	for (size_t i = 0; i < ARRAY_LEN(openapi_special); i++)
		if (str_eq(type, openapi_special[i].type))
			text = str_from(o->v2 ? openapi_special[i].v2 : openapi_special[i].v3);
	if (!text.n)
		return NULL;
	e = json_parse(o->a, text, &j);
	err_log(NULL, LOG_ERROR, "a type cannot be published", e);
	return j;
}

static void openapi_add_type(struct openapi *o, struct buf *b, struct str name, struct json *j)
{
	openapi_publish(o, j);
	buf_addf(b, "%s\"" STR_FMT "\":", b->n ? "," : "", STR_ARG(name));
	json_write(b, j);
}

static void openapi_types(struct openapi *o, struct buf *b)
{
	for (; o->done < o->n; o->done++) {
		struct json *j = openapi_type(o, o->queue[o->done]);

		if (j)
			openapi_add_type(o, b, o->queue[o->done], j);
	}
}

/* ---- documents */

struct openapi_parts {
	struct buf paths, types;
	bool first_path;
};

static void openapi_resource(struct openapi *o, struct openapi_parts *p, const struct resource *res,
			     const struct resource_version *v)
{
	struct str type = v->type;

	if (res->custom) {
		type = crd_type_name(o->a, res->group, v->version, res->kind);
		openapi_add_type(o, &p->types, type, openapi_custom_schema(o, res, v));
	} else if (type.n) {
		openapi_want(o, type);
	}
	if (res->verbs & VERB_LIST)
		openapi_add_type(o, &p->types, arena_cat(o->a, type, STR("List")),
				 openapi_list_schema(o, res, v, type));
	openapi_paths(o, &p->paths, res, v, type, &p->first_path);
}

static void openapi_collect(struct openapi *o, struct openapi_parts *p,
			    const struct discovery_gv *gv)
{
	static const char *const always[] = { OPENAPI_META_V1 "DeleteOptions",
					      OPENAPI_META_V1 "Patch", OPENAPI_META_V1 "Status",
					      OPENAPI_META_V1 "WatchEvent" };
	const struct resource *res = NULL;

	while ((res = registry_next(o->s->registry, res)))
		for (size_t i = 0; i < res->n_versions; i++) {
			const struct resource_version *v = &res->versions[i];

			if (v->served && (!gv || (str_eq(res->group, gv->group) &&
						  str_eq(v->version, gv->version))))
				openapi_resource(o, p, res, v);
		}
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		openapi_want(o, str_from(always[i]));
	openapi_types(o, &p->types);
}

void openapi_document(struct apiserver *s, struct arena *a, const struct discovery_gv *gv, bool v2,
		      struct buf *out)
{
	struct openapi *o = arena_new_obj(a, struct openapi);
	struct openapi_parts p = { .first_path = true };

	o->s = s;
	o->a = a;
	o->v2 = v2;
	openapi_collect(o, &p, gv);
	buf_addf(out,
		 "{\"%s\":\"%s\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.0\"},"
		 "\"paths\":{",
		 v2 ? "swagger" : "openapi", v2 ? "2.0" : "3.0.0");
	buf_add(out, buf_str(&p.paths));
	buf_addz(out, v2 ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
	buf_add(out, buf_str(&p.types));
	buf_addz(out, v2 ? "}}" : "}}}");
	buf_fini(&p.paths);
	buf_fini(&p.types);
	map_fini(&o->seen);
}
