/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "api/regex.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
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

#define CREATE_ATTEMPTS 8

static void engine_delete_options(struct api_request *rq, struct json *o)
{
	static const char *const policies[] = { NULL, "Background", "Foreground", "Orphan" };
	const struct api_options *opt = &rq->opt;
	struct arena *a = rq->arena;

	if (opt->grace >= 0)
		json_set_int(a, o, "gracePeriodSeconds", opt->grace);
	if (opt->propagation != PROPAGATION_UNSET)
		json_set(a, o, "propagationPolicy", json_strz(a, policies[opt->propagation]));
	if (opt->orphan_set)
		json_set_bool(a, o, "orphanDependents", opt->orphan);
	if (opt->pre_uid.p)
		json_set_str(a, json_sub(a, o, "preconditions"), "uid", opt->pre_uid);
	if (opt->pre_rv.p)
		json_set_str(a, json_sub(a, o, "preconditions"), "resourceVersion", opt->pre_rv);
}

struct json *engine_options_json(struct api_request *rq, const char *kind)
{
	struct json *o = json_object(rq->arena);

	json_set(rq->arena, o, "kind", json_strz(rq->arena, kind));
	json_set_str(rq->arena, o, "apiVersion", STR("meta.k8s.io/v1"));
	if (rq->opt.dry_run)
		json_push(json_sub_array(rq->arena, o, "dryRun"), json_strz(rq->arena, "All"));
	if (!str_empty(rq->opt.field_manager))
		json_set_str(rq->arena, o, "fieldManager", rq->opt.field_manager);
	if (str_eqz(str_from(kind), "DeleteOptions"))
		engine_delete_options(rq, o);
	return o;
}

static struct admission create_admission(struct api_request *rq, struct json *obj)
{
	return (struct admission){
		.rq = rq,
		.op = ADMISSION_CREATE,
		.res = rq->res,
		.v = rq->v,
		.ns = rq->ns,
		.name = rq->name,
		.obj = obj,
		.options = engine_options_json(rq, "CreateOptions"),
		.dry_run = rq->opt.dry_run,
	};
}

static bool create_keeps_status(const struct api_request *rq)
{
	return rq->res->strategy->keeps_status || !subresource_find(rq->v, STR("status"));
}

static struct err *create_prepare(struct api_request *rq, struct json *obj)
{
	struct err *e = NULL;

	if (!create_keeps_status(rq) && json_get(obj, "status")) {
		const struct schema *s = resource_schema(rq->server->registry, rq->res, rq->v);

		if (schema_keeps_empty(s, STR("status")))
			json_set(rq->arena, obj, "status", json_object(rq->arena));
		else
			json_delz(obj, "status");
	}
	if (rq->res->strategy->prepare_create)
		TRY(rq->res->strategy->prepare_create(rq, obj));
	/* what has a status shows it from the start */
	if (!rq->res->custom && subresource_find(rq->v, STR("status")))
		json_sub(rq->arena, obj, "status");
	metadata_validate(rq, obj, &e);
	object_validate(rq, obj, NULL, &e);
	regex_budget_start();
	if (rq->res->strategy->validate)
		rq->res->strategy->validate(rq, obj, &e);
	regex_budget_end();
	TRY(error_invalid(e, resource_stored_group(rq->res), rq->res->kind, rq->name));
	if (rq->res->strategy->warn)
		rq->res->strategy->warn(rq, obj, NULL);
	return NULL;
}

static struct err *create_taken(struct api_request *rq, const struct obj *present, bool generated)
{
	struct err *e = error_exists(rq->res, rq->name);

	if (generated)
		return err_retry_after(err_remsg(e,
						 STR_FMT ", the server was not able to generate a "
							 "unique name for the object",
						 STR_ARG(err_msg(e))),
				       1);
	if (present && present->deleting)
		return err_remsg(e, "object is being deleted: " STR_FMT, STR_ARG(err_msg(e)));
	return e;
}

/* *ret_taken: the name is in use; nothing was written. */
static struct err *create_commit(struct api_request *rq, struct json *obj, struct write *w,
				 const struct obj **ret, bool *ret_taken)
{
	struct store_key key = object_key(rq);
	struct obj *o = NULL;
	bool conflict = true;

	*ret_taken = false;
	while (conflict) {
		write_fini(w);
		w->n = 1; /* the object's own operation is filled in last */
		w->ops[0] = (struct store_op){ 0 };
		if (rq->res->strategy->commit)
			TRY(rq->res->strategy->commit(rq, w, obj, NULL));
		TRY(quota_charge(rq, w, obj, NULL));
		TRY(object_make(rq, obj, &o));
		w->ops[0] = (struct store_op){ .key = key, .put = o };
		if (rq->opt.dry_run) {
			TRY(store_get(rq->server->store, &key, &w->ops[0].result));
			*ret_taken = w->ops[0].result != NULL;
			if (!*ret_taken)
				*ret = obj_ref(o);
			return NULL;
		}
		TRY(write_commit(rq->server, w, &conflict));
		if (conflict && w->failed == 0) {
			*ret_taken = true;
			return NULL;
		}
		if (conflict && w->attempt > CREATE_ATTEMPTS)
			return err_new(ERR_INTERNAL, "Internal error occurred: no free allocation "
						     "after several attempts");
	}
	*ret = obj_ref(w->ops[0].result);
	return NULL;
}

struct err *engine_create(struct api_request *rq, struct json *obj, const struct obj **ret)
{
	struct admission ad;
	bool generated, taken = true;

	TRY(metadata_begin_create(rq, obj));
	metadata_dedup_owners(rq, obj, false);
	if (!rq->managed)
		rq->managed = managed_create(rq, obj);
	/* a body may leave out what its path says */
	if (!json_get(obj, "apiVersion"))
		json_set_first(rq->arena, obj, "apiVersion",
			       json_str(rq->arena, request_api_version(rq)));
	if (!json_get(obj, "kind"))
		json_set_first(rq->arena, obj, "kind", json_str(rq->arena, rq->res->kind));
	ad = create_admission(rq, obj);
	if (!rq->bypass_admission) {
		TRY(admission_mutate(rq->server, &ad));
		obj = ad.obj;
	}
	metadata_dedup_owners(rq, obj, true);
	managed_set(rq->arena, obj, rq->managed);
	/* mutating plugins see a name only where the client gave one */
	if (str_empty(rq->name))
		rq->name = meta_name(obj);
	generated = str_empty(rq->name) && !str_empty(json_str_at(obj, "metadata.generateName"));
	metadata_stamp(rq, obj);
	if (generated)
		metadata_generate_name(rq, obj);
	ad.name = rq->name;
	TRY(create_prepare(rq, obj));
	ad.obj = obj;
	if (!rq->bypass_admission)
		TRY(admission_validate(rq->server, &ad));
	for (int i = 0; taken && i < CREATE_ATTEMPTS; i++) {
		_cleanup_write_ struct write w = { .failed = -1 };

		if (i)
			metadata_generate_name(rq, obj);
		TRY(create_commit(rq, obj, &w, ret, &taken));
		if (taken && (!generated || i == CREATE_ATTEMPTS - 1))
			return create_taken(rq, w.ops[0].result, generated);
	}
	rq->created = true;
	return NULL;
}

static struct err *create_virtual(struct api_request *rq, struct json *obj)
{
	struct json *answer = NULL;

	TRY(rq->res->strategy->answer(rq, obj, &answer));
	respond_json(rq, 201, answer);
	return NULL;
}

struct err *serve_create(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct json *obj = NULL;

	TRY(body_decode(rq, &obj));
	if (rq->res->strategy->virtual_kind)
		return create_virtual(rq, obj);
	TRY(engine_create(rq, obj, &o));
	return respond_obj(rq, 201, o);
}
