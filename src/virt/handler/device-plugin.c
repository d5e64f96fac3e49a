/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kubelet's device plugins for what QEMU opens: each a gRPC service of its own on a socket in
 * the kubelet's directory, registered with the kubelet, and again whenever the kubelet comes back.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "deviceplugin.pb-c.h"
#include "io/fiber.h"
#include "io/grpc.h"
#include "io/stream.h"
#include "virt/handler/handler.h"
#include "virt/kvm.h"

#define PLUGIN_UNITS    1000
#define PLUGIN_POLL_MS  1000
#define PLUGIN_WATCH_MS 5000

struct plugin {
	const char *name; /* devices.kubevirt.io/NAME */
	const char *path;
	char ids[PLUGIN_UNITS][16];
	struct grpc_server *server;
	bool healthy;
	bool unusable; /* it opens, but does not do what it should: asked once, at the start */
	struct waitq changed;
};

static struct plugin plugins[] = {
	{ .name = "kvm", .path = "/dev/kvm" },
	{ .name = "tun", .path = "/dev/net/tun" },
	{ .name = "vhost-net", .path = "/dev/vhost-net" },
};

static bool plugin_works(const struct plugin *p)
{
	int fd;

	if (p->unusable)
		return false;
	fd = open(p->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* the service */

static struct err *plugin_options(struct grpc_call *call UNUSED, struct arena *a,
				  const void *req UNUSED, ProtobufCMessage **ret, void *ctx UNUSED)
{
	V1beta1__DevicePluginOptions *m = arena_new_obj(a, V1beta1__DevicePluginOptions);

	v1beta1__device_plugin_options__init(m);
	*ret = &m->base;
	return NULL;
}

static struct err *plugin_send_list(struct grpc_call *call, struct arena *a, struct plugin *p)
{
	V1beta1__ListAndWatchResponse m = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
	static char healthy[] = "Healthy";

	m.n_devices = p->healthy ? PLUGIN_UNITS : 0;
	m.devices = arena_array(a, PLUGIN_UNITS, sizeof(*m.devices));
	for (size_t i = 0; i < m.n_devices; i++) {
		m.devices[i] = arena_new_obj(a, V1beta1__Device);
		v1beta1__device__init(m.devices[i]);
		m.devices[i]->id = p->ids[i];
		m.devices[i]->health = healthy;
	}
	return grpc_reply(call, &m.base);
}

static struct err *plugin_list(struct grpc_call *call, struct arena *a UNUSED,
			       const void *req UNUSED, ProtobufCMessage **ret UNUSED, void *ctx)
{
	struct plugin *p = ctx;

	for (;;) {
		_cleanup_arena_ struct arena *tmp = arena_new();

		TRY(plugin_send_list(call, tmp, p));
		TRY(waitq_wait(&p->changed));
	}
}

static struct err *plugin_allocate(struct grpc_call *call UNUSED, struct arena *a, const void *req,
				   ProtobufCMessage **ret, void *ctx)
{
	const V1beta1__AllocateRequest *in = req;
	V1beta1__AllocateResponse *out = arena_new_obj(a, V1beta1__AllocateResponse);
	struct plugin *p = ctx;

	v1beta1__allocate_response__init(out);
	out->container_responses =
		arena_array(a, in->n_container_requests, sizeof(*out->container_responses));
	for (size_t i = 0; i < in->n_container_requests; i++) {
		V1beta1__ContainerAllocateResponse *c =
			arena_new_obj(a, V1beta1__ContainerAllocateResponse);
		V1beta1__DeviceSpec *d = arena_new_obj(a, V1beta1__DeviceSpec);

		v1beta1__container_allocate_response__init(c);
		v1beta1__device_spec__init(d);
		d->container_path = d->host_path = arena_strz(a, str_from(p->path));
		d->permissions = arena_strz(a, STR("rw"));
		c->devices = arena_array(a, 1, sizeof(*c->devices));
		c->devices[0] = d;
		c->n_devices = 1;
		out->container_responses[out->n_container_responses++] = c;
	}
	*ret = &out->base;
	return NULL;
}

static struct err *plugin_pre_start(struct grpc_call *call UNUSED, struct arena *a,
				    const void *req UNUSED, ProtobufCMessage **ret,
				    void *ctx UNUSED)
{
	V1beta1__PreStartContainerResponse *m =
		arena_new_obj(a, V1beta1__PreStartContainerResponse);

	v1beta1__pre_start_container_response__init(m);
	*ret = &m->base;
	return NULL;
}

static const struct grpc_method plugin_methods[] = {
	{ "/v1beta1.DevicePlugin/GetDevicePluginOptions", &v1beta1__empty__descriptor,
	  plugin_options },
	{ "/v1beta1.DevicePlugin/ListAndWatch", &v1beta1__empty__descriptor, plugin_list },
	{ "/v1beta1.DevicePlugin/Allocate", &v1beta1__allocate_request__descriptor,
	  plugin_allocate },
	{ "/v1beta1.DevicePlugin/PreStartContainer",
	  &v1beta1__pre_start_container_request__descriptor, plugin_pre_start },
	{ NULL },
};

/* registration */

static struct err *plugin_serve(struct handler *h, struct arena *a, struct plugin *p)
{
	const char *why;
	int fd;

	if (p->server)
		return NULL;
	if (strcmp(p->name, "kvm") == 0)
		p->unusable = !kvm_usable(&why);
	for (unsigned i = 0; i < PLUGIN_UNITS; i++)
		snprintf(p->ids[i], sizeof(p->ids[i]), "%s%u", p->name, i);
	waitq_init(&p->changed);
	p->healthy = plugin_works(p);
	TRY(stream_listen(arena_fmt(a, "unix:" STR_FMT "/device-plugins/kubevirt-%s.sock",
				    STR_ARG(h->kubelet_root), p->name),
			  &fd));
	p->server = grpc_server_new(h->loop, fd, plugin_methods, p);
	return NULL;
}

static struct err *plugin_register(struct handler *h, struct arena *a, struct plugin *p)
{
	V1beta1__RegisterRequest req;
	struct grpc_client *c;
	V1beta1__Empty *resp;
	struct err *e;

	TRY(plugin_serve(h, a, p));
	v1beta1__register_request__init(&req);
	req.version = arena_strz(a, STR("v1beta1"));
	req.endpoint = arena_strz(a, arena_fmt(a, "kubevirt-%s.sock", p->name));
	req.resource_name = arena_strz(a, arena_fmt(a, "devices.kubevirt.io/%s", p->name));
	c = grpc_client_new(arena_fmt(a, "unix:" STR_FMT "/device-plugins/kubelet.sock",
				      STR_ARG(h->kubelet_root)));
	e = grpc_unary(c, a, "/v1beta1.Registration/Register", &req.base,
		       &v1beta1__empty__descriptor, &resp);
	grpc_client_free(c);
	return e;
}

static struct err *plugins_register(struct handler *h)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
		TRY(plugin_register(h, a, &plugins[i]));
	return NULL;
}

/* The socket's inode changes when the kubelet starts anew and has forgotten us. */
static ino_t plugins_kubelet(struct handler *h)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct stat st;

	if (stat(arena_fmt(a, STR_FMT "/device-plugins/kubelet.sock", STR_ARG(h->kubelet_root)).p,
		 &st) < 0)
		return 0;
	return st.st_ino ^ (ino_t)st.st_ctim.tv_nsec ^ (ino_t)st.st_ctim.tv_sec;
}

static void plugins_check_health(void)
{
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
		bool now = plugin_works(&plugins[i]);

		if (now == plugins[i].healthy || !plugins[i].server)
			continue;
		plugins[i].healthy = now;
		waitq_wake_all(&plugins[i].changed);
	}
}

struct err *device_plugins_run(void *arg)
{
	struct handler *h = arg;
	ino_t known = 0;

	for (;;) {
		ino_t now = plugins_kubelet(h);

		if (now && now != known) {
			struct err *e = plugins_register(h);

			if (e && err_is(e, ERR_CANCELED))
				return e;
			if (!e) {
				known = now;
				log_info(NULL, "device plugins registered");
			}
			err_log(NULL, LOG_WARN, "device plugins not registered, trying again", e);
		}
		plugins_check_health();
		TRY(fiber_sleep_ms(now && now == known ? PLUGIN_WATCH_MS : PLUGIN_POLL_MS));
	}
}
