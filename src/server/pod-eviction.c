/* SPDX-License-Identifier: Apache-2.0 */

/* How a Pod is asked to leave its node: a deletion that a PodDisruptionBudget may refuse. */

#include "api/meta.h"
#include "api/selector.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/admission.h"
#include "server/engine.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

#define BUDGETS       "poddisruptionbudgets.policy"
#define ATTEMPTS      8
#define DISRUPTED_MAX 2000
#define REFUSED       "Cannot evict pod as it would violate the pod's disruption budget."

static struct err *evict_apply(struct engine_change *base UNUSED, struct api_request *rq,
			       const struct json *old, struct json **ret)
{
	struct json *pod = json_copy(rq->arena, old);
	uint64_t rv = 0;

	if (!str_to_u64(json_str_at(old, "metadata.resourceVersion"), &rv))
		rv = 0;
	TRY(engine_delete_preconditions(rq, meta_uid(old), rv));
	condition_set(rq->arena, json_sub(rq->arena, pod, "status"), "DisruptionTarget", "True",
		      STR("EvictionByEvictionAPI"), STR("Eviction API: evicting"), rq->now);
	*ret = pod;
	return NULL;
}

/* Nothing is disrupted by the end of a Pod that does not run. */
static bool evict_freely(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return str_eqz(phase, "Pending") || str_eqz(phase, "Succeeded") ||
	       str_eqz(phase, "Failed") || meta_deleting(pod);
}

/* ---- budgets */

struct evict_budgets {
	struct api_request *rq;
	const struct json *pod;
	struct json *first;
	size_t n;
	struct err *e;
};

static void evict_budget(const struct obj *o, void *ctx)
{
	struct evict_budgets *b = ctx;
	struct selector *sel = NULL;
	struct json *pdb = NULL;
	const struct resource *res = registry_find_stored(b->rq->server->registry, STR(BUDGETS));

	if (b->e)
		return;
	b->e = object_tree_v(b->rq->server->registry, b->rq->arena, res,
			     &res->versions[res->storage], o, &pdb);
	if (b->e)
		return;
	b->e = label_selector_from_json(b->rq->arena, json_at(pdb, "spec.selector"), &sel);
	if (b->e || !selector_matches(sel, meta_labels(b->pod)))
		return;
	if (!b->n++)
		b->first = pdb;
}

static struct err *evict_refuse(int again, struct str text)
{
	struct err *e = err_new(ERR_TOO_MANY_REQUESTS, REFUSED);

	if (again)
		err_retry_after(e, again);
	err_add_cause(e, STR_EMPTY, STR("DisruptionBudget"), text);
	return e;
}

static struct err *evict_forbid(const struct json *pdb, const char *text)
{
	return err_details(err_new(ERR_FORBIDDEN,
				   "poddisruptionbudget.policy \"" STR_FMT "\" is forbidden: %s",
				   STR_ARG(meta_name(pdb)), text),
			   STR("policy"), STR("poddisruptionbudget"), meta_name(pdb));
}

/* Why a budget that allows none does so. */
static struct str evict_why(struct arena *a, const struct json *pdb)
{
	const struct json *st = json_get(pdb, "status"),
			  *c = condition_find(st, "DisruptionAllowed");
	struct str name = meta_name(pdb), text = json_str_at(c, "message"),
		   reason = json_str_at(c, "reason");
	bool said = str_eqz(json_str_at(c, "status"), "False") && !str_empty(text);
	long long desired = json_int_at(st, "desiredHealthy", 0),
		  current = json_int_at(st, "currentHealthy", 0);

	if (said && str_eqz(reason, "SyncFailed"))
		return arena_fmt(
			a,
			"The disruption budget " STR_FMT
			" does not allow evicting pods currently because it failed sync: " STR_FMT,
			STR_ARG(name), STR_ARG(text));
	if (current <= desired)
		return arena_fmt(a,
				 "The disruption budget " STR_FMT
				 " needs %lld healthy pods and has %lld currently",
				 STR_ARG(name), desired, current);
	if (said)
		return arena_fmt(a,
				 "The disruption budget " STR_FMT
				 " does not allow evicting pods currently (" STR_FMT "): " STR_FMT,
				 STR_ARG(name), STR_ARG(reason), STR_ARG(text));
	return arena_fmt(a,
			 "The disruption budget " STR_FMT " does not allow evicting pods currently",
			 STR_ARG(name));
}

static struct err *evict_busy(struct arena *a, const struct json *pdb)
{
	return evict_refuse(10, arena_fmt(a,
					  "The disruption budget " STR_FMT
					  " is still being processed by the server.",
					  STR_ARG(meta_name(pdb))));
}

static struct err *evict_check(struct arena *a, const struct json *pdb)
{
	const struct json *st = json_get(pdb, "status");
	int64_t allowed = json_int_at(st, "disruptionsAllowed", 0);

	if (json_int_at(st, "observedGeneration", 0) < json_int_at(pdb, "metadata.generation", 0))
		return evict_busy(a, pdb);
	if (allowed < 0)
		return evict_forbid(pdb, "pdb disruptions allowed is negative");
	if (json_len(json_get(st, "disruptedPods")) > DISRUPTED_MAX)
		return evict_forbid(pdb, "DisruptedPods map too big - too many evictions not "
					 "confirmed by PDB controller");
	if (!allowed)
		return evict_refuse(0, evict_why(a, pdb));
	return NULL;
}

/* Takes one of the disruptions a budget allows; its controller must know who had it. */
static struct err *evict_decrement(struct api_request *rq, struct json *pdb)
{
	struct arena *a = rq->arena;

	for (int i = 0; i < ATTEMPTS; i++) {
		struct str name = meta_name(pdb);
		struct json *st = json_sub(a, pdb, "status");
		int64_t left = json_int_at(st, "disruptionsAllowed", 0) - 1;
		struct err *e;

		TRY(evict_check(a, pdb));
		if (rq->opt.dry_run)
			return NULL;
		json_set_int(a, st, "disruptionsAllowed", left);
		if (!left)
			condition_set(a, st, "DisruptionAllowed", "False", STR("InsufficientPods"),
				      STR_EMPTY, rq->now);
		json_set_s(a, json_sub(a, st, "disruptedPods"), rq->name,
			   json_str(a, wall_format(a, rq->now)));
		e = local_update(rq->server, a, BUDGETS, "status", pdb, NULL);
		if (!e || !err_is(e, ERR_CONFLICT))
			return e;
		err_free(e);
		TRY(local_get_json(rq->server, a, BUDGETS, rq->ns, name, &pdb));
		if (!pdb)
			return NULL; /* it holds nobody any longer */
	}
	return err_retry_after(err_new(ERR_TIMEOUT,
				       "couldn't update PodDisruptionBudget \"" STR_FMT
				       "\" due to conflicts",
				       STR_ARG(meta_name(pdb))),
			       10);
}

static bool evict_unguarded(const struct json *pod, const struct json *pdb)
{
	const struct json *ready = condition_find(json_get(pod, "status"), "Ready");
	int64_t desired = json_int_at(pdb, "status.desiredHealthy", 0);

	if (str_eqz(json_str_at(ready, "status"), "True"))
		return false;
	return str_eqz(json_str_at(pdb, "spec.unhealthyPodEvictionPolicy"), "AlwaysAllow") ||
	       (desired > 0 && json_int_at(pdb, "status.currentHealthy", 0) >= desired);
}

/* *ret_same: only the Pod as it is now may go, which is not healthy. */
static struct err *evict_ask_budgets(struct api_request *rq, const struct json *pod,
				     struct json **ret_pdb, bool *ret_same)
{
	struct evict_budgets b = { .rq = rq, .pod = pod };

	TRY(local_list(rq->server, BUDGETS, rq->ns, evict_budget, &b));
	TRY(b.e);
	if (b.n > 1)
		return err_set_status(
			err_new(ERR_UNKNOWN,
				"This pod has more than one PodDisruptionBudget, which the "
				"eviction subresource does not support."),
			500);
	*ret_pdb = b.first;
	if (!b.first)
		return NULL;
	*ret_same = evict_unguarded(pod, b.first);
	return *ret_same ? NULL : evict_decrement(rq, b.first);
}

/* ---- the request */

static struct err *evict_read(struct api_request *rq, struct json **ret_body)
{
	TRY(body_decode(rq, ret_body));
	if (!str_eq(meta_name(*ret_body), rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "name in URL does not match name in Eviction object");
	return NULL;
}

static struct err *evict_delete(struct api_request *rq, const struct json *pod, bool same)
{
	_cleanup_obj_ const struct obj *deleted = NULL, *marked = NULL;
	struct engine_change c = { .apply = evict_apply };
	bool gone = false;

	if (same && !rq->opt.pre_rv.p)
		rq->opt.pre_rv = json_str_at(pod, "metadata.resourceVersion");
	if (!rq->opt.dry_run) {
		rq->verb = VERB_PATCH;
		rq->subres = subresource_find(rq->v, STR("status"));
		TRY(engine_update(rq, &c, &marked));
		if (rq->opt.pre_rv.p)
			rq->opt.pre_rv =
				arena_fmt(rq->arena, "%llu", (unsigned long long)marked->rev.n);
	}
	rq->subres = NULL;
	rq->verb = VERB_DELETE;
	return engine_delete(rq, &deleted, &gone);
}

struct err *pod_eviction(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct json *body = NULL, *pod = NULL, *pdb = NULL;
	const struct json *opts;
	bool same = false;
	struct err *e;

	TRY(evict_read(rq, &body));
	TRY(engine_get(rq, &o));
	TRY(object_tree(rq, o, &pod));
	TRY(admission_run(rq, ADMISSION_CREATE, &body));
	rq->bypass_admission = true;
	opts = json_get(body, "deleteOptions");
	rq->opt.grace = json_int_at(opts, "gracePeriodSeconds", -1);
	rq->opt.dry_run |= json_len(json_get(opts, "dryRun")) != 0;
	if (json_is(json_at(opts, "preconditions.uid"), JSON_STR))
		rq->opt.pre_uid = json_str_at(opts, "preconditions.uid");
	if (json_is(json_at(opts, "preconditions.resourceVersion"), JSON_STR))
		rq->opt.pre_rv = json_str_at(opts, "preconditions.resourceVersion");
	if (!evict_freely(pod))
		TRY(evict_ask_budgets(rq, pod, &pdb, &same));
	e = evict_delete(rq, pod, same);
	if (e && same && err_is(e, ERR_CONFLICT)) {
		err_free(e);
		return evict_busy(rq->arena, pdb);
	}
	TRY(e);
	respond_json(rq, 201, status_success(rq->arena, 201));
	return NULL;
}
