/* SPDX-License-Identifier: Apache-2.0 */

/* The step that asks whether the user may do what the request says. */

#include "server/authorize.h"

#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/request.h"

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
static struct str authorize_name(struct api_request *rq, struct str fields)
{
	struct selector *sel = NULL;
	struct str name;
	struct err *e;

	if (!(rq->verb & (VERB_LIST | VERB_WATCH)) || str_empty(fields))
		return rq->name;
	e = field_selector_parse(rq->arena, fields, &sel);
	if (e) {
		err_ignore(e, "reported when the options are parsed");
		return rq->name;
	}
	name = selector_required(sel, STR("metadata.name"));
	return name.p && !name_check_path_segment(name) ? name : rq->name;
}

struct authz_attrs authorize_attrs(struct api_request *rq, enum verb verb)
{
	struct authz_attrs at = {
		.user = &rq->user,
		.is_resource = rq->is_resource,
		.group = rq->group,
		.version = rq->version,
		.resource = rq->plural,
		.sub = rq->sub,
		.ns = rq->ns,
		.name = rq->name,
		.path = rq->path,
	};

	if (!rq->is_resource || verb == VERB_OTHER) {
		at.verb = authorize_lower(rq->arena, rq->http->method);
		return at;
	}
	at.verb = verb_name(verb);
	if (rq->http && str_empty(rq->name) &&
	    verb & (VERB_LIST | VERB_WATCH | VERB_DELETECOLLECTION)) {
		at.field_selector = http_query_find(&rq->http->query, "fieldSelector");
		at.label_selector = http_query_find(&rq->http->query, "labelSelector");
		at.name = authorize_name(rq, at.field_selector);
	}
	return at;
}

/* As Go's %q; and nothing that looks like HTML. */
static void authorize_quote(struct buf *b, struct str s)
{
	buf_addc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			buf_addf(b, "\\%c", c);
		else if (c == '\n' || c == '\r' || c == '\t')
			buf_addz(b, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, "\\x%02x", c);
		else if (c == '&' || c == '<' || c == '>')
			buf_addz(b, c == '&' ? "&amp;" : c == '<' ? "&lt;" : "&gt;");
		else
			buf_addc(b, (char)c);
	}
	buf_addc(b, '"');
}

static void authorize_refuse_what(struct buf *b, const struct authz_attrs *at)
{
	buf_addz(b, "User ");
	authorize_quote(b, at->user->name);
	buf_addf(b, " cannot " STR_FMT, STR_ARG(at->verb));
	if (!at->is_resource) {
		buf_addz(b, " path ");
		authorize_quote(b, at->path);
		return;
	}
	buf_addf(b, " resource \"" STR_FMT "%s" STR_FMT "\" in API group \"" STR_FMT "\"",
		 STR_ARG(at->resource), str_empty(at->sub) ? "" : "/", STR_ARG(at->sub),
		 STR_ARG(at->group));
	if (str_empty(at->ns)) {
		buf_addz(b, " at the cluster scope");
		return;
	}
	buf_addz(b, " in the namespace ");
	authorize_quote(b, at->ns);
}

struct err *authorize_refuse(struct arena *a, const struct authz_attrs *at, struct str reason)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct err *e;

	if (at->is_resource) {
		buf_add(&b, at->resource);
		if (!str_empty(at->group))
			buf_addf(&b, "." STR_FMT, STR_ARG(at->group));
		if (!str_empty(at->name))
			buf_addf(&b, " \"" STR_FMT "\"", STR_ARG(at->name));
		buf_addz(&b, " is ");
	}
	buf_addz(&b, "forbidden: ");
	authorize_refuse_what(&b, at);
	if (!str_empty(reason))
		buf_addf(&b, ": " STR_FMT, STR_ARG(reason));
	e = err_new(ERR_FORBIDDEN, STR_FMT, STR_ARG(buf_to_arena(&b, a)));
	if (!at->is_resource)
		return err_details(e, STR_EMPTY, STR_EMPTY, STR_EMPTY);
	return err_details(e, at->group, at->resource, at->name);
}

struct err *authorize_verb(struct api_request *rq, enum verb verb)
{
	struct authz_attrs at = authorize_attrs(rq, verb);
	struct str reason;

	if (authz_allowed(rq->server->authz, rq->arena, &at, NULL))
		return NULL;
	authz_allowed(rq->server->authz, rq->arena, &at, &reason);
	return authorize_refuse(rq->arena, &at, reason);
}

/* The same, for the record. */
static struct err *authorize_audited(struct api_request *rq)
{
	struct authz_attrs at = authorize_attrs(rq, rq->verb);
	struct str reason;
	bool ok = authz_allowed(rq->server->authz, rq->arena, &at, &reason);

	audit_annotate(rq, "authorization.k8s.io/decision", ok ? STR("allow") : STR("forbid"));
	audit_annotate(rq, "authorization.k8s.io/reason", reason);
	return ok ? NULL : authorize_refuse(rq->arena, &at, reason);
}

struct err *authorize(struct api_request *rq)
{
	return rq->audit ? authorize_audited(rq) : authorize_verb(rq, rq->verb);
}
