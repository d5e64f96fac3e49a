/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/controller/vmi-status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/* How long virt-handler may take to tell how a guest ended before its Pod's end decides. */
#define HANDLER_GRACE_MS 20000

/* Reasons of Synchronized that are ours to clear; virt-handler has others. */
static const char *const own_reasons[] = { "FailedCreate",      "FailedDelete",
					   "FailedPvcNotFound", "ErrImagePull",
					   "ImagePullBackOff",  "FailedDataVolumeImport" };

bool launcher_pod_is_down(const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	return meta_deleting(pod) || str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded");
}

bool launcher_pod_is_ready(const struct json *pod)
{
	const struct json *statuses = json_at(pod, "status.containerStatuses");

	if (launcher_pod_is_down(pod) || !str_eqz(json_str_at(pod, "status.phase"), "Running"))
		return false;
	json_for_each(it, statuses)
	{
		bool compute = str_eqz(json_str_at(it.val, "name"), LAUNCHER_CONTAINER);

		if (compute ? !json_at(it.val, "state.running")
			    : !json_bool_at(it.val, "ready", false))
			return false;
	}
	return json_len(statuses) > 0;
}

int64_t vmi_handler_grace_left_ms(const struct json *vmi, const struct json *pod, struct wall now)
{
	struct str phase = json_str_at(pod, "status.phase");
	struct wall ended = { 0 };
	int64_t left;

	if (!pod || !(vmi_is_running(vmi) || vmi_phase_is(vmi, "Scheduled")) ||
	    !(str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded")))
		return 0;
	json_for_each(it, json_at(pod, "status.containerStatuses"))
	{
		struct wall t;

		if (wall_parse(json_str_at(it.val, "state.terminated.finishedAt"), &t) &&
		    t.ns > ended.ns)
			ended = t;
	}
	left = HANDLER_GRACE_MS - (now.ns - ended.ns) / NS_PER_MS;
	if (left <= 0)
		return -1;
	return left > HANDLER_GRACE_MS ? HANDLER_GRACE_MS : left;
}

/* conditions */

static void set_ready(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status");
	const struct json *ready = condition_find(json_get(w->pod, "status"), "Ready");

	if (!w->pod || vmi_is_final(vmi))
		condition_set(a, status, "Ready", "False", STR("PodNotExists"),
			      STR("virt-launcher pod has not yet been scheduled"), w->now);
	else if (launcher_pod_is_down(w->pod))
		condition_set(a, status, "Ready", "False", STR("PodTerminating"),
			      STR("virt-launcher pod is terminating"), w->now);
	else if (!vmi_is_running(vmi))
		condition_set(a, status, "Ready", "False", STR("GuestNotRunning"),
			      STR("Guest VM is not reported as running"), w->now);
	else if (!ready)
		condition_set(a, status, "Ready", "False", STR("PodConditionMissing"),
			      STR("virt-launcher pod is missing the Ready condition"), w->now);
	else
		condition_set(a, status, "Ready", arena_strz(a, json_str_at(ready, "status")),
			      json_str_at(ready, "reason"), json_str_at(ready, "message"), w->now);
}

static void set_scheduled(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status");
	const struct json *c = condition_find(json_get(w->pod, "status"), "PodScheduled");

	if (w->sync_reason && str_eqz(str_from(w->sync_reason), "FailedPvcNotFound"))
		condition_set(a, status, "PodScheduled", "False", STR("Unschedulable"),
			      w->sync_message, w->now);
	else if (w->pod && str_eqz(json_str_at(c, "status"), "False"))
		condition_set(a, status, "PodScheduled", "False", json_str_at(c, "reason"),
			      json_str_at(c, "message"), w->now);
	else
		condition_del(status, "PodScheduled");
}

/* The first container that waits for its image in vain. */
static const struct json *pull_failure(const struct json *pod)
{
	static const char *const lists[] = { "status.initContainerStatuses",
					     "status.containerStatuses" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			const struct json *waiting = json_at(it.val, "state.waiting");
			struct str reason = json_str_at(waiting, "reason");

			if (str_eqz(reason, "ErrImagePull") || str_eqz(reason, "ImagePullBackOff"))
				return waiting;
		}
	}
	return NULL;
}

static void set_synchronized(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status");
	const struct json *waiting = w->pod ? pull_failure(w->pod) : NULL;
	struct str have = json_str_at(condition_find(status, "Synchronized"), "reason");

	if (w->sync_reason) {
		condition_set(a, status, "Synchronized", "False", str_from(w->sync_reason),
			      w->sync_message, w->now);
		return;
	}
	if (waiting) {
		condition_set(a, status, "Synchronized", "False", json_str_at(waiting, "reason"),
			      json_str_at(waiting, "message"), w->now);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(own_reasons); i++) {
		if (str_eqz(have, own_reasons[i])) {
			condition_del(status, "Synchronized");
			return;
		}
	}
}

/* what the hand-over writes */

static void set_volumes(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *list = json_array(a);
	const struct json *old = json_at(vmi, "status.volumeStatus");

	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		struct str name = json_str_at(it.val, "name"), claim = vmi_volume_claim(it.val);
		const struct json *had = json_find_by(old, "name", name);
		const struct json *pvc = json_get_s(w->claims, claim);
		struct json *e = had ? json_copy(a, had) : json_object(a), *info;

		json_set_str(a, e, "name", name);
		if (!json_get(e, "target"))
			json_set_str(a, e, "target", STR_EMPTY);
		if (pvc) {
			info = json_object(a);
			json_set_str(a, info, "claimName", claim);
			json_set(a, info, "accessModes",
				 json_copy(a, json_at(pvc, "spec.accessModes")));
			json_set(a, info, "volumeMode",
				 json_strcpy(a, json_at(pvc, "spec.volumeMode")
							? json_str_at(pvc, "spec.volumeMode")
							: STR("Filesystem")));
			if (json_at(pvc, "status.capacity"))
				json_set(a, info, "capacity",
					 json_copy(a, json_at(pvc, "status.capacity")));
			json_set(a, info, "requests",
				 json_copy(a, json_at(pvc, "spec.resources.requests")));
			json_set_str(a, info, "filesystemOverhead", STR("0.055"));
			json_set(a, e, "persistentVolumeClaimInfo", info);
		}
		json_push(list, e);
	}
	if (json_len(list))
		json_set(a, json_sub(a, vmi, "status"), "volumeStatus", list);
}

static void set_interfaces(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *list = json_array(a);

	if (json_len(json_at(vmi, "status.interfaces")))
		return;
	json_for_each(it, json_at(vmi, "spec.domain.devices.interfaces"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct json *net = json_find_by(json_at(vmi, "spec.networks"), "name", name);
		struct json *e = json_object(a);
		bool pod_network =
			json_get(net, "pod") || json_bool_at(net, "multus.default", false);

		json_set_str(a, e, "name", name);
		if (pod_network && json_at(w->pod, "status.podIP")) {
			struct json *ips = json_sub_array(a, e, "ipAddresses");

			json_set_str(a, e, "ipAddress", json_str_at(w->pod, "status.podIP"));
			json_for_each(ip, json_at(w->pod, "status.podIPs"))
				json_push(ips, json_strcpy(a, json_str_at(ip.val, "ip")));
		}
		json_set_str(a, e, "podInterfaceName",
			     pod_network ? STR("eth0") : vmi_pod_interface_name(a, name));
		json_push(list, e);
	}
	if (json_len(list))
		json_set(a, json_sub(a, vmi, "status"), "interfaces", list);
}

static void hand_over(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status");
	struct str node = json_str_at(w->pod, "spec.nodeName");

	meta_set_label(a, vmi, LABEL_NODE_NAME, node);
	json_set_str(a, status, "nodeName", node);
	json_set_str(a, status, "migrationTransport", STR("Unix"));
	set_interfaces(a, w, vmi);
	set_volumes(a, w, vmi);
	vmi_set_phase(a, vmi, "Scheduled");
}

static void set_pod_facts(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status"), *active = json_object(a);
	struct str qos = json_str_at(w->pod, "status.qosClass");
	struct str image = json_str_at(json_idx(json_at(w->pod, "spec.containers"), 0), "image");

	if (!str_empty(qos))
		json_set_str(a, status, "qosClass", qos);
	if (!str_empty(image))
		json_set_str(a, status, "launcherContainerImageVersion", image);
	json_set_s(a, active, meta_uid(w->pod),
		   json_strcpy(a, json_str_at(w->pod, "spec.nodeName")));
	json_set(a, status, "activePods", active);
}

/* phases */

static void step_pending(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct json *status = json_sub(a, vmi, "status");

	if (meta_deleting(vmi) || w->datavolume_failed) {
		vmi_set_phase(a, vmi, "Failed");
		return;
	}
	if (w->pod) {
		condition_del(status, "Provisioning");
		vmi_set_phase(a, vmi, "Scheduling");
		return;
	}
	if (w->provisioning)
		condition_set(a, status, "Provisioning", "True", STR_EMPTY, STR_EMPTY, w->now);
	vmi_set_phase(a, vmi, "Pending");
}

static void step_scheduling(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	if (!w->pod || launcher_pod_is_down(w->pod))
		vmi_set_phase(a, vmi, "Failed");
	else if (!meta_deleting(vmi) && launcher_pod_is_ready(w->pod))
		hand_over(a, w, vmi);
}

static void step_running(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	if (!w->pod || vmi_handler_grace_left_ms(vmi, w->pod, w->now) < 0)
		vmi_set_phase(a, vmi, "Failed");
}

static void step_final(const struct vmi_world *w, struct json *vmi)
{
	if (!w->pods_left)
		meta_del_finalizer(NULL, vmi, STR(FINALIZER_VMI));
	if (w->owner_gone)
		meta_del_finalizer(NULL, vmi, STR(FINALIZER_VM));
}

static const struct {
	const char *phase;
	void (*step)(struct arena *a, const struct vmi_world *w, struct json *vmi);
} steps[] = {
	{ "", step_pending },
	{ "Pending", step_pending },
	{ "Scheduling", step_scheduling },
	{ "Scheduled", step_running },
	{ "Running", step_running },
};

void vmi_status_update(struct arena *a, const struct vmi_world *w, struct json *vmi)
{
	struct str phase = vmi_phase(vmi);

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (str_eqz(phase, steps[i].phase)) {
			steps[i].step(a, w, vmi);
			break;
		}
	}
	if (vmi_is_final(vmi))
		step_final(w, vmi);
	if (w->pod)
		set_pod_facts(a, w, vmi);
	set_ready(a, w, vmi);
	set_scheduled(a, w, vmi);
	set_synchronized(a, w, vmi);
}
