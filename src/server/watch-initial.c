/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The present state that a watch begins with, read and sent by pages at one revision. It is work as
 * a list is, and has its turns as one (flow.h); a client that does not read it holds a page and
 * little more.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/crd-convert.h"
#include "server/flow.h"
#include "server/request.h"
#include "server/server.h"
#include "server/watch-internal.h"

#define WATCH_PAGE 500

struct page {
	struct watcher *w;
	struct api_request *rq;
	const struct obj *objs[WATCH_PAGE];
	size_t n;
	struct buf last_ns, last_name;
};

static bool page_add(const struct obj *o, void *ctx)
{
	struct page *p = ctx;

	if (p->w->name.n && !str_eq(o->name, p->w->name))
		return false;
	p->objs[p->n++] = obj_ref(o);
	return true;
}

static void page_free(struct page *p)
{
	for (size_t i = 0; i < p->n; i++)
		obj_unref(p->objs[i]);
	buf_fini(&p->last_ns);
	buf_fini(&p->last_name);
	free(p);
}

static struct err *page_room(struct page *p)
{
	if (!watch_out_is_full(&p->w->out))
		return NULL;
	flow_rest(p->rq);
	TRY(watch_room(p->w));
	return flow_yield(p->rq);
}

static struct err *page_send(struct page *p)
{
	struct watcher *w = p->w;

	if (w->form != OUTPUT_METADATA)
		TRY(crd_convert_objs(w->server, w->res, w->v, p->objs, p->n));
	for (size_t i = 0; i < p->n; i++) {
		TRY(page_room(p));
		if (w->closed || w->ending)
			break;
		watch_send(w, WATCH_ADDED, p->objs[i], p->objs[i]->rev);
	}
	if (p->n) {
		buf_clear(&p->last_ns);
		buf_clear(&p->last_name);
		buf_add(&p->last_ns, p->objs[p->n - 1]->ns);
		buf_add(&p->last_name, p->objs[p->n - 1]->name);
	}
	for (size_t i = 0; i < p->n; i++)
		obj_unref(p->objs[i]);
	p->n = 0;
	return NULL;
}

static struct err *watch_initial_pages(struct watcher *w, struct page *p)
{
	struct store_list_opts o = { .resource = w->res->store_name,
				     .ns = w->ns,
				     .limit = WATCH_PAGE,
				     .bytes = store_page_bytes(w->server->store,
							       store_rev(w->server->store)),
				     .labels = w->labels,
				     .fields = w->fields };
	struct store_list_result r = { .more = true };

	while (r.more && !w->closed && !w->ending) {
		TRY(flow_yield(p->rq));
		TRY(store_list(w->server->store, &o, page_add, p, &r));
		w->seen = r.rev;
		TRY(page_send(p));
		o.at = r.rev;
		o.after_ns = buf_str(&p->last_ns);
		o.after_name = buf_str(&p->last_name);
		o.bytes = store_page_bytes(w->server->store, r.rev);
	}
	return NULL;
}

struct err *watch_initial(struct watcher *w, struct api_request *rq)
{
	struct page *p = mem_new(struct page);
	struct err *e;

	p->w = w;
	p->rq = rq;
	e = watch_initial_pages(w, p);
	page_free(p);
	flow_leave(rq->server, rq->ticket);
	watch_out_set_limit(&w->out, WATCH_QUEUE_BYTES);
	return e;
}
