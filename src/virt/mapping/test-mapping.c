/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/buf.h"
#include "io/file.h"
#include "testkit/test.h"
#include "virt/mapping/launcher-pod.h"
#include "virt/mapping/vmi.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static const char vmi_text[] =
	"{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"1234\","
	"\"labels\":{\"app\":\"web\"},\"annotations\":{\"a\":\"b\","
	"\"kubectl.kubernetes.io/last-applied-configuration\":\"{}\"}},"
	"\"spec\":{\"architecture\":\"amd64\",\"nodeSelector\":{\"disk\":\"ssd\"},"
	"\"terminationGracePeriodSeconds\":10,\"tolerations\":[{\"operator\":\"Exists\"}],"
	"\"domain\":{\"machine\":{\"type\":\"q35\"},\"cpu\":{\"sockets\":2,\"cores\":1,\"threads\":"
	"1,"
	"\"model\":\"host-model\"},\"memory\":{\"guest\":\"128Mi\"},"
	"\"firmware\":{\"kernelBoot\":{\"container\":{\"image\":\"k:1\",\"kernelPath\":\"/"
	"vmlinuz\"}}},"
	"\"devices\":{\"interfaces\":[{\"name\":\"default\",\"masquerade\":{},"
	"\"ports\":[{\"port\":80}]},{\"name\":\"blue\",\"bridge\":{},\"macAddress\":\"02:00:00:00:"
	"00:01\"}]}},"
	"\"networks\":[{\"name\":\"default\",\"pod\":{}},"
	"{\"name\":\"blue\",\"multus\":{\"networkName\":\"nets/blue\"}}],"
	"\"volumes\":[{\"name\":\"root\",\"containerDisk\":{\"image\":\"disk:1\","
	"\"imagePullSecret\":\"s\"}},"
	"{\"name\":\"data\",\"persistentVolumeClaim\":{\"claimName\":\"pvc\"}},"
	"{\"name\":\"raw\",\"dataVolume\":{\"name\":\"dv\"}},"
	"{\"name\":\"scratch\",\"emptyDisk\":{\"capacity\":\"1Gi\"}},"
	"{\"name\":\"init\",\"cloudInitNoCloud\":{\"secretRef\":{\"name\":\"ci\"}}}]}}";

/* The golden file beside this one; UPDATE_GOLDEN=1 rewrites it. */
static struct json *golden(struct arena *a, const struct json *got)
{
	static const char path[] = __FILE__;
	struct str dir = str_sub(str_from(path), 0, sizeof(path) - sizeof("test-mapping.c"));
	struct str file = arena_fmt(a, STR_FMT "golden-launcher-pod.json", STR_ARG(dir));
	_cleanup_buf_ struct buf b = { 0 };
	struct str text = STR_EMPTY;

	if (getenv("UPDATE_GOLDEN")) {
		json_write_pretty(&b, got);
		buf_addc(&b, '\n');
		assert_no_err(file_write_atomic(file.p, buf_str(&b), 0644));
	}
	assert_no_err(file_read(a, file.p, 1 << 20, &text));
	return parse(a, arena_strz(a, text));
}

TEST(launcher_pod_golden)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct launcher_pod_opts opts = { .costs = { .use_emulation = true },
					  .block_claims = parse(a, "{\"dv\":true}") };
	struct json *pod = launcher_pod_render(a, parse(a, vmi_text), &opts);

	if (!json_equal(pod, golden(a, pod)))
		fail_msg("%.*s", STR_ARG(json_text(a, pod)));
}

TEST(kvm_is_requested_without_emulation)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct launcher_pod_opts opts = { .image = STR("img") };
	struct json *pod = launcher_pod_render(a, parse(a, vmi_text), &opts);
	struct json *c = json_idx(json_at(pod, "spec.containers"), 0);
	struct json *limits = json_at(c, "resources.limits");

	assert_str(json_as_str(json_get(limits, "devices.kubevirt.io/kvm")), "1");
	assert_str(json_as_str(json_get(limits, "devices.kubevirt.io/tun")), "1");
	assert_str(json_str_at(c, "image"), "img");
}

TEST(resources)
{
	static const struct {
		const char *domain, *cpu, *memory, *limit;
	} rows[] = {
		/* 16+50+8+8+32 MiB of overhead for one vCPU with graphics */
		{ "{\"memory\":{\"guest\":\"1Gi\"}}", "100m", "1138Mi", "" },
		{ "{\"cpu\":{\"cores\":4},\"memory\":{\"guest\":\"1Gi\"}}", "400m", "1162Mi", "" },
		/* page tables: 1 GiB / 512 = 2 MiB, only for what the VMI itself requests */
		{ "{\"resources\":{\"requests\":{\"memory\":\"1Gi\",\"cpu\":\"250m\"}}}", "250m",
		  "1140Mi", "" },
		{ "{\"resources\":{\"limits\":{\"memory\":\"1Gi\"}}}", "100m", "1138Mi", "1138Mi" },
		{ "{\"resources\":{\"requests\":{\"memory\":\"1Gi\"},"
		  "\"overcommitGuestOverhead\":true}}",
		  "100m", "1Gi", "" },
		{ "{\"devices\":{\"autoattachGraphicsDevice\":false},\"memory\":{\"guest\":"
		  "\"64Mi\"}}",
		  "100m", "146Mi", "" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *vmi = json_object(a), *r;
		struct virt_costs costs = { 0 };

		json_set_at(a, vmi, "spec.domain", parse(a, rows[i].domain));
		r = vmi_container_resources(a, vmi, &costs);
		assert_str(json_str_at(r, "requests.cpu"), rows[i].cpu);
		assert_str(json_str_at(r, "requests.memory"), rows[i].memory);
		assert_str(json_str_at(r, "limits.memory"), rows[i].limit);
	}
}

TEST(names)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vmi = parse(a, "{\"metadata\":{\"name\":\"a.b\"},\"spec\":{}}");

	assert_str(vmi_hostname(a, vmi), "a");
	assert_str(vmi_id_label(a, STR("short")), "short");
	assert_int_equal(
		vmi_id_label(
			a, STR("a123456789a123456789a123456789a123456789a123456789a1234567890123"))
			.n,
		63);
	assert_str(vm_firmware_uuid(a, STR("testvm")), "5a9fc181-957e-5c32-9e5a-2de5e9673531");
}

TEST_MAIN(T(launcher_pod_golden), T(kvm_is_requested_without_emulation), T(resources), T(names))
