/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "api/meta.h"
#include "api/obj.h"
#include "api/quota.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/discovery.h"
#include "json/json.h"

/*
 * The status of ResourceQuotas. Admission charges each write as it comes; this controller counts
 * afresh, when a quota changes, when something that was counted goes or changes what it costs, and
 * now and then. What no quota names is not watched; what is only counted is watched by its
 * metadata.
 */

#define QUOTA_RESYNC_MS 300000

struct quota_controller;

/* One resource that some quota counts. */
struct quota_watch {
	struct list link;
	struct quota_controller *q;
	char *gr;
	struct informer *inf;
	struct informer_handler handler;
};

struct quota_controller {
	struct control *control;
	struct controller *controller;
	struct informer *quotas;
	struct list watches;
};

static const struct gvr gvr_resourcequotas = GVR("", "v1", "resourcequotas");

/* ---- events */

static bool quota_names(const struct json *quota, struct str gr)
{
	json_for_each(it, json_at(quota, "spec.hard"))
	{
		if (quota_measures(gr, it.key))
			return true;
	}
	return false;
}

static bool quota_enqueue_if_counted(const struct obj *o, void *ctx)
{
	const struct quota_watch *w = ctx;

	if (quota_names(obj_tree(o), str_from(w->gr)))
		controller_enqueue_obj(w->q->controller, o);
	return true;
}

static void quota_on_object(struct informer_handler *h, const struct obj *old_obj,
			    const struct obj *new_obj)
{
	struct quota_watch *w = container_of(h, struct quota_watch, handler);

	if (!old_obj || (new_obj && !quota_change_matters(str_from(w->gr), obj_tree(old_obj),
							  obj_tree(new_obj), wall_now())))
		return;
	informer_each(w->q->quotas, old_obj->ns, quota_enqueue_if_counted, w);
}

/* ---- what is watched */

static struct quota_watch *quota_watch_find(struct quota_controller *q, struct str gr)
{
	struct quota_watch *w;

	list_for_each(w, &q->watches, link) {
		if (str_eqz(gr, w->gr))
			return w;
	}
	return NULL;
}

/* Resources whose whole objects matter: others share these informers. */
static const struct gvr *quota_whole(struct str gr)
{
	static const struct {
		const char *gr;
		const struct gvr *gvr;
	} rows[] = {
		{ "pods", &gvr_pods },
		{ "services", &gvr_services },
		{ "persistentvolumeclaims", &gvr_persistentvolumeclaims },
		{ "configmaps", &gvr_configmaps },
		{ "replicationcontrollers", &gvr_replicationcontrollers },
		{ "replicasets.apps", &gvr_replicasets },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eqz(gr, rows[i].gr))
			return rows[i].gvr;
	}
	return NULL;
}

static struct err *quota_discover(struct quota_controller *q, struct arena *a, struct str gr,
				  struct gvr *ret, bool *ret_found)
{
	struct discovery d = { 0 };

	*ret_found = false;
	TRY(discovery_load(q->control->client, a, &d));
	for (size_t i = 0; i < d.n && !*ret_found; i++) {
		const struct discovered *one = &d.v[i];

		if (!one->namespaced || !(one->verbs & DISCOVERY_WATCH) ||
		    !str_eq(gr_format(a, one->gvr.group, one->gvr.resource), gr))
			continue;
		*ret = one->gvr;
		*ret_found = true;
	}
	return NULL;
}

static struct quota_watch *quota_watch_add(struct quota_controller *q, struct str gr,
					   struct informer *inf)
{
	struct quota_watch *w = mem_new(struct quota_watch);

	w->q = q;
	w->gr = mem_strdup(gr);
	w->inf = inf;
	w->handler.event = quota_on_object;
	list_push_back(&q->watches, &w->link);
	informer_add_handler(inf, &w->handler);
	return w;
}

/* *ret NULL: no such resource is served. */
static struct err *quota_watch_get(struct quota_controller *q, struct arena *a, struct str gr,
				   struct quota_watch **ret)
{
	const struct gvr *whole = quota_whole(gr);
	struct gvr gvr = { 0 };
	bool found = true;

	*ret = quota_watch_find(q, gr);
	if (!*ret && whole) {
		*ret = quota_watch_add(q, gr, control_informer(q->control, *whole));
	} else if (!*ret) {
		struct informer_opts o = { .metadata_only = true };

		TRY(quota_discover(q, a, gr, &gvr, &found));
		if (!found)
			return NULL;
		/* another sync may have been faster */
		*ret = quota_watch_find(q, gr);
		o.gvr = (struct gvr){ str_from(mem_strdup(gvr.group)),
				      str_from(mem_strdup(gvr.version)),
				      str_from(mem_strdup(gvr.resource)) };
		if (!*ret)
			*ret = quota_watch_add(
				q, gr, informer_new(q->control->loop, q->control->client, &o));
	}
	return informer_wait_synced((*ret)->inf);
}

/* ---- counting */

struct quota_count {
	struct arena *a;
	const struct json *quota;
	struct str gr;
	struct resource_list used;
	struct wall now;
};

static bool quota_count_one(const struct obj *o, void *ctx)
{
	struct quota_count *c = ctx;
	struct resource_list cost;

	if (quota_in_scope(c->gr, c->quota, obj_tree(o))) {
		cost = quota_usage(c->a, c->gr, obj_tree(o), c->now);
		resource_list_add(&c->used, &cost);
	}
	return true;
}

/* What of the quota's names objects of gr use. */
static struct err *quota_count_source(struct quota_controller *q, struct arena *a,
				      const struct json *quota, struct str gr,
				      struct resource_list *used)
{
	struct quota_count c = {
		.a = a, .quota = quota, .gr = gr, .used = { .a = a }, .now = wall_now()
	};
	struct quota_watch *w;

	TRY(quota_watch_get(q, a, gr, &w));
	if (w)
		informer_each(w->inf, meta_namespace(quota), quota_count_one, &c);
	json_for_each(it, json_at(quota, "spec.hard"))
	{
		const struct quantity *n = resource_list_find(&c.used, it.key);

		if (quota_measures(gr, it.key))
			resource_list_set(used, it.key,
					  n ? *n : quantity_from_value(0, QUANTITY_DECIMAL_SI));
	}
	return NULL;
}

static struct err *quota_count_all(struct quota_controller *q, struct arena *a,
				   const struct json *quota, struct resource_list *used)
{
	json_for_each(it, json_at(quota, "spec.hard"))
	{
		struct str gr = quota_source(it.key);

		if (!str_empty(gr) && !resource_list_has(used, it.key))
			TRY(quota_count_source(q, a, quota, gr, used));
	}
	return NULL;
}

/* ---- sync */

static struct err *quota_write(struct quota_controller *q, struct arena *a,
			       const struct json *quota, const struct resource_list *used)
{
	struct json *hard = json_at(quota, "spec.hard"), *patch, *status;
	struct resource_list was_used = resource_list_from_json(a, json_at(quota, "status.used"));
	struct resource_list was_hard = resource_list_from_json(a, json_at(quota, "status.hard"));
	struct resource_list want_hard = resource_list_from_json(a, hard);

	if (json_at(quota, "status.used") && resource_list_equal(&was_used, used) &&
	    resource_list_equal(&was_hard, &want_hard))
		return NULL;
	patch = json_object(a);
	json_set_str(a, patch, "apiVersion", STR("v1"));
	json_set_str(a, patch, "kind", STR("ResourceQuota"));
	json_set(a, patch, "metadata", json_copy(a, json_get(quota, "metadata")));
	json_set(a, patch, "spec", json_copy(a, json_get(quota, "spec")));
	status = json_sub(a, patch, "status");
	json_set(a, status, "hard", hard ? json_copy(a, hard) : json_object(a));
	json_set(a, status, "used", resource_list_to_json(a, used));
	return client_update(q->control->client, a, gvr_resourcequotas, "status", patch, NULL);
}

static struct err *quota_sync(void *ctx, struct arena *a, struct str key)
{
	struct quota_controller *q = ctx;
	const struct obj *o = informer_find_key(q->quotas, key);
	struct resource_list used = { .a = a };
	const struct json *quota;
	struct err *e;

	if (!o || o->deleting)
		return NULL;
	/* writing is guarded by the revision of this copy: what was charged since then wins */
	quota = json_copy(a, obj_tree(o));
	TRY(quota_count_all(q, a, quota, &used));
	controller_enqueue_after(q->controller, key, QUOTA_RESYNC_MS);
	e = quota_write(q, a, quota, &used);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "deleted meanwhile");
		return NULL;
	}
	return e;
}

/* A change of the status alone is admission's, or ours. */
static void quota_route(struct controller *c, const struct obj *o, void *ctx)
{
	const struct json *quota = obj_tree(o);
	_cleanup_arena_ struct arena *a = arena_new();
	struct resource_list hard = resource_list_from_json(a, json_at(quota, "spec.hard"));
	struct resource_list seen = resource_list_from_json(a, json_at(quota, "status.hard"));

	if (!json_at(quota, "status.used") || !resource_list_equal(&hard, &seen))
		controller_enqueue_obj(c, o);
	else
		controller_enqueue_after(c, meta_key(a, o->ns, o->name), QUOTA_RESYNC_MS);
}

void quota_controller_start(struct control *c)
{
	static struct quota_controller q;
	const struct controller_opts opts = {
		.name = "resource-quota", .workers = 5, .sync = quota_sync, .ctx = &q
	};

	q.control = c;
	list_init(&q.watches);
	q.controller = controller_new(c->loop, &opts);
	q.quotas = control_informer(c, gvr_resourcequotas);
	controller_watch_fn(q.controller, q.quotas, quota_route, &q);
	controller_start(q.controller);
}
