/* SPDX-License-Identifier: Apache-2.0 */
#include "server/respond.h"

#include <zlib.h>

#include "api/status.h"
#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/body.h"
#include "server/object.h"
#include "server/protobuf.h"
#include "server/request.h"
#include "server/server.h"
#include "server/table.h"
#include "json/json.h"
#include "json/yaml.h"

#define GZIP_MIN   (128 * 1024)
#define GZIP_CHUNK ((size_t)16 * 1024)

static void respond_warnings(struct api_request *rq)
{
	json_for_each(it, rq->warnings)
	{
		_cleanup_buf_ struct buf b = { 0 };
		struct str s = json_as_str(it.val);

		buf_addz(&b, "299 - \"");
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == '"' || s.p[i] == '\\')
				buf_addc(&b, '\\');
			/* a header has one line */
			buf_addc(&b, (unsigned char)s.p[i] < 0x20 ? ' ' : s.p[i]);
		}
		buf_addc(&b, '"');
		http_add_header(rq->x, "Warning", buf_str(&b));
	}
}

/* Loopback peers do not gain from compression: it would cost them and us ten times the copy. */
static bool respond_gzip_wanted(const struct api_request *rq, size_t n)
{
	struct str peer = rq->http->peer_address;

	if (n <= GZIP_MIN || str_has_prefix(peer, STR("127.")) ||
	    str_has_prefix(peer, STR("[::1]")) || str_has_prefix(peer, STR("unix")))
		return false;
	return http_headers_has_token(&rq->http->headers, "accept-encoding", "gzip");
}

static bool respond_gzip(struct str in, struct buf *out)
{
	z_stream z = { 0 };
	bool ok;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	buf_reserve(out, deflateBound(&z, (uLong)in.n));
	z.next_in = (Bytef *)(uintptr_t)in.p;
	z.avail_in = (uInt)in.n;
	z.next_out = (Bytef *)out->p;
	z.avail_out = (uInt)deflateBound(&z, (uLong)in.n);
	ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
	out->n = ok ? z.total_out : 0;
	deflateEnd(&z);
	return ok;
}

void respond_text(struct api_request *rq, int status, const char *content_type, struct str body)
{
	_cleanup_buf_ struct buf zip = { 0 };

	respond_warnings(rq);
	if (rq->audit && str_has_prefix(str_from(content_type), STR("application/json")))
		audit_response(rq, &body, 1);
	if (respond_gzip_wanted(rq, body.n) && respond_gzip(body, &zip)) {
		http_set_header(rq->x, "Content-Encoding", STR("gzip"));
		http_set_header(rq->x, "Vary", STR("Accept-Encoding"));
		body = buf_str(&zip);
	}
	http_respond(rq->x, status, content_type, body);
}

void respond_plain_error(struct api_request *rq, int status, struct str text)
{
	http_set_header(rq->x, "X-Content-Type-Options", STR("nosniff"));
	respond_text(rq, status, "text/plain; charset=utf-8",
		     arena_cat(rq->arena, text, STR("\n")));
}

/* The pieces are compressed one after another, never joined. */
static bool respond_gzip_pieces(struct str head, struct blob *const *v, size_t n, struct str tail,
				struct body *out)
{
	_cleanup_free_ char *chunk = mem_alloc(GZIP_CHUNK);
	z_stream z = { 0 };
	int rc = Z_OK;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	for (size_t i = 0; i < n + 2 && rc != Z_STREAM_ERROR; i++) {
		struct str in = i == 0 ? head : i <= n ? blob_str(v[i - 1]) : tail;

		z.next_in = (Bytef *)(uintptr_t)in.p;
		z.avail_in = (uInt)in.n;
		do {
			z.next_out = (Bytef *)chunk;
			z.avail_out = GZIP_CHUNK;
			rc = deflate(&z, i == n + 1 ? Z_FINISH : Z_NO_FLUSH);
			body_add(out, str_make(chunk, GZIP_CHUNK - z.avail_out));
		} while (z.avail_out == 0);
	}
	deflateEnd(&z);
	return rc == Z_STREAM_END;
}

static void respond_audit(struct api_request *rq, struct str head, struct blob *const *v, size_t n,
			  struct str tail)
{
	struct str *parts = arena_array(rq->arena, n + 2, sizeof(*parts));

	parts[0] = head;
	for (size_t i = 0; i < n; i++)
		parts[i + 1] = blob_str(v[i]);
	parts[n + 1] = tail;
	audit_response(rq, parts, n + 2);
}

void respond_body(struct api_request *rq, int status, const char *content_type, struct str head,
		  struct body *body, struct str tail)
{
	struct body zip = { 0 };
	size_t n;
	struct blob *const *v = body_pieces(body, &n);
	struct blob **all = arena_array(rq->arena, n + 2, sizeof(struct blob *));

	respond_warnings(rq);
	if (rq->audit)
		respond_audit(rq, head, v, n, tail);
	if (respond_gzip_wanted(rq, body->total) && respond_gzip_pieces(head, v, n, tail, &zip)) {
		http_set_header(rq->x, "Content-Encoding", STR("gzip"));
		http_set_header(rq->x, "Vary", STR("Accept-Encoding"));
		v = body_pieces(&zip, &n);
		http_respond_blobs(rq->x, status, content_type, v, n);
		body_fini(&zip);
		return;
	}
	body_fini(&zip);
	all[0] = blob_from(head);
	if (n)
		memcpy(all + 1, v, n * sizeof(struct blob *));
	all[n + 1] = blob_from(tail);
	http_respond_blobs(rq->x, status, content_type, all, n + 2);
	blob_unref(all[0]);
	blob_unref(all[n + 1]);
}

bool respond_may_stream(const struct api_request *rq)
{
	return rq->x && !(rq->audit && audit_has_bodies(rq)) &&
	       !respond_gzip_wanted(rq, GZIP_MIN + 1);
}

void respond_stream(struct api_request *rq, int status, const char *content_type)
{
	respond_warnings(rq);
	http_respond_stream(rq->x, status, content_type);
}

static struct str respond_proto_type(const struct api_request *rq, struct str kind)
{
	if (str_eqz(kind, "Status"))
		return STR("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
	/* also of a delete, whose type is that of its options */
	if (str_eq(kind, rq->res->kind) || str_eq(kind, rq->res->list_kind))
		return rq->v->type;
	return object_type_name(rq);
}

/* False: it has no such form. */
static bool respond_protobuf(struct api_request *rq, int status, const struct json *doc)
{
	struct str type = respond_proto_type(rq, json_str_at(doc, "kind"));
	_cleanup_buf_ struct buf b = { 0 };

	if (!protobuf_encode(rq->arena, registry_types(rq->server->registry), type, doc, &b))
		return false;
	respond_text(rq, status, "application/vnd.kubernetes.protobuf", buf_str(&b));
	return true;
}

void respond_json(struct api_request *rq, int status, const struct json *doc)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (rq->audit)
		audit_response_status(rq, doc);
	if (rq->out.media == MEDIA_PROTOBUF && respond_protobuf(rq, status, doc))
		return;
	if (rq->out.media == MEDIA_YAML) {
		yaml_write(&b, doc);
		respond_text(rq, status, "application/yaml", buf_str(&b));
		return;
	}
	if (rq->out.pretty)
		json_write_pretty(&b, doc);
	else
		json_write(&b, doc);
	buf_addc(&b, '\n');
	respond_text(rq, status, "application/json", buf_str(&b));
}

struct err *respond_tree(struct api_request *rq, int status, struct json *tree)
{
	if (rq->out.form == OUTPUT_TABLE)
		tree = table_of_one(rq, tree);
	else if (rq->out.form == OUTPUT_METADATA)
		tree = table_metadata_only(rq, tree);
	respond_json(rq, status, tree);
	return NULL;
}

struct err *respond_obj(struct api_request *rq, int status, const struct obj *o)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_obj_ const struct obj *in = obj_ref(o);
	struct json *tree = NULL;

	TRY(object_in_version(rq, &in));
	o = in;
	if (rq->out.form == OUTPUT_PLAIN && rq->out.media == MEDIA_JSON && !rq->out.pretty) {
		TRY(object_write(rq->server->registry, rq->arena, &b, rq->res, rq->v, o, true));
		buf_addc(&b, '\n');
		respond_text(rq, status, "application/json", buf_str(&b));
		return NULL;
	}
	TRY(object_tree_v(rq->server->registry, rq->arena, rq->res, rq->v, o, &tree));
	return respond_tree(rq, status, tree);
}

/* Errors of the path itself carry empty details, upstream says so. */
static bool respond_wants_details(const struct err *e)
{
	switch (err_http_status(e)) {
	case 403:
	case 404:
	case 405:
	case 422:
		return true;
	case 406:
		return str_has_prefix(err_msg(e), STR("406:"));
	case 415:
		return str_has_prefix(err_msg(e), STR("415:"));
	default:
		return false;
	}
}

void respond_error(struct api_request *rq, struct err *e)
{
	struct json *status;
	int retry = err_get_retry_after(e), code = err_http_status(e);

	if (http_responded(rq->x)) {
		err_log(NULL, LOG_DEBUG, "request failed after its response began", e);
		return;
	}
	if (code >= 500 && err_is(e, ERR_INTERNAL))
		log_warn(NULL, "request failed", KV_STR("path", rq->path), KV_ERR(e));
	status = status_from_err(rq->arena, e);
	if (respond_wants_details(e) && !json_get(status, "details")) {
		/* the code is last */
		json_delz(status, "code");
		json_sub(rq->arena, status, "details");
		json_set_int(rq->arena, status, "code", code);
	}
	if (retry > 0)
		http_set_header(rq->x, "Retry-After", arena_fmt(rq->arena, "%d", retry));
	if (rq->out.form != OUTPUT_PLAIN)
		rq->out.form = OUTPUT_PLAIN;
	respond_json(rq, code, status);
	err_free(e);
}
