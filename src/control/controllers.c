/* SPDX-License-Identifier: Apache-2.0 */

#include "client/component.h"
#include "client/events.h"
#include "client/informer.h"
#include "control/control.h"
#include "control/main.h"

#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "json/json.h"

/* Every controller of the built-in kinds, in one list. */
static const struct {
	const char *name;
	void (*start)(struct control *c);
} controllers[] = {
	{ "serviceaccount", serviceaccount_start },
	{ "root-ca", root_ca_start },
	{ "cronjob", cronjob_start },
	{ "deployment", deployment_start },
	{ "disruption", disruption_start },
	{ "job", job_start },
	{ "replicaset", replicaset_start },
	{ "replicationcontroller", replicationcontroller_start },
	{ "statefulset", statefulset_start },
	{ "daemonset", daemonset_start },
	{ "ttl-after-finished", ttl_after_finished_start },
	{ "expiry", expiry_start },
	{ "token-cleaner", token_cleaner_start },
	{ "endpoints", endpoints_start },
	{ "endpointslice", endpointslice_start },
	{ "endpointslice-mirroring", endpointslice_mirroring_start },
	{ "resource-quota", quota_controller_start },
	{ "ephemeral-volume", ephemeral_volume_start },
	{ "volume-binder", volume_binder_start },
	{ "volume-provisioner", volume_provisioner_start },
	{ "volume-protection", volume_protection_start },
	{ "node-lifecycle", node_lifecycle_start },
	{ "taint-eviction", taint_eviction_start },
	{ "pod-gc", pod_gc_start },
	{ "namespace", namespace_start },
	{ "gc", gc_start },
};

const struct gvr gvr_namespaces = GVR("", "v1", "namespaces");
const struct gvr gvr_nodes = GVR("", "v1", "nodes");
const struct gvr gvr_pods = GVR("", "v1", "pods");
const struct gvr gvr_services = GVR("", "v1", "services");
const struct gvr gvr_configmaps = GVR("", "v1", "configmaps");
const struct gvr gvr_serviceaccounts = GVR("", "v1", "serviceaccounts");
const struct gvr gvr_persistentvolumes = GVR("", "v1", "persistentvolumes");
const struct gvr gvr_persistentvolumeclaims = GVR("", "v1", "persistentvolumeclaims");
const struct gvr gvr_endpointslices = GVR("discovery.k8s.io", "v1", "endpointslices");
const struct gvr gvr_deployments = GVR("apps", "v1", "deployments");
const struct gvr gvr_statefulsets = GVR("apps", "v1", "statefulsets");
const struct gvr gvr_daemonsets = GVR("apps", "v1", "daemonsets");
const struct gvr gvr_controllerrevisions = GVR("apps", "v1", "controllerrevisions");
const struct gvr gvr_endpoints = GVR("", "v1", "endpoints");
const struct gvr gvr_jobs = GVR("batch", "v1", "jobs");
const struct gvr gvr_leases = GVR("coordination.k8s.io", "v1", "leases");
const struct gvr gvr_replicasets = GVR("apps", "v1", "replicasets");
const struct gvr gvr_replicationcontrollers = GVR("", "v1", "replicationcontrollers");
const struct gvr gvr_storageclasses = GVR("storage.k8s.io", "v1", "storageclasses");

/* shared informers */

struct control_informer {
	struct control_informer *next;
	struct informer *inf;
	struct informer_index *by_node; /* pods only */
};

static struct control_informer *control_find(struct control *c, struct gvr gvr)
{
	struct control_informer *i;

	for (i = c->informers; i; i = i->next)
		if (gvr_equal(informer_gvr(i->inf), gvr))
			return i;
	i = mem_new(struct control_informer);
	i->inf = informer_new(c->loop, c->client, &(struct informer_opts){ .gvr = gvr });
	i->next = c->informers;
	c->informers = i;
	return i;
}

struct informer *control_informer(struct control *c, struct gvr gvr)
{
	return control_find(c, gvr)->inf;
}

static void control_index_node(const struct obj *o, void (*emit)(struct str key, void *ctx),
			       void *ctx)
{
	struct str node = json_str_at(obj_tree(o), "spec.nodeName");

	if (!str_empty(node))
		emit(node, ctx);
}

struct informer_index *control_pods_by_node(struct control *c)
{
	struct control_informer *i = control_find(c, gvr_pods);

	if (!i->by_node)
		i->by_node = informer_add_index(i->inf, control_index_node);
	return i->by_node;
}

bool control_ns_terminating(const struct err *e)
{
	for (size_t i = 0; i < err_n_causes(e); i++)
		if (str_eqz(err_get_cause(e, i).reason, "NamespaceTerminating"))
			return true;
	return false;
}

/* the process */

struct control_flags {
	struct str volume_dir;
};

static struct err *control_run(struct client *client, void *ctx)
{
	const struct control_flags *flags = ctx;
	struct waitq forever;
	struct control *c = mem_new(struct control);

	c->loop = fiber_loop();
	c->client = client;
	c->volume_dir =
		str_empty(flags->volume_dir) ? STR("/var/lib/isoplane/volumes") : flags->volume_dir;
	c->events = event_recorder_new(c->loop, client, "controllers", STR_EMPTY);
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
		controllers[i].start(c);
	waitq_init(&forever);
	return waitq_wait(&forever);
}

int controllers_main(int argc, char **argv)
{
	struct control_flags flags = { 0 };
	const struct component_flag table[] = {
		{ .name = "--volume-dir",
		  .arg = "DIR",
		  .help = "where nodes keep volumes of the StorageClass 'local'",
		  .value = &flags.volume_dir },
		{ 0 },
	};
	const struct component comp = {
		.name = "controllers",
		.flags = table,
		.lease = "kube-controller-manager",
		.run = control_run,
		.ctx = &flags,
	};

	return component_main(&comp, argc, argv);
}
