/* SPDX-License-Identifier: Apache-2.0 */
#include "control/job-plan.h"

#include "api/meta.h"
#include "client/owned.h"
#include "testkit/test.h"
#include "json/json.h"

/* What a Job makes of its Pods. */

static struct json *parse(struct arena *a, struct str text)
{
	struct json *v;

	assert_no_err(json_parse(a, text, &v));
	return v;
}

/* One letter a Pod: r running, s succeeded, f failed, d being deleted; its index is its place. */
static const struct owned_list *pods(struct arena *a, const char *letters)
{
	struct owned_list *list = arena_new_obj(a, struct owned_list);

	list->v = arena_array(a, strlen(letters) + 1, sizeof(*list->v));
	for (size_t i = 0; letters[i]; i++) {
		const char *phase = letters[i] == 's'   ? "Succeeded"
				    : letters[i] == 'f' ? "Failed"
							: "Running";
		struct json *p = parse(
			a,
			arena_fmt(
				a,
				"{\"metadata\":{\"name\":\"p%zu\",\"namespace\":\"n\",\"uid\":"
				"\"u%zu\",\"finalizers\":[\"" JOB_FINALIZER
				"\"],\"annotations\":{\"" JOB_INDEX
				"\":\"%zu\"}},\"status\":{\"phase\":\"%s\","
				"\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{"
				"\"exitCode\":%d,\"finishedAt\":\"2026-01-01T00:00:00Z\"}}}]}}",
				i, i, i, phase, letters[i] == 'f' ? 3 : 0));

		if (letters[i] == 'd')
			json_set_str(a, json_get(p, "metadata"), "deletionTimestamp",
				     STR("2026-01-01T00:00:00Z"));
		list->v[list->n++] = p;
	}
	return list;
}

TEST(decisions)
{
	static const struct {
		const char *spec, *pods;
		int64_t want;       /* active */
		const char *reason; /* NULL: goes on */
	} rows[] = {
		{ "{}", "", 1, NULL },
		{ "{\"parallelism\":3}", "r", 3, NULL },
		{ "{\"parallelism\":3}", "rrs", 2, NULL },
		{ "{\"parallelism\":3}", "sss", 0, "CompletionsReached" },
		{ "{\"completions\":5,\"parallelism\":3}", "sss", 2, NULL },
		{ "{\"completions\":2,\"parallelism\":3}", "ss", 0, "CompletionsReached" },
		{ "{\"completions\":1,\"backoffLimit\":1}", "f", 1, NULL },
		{ "{\"completions\":1,\"backoffLimit\":1}", "ff", 0, "BackoffLimitExceeded" },
		{ "{\"completions\":1,\"suspend\":true}", "r", 0, NULL },
		/* a Pod that is being deleted is replaced at once, or when it has ended */
		{ "{\"completions\":1}", "d", 1, NULL },
		{ "{\"completions\":1,\"podReplacementPolicy\":\"Failed\"}", "d", 0, NULL },
		{ "{\"completions\":3,\"parallelism\":3,\"completionMode\":\"Indexed\"}", "srf", 2,
		  NULL },
		{ "{\"completions\":3,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":0}",
		  "sfs", 0, "FailedIndexes" },
		{ "{\"completions\":3,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":0,"
		  "\"maxFailedIndexes\":0}",
		  "f", 0, "MaxFailedIndexesExceeded" },
		{ "{\"completions\":3,\"completionMode\":\"Indexed\",\"successPolicy\":{\"rules\":["
		  "{"
		  "\"succeededIndexes\":\"0\"}]}}",
		  "srr", 0, "SuccessPolicy" },
		{ "{\"completions\":1,\"podFailurePolicy\":{\"rules\":[{\"action\":\"FailJob\","
		  "\"onExitCodes\":{\"operator\":\"In\",\"values\":[3]}}]}}",
		  "f", 0, "PodFailurePolicy" },
		{ "{\"completions\":1,\"backoffLimit\":0,\"podFailurePolicy\":{\"rules\":[{"
		  "\"action\":\"Ignore\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[3]}}]}}",
		  "f", 1, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *job = json_object(a);
		struct job_plan p;

		json_set(a, job, "spec", parse(a, str_from(rows[i].spec)));
		job_plan_init(a, &p, job, pods(a, rows[i].pods), wall_now());
		if (job_wanted_active(&p) != rows[i].want)
			fail_msg("row %zu: wants %lld", i, (long long)job_wanted_active(&p));
		if (!p.end.condition != !rows[i].reason ||
		    (rows[i].reason && strcmp(p.end.reason, rows[i].reason) != 0))
			fail_msg("row %zu: %s", i, p.end.condition ? p.end.reason : "goes on");
	}
}

TEST(indexes)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "", "" },         { "1", "1" },
		{ "0,1", "0,1" },   { "0-2,5,7-9", "0-2,5,7-9" },
		{ "3,1,2", "1-3" }, { "8-99", "8,9" },
		{ "x,2-,4", "4" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		bool set[10] = { 0 };

		job_indexes_parse(str_from(rows[i].in), set, 10);
		assert_str(job_indexes_text(a, set, 10), rows[i].out);
	}
}

/* What the status lists as uncounted is not counted again. */
TEST(counts_once)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *job = parse(a, STR("{\"spec\":{\"completions\":5},\"status\":{\"succeeded\":1,"
					"\"uncountedTerminatedPods\":{\"succeeded\":[\"u0\"]}}}"));
	struct job_plan p;

	job_plan_init(a, &p, job, pods(a, "ss"), wall_now());
	assert_int_equal(p.succeeded, 3);
}

TEST(pods_by_index)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *job = parse(
		a, STR("{\"metadata\":{\"name\":\"j\",\"uid\":\"x\"},\"spec\":{\"completions\":4,"
		       "\"completionMode\":\"Indexed\",\"template\":{\"spec\":{\"containers\":[{"
		       "\"name\":\"c\"}]}}}}"));
	struct job_plan p;
	struct json *pod;
	int64_t next = 0;

	job_plan_init(a, &p, job, pods(a, "srf"), wall_now());
	assert_true(job_next_index(&p, &next));
	assert_int_equal(next, 2);
	next = 3;
	assert_true(job_next_index(&p, &next));
	assert_int_equal(next, 3);
	next = 4;
	assert_false(job_next_index(&p, &next));
	pod = job_make_pod(a, &p, 3);
	assert_str(json_str_at(pod, "spec.hostname"), "j-3");
	assert_str(json_str_at(pod, "metadata.generateName"), "j-3-");
	assert_str(meta_annotation(pod, JOB_INDEX), "3");
	assert_str(
		json_str_at(
			json_idx(json_get(json_idx(json_at(pod, "spec.containers"), 0), "env"), 0),
			"name"),
		"JOB_COMPLETION_INDEX");
	assert_true(meta_has_finalizer(pod, STR(JOB_FINALIZER)));
}

TEST(backoff)
{
	const struct wall now = { INT64_C(1767225605) * NS_PER_SEC }; /* 5 s after the failures */
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *job = parse(a, STR("{\"spec\":{\"completions\":1}}"));
	struct job_plan p;

	job_plan_init(a, &p, job, pods(a, "f"), now);
	assert_int_equal(job_backoff_ms(&p, now), 5000);
	job_plan_init(a, &p, job, pods(a, "fff"), now);
	assert_int_equal(job_backoff_ms(&p, now), 35000);
	job_plan_init(a, &p, job, pods(a, "r"), now);
	assert_int_equal(job_backoff_ms(&p, now), 0);
}

TEST_MAIN(T(decisions), T(indexes), T(counts_once), T(pods_by_index), T(backoff))
