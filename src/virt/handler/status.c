/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/mapping/vmi.h"
#include "json/json.h"

static bool status_is(const struct json *domain, const char *state)
{
	return str_eqz(json_str_at(domain, "state"), state);
}

const char *status_phase(struct str phase, const struct json *domain, bool acpi, bool deleting)
{
	struct str reason = json_str_at(domain, "reason");

	if (status_is(domain, "Running") || status_is(domain, "Paused"))
		return "Running";
	if (status_is(domain, "Crashed"))
		return "Failed";
	if (status_is(domain, "Shutoff")) {
		/* With ACPI the guest was asked and did not obey. */
		if (str_eqz(reason, "Destroyed") && acpi)
			return "Failed";
		return "Succeeded";
	}
	/* No domain: it has not begun, or there is no launcher that could begin it. */
	if (!domain || deleting || str_eqz(phase, "Running"))
		return "Failed";
	return "Scheduled";
}

/* conditions */

static void status_set(struct arena *a, struct json *status, const char *type, const char *value,
		       const char *reason, struct str message, struct wall now)
{
	condition_set(a, status, type, value, str_from(reason), message, now);
}

static void status_paused(struct arena *a, struct json *status, const struct json *domain,
			  struct wall now)
{
	if (!status_is(domain, "Paused"))
		condition_del(status, "Paused");
	else if (str_eqz(json_str_at(domain, "reason"), "IOError"))
		status_set(a, status, "Paused", "True", "PausedIOError",
			   STR("VMI was paused, low-level IO error detected"), now);
	else
		status_set(a, status, "Paused", "True", "PausedByUser",
			   STR("VMI was paused by user"), now);
}

/* Upstream's reasons first; then the plain truth. */
static void status_migratable(struct arena *a, const struct json *vmi, struct json *status,
			      struct wall now)
{
	json_for_each(it, json_at(vmi, "spec.domain.devices.interfaces"))
	{
		const struct json *network = json_find_by(json_at(vmi, "spec.networks"), "name",
							  json_str_at(it.val, "name"));

		if (json_get(network, "pod") && json_get(it.val, "bridge")) {
			status_set(
				a, status, "LiveMigratable", "False", "InterfaceNotLiveMigratable",
				STR("cannot migrate VMI which does not use masquerade, bridge with "
				    "kubevirt.io/allow-pod-bridge-network-live-migration VM "
				    "annotation "
				    "or a migratable plugin to connect to the pod network"),
				now);
			return;
		}
	}
	status_set(a, status, "LiveMigratable", "False", "NotImplemented",
		   STR("this virt-handler does not migrate VMs"), now);
}

/* other members */

static void status_interfaces(struct arena *a, struct json *status, const struct json *net)
{
	const struct json *old = json_get(status, "interfaces");
	struct json *list = json_array(a);

	if (json_len(json_get(net, "interfaces")) == 0)
		return;
	json_for_each(it, json_get(net, "interfaces"))
	{
		struct str name = json_str_at(it.val, "name");
		const struct json *prev = json_find_by(old, "name", name);
		struct json *o = prev ? json_copy(a, prev) : json_object(a);
		struct json *ips = json_get(it.val, "ips");

		json_set_str(a, o, "infoSource", STR("domain"));
		if (json_len(ips)) {
			json_set(a, o, "ipAddress", json_copy(a, json_idx(ips, 0)));
			json_set(a, o, "ipAddresses", json_copy(a, ips));
		}
		json_set_str(a, o, "linkState", STR("up"));
		json_set_str(a, o, "mac", json_str_at(it.val, "mac"));
		json_set_str(a, o, "name", name);
		json_set_str(a, o, "podInterfaceName", json_str_at(it.val, "podInterface"));
		json_set_int(a, o, "queueCount", 1);
		json_push(list, o);
	}
	json_set(a, status, "interfaces", list);
}

static void status_machine(struct arena *a, const struct json *vmi, struct json *status,
			   const struct json *domain)
{
	const struct json *cpu = json_at(vmi, "spec.domain.cpu");
	struct str type = json_str_at(domain, "machine");
	struct str guest = json_str_at(vmi, "spec.domain.memory.guest");
	static const char *const parts[] = { "sockets", "cores", "threads" };
	static const char *const sizes[] = { "guestAtBoot", "guestCurrent", "guestRequested" };

	if (!str_empty(type))
		json_set(a, json_sub(a, status, "machine"), "type", json_strcpy(a, type));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int64_t n = json_int_at(cpu, parts[i], 0);

		json_set_int(a, json_sub(a, status, "currentCPUTopology"), parts[i], n > 0 ? n : 1);
	}
	if (str_empty(guest))
		guest = json_str_at(vmi, "spec.domain.resources.requests.memory");
	if (str_empty(guest))
		return;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		json_set_str(a, json_sub(a, status, "memory"), sizes[i], guest);
}

/* The guest's name of a disk: its prefix by bus and a letter (or two) by its place there. */
static struct str status_disk_target(struct arena *a, const struct json *disk, unsigned *virtio,
				     unsigned *other)
{
	static const char *const kinds[] = { "disk", "lun", "cdrom" };
	struct str bus = STR_EMPTY;
	bool is_virtio;
	unsigned n;

	for (size_t i = 0; i < ARRAY_LEN(kinds) && str_empty(bus); i++)
		bus = json_str_at(json_get(disk, kinds[i]), "bus");
	is_virtio = str_eqz(bus, "virtio");
	n = is_virtio ? (*virtio)++ : (*other)++;
	if (n < 26)
		return arena_fmt(a, "%s%c", is_virtio ? "vd" : "sd", 'a' + n);
	return arena_fmt(a, "%s%c%c", is_virtio ? "vd" : "sd", 'a' + n / 26 - 1, 'a' + n % 26);
}

static void status_volumes(struct arena *a, const struct json *vmi, struct json *status)
{
	struct json *list = json_get(status, "volumeStatus");
	unsigned virtio = 0, other = 0;

	json_for_each(it, json_at(vmi, "spec.domain.devices.disks"))
	{
		struct json *v = json_find_by(list, "name", json_str_at(it.val, "name"));
		struct str target = status_disk_target(a, it.val, &virtio, &other);

		if (v)
			json_set_str(a, v, "target", target);
	}
}

void status_update(struct arena *a, struct json *vmi, const struct json *domain,
		   const struct json *net, struct str sync_error, struct wall now)
{
	struct json *status = json_sub(a, vmi, "status");
	const struct json *acpi = json_at(vmi, "spec.domain.features.acpi");
	const char *phase =
		status_phase(vmi_phase(vmi), domain, !acpi || json_bool_at(acpi, "enabled", true),
			     meta_deleting(vmi));

	vmi_set_phase(a, vmi, phase);
	status = json_get(vmi, "status");
	status_paused(a, status, domain, now);
	if (!str_empty(sync_error))
		status_set(a, status, "Synchronized", "False",
			   "Synchronizing with the Domain failed.", sync_error, now);
	else
		condition_del(status, "Synchronized");
	if (strcmp(phase, "Running") != 0)
		return;
	status_migratable(a, vmi, status, now);
	status_interfaces(a, status, net);
	status_machine(a, vmi, status, domain);
	status_volumes(a, vmi, status);
}
