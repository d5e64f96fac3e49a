/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/resources.h"

#include "api/quantity.h"
#include "base/arena.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

#define MIB (INT64_C(1) << 20)

/*
 * Upstream reserves 190 MiB for its monitor, launcher, virtlogd and virtqemud; our launcher speaks
 * QMP to QEMU itself, so one small process is all there is beside QEMU.
 */
#define OVERHEAD_LAUNCHER (16 * MIB)
#define OVERHEAD_QEMU     (50 * MIB)
#define OVERHEAD_IOTHREAD (8 * MIB)
#define OVERHEAD_VCPU     (8 * MIB)
#define OVERHEAD_GRAPHICS (32 * MIB)
#define OVERHEAD_ARM64    (128 * MIB)
#define OVERHEAD_VFIO     (1024 * MIB)
#define OVERHEAD_TPM      (53 * MIB)
/* TCG's translation buffer. */
#define OVERHEAD_EMULATION (64 * MIB)

static bool find_quantity(const struct json *vmi, const char *path, struct quantity *ret)
{
	const struct json *v = json_at(vmi, path);

	if (json_is(v, JSON_INT)) {
		*ret = quantity_from_value(json_as_int(v, 0), QUANTITY_DECIMAL_SI);
		return true;
	}
	return v && quantity_parse(json_as_str(v), ret);
}

int64_t vmi_memory_overhead(const struct json *vmi, bool use_emulation)
{
	struct quantity request;
	int64_t sum = OVERHEAD_LAUNCHER + OVERHEAD_QEMU + OVERHEAD_IOTHREAD;
	const struct json *tpm = json_at(vmi, "spec.domain.devices.tpm");

	/* page tables: 8 bytes per 4 KiB of what the VMI itself requests, as upstream reads it */
	if (find_quantity(vmi, "spec.domain.resources.requests.memory", &request))
		sum += (quantity_value(request) + 1023) / 1024 * 1024 / 512;
	sum += OVERHEAD_VCPU * vmi_vcpus(vmi);
	if (json_bool_at(vmi, "spec.domain.devices.autoattachGraphicsDevice", true))
		sum += OVERHEAD_GRAPHICS;
	if (str_eqz(json_str_at(vmi, "spec.architecture"), "arm64"))
		sum += OVERHEAD_ARM64;
	if (json_len(json_at(vmi, "spec.domain.devices.hostDevices")) ||
	    json_len(json_at(vmi, "spec.domain.devices.gpus")))
		sum += OVERHEAD_VFIO;
	if (tpm && json_bool_at(tpm, "enabled", true))
		sum += OVERHEAD_TPM;
	if (use_emulation)
		sum += OVERHEAD_EMULATION;
	return sum;
}

/* The VMI's request, else its limit, else the guest's memory or huge page under overcommit. */
static bool memory_request(const struct json *vmi, int64_t overcommit, struct quantity *ret)
{
	if (find_quantity(vmi, "spec.domain.resources.requests.memory", ret) ||
	    find_quantity(vmi, "spec.domain.resources.limits.memory", ret))
		return true;
	if (!find_quantity(vmi, "spec.domain.memory.guest", ret) &&
	    !find_quantity(vmi, "spec.domain.memory.hugepages.pageSize", ret))
		return false;
	if (overcommit != 100)
		*ret = quantity_from_value(quantity_value(*ret) * 100 / overcommit, ret->format);
	return true;
}

static void set_quantity(struct arena *a, struct json *obj, const char *key, struct quantity q)
{
	json_set_str(a, obj, key, quantity_text(a, q));
}

static void add_memory(struct arena *a, const struct json *vmi, const struct virt_costs *c,
		       struct json *requests, struct json *limits)
{
	int64_t bytes = vmi_memory_overhead(vmi, c->use_emulation);
	struct quantity overhead = quantity_from_value(bytes, QUANTITY_BINARY_SI), q, guest;
	struct str page = json_str_at(vmi, "spec.domain.memory.hugepages.pageSize");
	bool hide = json_bool_at(vmi, "spec.domain.resources.overcommitGuestOverhead", false);

	if (!memory_request(vmi, c->memory_overcommit ? c->memory_overcommit : 100, &q))
		return;
	if (!str_empty(page)) {
		struct str key = arena_fmt(a, "hugepages-" STR_FMT, STR_ARG(page));

		if (!find_quantity(vmi, "spec.domain.memory.guest", &guest) ||
		    quantity_cmp(guest, q) > 0)
			guest = q;
		json_set_s(a, requests, key, json_str(a, quantity_text(a, guest)));
		json_set_s(a, limits, key, json_str(a, quantity_text(a, guest)));
		set_quantity(a, requests, "memory", quantity_add(quantity_sub(q, guest), overhead));
		return;
	}
	set_quantity(a, requests, "memory", hide ? q : quantity_add(q, overhead));
	if (find_quantity(vmi, "spec.domain.resources.limits.memory", &q))
		set_quantity(a, limits, "memory", quantity_add(q, overhead));
}

static void add_cpu(struct arena *a, const struct json *vmi, const struct virt_costs *c,
		    struct json *requests, struct json *limits)
{
	int64_t ratio = c->cpu_allocation_ratio ? c->cpu_allocation_ratio : 10;
	int64_t vcpus = vmi_vcpus(vmi);
	struct quantity q;

	if (json_bool_at(vmi, "spec.domain.cpu.dedicatedCpuPlacement", false)) {
		q = quantity_from_value(vcpus, QUANTITY_DECIMAL_SI);
		set_quantity(a, requests, "cpu", q);
		set_quantity(a, limits, "cpu", q);
		return;
	}
	if (!find_quantity(vmi, "spec.domain.resources.requests.cpu", &q))
		q = quantity_from_milli(vcpus * 1000 / ratio, QUANTITY_DECIMAL_SI);
	set_quantity(a, requests, "cpu", q);
	if (find_quantity(vmi, "spec.domain.resources.limits.cpu", &q))
		set_quantity(a, limits, "cpu", q);
}

static void add_device(struct arena *a, const char *name, struct json *requests,
		       struct json *limits)
{
	json_set_str(a, requests, name, STR("1"));
	json_set_str(a, limits, name, STR("1"));
}

struct json *vmi_container_resources(struct arena *a, const struct json *vmi,
				     const struct virt_costs *costs)
{
	struct json *out = json_object(a);
	struct json *limits = json_object(a), *requests = json_object(a);

	add_cpu(a, vmi, costs, requests, limits);
	add_memory(a, vmi, costs, requests, limits);
	json_set_str(a, requests, "ephemeral-storage", STR("50M"));
	if (!costs->use_emulation)
		add_device(a, RESOURCE_KVM, requests, limits);
	if (json_len(json_at(vmi, "spec.domain.devices.interfaces")))
		add_device(a, RESOURCE_TUN, requests, limits);
	if (json_len(limits))
		json_set(a, out, "limits", limits);
	json_set(a, out, "requests", requests);
	return out;
}
