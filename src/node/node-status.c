/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Registered as upstream's kubelet does: labels and taints of an existing Node are left alone but
 * for those that are ours. The status is computed every 10 s and sent when it changed, or every 5
 * minutes; the lease in kube-node-lease is renewed every 10 s.
 */

#include "node/node-status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/node-lease.h"
#include "json/json.h"

#define KUBELET_VERSION "v1.36.0"
#define KUBELET_PORT    10250
#define MAX_PODS        "110"
#define STATUS_EVERY_MS (10 * 1000)
#define REPORT_EVERY_MS (5 * 60 * 1000)
#define IMAGES_MAX      50
#define NODES           GVR("", "v1", "nodes")

struct node_status {
	struct agent *agent;
	struct fiber *status, *lease;
	struct waitq wake;
	char *last; /* what was sent, without heartbeat times */
	struct mono last_at;
	char *uid; /* of the Node, for the lease's owner */
};

static struct node_status *the_status;

/* facts about the machine */

static struct str fact_file(struct arena *a, const char *path)
{
	struct str text = STR_EMPTY;

	err_ignore(file_read(a, path, 4096, &text), "an absent fact is empty");
	return str_trim(text);
}

static struct str fact_os_image(struct arena *a)
{
	struct str text = fact_file(a, "/etc/os-release"), line;

	while (str_split_next(&text, '\n', &line)) {
		if (!str_strip_prefix(&line, STR("PRETTY_NAME=")))
			continue;
		if (line.n >= 2 && line.p[0] == '"')
			line = str_sub(line, 1, line.n - 1);
		return line;
	}
	return STR("Linux");
}

static const char *fact_arch(void)
{
	static struct utsname u;

	uname(&u);
	if (strcmp(u.machine, "x86_64") == 0)
		return "amd64";
	return strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine;
}

static struct json *status_node_info(struct agent *ag, struct arena *a)
{
	const CRI(VersionResponse) *v = NULL;
	struct json *o = json_object(a);
	struct utsname u;

	uname(&u);
	err_ignore(cri_version(ag->cri, a, &v), "the Ready condition tells");
	json_set_str(a, o, "machineID", fact_file(a, "/etc/machine-id"));
	json_set_str(a, o, "systemUUID", fact_file(a, "/sys/class/dmi/id/product_uuid"));
	json_set_str(a, o, "bootID", fact_file(a, "/proc/sys/kernel/random/boot_id"));
	json_set(a, o, "kernelVersion", json_strcpy(a, str_from(u.release)));
	json_set_str(a, o, "osImage", arena_str(a, fact_os_image(a)));
	json_set_str(a, o, "containerRuntimeVersion",
		     v ? arena_fmt(a, "%s://%s", v->runtime_name, v->runtime_version)
		       : STR("unknown"));
	json_set_str(a, o, "kubeletVersion", STR(KUBELET_VERSION));
	json_set_str(a, o, "kubeProxyVersion", STR(""));
	json_set_str(a, o, "operatingSystem", STR("linux"));
	json_set_str(a, o, "architecture", str_from(fact_arch()));
	return o;
}

/* capacity */

struct device_fill {
	struct arena *a;
	struct json *capacity, *allocatable;
};

static void status_add_device(void *ctx, struct str resource, int64_t total, int64_t ok)
{
	struct device_fill *f = ctx;
	struct str name = arena_str(f->a, resource);

	json_set_s(f->a, f->capacity, name, json_strf(f->a, "%lld", (long long)total));
	json_set_s(f->a, f->allocatable, name, json_strf(f->a, "%lld", (long long)ok));
}

static void status_capacity(struct agent *ag, struct arena *a, const struct json *node,
			    struct json *status)
{
	struct device_fill f = { a, json_sub(a, status, "capacity"),
				 json_sub(a, status, "allocatable") };
	struct str root = ag->cfg.kubelet_root;
	struct statvfs fs;
	long long disk = 0;

	if (statvfs(arena_strz(a, root), &fs) == 0)
		disk = (long long)fs.f_blocks * (long long)fs.f_frsize;
	json_set(a, f.capacity, "cpu",
		 json_strf(a, "%lld", (long long)ag->cpu_capacity_milli / 1000));
	json_set(a, f.capacity, "memory",
		 json_strf(a, "%lldKi", (long long)ag->memory_capacity / 1024));
	json_set(a, f.capacity, "ephemeral-storage", json_strf(a, "%lldKi", disk / 1024));
	json_set_str(a, f.capacity, "hugepages-2Mi", STR("0"));
	json_set_str(a, f.capacity, "pods", STR(MAX_PODS));
	json_for_each(it, f.capacity) json_set_s(a, f.allocatable, it.key, json_copy(a, it.val));
	/* upstream keeps 100Mi and a tenth of the disk back for eviction */
	json_set(a, f.allocatable, "memory",
		 json_strf(a, "%lldKi", (long long)ag->memory_capacity / 1024 - 100 * 1024));
	json_set(a, f.allocatable, "ephemeral-storage", json_strf(a, "%lld", disk / 10 * 9));
	/* extended resources that others put there stay */
	json_for_each(it, json_at(node, "status.capacity"))
	{
		if (str_find_char(it.key, '/', 0) == it.key.n)
			continue;
		json_set_s(a, f.capacity, it.key, json_copy(a, it.val));
		json_set_s(a, f.allocatable, it.key,
			   json_copy(a, json_get_s(json_at(node, "status.allocatable"), it.key)));
	}
	devices_each(ag->devices, status_add_device, &f);
}

/* conditions */

static struct err *status_runtime_trouble(struct agent *ag, struct arena *a, struct str *ret)
{
	const CRI(StatusResponse) *st = NULL;

	*ret = STR_EMPTY;
	TRY(cri_status(ag->cri, a, &st));
	for (size_t i = 0; st->status && i < st->status->n_conditions; i++) {
		const CRI(RuntimeCondition) *c = st->status->conditions[i];
		bool net = strcmp(c->type, "NetworkReady") == 0;

		if (!c->status)
			*ret = arena_fmt(a, "%s: reason:%s message:%s",
					 net ? "container runtime network not ready"
					     : "container runtime is down",
					 c->reason, c->message);
	}
	return NULL;
}

static void status_condition(struct arena *a, struct json *status, const char *type,
			     const char *value, const char *reason, struct str message)
{
	struct wall now = wall_now();
	struct json *c;

	condition_set(a, status, type, value, str_from(reason), message, now);
	c = json_find_by(json_get(status, "conditions"), "type", str_from(type));
	json_set_str(a, c, "lastHeartbeatTime", wall_format(a, now));
}

static void status_conditions(struct agent *ag, struct arena *a, const struct json *node,
			      struct json *status)
{
	struct str trouble = STR_EMPTY;
	struct err *e = status_runtime_trouble(ag, a, &trouble);

	if (json_at(node, "status.conditions"))
		json_set(a, status, "conditions", json_copy(a, json_at(node, "status.conditions")));
	status_condition(a, status, "MemoryPressure", "False", "KubeletHasSufficientMemory",
			 STR("kubelet has sufficient memory available"));
	status_condition(a, status, "DiskPressure", "False", "KubeletHasNoDiskPressure",
			 STR("kubelet has no disk pressure"));
	status_condition(a, status, "PIDPressure", "False", "KubeletHasSufficientPID",
			 STR("kubelet has sufficient PID available"));
	if (e)
		trouble = arena_fmt(a, "container runtime is down: %.*s", STR_ARG(err_msg(e)));
	err_ignore(e, "told in the condition");
	if (trouble.n)
		status_condition(a, status, "Ready", "False", "KubeletNotReady", trouble);
	else
		status_condition(a, status, "Ready", "True", "KubeletReady",
				 STR("kubelet is posting ready status"));
}

static const char *image_name(const CRI(Image) * img)
{
	if (img->n_repo_tags)
		return img->repo_tags[0];
	return img->n_repo_digests ? img->repo_digests[0] : img->id;
}

/* The largest first, as a kubelet has them. The runtime lists them in any order, another each time.
 */
static int image_cmp(const void *x, const void *y)
{
	const CRI(Image) *const *a = x, *const *b = y;

	if ((*a)->size != (*b)->size)
		return (*a)->size > (*b)->size ? -1 : 1;
	return strcmp(image_name(*a), image_name(*b));
}

static void status_images(struct agent *ag, struct arena *a, struct json *status)
{
	const CRI(ListImagesResponse) *list = NULL;
	struct json *images = json_sub_array(a, status, "images");
	struct err *e = cri_list_images(ag->cri, a, &list);

	if (e) {
		err_ignore(e, "the Ready condition tells");
		return;
	}
	if (list->n_images)
		qsort(list->images, list->n_images, sizeof(*list->images), image_cmp);
	for (size_t i = 0; i < list->n_images && json_len(images) < IMAGES_MAX; i++) {
		const CRI(Image) *img = list->images[i];
		struct json *o = json_object(a), *names = json_sub_array(a, o, "names");

		for (size_t k = 0; k < img->n_repo_digests; k++)
			json_push(names, json_strz(a, img->repo_digests[k]));
		for (size_t k = 0; k < img->n_repo_tags; k++)
			json_push(names, json_strz(a, img->repo_tags[k]));
		json_set_int(a, o, "sizeBytes", (int64_t)img->size);
		if (json_len(names))
			json_push(images, o);
	}
}

static void status_add_address(struct arena *a, struct json *list, const char *type,
			       struct str address)
{
	struct json *o = json_object(a);

	json_set(a, o, "type", json_strz(a, type));
	json_set_str(a, o, "address", address);
	json_push(list, o);
}

static struct json *status_render(struct agent *ag, struct arena *a, const struct json *node)
{
	struct json *status = json_object(a), *addresses;

	addresses = json_sub_array(a, status, "addresses");
	status_add_address(a, addresses, "InternalIP", ag->cfg.ip);
	status_add_address(a, addresses, "Hostname", ag->cfg.name);
	status_capacity(ag, a, node, status);
	status_conditions(ag, a, node, status);
	json_set_at(a, status, "daemonEndpoints.kubeletEndpoint.Port", json_int(a, KUBELET_PORT));
	json_set(a, status, "nodeInfo", status_node_info(ag, a));
	status_images(ag, a, status);
	return status;
}

/* registration */

static const struct {
	const char *key;
	const char *value; /* NULL: the node's name; "": the architecture */
} node_labels[] = {
	{ "kubernetes.io/hostname", NULL }, { "kubernetes.io/os", "linux" },
	{ "kubernetes.io/arch", "" },       { "beta.kubernetes.io/os", "linux" },
	{ "beta.kubernetes.io/arch", "" },
};

static bool node_set_labels(struct agent *ag, struct arena *a, struct json *node)
{
	bool changed = false;

	for (size_t i = 0; i < ARRAY_LEN(node_labels); i++) {
		const char *v = node_labels[i].value;
		struct str value = !v ? ag->cfg.name : *v ? str_from(v) : str_from(fact_arch());

		if (str_eq(meta_label(node, node_labels[i].key), value))
			continue;
		meta_set_label(a, node, node_labels[i].key, value);
		changed = true;
	}
	return changed;
}

static struct err *node_register(struct agent *ag, struct arena *a, struct json **ret)
{
	struct json *node = json_object(a);
	struct err *e;

	e = client_get(ag->client, a, NODES, STR_EMPTY, ag->cfg.name, ret);
	if (!e) {
		if (!node_set_labels(ag, a, *ret))
			return NULL;
		return client_update(ag->client, a, NODES, NULL, *ret, ret);
	}
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "created now");
	json_set_str(a, node, "apiVersion", STR("v1"));
	json_set_str(a, node, "kind", STR("Node"));
	json_set_at(a, node, "metadata.name", json_str(a, ag->cfg.name));
	node_set_labels(ag, a, node);
	meta_set_annotation(a, node, "volumes.kubernetes.io/controller-managed-attach-detach",
			    STR("true"));
	if (ag->cfg.pod_cidr.n) {
		json_set_at(a, node, "spec.podCIDR", json_str(a, ag->cfg.pod_cidr));
		json_push(json_sub_array(a, json_get(node, "spec"), "podCIDRs"),
			  json_str(a, ag->cfg.pod_cidr));
	}
	json_set(a, node, "status", status_render(ag, a, NULL));
	return client_create(ag->client, a, NODES, STR_EMPTY, node, ret);
}

/* the loop */

/* Without the times that change each time. */
static struct str status_digest(struct arena *a, const struct json *status)
{
	struct json *copy = json_copy(a, status);

	json_for_each(it, json_get(copy, "conditions")) json_delz(it.val, "lastHeartbeatTime");
	return json_text(a, copy);
}

static struct err *status_send(struct node_status *ns, struct arena *a)
{
	struct agent *ag = ns->agent;
	struct json *node, *status, *patch = json_object(a), *resp;
	struct str digest;

	TRY(node_register(ag, a, &node));
	free(ns->uid);
	ns->uid = mem_strdup(meta_uid(node));
	status = status_render(ag, a, node);
	digest = status_digest(a, status);
	if (ns->last && str_eqz(digest, ns->last) && mono_ms_since(ns->last_at) < REPORT_EVERY_MS &&
	    condition_is_true(json_get(node, "status"), "Ready") ==
		    condition_is_true(status, "Ready"))
		return NULL;
	json_set(a, patch, "status", status);
	TRY(client_patch(ag->client, a, NODES, STR_EMPTY, ag->cfg.name, "status",
			 CLIENT_PATCH_STRATEGIC, patch, &resp));
	free(ns->last);
	ns->last = mem_strdup(digest);
	ns->last_at = mono_now();
	return NULL;
}

static struct err *status_main(void *arg)
{
	struct node_status *ns = arg;
	bool woken;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = status_send(ns, a);

		TRY(fiber_check());
		if (e)
			err_log(NULL, LOG_WARN, "cannot report the node's status", e);
		TRY(waitq_wait_ms(&ns->wake, e ? 1000 : STATUS_EVERY_MS, &woken));
		/* a burst of changes is one report */
		if (woken)
			TRY(fiber_sleep_ms(50));
	}
}

static struct err *lease_main(void *arg)
{
	struct node_status *ns = arg;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = NULL;

		if (ns->uid && *ns->uid)
			e = node_lease_renew(ns->agent->client, a, ns->agent->cfg.name,
					     str_from(ns->uid));
		TRY(fiber_check());
		if (e)
			err_log(NULL, LOG_WARN, "cannot renew the node's lease", e);
		TRY(fiber_sleep_ms(e || !ns->uid ? 1000 : LEASE_EVERY_MS));
	}
}

void node_status_changed(struct agent *ag)
{
	(void)ag;
	if (the_status)
		waitq_wake_all(&the_status->wake);
}

struct err *node_status_start(struct agent *ag)
{
	struct node_status *ns = mem_new(struct node_status);

	ns->agent = ag;
	waitq_init(&ns->wake);
	the_status = ns;
	ns->status = fiber_spawn(ag->loop, "node-status", status_main, ns);
	ns->lease = fiber_spawn(ag->loop, "node-lease", lease_main, ns);
	return NULL;
}
