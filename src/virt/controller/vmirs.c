/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/replica-set.h"
#include "virt/controller/virt-controller.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * VirtualMachineInstanceReplicaSet: the replica set core over VMIs. What differs from Pods is how
 * a member counts, and that finished ones are deleted so that others take their place.
 */

#define BURST 250

static enum replica_state vmirs_state(const struct json *vmi)
{
	const struct json *ready = condition_find(json_get(vmi, "status"), "Ready");

	if (meta_deleting(vmi))
		return REPLICA_GOING;
	if (vmi_is_final(vmi))
		return REPLICA_FINISHED;
	/* its Pod is on its way out, on a node that may be lost: count it out already */
	if (str_eqz(json_str_at(ready, "status"), "False") &&
	    str_eqz(json_str_at(ready, "reason"), "PodTerminating"))
		return REPLICA_FINISHED;
	return REPLICA_ACTIVE;
}

static bool vmirs_ready(const struct json *vmi)
{
	return condition_is_true(json_get(vmi, "status"), "Ready");
}

static struct str vmirs_generate_name(const struct json *set)
{
	const struct json *meta = json_at(set, "spec.template.metadata");
	struct str name = json_str_at(meta, "name");

	if (str_empty(name))
		name = json_str_at(meta, "generateName");
	return str_empty(name) ? meta_name(set) : name;
}

static struct json *vmirs_make(struct arena *a, const struct json *set)
{
	static const char *const copied[] = { "labels", "annotations" };
	struct json *vmi = json_object(a), *meta;
	const struct json *template = json_at(set, "spec.template");

	json_set_str(a, vmi, "apiVersion", STR(VIRT_API_VERSION));
	json_set_str(a, vmi, "kind", STR("VirtualMachineInstance"));
	meta = json_sub(a, vmi, "metadata");
	json_set_str(a, meta, "generateName", vmirs_generate_name(set));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), copied[i]);

		if (json_is(v, JSON_OBJECT))
			json_set(a, meta, copied[i], json_copy(a, v));
	}
	json_set(a, vmi, "spec", json_copy(a, json_get(template, "spec")));
	return vmi;
}

static void vmirs_status(struct arena *a, const struct json *set, const struct replica_counts *n,
			 struct json *status)
{
	struct selector *sel = NULL;
	struct err *e = label_selector_from_json(a, json_at(set, "spec.selector"), &sel);

	json_set_int(a, status, "replicas", n->replicas);
	json_set_int(a, status, "readyReplicas", n->ready);
	if (e)
		err_ignore(e, "the webhook refuses bad selectors");
	else
		json_set_str(a, status, "labelSelector", selector_format(a, sel));
}

static const struct replica_set_ops vmirs_ops = {
	.name = "vmirs",
	.set = { STR_INIT("kubevirt.io"), STR_INIT("v1"),
		 STR_INIT("virtualmachineinstancereplicasets") },
	.member = { STR_INIT("kubevirt.io"), STR_INIT("v1"), STR_INIT("virtualmachineinstances") },
	.set_api_version = STR_INIT(VIRT_API_VERSION),
	.set_kind = STR_INIT("VirtualMachineInstanceReplicaSet"),
	.created_text = "Started the virtual machine by creating the new virtual machine instance ",
	.deleted_text = "Stopped the virtual machine by deleting the virtual machine instance ",
	.burst = BURST,
	.delete_finished = true,
	.supports_pause = true,
	.member_ops = { .state = vmirs_state, .ready = vmirs_ready },
	.make = vmirs_make,
	.status = vmirs_status,
};

void vmirs_controller_init(struct virt_controller *vc)
{
	vc->sets =
		replica_sets_new(vc->loop, vc->client, vc->events, &vmirs_ops, vc->vmirs, vc->vmis);
}
