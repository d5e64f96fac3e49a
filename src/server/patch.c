/* SPDX-License-Identifier: Apache-2.0 */

/* PATCH: JSON patch, merge patch and, for built-in kinds, strategic merge patch. */

#include "json/patch.h"

#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/apply.h"
#include "server/audit.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "json/json.h"

#define JSON_PATCH_MAX_OPS 10000

#define TYPE_JSON      "application/json-patch+json"
#define TYPE_MERGE     "application/merge-patch+json"
#define TYPE_STRATEGIC "application/strategic-merge-patch+json"
#define TYPE_APPLY     "application/apply-patch+yaml"

struct patch_change {
	struct engine_change base;
	struct str type;
	struct json *patch, *dups;
};

static struct str patch_type(const struct api_request *rq)
{
	struct str ct = http_headers_find(&rq->http->headers, "content-type"), type;

	str_cut(&ct, ';', &type);
	return str_trim(type);
}

bool patch_is_apply(const struct api_request *rq)
{
	return rq->verb == VERB_PATCH && str_eqz(patch_type(rq), TYPE_APPLY);
}

static struct err *patch_unsupported(const struct api_request *rq)
{
	return err_new(ERR_UNSUPPORTED_MEDIA_TYPE,
		       "the body of the request was in an unknown format - accepted media types "
		       "include: " TYPE_JSON ", " TYPE_MERGE "%s, " TYPE_APPLY,
		       rq->res->custom ? "" : ", " TYPE_STRATEGIC);
}

static struct err *patch_check_type(struct api_request *rq, struct str type)
{
	if (str_eqz(type, TYPE_JSON) || str_eqz(type, TYPE_MERGE))
		return NULL;
	if (str_eqz(type, TYPE_STRATEGIC) && !rq->res->custom)
		return NULL;
	if (str_eqz(type, TYPE_STRATEGIC) || str_eqz(type, TYPE_APPLY))
		return patch_unsupported(rq);
	return err_details(err_new(ERR_UNSUPPORTED_MEDIA_TYPE, "415: Unsupported Media Type"),
			   STR_EMPTY, STR_EMPTY, STR_EMPTY);
}

struct err *patch_read_type(struct api_request *rq, struct str *ret)
{
	*ret = patch_type(rq);
	return patch_check_type(rq, *ret);
}

static struct err *patch_read(struct api_request *rq, struct patch_change *c)
{
	enum media media;
	struct str text;
	struct err *e;

	TRY(body_read(rq, &text, &media));
	e = json_parse_dups(rq->arena, text, &c->patch, &c->dups);
	if (e)
		return err_recode(
			err_remsg(e, "error decoding patch: " STR_FMT, STR_ARG(err_msg(e))),
			ERR_BAD_REQUEST);
	audit_request_patch(rq, c->patch);
	if (str_eqz(c->type, TYPE_JSON)) {
		if (!json_is(c->patch, JSON_ARRAY))
			return err_new(
				ERR_BAD_REQUEST,
				"error decoding patch: json: cannot unmarshal %s into Go value "
				"of type []handlers.jsonPatchOp",
				json_type_name(c->patch));
		if (json_len(c->patch) > JSON_PATCH_MAX_OPS)
			return err_new(
				ERR_TOO_LARGE,
				"Request entity too large: The allowed maximum operations in "
				"a JSON patch is %d, got %zu",
				JSON_PATCH_MAX_OPS, json_len(c->patch));
		return NULL;
	}
	if (!json_is(c->patch, JSON_OBJECT))
		return err_new(
			ERR_BAD_REQUEST,
			"error decoding patch: json: cannot unmarshal %s into Go value of type "
			"map[string]interface {}",
			json_type_name(c->patch));
	return NULL;
}

struct err *patch_apply(struct api_request *rq, struct str type, const struct json *doc,
			const struct json *patch, struct json **ret)
{
	if (str_eqz(type, TYPE_JSON)) {
		struct err *e = json_patch_apply(rq->arena, doc, patch, ret);

		if (!e)
			return NULL;
		err_free(e);
		return err_details(err_new(ERR_INVALID,
					   "the server rejected our request due to an error in our "
					   "request"),
				   STR_EMPTY, STR_EMPTY, STR_EMPTY);
	}
	if (str_eqz(type, TYPE_MERGE)) {
		*ret = json_merge_patch(rq->arena, doc, patch);
		return NULL;
	}
	return schema_strategic_merge(rq->arena, object_schema(rq), doc, patch, ret);
}

/* The result of a patch is decoded like a body, but its failures are the patch's. */
static struct err *patch_result_check(struct api_request *rq, struct json *obj, struct json *dups)
{
	struct err *e = body_check(rq, obj, dups), *inv = NULL;

	if (!e)
		return NULL;
	cause_invalid_str(&inv, STR("patch"), json_text(rq->arena, obj), STR_FMT,
			  STR_ARG(err_msg(e)));
	err_free(e);
	return error_invalid(inv, STR_EMPTY, STR_EMPTY, STR_EMPTY);
}

static struct err *patch_change_apply(struct engine_change *base, struct api_request *rq,
				      const struct json *old, struct json **ret)
{
	struct patch_change *c = (struct patch_change *)base;

	TRY(patch_apply(rq, c->type, old, c->patch, ret));
	if (!json_is(*ret, JSON_OBJECT))
		return err_new(ERR_INVALID,
			       "the server rejected our request due to an error in our request");
	/* the result shares nothing with what is compared to it later */
	*ret = json_copy(rq->arena, *ret);
	return patch_result_check(rq, *ret, c->dups);
}

static struct err *patch_no_force(struct api_request *rq)
{
	struct err *e = NULL;

	if (http_query_find(&rq->http->query, "force").p)
		cause_forbidden(&e, STR("force"), "may not be specified for non-apply patch");
	return error_invalid(e, STR("meta.k8s.io"), STR("PatchOptions"), STR_EMPTY);
}

struct err *serve_patch(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct patch_change c = { .base = { .apply = patch_change_apply } };

	if (patch_is_apply(rq))
		return serve_apply(rq);
	TRY(patch_read_type(rq, &c.type));
	TRY(patch_no_force(rq));
	TRY(patch_read(rq, &c));
	TRY(engine_update(rq, &c.base, &o));
	return respond_obj(rq, 200, o);
}
