/* SPDX-License-Identifier: Apache-2.0 */

/* Request bodies: text to a tree of the right kind, pruned and defaulted. */

#include <stdio.h>
#include <stdlib.h>

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

#define BODY_MAX    3145728
#define SUMMARY_MAX 30
#define LIST_MAX    4096

static struct err *body_media(struct api_request *rq, enum media *ret)
{
	struct str ct = http_headers_find(&rq->http->headers, "content-type"), type = ct;
	struct str whole = ct;

	str_cut(&ct, ';', &type);
	type = str_trim(type);
	if (str_empty(str_trim(whole)) || str_eq_nocase(type, STR("application/json"))) {
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

/* What of a body that is no object an error shows: its beginning, as text or as hex digits. */
static struct str body_summary(struct arena *a, struct str text)
{
	size_t n = MIN(text.n, (size_t)SUMMARY_MAX);
	const char *more = text.n > SUMMARY_MAX ? " ..." : "";
	char *hex;

	if (!text.n)
		return STR("<empty>");
	if (text.p[0] == '{')
		return arena_fmt(a, STR_FMT "%s", STR_ARG(str_sub(text, 0, n)), more);
	hex = arena_alloc(a, 2 * n + 1);
	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text.p[i]);
	return arena_fmt(a, "%s%s", hex, more);
}

static struct err *body_unrecognized(struct api_request *rq, struct str text, struct str why)
{
	return err_new(ERR_BAD_REQUEST,
		       "the object provided is unrecognized (must be of type " STR_FMT "): " STR_FMT
		       " (" STR_FMT ")",
		       STR_ARG(object_kind(rq)), STR_ARG(why),
		       STR_ARG(body_summary(rq->arena, text)));
}

static struct err *body_bad_json(struct api_request *rq, struct str text, struct str why)
{
	return body_unrecognized(
		rq, text,
		arena_cat(rq->arena, STR("couldn't get version/kind; json parse error: "), why));
}

/* Go takes bytes that are no UTF-8 for U+FFFD. */
static struct str body_repair(struct arena *a, struct str text)
{
	_cleanup_buf_ struct buf b = { 0 };

	while (text.n) {
		size_t n = 1;

		while (n < 4 && n < text.n && !str_is_utf8(str_sub(text, 0, n)))
			n++;
		if (str_is_utf8(str_sub(text, 0, n))) {
			buf_add(&b, str_sub(text, 0, n));
		} else {
			buf_addz(&b, "\xef\xbf\xbd");
			n = 1;
		}
		text = str_skip(text, n);
	}
	return buf_to_arena(&b, a);
}

static struct err *body_parse_json(struct api_request *rq, struct str text, struct json **ret,
				   struct json **ret_dups)
{
	struct err *e = json_parse_dups(rq->arena, text, ret, ret_dups);

	if (e && !str_is_utf8(text)) {
		err_ignore(e, "tried again below");
		text = body_repair(rq->arena, text);
		e = json_parse_dups(rq->arena, text, ret, ret_dups);
	}
	rq->body = text;
	return e;
}

struct err *body_parse(struct api_request *rq, struct str text, enum media media, struct json **ret,
		       struct json **ret_dups)
{
	struct json *dups = NULL;
	struct err *e;
	struct str why;

	if (media == MEDIA_PROTOBUF)
		e = protobuf_decode(rq->arena, registry_types(rq->server->registry),
				    object_type_name(rq), text, ret);
	else if (media == MEDIA_YAML)
		e = yaml_parse_dups(rq->arena, text, ret, ret_dups ? ret_dups : &dups);
	else
		e = body_parse_json(rq, text, ret, ret_dups);
	if (e) {
		why = arena_str(rq->arena, err_msg(e));
		err_free(e);
		return media == MEDIA_JSON ? body_bad_json(rq, text, why)
					   : body_unrecognized(rq, text, why);
	}
	/* nothing, or null, is an object without members */
	if (json_is_null(*ret))
		*ret = json_object(rq->arena);
	if (!json_is(*ret, JSON_OBJECT))
		return body_bad_json(
			rq, text,
			arena_fmt(rq->arena,
				  "json: cannot unmarshal %s into Go value of type struct { "
				  "APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind "
				  "string \"json:\\\"kind,omitempty\\\"\" }",
				  json_is(*ret, JSON_INT)    ? "number"
				  : json_is(*ret, JSON_BOOL) ? "bool"
							     : json_type_name(*ret)));
	return NULL;
}

/* The Go package of a group's internal types. */
static struct str body_package(struct str group)
{
	struct str first;

	if (str_empty(group) || str_eqz(group, "events.k8s.io"))
		return STR("core");
	str_cut(&group, '.', &first);
	return first;
}

static struct err *body_not_handled(struct api_request *rq, const struct json *obj, struct str why)
{
	struct str av = json_str_at(obj, "apiVersion"), kind = json_str_at(obj, "kind"), group,
		   version;

	if (str_empty(av))
		av = object_api_version(rq);
	if (!gv_parse(av, &group, &version))
		version = av;
	return err_new(ERR_BAD_REQUEST,
		       STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT
			       ": " STR_FMT,
		       STR_ARG(str_empty(kind) ? object_kind(rq) : kind), STR_ARG(version),
		       STR_ARG(object_kind(rq)), STR_ARG(why));
}

/* A kind or version that is not the path's: one that there is cannot be converted. */
static struct err *body_wrong_kind(struct api_request *rq, const struct json *obj, struct str av,
				   struct str kind)
{
	const struct resource_version *v;
	struct str group = STR_EMPTY, version = STR_EMPTY, why;
	const struct resource *other = NULL;

	if (gv_parse(av, &group, &version))
		other = registry_find_kind(rq->server->registry, group, version, kind, &v);
	if (other && !other->custom && str_eq(kind, object_kind(rq)) &&
	    str_eq(body_package(group), body_package(rq->res->group)))
		return err_new(ERR_BAD_REQUEST,
			       "the API version in the data (" STR_FMT
			       ") does not match the expected API version (" STR_FMT ")",
			       STR_ARG(av), STR_ARG(object_api_version(rq)));
	if (other && !other->custom)
		why = arena_fmt(rq->arena,
				"converting (" STR_FMT "." STR_FMT ") to (" STR_FMT "." STR_FMT
				"): unknown conversion",
				STR_ARG(version), STR_ARG(kind),
				STR_ARG(body_package(rq->res->group)), STR_ARG(object_kind(rq)));
	else
		why = arena_fmt(rq->arena,
				"no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
				"\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
				STR_ARG(kind), STR_ARG(av));
	return body_not_handled(rq, obj, why);
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
	if (str_empty(kind))
		kind = want;
	if (str_empty(av))
		av = want_av;
	if (str_eq(kind, want) && str_eq(av, want_av))
		return NULL;
	if (!rq->res->custom)
		return body_wrong_kind(rq, obj, av, kind);
	if (!str_eq(kind, want))
		return err_new(ERR_BAD_REQUEST,
			       STR_FMT " in version \"" STR_FMT "\" cannot be handled as a " STR_FMT
				       ": converting (" STR_FMT "." STR_FMT ") to (" STR_FMT
				       "." STR_FMT "): unknown conversion",
			       STR_ARG(kind), STR_ARG(av), STR_ARG(want), STR_ARG(av),
			       STR_ARG(kind), STR_ARG(want_av), STR_ARG(want));
	return err_new(ERR_BAD_REQUEST,
		       "the API version in the data (" STR_FMT
		       ") does not match the expected API version (" STR_FMT ")",
		       STR_ARG(av), STR_ARG(want_av));
}

/* ---- unknown and repeated members: an error, warnings or nothing */

/* Upstream's decoders count no further. */
#define STRICT_MAX 100

struct strict {
	struct api_request *rq;
	const struct json *dups, *unknown;
	struct json *is_dup, *is_unknown; /* the same as members */
	struct json *texts, *seen;
};

static struct json *strict_set(struct arena *a, const struct json *paths)
{
	struct json *set = json_object(a);

	json_for_each(it, paths) json_set_s(a, set, json_as_str(it.val), json_null(a));
	return set;
}

static void strict_add(struct strict *s, const char *what, struct str path)
{
	struct str text;

	if (json_len(s->texts) >= STRICT_MAX)
		return;
	text = arena_fmt(s->rq->arena, "%s field \"" STR_FMT "\"", what, STR_ARG(path));
	if (json_get_s(s->seen, text))
		return;
	json_set_s(s->rq->arena, s->seen, text, json_null(s->rq->arena));
	json_push(s->texts, json_str(s->rq->arena, text));
}

static void strict_key(struct str path, bool again, void *ctx)
{
	struct strict *s = ctx;

	if (json_get_s(again ? s->is_dup : s->is_unknown, path))
		strict_add(s, again ? "duplicate" : "unknown", path);
}

static int strict_compare(const void *x, const void *y)
{
	return str_cmp(json_as_str(*(struct json *const *)x),
		       json_as_str(*(struct json *const *)y));
}

static void strict_unknown_sorted(struct strict *s)
{
	struct json **v = arena_array(s->rq->arena, json_len(s->unknown) + 1, sizeof(*v));
	size_t n = 0;

	json_for_each(it, s->unknown) v[n++] = it.val;
	qsort(v, n, sizeof(*v), strict_compare);
	for (size_t i = 0; i < n; i++)
		strict_add(s, "unknown", json_as_str(v[i]));
}

/* Built-in kinds are reported in the order of the text, custom ones with what is repeated first. */
static void strict_collect(struct strict *s)
{
	bool yaml = str_has_prefix(json_as_str(json_idx(s->dups, 0)), STR("line "));

	if (json_len(s->dups) && json_len(s->unknown) && !yaml && !s->rq->res->custom &&
	    s->rq->body.n && s->rq->verb != VERB_PATCH) {
		s->is_dup = strict_set(s->rq->arena, s->dups);
		s->is_unknown = strict_set(s->rq->arena, s->unknown);
		json_each_key(s->rq->arena, s->rq->body, strict_key, s);
		return;
	}
	json_for_each(it, s->dups)
	{
		if (yaml && json_len(s->texts) < STRICT_MAX)
			json_push(s->texts, json_copy(s->rq->arena, it.val));
		else if (!yaml)
			strict_add(s, "duplicate", json_as_str(it.val));
	}
	if (s->rq->res->custom) {
		strict_unknown_sorted(s);
		return;
	}
	json_for_each(it, s->unknown) strict_add(s, "unknown", json_as_str(it.val));
}

static struct str strict_text(const struct strict *s)
{
	_cleanup_buf_ struct buf b = { 0 };
	bool in_yaml = false;

	json_for_each(it, s->texts)
	{
		struct str text = json_as_str(it.val);

		if (str_has_prefix(text, STR("line "))) {
			buf_addf(&b, "%s\n  " STR_FMT,
				 in_yaml ? "" : "yaml: unmarshal errors:", STR_ARG(text));
			in_yaml = true;
			continue;
		}
		buf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(text));
	}
	return buf_to_arena(&b, s->rq->arena);
}

static struct err *body_unknown(struct api_request *rq, const struct json *obj,
				const struct json *dups, const struct json *unknown)
{
	struct strict s = { .rq = rq, .dups = dups, .unknown = unknown };

	if (rq->opt.field_validation == FIELDS_IGNORE || (!json_len(dups) && !json_len(unknown)))
		return NULL;
	s.texts = json_array(rq->arena);
	s.seen = json_object(rq->arena);
	strict_collect(&s);
	if (rq->opt.field_validation == FIELDS_STRICT) {
		if (rq->verb == VERB_PATCH)
			return err_new(ERR_INVALID, "strict decoding error: " STR_FMT,
				       STR_ARG(strict_text(&s)));
		return body_not_handled(
			rq, obj,
			arena_cat(rq->arena, STR("strict decoding error: "), strict_text(&s)));
	}
	json_for_each(it, s.texts) request_warn(rq, STR_FMT, STR_ARG(json_as_str(it.val)));
	return NULL;
}

/*
 * Validation compares the items of lists of built-in kinds with each other, and nobody else is
 * served meanwhile.
 */
static bool body_lists_fit(const struct json *v)
{
	if (json_is(v, JSON_ARRAY) && json_len(v) > LIST_MAX)
		return false;
	json_for_each(it, v)
	{
		if (json_len(it.val) && !body_lists_fit(it.val))
			return false;
	}
	return true;
}

struct err *body_check(struct api_request *rq, struct json *obj, struct json *dups)
{
	const struct schema *schema = object_schema(rq);
	struct json *unknown = json_array(rq->arena);
	struct err *e;

	TRY(body_check_kind(rq, obj));
	if (!rq->res->custom && !body_lists_fit(obj))
		return err_new(ERR_TOO_LARGE,
			       "Request entity too large: a list may have at most %d items",
			       LIST_MAX);
	if (schema && !rq->res->custom) {
		e = schema_decode_types(rq->arena, schema, obj);
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
	TRY(body_unknown(rq, obj, dups, unknown));
	object_default(rq, obj);
	return NULL;
}

struct err *body_decode(struct api_request *rq, struct json **ret)
{
	struct json *obj = NULL, *dups = NULL;
	enum media media;
	struct str text;

	TRY(body_read(rq, &text, &media));
	TRY(body_parse(rq, text, media, &obj, &dups));
	TRY(body_check(rq, obj, dups));
	if (rq->audit)
		audit_request_object(rq, obj);
	*ret = obj;
	return NULL;
}
