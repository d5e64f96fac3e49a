/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a path names:
 *     /api/v1/...  /apis/GROUP/VERSION/...          below it:
 *     [watch/][namespaces/NS/]PLURAL[/NAME[/SUB[/REST...]]]
 * /namespaces/NS alone, and with status or finalize, is the namespace itself; its name also is the
 * request's namespace, as authorization sees it.
 */

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "io/http.h"
#include "server/request.h"

#define PATH_MAX_PARTS 64

struct path_parts {
	struct str v[PATH_MAX_PARTS];
	size_t n, i;
	struct str raw[PATH_MAX_PARTS]; /* where each part begins in the raw path */
};

static struct str path_take(struct path_parts *p)
{
	return p->i < p->n ? p->v[p->i++] : STR_EMPTY;
}

static size_t path_left(const struct path_parts *p)
{
	return p->n - p->i;
}

/* False for what can only be an unknown path: an empty segment inside. */
static bool path_split(struct arena *a, struct str path, struct path_parts *ret)
{
	struct str rest = str_skip(path, 1), part;

	if (str_empty(path) || path.p[0] != '/')
		return false;
	while (str_split_next(&rest, '/', &part)) {
		if (ret->n == PATH_MAX_PARTS)
			return false;
		if (str_empty(part)) {
			/* "/a/" is "/a"; "//" is nothing */
			if (part.p + part.n == path.p + path.n)
				break;
			return false;
		}
		ret->raw[ret->n] = (struct str){ part.p, (size_t)(path.p + path.n - part.p) };
		ret->v[ret->n++] = http_url_decode(a, part);
	}
	return true;
}

static enum verb path_verb(struct str method, bool named, bool watch)
{
	if (str_eqz(method, "GET"))
		return named ? VERB_GET : watch ? VERB_WATCH : VERB_LIST;
	if (str_eqz(method, "POST"))
		return VERB_CREATE;
	if (str_eqz(method, "PUT"))
		return VERB_UPDATE;
	if (str_eqz(method, "PATCH"))
		return VERB_PATCH;
	if (str_eqz(method, "DELETE"))
		return named ? VERB_DELETE : VERB_DELETECOLLECTION;
	return VERB_OTHER;
}

static bool path_wants_watch(const struct api_request *rq)
{
	return rq->http && http_query_true(&rq->http->query, "watch");
}

static void path_resource(struct api_request *rq, struct path_parts *p)
{
	if (path_left(p) >= 2 && str_eqz(p->v[p->i], "namespaces")) {
		bool self = path_left(p) == 2;

		if (path_left(p) == 3)
			self = str_eqz(p->v[p->i + 2], "status") ||
			       str_eqz(p->v[p->i + 2], "finalize");
		rq->ns = p->v[p->i + 1];
		if (!self)
			p->i += 2;
	}
	rq->plural = path_take(p);
	rq->name = path_take(p);
	rq->sub = path_take(p);
	if (path_left(p))
		rq->rest = (struct str){ p->raw[p->i].p - 1, p->raw[p->i].n + 1 };
	rq->is_resource = !str_empty(rq->plural);
}

struct err *path_parse(struct api_request *rq, struct str method, struct str raw_path)
{
	struct path_parts p = { .n = 0 };
	bool watch = false;

	rq->path = raw_path;
	rq->verb = VERB_OTHER;
	if (!path_split(rq->arena, raw_path, &p) || p.n == 0)
		return NULL;
	if (str_eqz(p.v[0], "api") && p.n >= 2) {
		rq->group = STR_EMPTY;
		rq->version = p.v[1];
		p.i = 2;
	} else if (str_eqz(p.v[0], "apis") && p.n >= 3) {
		rq->group = p.v[1];
		rq->version = p.v[2];
		p.i = 3;
	} else {
		return NULL;
	}
	if (!path_left(&p))
		return NULL;
	if (str_eqz(p.v[p.i], "watch")) {
		p.i++;
		watch = true;
	}
	path_resource(rq, &p);
	if (!rq->is_resource)
		return NULL;
	rq->verb = path_verb(method, !str_empty(rq->name), watch || path_wants_watch(rq));
	/* what is passed on may be any method */
	if (str_eqz(rq->sub, "proxy") && (str_eqz(method, "HEAD") || str_eqz(method, "OPTIONS")))
		rq->verb = VERB_GET;
	/* the deprecated watch of one object: /watch/.../NAME */
	if (watch && rq->verb == VERB_GET)
		rq->verb = VERB_WATCH;
	return NULL;
}
