/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The Accept header: media type, and the form (Table, PartialObjectMetadata) of the answer. Clauses
 * are tried in their order; the first one we can serve wins. Protobuf is not spoken: clients that
 * prefer it always offer JSON after it.
 */

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/request.h"

struct accept_clause {
	struct str type, as, group, version;
	bool pretty, refused;
};

static struct accept_clause accept_parse(struct str text)
{
	struct accept_clause c = { 0 };
	struct str param;

	str_cut(&text, ';', &c.type);
	c.type = str_trim(c.type);
	while (str_split_next(&text, ';', &param)) {
		struct str val = str_trim(param), key;

		str_cut(&val, '=', &key);
		key = str_trim(key);
		val = str_trim(val);
		if (str_eqz(key, "as"))
			c.as = val;
		else if (str_eqz(key, "g"))
			c.group = val;
		else if (str_eqz(key, "v"))
			c.version = val;
		else if (str_eqz(key, "pretty"))
			c.pretty = str_eqz(val, "1") || str_eqz(val, "true");
		else if (str_eqz(key, "q"))
			c.refused = str_eqz(val, "0") || str_eqz(val, "0.0");
	}
	return c;
}

static bool accept_form(const struct accept_clause *c, enum output_form *ret)
{
	if (str_empty(c->as)) {
		*ret = OUTPUT_PLAIN;
		return str_empty(c->group) && str_empty(c->version);
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
			       "application/yaml");
	return err_new(ERR_NOT_ACCEPTABLE, "406: Not Acceptable\n\nAvailable representations: "
					   "application/json, application/yaml");
}

struct err *negotiate(struct api_request *rq)
{
	struct str rest = http_headers_find(&rq->http->headers, "accept"), clause;
	bool typed = false;

	rq->out.pretty = negotiate_pretty(rq);
	if (str_empty(str_trim(rest)))
		return NULL;
	while (str_split_next(&rest, ',', &clause)) {
		struct accept_clause c = accept_parse(clause);
		enum output_form form;

		if (c.refused || !accept_media(c.type, rq->verb == VERB_WATCH, &rq->out.media))
			continue;
		typed = true;
		if (!accept_form(&c, &form) || (form != OUTPUT_PLAIN && !accept_transforms(rq)))
			continue;
		TRY(accept_check_list(rq, &c));
		rq->out.form = form;
		rq->out.form_version = str_empty(c.version) ? STR("v1") : c.version;
		rq->out.pretty |= c.pretty;
		return NULL;
	}
	rq->out.media = MEDIA_JSON;
	/* streams have types of their own */
	if (rq->subres && rq->subres->connect)
		return NULL;
	return negotiate_refuse(rq, typed);
}
