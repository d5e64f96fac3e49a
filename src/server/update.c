/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every change of an existing object runs through engine_update: read, change, admit, validate,
 * commit if it still is what was read; again otherwise, unless the client named a resourceVersion.
 */

#include "api/meta.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/fiber.h"
#include "server/admission.h"
#include "server/admit-quota.h"
#include "server/apply.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/metadata.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/write.h"
#include "json/json.h"

#define UPDATE_ATTEMPTS 16

/* What one attempt works on. */
struct update {
	struct api_request *rq;
	struct engine_change *change;
	const struct obj *cur;
	struct json *old, *obj;
	bool conditional; /* the client named the revision */
	bool owns;        /* the change decided on managedFields */
	struct json *managed;
};

static bool update_is_status(const struct api_request *rq)
{
	return rq->subres && str_eqz(rq->subres->name, "status");
}

static struct err *update_check_rv(struct update *u)
{
	struct api_request *rq = u->rq;
	struct str rv = json_str_at(u->obj, "metadata.resourceVersion");
	struct str uid = json_str_at(u->obj, "metadata.uid");
	uint64_t n = 0;

	if (!str_empty(rv) && !str_to_u64(rv, &n))
		return err_new(ERR_UNKNOWN,
			       "strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax",
			       STR_ARG(rv));
	if ((rq->verb == VERB_UPDATE || update_is_status(rq)) && !str_empty(uid) &&
	    !str_eq(uid, u->cur->uid))
		return error_conflict(
			rq->res, rq->name,
			"StorageError: invalid object, Code: 4, Key: /registry/" STR_FMT
			"%s" STR_FMT "/" STR_FMT ", ResourceVersion: 0, AdditionalErrorMsg: "
			"Precondition failed: UID in precondition: " STR_FMT
			", UID in object meta: " STR_FMT,
			STR_ARG(rq->res->plural), str_empty(rq->ns) ? "" : "/", STR_ARG(rq->ns),
			STR_ARG(rq->name), STR_ARG(uid), STR_ARG(u->cur->uid));
	if (!n && rq->verb == VERB_UPDATE && (rq->res->custom || rq->res->strategy->needs_rv)) {
		struct err *e = NULL;

		cause_invalid(&e, STR("metadata.resourceVersion"), json_int(rq->arena, 0),
			      "must be specified for an update");
		return error_invalid(e, rq->res->group, rq->res->plural, rq->name);
	}
	/* a patch starts from what is there: only one that names another revision is conditional */
	u->conditional = n && rq->verb == VERB_UPDATE;
	if (n && n != u->cur->rev.n)
		return error_modified(rq->res, rq->name);
	return NULL;
}

/* As upstream: with its status a built-in object's labels and annotations may change (Multus relies
 * on it). */
static void update_keep_marks(struct update *u, const struct json *sent)
{
	static const char *const marks[] = { "annotations", "labels" };
	/* these take nothing, and Deployments no labels */
	static const char *const none[] = { "servicecidrs", "resourceclaims", "volumeattachments",
					    "validatingadmissionpolicies" };
	size_t n = str_eqz(u->rq->res->plural, "deployments") ? 1 : ARRAY_LEN(marks);
	struct json *meta = json_sub(u->rq->arena, u->obj, "metadata");

	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		if (str_eqz(u->rq->res->plural, none[i]))
			return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct json *v = json_path(sent, "metadata", marks[i], NULL);

		if (v)
			json_set(u->rq->arena, meta, marks[i], json_dup(u->rq->arena, v));
	}
}

/* The main resource leaves the status alone, the status subresource everything else. */
static void update_isolate(struct update *u)
{
	struct api_request *rq = u->rq;
	struct arena *a = rq->arena;
	struct json *status;

	if (update_is_status(rq)) {
		const struct json *sent = u->obj;

		status = json_get(u->obj, "status");
		u->obj = json_dup(a, u->old);
		if (!rq->res->custom && !rq->res->strategy->status_alone)
			update_keep_marks(u, sent);
		if (status)
			json_set(a, u->obj, "status", json_dup(a, status));
		else
			json_delz(u->obj, "status");
		return;
	}
	if (rq->subres && rq->res->strategy->isolate)
		rq->res->strategy->isolate(rq, u->obj, u->old);
	if (rq->subres || !subresource_find(rq->v, STR("status")))
		return;
	status = json_get(u->old, "status");
	if (status)
		json_set(a, u->obj, "status", json_dup(a, status));
	else
		json_delz(u->obj, "status");
}

static struct admission update_admission(struct update *u)
{
	struct api_request *rq = u->rq;

	return (struct admission){
		.rq = rq,
		.op = ADMISSION_UPDATE,
		.res = rq->res,
		.v = rq->v,
		.sub = request_sub(rq),
		.ns = rq->ns,
		.name = rq->name,
		.obj = u->obj,
		.old = u->old,
		.options = engine_options_json(rq, "UpdateOptions"),
		.dry_run = rq->opt.dry_run,
	};
}

/* Upstream checks metadata for all kinds and again for each: the causes are there twice. */
static void update_say_twice(struct err *e)
{
	size_t n = e ? err_n_causes(e) : 0;

	for (size_t i = 0; i < n; i++) {
		struct err_cause c = err_get_cause(e, i);

		err_add_cause(e, c.field, c.reason, c.message);
	}
}

static struct err *update_validate(struct update *u, struct err *e)
{
	struct api_request *rq = u->rq;
	const struct strategy *st = rq->res->strategy;

	metadata_validate(rq, u->obj, &e);
	update_say_twice(e);
	object_validate(rq, u->obj, u->old, &e);
	regex_budget_start();
	if (st->validate && !update_is_status(rq))
		st->validate(rq, u->obj, &e);
	if (st->validate_update)
		st->validate_update(rq, u->obj, u->old, &e);
	regex_budget_end();
	TRY(error_invalid(e, resource_stored_group(rq->res), rq->res->kind, rq->name));
	if (st->warn)
		st->warn(rq, u->obj, u->old);
	return NULL;
}

/* What the request may change, and who owns what then: as the client made it, not a webhook. */
static void update_track(struct update *u)
{
	const struct json *owned = json_path(u->obj, "metadata", "managedFields", NULL);

	update_isolate(u);
	if (!u->owns)
		u->managed = managed_track(u->rq, u->obj, u->old);
	else if (owned)
		u->managed = json_dup(u->rq->arena, owned);
	if (u->managed || json_path(u->obj, "metadata", "managedFields", NULL))
		managed_set(u->rq->arena, u->obj, u->managed);
}

static struct json *update_shown(struct update *u, struct json *obj)
{
	return u->change->show ? u->change->show(u->change, u->rq, obj) : obj;
}

static struct err *update_mutate(struct update *u, struct admission *ad)
{
	*ad = update_admission(u);
	ad->obj = update_shown(u, u->obj);
	ad->old = update_shown(u, u->old);
	TRY(admission_mutate(u->rq->server, ad));
	if (u->change->take)
		u->change->take(u->change, u->rq, ad->obj, u->obj);
	else
		u->obj = ad->obj;
	update_isolate(u);
	managed_set(u->rq->arena, u->obj, u->managed);
	return NULL;
}

/* The steps between the wanted tree and the transaction. */
static struct err *update_process(struct update *u)
{
	struct api_request *rq = u->rq;
	const struct strategy *st = rq->res->strategy;
	struct admission ad;
	struct err *e = NULL;

	TRY(metadata_begin_update(rq, u->obj));
	TRY(update_check_rv(u));
	if (rq->verb != VERB_PATCH)
		metadata_dedup_owners(rq, u->obj, false);
	update_track(u);
	if (!rq->bypass_admission)
		TRY(update_mutate(u, &ad));
	metadata_dedup_owners(rq, u->obj, true);
	metadata_carry(rq, u->obj, u->old, &e);
	if (st->prepare_update) {
		struct err *e2 = st->prepare_update(rq, u->obj, u->old);

		if (e2) {
			err_free(e);
			return e2;
		}
	}
	if (!update_is_status(rq))
		metadata_bump_generation(rq, u->obj, u->old);
	TRY(update_validate(u, e));
	if (rq->bypass_admission)
		return NULL;
	ad.obj = update_shown(u, u->obj);
	return admission_validate(rq->server, &ad);
}

/* Nothing but the times in managedFields. */
static bool update_same_but_times(struct update *u)
{
	const struct json *managed = json_path(u->old, "metadata", "managedFields", NULL);
	struct json *obj;

	if (!managed || !u->managed || !managers_same(managed, u->managed))
		return false;
	obj = json_dup(u->rq->arena, u->obj);
	managed_set(u->rq->arena, obj, managed);
	return json_equal(obj, u->old);
}

static bool update_same(struct update *u)
{
	struct json *meta = json_sub(u->rq->arena, u->obj, "metadata");
	const struct json *rv = json_at(u->old, "metadata.resourceVersion");

	if (rv)
		json_set(u->rq->arena, meta, "resourceVersion", json_dup(u->rq->arena, rv));
	return json_equal(u->obj, u->old) || update_same_but_times(u);
}

/* A deleted object nothing holds any longer goes, with this update as its last state. */
static struct err *update_finish_delete(struct update *u, struct write *w, const struct obj **ret,
					bool *ret_again)
{
	struct api_request *rq = u->rq;
	struct store_key key = object_key(rq);
	_cleanup_obj_ const struct obj *last = NULL;
	struct obj *o = NULL;

	TRY(object_make(rq, u->obj, &o));
	last = o;
	w->n = 1;
	w->ops[0] = (struct store_op){ 0 };
	if (rq->res->strategy->commit_delete)
		TRY(rq->res->strategy->commit_delete(rq, w, u->obj));
	w->ops[0] = (struct store_op){ .key = key, .expect = u->cur->rev };
	if (!rq->opt.dry_run)
		TRY(write_commit(rq->server, w, ret_again));
	if (!*ret_again)
		*ret = obj_with_rev(last, u->cur->rev);
	return NULL;
}

static struct err *update_commit(struct update *u, struct write *w, const struct obj **ret,
				 bool *ret_again)
{
	struct api_request *rq = u->rq;
	struct store_key key = object_key(rq);
	struct obj *o = NULL;

	write_fini(w);
	if (metadata_may_go(rq, u->obj))
		return update_finish_delete(u, w, ret, ret_again);
	w->n = 1;
	w->ops[0] = (struct store_op){ 0 };
	if (rq->res->strategy->commit)
		TRY(rq->res->strategy->commit(rq, w, u->obj, u->old));
	TRY(quota_charge(rq, w, u->obj, u->old));
	TRY(object_make(rq, u->obj, &o));
	w->ops[0] = (struct store_op){ .key = key, .put = o, .expect = u->cur->rev };
	if (rq->opt.dry_run) {
		*ret = obj_with_rev(o, u->cur->rev);
		return NULL;
	}
	TRY(write_commit(rq->server, w, ret_again));
	if (!*ret_again)
		*ret = obj_ref(w->ops[0].result);
	return NULL;
}

static struct err *update_attempt(struct api_request *rq, struct engine_change *c, struct write *w,
				  const struct obj **ret, bool *ret_again)
{
	struct store_key key = object_key(rq);
	_cleanup_obj_ const struct obj *cur = NULL;
	struct update u = { .rq = rq, .change = c, .owns = c->owns };

	TRY(store_get(rq->server->store, &key, &cur));
	if (!cur && c->create && rq->res->strategy->create_on_update && !rq->subres) {
		TRY(metadata_begin_update(rq, c->create));
		return engine_create(rq, json_dup(rq->arena, c->create), ret);
	}
	if (!cur && c->make) {
		struct json *obj = NULL;

		TRY(c->make(c, rq, &obj));
		return engine_create(rq, obj, ret);
	}
	if (!cur)
		return error_not_found(rq->res, rq->name);
	u.cur = cur;
	TRY(object_tree(rq, cur, &u.old));
	TRY(c->apply(c, rq, u.old, &u.obj));
	TRY(update_process(&u));
	if (update_same(&u) && !metadata_may_go(rq, u.obj)) {
		*ret = obj_ref(cur);
		return NULL;
	}
	TRY(update_commit(&u, w, ret, ret_again));
	if (*ret_again && u.conditional && w->failed == 0)
		return error_modified(rq->res, rq->name);
	return NULL;
}

struct err *engine_update(struct api_request *rq, struct engine_change *c, const struct obj **ret)
{
	_cleanup_write_ struct write w = { .failed = -1 };

	for (int i = 0; i < UPDATE_ATTEMPTS; i++) {
		bool again = false;

		TRY(update_attempt(rq, c, &w, ret, &again));
		if (!again)
			return NULL;
		TRY(fiber_check());
	}
	return error_modified(rq->res, rq->name);
}

/* PUT */
struct put_change {
	struct engine_change base;
	struct json *body;
};

static struct err *put_apply(struct engine_change *c, struct api_request *rq,
			     const struct json *old UNUSED, struct json **ret)
{
	/* each attempt changes its tree */
	*ret = json_dup(rq->arena, ((struct put_change *)c)->body);
	return NULL;
}

struct err *engine_put(struct api_request *rq, struct json *obj, const struct obj **ret)
{
	struct put_change c = { .base = { .apply = put_apply, .create = obj }, .body = obj };

	return engine_update(rq, &c.base, ret);
}

struct err *serve_update(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct json *obj = NULL;

	TRY(body_decode(rq, &obj));
	TRY(engine_put(rq, obj, &o));
	return respond_obj(rq, rq->created ? 201 : 200, o);
}
