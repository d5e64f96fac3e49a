/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/convert.h"

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "virt/mapping/align.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

struct convert {
	struct arena *a;
	enum align_side from;
	struct json *src, *dst; /* {metadata, spec}: the object, or a template in it */
	struct json *notes;
};

/* leftovers */

static bool is_leaf(const struct json *v)
{
	if (json_is(v, JSON_OBJECT))
		return false;
	if (!json_is(v, JSON_ARRAY))
		return true;
	json_for_each(it, v)
	{
		if (json_is(it.val, JSON_OBJECT) || json_is(it.val, JSON_ARRAY))
			return false;
	}
	return json_len(v) > 0;
}

void convert_list_leaves(struct arena *a, const struct json *v, struct str prefix, struct json *out)
{
	if (is_leaf(v)) {
		if (!json_is_null(v))
			json_push(out, json_str(a, prefix));
		return;
	}
	json_for_each(it, v)
	{
		struct str path =
			json_is(v, JSON_ARRAY)
				? arena_fmt(a, STR_FMT "[%zu]", STR_ARG(prefix), it.i)
				: arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(prefix),
					    str_empty(prefix) ? "" : ".", STR_ARG(it.key));

		convert_list_leaves(a, it.val, path, out);
	}
}

static struct json *take(struct convert *c, struct json *obj, const char *path)
{
	return align_take(c->a, obj, path);
}

static void move(struct convert *c, struct json *src, const char *from, struct json *dst,
		 const char *to)
{
	struct json *v = take(c, src, from);

	if (v)
		json_set_at(c->a, dst, to, v);
}

static void note(struct convert *c, const char *text)
{
	json_push(c->notes, json_strz(c->a, text));
}

/* metadata */

static void convert_metadata(struct convert *c)
{
	static const char *const kept[] = { "metadata.name", "metadata.generateName",
					    "metadata.namespace", "metadata.labels",
					    "metadata.annotations" };
	static const char *const state[] = { "metadata.uid",
					     "metadata.resourceVersion",
					     "metadata.creationTimestamp",
					     "metadata.generation",
					     "metadata.managedFields",
					     "metadata.selfLink",
					     "status" };

	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		move(c, c->src, kept[i], c->dst, kept[i]);
	for (size_t i = 0; i < ARRAY_LEN(state); i++)
		take(c, c->src, state[i]);
}

static void convert_rows(struct convert *c, enum align_pair pair)
{
	for (const struct align_row *r = align_rows(pair); r->vm; r++)
		align_move(c->a, r, c->from, c->src, c->dst);
}

/* Pod -> VMI */

static struct json *devices_of(struct convert *c)
{
	return json_sub(c->a, json_sub(c->a, json_sub(c->a, c->dst, "spec"), "domain"), "devices");
}

static struct json *add_disk(struct convert *c, struct str name)
{
	struct json *disk = json_object(c->a);

	json_set(c->a, disk, "name", json_strcpy(c->a, name));
	json_set_at(c->a, disk, "disk.bus", json_strz(c->a, "virtio"));
	json_push(json_sub_array(c->a, devices_of(c), "disks"), disk);
	return disk;
}

static void add_volume(struct convert *c, struct json *volume)
{
	json_push(json_sub_array(c->a, json_sub(c->a, c->dst, "spec"), "volumes"), volume);
}

/* A container's image is what runs: the disk the VMI boots from. */
static void convert_image(struct convert *c, struct json *container)
{
	struct json *image = take(c, container, "image"), *name = take(c, container, "name");
	struct json *policy = take(c, container, "imagePullPolicy"), *volume;

	if (!image)
		return;
	volume = json_object(c->a);
	json_set(c->a, volume, "name", name ? json_copy(c->a, name) : json_strz(c->a, "root"));
	json_set_at(c->a, volume, "containerDisk.image", image);
	if (policy)
		json_set_at(c->a, volume, "containerDisk.imagePullPolicy", policy);
	add_disk(c, json_str_at(volume, "name"));
	add_volume(c, volume);
}

static void convert_mounts(struct convert *c, struct json *container)
{
	json_for_each(it, json_get(container, "volumeMounts"))
	{
		struct json *disk = json_find_by(json_get(devices_of(c), "disks"), "name",
						 json_str_at(it.val, "name"));
		struct json *ro;

		if (!disk)
			continue;
		take(c, it.val, "name");
		ro = take(c, it.val, "readOnly");
		if (ro)
			json_set_at(c->a, disk, "disk.readonly", ro);
	}
}

static void convert_ports_to_vmi(struct convert *c, struct json *container)
{
	struct json *ports = json_array(c->a), *iface, *net;

	json_for_each(it, json_get(container, "ports"))
	{
		struct json *p = json_object(c->a);

		move(c, it.val, "name", p, "name");
		move(c, it.val, "containerPort", p, "port");
		move(c, it.val, "protocol", p, "protocol");
		json_push(ports, p);
	}
	iface = json_object(c->a);
	json_set_str(c->a, iface, "name", STR("default"));
	json_set(c->a, iface, "masquerade", json_object(c->a));
	if (json_len(ports))
		json_set(c->a, iface, "ports", ports);
	json_push(json_sub_array(c->a, devices_of(c), "interfaces"), iface);
	net = json_object(c->a);
	json_set_str(c->a, net, "name", STR("default"));
	json_set(c->a, net, "pod", json_object(c->a));
	json_push(json_sub_array(c->a, json_sub(c->a, c->dst, "spec"), "networks"), net);
}

static void add_secondary(struct convert *c, struct str target, struct str mac, size_t n)
{
	struct json *net = json_object(c->a), *iface = json_object(c->a);
	struct str name = arena_fmt(c->a, "net%zu", n);

	json_set_str(c->a, net, "name", name);
	json_set_at(c->a, net, "multus.networkName", json_strcpy(c->a, target));
	json_push(json_sub_array(c->a, json_sub(c->a, c->dst, "spec"), "networks"), net);
	json_set_str(c->a, iface, "name", name);
	json_set(c->a, iface, "bridge", json_object(c->a));
	if (!str_empty(mac))
		json_set(c->a, iface, "macAddress", json_strcpy(c->a, mac));
	json_push(json_sub_array(c->a, devices_of(c), "interfaces"), iface);
}

/* "a, ns/b@eth1" or a JSON list, as the Multus convention has both. */
static void convert_networks_to_vmi(struct convert *c)
{
	struct json *annos = json_at(c->dst, "metadata.annotations"), *list = NULL;
	struct str text = json_as_str(json_get(annos, ANNO_NETWORKS)), item;
	size_t n = 1;

	if (str_empty(text))
		return;
	text = arena_str(c->a, text);
	json_delz(annos, ANNO_NETWORKS);
	if (text.p[0] == '[') {
		struct err *e = json_parse(c->a, text, &list);

		err_ignore(e, "not JSON: taken as names");
	}
	json_for_each(it, list)
	{
		struct str ns = json_str_at(it.val, "namespace");
		struct str name = json_str_at(it.val, "name");

		if (!str_empty(ns))
			name = arena_fmt(c->a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
		add_secondary(c, name, json_str_at(it.val, "mac"), n++);
	}
	while (!list && str_split_next(&text, ',', &item)) {
		item = str_trim(item);
		add_secondary(c, str_sub(item, 0, str_find_char(item, '@', 0)), STR_EMPTY, n++);
	}
}

static void convert_volumes_to_vmi(struct convert *c)
{
	json_for_each(it, json_at(c->src, "spec.volumes"))
	{
		struct str name = arena_str(c->a, json_str_at(it.val, "name"));
		struct json *v = align_volume(c->a, ALIGN_POD, it.val);

		if (!v)
			continue;
		if (json_get(v, "emptyDisk") && !json_at(v, "emptyDisk.capacity")) {
			json_set_at(c->a, v, "emptyDisk.capacity", json_strz(c->a, "1Gi"));
			note(c, "an emptyDir without sizeLimit became an emptyDisk of 1Gi");
		}
		add_volume(c, v);
		add_disk(c, name);
	}
}

static void pod_to_vmi(struct convert *c)
{
	struct json *container = json_idx(json_at(c->src, "spec.containers"), 0);
	struct json *restart = json_at(c->src, "spec.restartPolicy");

	convert_metadata(c);
	convert_rows(c, ALIGN_INSTANCE);
	if (restart && str_eqz(json_as_str(restart), "Never"))
		take(c, c->src, "spec.restartPolicy");
	convert_image(c, container);
	convert_volumes_to_vmi(c);
	convert_mounts(c, container);
	move(c, container, "resources.requests", c->dst, "spec.domain.resources.requests");
	move(c, container, "resources.limits", c->dst, "spec.domain.resources.limits");
	move(c, container, "readinessProbe", c->dst, "spec.readinessProbe");
	move(c, container, "livenessProbe", c->dst, "spec.livenessProbe");
	convert_ports_to_vmi(c, container);
	convert_networks_to_vmi(c);
	devices_of(c);
	if (!json_at(c->dst, "spec.domain.resources.requests.memory") &&
	    !json_at(c->dst, "spec.domain.resources.limits.memory"))
		note(c, "the Pod requests no memory: set spec.domain.memory.guest");
}

/* VMI -> Pod */

static struct json *boot_volume(struct convert *c)
{
	struct json *best = NULL;
	int64_t best_order = INT64_MAX;

	json_for_each(it, json_at(c->src, "spec.volumes"))
	{
		const struct json *disk;
		int64_t order;

		if (!json_get(it.val, "containerDisk"))
			continue;
		disk = json_find_by(json_at(c->src, "spec.domain.devices.disks"), "name",
				    json_str_at(it.val, "name"));
		order = json_int_at(disk, "bootOrder", INT64_MAX - 1);
		if (order < best_order) {
			best_order = order;
			best = it.val;
		}
	}
	return best;
}

static void take_disk(struct convert *c, struct str name)
{
	struct json *disk =
		json_find_by(json_at(c->src, "spec.domain.devices.disks"), "name", name);

	take(c, disk, "name");
	take(c, disk, "bootOrder");
}

static void convert_boot_disk(struct convert *c, struct json *container)
{
	struct json *vol = boot_volume(c);

	if (!vol) {
		json_set_str(c->a, container, "name", STR("main"));
		note(c, "no containerDisk: set spec.containers[0].image");
		return;
	}
	take_disk(c, arena_str(c->a, json_str_at(vol, "name")));
	move(c, vol, "name", container, "name");
	move(c, vol, "containerDisk.image", container, "image");
	move(c, vol, "containerDisk.imagePullPolicy", container, "imagePullPolicy");
}

static void convert_volumes_to_pod(struct convert *c, struct json *container)
{
	struct json *spec = json_sub(c->a, c->dst, "spec");

	json_for_each(it, json_at(c->src, "spec.volumes"))
	{
		struct str name = arena_str(c->a, json_str_at(it.val, "name"));
		struct json *v = str_empty(name) ? NULL : align_volume(c->a, ALIGN_VM, it.val);
		struct json *m, *disk, *ro;

		if (!v)
			continue;
		json_push(json_sub_array(c->a, spec, "volumes"), v);
		disk = json_find_by(json_at(c->src, "spec.domain.devices.disks"), "name", name);
		m = json_object(c->a);
		json_set_str(c->a, m, "name", name);
		json_set(c->a, m, "mountPath", json_strf(c->a, "/mnt/" STR_FMT, STR_ARG(name)));
		ro = take(c, disk, "disk.readonly");
		if (ro)
			json_set(c->a, m, "readOnly", ro);
		take(c, disk, "name");
		json_push(json_sub_array(c->a, container, "volumeMounts"), m);
	}
}

static void convert_ports_to_pod(struct convert *c, struct json *iface, struct json *container)
{
	json_for_each(it, json_get(iface, "ports"))
	{
		struct json *p = json_object(c->a);

		move(c, it.val, "name", p, "name");
		move(c, it.val, "port", p, "containerPort");
		move(c, it.val, "protocol", p, "protocol");
		json_push(json_sub_array(c->a, container, "ports"), p);
	}
}

static void add_network_request(struct convert *c, struct json *net, struct json *iface,
				struct json *list)
{
	struct str rest = arena_str(c->a, json_str_at(net, "multus.networkName")), ns = STR_EMPTY;
	struct json *e = json_object(c->a);

	if (str_find_char(rest, '/', 0) < rest.n)
		str_cut(&rest, '/', &ns);
	json_set_str(c->a, e, "name", rest);
	if (!str_empty(ns))
		json_set_str(c->a, e, "namespace", ns);
	move(c, iface, "macAddress", e, "mac");
	take(c, net, "multus.networkName");
	take(c, iface, "bridge");
	json_push(list, e);
}

static void convert_networks_to_pod(struct convert *c, struct json *container)
{
	struct json *list = json_array(c->a);

	json_for_each(it, json_at(c->src, "spec.networks"))
	{
		struct json *iface = json_find_by(json_at(c->src, "spec.domain.devices.interfaces"),
						  "name", json_str_at(it.val, "name"));

		if (json_get(it.val, "pod")) {
			convert_ports_to_pod(c, iface, container);
			take(c, it.val, "pod");
			take(c, iface, "masquerade");
		} else if (json_get(it.val, "multus")) {
			add_network_request(c, it.val, iface, list);
		} else {
			continue;
		}
		take(c, iface, "name");
		take(c, it.val, "name");
	}
	if (json_len(list))
		meta_set_annotation(c->a, c->dst, ANNO_NETWORKS, json_text(c->a, list));
}

/* The guest's memory and vCPUs are what the container would request. */
static void convert_size(struct convert *c, struct json *container)
{
	static const char *const topology[] = { "spec.domain.cpu.sockets", "spec.domain.cpu.cores",
						"spec.domain.cpu.threads" };
	int64_t vcpus = vmi_vcpus(c->src);
	struct json *guest;
	bool any = false;

	move(c, c->src, "spec.domain.resources.requests", container, "resources.requests");
	move(c, c->src, "spec.domain.resources.limits", container, "resources.limits");
	guest = take(c, c->src, "spec.domain.memory.guest");
	if (guest && !json_at(container, "resources.requests.memory"))
		json_set_at(c->a, container, "resources.requests.memory", guest);
	for (size_t i = 0; i < ARRAY_LEN(topology); i++)
		any |= take(c, c->src, topology[i]) != NULL;
	if (any && !json_at(container, "resources.requests.cpu"))
		json_set_at(c->a, container, "resources.requests.cpu",
			    json_strf(c->a, "%lld", (long long)vcpus));
}

static void vmi_to_pod(struct convert *c)
{
	struct json *container = json_object(c->a);

	convert_metadata(c);
	convert_rows(c, ALIGN_INSTANCE);
	convert_boot_disk(c, container);
	convert_size(c, container);
	convert_networks_to_pod(c, container);
	convert_volumes_to_pod(c, container);
	move(c, c->src, "spec.readinessProbe", container, "readinessProbe");
	move(c, c->src, "spec.livenessProbe", container, "livenessProbe");
	json_push(json_sub_array(c->a, json_sub(c->a, c->dst, "spec"), "containers"), container);
}

/* the pairs */

static void convert_instance(struct convert *c)
{
	if (c->from == ALIGN_POD)
		pod_to_vmi(c);
	else
		vmi_to_pod(c);
}

static void convert_replica_set(struct convert *c)
{
	struct json *template = json_at(c->src, "spec.template");
	struct convert inner = { c->a, c->from, template, json_object(c->a), c->notes };

	convert_metadata(c);
	convert_rows(c, ALIGN_REPLICA_SET);
	if (!template)
		return;
	convert_instance(&inner);
	/* a template of a ReplicaSet's Pods always restarts them */
	if (c->from == ALIGN_POD && str_eqz(json_str_at(template, "spec.restartPolicy"), "Always"))
		take(c, template, "spec.restartPolicy");
	json_set_at(c->a, c->dst, "spec.template", inner.dst);
}

static void convert_claim(struct convert *c)
{
	struct json *storage;

	convert_metadata(c);
	storage = c->from == ALIGN_VM ? take(c, c->src, "spec.storage") : NULL;
	if (storage)
		json_set_at(c->a, c->src, "spec.pvc", storage);
	convert_rows(c, ALIGN_CLAIM);
	if (c->from == ALIGN_POD)
		json_set_at(c->a, c->dst, "spec.source.blank", json_object(c->a));
	else
		take(c, c->src, "spec.source.blank");
}

static void (*const pairs[])(struct convert *c) = {
	[ALIGN_INSTANCE] = convert_instance,
	[ALIGN_REPLICA_SET] = convert_replica_set,
	[ALIGN_CLAIM] = convert_claim,
};

static bool find_pair(const struct json *obj, enum align_pair *ret_pair, enum align_side *ret_side)
{
	struct str kind = json_str_at(obj, "kind");

	for (size_t i = 0; i < ALIGN_PAIRS_N_; i++) {
		const struct align_kind *k = align_kind((enum align_pair)i);

		*ret_pair = (enum align_pair)i;
		*ret_side = str_eqz(kind, k->vm_kind) ? ALIGN_VM : ALIGN_POD;
		if (str_eqz(kind, k->vm_kind) || str_eqz(kind, k->pod_kind))
			return true;
	}
	return false;
}

struct err *convert_manifest(struct arena *a, const struct json *obj, struct json **ret,
			     struct json **ret_losses, struct json **ret_notes)
{
	struct convert c = { .a = a, .notes = json_array(a) };
	const struct align_kind *k;
	enum align_pair pair;
	bool to_pod;

	if (!find_pair(obj, &pair, &c.from))
		return err_new(
			ERR_INVALID,
			"kind '" STR_FMT "' has no counterpart: Pod, VirtualMachineInstance, "
			"ReplicaSet, VirtualMachineInstanceReplicaSet, PersistentVolumeClaim "
			"and DataVolume have",
			STR_ARG(json_str_at(obj, "kind")));
	k = align_kind(pair);
	to_pod = c.from == ALIGN_VM;
	c.src = json_copy(a, obj);
	c.dst = json_object(a);
	json_set_str(a, c.dst, "apiVersion", str_from(to_pod ? k->pod_api : k->vm_api));
	json_set_str(a, c.dst, "kind", str_from(to_pod ? k->pod_kind : k->vm_kind));
	json_delz(c.src, "apiVersion");
	json_delz(c.src, "kind");
	json_sub(a, c.dst, "metadata");
	json_sub(a, c.dst, "spec");
	pairs[pair](&c);
	*ret = c.dst;
	*ret_losses = json_array(a);
	*ret_notes = c.notes;
	convert_list_leaves(a, c.src, STR_EMPTY, *ret_losses);
	return NULL;
}
