/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Deletion: at once when nothing holds the object, otherwise in steps: deletionTimestamp is set and
 * the finalizers, the grace period and the strategy (spec.finalizers of a namespace) decide how
 * long it stays.
 */

#include "api/meta.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "server/admission.h"
#include "server/crd-convert.h"
#include "server/delete-options.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/metadata.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/write.h"
#include "json/json.h"

#define DELETE_ATTEMPTS 16

struct err *engine_delete_preconditions(struct api_request *rq, struct str uid, uint64_t rv)
{
	const struct api_options *o = &rq->opt;
	struct str text = STR_EMPTY, have;

	if (o->pre_uid.p && !str_eq(o->pre_uid, uid)) {
		text = arena_fmt(rq->arena,
				 "the UID in the precondition (" STR_FMT
				 ") does not match the UID in record (" STR_FMT
				 "). The object might have been deleted and then recreated",
				 STR_ARG(o->pre_uid), STR_ARG(uid));
	} else if (o->pre_rv.p) {
		have = arena_fmt(rq->arena, "%llu", (unsigned long long)rv);
		if (str_eq(have, o->pre_rv))
			return NULL;
		text = arena_fmt(rq->arena,
				 "the ResourceVersion in the precondition (" STR_FMT
				 ") does not match the ResourceVersion in record (" STR_FMT
				 "). The object might have been modified",
				 STR_ARG(o->pre_rv), STR_ARG(have));
	}
	if (str_empty(text))
		return NULL;
	return err_details(err_new(ERR_CONFLICT,
				   "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT
				   "\": %s",
				   STR_ARG(rq->res->kind), STR_ARG(rq->name), text.p),
			   rq->res->group, rq->res->kind, rq->name);
}

static enum propagation delete_propagation(const struct api_request *rq, const struct json *obj)
{
	if (rq->opt.propagation != PROPAGATION_UNSET)
		return rq->opt.propagation;
	if (meta_has_finalizer(obj, STR("orphan")))
		return PROPAGATION_ORPHAN;
	if (meta_has_finalizer(obj, STR("foregroundDeletion")))
		return PROPAGATION_FOREGROUND;
	return rq->res->strategy->orphan_by_default ? PROPAGATION_ORPHAN : PROPAGATION_BACKGROUND;
}

/* Children that stay are news to who deletes a Job. */
static void delete_warn(struct api_request *rq, const struct json *obj)
{
	if (rq->opt.propagation == PROPAGATION_UNSET && str_eqz(rq->res->kind, "Job") &&
	    !rq->res->custom && !meta_has_finalizer(obj, STR("orphan")) &&
	    !meta_has_finalizer(obj, STR("foregroundDeletion")))
		request_warn(rq, "child pods are preserved by default when jobs are deleted; set "
				 "propagationPolicy=Background to remove them or set "
				 "propagationPolicy=Orphan to suppress this warning");
}

/* False when they are there as they shall be. */
static bool delete_set_finalizers(struct api_request *rq, struct json *obj)
{
	enum propagation p = delete_propagation(rq, obj);

	if (meta_has_finalizer(obj, STR("orphan")) == (p == PROPAGATION_ORPHAN) &&
	    meta_has_finalizer(obj, STR("foregroundDeletion")) == (p == PROPAGATION_FOREGROUND))
		return false;
	meta_del_finalizer(rq->arena, obj, STR("orphan"));
	meta_del_finalizer(rq->arena, obj, STR("foregroundDeletion"));
	if (p == PROPAGATION_ORPHAN)
		meta_add_finalizer(rq->arena, obj, STR("orphan"));
	else if (p == PROPAGATION_FOREGROUND)
		meta_add_finalizer(rq->arena, obj, STR("foregroundDeletion"));
	return true;
}

static void delete_stamp(struct api_request *rq, struct json *obj, int64_t grace)
{
	struct json *meta = json_sub(rq->arena, obj, "metadata");
	struct wall at = { rq->now.ns + grace * NS_PER_SEC };

	json_set_str(rq->arena, meta, "deletionTimestamp", wall_format(rq->arena, at));
	json_set_int(rq->arena, meta, "deletionGracePeriodSeconds", grace);
}

/*
 * What the object is to become, in obj. *ret_gone: nothing, it may go now. *ret_change: obj
 * differs from what is stored.
 */
static void delete_plan(struct api_request *rq, struct json *obj, bool *ret_gone, bool *ret_change)
{
	const struct strategy *st = rq->res->strategy;
	int64_t grace = st->grace ? st->grace(rq, obj, rq->opt.grace) : 0;
	bool held;

	*ret_change = false;
	if (meta_deleting(obj)) {
		int64_t now = json_int_at(obj, "metadata.deletionGracePeriodSeconds", 0);

		/* only ever sooner */
		if (st->grace && rq->opt.grace >= 0 && grace < now) {
			struct wall was = { 0 };

			wall_parse(json_str_at(obj, "metadata.deletionTimestamp"), &was);
			delete_stamp(rq, obj, grace);
			if (was.ns) {
				struct wall at = { was.ns - (now - grace) * NS_PER_SEC };

				json_set_str(rq->arena, json_get(obj, "metadata"),
					     "deletionTimestamp", wall_format(rq->arena, at));
			}
			*ret_change = true;
		} else if (!now) {
			*ret_change = delete_set_finalizers(rq, obj);
		}
	} else {
		struct json *meta = json_sub(rq->arena, obj, "metadata");

		delete_warn(rq, obj);
		delete_set_finalizers(rq, obj);
		delete_stamp(rq, obj, grace);
		if (json_get(meta, "generation"))
			json_set_int(rq->arena, meta, "generation",
				     json_int_at(meta, "generation", 0) + 1);
		if (st->deleting)
			st->deleting(rq, obj);
		*ret_change = true;
	}
	held = json_len(json_at(obj, "metadata.finalizers")) || (st->held && st->held(obj));
	*ret_gone = !held && json_int_at(obj, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

static struct err *delete_admit(struct api_request *rq, const struct json *old)
{
	struct admission ad = {
		.rq = rq,
		.op = ADMISSION_DELETE,
		.res = rq->res,
		.v = rq->v,
		.ns = rq->ns,
		.name = rq->in_collection ? STR_EMPTY : rq->name,
		.old = old,
		.dry_run = rq->opt.dry_run,
	};

	if (rq->bypass_admission || !admission_wanted(rq->server, &ad))
		return NULL;
	ad.options = engine_options_json(rq, "DeleteOptions");
	TRY(admission_mutate(rq->server, &ad));
	return admission_validate(rq->server, &ad);
}

static struct err *delete_commit(struct api_request *rq, struct json *obj, const struct obj *cur,
				 struct write *w, const struct obj **ret, bool gone,
				 bool *ret_again)
{
	struct store_key key = object_key(rq);
	_cleanup_obj_ const struct obj *last = NULL;
	struct obj *o = NULL;

	write_fini(w);
	w->n = 1;
	w->ops[0] = (struct store_op){ 0 };
	if (gone && rq->res->strategy->commit_delete)
		TRY(rq->res->strategy->commit_delete(rq, w, obj));
	/* kinds with a grace period show their last one, others the object as it was */
	if (!gone || rq->res->strategy->grace)
		TRY(object_make(rq, obj, &o));
	last = o ? obj_with_rev(o, cur->rev) : obj_ref(cur);
	if (gone && o) {
		obj_unref(o);
		o = NULL;
	}
	w->ops[0] = (struct store_op){ .key = key, .put = o, .expect = cur->rev };
	if (!rq->opt.dry_run)
		TRY(write_commit(rq->server, w, ret_again));
	if (!*ret_again)
		*ret = obj_ref(gone || rq->opt.dry_run ? last : w->ops[0].result);
	return NULL;
}

/*
 * A webhook that does not answer shall keep nobody from deleting: the object then goes through in
 * the version it is stored in.
 */
static struct err *delete_tree(struct api_request *rq, const struct obj *cur, struct json **ret)
{
	struct err *e = object_tree(rq, cur, ret);
	struct str stored = obj_field(cur, CRD_VERSION_FIELD);

	if (!e || !rq->res->conversion || err_is(e, ERR_CANCELED))
		return e;
	rq->v = &rq->res->versions[rq->res->storage];
	for (size_t i = 0; i < rq->res->n_versions; i++)
		if (str_eq(rq->res->versions[i].version, stored))
			rq->v = &rq->res->versions[i];
	err_log(NULL, LOG_WARN, "deleting an object in the version it is stored in", e);
	return object_tree_v(rq->server->registry, rq->arena, rq->res, rq->v, cur, ret);
}

static struct err *delete_attempt(struct api_request *rq, struct write *w, const struct obj **ret,
				  bool *ret_gone, bool *ret_again)
{
	struct store_key key = object_key(rq);
	_cleanup_obj_ const struct obj *cur = NULL;
	struct json *obj = NULL;
	bool change;

	TRY(store_get(rq->server->store, &key, &cur));
	if (!cur)
		return error_not_found(rq->res, rq->name);
	TRY(engine_delete_preconditions(rq, cur->uid, cur->rev.n));
	TRY(delete_tree(rq, cur, &obj));
	if (rq->res->strategy->check_delete)
		TRY(rq->res->strategy->check_delete(rq, obj));
	if (w->attempt == 0)
		TRY(delete_admit(rq, obj));
	obj = json_copy(rq->arena, obj);
	delete_plan(rq, obj, ret_gone, &change);
	if (!*ret_gone && !change) {
		*ret = obj_ref(cur);
		return NULL;
	}
	return delete_commit(rq, obj, cur, w, ret, *ret_gone, ret_again);
}

struct err *engine_delete(struct api_request *rq, const struct obj **ret, bool *ret_gone)
{
	_cleanup_write_ struct write w = { .failed = -1 };

	for (int i = 0; i < DELETE_ATTEMPTS; i++) {
		bool again = false;

		TRY(delete_attempt(rq, &w, ret, ret_gone, &again));
		if (!again)
			return NULL;
		TRY(fiber_check());
	}
	return error_modified(rq->res, rq->name);
}

static struct json *delete_success(struct api_request *rq, const struct obj *o)
{
	struct arena *a = rq->arena;
	struct json *st = status_success(a, 0), *d = json_sub(a, st, "details");

	json_set_str(a, d, "name", rq->name);
	if (!str_empty(rq->res->group))
		json_set_str(a, d, "group", rq->res->group);
	json_set_str(a, d, "kind", rq->res->plural);
	if (o)
		json_set(a, d, "uid", json_strcpy(a, o->uid));
	return st;
}

struct err *serve_delete(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	bool gone = false;

	TRY(delete_options_read(rq));
	TRY(engine_delete(rq, &o, &gone));
	if (gone && !rq->res->strategy->delete_returns_obj) {
		rq->out.form = OUTPUT_PLAIN;
		respond_json(rq, 200, delete_success(rq, o));
		return NULL;
	}
	return respond_obj(rq, !gone && rq->opt.orphan_set && !rq->opt.orphan ? 202 : 200, o);
}
