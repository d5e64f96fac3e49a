/* SPDX-License-Identifier: Apache-2.0 */

/* The step that asks whether the user may do what the request says. */

#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/request.h"
#include "server/server.h"

static struct str authorize_lower(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 32);
	}
	return (struct str){ p, s.n };
}

/* A list or watch of metadata.name=x asks for that name only. */
static struct str authorize_name(struct api_request *rq)
{
	struct str text = http_query_find(&rq->http->query, "fieldSelector");
	struct selector *sel = NULL;
	struct err *e;

	if (!str_empty(rq->name) ||
	    !(rq->verb & (VERB_LIST | VERB_WATCH | VERB_DELETECOLLECTION)) || str_empty(text))
		return rq->name;
	e = field_selector_parse(rq->arena, text, &sel);
	if (e) {
		err_ignore(e, "reported when the options are parsed");
		return rq->name;
	}
	return selector_required(sel, STR("metadata.name"));
}

static struct err *authorize_refuse(struct api_request *rq, const struct authz_attrs *at)
{
	struct arena *a = rq->arena;
	struct str res = at->resource, what, where;
	struct err *e;

	if (!at->is_resource) {
		e = err_new(ERR_FORBIDDEN,
			    "forbidden: User \"" STR_FMT "\" cannot " STR_FMT " path \"" STR_FMT
			    "\"",
			    STR_ARG(rq->user.name), STR_ARG(at->verb), STR_ARG(at->path));
		return err_details(e, STR_EMPTY, STR_EMPTY, STR_EMPTY);
	}
	what = str_empty(at->group)
		       ? res
		       : arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(res), STR_ARG(at->group));
	if (!str_empty(rq->name))
		what = arena_fmt(a, STR_FMT " \"" STR_FMT "\"", STR_ARG(what), STR_ARG(rq->name));
	if (!str_empty(at->sub))
		res = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(res), STR_ARG(at->sub));
	where = str_empty(at->ns)
			? STR("at the cluster scope")
			: arena_fmt(a, "in the namespace \"" STR_FMT "\"", STR_ARG(at->ns));
	e = err_new(ERR_FORBIDDEN,
		    STR_FMT " is forbidden: User \"" STR_FMT "\" cannot " STR_FMT
			    " resource \"" STR_FMT "\" in API group \"" STR_FMT "\" " STR_FMT,
		    STR_ARG(what), STR_ARG(rq->user.name), STR_ARG(at->verb), STR_ARG(res),
		    STR_ARG(at->group), STR_ARG(where));
	return err_details(e, at->group, at->resource, rq->name);
}

struct err *authorize_verb(struct api_request *rq, enum verb verb)
{
	struct authz_attrs at = {
		.user = &rq->user,
		.is_resource = rq->is_resource,
		.group = rq->group,
		.version = rq->version,
		.resource = rq->plural,
		.sub = rq->sub,
		.ns = rq->ns,
		.path = rq->path,
	};
	struct str reason;

	if (rq->is_resource && verb != VERB_OTHER) {
		at.verb = verb_name(verb);
		at.name = authorize_name(rq);
	} else {
		at.verb = authorize_lower(rq->arena, rq->http->method);
	}
	if (authz_allowed(rq->server->authz, rq->arena, &at, &reason))
		return NULL;
	return authorize_refuse(rq, &at);
}

struct err *authorize(struct api_request *rq)
{
	return authorize_verb(rq, rq->verb);
}
