/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/vmi.h"

#include <openssl/sha.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/encode.h"
#include "json/json.h"

struct str vmi_phase(const struct json *vmi)
{
	return json_str_at(vmi, "status.phase");
}

bool vmi_phase_is(const struct json *vmi, const char *phase)
{
	return str_eqz(vmi_phase(vmi), phase);
}

bool vmi_is_final(const struct json *vmi)
{
	return vmi_phase_is(vmi, "Succeeded") || vmi_phase_is(vmi, "Failed");
}

bool vmi_is_running(const struct json *vmi)
{
	return vmi_phase_is(vmi, "Running");
}

bool vmi_was_running(const struct json *vmi)
{
	const struct json *list = json_at(vmi, "status.phaseTransitionTimestamps");

	return json_find_by(list, "phase", STR("Running")) != NULL;
}

bool vmi_set_phase(struct arena *a, struct json *vmi, const char *phase)
{
	struct json *status, *list, *entry;

	if (vmi_phase_is(vmi, phase))
		return false;
	status = json_sub(a, vmi, "status");
	json_set_str(a, status, "phase", str_from(phase));
	list = json_sub_array(a, status, "phaseTransitionTimestamps");
	if (json_find_by(list, "phase", str_from(phase)))
		return true;
	entry = json_object(a);
	json_set_str(a, entry, "phase", str_from(phase));
	json_set_str(a, entry, "phaseTransitionTimestamp", wall_format(a, wall_now()));
	json_push(list, entry);
	return true;
}

static int64_t at_least_one(int64_t n)
{
	return n > 0 ? n : 1;
}

int64_t vmi_vcpus(const struct json *vmi)
{
	const struct json *cpu = json_at(vmi, "spec.domain.cpu");

	return at_least_one(json_int_at(cpu, "sockets", 1)) *
	       at_least_one(json_int_at(cpu, "cores", 1)) *
	       at_least_one(json_int_at(cpu, "threads", 1));
}

int64_t vmi_grace_seconds(const struct json *vmi)
{
	return json_int_at(vmi, "spec.terminationGracePeriodSeconds", VMI_DEFAULT_GRACE);
}

struct str vmi_hostname(struct arena *a, const struct json *vmi)
{
	struct str name = json_str_at(vmi, "spec.hostname");

	if (str_empty(name)) {
		name = meta_name(vmi);
		name = str_sub(name, 0, str_find_char(name, '.', 0));
	}
	if (name.n > 63)
		name.n = 63;
	while (name.n && name.p[name.n - 1] == '-')
		name.n--;
	return arena_str(a, name);
}

static struct str sha1_hex(struct arena *a, struct str s)
{
	unsigned char md[SHA_DIGEST_LENGTH];

	SHA1((const unsigned char *)s.p, s.n, md);
	return hex_encode(a, str_make((const char *)md, sizeof(md)));
}

struct str vmi_id_label(struct arena *a, struct str name)
{
	if (name.n <= 63)
		return arena_str(a, name);
	return arena_fmt(a, "%.54s-%.8s", name.p, sha1_hex(a, name).p);
}

struct str vmi_interface_binding(const struct json *iface)
{
	static const char *const bindings[] = { "bridge", "masquerade", "sriov", "passtBinding",
						"slirp",  "macvtap",    "passt" };

	for (size_t i = 0; i < ARRAY_LEN(bindings); i++) {
		if (json_get(iface, bindings[i]))
			return str_from(bindings[i]);
	}
	return json_str_at(iface, "binding.name");
}

struct str vmi_pod_interface_name(struct arena *a, struct str network)
{
	return arena_fmt(a, "pod%.11s", sha256_hex(a, network).p);
}

struct str vmi_volume_claim(const struct json *volume)
{
	struct str claim = json_str_at(volume, "persistentVolumeClaim.claimName");

	return str_empty(claim) ? json_str_at(volume, "dataVolume.name") : claim;
}

struct str vm_run_strategy(const struct json *vm)
{
	const struct json *running = json_at(vm, "spec.running");
	struct str strategy = json_str_at(vm, "spec.runStrategy");

	if (json_is(running, JSON_BOOL))
		return json_as_bool(running, false) ? STR("Always") : STR("Halted");
	return str_empty(strategy) ? STR("Halted") : strategy;
}

struct str vm_firmware_uuid(struct arena *a, struct str name)
{
	static const unsigned char ns[16] = { 0x6a, 0x1a, 0x24, 0xa1, 0x40, 0x61, 0x46, 0x07,
					      0x8b, 0xf4, 0xa3, 0x96, 0x3d, 0x0c, 0x58, 0x95 };
	unsigned char md[SHA_DIGEST_LENGTH];
	struct str in = arena_cat(a, str_make((const char *)ns, sizeof(ns)), name);
	struct str h;

	SHA1((const unsigned char *)in.p, in.n, md);
	md[6] = (unsigned char)((md[6] & 0x0f) | 0x50);
	md[8] = (unsigned char)((md[8] & 0x3f) | 0x80);
	h = hex_encode(a, str_make((const char *)md, 16));
	return arena_fmt(a, "%.8s-%.4s-%.4s-%.4s-%.12s", h.p, h.p + 8, h.p + 12, h.p + 16,
			 h.p + 20);
}
