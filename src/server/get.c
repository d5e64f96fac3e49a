/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/err.h"
#include "io/fiber.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"

#define RV_WAIT_MS 3000
#define RV_POLL_MS 50

struct err *engine_wait_rv(struct api_request *rq, uint64_t rv)
{
	struct store *s = rq->server->store;
	struct mono start = mono_now();
	struct err *e;

	while (store_rev(s).n < rv) {
		if (mono_ms_since(start) >= RV_WAIT_MS) {
			e = err_new(ERR_TIMEOUT,
				    "Timeout: Too large resource version: %llu, current: %llu",
				    (unsigned long long)rv, (unsigned long long)store_rev(s).n);
			err_add_cause(e, STR_EMPTY, STR("ResourceVersionTooLarge"),
				      STR("Too large resource version"));
			return err_retry_after(e, 1);
		}
		TRY(fiber_sleep_ms(RV_POLL_MS));
	}
	return NULL;
}

struct err *engine_get(struct api_request *rq, const struct obj **ret)
{
	struct store_key key = object_key(rq);

	if (rq->opt.rv)
		TRY(engine_wait_rv(rq, rq->opt.rv));
	TRY(store_get(rq->server->store, &key, ret));
	if (!*ret)
		return error_not_found(rq->res, rq->name);
	return NULL;
}

struct err *serve_get(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;

	TRY(engine_get(rq, &o));
	return respond_obj(rq, 200, o);
}
