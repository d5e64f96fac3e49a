/* SPDX-License-Identifier: Apache-2.0 */

/* From the parsed path to the resource, its version and subresource, and whether the verb is served
 * there. */

#include "base/arena.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"

static void route_unref(void *res)
{
	resource_unref(res);
}

static bool route_scope_fits(const struct api_request *rq)
{
	const struct resource *res = rq->res;
	bool in_ns = !str_empty(rq->ns);

	if (!res->namespaced)
		return !in_ns || str_eqz(res->plural, "namespaces");
	/* across namespaces only collections exist */
	return in_ns || str_empty(rq->name);
}

static struct err *route_subresource(struct api_request *rq)
{
	rq->subres = subresource_find(rq->v, rq->sub);
	if (!rq->subres) {
		if (rq->res->custom)
			return error_not_found(rq->res, rq->name);
		return error_no_path();
	}
	if (!str_empty(rq->rest) && !str_eqz(rq->sub, "proxy"))
		return error_no_path();
	if (rq->verb == VERB_OTHER || !(rq->subres->verbs & rq->verb))
		return error_bad_method();
	return NULL;
}

struct err *route(struct api_request *rq)
{
	const struct resource *res;
	struct registry *reg = rq->server->registry;

	res = registry_find(reg, rq->group, rq->version, rq->plural, &rq->v);
	if (!res)
		return error_no_path();
	rq->res = resource_ref(res);
	arena_defer(rq->arena, route_unref, (void *)(uintptr_t)res);
	if (!route_scope_fits(rq))
		return error_no_path();
	/* POST names the subresource's parent as GET does */
	if (!str_empty(rq->sub))
		return route_subresource(rq);
	if (rq->verb == VERB_CREATE && !str_empty(rq->name))
		return error_bad_method();
	if ((rq->verb == VERB_UPDATE || rq->verb == VERB_PATCH) && str_empty(rq->name))
		return error_bad_method();
	/* collections across namespaces are only read */
	if (res->namespaced && str_empty(rq->ns) && !(rq->verb & (VERB_LIST | VERB_WATCH)))
		return error_bad_method();
	if (rq->verb == VERB_OTHER || !(res->verbs & rq->verb))
		return error_bad_method();
	if (!str_empty(rq->v->deprecation_warning))
		request_warn(rq, STR_FMT, STR_ARG(rq->v->deprecation_warning));
	return NULL;
}
