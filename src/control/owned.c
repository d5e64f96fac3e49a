/* SPDX-License-Identifier: Apache-2.0 */

#include "control/owned.h"

#include "api/meta.h"
#include "api/obj.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/replica-plan.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

void owned_init(struct owned *o)
{
	o->by_owner = informer_add_index(o->members, informer_index_by_owner);
	o->orphans = informer_add_index(o->members, informer_index_orphans);
}

/* ---- claiming */

struct owned_sync {
	const struct owned *o;
	struct arena *a;
	const struct json *owner;
	struct owned_list all;
	size_t cap;
	bool live; /* the server has confirmed that the owner is still there */
};

static void owned_unref(void *p)
{
	const struct obj *o = p;

	obj_unref(o);
}

static bool owned_collect(const struct obj *o, void *ctx)
{
	struct owned_sync *s = ctx;

	if (s->all.n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		const struct json **v = arena_array(s->a, cap, sizeof(*v));

		if (s->all.n)
			memcpy(v, s->all.v, s->all.n * sizeof(*v));
		s->all.v = v;
		s->cap = cap;
	}
	arena_defer(s->a, owned_unref, (void *)(uintptr_t)obj_ref(o));
	s->all.v[s->all.n++] = obj_tree(o);
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
	TRY(client_get(s->o->control->client, s->a, s->o->owner, meta_namespace(s->owner),
		       meta_name(s->owner), &live));
	if (!str_eq(meta_uid(live), meta_uid(s->owner)))
		return err_new(ERR_CONFLICT, "the owner is gone and was made anew");
	if (meta_deleting(live))
		return err_new(ERR_CONFLICT, "the owner is being deleted");
	s->live = true;
	return NULL;
}

/* A member that is gone or changed meanwhile is no failure: its event brings us back. */
static struct err *owned_patch(struct owned_sync *s, const struct json *m, const struct json *patch)
{
	struct err *e = client_patch(s->o->control->client, s->a, informer_gvr(s->o->members),
				     meta_namespace(m), meta_name(m), NULL, CLIENT_PATCH_MERGE,
				     patch, NULL);

	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_INVALID))) {
		err_ignore(e, "gone, or another object by now");
		return NULL;
	}
	return e;
}

struct err *owned_claim(const struct owned *o, struct arena *a, const struct json *owner,
			struct owned_list *ret)
{
	struct owned_sync s = { .o = o, .a = a, .owner = owner };
	struct selector *sel;
	size_t kept = 0;

	TRY(label_selector_from_json(a, json_at(owner, "spec.selector"), &sel));
	informer_index_each(o->by_owner, meta_uid(owner), owned_collect, &s);
	informer_index_each(o->orphans, meta_namespace(owner), owned_collect, &s);
	for (size_t i = 0; i < s.all.n; i++) {
		const struct json *m = s.all.v[i];

		switch (owned_judge(&s, sel, m)) {
		case CLAIM_NONE:
			continue;
		case CLAIM_RELEASE:
			TRY(owned_patch(&s, m, replica_release_patch(a, m, owner)));
			continue;
		case CLAIM_ADOPT:
			TRY(owned_check_live(&s));
			TRY(owned_patch(&s, m,
					replica_adopt_patch(a, m, owner, o->owner_api_version,
							    o->owner_kind)));
			break;
		case CLAIM_KEEP:
			break;
		}
		s.all.v[kept++] = m;
	}
	s.all.n = kept;
	*ret = s.all;
	return NULL;
}

/* ---- events */

struct owned_match {
	struct controller *controller;
	const struct obj *member;
};

static bool owned_enqueue_if_selected(const struct obj *owner, void *ctx)
{
	const struct owned_match *m = ctx;
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *sel;
	struct err *e =
		label_selector_from_json(a, json_at(obj_tree(owner), "spec.selector"), &sel);

	if (!e && !selector_empty(sel) && selector_matches_obj_labels(sel, m->member))
		controller_enqueue_obj(m->controller, owner);
	err_ignore(e, "its own sync reports a bad selector");
	return true;
}

void owned_route(struct controller *c, const struct obj *member, void *ctx)
{
	const struct owned *o = ctx;
	const struct json *ref = meta_controller(obj_tree(member));
	struct owned_match m = { c, member };

	if (!ref) {
		informer_each(o->owners, member->ns, owned_enqueue_if_selected, &m);
	} else if (str_eq(json_str_at(ref, "kind"), o->owner_kind)) {
		_cleanup_arena_ struct arena *a = arena_new();

		controller_enqueue(c, meta_key(a, member->ns, json_str_at(ref, "name")));
	}
}
