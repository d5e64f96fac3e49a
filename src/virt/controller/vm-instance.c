/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/controller/vm-instance.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

static int64_t generation(const struct json *vm)
{
	return json_int_at(vm, "metadata.generation", 0);
}

struct str vm_revision_name(struct arena *a, const struct json *vm, int64_t gen)
{
	return arena_fmt(a, "revision-start-vm-" STR_FMT "-%lld", STR_ARG(meta_uid(vm)),
			 (long long)gen);
}

/* Every volume reaches the guest: one without a disk or file system gets a disk of its name. */
static void add_missing_disks(struct arena *a, struct json *spec)
{
	struct json *devices = json_sub(a, json_sub(a, spec, "domain"), "devices");

	json_for_each(it, json_get(spec, "volumes"))
	{
		struct str name = json_str_at(it.val, "name");
		struct json *disk;

		if (json_find_by(json_get(devices, "disks"), "name", name) ||
		    json_find_by(json_get(devices, "filesystems"), "name", name))
			continue;
		disk = json_object(a);
		json_set_str(a, disk, "name", name);
		json_push(json_sub_array(a, devices, "disks"), disk);
	}
}

static void add_input(struct arena *a, struct json *spec)
{
	struct json *devices = json_sub(a, json_sub(a, spec, "domain"), "devices"), *input;

	if (!json_bool_at(devices, "autoattachInputDevice", false) ||
	    json_len(json_get(devices, "inputs")))
		return;
	input = json_object(a);
	json_set_str(a, input, "name", STR("default-0"));
	json_set_str(a, input, "bus", STR("usb"));
	json_set_str(a, input, "type", STR("tablet"));
	json_push(json_sub_array(a, devices, "inputs"), input);
}

static bool starts_paused(const struct json *vm)
{
	const struct json *r = json_idx(json_at(vm, "status.stateChangeRequests"), 0);

	return str_eqz(json_str_at(r, "action"), "Start") &&
	       str_eqz(json_str_at(r, "data.paused"), "true");
}

static void add_metadata(struct arena *a, const struct json *vm, struct json *vmi)
{
	static const char *const copied[] = { "labels", "annotations" };
	struct json *meta = json_sub(a, vmi, "metadata");

	json_set_str(a, meta, "name", meta_name(vm));
	json_set_str(a, meta, "namespace", meta_namespace(vm));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		const struct json *v = json_get(json_at(vm, "spec.template.metadata"), copied[i]);

		if (json_is(v, JSON_OBJECT))
			json_set(a, meta, copied[i], json_copy(a, v));
	}
	json_set(a, json_sub(a, meta, "annotations"), ANNO_VM_GENERATION,
		 json_strf(a, "%lld", (long long)generation(vm)));
	meta_add_finalizer(a, vmi, STR(FINALIZER_VM));
	meta_set_controller(a, vmi, vm, STR(VIRT_API_VERSION), STR("VirtualMachine"));
}

struct json *vm_make_instance(struct arena *a, const struct json *vm)
{
	struct json *vmi = json_object(a), *spec;
	const struct json *template = json_at(vm, "spec.template.spec");

	json_set_str(a, vmi, "apiVersion", STR(VIRT_API_VERSION));
	json_set_str(a, vmi, "kind", STR("VirtualMachineInstance"));
	add_metadata(a, vm, vmi);
	spec = template ? json_copy(a, template) : json_object(a);
	json_set(a, vmi, "spec", spec);
	add_missing_disks(a, spec);
	add_input(a, spec);
	if (str_empty(json_str_at(spec, "domain.firmware.uuid")))
		json_set_at(a, spec, "domain.firmware.uuid",
			    json_str(a, vm_firmware_uuid(a, meta_name(vm))));
	if (starts_paused(vm))
		json_set_str(a, spec, "startStrategy", STR("Paused"));
	json_set_at(a, vmi, "status.virtualMachineRevisionName",
		    json_str(a, vm_revision_name(a, vm, generation(vm))));
	return vmi;
}

struct json *vm_make_revision(struct arena *a, const struct json *vm)
{
	struct json *rev = json_object(a), *meta = json_sub(a, rev, "metadata");

	json_set_str(a, rev, "apiVersion", STR("apps/v1"));
	json_set_str(a, rev, "kind", STR("ControllerRevision"));
	json_set_str(a, meta, "name", vm_revision_name(a, vm, generation(vm)));
	json_set_str(a, meta, "namespace", meta_namespace(vm));
	meta_set_controller(a, rev, vm, STR(VIRT_API_VERSION), STR("VirtualMachine"));
	json_set_at(a, rev, "data.spec", json_copy(a, json_get(vm, "spec")));
	json_set_int(a, rev, "revision", generation(vm));
	return rev;
}

struct json *vm_make_datavolume(struct arena *a, const struct json *vm, const struct json *template)
{
	static const char *const copied[] = { "labels", "annotations" };
	struct json *dv = json_object(a), *meta = json_sub(a, dv, "metadata");

	json_set_str(a, dv, "apiVersion", STR("cdi.kubevirt.io/v1beta1"));
	json_set_str(a, dv, "kind", STR("DataVolume"));
	json_set_str(a, meta, "name", json_str_at(template, "metadata.name"));
	json_set_str(a, meta, "namespace", meta_namespace(vm));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), copied[i]);

		if (json_is(v, JSON_OBJECT))
			json_set(a, meta, copied[i], json_copy(a, v));
	}
	json_set_str(a, json_sub(a, meta, "labels"), LABEL_CREATED_BY, meta_uid(vm));
	meta_set_controller(a, dv, vm, STR(VIRT_API_VERSION), STR("VirtualMachine"));
	json_set(a, dv, "spec", json_copy(a, json_get(template, "spec")));
	return dv;
}
