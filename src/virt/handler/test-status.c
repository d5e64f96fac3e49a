/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/status.h"

#include "api/meta.h"
#include "testkit/test.h"
#include "virt/mapping/vmi.h"
#include "json/json.h"
#include "json/yaml.h"

TEST(phases)
{
	static const struct {
		const char *phase, *domain; /* domain "": the launcher is gone */
		bool acpi, deleting;
		const char *want;
	} rows[] = {
		{ "Scheduled", "{state: NoState}", true, false, "Scheduled" },
		{ "Scheduled", "{state: Starting}", true, false, "Scheduled" },
		{ "Scheduled", "{state: Running}", true, false, "Running" },
		{ "Running", "{state: Paused, reason: UserPause}", true, false, "Running" },
		{ "Running", "{state: Shutoff, reason: Shutdown}", true, false, "Succeeded" },
		{ "Running", "{state: Shutoff, reason: Shutdown}", true, true, "Succeeded" },
		{ "Running", "{state: Shutoff, reason: Destroyed}", true, true, "Failed" },
		{ "Running", "{state: Shutoff, reason: Destroyed}", false, true, "Succeeded" },
		{ "Running", "{state: Crashed, reason: Crashed}", true, false, "Failed" },
		{ "Running", "{state: Crashed, reason: Failed}", true, false, "Failed" },
		{ "Running", "", true, false, "Failed" },
		{ "Scheduled", "", true, false, "Failed" },
		{ "Scheduled", "{state: NoState}", true, true, "Failed" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *domain = NULL;
		const char *got;

		assert_no_err(yaml_parse(a, str_from(rows[i].domain), &domain));
		got = status_phase(str_from(rows[i].phase), domain, rows[i].acpi, rows[i].deleting);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("row %zu: %s, not %s", i, got, rows[i].want);
	}
}

static struct json *updated(struct arena *a, const char *domain_text, const char *sync_error)
{
	struct json *vmi, *domain, *net;

	assert_no_err(
		yaml_parse(a,
			   STR("{metadata: {name: a, namespace: b}, spec: {domain: {memory: "
			       "{guest: 64Mi}, cpu: "
			       "{cores: 2}, devices: {interfaces: [{name: default, "
			       "masquerade: {}}], disks: [{name: r, disk: {bus: "
			       "virtio}}, {name: s, disk: {}}]}}, networks: "
			       "[{name: default, pod: {}}]}, status: {phase: Scheduled, "
			       "interfaces: [{name: default, "
			       "ipAddress: 1.2.3.4}], volumeStatus: [{name: r}, {name: s}]}}"),
			   &vmi));
	assert_no_err(yaml_parse(a, str_from(domain_text), &domain));
	assert_no_err(yaml_parse(a,
				 STR("{interfaces: [{name: default, mac: '02:00:00:00:00:01', ips: "
				     "[10.244.0.7], podInterface: eth0}]}"),
				 &net));
	status_update(a, vmi, domain, net, str_from(sync_error), wall_now());
	return json_get(vmi, "status");
}

TEST(a_running_vm)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *s = updated(a, "{state: Running, machine: pc-q35-7.2}", "");
	const struct json *nic = json_idx(json_get(s, "interfaces"), 0);

	assert_str(json_str_at(s, "phase"), "Running");
	assert_str(json_str_at(s, "machine.type"), "pc-q35-7.2");
	assert_str(json_str_at(s, "memory.guestCurrent"), "64Mi");
	assert_int_equal(json_int_at(s, "currentCPUTopology.cores", 0), 2);
	assert_str(json_str_at(nic, "ipAddress"), "10.244.0.7");
	assert_str(json_str_at(nic, "podInterfaceName"), "eth0");
	assert_str(json_str_at(nic, "infoSource"), "domain");
	assert_str(json_str_at(json_idx(json_get(s, "volumeStatus"), 0), "target"), "vda");
	assert_str(json_str_at(json_idx(json_get(s, "volumeStatus"), 1), "target"), "sda");
	assert_null(condition_find(s, "Paused"));
	assert_non_null(condition_find(s, "LiveMigratable"));
}

TEST(pause_and_failure_conditions)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *s = updated(a, "{state: Paused, reason: UserPause}", "");

	assert_true(condition_is_true(s, "Paused"));
	assert_str(json_str_at(condition_find(s, "Paused"), "reason"), "PausedByUser");
	s = updated(a, "{state: Paused, reason: IOError}", "");
	assert_str(json_str_at(condition_find(s, "Paused"), "reason"), "PausedIOError");
	s = updated(a, "{state: NoState}", "no disk");
	assert_str(json_str_at(s, "phase"), "Scheduled");
	assert_str(json_str_at(condition_find(s, "Synchronized"), "message"), "no disk");
	assert_false(condition_is_true(s, "Synchronized"));
}

TEST_MAIN(T(phases), T(a_running_vm), T(pause_and_failure_conditions))
