/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One exchange, step by step:
 *     path -> authenticate -> its turn (flow.h) -> authorize -> (delegate | other path | resource)
 *     resource: route -> negotiate -> options -> the verb
 */

#include "server/handler.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/flow.h"
#include "server/impersonate.h"
#include "server/metrics.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"

#define DRAIN_MAX (64 * 1024)
#define DRAIN_MS  500

void apiserver_add_path(struct apiserver *s, struct path_handler *h)
{
	list_push_back(&s->paths, &h->link);
}

struct path_handler *apiserver_next_path(struct apiserver *s, struct path_handler *prev)
{
	struct list *next = prev ? prev->link.next : s->paths.next;

	return next == &s->paths ? NULL : list_entry(next, struct path_handler, link);
}

void apiserver_add_delegate(struct apiserver *s, struct delegate *d)
{
	list_push_back(&s->delegates, &d->link);
}

static struct err *handler_text_404(struct api_request *rq)
{
	respond_plain_error(rq, 404, STR("404 page not found"));
	return NULL;
}

static bool path_fits(const struct path_handler *h, struct str path)
{
	struct str p = str_from(h->path);

	if (str_strip_suffix(&p, STR("*")))
		return str_has_prefix(path, p);
	if (h->type && path.n > 1)
		str_strip_suffix(&path, STR("/"));
	return str_eq(p, path);
}

static struct err *handler_path(struct api_request *rq)
{
	struct path_handler *h;

	list_for_each(h, &rq->server->paths, link) {
		if (!path_fits(h, rq->path))
			continue;
		if (h->type && !str_eqz(rq->http->method, "GET"))
			return error_bad_method();
		if (h->type)
			TRY(negotiate_route(rq, h->type));
		return h->handle(h, rq);
	}
	if (!str_empty(rq->group) && registry_has_group(rq->server->registry, rq->group))
		return error_no_path();
	return handler_text_404(rq);
}

static struct err *handler_subresource(struct api_request *rq)
{
	if (rq->subres->handle)
		return rq->subres->handle(rq);
	if (str_eqz(rq->subres->name, "scale"))
		return serve_scale(rq);
	switch (rq->verb) {
	case VERB_GET:
		return serve_get(rq);
	case VERB_UPDATE:
		return serve_update(rq);
	case VERB_PATCH:
		return serve_patch(rq);
	case VERB_LIST:
	case VERB_WATCH:
	case VERB_CREATE:
	case VERB_DELETE:
	case VERB_DELETECOLLECTION:
	case VERB_OTHER:
		break;
	}
	return error_bad_method();
}

static struct err *handler_verb(struct api_request *rq)
{
	if (rq->subres)
		return handler_subresource(rq);
	switch (rq->verb) {
	case VERB_GET:
		return serve_get(rq);
	case VERB_LIST:
		return serve_list(rq);
	case VERB_WATCH:
		return serve_watch(rq);
	case VERB_CREATE:
		return serve_create(rq);
	case VERB_UPDATE:
		return serve_update(rq);
	case VERB_PATCH:
		return serve_patch(rq);
	case VERB_DELETE:
		return serve_delete(rq);
	case VERB_DELETECOLLECTION:
		return serve_deletecollection(rq);
	case VERB_OTHER:
		break;
	}
	return error_bad_method();
}

/* The audit trail begins as soon as it is known who asks. */
static struct err *handler_who(struct api_request *rq)
{
	struct err *e = authenticate(rq);

	if (err_is(e, ERR_UNAUTHORIZED))
		audit_begin_unauthenticated(rq);
	TRY(e);
	audit_begin(rq);
	return impersonate(rq);
}

static struct str handler_audit_id(struct api_request *rq)
{
	struct str id = http_headers_find(&rq->http->headers, "audit-id");

	return str_empty(id) ? rand_uuid(rq->arena) : id;
}

static struct err *handler_run(struct api_request *rq)
{
	struct delegate *d;

	TRY(authorize(rq));
	list_for_each(d, &rq->server->delegates, link) {
		if (d->claims(d, rq))
			return d->serve(d, rq);
	}
	if (!rq->is_resource)
		return handler_path(rq);
	if (!registry_has_group(rq->server->registry, rq->group))
		return handler_text_404(rq);
	TRY(route(rq));
	TRY(negotiate(rq));
	TRY(options_parse(rq));
	return handler_verb(rq);
}

/* ?timeout= of the client's (options.c says what is wrong with one), but no longer than ours. */
static struct mono handler_limit_time(const struct api_request *rq)
{
	struct str text = http_query_find(&rq->http->query, "timeout");
	int64_t ms = rq->server->opts.request_timeout_s * 1000, ns;

	if (duration_parse_go(text, &ns) && ns > 0 && ns / NS_PER_MS < ms)
		ms = MAX(ns / NS_PER_MS, (int64_t)1);
	return fiber_limit_ms(ms);
}

static struct err *handler_timed(struct api_request *rq)
{
	struct mono old;
	struct err *e;

	if (flow_is_long_running(rq))
		return handler_run(rq);
	old = handler_limit_time(rq);
	e = handler_run(rq);
	if (err_is(e, ERR_TIMEOUT) && mono_now().ns >= fiber_deadline().ns) {
		err_ignore(e, "it says where, which is not for clients");
		e = err_new(ERR_TIMEOUT,
			    "Timeout: request did not complete within the allotted timeout");
	}
	fiber_restore_deadline(old);
	return e;
}

/* Who asks, whether it is their turn, and then all the rest. */
static struct err *handler_admitted(struct api_request *rq)
{
	struct flow_ticket ticket;
	bool admitted;
	struct err *e;

	TRY(path_parse(rq, rq->http->method, rq->http->path));
	TRY(handler_who(rq));
	TRY(flow_enter(rq, &ticket, &admitted));
	if (!admitted)
		return NULL;
	rq->ticket = &ticket;
	e = handler_timed(rq);
	rq->ticket = NULL;
	flow_leave(rq->server, &ticket);
	return e;
}

/*
 * An answer that comes before a small body was read ends the stream early, which some clients
 * (curl 7.88 among them) take for a broken one: the rest is on its way, so wait for it.
 */
static void handler_drain(struct api_request *rq)
{
	const struct http_headers *h = &rq->http->headers;
	struct str length = http_headers_find(h, "content-length"), body;
	struct mono deadline;
	int64_t n;

	if (rq->http->http_major != 2 || !str_to_i64(length, &n) || n > DRAIN_MAX ||
	    http_headers_find(h, "expect").p)
		return;
	deadline = fiber_limit_ms(DRAIN_MS);
	err_ignore(http_read_body(rq->x, DRAIN_MAX, &body), "nobody wants it");
	fiber_restore_deadline(deadline);
}

struct err *handler_serve(struct http_exchange *x, void *server)
{
	const struct http_request *http = http_request(x);
	struct api_request *rq = arena_new_obj(http->arena, struct api_request);
	struct err *e;

	*rq = (struct api_request){
		.server = server,
		.x = x,
		.http = http,
		.arena = http->arena,
		.now = wall_now(),
		.opt = { .grace = -1 },
	};
	rq->audit_id = handler_audit_id(rq);
	http_set_header(x, "Audit-Id", rq->audit_id);
	http_set_header(x, "Cache-Control", STR("no-cache, private"));
	metrics_track(rq);
	e = handler_admitted(rq);
	/* the exchange ends what is half sent so that nobody takes it for whole */
	if (http_responded(x))
		return e;
	if (e) {
		handler_drain(rq);
		respond_error(rq, e);
	}
	return NULL;
}
