/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "client/controller.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/discovery.h"
#include "json/json.h"
#include "json/patch.h"

/*
 * Deletes what is in a terminating namespace, Pods first, over everything discovery knows; when
 * nothing is left and no group was silent, the finalizer `kubernetes` is removed and the
 * namespace goes. Until then its conditions tell what it waits for.
 */

#define NAMESPACE_FINALIZER    "kubernetes"
#define NAMESPACE_RETRY_MS     300
#define NAMESPACE_RETRY_MAX_MS 5000

struct namespace_controller {
	struct control *control;
	struct controller *controller;
	struct informer *namespaces;
	struct map retries; /* name -> pause in ms, as a pointer */
};

struct namespace_texts {
	struct str *v;
	size_t n, cap;
};

/* One pass over one namespace. */
struct namespace_pass {
	struct client *client;
	struct arena *arena;
	struct str ns;
	struct discovery found;
	struct namespace_texts remaining;  /* "pods. has 2 resource instances" */
	struct namespace_texts finalizers; /* "ex.io/f in 1 resource instances" */
	struct namespace_texts failures;
	struct map counts; /* finalizer -> number, as a pointer */
	bool pods_left;
};

/* texts for the conditions, in an order that does not change from pass to pass */

static void namespace_add_text(struct namespace_pass *p, struct namespace_texts *t, struct str text)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct str *v = arena_array(p->arena, cap, sizeof(*v));

		if (t->n)
			memcpy(v, t->v, t->n * sizeof(*v));
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n++] = text;
}

static int namespace_cmp_text(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str namespace_text(struct namespace_pass *p, const char *prefix,
				 const struct namespace_texts *t)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (t->n)
		qsort(t->v, t->n, sizeof(*t->v), namespace_cmp_text);
	buf_addz(&b, prefix);
	for (size_t i = 0; i < t->n; i++)
		buf_addf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(t->v[i]));
	return buf_to_arena(&b, p->arena);
}

/* content */

static void namespace_count_finalizers(struct namespace_pass *p, const struct json *obj)
{
	json_for_each(it, json_at(obj, "metadata.finalizers"))
	{
		struct str f = json_as_str(it.val);
		uintptr_t n = (uintptr_t)map_find(&p->counts, f);

		map_put(&p->counts, f, (void *)(n + 1));
	}
}

static struct err *namespace_list(struct namespace_pass *p, const struct discovered *r,
				  struct json **ret_items)
{
	struct json *list;

	TRY(client_list(p->client, p->arena, r->gvr, p->ns, STR_EMPTY, &list));
	*ret_items = json_get(list, "items");
	return NULL;
}

static struct err *namespace_delete_each(struct namespace_pass *p, const struct discovered *r,
					 const struct json *items)
{
	const struct client_delete_opts opts = { .grace_seconds = -1, .propagation = "Background" };

	json_for_each(it, items)
	{
		struct err *e =
			client_delete(p->client, p->arena, r->gvr, p->ns, meta_name(it.val), &opts);

		if (e && !err_is(e, ERR_NOT_FOUND))
			return e;
		err_ignore(e, "gone already");
	}
	return NULL;
}

static struct err *namespace_delete_all(struct namespace_pass *p, const struct discovered *r,
					const struct json *items)
{
	struct json *opts = json_object(p->arena);

	if (!(r->verbs & DISCOVERY_DELETECOLLECTION))
		return namespace_delete_each(p, r, items);
	json_set_str(p->arena, opts, "kind", STR("DeleteOptions"));
	json_set_str(p->arena, opts, "apiVersion", STR("v1"));
	json_set_str(p->arena, opts, "propagationPolicy", STR("Background"));
	return client_raw(p->client, p->arena, "DELETE",
			  client_path(p->arena, r->gvr, p->ns, STR_EMPTY, NULL), opts, NULL);
}

static struct err *namespace_empty_resource(struct namespace_pass *p, const struct discovered *r)
{
	struct json *items;
	size_t n;

	TRY(namespace_list(p, r, &items));
	if (!json_len(items))
		return NULL;
	TRY(namespace_delete_all(p, r, items));
	TRY(namespace_list(p, r, &items));
	n = json_len(items);
	if (!n)
		return NULL;
	json_for_each(it, items) namespace_count_finalizers(p, it.val);
	if (str_empty(r->gvr.group) && str_eqz(r->gvr.resource, "pods"))
		p->pods_left = true;
	namespace_add_text(p, &p->remaining,
			   arena_fmt(p->arena, STR_FMT "." STR_FMT " has %zu resource instances",
				     STR_ARG(r->gvr.resource), STR_ARG(r->gvr.group), n));
	return NULL;
}

/* A resource that refuses does not keep the others from being deleted. */
static struct err *namespace_try_resource(struct namespace_pass *p, const struct discovered *r)
{
	struct err *e = namespace_empty_resource(p, r);

	if (!e)
		return NULL;
	if (err_is(e, ERR_CANCELED) || err_is(e, ERR_TIMEOUT))
		return e;
	if (!err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_METHOD_NOT_ALLOWED))
		namespace_add_text(p, &p->failures, arena_str(p->arena, err_msg(e)));
	err_ignore(e, "told in the conditions");
	return NULL;
}

static bool namespace_is_pods(const struct discovered *r)
{
	return str_empty(r->gvr.group) && str_eqz(r->gvr.resource, "pods");
}

static struct err *namespace_empty(struct namespace_pass *p)
{
	for (int pods = 1; pods >= 0 && !p->pods_left; pods--) {
		for (size_t i = 0; i < p->found.n; i++) {
			const struct discovered *r = &p->found.v[i];

			if (r->namespaced && (r->verbs & DISCOVERY_DELETE) &&
			    (r->verbs & DISCOVERY_LIST) && namespace_is_pods(r) == (pods == 1))
				TRY(namespace_try_resource(p, r));
		}
	}
	map_for_each(e, &p->counts)
		namespace_add_text(p, &p->finalizers,
				   arena_fmt(p->arena, STR_FMT " in %zu resource instances",
					     STR_ARG(e->key), (size_t)(uintptr_t)e->val));
	return NULL;
}

/* conditions */

static struct str namespace_discovery_text(struct namespace_pass *p)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b,
		 "Discovery failed for some groups, %zu failing: unable to retrieve the complete "
		 "list of server APIs: ",
		 p->found.n_failures);
	for (size_t i = 0; i < p->found.n_failures; i++)
		buf_addf(&b, "%s" STR_FMT ": " STR_FMT, i ? ", " : "",
			 STR_ARG(p->found.failures[i].group_version),
			 STR_ARG(p->found.failures[i].message));
	return buf_to_arena(&b, p->arena);
}

/* Each row: a condition, whether it holds, and its two reasons and messages. */
static void namespace_conditions(struct namespace_pass *p, struct json *status)
{
	const struct {
		const char *type;
		bool bad;
		const char *bad_reason, *good_reason;
		struct str bad_text, good_text;
	} rows[] = {
		{ "NamespaceDeletionDiscoveryFailure", p->found.n_failures > 0, "DiscoveryFailed",
		  "ResourcesDiscovered", namespace_discovery_text(p),
		  STR("All resources successfully discovered") },
		{ "NamespaceDeletionGroupVersionParsingFailure", false, "", "ParsedGroupVersions",
		  STR_EMPTY, STR("All legacy kube types successfully parsed") },
		{ "NamespaceDeletionContentFailure", p->failures.n > 0, "ContentDeletionFailed",
		  "ContentDeleted",
		  namespace_text(p, "Failed to delete all resource types, ", &p->failures),
		  STR("All content successfully deleted, may be waiting on finalization") },
		{ "NamespaceContentRemaining", p->remaining.n > 0, "SomeResourcesRemain",
		  "ContentRemoved",
		  namespace_text(p, "Some resources are remaining: ", &p->remaining),
		  STR("All content successfully removed") },
		{ "NamespaceFinalizersRemaining", p->finalizers.n > 0, "SomeFinalizersRemain",
		  "ContentHasNoFinalizers",
		  namespace_text(p, "Some content in the namespace has finalizers remaining: ",
				 &p->finalizers),
		  STR("All content-preserving finalizers finished") },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		condition_set(p->arena, status, rows[i].type, rows[i].bad ? "True" : "False",
			      str_from(rows[i].bad ? rows[i].bad_reason : rows[i].good_reason),
			      rows[i].bad ? rows[i].bad_text : rows[i].good_text, wall_now());
}

static struct err *namespace_update_status(struct namespace_pass *p, const struct json *ns)
{
	struct arena *a = p->arena;
	struct json *from = json_object(a);
	struct json *to = json_object(a);
	struct json *patch;
	struct json *status = json_copy(a, json_get(ns, "status"));

	if (!json_is(status, JSON_OBJECT))
		status = json_object(a);
	json_set(a, from, "status", json_copy(a, status));
	namespace_conditions(p, status);
	json_set(a, to, "status", status);
	patch = json_merge_diff(a, from, to);
	if (!json_len(patch))
		return NULL;
	return client_patch(p->client, a, gvr_namespaces, STR_EMPTY, p->ns, "status",
			    CLIENT_PATCH_MERGE, patch, NULL);
}

/* finalization */

static bool namespace_has_finalizer(const struct json *ns)
{
	json_for_each(it, json_at(ns, "spec.finalizers"))
	{
		if (str_eqz(json_as_str(it.val), NAMESPACE_FINALIZER))
			return true;
	}
	return false;
}

static struct err *namespace_finalize(struct namespace_pass *p)
{
	struct arena *a = p->arena;
	struct json *live;
	struct json *left = json_array(a);

	TRY(client_get(p->client, a, gvr_namespaces, STR_EMPTY, p->ns, &live));
	json_for_each(it, json_at(live, "spec.finalizers"))
	{
		if (!str_eqz(json_as_str(it.val), NAMESPACE_FINALIZER))
			json_push(left, json_copy(a, it.val));
	}
	json_set(a, json_sub(a, live, "spec"), "finalizers", left);
	return client_update(p->client, a, gvr_namespaces, "finalize", live, NULL);
}

static struct err *namespace_pass_run(struct namespace_controller *nc, struct namespace_pass *p)
{
	struct json *live;
	intptr_t ms;

	TRY(client_get(p->client, p->arena, gvr_namespaces, STR_EMPTY, p->ns, &live));
	if (!meta_deleting(live) || !namespace_has_finalizer(live))
		return NULL;
	TRY(discovery_load(p->client, p->arena, &p->found));
	TRY(namespace_empty(p));
	if (!p->remaining.n && !p->failures.n && !p->found.n_failures) {
		map_del(&nc->retries, p->ns);
		return namespace_finalize(p);
	}
	TRY(namespace_update_status(p, live));
	ms = (intptr_t)map_find(&nc->retries, p->ns);
	ms = ms ? MIN(ms * 2, NAMESPACE_RETRY_MAX_MS) : NAMESPACE_RETRY_MS;
	map_put(&nc->retries, p->ns, (void *)ms);
	controller_enqueue_after(nc->controller, p->ns, ms);
	return NULL;
}

static struct err *namespace_sync(void *ctx, struct arena *a, struct str key)
{
	struct namespace_controller *nc = ctx;
	struct namespace_pass p = { .client = nc->control->client, .arena = a, .ns = key };
	const struct obj *o = informer_find_key(nc->namespaces, key);
	struct err *e;

	if (!o || !o->deleting) {
		map_del(&nc->retries, key);
		return NULL;
	}
	e = namespace_pass_run(nc, &p);
	map_fini(&p.counts);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "it is gone");
		return NULL;
	}
	return e;
}

void namespace_start(struct control *c)
{
	static struct namespace_controller nc;
	const struct controller_opts opts = {
		.name = "namespace", .workers = 10, .sync = namespace_sync, .ctx = &nc
	};

	nc.control = c;
	nc.namespaces = control_informer(c, gvr_namespaces);
	nc.controller = controller_new(c->loop, &opts);
	controller_watch(nc.controller, nc.namespaces);
	controller_start(nc.controller);
}
