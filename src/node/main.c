/* SPDX-License-Identifier: Apache-2.0 */

#include "node/main.h"

#include <stdarg.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/component.h"
#include "client/events.h"
#include "client/informer.h"
#include "io/fiber.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/dns-server.h"
#include "node/housekeeping.h"
#include "node/images.h"
#include "node/local-volume.h"
#include "node/network.h"
#include "node/node-status.h"
#include "node/pod-worker.h"
#include "node/server.h"
#include "node/services.h"

static struct node_config cfg;

static const struct component_flag flags[] = {
	{ "--node-name", "NAME", "this node's name", &cfg.name, true },
	{ "--node-ip", "IP", "this node's InternalIP", &cfg.ip, true },
	{ "--data-dir", "DIR", "the instance's data directory", &cfg.data_dir, true },
	{ "--run-dir", "DIR", "where run-time state goes", &cfg.run_dir, true },
	{ "--cri-socket", "PATH", "the container runtime", &cfg.cri_socket, true },
	{ "--kubelet-root", "DIR", "Pods' directories, device plugins", &cfg.kubelet_root, true },
	{ "--pod-cidr", "CIDR", "addresses of this node's Pods", &cfg.pod_cidr, true },
	{ "--service-cidr", "CIDR", "addresses of Services", &cfg.service_cidr, true },
	{ "--server-cert", "FILE", "certificate of the kubelet server", &cfg.server_cert, true },
	{ "--server-key", "FILE", "its key", &cfg.server_key, true },
	{ "--client-ca", "FILE", "who may sign the server's clients", &cfg.client_ca, true },
	{ "--bridge", "NAME", "the Pod bridge (default iso-ID)", &cfg.bridge, false },
	{ 0 },
};

void agent_event(struct agent *ag, const struct json *pod, const char *type, const char *reason,
		 const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str msg;
	va_list ap;

	if (!pod)
		return;
	va_start(ap, fmt);
	msg = arena_vfmt(a, fmt, ap);
	va_end(ap);
	event_record(ag->events, pod, STR("v1"), STR("Pod"), type, reason, "%.*s", STR_ARG(msg));
}

struct str agent_pod_dir(const struct agent *ag, struct arena *a, struct str uid)
{
	return arena_fmt(a, "%.*s/pods/%.*s", STR_ARG(ag->cfg.kubelet_root), STR_ARG(uid));
}

struct str agent_pod_log_dir(const struct agent *ag, struct arena *a, const struct json *pod)
{
	return arena_fmt(a, "%.*s/%.*s_%.*s_%.*s", STR_ARG(ag->cfg.log_dir),
			 STR_ARG(meta_namespace(pod)), STR_ARG(meta_name(pod)),
			 STR_ARG(meta_uid(pod)));
}

static void agent_measure(struct agent *ag)
{
	ag->cpu_capacity_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
	ag->memory_capacity = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

/* What the flags imply; strings live as long as the process. */
static void agent_config(struct agent *ag, struct arena *a)
{
	struct str socket = cfg.cri_socket;

	cfg.id = network_instance_id(a, arena_strz(a, cfg.data_dir));
	if (!cfg.bridge.n)
		cfg.bridge = arena_fmt(a, "iso-%.*s", STR_ARG(cfg.id));
	cfg.cgroup_root = arena_fmt(a, "/isoplane-%.*s", STR_ARG(cfg.id));
	cfg.log_dir = arena_fmt(a, "%.*s/logs/pods", STR_ARG(cfg.data_dir));
	if (str_strip_prefix(&socket, STR("unix:")))
		while (str_has_prefix(socket, STR("//")))
			socket = str_skip(socket, 1);
	cfg.cri_socket = socket;
	ag->cfg = cfg;
}

static struct err *agent_wait_runtime(struct agent *ag)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		const CRI(VersionResponse) * v;
		struct err *e = cri_version(ag->cri, a, &v);

		TRY(fiber_check());
		if (!e)
			return NULL;
		err_log(NULL, LOG_INFO, "waiting for the container runtime", e);
		TRY(fiber_sleep_ms(200));
	}
}

static struct informer *agent_informer(struct agent *ag, struct gvr gvr, struct str field_selector)
{
	struct informer_opts o = { .gvr = gvr, .field_selector = field_selector };

	return informer_new(ag->loop, ag->client, &o);
}

static struct err *agent_run(struct client *c, void *ctx)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct agent *ag = mem_new(struct agent);
	struct waitq forever;

	(void)ctx;
	ag->loop = fiber_loop();
	ag->client = c;
	agent_config(ag, a);
	agent_measure(ag);
	TRY(file_mkdir_p(arena_strz(a, ag->cfg.kubelet_root), 0755));
	TRY(file_mkdir_p(arena_strz(a, ag->cfg.log_dir), 0755));
	ag->cri = cri_new(ag->cfg.cri_socket);
	ag->events = event_recorder_new(ag->loop, c, "kubelet", ag->cfg.name);
	ag->images = images_new(ag);
	TRY(network_ensure(a, &(struct network_opts){ .bridge = ag->cfg.bridge,
						      .ip = ag->cfg.ip,
						      .pod_cidr = ag->cfg.pod_cidr }));
	TRY(agent_wait_runtime(ag));
	TRY(housekeeping_start(ag, a));
	TRY(devices_start(ag, &ag->devices));
	ag->pods = agent_informer(ag, GVR("", "v1", "pods"),
				  arena_fmt(a, "spec.nodeName=%.*s", STR_ARG(ag->cfg.name)));
	ag->services = agent_informer(ag, GVR("", "v1", "services"), STR_EMPTY);
	ag->slices = agent_informer(ag, GVR("discovery.k8s.io", "v1", "endpointslices"), STR_EMPTY);
	TRY(node_status_start(ag));
	TRY(server_start(ag));
	TRY(services_start(ag));
	err_log(NULL, LOG_WARN, "no cluster DNS: Pods use the host's", dns_server_start(ag));
	TRY(local_volumes_start(ag));
	TRY(informer_wait_synced(ag->services));
	TRY(pod_workers_start(ag));
	log_info(NULL, "node agent started", KV_STR("node", ag->cfg.name));
	waitq_init(&forever);
	return waitq_wait(&forever);
}

int node_main(int argc, char **argv)
{
	const struct component comp = { .name = "node", .flags = flags, .run = agent_run };

	return component_main(&comp, argc, argv);
}
