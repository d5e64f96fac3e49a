/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OpenAPI documents are text put together from the embedded type texts: the types that the kinds of
 * a group version reach by $ref, and paths with just enough in them for kubectl (which operation is
 * of which kind, and that it takes fieldValidation). Nothing is kept after the response.
 */

#include "server/openapi.h"

#include "api/gvk.h"
#include "api/schema-data.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/map.h"
#include "io/http-server.h"
#include "server/crd.h"
#include "server/discovery.h"
#include "server/openapi-proto.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "json/json.h"

#define REF_V3  "#/components/schemas/"
#define REF_V2  "#/definitions/"
#define META_V1 "io.k8s.apimachinery.pkg.apis.meta.v1."

struct openapi {
	struct apiserver *s;
	struct arena *a;
	bool v2;
	struct map seen;        /* names of types already queued */
	struct str queue[1024]; /* in the arena: too big for a stack */
	size_t n, done;
};

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
};

/* ---- types */

static void openapi_want(struct openapi *o, struct str type)
{
	if (map_find(&o->seen, type) || o->n == ARRAY_LEN(o->queue))
		return;
	map_put(&o->seen, type, o);
	o->queue[o->n++] = type;
}

/* Queues every type that a text refers to. */
static void openapi_scan(struct openapi *o, struct str text)
{
	const struct str mark = STR("\"" REF_V3);
	size_t at;

	while ((at = str_find(text, mark)) < text.n) {
		size_t end;

		text = str_skip(text, at + mark.n);
		end = str_find_char(text, '"', 0);
		openapi_want(o, str_sub(text, 0, end));
		text = str_skip(text, end);
	}
}

static void openapi_add_text(const struct openapi *o, struct buf *b, struct str text)
{
	const struct str mark = STR(REF_V3);
	size_t at;

	while (o->v2 && (at = str_find(text, mark)) < text.n) {
		buf_add(b, str_sub(text, 0, at));
		buf_addz(b, REF_V2);
		text = str_skip(text, at + mark.n);
	}
	buf_add(b, text);
}

static struct str openapi_type_text(const struct openapi *o, struct str type)
{
	for (size_t i = 0; i < ARRAY_LEN(openapi_special); i++)
		if (str_eq(type, openapi_special[i].type))
			return str_from(o->v2 ? openapi_special[i].v2 : openapi_special[i].v3);
	return schema_registry_text(registry_types(o->s->registry), type);
}

static void openapi_types(struct openapi *o, struct buf *b, bool first)
{
	for (; o->done < o->n; o->done++) {
		struct str name = o->queue[o->done], text = openapi_type_text(o, name);

		if (!text.n)
			continue;
		buf_addf(b, "%s\"" STR_FMT "\":", first ? "" : ",", STR_ARG(name));
		openapi_scan(o, text);
		openapi_add_text(o, b, text);
		first = false;
	}
}

/* ---- CRDs */

static const struct json *openapi_crd_version(const struct json *crd, struct str version)
{
	return json_find_by(json_at(crd, "spec.versions"), "name", version);
}

/* OpenAPI v2 knows less: what it cannot say is left out. */
static void openapi_v2_reduce(struct json *j)
{
	static const char *const words[] = {
		"default", "nullable", "anyOf", "oneOf", "not", "allOf"
	};

	if (json_is(j, JSON_OBJECT)) {
		bool open =
			json_as_bool(json_get(j, "x-kubernetes-preserve-unknown-fields"), false) ||
			json_as_bool(json_get(j, "x-kubernetes-int-or-string"), false) ||
			json_as_bool(json_get(j, "nullable"), false);

		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			json_delz(j, words[i]);
		if (open) {
			json_delz(j, "type");
			json_delz(j, "properties");
		}
	}
	json_for_each(it, json_get(j, "properties")) openapi_v2_reduce(it.val);
	if (json_get(j, "items"))
		openapi_v2_reduce(json_get(j, "items"));
	if (json_is(json_get(j, "additionalProperties"), JSON_OBJECT))
		openapi_v2_reduce(json_get(j, "additionalProperties"));
}

static struct str openapi_custom_text(struct openapi *o, const struct resource *res,
				      const struct resource_version *v)
{
	const struct json *crd = crd_load(o->a, res->group, res->plural);
	const struct json *have =
		json_at(openapi_crd_version(crd, v->version), "schema.openAPIV3Schema");
	struct json *j = have ? json_copy(o->a, have) : json_object(o->a), *props, *gvk, *ref;

	if (o->v2)
		openapi_v2_reduce(j);
	if (!json_get(j, "type"))
		json_set_str(o->a, j, "type", STR("object"));
	props = json_sub(o->a, j, "properties");
	for (int i = 0; i < 2; i++)
		json_set_str(o->a, json_sub(o->a, props, i ? "kind" : "apiVersion"), "type",
			     STR("string"));
	ref = json_object(o->a);
	json_set_str(o->a, ref, "$ref", STR(REF_V3 META_V1 "ObjectMeta"));
	json_set(o->a, props, "metadata", ref);
	gvk = json_object(o->a);
	json_set_str(o->a, gvk, "group", res->group);
	json_set_str(o->a, gvk, "kind", res->kind);
	json_set_str(o->a, gvk, "version", v->version);
	json_push(json_sub_array(o->a, j, "x-kubernetes-group-version-kind"), gvk);
	return json_text(o->a, j);
}

/* ---- paths */

static void openapi_gvk(struct buf *b, struct str group, struct str version, struct str kind)
{
	buf_addf(b,
		 "\"x-kubernetes-group-version-kind\":{\"group\":\"" STR_FMT
		 "\",\"kind\":\"" STR_FMT "\",\"version\":\"" STR_FMT "\"}",
		 STR_ARG(group), STR_ARG(kind), STR_ARG(version));
}

static void openapi_parameters(const struct openapi *o, struct buf *b, bool patch)
{
	static const char *const names[] = { "dryRun", "fieldManager", "fieldValidation", "force" };

	buf_addz(b, "\"parameters\":[");
	/* force is for patches */
	for (size_t i = 0; i < ARRAY_LEN(names) - !patch; i++)
		buf_addf(b,
			 o->v2 ? "%s{\"name\":\"%s\",\"in\":\"query\",\"type\":\"string\","
				 "\"uniqueItems\":true}"
			       : "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":"
				 "\"string\",\"uniqueItems\":true}}",
			 i ? "," : "", names[i]);
	buf_addz(b, "],");
}

/* The forms a patch may have. */
static void openapi_patches(const struct openapi *o, struct buf *b, bool custom)
{
	static const char *const forms[] = { "apply-patch+yaml", "json-patch+json",
					     "merge-patch+json", "strategic-merge-patch+json" };

	buf_addz(b, o->v2 ? "\"consumes\":[" : "\"requestBody\":{\"content\":{");
	for (size_t i = 0; i < ARRAY_LEN(forms) - custom; i++)
		buf_addf(b,
			 o->v2 ? "%s\"application/%s\""
			       : "%s\"application/%s\":{\"schema\":{\"type\":\"object\"}}",
			 i ? "," : "", forms[i]);
	buf_addz(b, o->v2 ? "]," : "}},");
}

struct openapi_operation {
	enum verb verb;
	const char *method, *action;
	bool item, writes;
};

static const struct openapi_operation openapi_operations[] = {
	{ VERB_LIST, "get", "list", false, false },
	{ VERB_CREATE, "post", "post", false, true },
	{ VERB_DELETECOLLECTION, "delete", "deletecollection", false, false },
	{ VERB_GET, "get", "get", true, false },
	{ VERB_UPDATE, "put", "put", true, true },
	{ VERB_PATCH, "patch", "patch", true, true },
	{ VERB_DELETE, "delete", "delete", true, false },
};

/* Where the kind's type is named in a response. */
static void openapi_response(const struct openapi *o, struct buf *b, struct str type)
{
	if (o->v2)
		buf_addf(b,
			 "\"responses\":{\"200\":{\"description\":\"OK\",\"schema\":{\"$ref\":"
			 "\"" REF_V2 STR_FMT "\"}}}",
			 STR_ARG(type));
	else
		buf_addf(b,
			 "\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{"
			 "\"application/json\":{\"schema\":{\"$ref\":\"" REF_V3 STR_FMT "\"}}}}}",
			 STR_ARG(type));
}

static void openapi_path(const struct openapi *o, struct buf *b, const struct resource *res,
			 const struct resource_version *v, struct str type, bool item, bool *first)
{
	const char *prefix = res->namespaced ? "/namespaces/{namespace}" : "";
	struct str gv = discovery_path(o->a, (struct discovery_gv){ res->group, v->version });
	bool any = false;

	buf_addf(b, "%s\"" STR_FMT "%s/" STR_FMT "%s\":{", *first ? "" : ",", STR_ARG(gv), prefix,
		 STR_ARG(res->plural), item ? "/{name}" : "");
	*first = false;
	for (size_t i = 0; i < ARRAY_LEN(openapi_operations); i++) {
		const struct openapi_operation *op = &openapi_operations[i];

		if (op->item != item || !(res->verbs & op->verb))
			continue;
		buf_addf(b, "%s\"%s\":{\"x-kubernetes-action\":\"%s\",", any ? "," : "", op->method,
			 op->action);
		if (op->writes)
			openapi_parameters(o, b, op->verb == VERB_PATCH);
		if (op->verb == VERB_PATCH)
			openapi_patches(o, b, res->custom);
		openapi_response(o, b, type);
		buf_addc(b, ',');
		openapi_gvk(b, res->group, v->version, res->kind);
		buf_addc(b, '}');
		any = true;
	}
	buf_addc(b, '}');
}

/* ---- documents */

struct openapi_parts {
	struct buf paths, types;
	bool first_path, first_type;
};

static void openapi_resource(struct openapi *o, struct openapi_parts *p, const struct resource *res,
			     const struct resource_version *v)
{
	struct str type = v->type;

	if (res->custom) {
		struct str text = openapi_custom_text(o, res, v);

		type = crd_type_name(o->a, res->group, v->version, res->kind);
		openapi_scan(o, text);
		buf_addf(&p->types, "%s\"" STR_FMT "\":", p->first_type ? "" : ",", STR_ARG(type));
		openapi_add_text(o, &p->types, text);
		p->first_type = false;
	} else if (type.n) {
		openapi_want(o, type);
	}
	openapi_path(o, &p->paths, res, v, type, false, &p->first_path);
	if (res->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE))
		openapi_path(o, &p->paths, res, v, type, true, &p->first_path);
}

/* gv NULL: everything. */
static void openapi_collect(struct openapi *o, struct openapi_parts *p,
			    const struct discovery_gv *gv)
{
	const struct resource *res = NULL;

	while ((res = registry_next(o->s->registry, res)))
		for (size_t i = 0; i < res->n_versions; i++) {
			const struct resource_version *v = &res->versions[i];

			if (!v->served || (gv && (!str_eq(res->group, gv->group) ||
						  !str_eq(v->version, gv->version))))
				continue;
			openapi_resource(o, p, res, v);
			for (size_t k = 0; k < v->n_subresources; k++) {
				const struct subresource *sub = &v->subresources[k];
				struct str group = sub->kind_group, first = STR("core");

				if (!sub->kind_version.n)
					continue;
				if (group.n)
					str_cut(&group, '.', &first);
				openapi_want(
					o, arena_fmt(o->a,
						     "io.k8s.api." STR_FMT "." STR_FMT "." STR_FMT,
						     STR_ARG(first), STR_ARG(sub->kind_version),
						     STR_ARG(sub->kind)));
			}
		}
	openapi_want(o, STR(META_V1 "DeleteOptions"));
	openapi_want(o, STR(META_V1 "Status"));
	openapi_types(o, &p->types, p->first_type);
}

static void openapi_document(struct apiserver *s, struct arena *a, const struct discovery_gv *gv,
			     bool v2, struct buf *out)
{
	struct openapi *o = arena_new_obj(a, struct openapi);
	struct openapi_parts p = { .first_path = true, .first_type = true };

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

/*
 * The name of a document's content: what went into it, without making it. Equal over restarts,
 * since clients keep documents on disk by it.
 */
static struct str openapi_hash(struct apiserver *s, struct arena *a, struct discovery_gv gv)
{
	static char built_in[129];
	const struct resource *res = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	if (!built_in[0]) {
		_cleanup_buf_ struct buf all = { 0 };
		struct str digest;

		for (size_t i = 0; i < schema_n_texts; i++)
			buf_add(&all, schema_texts[i].json);
		digest = sha512_hex_upper(a, buf_str(&all));
		memcpy(built_in, digest.p, MIN(digest.n, sizeof(built_in) - 1));
	}
	buf_addf(&b, "1 %s " STR_FMT " " STR_FMT, built_in, STR_ARG(gv.group), STR_ARG(gv.version));
	while ((res = registry_next(s->registry, res)))
		if (str_eq(res->group, gv.group) && resource_version_find(res, gv.version))
			buf_addf(&b, " " STR_FMT "=%u", STR_ARG(res->plural), res->schema_gen);
	return sha512_hex_upper(a, buf_str(&b));
}

/* ---- serving */

static struct err *openapi_index(struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct json *doc = json_object(a), *paths = json_sub(a, doc, "paths");
	struct discovery_gv *gvs = NULL;
	size_t n = discovery_versions(rq->server, a, &gvs);

	for (size_t i = 0; i < n; i++) {
		struct json *entry = json_object(a);
		struct str path = discovery_path(a, gvs[i]);
		struct str hash = openapi_hash(rq->server, a, gvs[i]);

		json_set(a, entry, "serverRelativeURL",
			 json_strf(a, "/openapi/v3" STR_FMT "?hash=" STR_FMT, STR_ARG(path),
				   STR_ARG(hash)));
		json_set_s(a, paths, str_skip(path, 1), entry);
	}
	respond_text(rq, 200, "application/json", arena_cat(a, json_text(a, doc), STR("\n")));
	return NULL;
}

static struct err *openapi_not_found(struct api_request *rq)
{
	respond_text(rq, 404, "text/plain; charset=utf-8", STR_EMPTY);
	return NULL;
}

static struct err *openapi_v3(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct str path = str_skip(rq->path, sizeof("/openapi/v3") - 1), want, hash, etag;
	_cleanup_buf_ struct buf b = { 0 };
	struct discovery_gv *gvs = NULL;
	struct arena *a = rq->arena;
	size_t n, i = 0;

	if (!path.n || str_eqz(path, "/"))
		return openapi_index(rq);
	n = discovery_versions(rq->server, a, &gvs);
	while (i < n && !str_eq(discovery_path(a, gvs[i]), path))
		i++;
	if (i == n)
		return openapi_not_found(rq);
	hash = openapi_hash(rq->server, a, gvs[i]);
	etag = arena_fmt(a, "\"" STR_FMT "\"", STR_ARG(hash));
	want = http_query_find(&rq->http->query, "hash");
	if (want.n && !str_eq(want, hash)) {
		http_set_header(rq->x, "Location",
				arena_fmt(a, "/openapi/v3" STR_FMT "?hash=" STR_FMT, STR_ARG(path),
					  STR_ARG(hash)));
		respond_text(rq, 301, "text/plain; charset=utf-8", STR_EMPTY);
		return NULL;
	}
	http_set_header(rq->x, "ETag", etag);
	http_set_header(rq->x, "Vary", STR("Accept"));
	if (want.n)
		http_set_header(rq->x, "Cache-Control", STR("public, immutable"));
	if (str_eq(http_headers_find(&rq->http->headers, "if-none-match"), etag)) {
		respond_text(rq, 304, "application/json", STR_EMPTY);
		return NULL;
	}
	openapi_document(rq->server, a, &gvs[i], false, &b);
	respond_text(rq, 200, "application/json", buf_str(&b));
	return NULL;
}

#define OPENAPI_V2_PROTO "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* The content type to answer with, NULL when the client takes none of ours. */
static const char *openapi_v2_type(const struct api_request *rq)
{
	struct str accept = http_headers_find(&rq->http->headers, "accept"), clause, type;

	if (!accept.n)
		return "application/json";
	while (str_split_next(&accept, ',', &clause)) {
		str_cut(&clause, ';', &type);
		type = str_trim(type);
		if (str_eqz(type, OPENAPI_V2_PROTO) ||
		    str_eqz(type, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"))
			return OPENAPI_V2_PROTO;
		if (str_eqz(type, "application/json") || str_eqz(type, "*/*") ||
		    str_eqz(type, "application/*"))
			return "application/json";
	}
	return NULL;
}

static struct err *openapi_v2(struct path_handler *h UNUSED, struct api_request *rq)
{
	const char *type = openapi_v2_type(rq);
	_cleanup_buf_ struct buf b = { 0 };
	struct str etag;

	http_set_header(rq->x, "Vary", STR("Accept-Encoding, Accept"));
	if (!type) {
		respond_text(rq, 406, "text/plain; charset=utf-8", STR_EMPTY);
		return NULL;
	}
	openapi_document(rq->server, rq->arena, NULL, true, &b);
	if (str_eqz(str_from(type), OPENAPI_V2_PROTO)) {
		struct json *doc = NULL;

		TRY(json_parse(rq->arena, buf_to_arena(&b, rq->arena), &doc));
		buf_clear(&b);
		openapi_encode_v2(rq->arena, &b, doc);
	}
	etag = arena_fmt(rq->arena, "\"" STR_FMT "\"",
			 STR_ARG(sha512_hex_upper(rq->arena, buf_str(&b))));
	http_set_header(rq->x, "ETag", etag);
	if (str_eq(http_headers_find(&rq->http->headers, "if-none-match"), etag))
		respond_text(rq, 304, type, STR_EMPTY);
	else
		respond_text(rq, 200, type, buf_str(&b));
	return NULL;
}

struct err *openapi_init(struct apiserver *s)
{
	static struct path_handler handlers[] = {
		{ .path = "/openapi/v2", .handle = openapi_v2 },
		{ .path = "/openapi/v3*", .handle = openapi_v3 },
	};

	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		apiserver_add_path(s, &handlers[i]);
	return NULL;
}
