/* SPDX-License-Identifier: Apache-2.0 */

/* isoplane virt-handler: flags, and the parts side by side. */

#include "virt/main.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/component.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "io/fiber.h"
#include "virt/handler-api.h"
#include "virt/handler/handler.h"
#include "virt/names.h"

#define MAIN_RESYNC_MS 300000

static struct err *main_run(struct client *c, void *ctx)
{
	struct handler *h = ctx;
	_cleanup_arena_ struct arena *a = arena_new();
	struct fiber_group *g;
	struct err *e;

	h->client = c;
	h->loop = fiber_loop();
	if (str_empty(h->ns))
		h->ns = STR(VIRT_NAMESPACE_DEFAULT);
	if (str_empty(h->kubelet_root))
		h->kubelet_root = STR("/var/lib/kubelet");
	if (str_empty(h->address))
		h->address = arena_fmt(a, STR_FMT ":%d", STR_ARG(h->node_ip), HANDLER_PORT);
	h->events = event_recorder_new(h->loop, c, "virt-handler", h->node_name);
	h->vmis = informer_new(h->loop, c,
			       &(struct informer_opts){
				       .gvr = GVR_VMI,
				       .label_selector = arena_fmt(a, LABEL_NODE_NAME "=" STR_FMT,
								   STR_ARG(h->node_name)),
				       .resync_ms = MAIN_RESYNC_MS,
			       });
	h->controller = controller_new(h->loop, &(struct controller_opts){
							.name = "vmi",
							.workers = 8,
							.sync = handler_sync,
							.ctx = h,
						});
	controller_watch(h->controller, h->vmis);
	controller_start(h->controller);
	g = fiber_group_new();
	fiber_group_add(g, "node", node_run, h);
	fiber_group_add(g, "device-plugins", device_plugins_run, h);
	fiber_group_add(g, "server", virt_handler_serve, h);
	e = fiber_group_join(g);
	fiber_mask_cancel();
	node_leave(h);
	/* Connections tell the controller of changes as long as there is one. */
	h->controller = controller_free(h->controller);
	map_for_each(it, &h->vms) {
		handler_vm_free(it->val);
	}
	map_fini(&h->vms);
	informer_free(h->vmis);
	event_recorder_free(h->events);
	fiber_unmask_cancel();
	return e;
}

int virt_handler_main(int argc, char **argv)
{
	static struct handler h;
	const struct component_flag flags[] = {
		{ "--namespace", "NS", "where KubeVirt is installed", &h.ns, false },
		{ "--node-name", "NAME", "the Node this handler is for", &h.node_name, true },
		{ "--node-ip", "IP", "the Node's InternalIP", &h.node_ip, true },
		{ "--kubelet-root", "DIR", "the kubelet's directory", &h.kubelet_root, false },
		{ "--address", "IP:PORT", "where to serve virt-api", &h.address, false },
		{ 0 },
	};
	const struct component comp = {
		.name = "virt-handler",
		.flags = flags,
		.run = main_run,
		.ctx = &h,
	};

	return component_main(&comp, argc, argv);
}
