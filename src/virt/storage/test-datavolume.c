/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "testkit/test.h"
#include "virt/storage/datavolume-plan.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define META "\"metadata\":{\"name\":\"d\",\"namespace\":\"n\",\"uid\":\"u\""
#define HTTP                                                                   \
	"\"spec\":{\"source\":{\"http\":{\"url\":\"http://x/\"}},\"storage\":" \
	"{\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}"
#define DV "{" META "}," HTTP "}"
#define DV_NOW                        \
	"{" META ",\"annotations\":{" \
	"\"cdi.kubevirt.io/storage.bind.immediate.requested\":\"\"}}," HTTP "}"
#define DV_DONE "{" META "}," HTTP ",\"status\":{\"phase\":\"Succeeded\"}}"
#define DV_S3   "{" META "},\"spec\":{\"source\":{\"s3\":{}}}}"
#define PENDING "{\"status\":{\"phase\":\"Pending\"}}"
#define BOUND   "{\"status\":{\"phase\":\"Bound\"}}"
#define POD(state)                                                                             \
	"{\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"restartCount\":2," state \
	"}]}}"
#define POD_RUNS     POD("\"state\":{\"running\":{}}")
#define POD_CREATING POD("\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}")
#define POD_FAILED                                                                     \
	POD("\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":" \
	    "{\"terminated\":{\"exitCode\":1,\"message\":\"error: 404\\n\"}}")
#define POD_DONE "{\"status\":{\"phase\":\"Succeeded\"}}"

TEST(phases)
{
	static const struct {
		const char *dv, *claim, *pod;
		bool waits;
		const char *phase;
		enum dv_act act;
	} rows[] = {
		{ DV, NULL, NULL, false, "Pending", DV_CREATE_CLAIM },
		{ DV, PENDING, NULL, true, "WaitForFirstConsumer", DV_NONE },
		{ DV, PENDING, NULL, false, "Pending", DV_CREATE_POD },
		{ DV_NOW, PENDING, NULL, true, "Pending", DV_CREATE_POD },
		{ DV, BOUND, NULL, true, "PVCBound", DV_CREATE_POD },
		{ DV, BOUND, POD_CREATING, true, "ImportScheduled", DV_NONE },
		{ DV, BOUND, POD_RUNS, true, "ImportInProgress", DV_NONE },
		{ DV, BOUND, POD_FAILED, true, "ImportInProgress", DV_NONE },
		{ DV, BOUND, POD_DONE, true, "Succeeded", DV_DELETE_POD },
		{ DV_DONE, BOUND, NULL, true, "Succeeded", DV_NONE },
		{ DV_S3, NULL, NULL, false, "Pending", DV_NONE },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *dv = parse(a, rows[i].dv);
		struct dv_world w = {
			.dv = json_copy(a, dv),
			.claim = rows[i].claim ? parse(a, rows[i].claim) : NULL,
			.pod = rows[i].pod ? parse(a, rows[i].pod) : NULL,
			.waits_for_consumer = rows[i].waits,
		};

		if (dv_decide(&w) != rows[i].act)
			fail_msg("row %zu: act %d", i, dv_decide(&w));
		dv_status_update(a, &w, dv);
		assert_str(json_str_at(dv, "status.phase"), rows[i].phase);
	}
}

TEST(conditions)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *dv = parse(a, DV), *st;
	struct dv_world w = { .dv = parse(a, DV),
			      .claim = parse(a, BOUND),
			      .pod = parse(a, POD_FAILED),
			      .progress = STR("12.00%") };

	dv_status_update(a, &w, dv);
	st = json_get(dv, "status");
	assert_str(json_str_at(condition_find(st, "Running"), "message"), "error: 404");
	assert_str(json_str_at(condition_find(st, "Running"), "reason"), "CrashLoopBackOff");
	assert_str(json_str_at(st, "progress"), "12.00%");
	assert_int_equal(json_int_at(st, "restartCount", 0), 2);
	assert_true(condition_is_true(st, "Bound"));
	assert_false(condition_is_true(st, "Ready"));

	w.pod = parse(a, POD_DONE);
	dv_status_update(a, &w, dv);
	assert_str(json_str_at(st, "progress"), "100.0%");
	assert_true(condition_is_true(st, "Ready"));
	assert_str(json_str_at(condition_find(st, "Running"), "status"), "False");
}

TEST(objects)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *dv = parse(a, DV), *claim = dv_make_claim(a, dv), *c;
	struct json *pod = dv_make_importer(a, dv, STR("img"));

	assert_true(meta_controlled_by(claim, STR("u")));
	assert_str(json_str_at(claim, "spec.resources.requests.storage"), "1Gi");
	assert_str(json_as_str(json_idx(json_at(claim, "spec.accessModes"), 0)), "ReadWriteOnce");
	assert_str(meta_name(pod), "importer-d");
	c = json_idx(json_at(pod, "spec.containers"), 0);
	assert_str(json_str_at(c, "image"), "img");
	assert_str(json_text(a, json_get(c, "args")),
		   "[\"--url\",\"http://x/\",\"--size\",\"1Gi\"]");
	assert_true(json_bool_at(pod, "spec.securityContext.runAsNonRoot", false));
	assert_false(json_bool_at(pod, "spec.automountServiceAccountToken", true));
}

TEST_MAIN(T(phases), T(conditions), T(objects))
