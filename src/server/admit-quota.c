/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admit-quota.h"

#include "api/quota.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "server/builtin-admission.h"
#include "server/errors.h"
#include "server/ns-mirror.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "server/write.h"
#include "json/json.h"

#define QUOTAS "resourcequotas"
/* Of one namespace, in one transaction. */
#define QUOTAS_MAX 24

static struct ns_mirror quotas;

/* ---- one writer at a time per namespace: the others would conflict and start over */

struct quota_lock {
	struct str ns;
	bool held;
	unsigned users;
	struct waitq wait;
	char name[];
};

static struct map locks;

static void lock_unuse(struct quota_lock *l)
{
	if (--l->users)
		return;
	map_del(&locks, l->ns);
	free(l);
}

static void lock_release(void *arg)
{
	struct quota_lock *l = arg;

	l->held = false;
	waitq_wake_one(&l->wait);
	lock_unuse(l);
}

static struct err *lock_take(struct str ns, struct quota_lock **ret)
{
	struct quota_lock *l = map_find(&locks, ns);
	struct err *e = NULL;

	if (!l) {
		l = mem_zalloc(1, sizeof(*l) + ns.n + 1);
		memcpy(l->name, ns.p, ns.n);
		l->ns = str_make(l->name, ns.n);
		waitq_init(&l->wait);
		map_put(&locks, l->ns, l);
	}
	l->users++;
	while (!e && l->held)
		e = waitq_wait(&l->wait);
	if (e) {
		/* a wake-up that was meant for us is somebody else's now */
		if (!l->held)
			waitq_wake_one(&l->wait);
		lock_unuse(l);
		return e;
	}
	l->held = true;
	*ret = l;
	return NULL;
}

/* ---- charging */

static struct err *charge_deny(const struct api_request *rq, struct str text)
{
	return error_forbidden(rq->res, rq->name, STR_FMT, STR_ARG(text));
}

/* The quota as it will be, in its stored form. */
static struct obj *charge_make(struct api_request *rq, const struct obj *o, struct json *tree,
			       const struct resource_list *used)
{
	struct arena *a = rq->arena;

	json_set(a, json_sub(a, tree, "status"), "used", resource_list_to_json(a, used));
	return obj_new(tree, (struct rev){ 0 }, o->schema_gen, o->fields, o->n_fields);
}

static struct err *charge_one(struct api_request *rq, struct write *w,
			      const struct quota_request *q, struct str name)
{
	struct store_key key = { STR(QUOTAS), rq->ns, name };
	_cleanup_obj_ const struct obj *o = NULL;
	struct resource_list used;
	struct json *tree = NULL;
	struct str text = STR_EMPTY;

	TRY(store_get(rq->server->store, &key, &o));
	if (!o)
		return NULL;
	TRY(obj_parse(rq->arena, o, STR("v1"), STR("ResourceQuota"), &tree));
	if (!quota_check(q, tree, &used, &text))
		return charge_deny(rq, text);
	if (!used.n || rq->opt.dry_run)
		return NULL;
	if (w->n >= WRITE_MAX_OPS)
		return err_new(ERR_INTERNAL,
			       "Internal error occurred: more than %d quotas count this object",
			       QUOTAS_MAX);
	write_put(w, &key, charge_make(rq, o, tree, &used), o->rev);
	return NULL;
}

struct err *quota_charge(struct api_request *rq, struct write *w, const struct json *obj,
			 const struct json *old)
{
	struct quota_request q = {
		.a = rq->arena,
		.gr = rq->res->store_name,
		.sub = request_sub(rq),
		.create = !old,
		.obj = obj,
		.old = old,
		.now = rq->now,
	};
	const struct obj *const *v;
	struct quota_lock *l = NULL;
	size_t n;

	if (!rq->res->namespaced || rq->bypass_admission || !ns_mirror_any(&quotas, rq->ns) ||
	    !quota_handles(&q))
		return NULL;
	TRY(lock_take(rq->ns, &l));
	write_on_fini(w, lock_release, l);
	v = ns_mirror_list(&quotas, rq->arena, rq->ns, &n);
	for (size_t i = 0; i < n; i++)
		TRY(charge_one(rq, w, &q, arena_str(rq->arena, v[i]->name)));
	return NULL;
}

struct err *resource_quota_start(struct apiserver *s)
{
	return ns_mirror_start(&quotas, s, QUOTAS);
}
