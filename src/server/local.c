/* SPDX-License-Identifier: Apache-2.0 */

/* Requests from within the server, by the same engine. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

static struct err *local_resource(struct apiserver *s, const char *gr, const struct resource **ret)
{
	*ret = registry_find_stored(s->registry, str_from(gr));
	if (!*ret)
		return err_new(ERR_NOT_FOUND, "resource '%s' is not served", gr);
	return NULL;
}

static struct err *local_request(struct apiserver *s, struct arena *a, const char *gr,
				 enum verb verb, struct str ns, struct str name,
				 struct api_request **ret)
{
	const struct resource *res;

	TRY(local_resource(s, gr, &res));
	*ret = request_local(s, a, res, &res->versions[res->storage], verb, ns, name);
	return NULL;
}

struct err *local_get(struct apiserver *s, const char *gr, struct str ns, struct str name,
		      const struct obj **ret)
{
	struct store_key key = { str_from(gr), ns, name };

	return store_get(s->store, &key, ret);
}

struct err *local_get_json(struct apiserver *s, struct arena *a, const char *gr, struct str ns,
			   struct str name, struct json **ret)
{
	_cleanup_obj_ const struct obj *o = NULL;
	const struct resource *res;

	*ret = NULL;
	TRY(local_resource(s, gr, &res));
	TRY(local_get(s, gr, ns, name, &o));
	if (!o)
		return NULL;
	return object_tree_v(s->registry, a, res, &res->versions[res->storage], o, ret);
}

struct local_list_ctx {
	void (*fn)(const struct obj *o, void *ctx);
	void *ctx;
};

static bool local_list_fn(const struct obj *o, void *ctx)
{
	struct local_list_ctx *c = ctx;

	c->fn(o, c->ctx);
	return true;
}

struct err *local_list(struct apiserver *s, const char *gr, struct str ns,
		       void (*fn)(const struct obj *o, void *ctx), void *ctx)
{
	struct local_list_ctx c = { fn, ctx };
	struct store_list_opts o = { .resource = str_from(gr), .ns = ns };
	struct store_list_result r;

	return store_list(s->store, &o, local_list_fn, &c, &r);
}

static struct err *local_result(struct api_request *rq, const struct obj *o, struct json **ret)
{
	return ret ? object_tree(rq, o, ret) : NULL;
}

struct err *local_create(struct apiserver *s, struct arena *a, const char *gr, struct str ns,
			 struct json *obj, struct json **ret)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct api_request *rq;

	TRY(local_request(s, a, gr, VERB_CREATE, ns, STR_EMPTY, &rq));
	object_default(rq, obj);
	TRY(engine_create(rq, obj, &o));
	return local_result(rq, o, ret);
}

struct err *local_update(struct apiserver *s, struct arena *a, const char *gr, const char *sub,
			 struct json *obj, struct json **ret)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct api_request *rq;

	TRY(local_request(s, a, gr, VERB_UPDATE, meta_namespace(obj), meta_name(obj), &rq));
	if (*sub) {
		rq->subres = subresource_find(rq->v, str_from(sub));
		if (!rq->subres)
			return err_new(ERR_NOT_FOUND, "resource '%s' has no %s", gr, sub);
	}
	object_default(rq, obj);
	TRY(engine_put(rq, obj, &o));
	return local_result(rq, o, ret);
}

struct err *local_delete(struct apiserver *s, struct arena *a, const char *gr, struct str ns,
			 struct str name)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct api_request *rq;
	bool gone = false;
	struct err *e;

	TRY(local_request(s, a, gr, VERB_DELETE, ns, name, &rq));
	e = engine_delete(rq, &o, &gone);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone is what was wanted");
		return NULL;
	}
	return e;
}
