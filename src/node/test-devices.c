/* SPDX-License-Identifier: Apache-2.0 */

/* The device manager against a plugin of ours over real sockets. */

#include "node/devices.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "deviceplugin.pb-c.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/grpc.h"
#include "io/stream.h"
#include "node/agent.h"
#include "testkit/test.h"

#define DP(type) V1beta1__##type

static char root[64];

/* a plugin with two devices, one of them broken */

static struct waitq plugin_end;

static struct err *plugin_list(struct grpc_call *call, struct arena *a, const void *req,
			       ProtobufCMessage **ret, void *ctx)
{
	DP(Device) d0, d1;
	DP(Device) * list[] = { &d0, &d1 };
	DP(ListAndWatchResponse) r;

	(void)a;
	(void)req;
	(void)ctx;
	v1beta1__list_and_watch_response__init(&r);
	v1beta1__device__init(&d0);
	v1beta1__device__init(&d1);
	d0.id = arena_strz(a, STR("zero"));
	d0.health = arena_strz(a, STR("Healthy"));
	d1.id = arena_strz(a, STR("one"));
	d1.health = arena_strz(a, STR("Unhealthy"));
	r.devices = list;
	r.n_devices = 2;
	TRY(grpc_reply(call, &r.base));
	*ret = NULL;
	return waitq_wait(&plugin_end);
}

static struct err *plugin_allocate(struct grpc_call *call, struct arena *a, const void *req,
				   ProtobufCMessage **ret, void *ctx)
{
	const DP(AllocateRequest) *rq = req;
	DP(AllocateResponse) *resp = arena_new_obj(a, DP(AllocateResponse));
	DP(ContainerAllocateResponse) *one = arena_new_obj(a, DP(ContainerAllocateResponse));
	DP(DeviceSpec) *dev = arena_new_obj(a, DP(DeviceSpec));
	DP(StringPair) *env = arena_new_obj(a, DP(StringPair));

	(void)call;
	(void)ctx;
	v1beta1__allocate_response__init(resp);
	v1beta1__container_allocate_response__init(one);
	v1beta1__device_spec__init(dev);
	v1beta1__string_pair__init(env);
	dev->host_path = dev->container_path = arena_strz(a, STR("/dev/null"));
	dev->permissions = arena_strz(a, STR("mrw"));
	env->key = arena_strz(a, STR("DEVICE"));
	env->value = rq->container_requests[0]->devices_ids[0];
	one->devices = arena_alloc(a, sizeof(dev));
	one->devices[0] = dev;
	one->n_devices = 1;
	one->envs = arena_alloc(a, sizeof(env));
	one->envs[0] = env;
	one->n_envs = 1;
	resp->container_responses = arena_alloc(a, sizeof(one));
	resp->container_responses[0] = one;
	resp->n_container_responses = 1;
	*ret = &resp->base;
	return NULL;
}

static const struct grpc_method plugin_methods[] = {
	{ "/v1beta1.DevicePlugin/ListAndWatch", &v1beta1__empty__descriptor, plugin_list },
	{ "/v1beta1.DevicePlugin/Allocate", &v1beta1__allocate_request__descriptor,
	  plugin_allocate },
	{ 0 },
};

static struct err *plugin_register(struct arena *a, const char *version, const char *endpoint)
{
	struct grpc_client *c =
		grpc_client_new(arena_fmt(a, "unix:%s/device-plugins/kubelet.sock", root));
	DP(RegisterRequest) rq;
	DP(Empty) * resp;
	struct err *e;

	v1beta1__register_request__init(&rq);
	rq.version = arena_strz(a, str_from(version));
	rq.endpoint = arena_strz(a, str_from(endpoint));
	rq.resource_name = arena_strz(a, STR("test.io/thing"));
	e = grpc_unary(c, a, "/v1beta1.Registration/Register", &rq.base,
		       &v1beta1__empty__descriptor, &resp);
	grpc_client_free(c);
	return e;
}

struct counts {
	int64_t total, ok;
};

static void count(void *ctx, struct str resource, int64_t total, int64_t ok)
{
	struct counts *n = ctx;

	assert_str(resource, "test.io/thing");
	n->total = total;
	n->ok = ok;
}

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct err *wait_listed(struct devices *d)
{
	struct counts n = { 0 };

	for (int i = 0; i < 500 && n.total != 2; i++) {
		TRY(fiber_sleep_ms(5));
		devices_each(d, count, &n);
	}
	assert_int_equal(n.total, 2);
	assert_int_equal(n.ok, 1);
	return NULL;
}

static struct err *devices_fiber(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct agent ag = { .loop = fiber_loop(), .cfg.kubelet_root = str_from(root) };
	struct json *pod = parse(a, "{\"metadata\":{\"uid\":\"u1\"}}");
	struct json *other = parse(a, "{\"metadata\":{\"uid\":\"u2\"}}");
	struct json *c = parse(a, "{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1\","
				  "\"test.io/thing\":\"1\"}}}");
	struct device_allocation al = { 0 }, again = { 0 }, none = { 0 };
	struct grpc_server *plugin;
	struct devices *d, *restarted;
	struct counts n = { 9, 9 };
	int fd;

	(void)arg;
	waitq_init(&plugin_end);
	TRY(devices_start(&ag, &d));
	TRY(stream_listen(arena_fmt(a, "unix:%s/device-plugins/thing.sock", root), &fd));
	plugin = grpc_server_new(ag.loop, fd, plugin_methods, NULL);
	assert_err(plugin_register(a, "v1", "thing.sock"), ERR_BAD_REQUEST);
	assert_err(plugin_register(a, "v1beta1", "../thing.sock"), ERR_BAD_REQUEST);
	TRY(plugin_register(a, "v1beta1", "thing.sock"));
	TRY(wait_listed(d));

	TRY(devices_allocate(d, a, pod, c, &al));
	assert_int_equal(al.n_devices, 1);
	assert_str(al.devices[0].host_path, "/dev/null");
	assert_str(al.envs[0].value, "zero");
	TRY(devices_allocate(d, a, pod, c,
			     &again)); /* a restart of the container keeps its device */
	assert_str(again.envs[0].value, "zero");
	assert_err(devices_allocate(d, a, other, c, &none), ERR_INVALID);

	/* an agent that comes back knows what is taken, and waits for the plugin */
	TRY(devices_start(&ag, &restarted));
	devices_each(restarted, count, &n);
	assert_int_equal(n.total, 0);
	assert_err(devices_allocate(restarted, a, other, c, &none), ERR_UNAVAILABLE);
	TRY(plugin_register(a, "v1beta1", "thing.sock"));
	TRY(wait_listed(restarted));
	assert_err(devices_allocate(restarted, a, other, c, &none), ERR_INVALID);
	devices_release(restarted, STR("u1"));
	TRY(devices_allocate(restarted, a, other, c, &none));
	assert_str(none.envs[0].value, "zero");
	waitq_wake_all(&plugin_end);
	devices_free(d);
	devices_free(restarted);
	grpc_server_free(plugin);
	return NULL;
}

TEST(register_allocate_restart)
{
	strcpy(root, "/tmp/test-devices-XXXXXX");
	assert_non_null(mkdtemp(root));
	assert_no_err(fiber_main(devices_fiber, NULL));
	err_ignore(file_remove_tree(root), "in a test");
}

TEST_MAIN(T(register_allocate_restart))
