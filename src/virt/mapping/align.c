/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/align.h"

#include "base/arena.h"
#include "json/json.h"

static const struct align_kind kinds[] = {
	[ALIGN_INSTANCE] = { "kubevirt.io/v1", "VirtualMachineInstance", "v1", "Pod" },
	[ALIGN_REPLICA_SET] = { "kubevirt.io/v1", "VirtualMachineInstanceReplicaSet", "apps/v1",
				"ReplicaSet" },
	[ALIGN_CLAIM] = { "cdi.kubevirt.io/v1beta1", "DataVolume", "v1", "PersistentVolumeClaim" },
};

static const struct align_row instance_rows[] = {
	{ "spec.nodeSelector", "spec.nodeSelector", true },
	{ "spec.affinity", "spec.affinity", true },
	{ "spec.tolerations", "spec.tolerations", true },
	{ "spec.topologySpreadConstraints", "spec.topologySpreadConstraints", true },
	{ "spec.schedulerName", "spec.schedulerName", true },
	{ "spec.priorityClassName", "spec.priorityClassName", true },
	{ "spec.serviceAccountName", "spec.serviceAccountName", true },
	{ "spec.subdomain", "spec.subdomain", true },
	{ "spec.dnsPolicy", "spec.dnsPolicy", true },
	{ "spec.dnsConfig", "spec.dnsConfig", true },
	{ "spec.resourceClaims", "spec.resourceClaims", true },
	/* rendered with changes by launcher-pod.c: defaults, margins, the launcher's own needs */
	{ "spec.hostname", "spec.hostname", false },
	{ "spec.terminationGracePeriodSeconds", "spec.terminationGracePeriodSeconds", false },
	{ NULL, NULL, false },
};

static const struct align_row replica_set_rows[] = {
	{ "spec.replicas", "spec.replicas", false },
	{ "spec.selector", "spec.selector", false },
	{ NULL, NULL, false },
};

static const struct align_row claim_rows[] = {
	{ "spec.pvc.accessModes", "spec.accessModes", false },
	{ "spec.pvc.dataSource", "spec.dataSource", false },
	{ "spec.pvc.dataSourceRef", "spec.dataSourceRef", false },
	{ "spec.pvc.resources", "spec.resources", false },
	{ "spec.pvc.selector", "spec.selector", false },
	{ "spec.pvc.storageClassName", "spec.storageClassName", false },
	{ "spec.pvc.volumeAttributesClassName", "spec.volumeAttributesClassName", false },
	{ "spec.pvc.volumeMode", "spec.volumeMode", false },
	{ "spec.pvc.volumeName", "spec.volumeName", false },
	{ NULL, NULL, false },
};

static const struct align_row *const rows[] = {
	[ALIGN_INSTANCE] = instance_rows,
	[ALIGN_REPLICA_SET] = replica_set_rows,
	[ALIGN_CLAIM] = claim_rows,
};

static const struct align_volume volumes[] = {
	{ "containerDisk",
	  "image",
	  { { "image", "reference" }, { "imagePullPolicy", "pullPolicy" } } },
	{ "persistentVolumeClaim",
	  "persistentVolumeClaim",
	  { { "claimName", "claimName" }, { "readOnly", "readOnly" } } },
	{ "dataVolume", "persistentVolumeClaim", { { "name", "claimName" } }, .one_way = true },
	{ "ephemeral",
	  "persistentVolumeClaim",
	  { { "persistentVolumeClaim.claimName", "claimName" } },
	  .one_way = true },
	{ "configMap", "configMap", { { "name", "name" }, { "optional", "optional" } } },
	{ "secret", "secret", { { "secretName", "secretName" }, { "optional", "optional" } } },
	{ "downwardAPI", "downwardAPI", { { "fields", "items" } } },
	{ "emptyDisk", "emptyDir", { { "capacity", "sizeLimit" } } },
	{ NULL, NULL, { { NULL, NULL } } },
};

const struct align_kind *align_kind(enum align_pair pair)
{
	return &kinds[pair];
}

const struct align_row *align_rows(enum align_pair pair)
{
	return rows[pair];
}

const struct align_volume *align_volumes(void)
{
	return volumes;
}

struct json *align_take(struct arena *a, struct json *obj, const char *dotted)
{
	struct str path = str_from(dotted), head;
	struct json *parent = obj, *v;

	while (str_find_char(path, '.', 0) < path.n) {
		str_cut(&path, '.', &head);
		parent = json_get_s(parent, head);
	}
	v = json_get_s(parent, path);
	if (!v)
		return NULL;
	v = json_copy(a, v);
	json_del(parent, path);
	return v;
}

void align_move(struct arena *a, const struct align_row *row, enum align_side from,
		struct json *src, struct json *dst)
{
	struct json *v = align_take(a, src, from == ALIGN_VM ? row->vm : row->pod);

	if (v)
		json_set_at(a, dst, from == ALIGN_VM ? row->pod : row->vm, v);
}

void align_render(struct arena *a, const struct json *vmi, struct json *pod)
{
	for (const struct align_row *r = instance_rows; r->vm; r++) {
		const struct json *v = r->render ? json_at(vmi, r->vm) : NULL;

		if (v)
			json_set_at(a, pod, r->pod, json_copy(a, v));
	}
}

static struct json *align_source(struct arena *a, const struct align_volume *row,
				 enum align_side from, struct json *source)
{
	struct json *out = json_object(a);

	for (const struct align_member *m = row->members; m->vm; m++) {
		struct json *v = align_take(a, source, from == ALIGN_VM ? m->vm : m->pod);

		if (v)
			json_set_at(a, out, from == ALIGN_VM ? m->pod : m->vm, v);
	}
	return out;
}

struct json *align_volume(struct arena *a, enum align_side from, struct json *src)
{
	for (const struct align_volume *row = volumes; row->vm; row++) {
		const char *here = from == ALIGN_VM ? row->vm : row->pod;
		const char *there = from == ALIGN_VM ? row->pod : row->vm;
		struct json *source = json_get(src, here), *out;

		if (!source || (row->one_way && from == ALIGN_POD))
			continue;
		out = json_object(a);
		json_set_str(a, out, "name", arena_str(a, json_str_at(src, "name")));
		json_set(a, out, there, align_source(a, row, from, source));
		json_delz(src, "name");
		return out;
	}
	return NULL;
}
