/* SPDX-License-Identifier: Apache-2.0 */
#include "server/watch-convert.h"

#include <stdlib.h>

#include "api/obj.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "server/crd-convert.h"
#include "server/resource.h"

#define CONVERTED_N 64

struct converted {
	const struct obj *from, *to; /* to NULL: on its way */
	const struct resource *res;
	const struct resource_version *v;
	struct waitq done;
	unsigned users;
};

struct watch_converter {
	struct apiserver *server;
	struct converted ring[CONVERTED_N];
	size_t next;
};

struct watch_converter *watch_converter_new(struct apiserver *s)
{
	struct watch_converter *wc = mem_new(struct watch_converter);

	wc->server = s;
	return wc;
}

static void converted_fini(struct converted *c)
{
	obj_unref(c->from);
	obj_unref(c->to);
	resource_unref(c->res);
	*c = (struct converted){ 0 };
}

struct watch_converter *watch_converter_free(struct watch_converter *wc)
{
	if (!wc)
		return NULL;
	for (size_t i = 0; i < CONVERTED_N; i++)
		converted_fini(&wc->ring[i]);
	free(wc);
	return NULL;
}

static struct converted *converted_find(struct watch_converter *wc, const struct resource *res,
					const struct resource_version *v, const struct obj *o)
{
	for (size_t i = 0; i < CONVERTED_N; i++) {
		struct converted *c = &wc->ring[i];

		if (c->from == o && c->v == v && c->res == res)
			return c;
	}
	return NULL;
}

/* A place that nobody waits at; NULL: all are in use. */
static struct converted *converted_take(struct watch_converter *wc, const struct resource *res,
					const struct resource_version *v, const struct obj *o)
{
	for (size_t i = 0; i < CONVERTED_N; i++) {
		struct converted *c = &wc->ring[wc->next++ % CONVERTED_N];

		if (c->users)
			continue;
		converted_fini(c);
		waitq_init(&c->done);
		c->from = obj_ref(o);
		c->res = resource_ref(res);
		c->v = v;
		return c;
	}
	return NULL;
}

/* Somebody has asked before. *ret stays NULL when he got no answer. */
static struct err *converted_wait(struct converted *c, const struct obj **ret)
{
	struct err *e = NULL;

	if (!c->to && c->users) {
		c->users++;
		e = waitq_wait(&c->done);
		c->users--;
	}
	if (!e && c->to)
		*ret = obj_ref(c->to);
	return e;
}

struct err *watch_converter_get(struct watch_converter *wc, const struct resource *res,
				const struct resource_version *v, const struct obj *o,
				const struct obj **ret)
{
	struct converted *c = converted_find(wc, res, v, o);
	const struct obj *to = NULL;
	struct err *e;

	if (c)
		TRY(converted_wait(c, &to));
	if (to) {
		*ret = to;
		return NULL;
	}
	if (!c)
		c = converted_take(wc, res, v, o);
	if (c)
		c->users++;
	to = obj_ref(o);
	e = crd_convert_objs(wc->server, res, v, &to, 1);
	if (c) {
		c->users--;
		if (!e && !c->to)
			c->to = obj_ref(to);
		waitq_wake_all(&c->done);
	}
	if (e)
		obj_unref(to);
	else
		*ret = to;
	return e;
}
