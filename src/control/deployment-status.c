/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/arena.h"
#include "control/deployment-plan.h"
#include "json/json.h"

/* A Deployment's status, and what it says of a rollout's progress. */

#define NO_DEADLINE 2147483647

static int64_t deployment_sum_status(const struct deployment_plan *p, const char *path)
{
	int64_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += json_int_at(p->v[i].obj, path, 0);
	return n;
}

bool deployment_has_deadline(const struct json *deployment)
{
	return json_int_at(deployment, "spec.progressDeadlineSeconds", NO_DEADLINE) != NO_DEADLINE;
}

bool deployment_set_condition(struct arena *a, struct json *status, const char *type,
			      const char *value, const char *reason, struct str message,
			      struct wall now)
{
	struct json *list = json_sub_array(a, status, "conditions");
	const struct json *was = condition_find(status, type);
	struct json *c;

	if (was && str_eqz(json_str_at(was, "status"), value) &&
	    str_eqz(json_str_at(was, "reason"), reason))
		return false;
	c = json_object(a);
	json_set_str(a, c, "type", str_from(type));
	json_set_str(a, c, "status", str_from(value));
	json_set(a, c, "lastUpdateTime", json_str(a, wall_format(a, now)));
	json_set(a, c, "lastTransitionTime",
		 was && str_eqz(json_str_at(was, "status"), value)
			 ? json_copy(a, json_get(was, "lastTransitionTime"))
			 : json_str(a, wall_format(a, now)));
	json_set_str(a, c, "reason", str_from(reason));
	json_set(a, c, "message", json_strcpy(a, message));
	condition_del(status, type);
	json_push(list, c);
	return true;
}

/* Zero counts are absent, as Go leaves them out. */
static void deployment_set_count(struct arena *a, struct json *status, const char *key, int64_t n)
{
	if (n)
		json_set_int(a, status, key, n);
	else
		json_delz(status, key);
}

struct json *deployment_status(struct arena *a, const struct deployment_plan *p)
{
	const struct json *old = json_get(p->deployment, "status");
	struct json *s = old ? json_copy(a, old) : json_object(a);
	int64_t available = deployment_sum_status(p, "status.availableReplicas");
	int64_t total = 0;
	bool enough = available >= p->replicas - p->max_unavailable;

	for (size_t i = 0; i < p->n; i++)
		total += p->v[i].replicas;
	json_set_int(a, s, "observedGeneration",
		     json_int_at(p->deployment, "metadata.generation", 0));
	deployment_set_count(a, s, "replicas", deployment_sum_status(p, "status.replicas"));
	deployment_set_count(a, s, "updatedReplicas",
			     p->fresh ? json_int_at(p->fresh->obj, "status.replicas", 0) : 0);
	deployment_set_count(a, s, "readyReplicas",
			     deployment_sum_status(p, "status.readyReplicas"));
	deployment_set_count(a, s, "availableReplicas", available);
	deployment_set_count(a, s, "unavailableReplicas", MAX(total - available, 0));
	deployment_set_condition(a, s, "Available", enough ? "True" : "False",
				 enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
				 enough ? STR("Deployment has minimum availability.")
					: STR("Deployment does not have minimum availability."),
				 wall_now());
	return s;
}

bool deployment_complete(const struct deployment_plan *p, const struct json *status)
{
	return json_int_at(status, "updatedReplicas", 0) == p->replicas &&
	       json_int_at(status, "replicas", 0) == p->replicas &&
	       json_int_at(status, "availableReplicas", 0) == p->replicas &&
	       json_int_at(status, "observedGeneration", 0) >=
		       json_int_at(p->deployment, "metadata.generation", 0);
}

static bool deployment_progressing(const struct json *old, const struct json *now)
{
	int64_t old_rest = json_int_at(old, "replicas", 0) - json_int_at(old, "updatedReplicas", 0);
	int64_t now_rest = json_int_at(now, "replicas", 0) - json_int_at(now, "updatedReplicas", 0);

	return json_int_at(now, "updatedReplicas", 0) > json_int_at(old, "updatedReplicas", 0) ||
	       now_rest < old_rest ||
	       json_int_at(now, "readyReplicas", 0) > json_int_at(old, "readyReplicas", 0) ||
	       json_int_at(now, "availableReplicas", 0) > json_int_at(old, "availableReplicas", 0);
}

/* How long until the deadline; below 0: it is over. *ret_counts false: no deadline runs. */
static int64_t deployment_deadline_ms(const struct deployment_plan *p, const struct json *cond,
				      struct wall now, bool *ret_counts)
{
	int64_t seconds = json_int_at(p->deployment, "spec.progressDeadlineSeconds", 0);
	struct wall since;

	*ret_counts = cond && !str_eqz(json_str_at(cond, "reason"), "NewReplicaSetAvailable") &&
		      wall_parse(json_str_at(cond, "lastUpdateTime"), &since);
	return *ret_counts ? seconds * 1000 - (now.ns - since.ns) / NS_PER_MS : 0;
}

static struct str deployment_says(struct arena *a, const struct deployment_plan *p,
				  const char *what)
{
	return arena_fmt(a, "%s \"" STR_FMT "\" %s", p->fresh ? "ReplicaSet" : "Deployment",
			 STR_ARG(meta_name(p->fresh ? p->fresh->obj : p->deployment)), what);
}

/* Progress renews the time of the last update, although status and reason stay. */
static void deployment_note_progress(struct arena *a, const struct deployment_plan *p,
				     struct json *s, struct wall now)
{
	const struct json *was = condition_find(s, "Progressing");
	struct json *since = was && str_eqz(json_str_at(was, "status"), "True")
				     ? json_copy(a, json_get(was, "lastTransitionTime"))
				     : NULL;

	condition_del(s, "Progressing");
	deployment_set_condition(a, s, "Progressing", "True", "ReplicaSetUpdated",
				 deployment_says(a, p, "is progressing."), now);
	if (since)
		json_set(a, json_find_by(json_get(s, "conditions"), "type", STR("Progressing")),
			 "lastTransitionTime", since);
}

static void deployment_progress(struct arena *a, const struct deployment_plan *p, struct json *s,
				struct wall now, int64_t *ret_check_ms)
{
	const struct json *cond = condition_find(s, "Progressing");
	bool counts = false;
	int64_t left;

	if (cond && str_eqz(json_str_at(cond, "reason"), "NewReplicaSetAvailable") &&
	    json_int_at(s, "replicas", 0) == json_int_at(s, "updatedReplicas", 0))
		return;
	left = deployment_deadline_ms(p, cond, now, &counts);
	if (deployment_complete(p, s)) {
		deployment_set_condition(a, s, "Progressing", "True", "NewReplicaSetAvailable",
					 deployment_says(a, p, "has successfully progressed."),
					 now);
	} else if (deployment_progressing(json_get(p->deployment, "status"), s)) {
		deployment_note_progress(a, p, s, now);
	} else if (counts && left < 0) {
		deployment_set_condition(a, s, "Progressing", "False", "ProgressDeadlineExceeded",
					 deployment_says(a, p, "has timed out progressing."), now);
	} else if (counts) {
		*ret_check_ms = left + 1000;
	}
}

/* The new set's failure, or else any other's. */
static const struct json *deployment_failure(const struct deployment_plan *p)
{
	const struct json *c =
		p->fresh ? condition_find(json_get(p->fresh->obj, "status"), "ReplicaFailure")
			 : NULL;

	for (size_t i = 0; i < p->n && !c; i++)
		c = condition_find(json_get(p->v[i].obj, "status"), "ReplicaFailure");
	return c;
}

struct json *deployment_rollout_status(struct arena *a, const struct deployment_plan *p,
				       struct wall now, int64_t *ret_check_ms)
{
	struct json *s = deployment_status(a, p);
	const struct json *failure = deployment_failure(p);

	*ret_check_ms = -1;
	if (deployment_has_deadline(p->deployment))
		deployment_progress(a, p, s, now, ret_check_ms);
	else
		condition_del(s, "Progressing");
	if (failure)
		deployment_set_condition(a, s, "ReplicaFailure",
					 arena_strz(a, json_str_at(failure, "status")),
					 arena_strz(a, json_str_at(failure, "reason")),
					 json_str_at(failure, "message"), now);
	else
		condition_del(s, "ReplicaFailure");
	return s;
}
