/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying decisions out, in the background: volumes first (mark claims with the chosen node, take
 * existing volumes, wait until all are bound), then the binding. When something fails the
 * Pod is forgotten from the node and tried again after its back-off.
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/events.h"
#include "client/rest.h"
#include "scheduler/scheduler.h"
#include "json/json.h"

#define BIND_TIMEOUT_MS    30000
#define VOLUMES_TIMEOUT_MS (10 * 60 * 1000)
#define SELECTED_NODE      "volume.kubernetes.io/selected-node"

static const struct gvr gvr_pods = { STR_INIT(""), STR_INIT("v1"), STR_INIT("pods") };
static const struct gvr gvr_claims = { STR_INIT(""), STR_INIT("v1"),
				       STR_INIT("persistentvolumeclaims") };
static const struct gvr gvr_volumes = { STR_INIT(""), STR_INIT("v1"),
					STR_INIT("persistentvolumes") };

struct job {
	struct scheduler *s;
	struct arena *a;
	const struct obj *pod;
	struct str text; /* node to bind to, or message to report */
	struct volume_step *steps;
	size_t n_steps;
};

static struct job *job_new(struct scheduler *s, const struct obj *pod, struct str text)
{
	struct arena *a = arena_new();
	struct job *j = arena_new_obj(a, struct job);

	*j = (struct job){ .s = s, .a = a, .pod = obj_ref(pod), .text = arena_str(a, text) };
	s->background++;
	return j;
}

static void job_free(struct job *j)
{
	j->s->background--;
	waitq_wake_all(&j->s->ready);
	obj_unref(j->pod);
	arena_free(j->a);
}

/* ---- volumes ---- */

static struct err *mark_claim(struct job *j, struct str claim)
{
	struct json *patch = json_object(j->a), *out;

	meta_set_annotation(j->a, patch, SELECTED_NODE, j->text);
	return client_patch(j->s->client, j->a, gvr_claims, j->pod->ns, claim, NULL,
			    CLIENT_PATCH_MERGE, patch, &out);
}

static struct err *take_volume(struct job *j, const struct volume_step *step)
{
	const struct obj *claim = informer_find(j->s->claims, j->pod->ns, step->claim);
	struct json *patch = json_object(j->a), *ref = json_object(j->a), *out;

	if (!claim)
		return err_new(ERR_NOT_FOUND, "persistentvolumeclaim \"" STR_FMT "\" not found",
			       STR_ARG(step->claim));
	json_set(j->a, ref, "kind", json_strz(j->a, "PersistentVolumeClaim"));
	json_set(j->a, ref, "apiVersion", json_strz(j->a, "v1"));
	json_set(j->a, ref, "namespace", json_strcpy(j->a, claim->ns));
	json_set(j->a, ref, "name", json_strcpy(j->a, claim->name));
	json_set(j->a, ref, "uid", json_strcpy(j->a, claim->uid));
	json_set_at(j->a, patch, "spec.claimRef", ref);
	meta_set_annotation(j->a, patch, "pv.kubernetes.io/bound-by-controller", STR("yes"));
	return client_patch(j->s->client, j->a, gvr_volumes, STR_EMPTY, step->volume, NULL,
			    CLIENT_PATCH_MERGE, patch, &out);
}

/* CONFLICT when the provisioner gave the node up: the Pod is to be placed anew. */
static struct err *volumes_bound(struct job *j, bool *ret)
{
	*ret = true;
	for (size_t i = 0; i < j->n_steps; i++) {
		const struct obj *claim =
			informer_find(j->s->claims, j->pod->ns, j->steps[i].claim);

		if (!claim)
			return err_new(ERR_NOT_FOUND,
				       "persistentvolumeclaim \"" STR_FMT "\" not found",
				       STR_ARG(j->steps[i].claim));
		*ret &= claim_is_bound(claim);
	}
	return NULL;
}

/* A provisioner may take minutes: that must not keep other Pods from being placed. */
static struct err *wait_for_storage(struct scheduler *s)
{
	struct err *e;

	s->background--;
	waitq_wake_all(&s->ready);
	e = waitq_wait(&s->storage_changed);
	s->background++;
	return e;
}

static struct err *bind_volumes(struct job *j)
{
	bool done = j->n_steps == 0;

	for (size_t i = 0; i < j->n_steps; i++) {
		if (str_empty(j->steps[i].volume))
			TRY(mark_claim(j, j->steps[i].claim));
		else
			TRY(take_volume(j, &j->steps[i]));
	}
	while (!done) {
		TRY(volumes_bound(j, &done));
		if (!done)
			TRY(wait_for_storage(j->s));
	}
	return NULL;
}

/* ---- the binding ---- */

static struct err *post_binding(struct job *j)
{
	struct json *b = json_object(j->a), *meta = json_sub(j->a, b, "metadata"), *target;
	struct json *out;

	json_set(j->a, b, "apiVersion", json_strz(j->a, "v1"));
	json_set(j->a, b, "kind", json_strz(j->a, "Binding"));
	json_set(j->a, meta, "name", json_strcpy(j->a, j->pod->name));
	json_set(j->a, meta, "namespace", json_strcpy(j->a, j->pod->ns));
	json_set(j->a, meta, "uid", json_strcpy(j->a, j->pod->uid));
	target = json_sub(j->a, b, "target");
	json_set(j->a, target, "apiVersion", json_strz(j->a, "v1"));
	json_set(j->a, target, "kind", json_strz(j->a, "Node"));
	json_set(j->a, target, "name", json_strcpy(j->a, j->text));
	return client_create_sub(j->s->client, j->a, gvr_pods, j->pod->ns, j->pod->name, "binding",
				 b, &out);
}

static void bind_failed(struct job *j, struct err *e)
{
	struct scheduler *s = j->s;
	struct cached_pod *c = cache_find_pod(&s->cache, j->pod->ns, j->pod->name);
	struct queued_pod *q = queue_find(&s->queue, j->pod->ns, j->pod->name);

	if (c && c->assumed && str_eq(c->obj->uid, j->pod->uid)) {
		cache_del_pod(&s->cache, j->pod->ns, j->pod->name);
		queue_move(&s->queue, NULL, NULL);
	}
	if (q && q->place == QUEUE_IN_FLIGHT && str_eq(q->obj->uid, j->pod->uid)) {
		if (err_is(e, ERR_NOT_FOUND) && j->n_steps == 0)
			queue_del(&s->queue, j->pod->ns, j->pod->name);
		else
			queue_retry(&s->queue, q);
	}
	event_record(s->events, obj_tree(j->pod), STR("v1"), STR("Pod"), "Warning",
		     "FailedScheduling", STR_FMT, STR_ARG(err_msg(e)));
	err_log(s->log, LOG_WARN, "binding failed: the pod is tried again", e);
}

static void bind_done(struct job *j)
{
	struct scheduler *s = j->s;
	const struct queued_pod *q = queue_find(&s->queue, j->pod->ns, j->pod->name);

	if (q && str_eq(q->obj->uid, j->pod->uid))
		queue_del(&s->queue, j->pod->ns, j->pod->name);
	event_record(s->events, obj_tree(j->pod), STR("v1"), STR("Pod"), "Normal", "Scheduled",
		     "Successfully assigned " STR_FMT "/" STR_FMT " to " STR_FMT,
		     STR_ARG(j->pod->ns), STR_ARG(j->pod->name), STR_ARG(j->text));
}

static struct err *bind_run(void *arg)
{
	struct job *j = arg;
	struct err *e;

	fiber_limit_ms(j->n_steps ? VOLUMES_TIMEOUT_MS : BIND_TIMEOUT_MS);
	e = bind_volumes(j);
	if (!e)
		e = post_binding(j);
	if (e)
		bind_failed(j, e);
	else
		bind_done(j);
	job_free(j);
	return NULL;
}

void scheduler_bind(struct scheduler *s, const struct obj *pod, struct str node,
		    const struct volume_step *steps, size_t n_steps)
{
	struct job *j = job_new(s, pod, node);

	j->steps = arena_array(j->a, n_steps + 1, sizeof(*steps));
	for (size_t i = 0; i < n_steps; i++)
		j->steps[j->n_steps++] = (struct volume_step){
			.claim = arena_str(j->a, steps[i].claim),
			.volume = arena_str(j->a, steps[i].volume),
		};
	fiber_unref(fiber_spawn(s->loop, "bind", bind_run, j));
}

/* ---- the report of a failure ---- */

static bool condition_is_new(const struct json *old, struct str message)
{
	return !str_eqz(json_str_at(old, "status"), "False") ||
	       !str_eqz(json_str_at(old, "reason"), "Unschedulable") ||
	       !str_eq(json_str_at(old, "message"), message);
}

static struct err *report_run(void *arg)
{
	struct job *j = arg;
	const struct json *tree = obj_tree(j->pod);
	const struct json *old = condition_find(json_get(tree, "status"), "PodScheduled");
	struct json *patch = json_object(j->a), *out;
	struct json *status = json_sub(j->a, patch, "status");
	int64_t generation = json_int_at(tree, "metadata.generation", 0);
	struct err *e;

	fiber_limit_ms(BIND_TIMEOUT_MS);
	event_record(j->s->events, tree, STR("v1"), STR("Pod"), "Warning", "FailedScheduling",
		     STR_FMT, STR_ARG(j->text));
	if (!condition_is_new(old, j->text)) {
		job_free(j);
		return NULL;
	}
	if (old)
		json_push(json_sub_array(j->a, status, "conditions"), json_copy(j->a, old));
	condition_set(j->a, status, "PodScheduled", "False", STR("Unschedulable"), j->text,
		      wall_now());
	if (generation)
		json_set_int(j->a, json_idx(json_get(status, "conditions"), 0),
			     "observedGeneration", generation);
	e = client_patch(j->s->client, j->a, gvr_pods, j->pod->ns, j->pod->name, "status",
			 CLIENT_PATCH_STRATEGIC, patch, &out);
	if (e && err_is(e, ERR_NOT_FOUND))
		err_ignore(TAKE(e), "the Pod is gone, and so is the need to tell");
	err_log(j->s->log, LOG_WARN, "pod's condition not written: it is with the next attempt", e);
	job_free(j);
	return NULL;
}

void scheduler_report(struct scheduler *s, const struct obj *pod, struct str message)
{
	fiber_unref(fiber_spawn(s->loop, "report", report_run, job_new(s, pod, message)));
}
