/* SPDX-License-Identifier: Apache-2.0 */

/* Request bodies: text to a tree of the right kind, pruned and defaulted. */

#include "api/gvk.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/protobuf.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"
#include "json/yaml.h"

#define BODY_MAX 3145728

static struct err *body_media(struct api_request *rq, enum media *ret)
{
	struct str ct = http_headers_find(&rq->http->headers, "content-type"), type = ct;

	str_cut(&ct, ';', &type);
	type = str_trim(type);
	if (str_empty(type) || str_eq_nocase(type, STR("application/json"))) {
		*ret = MEDIA_JSON;
		return NULL;
	}
	if (str_eq_nocase(type, STR("application/yaml"))) {
		*ret = MEDIA_YAML;
		return NULL;
	}
	/* only built-in types have field numbers */
	if (str_eq_nocase(type, STR("application/vnd.kubernetes.protobuf")) &&
	    !str_empty(object_type_name(rq))) {
		*ret = MEDIA_PROTOBUF;
		return NULL;
	}
	return err_new(ERR_UNSUPPORTED_MEDIA_TYPE,
		       "the body of the request was in an unknown format - accepted media types "
		       "include: application/json, application/yaml%s",
		       rq->res->custom ? "" : ", application/vnd.kubernetes.protobuf");
}

/*
 * Reads on over a body that is just too large: a client that is still sending would not see an
 * answer that ends the connection.
 */
static void body_discard(struct http_exchange *x)
{
	size_t left = BODY_MAX + BODY_MAX / 3;
	struct str piece = { "", 1 };

	while (piece.n && left >= piece.n) {
		struct err *e;

		left -= piece.n;
		e = http_read_body_some(x, &piece);
		if (e) {
			err_ignore(e, "the answer goes out all the same");
			return;
		}
	}
}

struct err *body_read(struct api_request *rq, struct str *ret, enum media *ret_media)
{
	struct err *e;

	*ret_media = MEDIA_JSON;
	e = http_read_body(rq->x, BODY_MAX, ret);
	if (e && err_is(e, ERR_TOO_LARGE)) {
		body_discard(rq->x);
		return err_remsg(e, "Request entity too large: limit is %d", BODY_MAX);
	}
	if (e)
		return e;
	/* patches name their own types */
	if (rq->verb == VERB_PATCH)
		return NULL;
	if (str_empty(*ret) && (rq->verb & (VERB_DELETE | VERB_DELETECOLLECTION)))
		return NULL;
	return body_media(rq, ret_media);
}

struct err *body_parse(struct api_request *rq, struct str text, enum media media, struct json **ret,
		       struct json **ret_dups)
{
	struct err *e;

	if (media == MEDIA_PROTOBUF)
		return protobuf_decode(rq->arena, registry_types(rq->server->registry),
				       object_type_name(rq), text, ret);
	if (media == MEDIA_YAML)
		e = yaml_parse(rq->arena, text, ret);
	else
		e = json_parse_dups(rq->arena, text, ret, ret_dups);
	if (e)
		return err_recode(
			err_remsg(e,
				  "the object provided is unrecognized (must be of type " STR_FMT
				  "): couldn't get version/kind; json parse "
				  "error: " STR_FMT,
				  STR_ARG(object_kind(rq)), STR_ARG(err_msg(e))),
			ERR_BAD_REQUEST);
	if (!json_is(*ret, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST,
			       "the object provided is unrecognized (must be of type " STR_FMT
			       "): couldn't get version/kind; json parse error: json: cannot "
			       "unmarshal %s into Go value of type struct { APIVersion string "
			       "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
			       "\"json:\\\"kind,omitempty\\\"\" }",
			       STR_ARG(object_kind(rq)), json_type_name(*ret));
	return NULL;
}

static struct err *body_check_kind(struct api_request *rq, const struct json *obj)
{
	struct str kind = json_str_at(obj, "kind"), av = json_str_at(obj, "apiVersion");
	struct str want = object_kind(rq), want_av = object_api_version(rq);

	if (rq->res->custom && (str_empty(kind) || str_empty(av)))
		return err_new(ERR_BAD_REQUEST,
			       "the object provided is unrecognized (must be of type " STR_FMT
			       "): Object '%s' is missing in '" STR_FMT "'",
			       STR_ARG(want), str_empty(kind) ? "Kind" : "apiVersion",
			       STR_ARG(json_text(rq->arena, obj)));
	if (str_empty(kind) && str_empty(av))
		return NULL;
	if (!str_empty(kind) && !str_eq(kind, want))
		return err_new(ERR_BAD_REQUEST,
			       STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT
				       ": converting (" STR_FMT "." STR_FMT ") to (" STR_FMT
				       "." STR_FMT "): unknown conversion",
			       STR_ARG(kind), STR_ARG(av), STR_ARG(want), STR_ARG(av),
			       STR_ARG(kind), STR_ARG(want_av), STR_ARG(want));
	if (!str_empty(av) && !str_eq(av, want_av))
		return err_new(ERR_BAD_REQUEST,
			       "the API version in the data (" STR_FMT
			       ") does not match the expected API version (" STR_FMT ")",
			       STR_ARG(av), STR_ARG(want_av));
	return NULL;
}

/* Unknown and repeated members: an error, warnings or nothing. */
static struct err *body_unknown(struct api_request *rq, const struct json *dups,
				const struct json *unknown)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (rq->opt.field_validation == FIELDS_IGNORE || (!json_len(dups) && !json_len(unknown)))
		return NULL;
	json_for_each(it, unknown) buf_addf(&b, "%sunknown field \"" STR_FMT "\"", b.n ? ", " : "",
					    STR_ARG(json_as_str(it.val)));
	json_for_each(it, dups) buf_addf(&b, "%sduplicate field \"" STR_FMT "\"", b.n ? ", " : "",
					 STR_ARG(json_as_str(it.val)));
	if (rq->opt.field_validation == FIELDS_STRICT) {
		if (rq->verb == VERB_PATCH)
			return err_new(ERR_INVALID, "strict decoding error: %s", b.p);
		return err_new(ERR_BAD_REQUEST,
			       STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT
				       ": strict decoding error: %s",
			       STR_ARG(object_kind(rq)), STR_ARG(object_version(rq)),
			       STR_ARG(object_kind(rq)), b.p);
	}
	json_for_each(it, unknown)
		request_warn(rq, "unknown field \"" STR_FMT "\"", STR_ARG(json_as_str(it.val)));
	json_for_each(it, dups)
		request_warn(rq, "duplicate field \"" STR_FMT "\"", STR_ARG(json_as_str(it.val)));
	return NULL;
}

struct err *body_check(struct api_request *rq, struct json *obj, struct json *dups)
{
	const struct schema *schema = object_schema(rq);
	struct json *unknown = json_array(rq->arena);
	struct err *e;

	TRY(body_check_kind(rq, obj));
	if (schema && !rq->res->custom) {
		e = schema_check_types(schema, obj);
		if (e)
			return err_recode(
				err_remsg(e,
					  STR_FMT " in version \"" STR_FMT
						  "\" cannot be handled as a " STR_FMT ": " STR_FMT,
					  STR_ARG(object_kind(rq)), STR_ARG(object_version(rq)),
					  STR_ARG(object_kind(rq)), STR_ARG(err_msg(e))),
				ERR_BAD_REQUEST);
	}
	object_prune(rq, obj, unknown);
	TRY(body_unknown(rq, dups, unknown));
	object_default(rq, obj);
	return NULL;
}

struct err *body_decode(struct api_request *rq, struct json **ret)
{
	struct json *obj = NULL, *dups = NULL;
	enum media media;
	struct str text;

	TRY(body_read(rq, &text, &media));
	if (media != MEDIA_PROTOBUF && str_empty(str_trim(text)))
		return err_new(ERR_BAD_REQUEST,
			       "the object provided is unrecognized (must be of type " STR_FMT
			       "): couldn't get version/kind; json parse error: unexpected end of "
			       "JSON input",
			       STR_ARG(object_kind(rq)));
	TRY(body_parse(rq, text, media, &obj, &dups));
	TRY(body_check(rq, obj, dups));
	if (rq->audit)
		audit_request_object(rq, obj);
	*ret = obj;
	return NULL;
}
