/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two controllers. A node's key comes round every lease interval: the Node is there, Ready, its
 * lease renewed. A Pod's key: its status is what pod-status.c makes of a runtime in which
 * everything runs.
 *
 * Nodes have loopback addresses, where exec and logs find nobody at once; Pods those of
 * 100.64.0.0/10 (RFC 6598), which is never routed, a /24 for each node.
 */

#include "node/hollow.h"

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/component.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "node/node-lease.h"
#include "node/pod-status.h"
#include "json/json.h"

#define HOLLOW_PREFIX  "hollow-"
#define HOLLOW_PODS    "110"
#define HOLLOW_CPU     "32"
#define HOLLOW_MEMORY  "256Gi"
#define HOLLOW_DISK    "1Ti"
#define HOLLOW_VERSION "v1.36.0"
#define HOLLOW_WORKERS 16
#define NODES          GVR("", "v1", "nodes")
#define PODS           GVR("", "v1", "pods")

struct hollow_node {
	uint32_t used[8]; /* addresses of its /24 that Pods have */
};

struct hollow {
	struct client *client;
	struct hollow_node *nodes;
	size_t n;
	struct informer *node_objs, *pod_objs;
	struct controller *node_ctl, *pod_ctl;
	struct informer_handler pod_events;
};

/* Which of ours, or SIZE_MAX. */
static size_t hollow_index(const struct hollow *h, struct str node)
{
	int64_t i;

	if (!str_strip_prefix(&node, STR(HOLLOW_PREFIX)) || !str_to_i64(node, &i) || i < 0 ||
	    (size_t)i >= h->n)
		return SIZE_MAX;
	return (size_t)i;
}

static size_t hollow_of_pod(const struct hollow *h, const struct obj *pod)
{
	return hollow_index(h, json_str_at(obj_tree(pod), "spec.nodeName"));
}

static struct str hollow_node_ip(struct arena *a, size_t i)
{
	return arena_fmt(a, "127.64.%zu.%zu", (i + 1) / 256, (i + 1) % 256);
}

static struct str hollow_pod_ip(struct arena *a, size_t node, unsigned slot)
{
	return arena_fmt(a, "100.%zu.%zu.%u", 64 + node / 256, node % 256, slot);
}

/* ---- nodes */

static void hollow_condition(struct arena *a, struct json *status, const char *type,
			     const char *value, const char *reason, const char *message)
{
	condition_set(a, status, type, value, str_from(reason), str_from(message), wall_now());
	json_set_str(a, json_find_by(json_get(status, "conditions"), "type", str_from(type)),
		     "lastHeartbeatTime", wall_format(a, wall_now()));
}

static struct json *hollow_node_status(struct arena *a, size_t i, struct str name)
{
	static const char *const info[][2] = {
		{ "architecture", "amd64" },    { "operatingSystem", "linux" },
		{ "osImage", "none (hollow)" }, { "containerRuntimeVersion", "hollow://1" },
		{ "kernelVersion", "" },        { "kubeletVersion", HOLLOW_VERSION },
		{ "kubeProxyVersion", "" },     { "machineID", "" },
		{ "systemUUID", "" },           { "bootID", "" },
	};
	static const char *const sizes[][2] = { { "cpu", HOLLOW_CPU },
						{ "memory", HOLLOW_MEMORY },
						{ "ephemeral-storage", HOLLOW_DISK },
						{ "pods", HOLLOW_PODS } };
	struct json *status = json_object(a), *addresses = json_sub_array(a, status, "addresses");
	const struct str addr[][2] = { { STR("InternalIP"), hollow_node_ip(a, i) },
				       { STR("Hostname"), name } };

	for (size_t k = 0; k < ARRAY_LEN(addr); k++) {
		struct json *o = json_object(a);

		json_set_str(a, o, "type", addr[k][0]);
		json_set_str(a, o, "address", addr[k][1]);
		json_push(addresses, o);
	}
	for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
		json_set(a, json_sub(a, status, "capacity"), sizes[k][0],
			 json_strz(a, sizes[k][1]));
		json_set(a, json_sub(a, status, "allocatable"), sizes[k][0],
			 json_strz(a, sizes[k][1]));
	}
	for (size_t k = 0; k < ARRAY_LEN(info); k++)
		json_set(a, json_sub(a, status, "nodeInfo"), info[k][0], json_strz(a, info[k][1]));
	hollow_condition(a, status, "MemoryPressure", "False", "KubeletHasSufficientMemory",
			 "kubelet has sufficient memory available");
	hollow_condition(a, status, "DiskPressure", "False", "KubeletHasNoDiskPressure",
			 "kubelet has no disk pressure");
	hollow_condition(a, status, "PIDPressure", "False", "KubeletHasSufficientPID",
			 "kubelet has sufficient PID available");
	hollow_condition(a, status, "Ready", "True", "KubeletReady",
			 "kubelet is posting ready status");
	return status;
}

static struct err *hollow_node_create(struct hollow *h, struct arena *a, size_t i, struct str name,
				      struct json **ret)
{
	struct json *node = json_object(a);
	struct str cidr = arena_fmt(a, "100.%zu.%zu.0/24", 64 + i / 256, i % 256);

	json_set_str(a, node, "apiVersion", STR("v1"));
	json_set_str(a, node, "kind", STR("Node"));
	json_set_at(a, node, "metadata.name", json_str(a, name));
	meta_set_label(a, node, "kubernetes.io/hostname", name);
	meta_set_label(a, node, "kubernetes.io/os", STR("linux"));
	meta_set_label(a, node, "kubernetes.io/arch", STR("amd64"));
	meta_set_label(a, node, "isoplane.io/hollow", STR("true"));
	json_set_at(a, node, "spec.podCIDR", json_str(a, cidr));
	json_push(json_sub_array(a, json_get(node, "spec"), "podCIDRs"), json_str(a, cidr));
	json_set(a, node, "status", hollow_node_status(a, i, name));
	return client_create(h->client, a, NODES, STR_EMPTY, node, ret);
}

static struct err *hollow_node_sync(void *ctx, struct arena *a, struct str name)
{
	struct hollow *h = ctx;
	size_t i = hollow_index(h, name);
	const struct obj *o = informer_find(h->node_objs, STR_EMPTY, name);
	struct json *node, *patch = json_object(a);
	struct str uid;

	if (i == SIZE_MAX)
		return NULL;
	if (!o) {
		TRY(hollow_node_create(h, a, i, name, &node));
		uid = meta_uid(node);
	} else {
		uid = arena_str(a, o->uid);
		if (!condition_is_true(json_get(obj_tree(o), "status"), "Ready")) {
			json_set(a, patch, "status", hollow_node_status(a, i, name));
			TRY(client_patch(h->client, a, NODES, STR_EMPTY, name, "status",
					 CLIENT_PATCH_STRATEGIC, patch, &node));
		}
	}
	TRY(node_lease_renew(h->client, a, name, uid));
	controller_enqueue_after(h->node_ctl, name, LEASE_EVERY_MS);
	return NULL;
}

/* What others did to a Node of ours: it was removed, or found silent. */
static void hollow_node_changed(struct controller *c, const struct obj *o, void *ctx)
{
	const struct hollow *h = ctx;

	if (hollow_index(h, o->name) != SIZE_MAX &&
	    (!informer_find(h->node_objs, STR_EMPTY, o->name) ||
	     !condition_is_true(json_get(obj_tree(o), "status"), "Ready")))
		controller_enqueue(c, o->name);
}

/* ---- Pods */

/* Addresses are taken when given out, here when another life of ours gave them; Pods that go return
 * theirs. */
static void hollow_pod_event(struct informer_handler *ih, const struct obj *old_obj,
			     const struct obj *new_obj)
{
	struct hollow *h = container_of(ih, struct hollow, pod_events);
	const struct obj *o = new_obj ? new_obj : old_obj;
	size_t i = hollow_of_pod(h, o);
	struct str ip = json_str_at(obj_tree(o), "status.podIP"), part = STR_EMPTY;
	int64_t slot;

	if (i == SIZE_MAX)
		return;
	while (str_split_next(&ip, '.', &part))
		;
	if (!str_to_i64(part, &slot) || slot < 0 || slot > 255)
		return;
	if (new_obj)
		h->nodes[i].used[slot / 32] |= 1U << (slot % 32);
	else
		h->nodes[i].used[slot / 32] &= ~(1U << (slot % 32));
}

static struct err *hollow_take_ip(struct hollow *h, struct arena *a, size_t node,
				  const struct json *pod, struct str *ret)
{
	*ret = json_str_at(pod, "status.podIP");
	for (unsigned slot = 2; !ret->n && slot < 255; slot++) {
		uint32_t *word = &h->nodes[node].used[slot / 32];

		if (*word & 1U << (slot % 32))
			continue;
		*word |= 1U << (slot % 32);
		*ret = hollow_pod_ip(a, node, slot);
	}
	return ret->n ? NULL : err_new(ERR_UNAVAILABLE, "the node has no address left");
}

/* How long the Pod's containers run before they succeed; -1: for ever. */
static int64_t hollow_runs_ms(const struct json *pod)
{
	int64_t ns;

	if (!duration_parse_go(meta_annotation(pod, "isoplane.io/hollow-runs"), &ns) || ns < 0)
		return -1;
	return ns / NS_PER_MS;
}

/* How long the Pod has run; 0 when it has not begun. */
static int64_t hollow_age_ms(const struct json *pod)
{
	struct wall start;

	if (!wall_parse(json_str_at(pod, "status.startTime"), &start))
		return 0;
	return (wall_now().ns - start.ns) / NS_PER_MS;
}

/* A runtime where every init container is done and everything else runs, or has (ended). */
static void hollow_runtime(struct arena *a, const struct json *pod, struct str ip, bool ended,
			   struct rt_pod *rt, struct status_input *in)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };
	size_t cap = json_len(json_at(pod, lists[0])) + json_len(json_at(pod, lists[1])) + 1;
	struct container_view *views = arena_array(a, cap, sizeof(*views));
	struct wall start;

	if (!wall_parse(json_str_at(pod, "status.startTime"), &start))
		start = in->now;
	rt->sandboxes = arena_array(a, 1, sizeof(*rt->sandboxes));
	rt->sandboxes[0] = (struct rt_sandbox){
		.id = meta_uid(pod), .ip = ip, .ready = !ended, .created = start
	};
	rt->n_sandboxes = 1;
	rt->containers = arena_array(a, cap, sizeof(*rt->containers));
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_for_each(it, json_at(pod, lists[l]))
		{
			bool over = ended || (l == 0 && !container_is_sidecar(it.val));
			struct str name = json_str_at(it.val, "name");

			rt->containers[rt->n_containers++] = (struct rt_container){
				.id = arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(meta_uid(pod)),
						STR_ARG(name)),
				.name = name,
				.sandbox = meta_uid(pod),
				.image = json_str_at(it.val, "image"),
				.image_ref = json_str_at(it.val, "image"),
				.state = over ? RT_EXITED : RT_RUNNING,
				.reason = over ? STR("Completed") : STR_EMPTY,
				.created = start,
				.started = start,
				.finished = over ? in->now : (struct wall){ 0 },
			};
			views[in->n_views++] = (struct container_view){ .name = name,
									.started = true,
									.ready = !over || l == 0 };
		}
	}
	in->views = views;
	in->rt = rt;
}

static struct err *hollow_pod_report(struct hollow *h, struct arena *a, const struct json *pod,
				     size_t node, bool ended)
{
	struct rt_pod rt = { 0 };
	struct status_input in = { .pod = pod,
				   .node_ip = hollow_node_ip(a, node),
				   .now = wall_now() };
	struct json *patch = json_object(a), *status;
	struct str ip;

	TRY(hollow_take_ip(h, a, node, pod, &ip));
	hollow_runtime(a, pod, ip, ended, &rt, &in);
	status = pod_status_render(a, &in);
	if (json_equal(status, json_get(pod, "status")))
		return NULL;
	json_set_at(a, patch, "metadata.uid", json_str(a, meta_uid(pod)));
	json_set(a, patch, "status", status);
	return client_patch(h->client, a, PODS, meta_namespace(pod), meta_name(pod), "status",
			    CLIENT_PATCH_STRATEGIC, patch, &status);
}

static struct err *hollow_pod_do(struct hollow *h, struct arena *a, struct json *pod, size_t node,
				 struct str key)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct str phase = json_str_at(pod, "status.phase");
	int64_t age = hollow_age_ms(pod), runs = hollow_runs_ms(pod);

	if (meta_deleting(pod)) {
		opts.grace_seconds = 0;
		opts.uid = meta_uid(pod);
		return client_delete(h->client, a, PODS, meta_namespace(pod), meta_name(pod),
				     &opts);
	}
	if (pod_phase_is_final(phase))
		return NULL;
	if (age < runs)
		controller_enqueue_after(h->pod_ctl, key, runs - age);
	return hollow_pod_report(h, a, pod, node,
				 runs >= 0 && str_eqz(phase, "Running") && age >= runs);
}

static struct err *hollow_pod_sync(void *ctx, struct arena *a, struct str key)
{
	struct hollow *h = ctx;
	const struct obj *o = informer_find_key(h->pod_objs, key);
	size_t node = o ? hollow_of_pod(h, o) : SIZE_MAX;
	struct err *e;

	if (node == SIZE_MAX)
		return NULL;
	e = hollow_pod_do(h, a, json_copy(a, obj_tree(o)), node, key);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone, or another one: the informer will say so");
		return NULL;
	}
	return e;
}

static void hollow_pod_changed(struct controller *c, const struct obj *o, void *ctx)
{
	if (hollow_of_pod(ctx, o) != SIZE_MAX)
		controller_enqueue_obj(c, o);
}

/* ---- the process */

static struct err *hollow_run(struct client *client, void *ctx)
{
	const struct str *count = ctx;
	struct hollow *h = mem_new(struct hollow);
	struct waitq forever;
	int64_t n;

	if (!str_to_i64(*count, &n) || n < 1 || n > HOLLOW_MAX)
		return err_new(ERR_BAD_REQUEST, "--count " STR_FMT ": a number from 1 to %d",
			       STR_ARG(*count), HOLLOW_MAX);
	h->client = client;
	h->n = (size_t)n;
	h->nodes = mem_zalloc(h->n, sizeof(*h->nodes));
	h->node_objs = informer_new(fiber_loop(), client, &(struct informer_opts){ .gvr = NODES });
	h->pod_objs = informer_new(fiber_loop(), client, &(struct informer_opts){ .gvr = PODS });
	h->pod_events.event = hollow_pod_event;
	informer_add_handler(h->pod_objs, &h->pod_events);
	h->node_ctl =
		controller_new(fiber_loop(), &(struct controller_opts){ .name = "hollow-nodes",
									.workers = HOLLOW_WORKERS,
									.sync = hollow_node_sync,
									.ctx = h });
	h->pod_ctl =
		controller_new(fiber_loop(), &(struct controller_opts){ .name = "hollow-pods",
									.workers = HOLLOW_WORKERS,
									.sync = hollow_pod_sync,
									.ctx = h });
	controller_watch_fn(h->node_ctl, h->node_objs, hollow_node_changed, h);
	controller_watch_fn(h->pod_ctl, h->pod_objs, hollow_pod_changed, h);
	for (size_t i = 0; i < h->n; i++) {
		_cleanup_arena_ struct arena *a = arena_new();

		controller_enqueue(h->node_ctl, arena_fmt(a, HOLLOW_PREFIX "%zu", i));
	}
	controller_start(h->node_ctl);
	controller_start(h->pod_ctl);
	waitq_init(&forever);
	return waitq_wait(&forever);
}

int hollow_main(int argc, char **argv)
{
	static struct str count;
	const struct component_flag flags[] = {
		{ "--count", "N", "how many: hollow-0, hollow-1, ...", &count, true },
		{ 0 },
	};
	const struct component comp = {
		.name = "hollow-nodes", .flags = flags, .run = hollow_run, .ctx = &count
	};

	return component_main(&comp, argc, argv);
}
