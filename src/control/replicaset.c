/* SPDX-License-Identifier: Apache-2.0 */

#include "control/replicaset.h"

#include "api/meta.h"
#include "base/arena.h"
#include "client/replica-set.h"
#include "control/control.h"
#include "json/json.h"

/* ReplicaSet: the shared core over Pods. What is here is what only Pods have. */

static enum replica_state replicaset_pod_state(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	if (meta_deleting(pod))
		return REPLICA_GOING;
	if (str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded"))
		return REPLICA_FINISHED;
	return REPLICA_ACTIVE;
}

static bool replicaset_pod_ready(const struct json *pod)
{
	return condition_is_true(json_get(pod, "status"), "Ready");
}

static bool replicaset_pod_ready_since(const struct json *pod, struct wall *ret)
{
	const struct json *c = condition_find(json_get(pod, "status"), "Ready");

	return replicaset_pod_ready(pod) &&
	       wall_parse(json_as_str(json_get(c, "lastTransitionTime")), ret);
}

/* ranking, as upstream's ActivePodsWithRanks: each rule is below 0 when x goes first */

static int replicaset_cmp(int64_t x, int64_t y)
{
	return x < y ? -1 : x > y;
}

static int replicaset_phase_rank(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	if (str_eqz(phase, "Running"))
		return 2;
	return str_eqz(phase, "Unknown") ? 1 : 0;
}

static int64_t replicaset_deletion_cost(const struct json *pod)
{
	int64_t cost = 0;

	str_to_i64(meta_annotation(pod, "controller.kubernetes.io/pod-deletion-cost"), &cost);
	return cost;
}

static int64_t replicaset_restarts(const struct json *pod)
{
	int64_t max = 0;

	json_for_each(it, json_at(pod, "status.containerStatuses")) max =
		MAX(max, json_int_at(it.val, "restartCount", 0));
	return max;
}

static int64_t replicaset_created(const struct json *pod)
{
	struct wall t = { 0 };

	wall_parse(json_str_at(pod, "metadata.creationTimestamp"), &t);
	return t.ns;
}

static int replicaset_cmp_ready_time(const struct json *x, const struct json *y)
{
	struct wall tx;
	struct wall ty;

	if (!replicaset_pod_ready_since(x, &tx) || !replicaset_pod_ready_since(y, &ty))
		return 0;
	return replicaset_cmp(ty.ns, tx.ns);
}

int replicaset_rank(const struct replica_member *x, const struct replica_member *y)
{
	bool x_node = !str_empty(json_str_at(x->obj, "spec.nodeName"));
	bool y_node = !str_empty(json_str_at(y->obj, "spec.nodeName"));
	int r = replicaset_cmp(x_node, y_node);

	if (!r)
		r = replicaset_cmp(replicaset_phase_rank(x->obj), replicaset_phase_rank(y->obj));
	if (!r)
		r = replicaset_cmp(x->ready, y->ready);
	if (!r)
		r = replicaset_cmp(replicaset_deletion_cost(x->obj),
				   replicaset_deletion_cost(y->obj));
	if (!r)
		r = replicaset_cmp(y->crowd, x->crowd);
	if (!r && x->ready && y->ready)
		r = replicaset_cmp_ready_time(x->obj, y->obj);
	if (!r)
		r = replicaset_cmp(replicaset_restarts(y->obj), replicaset_restarts(x->obj));
	if (!r)
		r = replicaset_cmp(replicaset_created(y->obj), replicaset_created(x->obj));
	return r;
}

static struct json *replicaset_make_pod(struct arena *a, const struct json *set)
{
	const struct json *template = json_at(set, "spec.template");
	static const char *const kept[] = { "labels", "annotations", "finalizers" };
	struct json *pod = json_object(a);
	struct json *meta;

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	meta = json_sub(a, pod, "metadata");
	json_set(a, meta, "generateName", json_strf(a, STR_FMT "-", STR_ARG(meta_name(set))));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	json_set(a, pod, "spec", json_copy(a, json_get(template, "spec")));
	return pod;
}

/* Members other than replicas are absent when zero, as Go leaves them out. */
static void replicaset_set_count(struct arena *a, struct json *status, const char *key, int64_t n)
{
	if (n)
		json_set_int(a, status, key, n);
	else
		json_delz(status, key);
}

static void replicaset_status(struct arena *a, const struct json *set,
			      const struct replica_counts *n, struct json *status)
{
	json_set_int(a, status, "replicas", n->replicas);
	replicaset_set_count(a, status, "fullyLabeledReplicas", n->fully_labeled);
	replicaset_set_count(a, status, "readyReplicas", n->ready);
	replicaset_set_count(a, status, "availableReplicas", n->available);
	json_set_int(a, status, "observedGeneration", json_int_at(set, "metadata.generation", 0));
}

/* A ReplicationController is the same but for its names and its selector. */
#define REPLICASET_OPS_COMMON \
	.member = GVR("", "v1", "pods"),             \
	.created_text = "Created pod: ",             \
	.deleted_text = "Deleted pod: ",             \
	.burst = 500,                                \
	.member_ops = {                              \
		.state = replicaset_pod_state,       \
		.ready = replicaset_pod_ready,       \
		.ready_since = replicaset_pod_ready_since, \
		.rank = replicaset_rank,             \
	},                                           \
	.make = replicaset_make_pod,                 \
	.status = replicaset_status

const struct replica_set_ops replicaset_ops = {
	.name = "replicaset",
	.set = GVR("apps", "v1", "replicasets"),
	.set_api_version = STR_INIT("apps/v1"),
	.set_kind = STR_INIT("ReplicaSet"),
	REPLICASET_OPS_COMMON,
};

static const struct replica_set_ops replicationcontroller_ops = {
	.name = "replicationcontroller",
	.set = GVR("", "v1", "replicationcontrollers"),
	.set_api_version = STR_INIT("v1"),
	.set_kind = STR_INIT("ReplicationController"),
	.map_selector = true,
	REPLICASET_OPS_COMMON,
};

void replicaset_start(struct control *c)
{
	replica_sets_new(c->loop, c->client, c->events, &replicaset_ops,
			 control_informer(c, gvr_replicasets), control_informer(c, gvr_pods));
}

void replicationcontroller_start(struct control *c)
{
	replica_sets_new(c->loop, c->client, c->events, &replicationcontroller_ops,
			 control_informer(c, gvr_replicationcontrollers),
			 control_informer(c, gvr_pods));
}
