/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For each plugin a fiber follows ListAndWatch; when the stream ends the devices count as
 * unhealthy until the plugin registers again. Allocations live in a table that is written to
 * kubelet_internal_checkpoint before a container is created.
 */

#include "node/devices.h"

#include <errno.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "deviceplugin.pb-c.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/grpc.h"
#include "io/stream.h"
#include "node/agent.h"
#include "node/node-status.h"
#include "node/resources.h"

#define DP(type)       V1beta1__##type
#define CHECKPOINT     "kubelet_internal_checkpoint"
#define CHECKPOINT_MAX (4 << 20)
#define DEVICES_MAX    65536
#define CALL_MS        (30 * 1000)

struct plugin {
	struct list link;
	struct devices *set;
	char *resource, *endpoint;
	struct grpc_client *client;
	struct fiber *fiber;
	bool pre_start;
	bool listed; /* its ListAndWatch stream is up and has told its devices */
	bool stop;
	struct map devices; /* id -> "Healthy" or "Unhealthy", static strings */
};

struct devices {
	struct agent *agent;
	struct grpc_server *server;
	struct list plugins;
	size_t alive;      /* plugins not freed yet: some go on in their fiber for a moment */
	struct waitq idle; /* alive is 0 */
	char *dir;
	struct arena *arena;
	struct json *allocations; /* [{PodUID, ContainerName, ResourceName, DeviceIDs: [..]}] */
	struct json *registered;  /* {resource: true}: whose plugins will come back */
};

static const char healthy[] = "Healthy", unhealthy[] = "Unhealthy";

/* the checkpoint */

static const char *checkpoint_path(const struct devices *d, struct arena *a)
{
	return arena_fmt(a, "%s/" CHECKPOINT, d->dir).p;
}

static struct err *checkpoint_write(struct devices *d)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = json_object(a);

	json_set(a, o, "PodDeviceEntries", json_copy(a, d->allocations));
	json_set(a, o, "RegisteredDevices", json_copy(a, d->registered));
	return file_write_atomic(checkpoint_path(d, a), json_text(a, o), 0600);
}

/* A damaged checkpoint must not keep the node down: it is as good as none. */
static void checkpoint_read(struct devices *d)
{
	struct str text;
	struct json *o = NULL;
	struct err *e = file_read(d->arena, checkpoint_path(d, d->arena), CHECKPOINT_MAX, &text);

	if (!e)
		e = json_parse(d->arena, text, &o);
	if (e && !err_is(e, ERR_NOT_FOUND))
		err_log(NULL, LOG_WARN, "cannot read the device checkpoint", e);
	else
		err_ignore(e, "the first start");
	d->allocations = json_copy(d->arena, json_get(o, "PodDeviceEntries"));
	if (!json_is(d->allocations, JSON_ARRAY))
		d->allocations = json_array(d->arena);
	d->registered = json_copy(d->arena, json_get(o, "RegisteredDevices"));
	if (!json_is(d->registered, JSON_OBJECT))
		d->registered = json_object(d->arena);
}

/* plugins */

static struct plugin *plugin_find(const struct devices *d, struct str resource)
{
	struct plugin *pl;

	list_for_each(pl, &d->plugins, link)
		if (str_eqz(resource, pl->resource))
			return pl;
	return NULL;
}

static void plugin_all_unhealthy(struct plugin *pl)
{
	pl->listed = false;
	map_for_each(e, &pl->devices)
		map_put(&pl->devices, e->key, (void *)(uintptr_t)unhealthy);
	node_status_changed(pl->set->agent);
}

static void plugin_take_list(struct plugin *pl, const DP(ListAndWatchResponse) * list)
{
	map_clear(&pl->devices);
	pl->listed = true;
	for (size_t i = 0; i < list->n_devices && i < DEVICES_MAX; i++) {
		bool ok = strcmp(list->devices[i]->health, healthy) == 0;

		map_put(&pl->devices, str_from(list->devices[i]->id),
			(void *)(uintptr_t)(ok ? healthy : unhealthy));
	}
	node_status_changed(pl->set->agent);
}

static struct err *plugin_follow(struct plugin *pl)
{
	DP(Empty) empty;
	struct grpc_call *call;
	struct err *e;

	v1beta1__empty__init(&empty);
	TRY(grpc_stream_start(pl->client, "/v1beta1.DevicePlugin/ListAndWatch", &empty.base,
			      &call));
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		DP(ListAndWatchResponse) *list = NULL;

		e = grpc_stream_next(call, a, &v1beta1__list_and_watch_response__descriptor, &list);
		if (e || !list || pl->stop)
			break;
		plugin_take_list(pl, list);
	}
	grpc_call_free(call);
	return e;
}

static void plugin_free(struct plugin *pl)
{
	if (--pl->set->alive == 0)
		waitq_wake_all(&pl->set->idle);
	grpc_client_free(pl->client);
	map_fini(&pl->devices);
	free(pl->resource);
	free(pl->endpoint);
	free(pl);
}

static struct err *plugin_main(void *arg)
{
	struct plugin *pl = arg;
	struct err *e = plugin_follow(pl);

	if (!pl->stop) {
		log_info(NULL, "a device plugin is away", KV_Z("resource", pl->resource));
		plugin_all_unhealthy(pl);
		err_ignore(e, "it registers again when it is back");
		pl->fiber = fiber_unref(pl->fiber);
		return NULL;
	}
	err_ignore(e, "replaced");
	fiber_unref(pl->fiber);
	plugin_free(pl);
	return NULL;
}

/* The fiber frees it, or we do when it has none any more. */
static void plugin_drop(struct plugin *pl)
{
	list_unlink(&pl->link);
	pl->stop = true;
	if (pl->fiber)
		fiber_cancel(pl->fiber);
	else
		plugin_free(pl);
}

/* registration */

static bool endpoint_ok(struct str s)
{
	return s.n && s.n < 100 && str_find_char(s, '/', 0) == s.n && s.p[0] != '.';
}

static struct err *devices_register(struct grpc_call *call, struct arena *a, const void *req,
				    ProtobufCMessage **ret_resp, void *ctx)
{
	struct devices *d = ctx;
	const DP(RegisterRequest) *rq = req;
	DP(Empty) *resp = arena_new_obj(a, DP(Empty));
	struct plugin *pl;

	(void)call;
	if (strcmp(rq->version, "v1beta1") != 0)
		return err_new(
			ERR_INVALID,
			"requested API version \"%s\" is not supported by kubelet. Supported "
			"version is [\"v1beta1\"]",
			rq->version);
	if (!endpoint_ok(str_from(rq->endpoint)) || !strchr(rq->resource_name, '/'))
		return err_new(ERR_INVALID, "invalid endpoint or resource name: %s",
			       rq->resource_name);
	pl = plugin_find(d, str_from(rq->resource_name));
	if (pl)
		plugin_drop(pl);
	pl = mem_new(struct plugin);
	pl->set = d;
	d->alive++;
	pl->resource = mem_strdup(str_from(rq->resource_name));
	pl->endpoint = mem_strdup(str_from(rq->endpoint));
	pl->pre_start = rq->options && rq->options->pre_start_required;
	pl->client = grpc_client_new(arena_fmt(a, "unix:%s/%s", d->dir, rq->endpoint));
	list_push_back(&d->plugins, &pl->link);
	pl->fiber = fiber_spawn(d->agent->loop, "device-plugin", plugin_main, pl);
	log_info(NULL, "a device plugin registered", KV_Z("resource", pl->resource));
	if (!json_get(d->registered, pl->resource)) {
		json_set_s(d->arena, d->registered, arena_str(d->arena, str_from(pl->resource)),
			   json_bool(d->arena, true));
		err_log(NULL, LOG_WARN, "cannot write the device checkpoint", checkpoint_write(d));
	}
	v1beta1__empty__init(resp);
	*ret_resp = &resp->base;
	return NULL;
}

static const struct grpc_method devices_methods[] = {
	{ "/v1beta1.Registration/Register", &v1beta1__register_request__descriptor,
	  devices_register },
	{ 0 },
};

/*
 * Sockets of plugins: the kubelet removes them at its start so that plugins notice and register
 * again. We only replace our own, which they watch as well.
 */
struct err *devices_start(struct agent *ag, struct devices **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct devices *d = mem_new(struct devices);
	struct str dir = arena_fmt(a, "%.*s/device-plugins", STR_ARG(ag->cfg.kubelet_root));
	int fd;

	TRY(file_mkdir_p(dir.p, 0750));
	d->agent = ag;
	d->dir = mem_strdup(dir);
	d->arena = arena_new();
	list_init(&d->plugins);
	waitq_init(&d->idle);
	checkpoint_read(d);
	TRY(stream_listen(arena_fmt(a, "unix:%s/kubelet.sock", d->dir), &fd));
	d->server = grpc_server_new(ag->loop, fd, devices_methods, d);
	*ret = d;
	return NULL;
}

struct devices *devices_free(struct devices *d)
{
	struct plugin *pl, *tmp;

	if (!d)
		return NULL;
	grpc_server_free(d->server);
	list_for_each_safe(pl, tmp, &d->plugins, link)
		plugin_drop(pl);
	while (d->alive) {
		struct err *e = waitq_wait(&d->idle);

		if (e) {
			err_ignore(e, "cut short: the process ends");
			return NULL;
		}
	}
	arena_free(d->arena);
	free(d->dir);
	free(d);
	return NULL;
}

/* allocation */

static bool devices_is_extended(struct str name)
{
	return str_find_char(name, '/', 0) != name.n &&
	       !str_has_prefix(name, STR("kubernetes.io/")) &&
	       !str_has_prefix(name, STR("requests."));
}

static struct json *devices_entry(const struct devices *d, struct str uid, struct str container,
				  struct str resource)
{
	json_for_each(it,
		      d->allocations) if (str_eq(json_str_at(it.val, "PodUID"), uid) &&
					  str_eq(json_str_at(it.val, "ContainerName"), container) &&
					  str_eq(json_str_at(it.val, "ResourceName"),
						 resource)) return it.val;
	return NULL;
}

static bool devices_taken(const struct devices *d, struct str resource, struct str id)
{
	json_for_each(it, d->allocations)
	{
		if (!str_eq(json_str_at(it.val, "ResourceName"), resource))
			continue;
		json_for_each(x, json_get(it.val, "DeviceIDs")) if (str_eq(json_as_str(x.val),
									   id)) return true;
	}
	return false;
}

static struct err *devices_pick(struct devices *d, struct plugin *pl, struct str uid,
				struct str container, int64_t want, const struct json **ret)
{
	struct str resource = str_from(pl->resource);
	struct json *ids = json_array(d->arena), *entry;
	int64_t got = 0;

	entry = devices_entry(d, uid, container, resource);
	if (entry) {
		*ret = json_get(entry, "DeviceIDs");
		return NULL;
	}
	map_for_each(e, &pl->devices) {
		if (got == want)
			break;
		if (e->val != (const void *)healthy || devices_taken(d, resource, e->key))
			continue;
		json_push(ids, json_strcpy(d->arena, e->key));
		got++;
	}
	if (got < want)
		return err_new(ERR_INVALID,
			       "Allocate failed due to requested number of devices unavailable for "
			       "%s. Requested: %lld, Available: %lld, which is unexpected",
			       pl->resource, (long long)want, (long long)got);
	entry = json_object(d->arena);
	json_set(d->arena, entry, "PodUID", json_strcpy(d->arena, uid));
	json_set(d->arena, entry, "ContainerName", json_strcpy(d->arena, container));
	json_set(d->arena, entry, "ResourceName", json_strcpy(d->arena, resource));
	json_set(d->arena, entry, "DeviceIDs", ids);
	json_push(d->allocations, entry);
	*ret = ids;
	return checkpoint_write(d);
}

static void allocation_add(struct arena *a, const DP(ContainerAllocateResponse) * r,
			   struct device_allocation *al)
{
	struct device_spec *devs = arena_array(a, al->n_devices + r->n_devices + 1, sizeof(*devs));
	struct mount_spec *mounts = arena_array(a, al->n_mounts + r->n_mounts + 1, sizeof(*mounts));
	struct env_var *envs = arena_array(a, al->n_envs + r->n_envs + 1, sizeof(*envs));

	if (al->n_devices)
		memcpy(devs, al->devices, al->n_devices * sizeof(*devs));
	if (al->n_mounts)
		memcpy(mounts, al->mounts, al->n_mounts * sizeof(*mounts));
	if (al->n_envs)
		memcpy(envs, al->envs, al->n_envs * sizeof(*envs));
	al->devices = devs;
	al->mounts = mounts;
	al->envs = envs;
	for (size_t i = 0; i < r->n_devices; i++)
		devs[al->n_devices++] =
			(struct device_spec){ str_from(r->devices[i]->host_path),
					      str_from(r->devices[i]->container_path),
					      str_from(r->devices[i]->permissions) };
	for (size_t i = 0; i < r->n_mounts; i++)
		mounts[al->n_mounts++] =
			(struct mount_spec){ str_from(r->mounts[i]->host_path),
					     str_from(r->mounts[i]->container_path),
					     r->mounts[i]->read_only, 0 };
	for (size_t i = 0; i < r->n_envs; i++)
		envs[al->n_envs++] =
			(struct env_var){ str_from(r->envs[i]->key), str_from(r->envs[i]->value) };
	for (size_t i = 0; i < r->n_annotations; i++)
		cri_pair_add(a, &al->annotations, str_from(r->annotations[i]->key),
			     str_from(r->annotations[i]->value));
}

static struct err *plugin_allocate(struct plugin *pl, struct arena *a, const struct json *ids,
				   struct device_allocation *al)
{
	DP(AllocateRequest) rq;
	DP(ContainerAllocateRequest) one;
	DP(ContainerAllocateRequest) * list[] = { &one };
	DP(AllocateResponse) *resp = NULL;

	v1beta1__allocate_request__init(&rq);
	v1beta1__container_allocate_request__init(&one);
	one.devices_ids = arena_array(a, json_len(ids) + 1, sizeof(char *));
	json_for_each(it, ids) one.devices_ids[one.n_devices_ids++] =
		arena_strz(a, json_as_str(it.val));
	rq.container_requests = list;
	rq.n_container_requests = 1;
	TRY(grpc_unary(pl->client, a, "/v1beta1.DevicePlugin/Allocate", &rq.base,
		       &v1beta1__allocate_response__descriptor, &resp));
	for (size_t i = 0; i < resp->n_container_responses; i++)
		allocation_add(a, resp->container_responses[i], al);
	if (pl->pre_start) {
		DP(PreStartContainerRequest) ps;
		DP(PreStartContainerResponse) *done = NULL;

		v1beta1__pre_start_container_request__init(&ps);
		ps.devices_ids = one.devices_ids;
		ps.n_devices_ids = one.n_devices_ids;
		TRY(grpc_unary(pl->client, a, "/v1beta1.DevicePlugin/PreStartContainer", &ps.base,
			       &v1beta1__pre_start_container_response__descriptor, &done));
	}
	return NULL;
}

struct err *devices_allocate(struct devices *d, struct arena *a, const struct json *pod,
			     const struct json *container, struct device_allocation *ret)
{
	json_for_each(it, json_at(container, "resources.limits"))
	{
		int64_t want = resource_get(container, "limits", it.key);
		const struct json *ids = NULL;
		struct plugin *pl;
		struct mono old;
		struct err *e;

		if (!devices_is_extended(it.key) || want <= 0)
			continue;
		pl = plugin_find(d, it.key);
		if (!pl && !json_get_s(d->registered, it.key))
			continue; /* advertised by others, by patching the Node */
		if (!pl || !pl->listed)
			return err_new(ERR_UNAVAILABLE, "the device plugin of %.*s is away",
				       STR_ARG(it.key));
		TRY(devices_pick(d, pl, meta_uid(pod), json_str_at(container, "name"), want, &ids));
		old = fiber_limit_ms(CALL_MS);
		e = plugin_allocate(pl, a, ids, ret);
		fiber_restore_deadline(old);
		if (e)
			return err_recode(err_wrap(e, "device plugin %.*s", STR_ARG(it.key)),
					  ERR_UNAVAILABLE);
	}
	return NULL;
}

void devices_release(struct devices *d, struct str pod_uid)
{
	bool changed = false;

	for (size_t i = json_len(d->allocations); i-- > 0;) {
		if (str_eq(json_str_at(json_idx(d->allocations, i), "PodUID"), pod_uid)) {
			json_remove_idx(d->allocations, i);
			changed = true;
		}
	}
	if (changed)
		err_log(NULL, LOG_WARN, "cannot write the device checkpoint", checkpoint_write(d));
}

void devices_each(const struct devices *d,
		  void (*fn)(void *ctx, struct str resource, int64_t total, int64_t healthy),
		  void *ctx)
{
	struct plugin *pl;

	json_for_each(it, d->registered) if (!plugin_find(d, it.key)) fn(ctx, it.key, 0, 0);
	list_for_each(pl, &d->plugins, link) {
		int64_t total = 0, ok = 0;

		map_for_each(e, &pl->devices) {
			total++;
			ok += e->val == (const void *)healthy;
		}
		fn(ctx, str_from(pl->resource), total, ok);
	}
}
