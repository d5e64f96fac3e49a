/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/revisions.h"
#include "control/statefulset-plan.h"
#include "json/json.h"

/*
 * StatefulSets over Pods and claims. Each sync plans from what the informers show
 * (statefulset-plan.h) and carries the steps out in order until one fails; names are fixed, so a
 * step on a stale cache is refused instead of doing harm.
 */

#define API_VERSION        STR("apps/v1")
#define KIND               STR("StatefulSet")
#define CLAIM_SEEN_SOON_MS 500

struct statefulsets {
	struct control *control;
	struct controller *controller;
	struct informer *sets, *claims;
	struct owned pods;
	struct revisions revisions;
};

struct statefulset_sync {
	struct statefulsets *ss;
	struct arena *a;
	struct str key;
	struct json *set;
	struct owned_list pods, revisions;
	const struct json *current, *update; /* ControllerRevisions; NULL while it is deleted */
	int64_t collisions, updating;
	struct stateful_plan p;
};

/* ---- events */

static void stateful_event_pod(struct statefulset_sync *s, const char *verb, struct str pod,
			       const struct err *e)
{
	struct str reason = arena_fmt(s->a, "%s%s", e ? "Failed" : "Successful", verb);

	if (e)
		event_record(s->ss->control->events, s->set, API_VERSION, KIND, "Warning", reason.p,
			     "%s Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: " STR_FMT,
			     verb, STR_ARG(pod), STR_ARG(meta_name(s->set)), STR_ARG(err_msg(e)));
	else
		event_record(s->ss->control->events, s->set, API_VERSION, KIND, "Normal", reason.p,
			     "%s Pod " STR_FMT " in StatefulSet " STR_FMT " successful", verb,
			     STR_ARG(pod), STR_ARG(meta_name(s->set)));
}

static void stateful_event_claim(struct statefulset_sync *s, struct str claim, struct str pod,
				 const struct err *e)
{
	if (e)
		event_record(s->ss->control->events, s->set, API_VERSION, KIND, "Warning",
			     "FailedCreate",
			     "Create Claim " STR_FMT " for Pod " STR_FMT " in StatefulSet " STR_FMT
			     " failed error: " STR_FMT,
			     STR_ARG(claim), STR_ARG(pod), STR_ARG(meta_name(s->set)),
			     STR_ARG(err_msg(e)));
	else
		event_record(s->ss->control->events, s->set, API_VERSION, KIND, "Normal",
			     "SuccessfulCreate",
			     "Create Claim " STR_FMT " Pod " STR_FMT " in StatefulSet " STR_FMT
			     " success",
			     STR_ARG(claim), STR_ARG(pod), STR_ARG(meta_name(s->set)));
}

static struct str stateful_pod_name(struct statefulset_sync *s, const struct stateful_pod *pod)
{
	return arena_fmt(s->a, STR_FMT "-%lld", STR_ARG(meta_name(s->set)),
			 (long long)pod->ordinal);
}

/* ---- claims */

static const struct json *stateful_templates(const struct statefulset_sync *s)
{
	return json_at(s->set, "spec.volumeClaimTemplates");
}

/* Borrowed until the next suspension. */
static const struct json *stateful_find_claim(struct statefulset_sync *s,
					      const struct json *template, int64_t ordinal)
{
	const struct obj *o = informer_find(s->ss->claims, meta_namespace(s->set),
					    stateful_claim_name(s->a, s->set, template, ordinal));

	return o ? obj_tree(o) : NULL;
}

static struct err *stateful_create_claim(struct statefulset_sync *s, const struct json *template,
					 const struct stateful_pod *pod)
{
	struct json *claim = stateful_make_claim(s->a, s->set, template, pod->ordinal);
	struct err *e = client_create(s->ss->control->client, s->a, gvr_persistentvolumeclaims,
				      meta_namespace(s->set), claim, NULL);

	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "the informer will show it");
		return NULL;
	}
	if (e && control_ns_terminating(e))
		return e;
	stateful_event_claim(s, meta_name(claim), stateful_pod_name(s, pod), e);
	controller_enqueue_after(s->ss->controller, s->key, CLAIM_SEEN_SOON_MS);
	return e ? err_wrap(e, "failed to create PVC " STR_FMT, STR_ARG(meta_name(claim))) : NULL;
}

static struct err *stateful_create_claims(struct statefulset_sync *s,
					  const struct stateful_pod *pod)
{
	json_for_each(it, stateful_templates(s))
	{
		const struct json *claim = stateful_find_claim(s, it.val, pod->ordinal);

		if (claim && meta_deleting(claim))
			return err_new(ERR_CONFLICT, "pvc " STR_FMT " is being deleted",
				       STR_ARG(meta_name(claim)));
		if (!claim)
			TRY(stateful_create_claim(s, it.val, pod));
	}
	return NULL;
}

static struct err *stateful_set_owners(struct statefulset_sync *s, const struct stateful_pod *pod,
				       const struct json *claim)
{
	bool conflict;
	struct json *refs = stateful_claim_owners(s->a, s->set, pod->obj, claim, &conflict);
	struct json *patch, *meta;

	if (conflict)
		event_record(s->ss->control->events, s->set, API_VERSION, KIND, "Warning",
			     "ConflictingController",
			     "PersistentVolumeClaim " STR_FMT
			     " has a conflicting OwnerReference that acts as a manging controller, "
			     "the retention policy is ignored for this claim",
			     STR_ARG(meta_name(claim)));
	if (!refs)
		return NULL;
	patch = json_object(s->a);
	meta = json_sub(s->a, patch, "metadata");
	json_set(s->a, meta, "uid", json_strcpy(s->a, meta_uid(claim)));
	json_set(s->a, meta, "resourceVersion", json_strcpy(s->a, meta_rv(claim)));
	json_set(s->a, meta, "ownerReferences", refs);
	return client_patch(s->ss->control->client, s->a, gvr_persistentvolumeclaims,
			    meta_namespace(s->set), arena_str(s->a, meta_name(claim)), NULL,
			    CLIENT_PATCH_MERGE, patch, NULL);
}

static struct err *stateful_fix_owners(struct statefulset_sync *s, const struct stateful_pod *pod)
{
	json_for_each(it, stateful_templates(s))
	{
		const struct json *claim = stateful_find_claim(s, it.val, pod->ordinal);

		if (claim)
			TRY(stateful_set_owners(s, pod, claim));
	}
	return NULL;
}

static bool stateful_has_stale_claim(const struct stateful_pod *pod, void *ctx)
{
	struct statefulset_sync *s = ctx;

	if (!str_eqz(json_str_at(s->set, "spec.persistentVolumeClaimRetentionPolicy.whenScaled"),
		     "Delete"))
		return false;
	json_for_each(it, stateful_templates(s))
	{
		const struct json *claim = stateful_find_claim(s, it.val, pod->ordinal);

		if (claim && stateful_claim_stale(claim, stateful_pod_name(s, pod), STR_EMPTY))
			return true;
	}
	return false;
}

/* ---- steps */

static struct err *stateful_create(struct statefulset_sync *s, const struct stateful_pod *pod)
{
	const struct json *rev = str_eq(pod->revision, s->p.current) ? s->current : s->update;
	struct json *obj = stateful_make_pod(s->a, s->set, revision_template(s->a, rev),
					     pod->revision, pod->ordinal);
	struct str name = meta_name(obj);
	struct err *e = stateful_create_claims(s, pod);

	if (!e) {
		e = client_create(s->ss->control->client, s->a, gvr_pods, meta_namespace(s->set),
				  obj, NULL);
		if (e && err_is(e, ERR_ALREADY_EXISTS))
			return e;
	}
	if (!e || !control_ns_terminating(e))
		stateful_event_pod(s, "Create", name, e);
	return e;
}

static struct err *stateful_repair(struct statefulset_sync *s, const struct stateful_pod *pod)
{
	struct json *obj = json_copy(s->a, pod->obj);
	struct err *e;

	if (stateful_fix_pod(s->a, s->set, obj)) {
		TRY(stateful_create_claims(s, pod));
		json_set_str(s->a, obj, "apiVersion", STR("v1"));
		json_set_str(s->a, obj, "kind", STR("Pod"));
		e = client_update(s->ss->control->client, s->a, gvr_pods, NULL, obj, NULL);
		stateful_event_pod(s, "Update", meta_name(obj), e);
		if (e)
			return e;
	}
	return stateful_fix_owners(s, pod);
}

static struct err *stateful_delete(struct statefulset_sync *s, const struct stateful_step *step)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct str name = meta_name(step->pod->obj);
	struct err *e;

	opts.uid = meta_uid(step->pod->obj);
	e = client_delete(s->ss->control->client, s->a, gvr_pods, meta_namespace(s->set), name,
			  &opts);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone already");
		e = NULL;
	}
	stateful_event_pod(s, "Delete", name, e);
	s->updating += !e && step->updates;
	return e;
}

static struct err *stateful_do(struct statefulset_sync *s, const struct stateful_step *step)
{
	switch (step->act) {
	case STATEFUL_CREATE:
		return stateful_create(s, step->pod);
	case STATEFUL_CLAIMS:
		TRY(stateful_create_claims(s, step->pod));
		return stateful_fix_owners(s, step->pod);
	case STATEFUL_REPAIR:
		return stateful_repair(s, step->pod);
	case STATEFUL_OWNERS:
		return stateful_fix_owners(s, step->pod);
	case STATEFUL_DELETE:
		return stateful_delete(s, step);
	}
	UNREACHABLE();
}

static struct err *stateful_do_all(struct statefulset_sync *s)
{
	stateful_plan_steps(s->a, &s->p, stateful_has_stale_claim, s);
	for (size_t i = 0; i < s->p.n_steps; i++)
		TRY(stateful_do(s, &s->p.steps[i]));
	return NULL;
}

/* ---- sync */

static struct err *stateful_write_status(struct statefulset_sync *s)
{
	struct json *status = stateful_status(s->a, &s->p, s->collisions, s->updating);

	if (!stateful_status_differs(json_get(s->set, "status"), status))
		return NULL;
	json_set_str(s->a, s->set, "apiVersion", API_VERSION);
	json_set_str(s->a, s->set, "kind", KIND);
	json_set(s->a, s->set, "status", status);
	return client_update(s->ss->control->client, s->a, gvr_statefulsets, "status", s->set,
			     NULL);
}

static bool stateful_revision_in_use(const struct json *revision, void *ctx)
{
	const struct statefulset_sync *s = ctx;
	struct str name = meta_name(revision);

	if (str_eq(name, s->p.current) || str_eq(name, s->p.update))
		return true;
	for (size_t i = 0; i < s->pods.n; i++) {
		if (str_eq(meta_label(s->pods.v[i], STATEFUL_REVISION), name))
			return true;
	}
	return false;
}

/* A set that is being deleted makes no revisions any more. */
static struct err *stateful_find_revisions(struct statefulset_sync *s, struct str *ret_current,
					   struct str *ret_update)
{
	struct str current = json_str_at(s->set, "status.currentRevision");

	*ret_current = current;
	*ret_update = json_str_at(s->set, "status.updateRevision");
	if (meta_deleting(s->set))
		return NULL;
	TRY(revisions_claim(&s->ss->revisions, s->a, s->set, &s->revisions));
	TRY(revisions_current(&s->ss->revisions, s->a, s->set, &s->revisions, &s->collisions,
			      &s->update));
	s->current = s->update;
	for (size_t i = 0; i < s->revisions.n; i++) {
		if (str_eq(meta_name(s->revisions.v[i]), current))
			s->current = s->revisions.v[i];
	}
	*ret_current = meta_name(s->current);
	*ret_update = meta_name(s->update);
	return NULL;
}

static struct err *stateful_sync_set(struct statefulset_sync *s)
{
	struct str current, update;
	struct err *e, *status_e;

	TRY(owned_claim(&s->ss->pods, s->a, s->set, &s->pods));
	TRY(stateful_find_revisions(s, &current, &update));
	stateful_plan_init(s->a, &s->p, s->set, current, update, s->pods.v, s->pods.n, wall_now());
	e = stateful_do_all(s);
	status_e = stateful_write_status(s);
	if (e)
		err_ignore(status_e, "the first error is the one to report");
	else
		e = status_e;
	if (s->p.check_ms >= 0)
		controller_enqueue_after(s->ss->controller, s->key, s->p.check_ms + 1);
	if (e || meta_deleting(s->set))
		return e;
	return revisions_trim(&s->ss->revisions, s->a, s->set, &s->revisions,
			      stateful_revision_in_use, s);
}

static struct err *stateful_sync(void *ctx, struct arena *a, struct str key)
{
	struct statefulset_sync s = { .ss = ctx, .a = a, .key = key };
	const struct obj *o = informer_find_key(s.ss->sets, key);
	struct err *e;

	if (!o)
		return NULL;
	s.set = json_copy(a, obj_tree(o));
	s.collisions = json_int_at(s.set, "status.collisionCount", 0);
	e = stateful_sync_set(&s);
	if (e && (err_is(e, ERR_NOT_FOUND) || control_ns_terminating(e))) {
		err_ignore(e, "it is going, or gone");
		return NULL;
	}
	return e;
}

static bool stateful_fits(const struct json *set, const struct json *pod)
{
	return stateful_ordinal(set, pod) >= 0;
}

/* Claims are read, and their events are of no interest. */
static void stateful_pass_over(struct controller *c UNUSED, const struct obj *o UNUSED,
			       void *ctx UNUSED)
{
}

void statefulset_start(struct control *c)
{
	static struct statefulsets ss;
	const struct controller_opts opts = {
		.name = "statefulset", .workers = 5, .sync = stateful_sync, .ctx = &ss
	};

	ss.control = c;
	ss.controller = controller_new(c->loop, &opts);
	ss.sets = control_informer(c, gvr_statefulsets);
	ss.claims = control_informer(c, gvr_persistentvolumeclaims);
	ss.pods = (struct owned){ .client = c->client,
				  .owner = gvr_statefulsets,
				  .owner_api_version = API_VERSION,
				  .owner_kind = KIND,
				  .owners = ss.sets,
				  .members = control_informer(c, gvr_pods),
				  .fits = stateful_fits };
	ss.revisions = (struct revisions){ .owned = ss.pods,
					   .hash_label = "controller.kubernetes.io/hash" };
	ss.revisions.owned.members = control_informer(c, gvr_controllerrevisions);
	ss.revisions.owned.fits = NULL;
	owned_init(&ss.pods);
	owned_init(&ss.revisions.owned);
	controller_watch(ss.controller, ss.sets);
	controller_watch_fn(ss.controller, ss.pods.members, owned_route, &ss.pods);
	controller_watch_fn(ss.controller, ss.revisions.owned.members, owned_route,
			    &ss.revisions.owned);
	controller_watch_fn(ss.controller, ss.claims, stateful_pass_over, NULL);
	controller_start(ss.controller);
}
