/* SPDX-License-Identifier: Apache-2.0 */
#include "server/mirror.h"

#include "base/buf.h"
#include "base/err.h"
#include "server/server.h"

static struct str mirror_key(struct buf *b, struct str ns, struct str name)
{
	if (!str_empty(ns)) {
		buf_add(b, ns);
		buf_addc(b, '/');
	}
	buf_add(b, name);
	return buf_str(b);
}

static void mirror_set(struct mirror *m, const struct obj *o, bool gone)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str key = mirror_key(&b, o->ns, o->name);
	const struct obj *old;

	if (gone)
		old = map_del(&m->objs, key);
	else
		old = map_put(&m->objs, key, (void *)(uintptr_t)obj_ref(o));
	if (m->changed)
		m->changed(m, old, gone ? NULL : o);
	obj_unref(old);
}

static void mirror_event(struct store_watch *w, const struct store_event *ev)
{
	struct mirror *m = container_of(w, struct mirror, watch);

	mirror_set(m, ev->obj, ev->type == STORE_DELETE);
}

static bool mirror_add(const struct obj *o, void *ctx)
{
	mirror_set(ctx, o, false);
	return true;
}

struct err *mirror_start(struct mirror *m, struct apiserver *s, const char *gr)
{
	struct store_list_opts o = { .resource = str_from(gr) };
	struct store_list_result r = { .more = false };

	m->server = s;
	m->store_name = str_from(gr);
	TRY(store_list(s->store, &o, mirror_add, m, &r));
	m->watch.event = mirror_event;
	return store_watch_start(s->store, &m->watch, m->store_name, STR_EMPTY, STR_EMPTY, r.rev);
}

void mirror_stop(struct mirror *m)
{
	if (!m->server)
		return;
	store_watch_cancel(&m->watch);
	map_for_each(e, &m->objs)
		obj_unref(e->val);
	map_fini(&m->objs);
	m->server = NULL;
}

const struct obj *mirror_find(const struct mirror *m, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	return map_find(&m->objs, mirror_key(&b, ns, name));
}
