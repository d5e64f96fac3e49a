/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "testkit/test.h"
#include "virt/controller/vm-status.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define VM_ALWAYS "{\"spec\":{\"runStrategy\":\"Always\"}}"
#define VM_HALTED "{\"spec\":{\"runStrategy\":\"Halted\"}}"
#define VM_DELETED                                                        \
	"{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}," \
	"\"spec\":{\"runStrategy\":\"Always\"}}"
#define VM_FAILING                                \
	"{\"spec\":{\"runStrategy\":\"Always\"}," \
	"\"status\":{\"startFailure\":{\"consecutiveFailCount\":2}}}"
#define VM_RECEIVER "{\"spec\":{\"runStrategy\":\"WaitAsReceiver\"}}"
#define PHASE(p)    "{\"status\":{\"phase\":\"" p "\"}}"
#define COND(p, t, s, r)                                                                       \
	"{\"status\":{\"phase\":\"" p "\",\"conditions\":[{\"type\":\"" t "\",\"status\":\"" s \
	"\",\"reason\":\"" r "\"}]}}"
#define LIST_PHASE(p) "[{\"status\":{\"phase\":\"" p "\"}}]"
#define DELETING_RUNNING                                                  \
	"{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}," \
	"\"status\":{\"phase\":\"Running\"}}"

TEST(printable_status)
{
	static const struct {
		const char *want, *vm, *vmi, *dvs, *claims;
		bool create, del;
	} rows[] = {
		{ "Terminating", VM_DELETED, PHASE("Running") },
		{ "Stopping", VM_ALWAYS, DELETING_RUNNING },
		{ "Stopping", VM_ALWAYS, PHASE("Running"), .del = true },
		{ "Migrating", VM_ALWAYS,
		  "{\"status\":{\"phase\":\"Running\",\"migrationState\":{\"startTimestamp\":\"x\"}"
		  "}}" },
		{ "Running", VM_ALWAYS,
		  "{\"status\":{\"phase\":\"Running\",\"migrationState\":{\"startTimestamp\":\"x\","
		  "\"endTimestamp\":\"y\"}}}" },
		{ "Paused", VM_ALWAYS, COND("Running", "Paused", "True", "PausedByUser") },
		{ "Running", VM_ALWAYS, PHASE("Running") },
		{ "ErrorPvcNotFound", VM_ALWAYS,
		  COND("Pending", "Synchronized", "False", "FailedPvcNotFound") },
		{ "DataVolumeError", VM_ALWAYS, NULL, LIST_PHASE("Failed") },
		{ "ErrorUnschedulable", VM_ALWAYS,
		  COND("Scheduling", "PodScheduled", "False", "Unschedulable") },
		{ "Provisioning", VM_ALWAYS, NULL, LIST_PHASE("ImportInProgress") },
		{ "WaitingForVolumeBinding", VM_ALWAYS, PHASE("Scheduling"), NULL,
		  LIST_PHASE("Pending") },
		{ "Starting", VM_ALWAYS, PHASE("Scheduling"), NULL, LIST_PHASE("Bound") },
		{ "Stopped", VM_HALTED, NULL, NULL, LIST_PHASE("Pending") },
		{ "ErrImagePull", VM_ALWAYS,
		  COND("Scheduling", "Synchronized", "False", "ErrImagePull") },
		{ "ImagePullBackOff", VM_ALWAYS,
		  COND("Scheduling", "Synchronized", "False", "ImagePullBackOff") },
		{ "Starting", VM_ALWAYS, NULL, .create = true },
		{ "Starting", VM_ALWAYS, "{}" },
		{ "Starting", VM_ALWAYS, PHASE("Scheduled") },
		{ "CrashLoopBackOff", VM_FAILING, NULL },
		{ "CrashLoopBackOff", VM_FAILING, PHASE("Failed") },
		{ "Stopped", VM_HALTED, NULL },
		{ "Stopped", VM_ALWAYS, PHASE("Succeeded") },
		{ "Stopped", VM_RECEIVER, NULL },
		{ "WaitingForReceiver", VM_RECEIVER, PHASE("WaitingForSync") },
		{ "Unknown", VM_ALWAYS, PHASE("Unknown") },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm_world w = {
			.vm = parse(a, rows[i].vm),
			.vmi = rows[i].vmi ? parse(a, rows[i].vmi) : NULL,
			.datavolumes = rows[i].dvs ? parse(a, rows[i].dvs) : NULL,
			.claims = rows[i].claims ? parse(a, rows[i].claims) : NULL,
			.create_expected = rows[i].create,
			.delete_expected = rows[i].del,
		};

		if (strcmp(vm_printable_status(&w), rows[i].want) != 0)
			fail_msg("row %zu: %s, not %s", i, vm_printable_status(&w), rows[i].want);
	}
}

static bool update(struct arena *a, const char *vm_text, const char *vmi_text, struct json **ret)
{
	struct vm_world w = { .vm = parse(a, vm_text),
			      .vmi = vmi_text ? parse(a, vmi_text) : NULL };

	*ret = json_copy(a, w.vm);
	return vm_status_update(a, &w, NULL, *ret);
}

TEST(status_follows_the_vmi)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vm, *status;

	assert_true(update(a, VM_HALTED, NULL, &vm));
	status = json_get(vm, "status");
	assert_null(json_get(status, "created"));
	assert_str(json_str_at(condition_find(status, "Ready"), "reason"), "VMINotExists");
	assert_str(json_str_at(status, "printableStatus"), "Stopped");

	assert_true(update(a, VM_ALWAYS, COND("Running", "Ready", "True", ""), &vm));
	status = json_get(vm, "status");
	assert_true(json_bool_at(status, "created", false));
	assert_true(json_bool_at(status, "ready", false));
	assert_true(condition_is_true(status, "Ready"));
	assert_str(json_str_at(status, "runStrategy"), "Always");
}

TEST(conditions_are_mirrored)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *vm, *status;

	update(a,
	       "{\"spec\":{\"runStrategy\":\"Always\"},\"status\":{\"conditions\":["
	       "{\"type\":\"Paused\",\"status\":\"True\"},"
	       "{\"type\":\"RestartRequired\",\"status\":\"True\"}]}}",
	       COND("Running", "LiveMigratable", "True", ""), &vm);
	status = json_get(vm, "status");
	assert_null(condition_find(status, "Paused"));
	assert_non_null(condition_find(status, "RestartRequired"));
	assert_true(condition_is_true(status, "LiveMigratable"));
}

TEST(start_failures_are_counted_once)
{
	_cleanup_arena_ struct arena *a = arena_new();
	static const char failed[] =
		"{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Failed\"}}";
	struct json *vm, *again;
	struct vm_world w;

	assert_true(update(a, VM_ALWAYS, failed, &vm));
	assert_int_equal(json_int_at(vm, "status.startFailure.consecutiveFailCount", 0), 1);
	assert_str(json_str_at(vm, "status.startFailure.lastFailedVMIUID"), "u1");

	w = (struct vm_world){ .vm = vm, .vmi = parse(a, failed) };
	again = json_copy(a, vm);
	vm_status_update(a, &w, NULL, again);
	assert_int_equal(json_int_at(again, "status.startFailure.consecutiveFailCount", 0), 1);

	w.vmi = parse(a, "{\"status\":{\"phase\":\"Failed\",\"phaseTransitionTimestamps\":["
			 "{\"phase\":\"Running\"}]}}");
	vm_status_update(a, &w, NULL, again);
	assert_null(json_at(again, "status.startFailure"));
}

TEST(failure_condition)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct vm_world w = { .vm = parse(a, VM_ALWAYS) };
	struct vm_failure f = { "FailedCreate", STR("no") };
	struct json *vm = json_copy(a, w.vm);

	vm_status_update(a, &w, &f, vm);
	assert_true(condition_is_true(json_get(vm, "status"), "Failure"));
	w.vm = json_copy(a, vm);
	vm_status_update(a, &w, NULL, vm);
	assert_null(condition_find(json_get(vm, "status"), "Failure"));
}

TEST_MAIN(T(printable_status), T(status_follows_the_vmi), T(conditions_are_mirrored),
	  T(start_failures_are_counted_once), T(failure_condition))
