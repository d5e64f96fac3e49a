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

static struct err *patch_rejected(void)
{
	return err_details(
		err_new(ERR_INVALID,
			"the server rejected our request due to an error in our request"),
		STR_EMPTY, STR_EMPTY, STR_EMPTY);
}

static const char *patch_go_type(const struct json *v)
{
	if (json_is(v, JSON_INT) || json_is(v, JSON_REAL))
		return "number";
	return json_is(v, JSON_BOOL) ? "bool" : json_type_name(v);
}

static struct err *patch_bad_type(const struct patch_change *c, const struct json *v,
				  const char *want)
{
	return err_new(ERR_BAD_REQUEST, "%sjson: cannot unmarshal %s into Go value of type %s",
		       str_eqz(c->type, TYPE_STRATEGIC) ? "" : "error decoding patch: ",
		       patch_go_type(v), want);
}

/* Operations have no other members than these. */
static void patch_find_unknown(struct api_request *rq, const struct json *ops, struct json *texts)
{
	static const char *const known[] = { "op", "path", "from", "value" };

	json_for_each(op, ops) json_for_each(it, op.val)
	{
		size_t i = 0;

		while (i < ARRAY_LEN(known) && !str_eqz(it.key, known[i]))
			i++;
		if (i == ARRAY_LEN(known))
			json_push(texts, json_strf(rq->arena,
						   "json patch unknown field \"[%zu]." STR_FMT "\"",
						   op.i, STR_ARG(it.key)));
	}
}

static struct err *patch_check_ops(struct api_request *rq, struct patch_change *c)
{
	struct json *texts = json_array(rq->arena);

	if (!json_is(c->patch, JSON_ARRAY))
		return patch_bad_type(c, c->patch, "[]handlers.jsonPatchOp");
	if (json_len(c->patch) > JSON_PATCH_MAX_OPS)
		return err_new(ERR_TOO_LARGE,
			       "Request entity too large: The allowed maximum operations in a JSON "
			       "patch is %d, got %zu",
			       JSON_PATCH_MAX_OPS, json_len(c->patch));
	json_for_each(it, c->patch) if (!json_is(it.val, JSON_OBJECT)) return patch_bad_type(
		c, it.val, "handlers.jsonPatchOp");
	json_for_each(it, c->dups)
		json_push(texts, json_strf(rq->arena, "json patch duplicate field \"" STR_FMT "\"",
					   STR_ARG(json_as_str(it.val))));
	patch_find_unknown(rq, c->patch, texts);
	c->dups = NULL;
	if (!json_len(texts) || rq->opt.field_validation == FIELDS_IGNORE)
		return NULL;
	if (rq->opt.field_validation == FIELDS_STRICT)
		return patch_rejected();
	json_for_each(it, texts) request_warn(rq, STR_FMT, STR_ARG(json_as_str(it.val)));
	return NULL;
}

static struct err *patch_read(struct api_request *rq, struct patch_change *c)
{
	enum media media;
	struct str text;
	struct err *e;

	TRY(body_read(rq, &text, &media));
	e = json_parse_dups(rq->arena, text, &c->patch, &c->dups);
	if (e && str_eqz(c->type, TYPE_STRATEGIC))
		return err_recode(e, ERR_BAD_REQUEST);
	if (e)
		return err_recode(
			err_remsg(e, "error decoding patch: " STR_FMT, STR_ARG(err_msg(e))),
			ERR_BAD_REQUEST);
	audit_request_patch(rq, c->patch);
	if (str_eqz(c->type, TYPE_JSON))
		return patch_check_ops(rq, c);
	if (json_is_null(c->patch))
		return err_new(ERR_BAD_REQUEST, "Invalid JSON Patch");
	if (!json_is(c->patch, JSON_OBJECT))
		return patch_bad_type(c, c->patch, "map[string]interface {}");
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
		return patch_rejected();
	}
	if (str_eqz(type, TYPE_MERGE)) {
		*ret = json_merge_patch(rq->arena, doc, patch);
		return NULL;
	}
	return schema_strategic_merge(rq->arena, object_schema(rq), doc, patch, ret);
}

/* What upstream's converter says of a strategic merge patch's result: "cannot convert int64 to
 * string". */
static struct str patch_go_conversion(struct arena *a, struct str msg)
{
	struct str rest = msg, got, want;
	const char *type = "string";

	if (!str_strip_prefix(&rest, STR("json: cannot unmarshal ")))
		return msg;
	str_cut(&rest, ' ', &got);
	want = str_skip(rest, MIN(rest.n, str_find(rest, STR(" of type ")) + 9));
	if (str_eqz(got, "number"))
		type = "int64";
	else if (str_eqz(got, "bool"))
		type = "bool";
	else if (str_eqz(got, "array"))
		type = "slice";
	else if (str_eqz(got, "object"))
		type = "map";
	if (str_has_prefix(want, STR("[]")))
		return arena_fmt(a, "cannot restore slice from %s", type);
	if (str_has_prefix(want, STR("map[")))
		return arena_fmt(a, "cannot restore map from %s", type);
	if (str_find_char(want, '.', 0) < want.n)
		return arena_fmt(a, "cannot restore struct from: %s", type);
	if (str_eqz(got, "array") || str_eqz(got, "object"))
		return arena_fmt(a, "unrecognized type: " STR_FMT, STR_ARG(want));
	return arena_fmt(a, "cannot convert %s to " STR_FMT, type, STR_ARG(want));
}

/* The result of a patch is decoded like a body, but its failures are the patch's. */
static struct err *patch_result_check(struct api_request *rq, struct json *obj,
				      const struct json *shown, bool go, struct json *dups)
{
	struct err *e = body_check(rq, obj, dups), *inv = NULL;
	struct str at = STR(" cannot be handled as a "), msg, head;

	if (!e)
		return NULL;
	msg = err_msg(e);
	if (str_find(msg, at) < msg.n) {
		msg = str_skip(msg, str_find(msg, at));
		str_cut(&msg, ':', &head);
		msg = str_trim(msg);
	}
	if (go)
		msg = patch_go_conversion(rq->arena, msg);
	cause_invalid_str(&inv, STR("patch"),
			  go ? schema_go_text(rq->arena, shown) : json_text(rq->arena, shown),
			  STR_FMT, STR_ARG(msg));
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
	if (str_eqz(c->type, TYPE_STRATEGIC)) {
		/* the result shares nothing with what is compared to it later */
		*ret = json_dup(rq->arena, *ret);
		return patch_result_check(rq, *ret, c->patch, true, c->dups);
	}
	return patch_result_check(rq, *ret, *ret, false, c->dups);
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
