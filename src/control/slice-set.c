/* SPDX-License-Identifier: Apache-2.0 */

#include "control/slice-set.h"

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/endpointslice-plan.h"
#include "json/json.h"

#define SLICE_LABEL_MANAGER STR("endpointslice.kubernetes.io/managed-by")
#define SLICE_LABEL_SERVICE STR("kubernetes.io/service-name")

/* ---- whose a slice is */

static bool slice_set_has(const struct slice_set *s, const struct obj *slice)
{
	return str_eq(obj_label(slice, SLICE_LABEL_MANAGER), s->manager) &&
	       !str_empty(obj_label(slice, SLICE_LABEL_SERVICE));
}

static struct str slice_set_key(struct arena *a, const struct obj *slice)
{
	return meta_key(a, slice->ns, obj_label(slice, SLICE_LABEL_SERVICE));
}

/* One index serves all sets: its keys begin with the manager. */
static struct str slice_set_index_key(struct arena *a, struct str manager, struct str key)
{
	return arena_fmt(a, STR_FMT " " STR_FMT, STR_ARG(manager), STR_ARG(key));
}

static void slice_set_index(const struct obj *o, void (*emit)(struct str key, void *ctx), void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str manager = obj_label(o, SLICE_LABEL_MANAGER);

	if (!str_empty(manager) && !str_empty(obj_label(o, SLICE_LABEL_SERVICE)))
		emit(slice_set_index_key(a, manager, slice_set_key(a, o)), ctx);
}

struct slice_set_found {
	struct arena *a;
	struct json *to;
};

static bool slice_set_add(const struct obj *o, void *ctx)
{
	const struct slice_set_found *f = ctx;
	struct json *slice;

	if (o->deleting)
		return true;
	slice = json_copy(f->a, obj_tree(o));
	json_set_first(f->a, slice, "kind", json_str(f->a, STR("EndpointSlice")));
	json_set_first(f->a, slice, "apiVersion", json_str(f->a, STR("discovery.k8s.io/v1")));
	json_push(f->to, slice);
	return true;
}

struct json *slice_set_collect(const struct slice_set *s, struct arena *a, struct str key)
{
	struct slice_set_found f = { a, json_array(a) };

	informer_index_each(s->by_service, slice_set_index_key(a, s->manager, key), slice_set_add,
			    &f);
	return f.to;
}

/* ---- writing */

bool slice_set_settled(struct slice_set *s, struct str key)
{
	return expectations_met(&s->expect, key);
}

void slice_set_forget(struct slice_set *s, struct str key)
{
	expectations_forget(&s->expect, key);
}

static struct err *slice_set_settle(struct err *e)
{
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

struct err *slice_set_apply(struct slice_set *s, struct arena *a, struct str key,
			    const struct slice_plan *plan)
{
	struct client *c = s->control->client;
	struct str ns, name;

	meta_key_split(key, &ns, &name);
	expectations_set(&s->expect, key, (int)json_len(plan->create), 0);
	json_for_each(it, plan->update)
		TRY(client_update(c, a, gvr_endpointslices, NULL, it.val, NULL));
	json_for_each(it, plan->create)
	{
		struct err *e = client_create(c, a, gvr_endpointslices, ns, it.val, NULL);

		if (e)
			expectations_forget(&s->expect, key);
		TRY(slice_set_settle(e));
	}
	json_for_each(it, plan->remove) TRY(slice_set_settle(
		client_delete(c, a, gvr_endpointslices, ns, json_as_str(it.val), NULL)));
	return NULL;
}

/* ---- events */

static void slice_set_route(struct controller *c, const struct obj *slice, void *ctx)
{
	_cleanup_arena_ struct arena *a = NULL;

	if (!slice_set_has(ctx, slice))
		return;
	a = arena_new();
	controller_enqueue(c, slice_set_key(a, slice));
}

static void slice_set_on_slice(struct informer_handler *h, const struct obj *old_obj,
			       const struct obj *new_obj)
{
	struct slice_set *s = container_of(h, struct slice_set, on_slice);
	_cleanup_arena_ struct arena *a = NULL;

	if (old_obj || !slice_set_has(s, new_obj))
		return;
	a = arena_new();
	expectations_saw_add(&s->expect, slice_set_key(a, new_obj));
}

void slice_set_init(struct slice_set *s, struct controller *c)
{
	s->slices = control_informer(s->control, gvr_endpointslices);
	s->by_service = informer_add_index(s->slices, slice_set_index);
	s->on_slice.event = slice_set_on_slice;
	informer_add_handler(s->slices, &s->on_slice);
	controller_watch_fn(c, s->slices, slice_set_route, s);
}
