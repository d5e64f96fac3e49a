/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Serving OpenAPI documents. Each is named by a hash of what it is made from, so that a client
 * which has it already costs nothing; otherwise it is made for the response and forgotten.
 */

#include "server/openapi.h"

#include "api/schema-data.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/accept.h"
#include "server/aggregate.h"
#include "server/discovery.h"
#include "server/openapi-internal.h"
#include "server/openapi-merge.h"
#include "server/openapi-proto.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "json/json.h"

/*
 * The name of a document's content: what went into it, without making it. Equal over restarts,
 * since clients keep documents on disk by it. gv NULL: of everything.
 */
static struct str openapi_hash(struct apiserver *s, struct arena *a, const struct discovery_gv *gv)
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
	buf_addf(&b, "2 %s ", built_in);
	if (gv)
		buf_addf(&b, STR_FMT " " STR_FMT, STR_ARG(gv->group), STR_ARG(gv->version));
	while ((res = registry_next(s->registry, res)))
		if (!gv ||
		    (str_eq(res->group, gv->group) && resource_version_find(res, gv->version)))
			buf_addf(&b, " " STR_FMT "." STR_FMT "=" STR_FMT "," STR_FMT "%d%u",
				 STR_ARG(res->plural), STR_ARG(res->group), STR_ARG(res->kind),
				 STR_ARG(res->list_kind), res->namespaced, res->schema_gen);
	return sha512_hex_upper(a, buf_str(&b));
}

/* ---- serving */

#define OPENAPI_V3_PROTO "application/com.github.proto-openapi.spec.v3"

static struct err *openapi_index(struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct json *doc = json_object(a), *paths = json_sub(a, doc, "paths");
	struct discovery_gv *gvs = NULL;
	size_t n = discovery_versions(rq->server, a, &gvs);

	for (size_t i = 0; i < n; i++) {
		struct json *entry = json_object(a);
		struct str path = discovery_path(a, gvs[i]);
		struct str hash = openapi_hash(rq->server, a, &gvs[i]);

		json_set(a, entry, "serverRelativeURL",
			 json_strf(a, "/openapi/v3" STR_FMT "?hash=" STR_FMT, STR_ARG(path),
				   STR_ARG(hash)));
		json_set_s(a, paths, str_skip(path, 1), entry);
	}
	aggregate_openapi_index(a, paths);
	/* upstream's type for it, whatever the client accepts */
	respond_text(rq, 200, "text/plain; charset=utf-8",
		     arena_cat(a, json_text(a, doc), STR("\n")));
	return NULL;
}

static struct err *openapi_nothing(struct api_request *rq, int status)
{
	http_respond(rq->x, status, NULL, STR_EMPTY);
	return NULL;
}

/* Those who ask for protobuf alone are given JSON, and can read it. */
static bool openapi_v3_acceptable(const struct api_request *rq)
{
	struct accept_clause *v = NULL;
	size_t n = accept_clauses(rq->arena, http_headers_find(&rq->http->headers, "accept"), &v);

	return !n || accept_has(v, n, "application/json") || accept_has(v, n, "application/*") ||
	       accept_has(v, n, OPENAPI_V3_PROTO ".v1.0+protobuf") ||
	       accept_has(v, n, OPENAPI_V3_PROTO "@v1.0+protobuf");
}

static struct err *openapi_v3(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct str path = str_skip(rq->path, sizeof("/openapi/v3") - 1), want, hash, etag;
	_cleanup_buf_ struct buf b = { 0 };
	struct discovery_gv *gvs = NULL;
	struct arena *a = rq->arena;
	bool served = false;
	size_t n, i = 0;

	if (!path.n)
		return openapi_index(rq);
	n = discovery_versions(rq->server, a, &gvs);
	while (i < n && !str_eq(discovery_path(a, gvs[i]), path))
		i++;
	if (i == n) {
		TRY(aggregate_openapi_serve(rq, str_skip(path, 1), &served));
		return served ? NULL : openapi_nothing(rq, 404);
	}
	http_set_header(rq->x, "Vary", STR("Accept"));
	if (!openapi_v3_acceptable(rq))
		return openapi_nothing(rq, 406);
	hash = openapi_hash(rq->server, a, &gvs[i]);
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

/* The whole document, with those of other servers. */
static struct err *openapi_v2_text(struct api_request *rq, const struct json *others, bool proto,
				   struct buf *out)
{
	struct arena *a = rq->arena;
	struct json *doc = NULL;

	openapi_document(rq->server, a, NULL, true, out);
	if (!json_len(others) && !proto)
		return NULL;
	TRY(json_parse(a, buf_to_arena(out, a), &doc));
	buf_clear(out);
	json_for_each(it, others) openapi_merge_v2(a, doc, it.val);
	if (proto)
		openapi_encode_v2(a, out, doc);
	else
		json_write(out, doc);
	return NULL;
}

/* What of other servers is in it counts like what is ours. */
static struct str openapi_v2_etag(struct api_request *rq, const struct json *others, bool proto)
{
	struct str hash = openapi_hash(rq->server, rq->arena, NULL);

	if (json_len(others))
		hash = sha512_hex_upper(rq->arena,
					arena_cat(rq->arena, hash, json_text(rq->arena, others)));
	return arena_fmt(rq->arena, "\"" STR_FMT "%s\"", STR_ARG(hash), proto ? "P" : "");
}

static struct err *openapi_v2(struct path_handler *h UNUSED, struct api_request *rq)
{
	const char *type = openapi_v2_type(rq);
	_cleanup_buf_ struct buf b = { 0 };
	struct json *others = NULL;
	struct str etag;
	bool proto;

	http_set_header(rq->x, "Vary", STR("Accept-Encoding, Accept"));
	if (!type)
		return openapi_nothing(rq, 406);
	proto = str_eqz(str_from(type), OPENAPI_V2_PROTO);
	TRY(aggregate_openapi_v2(rq->arena, &others));
	etag = openapi_v2_etag(rq, others, proto);
	http_set_header(rq->x, "ETag", etag);
	if (str_eq(http_headers_find(&rq->http->headers, "if-none-match"), etag)) {
		respond_text(rq, 304, type, STR_EMPTY);
		return NULL;
	}
	TRY(openapi_v2_text(rq, others, proto, &b));
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
