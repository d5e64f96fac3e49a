/* SPDX-License-Identifier: Apache-2.0 */

/* The body of an apply: YAML or JSON of one object, checked against its type as far as merging
 * needs. */

#include "api/fields.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/apply.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "json/json.h"
#include "json/yaml.h"

struct err *apply_check_size(const struct json *obj)
{
	if (!fields_too_large(obj))
		return NULL;
	return err_new(ERR_TOO_LARGE,
		       "Request entity too large: an applied object may have at most %d members in "
		       "a map or list, and %d levels",
		       FIELDS_MEMBERS_MAX, FIELDS_DEPTH_MAX);
}

static struct err *apply_options(struct api_request *rq, bool *ret_force)
{
	struct err *e = NULL;

	*ret_force = http_query_true(&rq->http->query, "force");
	if (str_empty(rq->opt.field_manager))
		cause_required(&e, STR("fieldManager"), "is required for apply patch");
	return error_invalid(e, STR("meta.k8s.io"), STR("PatchOptions"), STR_EMPTY);
}

/* Repeated keys: an error, warnings or nothing. */
static struct err *apply_dups(struct api_request *rq, const struct json *dups)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (rq->opt.field_validation == FIELDS_IGNORE || !json_len(dups))
		return NULL;
	json_for_each(it, dups)
	{
		buf_addf(&b, "\n  " STR_FMT, STR_ARG(json_as_str(it.val)));
		if (rq->opt.field_validation == FIELDS_WARN)
			request_warn(rq, STR_FMT, STR_ARG(json_as_str(it.val)));
	}
	if (rq->opt.field_validation == FIELDS_WARN)
		return NULL;
	return err_new(ERR_BAD_REQUEST,
		       "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal "
		       "errors:%s",
		       b.p);
}

/* JSON is the fast way; whatever is not quite JSON is read as YAML. */
static struct err *apply_parse(struct api_request *rq, struct str text, struct json **ret)
{
	struct json *dups = NULL;
	struct err *e = NULL;

	if (str_has_prefix(str_trim(text), STR("{")))
		e = json_parse_dups(rq->arena, text, ret, &dups);
	if (!e && *ret && !json_len(dups))
		return NULL;
	if (e)
		err_ignore(e, "read as YAML below");
	e = yaml_parse_dups(rq->arena, text, ret, &dups);
	if (e)
		return err_recode(err_remsg(e,
					    "error decoding YAML: error converting YAML to "
					    "JSON: " STR_FMT,
					    STR_ARG(err_msg(e))),
				  ERR_BAD_REQUEST);
	if (!json_is(*ret, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST,
			       "error decoding YAML: json: cannot unmarshal %s into Go value of "
			       "type map[string]interface {}",
			       json_type_name(*ret));
	return apply_dups(rq, dups);
}

/* "apps/v1, Kind=ReplicaSet", "/v1, Kind=Pod" */
static struct str apply_gvk(struct arena *a, const struct json *obj)
{
	struct str av = json_str_at(obj, "apiVersion");

	return arena_fmt(a, "%s" STR_FMT ", Kind=" STR_FMT,
			 str_find_char(av, '/', 0) == av.n ? "/" : "", STR_ARG(av),
			 STR_ARG(json_str_at(obj, "kind")));
}

static struct err *apply_check_typed(struct api_request *rq, const struct json *config)
{
	struct json *errors = json_array(rq->arena);
	_cleanup_buf_ struct buf b = { 0 };
	struct str ns = meta_namespace(config), name = meta_name(config);

	fields_check(rq->arena, object_schema(rq), config, errors);
	if (!json_len(errors))
		return NULL;
	if (json_len(errors) > 1)
		buf_addz(&b, "errors:");
	json_for_each(it, errors) buf_addf(&b, "%s" STR_FMT, json_len(errors) > 1 ? "\n  " : "",
					   STR_ARG(json_as_str(it.val)));
	return err_new(ERR_UNKNOWN,
		       "failed to create typed patch object (" STR_FMT "/" STR_FMT "; " STR_FMT
		       "): %s",
		       STR_ARG(ns), STR_ARG(name), STR_ARG(apply_gvk(rq->arena, config)), b.p);
}

struct err *apply_check(struct api_request *rq, struct json *config)
{
	struct json *meta;
	struct str name;

	if (!str_eq(json_str_at(config, "kind"), object_kind(rq)) ||
	    !str_eq(json_str_at(config, "apiVersion"), object_api_version(rq)))
		return err_new(ERR_BAD_REQUEST, "invalid object type: " STR_FMT,
			       STR_ARG(apply_gvk(rq->arena, config)));
	if (json_len(json_path(config, "metadata", "managedFields", NULL)))
		return err_new(ERR_BAD_REQUEST, "metadata.managedFields must be nil");
	TRY(apply_check_size(config));
	meta = json_get(config, "metadata");
	if (meta && !json_is(meta, JSON_OBJECT))
		return apply_check_typed(rq, config);
	json_delz(meta, "managedFields");
	name = json_str_at(meta, "name");
	if (!str_empty(name) && !str_eq(name, rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       ") does not match the name on the URL (" STR_FMT ")",
			       STR_ARG(name), STR_ARG(rq->name));
	return apply_check_typed(rq, config);
}

struct err *apply_read(struct api_request *rq, struct json **ret, bool *ret_force)
{
	enum media media;
	struct str text;

	TRY(apply_options(rq, ret_force));
	TRY(body_read(rq, &text, &media));
	TRY(apply_parse(rq, text, ret));
	return apply_check(rq, *ret);
}
