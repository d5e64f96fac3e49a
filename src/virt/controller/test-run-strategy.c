/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"
#include "virt/controller/run-strategy.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct json *make_vm(struct arena *a, const char *strategy, const char *status)
{
	struct json *vm = parse(a, "{\"metadata\":{\"name\":\"a\"},\"spec\":{}}");

	json_set_at(a, vm, "spec.runStrategy", json_strz(a, strategy));
	json_set(a, vm, "status", parse(a, status));
	return vm;
}

#define NO_VMI    NULL
#define RUNNING   "{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Running\"}}"
#define SUCCEEDED "{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Succeeded\"}}"
#define FAILED    "{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Failed\"}}"
#define DELETING                                                                         \
	"{\"metadata\":{\"uid\":\"u1\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}," \
	"\"status\":{\"phase\":\"Failed\"}}"
#define EMPTY       "{}"
#define ASK_START   "{\"stateChangeRequests\":[{\"action\":\"Start\"}]}"
#define ASK_STOP    "{\"stateChangeRequests\":[{\"action\":\"Stop\",\"uid\":\"u1\"}]}"
#define ASK_STOP_U2 "{\"stateChangeRequests\":[{\"action\":\"Stop\",\"uid\":\"u2\"}]}"
#define RERUN_SEEN  "{\"runStrategy\":\"RerunOnFailure\"}"
#define RERUN_START                            \
	"{\"runStrategy\":\"RerunOnFailure\"," \
	"\"stateChangeRequests\":[{\"action\":\"Start\"}]}"
#define BACKOFF "{\"startFailure\":{\"retryAfterTimestamp\":\"2026-01-01T00:00:07Z\"}}"

TEST(decisions)
{
	static const struct {
		const char *strategy, *status, *vmi;
		enum vm_act act;
	} rows[] = {
		{ "Always", EMPTY, NO_VMI, VM_ACT_START },
		{ "Always", BACKOFF, NO_VMI, VM_ACT_WAIT },
		{ "Always", EMPTY, RUNNING, VM_ACT_NONE },
		{ "Always", ASK_STOP, RUNNING, VM_ACT_STOP },
		{ "Always", ASK_STOP_U2, RUNNING, VM_ACT_NONE },
		{ "Always", EMPTY, SUCCEEDED, VM_ACT_STOP },
		{ "Always", EMPTY, FAILED, VM_ACT_STOP },
		{ "Always", EMPTY, DELETING, VM_ACT_NONE },
		{ "RerunOnFailure", EMPTY, NO_VMI, VM_ACT_START },
		{ "RerunOnFailure", RERUN_SEEN, NO_VMI, VM_ACT_NONE },
		{ "RerunOnFailure", RERUN_START, NO_VMI, VM_ACT_START },
		{ "RerunOnFailure", EMPTY, RUNNING, VM_ACT_NONE },
		{ "RerunOnFailure", ASK_STOP, RUNNING, VM_ACT_STOP },
		{ "RerunOnFailure", EMPTY, SUCCEEDED, VM_ACT_STOP },
		{ "RerunOnFailure", EMPTY, FAILED, VM_ACT_STOP_RERUN },
		{ "Manual", EMPTY, NO_VMI, VM_ACT_NONE },
		{ "Manual", ASK_START, NO_VMI, VM_ACT_START },
		{ "Manual", EMPTY, RUNNING, VM_ACT_NONE },
		{ "Manual", ASK_STOP, RUNNING, VM_ACT_STOP },
		{ "Manual", EMPTY, SUCCEEDED, VM_ACT_NONE },
		{ "Manual", EMPTY, FAILED, VM_ACT_NONE },
		{ "Halted", EMPTY, NO_VMI, VM_ACT_NONE },
		{ "Halted", ASK_START, NO_VMI, VM_ACT_SET_RUNNING },
		{ "Halted", EMPTY, RUNNING, VM_ACT_STOP },
		{ "Halted", EMPTY, SUCCEEDED, VM_ACT_STOP },
		{ "Halted", EMPTY, DELETING, VM_ACT_NONE },
		{ "Once", EMPTY, NO_VMI, VM_ACT_START },
		{ "Once", EMPTY, RUNNING, VM_ACT_NONE },
		{ "Once", EMPTY, SUCCEEDED, VM_ACT_NONE },
		{ "Once", EMPTY, FAILED, VM_ACT_NONE },
		{ "Nonsense", EMPTY, NO_VMI, VM_ACT_NONE },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct wall now;

	assert_true(wall_parse(STR("2026-01-01T00:00:00Z"), &now));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *vm = make_vm(a, rows[i].strategy, rows[i].status);
		struct json *vmi = rows[i].vmi ? parse(a, rows[i].vmi) : NULL;
		struct vm_decision d = vm_decide(vm, vmi, now);

		if (d.act != rows[i].act)
			fail_msg("row %zu: %d, not %d", i, d.act, rows[i].act);
		assert_int_equal(d.wait_ms, d.act == VM_ACT_WAIT ? 7000 : 0);
	}
}

TEST(running_is_a_strategy)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct wall now = { 0 };

	assert_int_equal(vm_decide(parse(a, "{\"spec\":{\"running\":true}}"), NULL, now).act,
			 VM_ACT_START);
	assert_int_equal(
		vm_decide(parse(a, "{\"spec\":{\"running\":false}}"), parse(a, RUNNING), now).act,
		VM_ACT_STOP);
}

TEST(requests_done)
{
	static const struct {
		const char *status, *vmi;
		bool done;
	} rows[] = {
		{ EMPTY, NO_VMI, false },       { ASK_START, NO_VMI, false },
		{ ASK_START, RUNNING, true },   { ASK_START, FAILED, false },
		{ ASK_START, DELETING, false }, { ASK_STOP, NO_VMI, true },
		{ ASK_STOP, RUNNING, false },   { ASK_STOP_U2, RUNNING, true },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *vm = make_vm(a, "Manual", rows[i].status);
		struct json *vmi = rows[i].vmi ? parse(a, rows[i].vmi) : NULL;

		if (vm_request_is_done(vm, vmi) != rows[i].done)
			fail_msg("row %zu", i);
	}
}

TEST(backoff_grows)
{
	static const int64_t want[] = { 0, 10, 40, 90, 160, 250, 300, 300 };

	for (size_t n = 0; n < ARRAY_LEN(want); n++)
		assert_int_equal(vm_backoff_seconds((int64_t)n), want[n]);
}

TEST_MAIN(T(decisions), T(running_is_a_strategy), T(requests_done), T(backoff_grows))
