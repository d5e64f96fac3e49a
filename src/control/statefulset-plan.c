/* SPDX-License-Identifier: Apache-2.0 */

#include "control/statefulset-plan.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "json/json.h"

#define STATEFUL_BURST 500 /* most Pods that one sync makes */

/* ---- names */

int64_t stateful_ordinal(const struct json *set, const struct json *pod)
{
	struct str s = meta_name(pod);
	int64_t n;

	if (!str_strip_prefix(&s, meta_name(set)) || !str_strip_prefix(&s, STR("-")) || !s.n ||
	    s.p[0] < '0' || s.p[0] > '9' || (s.p[0] == '0' && s.n > 1) || !str_to_i64(s, &n) ||
	    n > INT32_MAX)
		return -1;
	return n;
}

/* ---- looking at Pods */

static bool stateful_phase_is(const struct stateful_pod *p, const char *phase)
{
	return p->obj && str_eqz(json_str_at(p->obj, "status.phase"), phase);
}

static bool stateful_ready(const struct stateful_pod *p)
{
	return stateful_phase_is(p, "Running") &&
	       condition_is_true(json_get(p->obj, "status"), "Ready");
}

/* Milliseconds until it is available; -1: not before it is ready. */
static int64_t stateful_available_in(const struct json *pod, int64_t min_ready, struct wall now)
{
	const struct json *status = json_get(pod, "status");
	struct wall since;

	if (!condition_is_true(status, "Ready"))
		return -1;
	if (min_ready <= 0)
		return 0;
	if (!wall_parse(json_str_at(condition_find(status, "Ready"), "lastTransitionTime"), &since))
		return -1;
	return MAX((since.ns - now.ns) / NS_PER_MS + min_ready * 1000, 0);
}

static struct stateful_pod stateful_look(struct stateful_plan *p, const struct json *pod,
					 int64_t ordinal, struct wall now)
{
	int64_t ms =
		stateful_available_in(pod, json_int_at(p->set, "spec.minReadySeconds", 0), now);

	if (ms > 0 && (p->check_ms < 0 || ms < p->check_ms))
		p->check_ms = ms;
	return (struct stateful_pod){ .obj = pod,
				      .ordinal = ordinal,
				      .revision = meta_label(pod, STATEFUL_REVISION),
				      .available = ms == 0,
				      .going = meta_deleting(pod) };
}

static bool stateful_rolling(const struct json *set)
{
	return str_eqz(json_str_at(set, "spec.updateStrategy.type"), "RollingUpdate");
}

/* The revision that a new Pod gets: old ones stay old below the partition. */
static struct str stateful_new_revision(const struct stateful_plan *p, int64_t ordinal)
{
	const struct json *u = json_at(p->set, "spec.updateStrategy.rollingUpdate");
	int64_t old = 0;

	if (u)
		old = json_int_at(u, "partition", 0);
	else if (stateful_rolling(p->set))
		old = json_int_at(p->set, "status.currentReplicas", 0);
	return ordinal < p->start + old ? p->current : p->update;
}

static int stateful_cmp_up(const void *x, const void *y)
{
	const struct stateful_pod *a = x, *b = y;

	return a->ordinal == b->ordinal ? 0 : a->ordinal < b->ordinal ? -1 : 1;
}

static int stateful_cmp_down(const void *x, const void *y)
{
	return stateful_cmp_up(y, x);
}

/* Puts the first missing ones between those that are there; replicas may be anything. */
static void stateful_add_missing(struct arena *a, struct stateful_plan *p)
{
	int64_t end = p->start + p->replicas, missing = p->replicas - (int64_t)p->n;
	size_t room = (size_t)MIN(missing, STATEFUL_BURST), i = 0, n = 0;
	struct stateful_pod *v = arena_array(a, p->n + room + 1, sizeof(*v));

	for (int64_t o = p->start; o < end && (room || i < p->n); o++) {
		if (i < p->n && (p->v[i].ordinal == o || !room))
			v[n++] = p->v[i++];
		else if (room--)
			v[n++] = (struct stateful_pod){ .ordinal = o,
							.revision = stateful_new_revision(p, o) };
	}
	p->more = missing > STATEFUL_BURST;
	p->v = v;
	p->n = n;
}

void stateful_plan_init(struct arena *a, struct stateful_plan *p, const struct json *set,
			struct str current, struct str update, const struct json *const *pods,
			size_t n, struct wall now)
{
	*p = (struct stateful_plan){ .set = set,
				     .current = current,
				     .update = update,
				     .start = json_int_at(set, "spec.ordinals.start", 0),
				     .replicas = MAX(json_int_at(set, "spec.replicas", 1), 0),
				     .check_ms = -1 };
	p->v = arena_array(a, n + 1, sizeof(*p->v));
	p->condemned = arena_array(a, n + 1, sizeof(*p->condemned));
	for (size_t i = 0; i < n; i++) {
		int64_t ordinal = stateful_ordinal(set, pods[i]);
		struct stateful_pod pod;

		if (ordinal < 0)
			continue;
		pod = stateful_look(p, pods[i], ordinal, now);
		if (ordinal >= p->start && ordinal < p->start + p->replicas)
			p->v[p->n++] = pod;
		else
			p->condemned[p->n_condemned++] = pod;
	}
	qsort(p->v, p->n, sizeof(*p->v), stateful_cmp_up);
	qsort(p->condemned, p->n_condemned, sizeof(*p->condemned), stateful_cmp_down);
	stateful_add_missing(a, p);
}

/* ---- steps */

struct stateful_planning {
	struct stateful_plan *p;
	bool monotonic;
	bool (*stale)(const struct stateful_pod *pod, void *ctx);
	void *ctx;
};

static void stateful_step(struct stateful_plan *p, enum stateful_act act,
			  const struct stateful_pod *pod, bool updates)
{
	p->steps[p->n_steps++] =
		(struct stateful_step){ .act = act, .pod = pod, .updates = updates };
}

/* True when nothing after this Pod may happen yet. */
static bool stateful_plan_replica(struct stateful_planning *s, const struct stateful_pod *pod)
{
	if (stateful_phase_is(pod, "Failed") || stateful_phase_is(pod, "Succeeded")) {
		if (!pod->going)
			stateful_step(s->p, STATEFUL_DELETE, pod, false);
		return s->monotonic;
	}
	if (!pod->obj) {
		if (!s->stale(pod, s->ctx))
			stateful_step(s->p, STATEFUL_CREATE, pod, false);
		return s->monotonic;
	}
	if (stateful_phase_is(pod, "Pending"))
		stateful_step(s->p, STATEFUL_CLAIMS, pod, false);
	if (s->monotonic && (pod->going || !stateful_ready(pod) || !pod->available))
		return true;
	stateful_step(s->p, STATEFUL_REPAIR, pod, false);
	return false;
}

/* The one that a scale-down may remove although it is not healthy. */
static const struct stateful_pod *stateful_first_unhealthy(const struct stateful_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].available || p->v[i].going)
			return &p->v[i];
	}
	for (size_t i = p->n_condemned; i > 0; i--) {
		if (!p->condemned[i - 1].available || p->condemned[i - 1].going)
			return &p->condemned[i - 1];
	}
	return NULL;
}

static bool stateful_plan_condemned(struct stateful_planning *s, const struct stateful_pod *pod,
				    const struct stateful_pod *first_unhealthy)
{
	if (pod->going)
		return s->monotonic;
	if (s->monotonic && pod != first_unhealthy && (!stateful_ready(pod) || !pod->available))
		return true;
	stateful_step(s->p, STATEFUL_DELETE, pod, false);
	return s->monotonic;
}

/* One Pod after the other, from the highest ordinal down to the partition. */
static void stateful_plan_update(struct stateful_planning *s)
{
	struct stateful_plan *p = s->p;
	int64_t min = json_int_at(p->set, "spec.updateStrategy.rollingUpdate.partition", 0);

	for (size_t i = p->n; i > 0 && p->v[i - 1].ordinal >= p->start + min; i--) {
		const struct stateful_pod *pod = &p->v[i - 1];

		if (!pod->going && !str_eq(pod->revision, p->update)) {
			if (pod->obj)
				stateful_step(p, STATEFUL_DELETE, pod, true);
			return;
		}
		if (!pod->available || pod->going)
			return;
	}
}

void stateful_plan_steps(struct arena *a, struct stateful_plan *p,
			 bool (*stale)(const struct stateful_pod *pod, void *ctx), void *ctx)
{
	struct stateful_planning s = {
		.p = p,
		.monotonic = !str_eqz(json_str_at(p->set, "spec.podManagementPolicy"), "Parallel"),
		.stale = stale,
		.ctx = ctx
	};
	const struct stateful_pod *first = stateful_first_unhealthy(p);

	p->steps = arena_array(a, 2 * (p->n + p->n_condemned) + 2, sizeof(*p->steps));
	if (meta_deleting(p->set))
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (stateful_plan_replica(&s, &p->v[i]))
			return;
	}
	for (size_t i = 0; i < p->n_condemned; i++)
		stateful_step(p, STATEFUL_OWNERS, &p->condemned[i], false);
	for (size_t i = 0; i < p->n_condemned; i++) {
		if (stateful_plan_condemned(&s, &p->condemned[i], first))
			return;
	}
	if (!p->more && !str_eqz(json_str_at(p->set, "spec.updateStrategy.type"), "OnDelete"))
		stateful_plan_update(&s);
}

/* ---- status */

struct stateful_counts {
	int64_t replicas, ready, available, current, updated;
};

static void stateful_count(const struct stateful_plan *p, const struct stateful_pod *pod,
			   struct stateful_counts *n)
{
	if (!pod->obj)
		return;
	n->replicas++;
	if (stateful_ready(pod)) {
		n->ready++;
		n->available += pod->available;
	}
	if (pod->going)
		return;
	n->current += str_eq(pod->revision, p->current);
	n->updated += str_eq(pod->revision, p->update);
}

/* Zero counts are absent, as Go leaves them out. */
static void stateful_set_count(struct arena *a, struct json *status, const char *key, int64_t n)
{
	if (n)
		json_set_int(a, status, key, n);
	else
		json_delz(status, key);
}

struct json *stateful_status(struct arena *a, const struct stateful_plan *p, int64_t collisions,
			     int64_t updating)
{
	const struct json *old = json_get(p->set, "status");
	struct json *status = old ? json_copy(a, old) : json_object(a);
	struct stateful_counts n = { 0 };
	struct str current = p->current;

	for (size_t i = 0; i < p->n; i++)
		stateful_count(p, &p->v[i], &n);
	for (size_t i = 0; i < p->n_condemned; i++)
		stateful_count(p, &p->condemned[i], &n);
	n.current = MAX(n.current - updating, 0);
	if (stateful_rolling(p->set) && n.updated == p->replicas && n.ready == p->replicas &&
	    n.replicas == p->replicas) {
		n.current = n.updated;
		current = p->update;
	}
	json_set_int(a, status, "observedGeneration",
		     json_int_at(p->set, "metadata.generation", 0));
	json_set_int(a, status, "replicas", n.replicas);
	stateful_set_count(a, status, "readyReplicas", n.ready);
	stateful_set_count(a, status, "currentReplicas", n.current);
	stateful_set_count(a, status, "updatedReplicas", n.updated);
	json_set(a, status, "currentRevision", json_strcpy(a, current));
	json_set(a, status, "updateRevision", json_strcpy(a, p->update));
	json_set_int(a, status, "collisionCount", collisions);
	json_set_int(a, status, "availableReplicas", n.available);
	return status;
}

bool stateful_status_differs(const struct json *old, const struct json *status)
{
	static const char *const counts[] = { "replicas",          "readyReplicas",
					      "currentReplicas",   "updatedReplicas",
					      "availableReplicas", "collisionCount" };
	static const char *const names[] = { "currentRevision", "updateRevision" };

	if (json_int_at(status, "observedGeneration", 0) >
		    json_int_at(old, "observedGeneration", 0) ||
	    !json_get(old, "collisionCount"))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		if (json_int_at(old, counts[i], 0) != json_int_at(status, counts[i], 0))
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_eq(json_str_at(old, names[i]), json_str_at(status, names[i])))
			return true;
	}
	return false;
}

/* ---- Pods */

static bool stateful_set_label(struct arena *a, struct json *pod, const char *key, struct str val)
{
	if (json_is(json_get(meta_labels(pod), key), JSON_STR) && str_eq(meta_label(pod, key), val))
		return false;
	meta_set_label(a, pod, key, arena_str(a, val));
	return true;
}

static bool stateful_claim_mounted(struct arena *a, const struct json *set, const struct json *t,
				   const struct json *pod)
{
	const struct json *v = json_find_by(json_at(pod, "spec.volumes"), "name", meta_name(t));

	return str_eq(json_str_at(v, "persistentVolumeClaim.claimName"),
		      stateful_claim_name(a, set, t, stateful_ordinal(set, pod)));
}

static bool stateful_fix_volumes(struct arena *a, const struct json *set, struct json *pod)
{
	const struct json *templates = json_at(set, "spec.volumeClaimTemplates");
	int64_t ordinal = stateful_ordinal(set, pod);
	struct json *volumes;
	bool right = true;

	json_for_each(it, templates) right = right && stateful_claim_mounted(a, set, it.val, pod);
	if (right)
		return false;
	volumes = json_array(a);
	json_for_each(it, templates)
	{
		struct json *v = json_object(a);

		json_set(a, v, "name", json_strcpy(a, meta_name(it.val)));
		json_set(a, json_sub(a, v, "persistentVolumeClaim"), "claimName",
			 json_strcpy(a, stateful_claim_name(a, set, it.val, ordinal)));
		json_push(volumes, v);
	}
	json_for_each(it, json_at(pod, "spec.volumes"))
	{
		if (!json_find_by(volumes, "name", json_str_at(it.val, "name")))
			json_push(volumes, json_copy(a, it.val));
	}
	json_set(a, json_sub(a, pod, "spec"), "volumes", volumes);
	return true;
}

bool stateful_fix_pod(struct arena *a, const struct json *set, struct json *pod)
{
	bool changed = false;

	if (!str_eq(meta_label(pod, STATEFUL_POD_NAME), meta_name(pod))) {
		stateful_set_label(a, pod, STATEFUL_POD_NAME, meta_name(pod));
		stateful_set_label(a, pod, STATEFUL_INDEX,
				   arena_fmt(a, "%lld", (long long)stateful_ordinal(set, pod)));
		changed = true;
	}
	return stateful_fix_volumes(a, set, pod) || changed;
}

struct json *stateful_make_pod(struct arena *a, const struct json *set, struct json *template,
			       struct str revision, int64_t ordinal)
{
	static const char *const kept[] = { "labels", "annotations", "finalizers" };
	struct json *pod = json_object(a), *meta, *spec;

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	meta = json_sub(a, pod, "metadata");
	json_set(a, meta, "name",
		 json_strf(a, STR_FMT "-%lld", STR_ARG(meta_name(set)), (long long)ordinal));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(set)));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	meta_set_controller(a, pod, set, STR("apps/v1"), STR("StatefulSet"));
	if (json_get(template, "spec"))
		json_set(a, pod, "spec", json_copy(a, json_get(template, "spec")));
	spec = json_sub(a, pod, "spec");
	json_set(a, spec, "hostname", json_strcpy(a, meta_name(pod)));
	json_set(a, spec, "subdomain", json_strcpy(a, json_str_at(set, "spec.serviceName")));
	stateful_set_label(a, pod, STATEFUL_REVISION, revision);
	stateful_fix_pod(a, set, pod);
	return pod;
}
