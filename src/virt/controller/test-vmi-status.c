/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "testkit/test.h"
#include "virt/controller/vm-instance.h"
#include "virt/controller/vmi-status.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define VMI(p) "{\"metadata\":{\"name\":\"a\"},\"spec\":{},\"status\":{\"phase\":\"" p "\"}}"
#define VMI_DELETED(p)                                                                \
	"{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{}," \
	"\"status\":{\"phase\":\"" p "\"}}"
#define POD(p, rest)                                                                   \
	"{\"metadata\":{\"uid\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{" \
	"\"image\":\"i\"}]},\"status\":{\"phase\":\"" p "\"" rest "}}"
#define COMPUTE(state) ",\"containerStatuses\":[{\"name\":\"compute\",\"state\":{" state "}}]"
#define POD_PENDING    POD("Pending", "")
#define POD_STARTED    POD("Running", COMPUTE("\"running\":{}"))
#define POD_CREATING   POD("Pending", COMPUTE("\"waiting\":{\"reason\":\"ContainerCreating\"}"))
#define POD_NO_IMAGE                                                       \
	POD("Pending", COMPUTE("\"waiting\":{\"reason\":\"ErrImagePull\"," \
			       "\"message\":\"m\"}"))
#define POD_SIDECAR                                                                      \
	POD("Running",                                                                   \
	    ",\"containerStatuses\":[{\"name\":\"compute\",\"state\":{\"running\":{}}}," \
	    "{\"name\":\"log\",\"ready\":false}]")
#define POD_FAILED POD("Failed", "")
#define POD_GONE   NULL
#define POD_ENDED \
	POD("Succeeded", COMPUTE("\"terminated\":{\"finishedAt\":\"2026-01-01T00:00:00Z\"}"))

TEST(phases)
{
	static const struct {
		const char *vmi, *pod;
		bool dv_failed;
		const char *phase, *ready;
	} rows[] = {
		{ VMI(""), POD_GONE, false, "Pending", "PodNotExists" },
		{ VMI("Pending"), POD_GONE, false, "Pending", "PodNotExists" },
		{ VMI("Pending"), POD_GONE, true, "Failed", "PodNotExists" },
		{ VMI("Pending"), POD_PENDING, false, "Scheduling", "GuestNotRunning" },
		{ VMI_DELETED("Pending"), POD_GONE, false, "Failed", "PodNotExists" },
		{ VMI("Scheduling"), POD_CREATING, false, "Scheduling", "GuestNotRunning" },
		{ VMI("Scheduling"), POD_SIDECAR, false, "Scheduling", "GuestNotRunning" },
		{ VMI("Scheduling"), POD_STARTED, false, "Scheduled", "GuestNotRunning" },
		{ VMI_DELETED("Scheduling"), POD_STARTED, false, "Scheduling", "GuestNotRunning" },
		{ VMI("Scheduling"), POD_FAILED, false, "Failed", "PodNotExists" },
		{ VMI("Scheduling"), POD_GONE, false, "Failed", "PodNotExists" },
		{ VMI("Scheduled"), POD_GONE, false, "Failed", "PodNotExists" },
		{ VMI("Running"), POD_STARTED, false, "Running", "PodConditionMissing" },
		{ VMI("Running"), POD_GONE, false, "Failed", "PodNotExists" },
		/* virt-handler has a while to say how the guest ended */
		{ VMI("Running"), POD_ENDED, false, "Running", "PodTerminating" },
		{ VMI("Succeeded"), POD_ENDED, false, "Succeeded", "PodNotExists" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct wall now;

	assert_true(wall_parse(STR("2026-01-01T00:00:05Z"), &now));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *vmi = parse(a, rows[i].vmi);
		struct vmi_world w = { .pod = rows[i].pod ? parse(a, rows[i].pod) : NULL,
				       .datavolume_failed = rows[i].dv_failed,
				       .now = now };

		vmi_status_update(a, &w, vmi);
		if (!str_eqz(json_str_at(vmi, "status.phase"), rows[i].phase))
			fail_msg("row %zu: %.*s", i, STR_ARG(json_str_at(vmi, "status.phase")));
		assert_str(json_str_at(condition_find(json_get(vmi, "status"), "Ready"), "reason"),
			   rows[i].ready);
	}
}

TEST(silence_of_the_handler_ends)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vmi = parse(a, VMI("Running"));
	struct vmi_world w = { .pod = parse(a, POD_ENDED) };

	assert_true(wall_parse(STR("2026-01-01T00:01:00Z"), &w.now));
	vmi_status_update(a, &w, vmi);
	assert_str(json_str_at(vmi, "status.phase"), "Failed");
}

TEST(hand_over)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vmi = parse(a, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"networks\":[{"
				    "\"name\":\"d\",\"pod\":{}}],"
				    "\"domain\":{\"devices\":{\"interfaces\":[{\"name\":\"d\"}]}},"
				    "\"volumes\":[{\"name\":"
				    "\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]},"
				    "\"status\":{\"phase\":\"Scheduling\"}}");
	struct json *claims = parse(a, "{\"c\":{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],"
				       "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}");
	struct vmi_world w = {
		.pod = parse(a, POD("Running", ",\"podIP\":\"10.0.0.7\",\"podIPs\":[{"
					       "\"ip\":\"10.0.0.7\"}]" COMPUTE("\"running\":{}"))),
		.claims = claims
	};
	const struct json *iface, *volume;

	vmi_status_update(a, &w, vmi);
	iface = json_idx(json_at(vmi, "status.interfaces"), 0);
	volume = json_idx(json_at(vmi, "status.volumeStatus"), 0);
	assert_str(json_str_at(vmi, "status.nodeName"), "n");
	assert_str(meta_label(vmi, "kubevirt.io/nodeName"), "n");
	assert_str(json_str_at(vmi, "status.activePods.p"), "n");
	assert_str(json_str_at(iface, "ipAddress"), "10.0.0.7");
	assert_str(json_str_at(iface, "podInterfaceName"), "eth0");
	assert_str(json_str_at(volume, "persistentVolumeClaimInfo.claimName"), "c");
}

TEST(reasons_come_and_go)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vmi = parse(a, VMI("Scheduling")), *st = json_get(vmi, "status");
	struct vmi_world w = { .pod = parse(a, POD_NO_IMAGE) };

	vmi_status_update(a, &w, vmi);
	assert_str(json_str_at(condition_find(st, "Synchronized"), "reason"), "ErrImagePull");
	w.pod = parse(a, POD_CREATING);
	vmi_status_update(a, &w, vmi);
	assert_null(condition_find(st, "Synchronized"));

	vmi = parse(a, VMI("Pending"));
	st = json_get(vmi, "status");
	w = (struct vmi_world){ .sync_reason = "FailedPvcNotFound", .sync_message = STR("gone") };
	vmi_status_update(a, &w, vmi);
	assert_str(json_str_at(condition_find(st, "Synchronized"), "reason"), "FailedPvcNotFound");
	assert_str(json_str_at(condition_find(st, "PodScheduled"), "reason"), "Unschedulable");
}

TEST(finalizers_are_let_go)
{
	static const char text[] =
		"{\"metadata\":{\"finalizers\":[\"kubevirt.io/foregroundDeleteVirtualMachine\","
		"\"kubevirt.io/virtualMachineControllerFinalize\"]},\"status\":{\"phase\":"
		"\"Failed\"}}";
	_cleanup_arena_ struct arena *a = arena_new();
	struct vmi_world w = { .pods_left = true };
	struct json *vmi = parse(a, text);

	vmi_status_update(a, &w, vmi);
	assert_int_equal(json_len(json_at(vmi, "metadata.finalizers")), 2);
	w.pods_left = false;
	vmi_status_update(a, &w, vmi);
	assert_int_equal(json_len(json_at(vmi, "metadata.finalizers")), 1);
	w.owner_gone = true;
	vmi_status_update(a, &w, vmi);
	assert_int_equal(json_len(json_at(vmi, "metadata.finalizers")), 0);
}

TEST(instances)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vm = parse(
		a,
		"{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"generation\":4},"
		"\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{"
		"\"volumes\":"
		"[{\"name\":\"v\"}],\"domain\":{}}}},\"status\":{\"stateChangeRequests\":[{"
		"\"action\":"
		"\"Start\",\"data\":{\"paused\":\"true\"}}]}}");
	struct json *vmi = vm_make_instance(a, vm);

	assert_str(meta_name(vmi), "a");
	assert_str(meta_label(vmi, "x"), "y");
	assert_str(meta_annotation(vmi, "kubevirt.io/vm-generation"), "4");
	assert_true(meta_controlled_by(vmi, STR("u")));
	assert_str(json_str_at(vmi, "spec.startStrategy"), "Paused");
	assert_str(json_str_at(json_idx(json_at(vmi, "spec.domain.devices.disks"), 0), "name"),
		   "v");
	assert_str(json_str_at(vmi, "status.virtualMachineRevisionName"), "revision-start-vm-u-4");
	assert_str(meta_name(vm_make_revision(a, vm)), "revision-start-vm-u-4");
}

TEST_MAIN(T(phases), T(silence_of_the_handler_ends), T(hand_over), T(reasons_come_and_go),
	  T(finalizers_are_let_go), T(instances))
