/* SPDX-License-Identifier: Apache-2.0 */
#include "api/names.h"
#include "base/buf.h"
#include "virt/api/validate.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"

/* spec-level names and enumerations */

static void check_names(struct causes *c, const struct json *spec, struct str path)
{
	struct str host = json_str_at(spec, "hostname"), sub = json_str_at(spec, "subdomain");
	struct str at = field(c, STR_FMT ".hostname", STR_ARG(path));
	const char *why = str_empty(host) ? NULL : name_check_dns_label(host);

	if (why)
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " does not conform to the kubernetes DNS_LABEL rules : %s",
			  STR_ARG(at), why);
	at = field(c, STR_FMT ".subdomain", STR_ARG(path));
	why = str_empty(sub) ? NULL : name_check_dns_subdomain(sub);
	if (why)
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " does not conform to the kubernetes DNS_SUBDOMAIN rules : %s",
			  STR_ARG(at), why);
}

static void check_start_strategy(struct causes *c, const struct json *spec, struct str path)
{
	struct str s = json_str_at(spec, "startStrategy");
	struct str at = field(c, STR_FMT ".startStrategy", STR_ARG(path));

	if (str_empty(s))
		return;
	if (!str_eqz(s, "Paused"))
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " is set with an unrecognized option: " STR_FMT, STR_ARG(at),
			  STR_ARG(s));
	else if (json_get(spec, "livenessProbe"))
		cause_add(c, CAUSE_INVALID, at,
			  "either " STR_FMT " or " STR_FMT
			  ".livenessProbe should be provided.Pausing VMI with LivenessProbe is not "
			  "supported",
			  STR_ARG(at), STR_ARG(path));
}

static void check_eviction(struct causes *c, const struct json *spec, struct str path)
{
	static const char *const known[] = { "", "None", "LiveMigrate", "LiveMigrateIfPossible",
					     "External" };
	struct str s = json_str_at(spec, "evictionStrategy");
	struct str at = field(c, STR_FMT ".evictionStrategy", STR_ARG(path));

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eqz(s, known[i]))
			return;
	}
	cause_add(c, CAUSE_INVALID, at, STR_FMT " is set with an unrecognized option: " STR_FMT,
		  STR_ARG(at), STR_ARG(s));
}

static bool has_pod_network(const struct json *spec)
{
	json_for_each(it, json_get(spec, "networks"))
	{
		if (json_get(it.val, "pod"))
			return true;
	}
	return false;
}

static void check_probe(struct causes *c, const struct json *spec, struct str path, const char *key)
{
	static const char *const handlers[] = { "httpGet", "tcpSocket", "exec", "guestAgentPing" };
	const struct json *p = json_get(spec, key);
	struct str at = field(c, STR_FMT ".%s", STR_ARG(path), key);
	size_t n = 0;

	if (!p)
		return;
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		n += json_get(p, handlers[i]) != NULL;
	if (n > 1)
		cause_add(c, CAUSE_INVALID, at, STR_FMT " must have exactly one probe type set",
			  STR_ARG(at));
	if (n < 1)
		cause_add(c, CAUSE_REQUIRED, at,
			  "either " STR_FMT ".tcpSocket, " STR_FMT ".exec or " STR_FMT
			  ".httpGet must be set if a " STR_FMT " is specified",
			  STR_ARG(at), STR_ARG(at), STR_ARG(at), STR_ARG(at));
	for (size_t i = 0; i < 2; i++) {
		if (json_get(p, handlers[i]) && !has_pod_network(spec))
			cause_add(c, CAUSE_INVALID,
				  field(c, STR_FMT ".%s", STR_ARG(at), handlers[i]),
				  STR_FMT ".%s is only allowed if the Pod Network is attached",
				  STR_ARG(at), handlers[i]);
	}
}

static void check_dns(struct causes *c, const struct json *spec, struct str path)
{
	static const char *const known[] = { "", "ClusterFirst", "ClusterFirstWithHostNet",
					     "Default", "None" };
	struct str policy = json_str_at(spec, "dnsPolicy");
	const struct json *config = json_get(spec, "dnsConfig");
	struct str at = field(c, STR_FMT ".dnsPolicy", STR_ARG(path));
	bool ok = false;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ok |= str_eqz(policy, known[i]);
	if (!ok)
		cause_add(c, CAUSE_NOT_SUPPORTED, at,
			  "DNSPolicy: " STR_FMT " is not supported, valid values: "
			  "[ClusterFirstWithHostNet ClusterFirst Default None ]",
			  STR_ARG(policy));
	if (str_eqz(policy, "None") && !config)
		cause_add(c, CAUSE_REQUIRED, at,
			  "must provide `dnsConfig` when `dnsPolicy` is None");
	else if (str_eqz(policy, "None") && !json_len(json_get(config, "nameservers")))
		cause_add(c, CAUSE_REQUIRED, STR("nameservers"),
			  "must provide at least one DNS nameserver when `dnsPolicy` is None");
	json_for_each(it, json_get(config, "nameservers"))
	{
		if (!ip_is_valid(json_as_str(it.val)))
			cause_add(c, CAUSE_INVALID, STR("nameservers"),
				  "must be valid IP address: " STR_FMT,
				  STR_ARG(json_as_str(it.val)));
	}
}

/* firmware */

static void check_kernel_boot(struct causes *c, const struct json *fw, struct str path)
{
	const struct json *kb = json_get(fw, "kernelBoot"), *image = json_get(kb, "container");
	struct str at = field(c, STR_FMT ".kernelBoot", STR_ARG(path));
	struct str in = field(c, STR_FMT ".container", STR_ARG(at));

	if (!kb)
		return;
	if (!image) {
		if (!str_empty(json_str_at(kb, "kernelArgs")))
			cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".kernelArgs", STR_ARG(at)),
				  "kernel arguments cannot be provided without an external kernel");
		return;
	}
	if (str_empty(json_str_at(image, "image")))
		cause_add(c, CAUSE_REQUIRED, field(c, STR_FMT ".image", STR_ARG(in)),
			  STR_FMT " must be defined with an image", STR_ARG(in));
	if (str_empty(json_str_at(image, "kernelPath")) &&
	    str_empty(json_str_at(image, "initrdPath")))
		cause_add(c, CAUSE_REQUIRED, in,
			  STR_FMT " must be defined with at least one of the following: "
				  "kernelPath, initrdPath",
			  STR_ARG(in));
}

static void check_firmware(struct causes *c, const struct json *spec, struct str path)
{
	const struct json *fw = json_at(spec, "domain.firmware");
	const struct json *boot = json_get(fw, "bootloader");
	struct str at = field(c, STR_FMT ".domain.firmware", STR_ARG(path));
	struct str boot_at = field(c, STR_FMT ".bootloader", STR_ARG(at));
	struct str domain = field(c, STR_FMT ".domain", STR_ARG(path));

	if (json_get(boot, "efi") && json_get(boot, "bios"))
		cause_add(c, CAUSE_INVALID, boot_at,
			  STR_FMT " has both EFI and BIOS configured, but they are mutually "
				  "exclusive.",
			  STR_ARG(boot_at));
	if (json_get(boot, "efi") && json_bool_at(boot, "efi.secureBoot", true) &&
	    !json_bool_at(spec, "domain.features.smm.enabled",
			  json_at(spec, "domain.features.smm") != NULL))
		cause_add(c, CAUSE_INVALID, domain,
			  STR_FMT " has EFI SecureBoot enabled. SecureBoot requires SMM, which is "
				  "currently disabled.",
			  STR_ARG(domain));
	check_kernel_boot(c, fw, at);
}

/* devices other than disks and interfaces */
void validate_devices(struct causes *c, const struct json *spec, struct str path)
{
	struct str at = field(c, STR_FMT ".domain.devices", STR_ARG(path));
	struct str threads = json_str_at(spec, "domain.ioThreadsPolicy");

	json_for_each(it, json_at(spec, "domain.devices.inputs"))
	{
		struct str bus = json_str_at(it.val, "bus");

		if (!str_empty(bus) && !str_eqz(bus, "virtio") && !str_eqz(bus, "usb"))
			cause_add(c, CAUSE_INVALID,
				  field(c, STR_FMT ".inputs[%zu].bus", STR_ARG(at), it.i),
				  "Input device can have only virtio or usb bus.");
		if (!str_eqz(json_str_at(it.val, "type"), "tablet"))
			cause_add(c, CAUSE_INVALID,
				  field(c, STR_FMT ".inputs[%zu].type", STR_ARG(at), it.i),
				  "Input device can have only tablet type.");
	}
	if (!str_empty(threads) && !str_eqz(threads, "shared") && !str_eqz(threads, "auto") &&
	    !str_eqz(threads, "supplementalPool"))
		cause_add(c, CAUSE_INVALID,
			  field(c, STR_FMT ".domain.ioThreadsPolicy", STR_ARG(path)),
			  "Invalid IOThreadsPolicy (" STR_FMT ")", STR_ARG(threads));
	if (str_eqz(threads, "supplementalPool") &&
	    json_int_at(spec, "domain.ioThreads.supplementalPoolThreadCount", 0) < 1)
		cause_add(c, CAUSE_INVALID,
			  field(c, STR_FMT ".domain.ioThreads.count", STR_ARG(path)),
			  "the number of iothreads needs to be set and positive for the dedicated "
			  "policy");
}

/* whole specs */

void validate_vmi_spec(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		       struct str path)
{
	check_names(c, spec, path);
	validate_resources(c, cfg, spec, path);
	check_firmware(c, spec, path);
	check_start_strategy(c, spec, path);
	check_eviction(c, spec, path);
	check_probe(c, spec, path, "readinessProbe");
	check_probe(c, spec, path, "livenessProbe");
	check_dns(c, spec, path);
	validate_devices(c, spec, path);
	validate_disks(c, spec, path);
	validate_volumes(c, cfg, spec, path);
	validate_networks(c, cfg, spec, path);
}

static struct str machine_list(struct causes *c, struct str architecture)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (const char *const *g = virt_config_machines(architecture); *g; g++)
		buf_addf(&b, "%s%s", b.n ? " " : "", *g);
	return buf_to_arena(&b, c->a);
}

static void check_machine(struct causes *c, const struct json *spec, struct str path)
{
	struct str arch = json_str_at(spec, "architecture");
	struct str machine = json_str_at(spec, "domain.machine.type");
	struct str at = field(c, STR_FMT ".domain.machine.type", STR_ARG(path));

	if (!str_eqz(arch, "amd64") && !str_eqz(arch, "arm64") && !str_eqz(arch, "s390x")) {
		cause_add(c, CAUSE_NOT_SUPPORTED, field(c, STR_FMT ".architecture", STR_ARG(path)),
			  "unsupported architecture: " STR_FMT, STR_ARG(arch));
		return;
	}
	if (!str_empty(machine) && !virt_config_machine_allowed(arch, machine))
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " is not supported: " STR_FMT " (allowed values: [" STR_FMT "])",
			  STR_ARG(at), STR_ARG(machine), STR_ARG(machine_list(c, arch)));
}

static void check_volumes_are_used(struct causes *c, const struct json *spec, struct str path)
{
	const struct json *devices = json_at(spec, "domain.devices");

	json_for_each(it, json_get(spec, "volumes"))
	{
		struct str name = json_str_at(it.val, "name");
		struct str at = field(c, STR_FMT ".domain.volumes[%zu].name", STR_ARG(path), it.i);

		if (json_get(it.val, "memoryDump") ||
		    json_find_by(json_get(devices, "disks"), "name", name) ||
		    json_find_by(json_get(devices, "filesystems"), "name", name))
			continue;
		cause_add(c, CAUSE_INVALID, at, STR_FMT " '" STR_FMT "' not found.", STR_ARG(at),
			  STR_ARG(name));
	}
}

void validate_vmi_itself(struct causes *c, const struct virt_config *cfg, const struct json *spec,
			 struct str path)
{
	static const char *const members[] = { "domain.memory.guest",
					       "domain.memory.hugepages.pageSize",
					       "domain.resources.requests.memory" };

	check_machine(c, spec, path);
	check_volumes_are_used(c, spec, path);
	if (!json_at(spec, "domain.memory.guest") && !json_at(spec, "domain.memory.hugepages") &&
	    !json_at(spec, "domain.resources.requests.memory"))
		cause_add(c, CAUSE_REQUIRED, STR_EMPTY,
			  "no memory requested, at least one of '" STR_FMT ".%s', '" STR_FMT
			  ".%s' or '" STR_FMT ".%s' must be set",
			  STR_ARG(path), members[0], STR_ARG(path), members[1], STR_ARG(path),
			  members[2]);
}

void validate_vmi_labels(struct causes *c, const struct json *metadata, struct str path)
{
	static const char *const reserved[] = {
		"kubevirt.io/created-by",  "kubevirt.io/migrationJobUID",
		"kubevirt.io/nodeName",    "kubevirt.io/migrationTargetNodeName",
		"kubevirt.io/schedulable", "kubevirt.io/install-strategy",
	};

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		if (json_path(metadata, "labels", reserved[i], NULL)) {
			cause_add(c, CAUSE_NOT_SUPPORTED,
				  field(c, STR_FMT ".labels", STR_ARG(path)),
				  "creation of the following reserved kubevirt.io/ labels on a VMI "
				  "object is prohibited");
			return;
		}
	}
}
