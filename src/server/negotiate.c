/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The answer's media type and its form (Table, PartialObjectMetadata): the first of what the client
 * accepts that we can serve. Protobuf comes last, wherever the client has it: JSON is what is
 * stored, and those who prefer protobuf take it, too.
 */

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/accept.h"
#include "server/request.h"

static bool accept_form(const struct accept_clause *c, enum output_form *ret)
{
	if (str_empty(c->as)) {
		*ret = OUTPUT_PLAIN;
		return accept_is_plain(c);
	}
	if (!str_eqz(c->group, "meta.k8s.io") ||
	    (!str_eqz(c->version, "v1") && !str_eqz(c->version, "v1beta1")))
		return false;
	if (str_eqz(c->as, "Table"))
		*ret = OUTPUT_TABLE;
	else if (str_eqz(c->as, "PartialObjectMetadata") ||
		 str_eqz(c->as, "PartialObjectMetadataList"))
		*ret = OUTPUT_METADATA;
	else
		return false;
	return true;
}

static struct err *accept_check_list(const struct api_request *rq, const struct accept_clause *c)
{
	bool list = rq->verb & (VERB_LIST | VERB_DELETECOLLECTION);

	if (str_eqz(c->as, "PartialObjectMetadataList") && !list && rq->verb != VERB_WATCH)
		return err_new(
			ERR_NOT_ACCEPTABLE,
			"you requested PartialObjectMetadataList, but the requested object is "
			"not a list (*" STR_FMT "." STR_FMT ")",
			STR_ARG(str_empty(rq->group) ? STR("core") : rq->group),
			STR_ARG(rq->res->kind));
	if (str_eqz(c->as, "PartialObjectMetadata") && list)
		return err_new(ERR_NOT_ACCEPTABLE,
			       "you requested PartialObjectMetadata, but the requested object is a "
			       "list (*" STR_FMT "." STR_FMT "List)",
			       STR_ARG(str_empty(rq->group) ? STR("core") : rq->group),
			       STR_ARG(rq->res->kind));
	return NULL;
}

/* The forms apply to whole objects of stored kinds. */
static bool accept_transforms(const struct api_request *rq)
{
	if (!rq->res || rq->res->strategy->virtual_kind)
		return false;
	return !rq->subres || !rq->subres->handle;
}

static bool accept_media(struct str type, bool watch, enum media *ret)
{
	if (str_eqz(type, "*/*") || str_eq_nocase(type, STR("application/json"))) {
		*ret = MEDIA_JSON;
		return true;
	}
	if (!watch && str_eq_nocase(type, STR("application/yaml"))) {
		*ret = MEDIA_YAML;
		return true;
	}
	return false;
}

static bool negotiate_pretty(const struct api_request *rq)
{
	static const char *const browsers[] = { "curl", "Wget", "Mozilla/5.0" };
	struct str q = http_query_find(&rq->http->query, "pretty");
	struct str ua = http_headers_find(&rq->http->headers, "user-agent");

	if (q.p)
		return str_eq_nocase(q, STR("true")) || str_eq_nocase(q, STR("t")) ||
		       str_eqz(q, "1");
	for (size_t i = 0; i < ARRAY_LEN(browsers); i++) {
		if (str_has_prefix(ua, str_from(browsers[i])))
			return true;
	}
	return false;
}

static struct err *negotiate_refuse(const struct api_request *rq, bool typed)
{
	if (rq->verb == VERB_WATCH)
		return err_new(ERR_NOT_ACCEPTABLE, "only the following media types are accepted: "
						   "application/json;stream=watch");
	if (typed)
		return err_new(ERR_NOT_ACCEPTABLE,
			       "only the following media types are accepted: application/json, "
			       "application/yaml, application/vnd.kubernetes.protobuf");
	return err_new(ERR_NOT_ACCEPTABLE, "406: Not Acceptable\n\nAvailable representations: "
					   "application/json, application/yaml, "
					   "application/vnd.kubernetes.protobuf");
}

static size_t negotiate_clauses(const struct api_request *rq, struct accept_clause **ret)
{
	return accept_clauses(rq->arena, http_headers_find(&rq->http->headers, "accept"), ret);
}

/* Whole objects and lists of built-in kinds. */
static bool negotiate_protobuf(const struct api_request *rq, const struct accept_clause *v,
			       size_t n)
{
	if (rq->verb == VERB_WATCH || rq->res->custom || (rq->subres && rq->subres->connect))
		return false;
	for (size_t i = 0; i < n; i++)
		if (accept_is_plain(&v[i]) &&
		    str_eq_nocase(v[i].type, STR("application/vnd.kubernetes.protobuf")))
			return true;
	return false;
}

struct err *negotiate(struct api_request *rq)
{
	struct accept_clause *v = NULL;
	size_t n = negotiate_clauses(rq, &v);
	bool typed = false;

	rq->out.pretty = negotiate_pretty(rq);
	for (size_t i = 0; i < n; i++) {
		enum output_form form;

		if (!accept_media(v[i].type, rq->verb == VERB_WATCH, &rq->out.media))
			continue;
		typed = true;
		if (!accept_form(&v[i], &form) || (form != OUTPUT_PLAIN && !accept_transforms(rq)))
			continue;
		TRY(accept_check_list(rq, &v[i]));
		rq->out.form = form;
		rq->out.form_version = str_empty(v[i].version) ? STR("v1") : v[i].version;
		rq->out.pretty |= v[i].pretty;
		return NULL;
	}
	rq->out.media = MEDIA_JSON;
	if (negotiate_protobuf(rq, v, n)) {
		rq->out.media = MEDIA_PROTOBUF;
		return NULL;
	}
	/* streams have types of their own */
	if (!n || (rq->subres && rq->subres->connect))
		return NULL;
	return negotiate_refuse(rq, typed);
}

/* ---- what is no resource */

#define DOCUMENT_TYPES "application/json, application/yaml, application/vnd.kubernetes.protobuf"

static struct err *negotiate_no_route(const char *types)
{
	return err_new(ERR_NOT_ACCEPTABLE, "406: Not Acceptable\n\nAvailable representations: %s",
		       types);
}

struct err *negotiate_route(struct api_request *rq, const char *type)
{
	struct accept_clause *v = NULL;
	size_t n = negotiate_clauses(rq, &v);

	return !n || accept_has(v, n, type) ? NULL : negotiate_no_route(type);
}

static bool accept_is_aggregated(const struct accept_clause *c)
{
	return str_eqz(c->as, "APIGroupDiscoveryList") &&
	       str_eqz(c->group, "apidiscovery.k8s.io") && str_eqz(c->version, "v2");
}

struct err *negotiate_discovery(struct api_request *rq, bool route, bool *ret_aggregated)
{
	struct accept_clause *v = NULL;
	size_t n = negotiate_clauses(rq, &v);

	rq->out.pretty = negotiate_pretty(rq);
	if (n && route && !accept_has(v, n, "application/json") &&
	    !accept_has(v, n, "application/yaml") &&
	    !accept_has(v, n, "application/vnd.kubernetes.protobuf"))
		return negotiate_no_route(DOCUMENT_TYPES);
	for (size_t i = 0; i < n; i++) {
		bool aggregated = ret_aggregated && accept_is_aggregated(&v[i]);

		if (!accept_media(v[i].type, false, &rq->out.media) &&
		    !str_eqz(v[i].type, "application/*"))
			continue;
		if (!aggregated && !accept_is_plain(&v[i]))
			continue;
		if (aggregated)
			*ret_aggregated = true;
		rq->out.pretty |= v[i].pretty;
		return NULL;
	}
	rq->out.media = MEDIA_JSON;
	return n ? err_new(ERR_NOT_ACCEPTABLE,
			   "only the following media types are accepted: " DOCUMENT_TYPES)
		 : NULL;
}
