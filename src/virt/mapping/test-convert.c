/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"
#include "virt/mapping/convert.h"
#include "json/json.h"
#include "json/yaml.h"

struct result {
	struct json *obj, *losses, *notes;
};

static struct result convert(struct arena *a, const struct json *in)
{
	struct result r = { 0 };

	assert_no_err(convert_manifest(a, in, &r.obj, &r.losses, &r.notes));
	return r;
}

static struct json *yaml(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(yaml_parse(a, str_from(text), &v));
	return v;
}

static bool lost(const struct result *r, const char *path)
{
	json_for_each(it, r->losses)
	{
		if (str_eqz(json_as_str(it.val), path))
			return true;
	}
	return false;
}

static const char pod[] = "apiVersion: v1\n"
			  "kind: Pod\n"
			  "metadata: {name: web, labels: {app: web}, annotations: "
			  "{k8s.v1.cni.cncf.io/networks: 'blue, red/green'}}\n"
			  "spec:\n"
			  "  nodeSelector: {disk: ssd}\n"
			  "  terminationGracePeriodSeconds: 5\n"
			  "  containers:\n"
			  "  - name: main\n"
			  "    image: registry/app:1\n"
			  "    command: [httpd, -f]\n"
			  "    ports: [{name: http, containerPort: 80}]\n"
			  "    resources: {requests: {memory: 64Mi, cpu: 100m}}\n"
			  "    volumeMounts: [{name: data, mountPath: /data, readOnly: true}]\n"
			  "  volumes:\n"
			  "  - {name: data, persistentVolumeClaim: {claimName: shared}}\n"
			  "  - {name: host, hostPath: {path: /etc}}\n";

TEST(pod_becomes_vmi)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct result r = convert(a, yaml(a, pod));
	struct json *want =
		yaml(a, "apiVersion: kubevirt.io/v1\n"
			"kind: VirtualMachineInstance\n"
			"metadata: {name: web, labels: {app: web}, annotations: {}}\n"
			"spec:\n"
			"  nodeSelector: {disk: ssd}\n"
			"  terminationGracePeriodSeconds: 5\n"
			"  domain:\n"
			"    devices:\n"
			"      disks:\n"
			"      - {name: main, disk: {bus: virtio}}\n"
			"      - {name: data, disk: {bus: virtio, readonly: true}}\n"
			"      interfaces:\n"
			"      - {name: default, masquerade: {}, ports: [{name: http, port: 80}]}\n"
			"      - {name: net1, bridge: {}}\n"
			"      - {name: net2, bridge: {}}\n"
			"    resources: {requests: {memory: 64Mi, cpu: 100m}}\n"
			"  networks:\n"
			"  - {name: default, pod: {}}\n"
			"  - {name: net1, multus: {networkName: blue}}\n"
			"  - {name: net2, multus: {networkName: red/green}}\n"
			"  volumes:\n"
			"  - {name: main, containerDisk: {image: 'registry/app:1'}}\n"
			"  - {name: data, persistentVolumeClaim: {claimName: shared}}\n");

	if (!json_equal(r.obj, want))
		fail_msg("%.*s", STR_ARG(json_text(a, r.obj)));
	assert_true(lost(&r, "spec.containers[0].command"));
	assert_true(lost(&r, "spec.containers[0].volumeMounts[0].mountPath"));
	assert_true(lost(&r, "spec.volumes[1].hostPath.path"));
	assert_int_equal(json_len(r.notes), 0);
}

/* There and back: what is not the same any more was told on the way. */
TEST(pod_round_trip)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *in = yaml(a, pod), *before = json_array(a), *after = json_array(a);
	struct result there = convert(a, in), back = convert(a, there.obj);

	assert_str(json_str_at(json_idx(json_at(back.obj, "spec.containers"), 0), "image"),
		   "registry/app:1");
	convert_list_leaves(a, in, STR_EMPTY, before);
	convert_list_leaves(a, back.obj, STR_EMPTY, after);
	json_for_each(it, before)
	{
		struct result all = { .losses = after };

		if (lost(&all, arena_strz(a, json_as_str(it.val))) ||
		    lost(&there, arena_strz(a, json_as_str(it.val))))
			continue;
		if (str_has_prefix(json_as_str(it.val), STR("spec.volumes[1]")))
			continue; /* its index is another one by then; its source was told */
		fail_msg("lost unsaid: %.*s", STR_ARG(json_as_str(it.val)));
	}
}

static const char vmi[] =
	"apiVersion: kubevirt.io/v1\n"
	"kind: VirtualMachineInstance\n"
	"metadata: {name: vm, uid: x}\n"
	"spec:\n"
	"  hostname: box\n"
	"  tolerations: [{operator: Exists}]\n"
	"  domain:\n"
	"    cpu: {cores: 2}\n"
	"    memory: {guest: 128Mi}\n"
	"    firmware: {kernelBoot: {kernelArgs: quiet}}\n"
	"    devices:\n"
	"      disks: [{name: extra, disk: {}}, {name: root, bootOrder: 1, disk: {}}]\n"
	"      interfaces: [{name: default, masquerade: {}}, {name: b, bridge: {}, macAddress: "
	"m}]\n"
	"  networks: [{name: default, pod: {}}, {name: b, multus: {networkName: ns/blue}}]\n"
	"  volumes:\n"
	"  - {name: extra, containerDisk: {image: 'x:1'}}\n"
	"  - {name: root, containerDisk: {image: 'os:1'}}\n"
	"  - {name: scratch, emptyDisk: {capacity: 1Gi}}\n"
	"  - {name: ci, cloudInitNoCloud: {userData: hi}}\n"
	"status: {phase: Running}\n";

TEST(vmi_becomes_pod)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct result r = convert(a, yaml(a, vmi));
	struct json *c = json_idx(json_at(r.obj, "spec.containers"), 0);

	assert_str(json_str_at(r.obj, "spec.hostname"), "box");
	assert_str(json_str_at(c, "name"), "root");
	assert_str(json_str_at(c, "image"), "os:1");
	assert_str(json_str_at(c, "resources.requests.cpu"), "2");
	assert_str(json_str_at(c, "resources.requests.memory"), "128Mi");
	assert_str(json_as_str(json_path(r.obj, "metadata", "annotations",
					 "k8s.v1.cni.cncf.io/networks", NULL)),
		   "[{\"name\":\"blue\",\"namespace\":\"ns\",\"mac\":\"m\"}]");
	assert_int_equal(json_len(json_at(r.obj, "spec.volumes")), 2);
	assert_true(lost(&r, "spec.domain.firmware.kernelBoot.kernelArgs"));
	assert_true(lost(&r, "spec.volumes[3].cloudInitNoCloud.userData"));
	assert_false(lost(&r, "status.phase"));
}

TEST(replica_sets)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *rs = yaml(a, "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: w}\n"
				  "spec: {replicas: 3, minReadySeconds: 4, selector: {matchLabels: "
				  "{a: b}}, template: {metadata: {labels: {a: b}}, spec: "
				  "{containers: [{name: c, image: i, resources: {limits: {memory: "
				  "64Mi}}}]}}}\n");
	struct result there = convert(a, rs), back = convert(a, there.obj);

	assert_str(json_str_at(there.obj, "kind"), "VirtualMachineInstanceReplicaSet");
	assert_int_equal(json_int_at(there.obj, "spec.replicas", 0), 3);
	assert_true(lost(&there, "spec.minReadySeconds"));
	assert_int_equal(json_len(there.losses), 1);
	assert_str(json_str_at(back.obj, "apiVersion"), "apps/v1");
	assert_true(json_equal(json_at(rs, "spec.selector"), json_at(back.obj, "spec.selector")));
	assert_true(json_equal(json_at(rs, "spec.template.metadata"),
			       json_at(back.obj, "spec.template.metadata")));
	assert_true(json_equal(json_at(rs, "spec.template.spec.containers"),
			       json_at(back.obj, "spec.template.spec.containers")));
}

TEST(claims)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pvc =
		yaml(a, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: d}\n"
			"spec: {accessModes: [ReadWriteOnce], storageClassName: local, "
			"resources: {requests: {storage: 1Gi}}}\n");
	struct json *dv = yaml(a, "apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataVolume\n"
				  "metadata: {name: d}\nspec: {source: {http: {url: 'http://x/'}}, "
				  "storage: {resources: {requests: {storage: 2Gi}}}}\n");
	struct result there = convert(a, pvc), back = convert(a, there.obj), down = convert(a, dv);

	assert_non_null(json_at(there.obj, "spec.source.blank"));
	assert_int_equal(json_len(there.losses), 0);
	assert_int_equal(json_len(back.losses), 0);
	assert_true(json_equal(pvc, back.obj));
	assert_str(json_str_at(down.obj, "spec.resources.requests.storage"), "2Gi");
	assert_true(lost(&down, "spec.source.http.url"));
}

TEST(other_kinds_are_refused)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct result r = { 0 };

	assert_err(convert_manifest(a, yaml(a, "kind: Service"), &r.obj, &r.losses, &r.notes),
		   ERR_INVALID);
}

TEST_MAIN(T(pod_becomes_vmi), T(pod_round_trip), T(vmi_becomes_pod), T(replica_sets), T(claims),
	  T(other_kinds_are_refused))
