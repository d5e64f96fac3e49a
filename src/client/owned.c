/* SPDX-License-Identifier: Apache-2.0 */

#include "client/owned.h"

#include "api/meta.h"
#include "api/obj.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/replica-plan.h"
#include "client/rest.h"
#include "json/json.h"

void owned_init(struct owned *o)
{
	o->by_owner = informer_add_index(o->members, informer_index_by_owner);
	o->orphans = informer_add_index(o->members, informer_index_orphans);
}

static struct err *owned_selector(const struct owned *o, struct arena *a, const struct json *owner,
				  struct selector **ret)
{
	const struct json *sel = json_at(owner, "spec.selector");

	if (!o->map_selector)
		return label_selector_from_json(a, sel, ret);
	*ret = label_selector_from_map(a, sel);
	return NULL;
}

/* ---- claiming */

struct owned_sync {
	const struct owned *o;
	struct arena *a;
	const struct json *owner;
	bool live; /* the server has confirmed that the owner is still there */
};

static bool owned_collect(const struct obj *o, void *ctx)
{
	obj_list_add(ctx, o);
	return true;
}

static enum replica_claim owned_judge(const struct owned_sync *s, const struct selector *sel,
				      const struct json *m)
{
	enum replica_claim c = replica_claim(s->owner, sel, m);

	if (c == CLAIM_NONE || c == CLAIM_RELEASE || !s->o->fits || s->o->fits(s->owner, m))
		return c;
	return c == CLAIM_KEEP && !meta_deleting(s->owner) ? CLAIM_RELEASE : CLAIM_NONE;
}

static struct err *owned_check_live(struct owned_sync *s)
{
	struct json *live;

	if (s->live)
		return NULL;
	TRY(client_get(s->o->client, s->a, s->o->owner, meta_namespace(s->owner),
		       meta_name(s->owner), &live));
	if (!str_eq(meta_uid(live), meta_uid(s->owner)))
		return err_new(ERR_CONFLICT, "the owner is gone and was made anew");
	if (meta_deleting(live))
		return err_new(ERR_CONFLICT, "the owner is being deleted");
	s->live = true;
	return NULL;
}

/*
 * *ret is NULL when the member is gone or another object by now: that is no failure, its event
 * brings us back.
 */
static struct err *owned_patch(struct owned_sync *s, const struct json *m, const struct json *patch,
			       struct json **ret)
{
	struct err *e =
		client_patch(s->o->client, s->a, informer_gvr(s->o->members), meta_namespace(m),
			     meta_name(m), NULL, CLIENT_PATCH_MERGE, patch, ret);

	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_INVALID))) {
		err_ignore(e, "gone, or another object by now");
		*ret = NULL;
		return NULL;
	}
	return e;
}

/* *ret: the member when it is ours, NULL when it is not. */
static struct err *owned_settle(struct owned_sync *s, const struct selector *sel,
				const struct json *m, const struct json **ret)
{
	struct json *after;

	*ret = NULL;
	switch (owned_judge(s, sel, m)) {
	case CLAIM_NONE:
		return NULL;
	case CLAIM_KEEP:
		*ret = m;
		return NULL;
	case CLAIM_RELEASE:
		return owned_patch(s, m, replica_release_patch(s->a, m, s->owner), &after);
	case CLAIM_ADOPT:
		break;
	}
	TRY(owned_check_live(s));
	TRY(owned_patch(
		s, m,
		replica_adopt_patch(s->a, m, s->owner, s->o->owner_api_version, s->o->owner_kind),
		&after));
	*ret = after;
	return NULL;
}

struct err *owned_claim(const struct owned *o, struct arena *a, const struct json *owner,
			struct owned_list *ret)
{
	struct owned_sync s = { .o = o, .a = a, .owner = owner };
	struct obj_list all = { .arena = a };
	struct selector *sel;

	*ret = (struct owned_list){ NULL, 0 };
	TRY(owned_selector(o, a, owner, &sel));
	informer_index_each(o->by_owner, meta_uid(owner), owned_collect, &all);
	informer_index_each(o->orphans, meta_namespace(owner), owned_collect, &all);
	ret->v = arena_array(a, all.n + 1, sizeof(*ret->v));
	for (size_t i = 0; i < all.n; i++) {
		const struct json *ours;

		TRY(owned_settle(&s, sel, obj_tree(all.v[i]), &ours));
		if (ours)
			ret->v[ret->n++] = ours;
	}
	return NULL;
}

/* ---- events */

struct owned_match {
	struct controller *controller;
	const struct owned *o;
	const struct obj *member;
};

static bool owned_enqueue_if_selected(const struct obj *owner, void *ctx)
{
	const struct owned_match *m = ctx;
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *sel;
	struct err *e = owned_selector(m->o, a, obj_tree(owner), &sel);

	if (!e && !selector_empty(sel) && selector_matches_obj_labels(sel, m->member))
		controller_enqueue_obj(m->controller, owner);
	err_ignore(e, "its own sync reports a bad selector");
	return true;
}

void owned_route(struct controller *c, const struct obj *member, void *ctx)
{
	const struct owned *o = ctx;
	const struct json *ref = meta_controller(obj_tree(member));
	struct owned_match m = { c, o, member };

	if (!ref) {
		informer_each(o->owners, member->ns, owned_enqueue_if_selected, &m);
	} else if (str_eq(json_str_at(ref, "kind"), o->owner_kind)) {
		_cleanup_arena_ struct arena *a = arena_new();

		controller_enqueue(c, meta_key(a, member->ns, json_str_at(ref, "name")));
	}
}
